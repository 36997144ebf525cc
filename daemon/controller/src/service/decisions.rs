//! Decisions, and the policy calls kept with them: read again for replay and explain.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::Instant as Tick};
use tradewind_api::ExplainView;
use tradewind_core::{
    decision::Decision,
    explain::TaskExplanation,
    explain::{self, Bounds},
    identity::Scope,
    list::Window,
    names::{DecisionId, DeploymentName, Namespace, TaskName},
    placement::{Recorded, Task, recorded},
    plugin::{Identity, Policy},
    record::{DeploymentKey, INPUTS},
    replay,
    replay::ReplayView,
    store::{self},
};

use crate::{Error, Handle, Shared, lock, service::handle::not_found};

/// What one explanation may cost: calls of the policy, and time.
const MOST_CALLS: u32 = 2_000;
const LONGEST: Duration = Duration::from_secs(20);

/// A decision with the policy call that it came of.
pub struct Recording {
    id: DecisionId,
    recorded: Recorded,
}

impl Recording {
    /// Who decided.
    pub fn policy(&self) -> &Identity {
        &self.recorded.policy
    }

    /// Whether all of the call is about the scope. A policy that somebody brings along sees all of it.
    pub fn is_within(&self, scope: &Scope) -> bool {
        self.recorded
            .request
            .tasks
            .iter()
            .all(|task| scope.admits(&task.namespace))
    }

    /// # Errors
    /// `Plugin` when the policy fails.
    pub async fn replay(&self, policy: &dyn Policy, scope: &Scope) -> Result<ReplayView, Error> {
        replay::replay(&self.id, &self.recorded, policy, scope)
            .await
            .map_err(Error::Plugin)
    }
}

/// The last decision about one task of a deployment.
pub struct Account {
    task: TaskName,
    decision: DecisionId,
    recorded: Arc<Recorded>,
}

impl Account {
    /// Who decided.
    pub fn policy(&self) -> &Identity {
        &self.recorded.policy
    }
}

impl Handle {
    /// # Errors
    /// `NotFound`, `InputsGone` when its inputs are not kept (any more), or the state can't be read.
    pub async fn recording(&self, scope: &Scope, id: &DecisionId) -> Result<Recording, Error> {
        let decision = self.decision(scope, id).await?;
        Ok(Recording {
            id: decision.id.clone(),
            recorded: self.shared.inputs(&decision).await?,
        })
    }

    /// The last decision about each task of a deployment, as far as it is kept.
    ///
    /// # Errors
    /// `NotFound` for a deployment that there is not, `InputsGone` when no inputs of its decisions are kept.
    pub async fn accounts(
        &self,
        scope: &Scope,
        namespace: &Namespace,
        name: &DeploymentName,
    ) -> Result<Vec<Account>, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let resolved = lock(&self.shared.cache)
            .deployments
            .get(&key)
            .map(|e| e.resolved.clone())
            .ok_or_else(|| not_found(&key))?;
        let decisions = self
            .decisions(scope, Some((namespace, Some(name))), &Window::whole())
            .await?
            .items;
        let mut accounts: Vec<Account> = Vec::new();
        let mut gone = None;
        for task in resolved.iter().filter(|t| t.replicas > 0) {
            if accounts.iter().any(|a| a.task == task.name) {
                continue;
            }
            let about = |d: &&Decision| {
                d.tasks.iter().any(|t| {
                    t.deployment == *name && t.namespace == *namespace && t.task == task.name
                })
            };
            let Some(decision) = decisions.iter().find(about) else {
                continue;
            };
            let known = accounts
                .iter()
                .find(|a| a.decision == decision.id)
                .map(|a| a.recorded.clone());
            let recorded = match known {
                Some(recorded) => recorded,
                None => match self.shared.inputs(decision).await {
                    Ok(recorded) => Arc::new(recorded),
                    Err(error) => {
                        gone = Some(error);
                        continue;
                    }
                },
            };
            accounts.push(Account {
                task: task.name.clone(),
                decision: decision.id.clone(),
                recorded,
            });
        }
        match gone {
            Some(error) if accounts.is_empty() => Err(error),
            _ => Ok(accounts),
        }
    }

    /// Explains what the accounts tell of: `policies` is parallel to them, with the reason where the version of then is not there.
    pub async fn explain(
        &self,
        namespace: &Namespace,
        name: &DeploymentName,
        accounts: &[Account],
        policies: &[Result<Arc<dyn Policy>, String>],
        rows: usize,
    ) -> ExplainView {
        let late = Tick::now() + LONGEST;
        let calls = MOST_CALLS / u32::try_from(accounts.len().max(1)).unwrap_or(u32::MAX);
        let bounds = Bounds {
            rows,
            calls,
            is_late: &|| Tick::now() >= late,
        };
        let mut tasks: Vec<TaskExplanation> = Vec::new();
        for (account, policy) in accounts.iter().zip(policies) {
            let mine = |t: &Task| {
                t.namespace == *namespace && t.deployment == *name && t.name == account.task
            };
            let all = account
                .recorded
                .request
                .tasks
                .iter()
                .zip(0u32..)
                .filter(|(task, _)| mine(task));
            // A task with several targets was several tasks to the policy.
            for (_, index) in all {
                let policy = policy.as_ref().map(|p| p.as_ref()).map_err(Clone::clone);
                tasks.extend(
                    explain::explain(
                        &account.decision,
                        &account.recorded,
                        index,
                        policy,
                        self.shared.options.quote_ttl,
                        bounds,
                    )
                    .await,
                );
            }
        }
        ExplainView {
            namespace: namespace.clone(),
            name: name.clone(),
            tasks: tasks.into_iter().map(Into::into).collect(),
        }
    }
}

impl Shared {
    async fn inputs(&self, decision: &Decision) -> Result<Recorded, Error> {
        let gone = || Error::InputsGone {
            id: decision.id.clone(),
        };
        let key = format!("{INPUTS}{}", decision.inputs.as_ref().ok_or_else(gone)?);
        let stored = self.store.get(&key).await?.ok_or_else(gone)?;
        let unreadable = |source| store::Error::Backend {
            action: "understood",
            path: key.clone(),
            source,
        };
        let decoded = spawn_blocking(move || recorded::decode(&stored.value))
            .await
            .map_err(|e| unreadable(e.into()))?;
        Ok(decoded.map_err(|e| match e {
            recorded::Error::Version { found } if found > recorded::VERSION => {
                store::Error::Newer {
                    key: key.clone(),
                    found: found.into(),
                    known: recorded::VERSION.into(),
                }
            }
            e => unreadable(e.into()),
        })?)
    }
}
