//! A provider's calls.

use std::collections::HashSet;

use async_trait::async_trait;
use tradewind_core::{
    capability::{Attempt, kubernetes},
    failure::{Failure, RUNS_NOT_KEPT},
    grant::{Grants, ProbeGrant, Spaces},
    offer::{Offer, OffersQuery},
    plugin::{Destroyed, Features, Identity, Kind, Owned, Provider, Tracked, Wanted, closed},
    session::{Opening, ReplicaRef, Session, unsupported},
    workload::{Allocation, Condition, LogChunk, LogQuery, Observation},
};

use super::{
    bindings::provider::{
        ProviderPre, exports::tradewind::plugin::cloud_provider as wit, tradewind::plugin::types,
    },
    convert::{self, Nonsense},
    offers,
};
use crate::runtime::{
    call::{Runner, within},
    census::Counted,
    plugin_info::PluginInfo,
    state::{Call, Previous},
};

/// One version of a provider instance.
pub(super) struct ProviderVersion {
    pub(super) runner: Runner,
    pub(super) pre: ProviderPre<Call>,
    pub(super) settings: String,
    pub(super) features: Features,
    pub(super) _counted: Counted,
}

/// Opens a call, instantiates, calls `$guest`'s function, closes; the guest's own error becomes a failure.
macro_rules! call {
    ($self:ident, $operation:literal, |$store:ident, $guest:ident| $call:expr) => {{
        let mut open = $self.runner.open($operation).await?;
        let outcome = within($self.runner.deadline(), async {
            let instance = $self.pre.instantiate_async(&mut open.store).await?;
            let $guest = instance.tradewind_plugin_cloud_provider();
            let $store = &mut open.store;
            $call.await
        })
        .await;
        open.close(outcome)?
            .map_err(|error| $self.runner.reported(convert::failure(error)))
    }};
}

impl ProviderVersion {
    fn context(&self) -> types::Context {
        types::Context {
            instance: self.runner.identity.instance.as_str().to_owned(),
            settings: self.settings.clone(),
            deadline: self.runner.limits.deadline.0,
        }
    }

    fn sane<T>(&self, operation: &str, answer: Result<T, Nonsense>) -> Result<T, Failure> {
        answer.map_err(|what| self.runner.bad_answer(operation, what))
    }
}

fn tracked(t: &Tracked) -> types::Tracked {
    types::Tracked {
        allocation: t.allocation.as_str().to_owned(),
        state: t.state.clone(),
    }
}

/// The smoke call: who are you?
pub(super) async fn describe(
    runner: &Runner,
    pre: &ProviderPre<Call>,
) -> Result<PluginInfo, Failure> {
    let mut open = runner.open("describe").await?;
    let outcome = within(runner.deadline(), async {
        let instance = pre.instantiate_async(&mut open.store).await?;
        instance
            .tradewind_plugin_cloud_provider()
            .call_describe(&mut open.store)
            .await
    })
    .await;
    let info = open.close(outcome)?;
    let f = info.features;
    let has = |flag| f.contains(flag);
    let features = Features {
        images: has(wit::Features::IMAGES),
        commands: has(wit::Features::COMMANDS),
        services: has(wit::Features::SERVICES),
        jobs: has(wit::Features::JOBS),
        volumes: has(wit::Features::VOLUMES),
        networks: has(wit::Features::NETWORKS),
        secrets: has(wit::Features::SECRETS),
        files: has(wit::Features::FILES),
        resize: has(wit::Features::RESIZE),
        logs: has(wit::Features::LOGS),
        command_checks: runs_checks(&runner.context.grants),
        one_machine: is_one_machine(&runner.context.grants),
        tells_images: tells_images(&runner.context.grants),
    };
    let wanted = info
        .capabilities
        .into_iter()
        .map(|w| Wanted {
            name: w.name,
            why: w.why,
        })
        .collect();
    PluginInfo::checked(
        Kind::Provider,
        (info.name, info.version, info.summary, info.settings_schema),
        wanted,
        features,
    )
    .map_err(|what| runner.bad_answer("describe", what))
}

/// Whether what a provider is granted runs commands beside workloads: a machine, an engine and a cluster do.
fn runs_checks(grants: &Grants) -> bool {
    grants.process.is_some() || grants.containers.is_some() || grants.kubernetes.is_some()
}

/// Whether all of a provider's replicas run on one machine: processes do, and the containers of an engine.
fn is_one_machine(grants: &Grants) -> bool {
    grants.process.is_some() || grants.containers.is_some()
}

fn runs_not_kept() -> Failure {
    Failure::invalid("it does not keep the output of single runs apart").code(RUNS_NOT_KEPT)
}

/// Whether a provider learns which image runs: from an engine and from a cluster.
fn tells_images(grants: &Grants) -> bool {
    grants.containers.is_some() || grants.kubernetes.is_some()
}

#[async_trait]
impl Provider for ProviderVersion {
    fn identity(&self) -> &Identity {
        &self.runner.identity
    }

    fn probe_grant(&self) -> Option<&ProbeGrant> {
        self.runner.context.grants.probe.as_ref()
    }
    fn namespaces(&self) -> &Spaces {
        &self.runner.context.namespaces
    }

    fn features(&self) -> Features {
        self.features
    }

    fn concurrency(&self) -> u32 {
        self.runner.limits.concurrency
    }

    async fn check(&self) -> Result<Vec<Condition>, Failure> {
        let context = self.context();
        let conditions = call!(self, "check", |store, guest| guest
            .call_check(store, &context))?;
        Ok(conditions
            .into_iter()
            .map(convert::condition_from)
            .collect())
    }

    async fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Failure> {
        let context = self.context();
        let query = types::OffersQuery {
            regions: query.regions.clone(),
            shapes: query.shapes.iter().map(convert::resources).collect(),
            spot: query.spot,
            holding: query
                .holding
                .iter()
                .map(|(offer, replicas)| types::Held {
                    offer: offer.clone(),
                    replicas: *replicas,
                })
                .collect(),
        };
        let columns = call!(self, "offers", |store, guest| guest
            .call_offers(store, &context, &query))?;
        let now = self.runner.context.capabilities.clock.now();
        self.sane("offers", offers::from_columns(columns, now))
    }

    async fn apply(
        &self,
        allocation: &Allocation,
        prior: Option<&[u8]>,
    ) -> Result<Vec<u8>, Failure> {
        // What began before the instance was closed to its namespace goes on; nothing new begins.
        if prior.is_none() && !self.namespaces().admits(&allocation.namespace) {
            return Err(closed(
                &self.runner.identity.instance,
                &allocation.namespace,
            ));
        }
        let context = self.context();
        let attempt = Attempt {
            allocation: allocation.id.clone(),
            namespace: allocation.namespace.clone(),
            token: allocation.token.clone(),
            tags: allocation.tags.clone(),
            resources: allocation.workload.resources.clone(),
            startup: allocation.workload.probes.startup.clone(),
        };
        let allocation = convert::allocation(allocation);
        let state = call!(self, "apply", |store, guest| {
            store.data_mut().attempt = Some(attempt);
            guest.call_apply(store, &context, &allocation, prior)
        })?;
        self.sane("apply", convert::state_from(state))
    }

    async fn observe(&self, asked: &[Tracked]) -> Result<Vec<Observation>, Failure> {
        let context = self.context();
        let list: Vec<types::Tracked> = asked.iter().map(tracked).collect();
        let answers = call!(self, "observe", |store, guest| guest
            .call_observe(store, &context, &list))?;
        let all = answers
            .into_iter()
            .map(convert::observation_from)
            .collect::<Result<Vec<_>, _>>();
        let all = self.sane("observe", all)?;
        let mut open: HashSet<&str> = asked.iter().map(|t| t.allocation.as_str()).collect();
        for observation in &all {
            if !open.remove(observation.allocation.as_str()) {
                let what = format!(
                    "allocation \"{}\" was not asked about, or appears twice",
                    observation.allocation
                );
                return Err(self.runner.bad_answer("observe", what));
            }
        }
        match open.iter().min() {
            Some(missing) => Err(self
                .runner
                .bad_answer("observe", format!("allocation \"{missing}\" is missing"))),
            None => Ok(all),
        }
    }

    async fn destroy(&self, gone: &Tracked) -> Result<Destroyed, Failure> {
        let context = self.context();
        let gone = tracked(gone);
        let answer = call!(self, "destroy", |store, guest| guest
            .call_destroy(store, &context, &gone))?;
        Ok(match answer {
            wit::Destroyed::Gone => Destroyed::Gone,
            wit::Destroyed::Going => Destroyed::Going,
        })
    }

    async fn owned(&self) -> Result<Vec<Owned>, Failure> {
        let context = self.context();
        let all = call!(self, "owned", |store, guest| guest
            .call_owned(store, &context))?;
        let one = |o: wit::OwnedAllocation| {
            Ok(Owned {
                allocation: convert::allocation_id(o.allocation)?,
                state: convert::state_from(o.state)?,
                description: crate::base::text::tame(&o.description),
            })
        };
        self.sane("owned", all.into_iter().map(one).collect())
    }

    async fn logs(&self, of: &Tracked, query: &LogQuery) -> Result<LogChunk, Failure> {
        let context = self.context();
        let (of, previous) = (tracked(of), query.previous);
        let query = convert::log_query(query);
        let mut asked = Previous::Unwanted;
        let chunk = call!(self, "logs", |store, guest| async {
            if previous {
                store.data_mut().previous = Previous::Wanted;
            }
            let answer = guest.call_logs(&mut *store, &context, &of, &query).await;
            asked = store.data().previous;
            answer
        });
        if asked == Previous::Wanted {
            // Whatever was answered, it was not that.
            return Err(self.runner.reported(runs_not_kept()));
        }
        Ok(convert::log_chunk_from(chunk?))
    }

    async fn open(&self, replica: &ReplicaRef, what: Opening) -> Result<Session, Failure> {
        let context = &self.runner.context;
        let (owner, lent) = (&context.owner, &context.capabilities);
        let (grants, whose) = (&context.grants, Some(&replica.namespace));
        let opened = if let Some(grant) = &grants.process {
            let grant = grant.for_namespace(whose);
            lent.processes.open(owner, &grant, replica, what).await
        } else if let Some(grant) = &grants.containers {
            let grant = grant.for_namespace(whose);
            lent.containers.open(owner, &grant, replica, what).await
        } else if let Some(grant) = &grants.kubernetes {
            let grant = grant.for_namespace(whose);
            let caller = kubernetes::Caller {
                owner: owner.clone(),
                attempt: None,
            };
            lent.kubernetes.open(&caller, &grant, replica, what).await
        } else {
            Err(unsupported(&what))
        };
        // No call of the plugin has failed: its counts stay.
        opened.map_err(|failure| failure.from_plugin(&self.runner.identity))
    }
}
