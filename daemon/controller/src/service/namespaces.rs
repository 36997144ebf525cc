//! Namespaces: their limits as stored, what they have spent, and how the API sees both. What follows from the limits is `admission`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tradewind_api::{
    HeldTask, MonthView, NamespaceOutcome, NamespaceSummary, NamespaceView, Outcome, SpendView,
    UsageView,
};
use tradewind_core::{
    budget::Usage,
    event::{Event, Reason, Severity},
    identity::Scope,
    ledger::{Meter, Month},
    list::{Page, Selector, Window},
    manifest::namespace::Document,
    names::{Actor, Namespace},
    plan::stored::PLANS,
    record::{
        DEPLOYMENTS, DeploymentKey, LEDGERS, LedgerRecord, NAMESPACES, NamespaceRecord, REVISIONS,
    },
    store::{self, Expect},
    units::{Bytes, Instant, MicroUsd, Millis},
    workload::Labels,
};

use crate::{
    Error, Handle, Shared, lock,
    schedule::admission::Budgets,
    service::listing::{first_of, last_of},
    state::book::{Account, NamespaceBook, lasts, usage},
    state::cache::{Cache, DeploymentState},
    state::commit::{Change, Committer},
};

/// The most intervals that are taken into a ledger at once.
const FOLD: usize = 1_000;
/// How often ledgers are brought up to date, and spending is compared with the budgets.
const ACCOUNTING: Duration = Duration::from_secs(10);

/// What is known of a namespace, taken at one moment and read when no lock is held any more.
struct Holdings {
    record: Option<NamespaceRecord>,
    account: Account,
    entries: Vec<Arc<DeploymentState>>,
}

impl Holdings {
    fn spend(&self, now: Instant) -> SpendView {
        let mut all = self.account.ledger.clone();
        self.account.segments.values().for_each(|s| all.add(s));
        let (mut hourly, mut to_come) = (MicroUsd(0), MicroUsd(0));
        for entry in &self.entries {
            for live in entry.allocations.values() {
                let running = Meter::running(&live.record, now);
                all.add(&running);
                hourly = hourly.saturating_add(running.hourly);
                // As budgets count it: also what is placed and not metered yet.
                let placed = usage(&live.record, lasts(entry, &live.record, now));
                to_come = to_come.saturating_add(MicroUsd(placed.monthly));
            }
        }
        let this = Month::of(now);
        let this_month = all.month(this).whole();
        let months = all.months().filter(|m| *m != this).map(|month| MonthView {
            month,
            spent: all.month(month).whole(),
        });
        SpendView {
            hourly,
            this_hour: all.hour(now).whole(),
            this_month,
            forecast: this_month.saturating_add(to_come),
            months: months.collect(),
        }
    }
}

impl Shared {
    fn holdings(&self, name: &Namespace) -> Holdings {
        // At one moment: what a charge has ended no allocation runs up any more.
        let cache = lock(&self.cache);
        let book = lock(&self.namespaces);
        Holdings {
            record: book.limits.get(name).map(|(record, _)| record.clone()),
            account: book.accounts.get(name).cloned().unwrap_or_default(),
            entries: cache
                .copies_of_namespace(name)
                .map(|(_, entry)| entry.clone())
                .collect(),
        }
    }
}

impl Budgets {
    /// Whether a namespace may take so many bytes more of the state.
    ///
    /// # Errors
    /// `StateQuota`, or the state can't be read.
    pub(crate) async fn check_room(
        &self,
        namespace: &Namespace,
        more: impl FnOnce() -> u64,
    ) -> Result<(), Error> {
        let Some(limit) = lock(&self.namespaces).state_quota(namespace) else {
            return Ok(());
        };
        let (used, more) = (Bytes(self.state_size(namespace).await?), more());
        if used.0.saturating_add(more) <= limit.0 {
            return Ok(());
        }
        Err(Error::StateQuota {
            namespace: namespace.clone(),
            limit,
            used,
            more: Bytes(more),
        })
    }

    async fn state_size(&self, namespace: &Namespace) -> Result<u64, store::Error> {
        let mut size = 0;
        for kind in [DEPLOYMENTS, REVISIONS, PLANS] {
            size += self.store.size(&format!("{kind}{namespace}/")).await?;
        }
        Ok(size)
    }
}

/// Keeps the ledgers of all namespaces.
pub(crate) struct LedgerKeeper {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) namespaces: Arc<Mutex<NamespaceBook>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) stop: CancellationToken,
}

impl LedgerKeeper {
    /// Keeps the ledgers, and sees to it that spending that outgrows a budget is looked at. Runs until the controller stops.
    pub(crate) async fn run(self) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(ACCOUNTING) => {}
            }
            if let Err(error) = self.fold_ledgers().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "ledgers could not be brought up to date"
                );
            }
            let outgrown = self.budgets.over_budget();
            if !outgrown.is_empty() {
                let mut cache = lock(&self.cache);
                outgrown.iter().for_each(|key| cache.enqueue(key));
                drop(cache);
                self.committer.wake.notify_one();
            }
        }
    }

    /// Takes ended intervals into the ledgers: each is deleted in the transaction that adds it, so none is lost and none counted twice.
    pub(crate) async fn fold_ledgers(&self) -> Result<(), store::Error> {
        let names: Vec<Namespace> = lock(&self.namespaces).accounts.keys().cloned().collect();
        for name in names {
            let (ledger, keys) = {
                let book = lock(&self.namespaces);
                let Some(account) = book.accounts.get(&name) else {
                    continue;
                };
                let mut ledger = account.ledger.clone();
                let taken = account
                    .segments
                    .iter()
                    .take(FOLD)
                    .inspect(|(_, s)| ledger.add(s))
                    .map(|(k, _)| k.clone());
                let keys: Vec<String> = taken.collect();
                (ledger, keys)
            };
            if keys.is_empty() {
                continue;
            }
            let mut change = Change::new();
            change.put(
                format!("{LEDGERS}{name}"),
                &LedgerRecord {
                    ledger: ledger.clone(),
                },
            )?;
            keys.iter().for_each(|key| change.delete(key.clone()));
            self.committer.commit(change).await?;
            if let Some(account) = lock(&self.namespaces).accounts.get_mut(&name) {
                account.ledger = ledger;
                account.segments.retain(|key, _| !keys.contains(key));
            }
        }
        Ok(())
    }
}

impl Handle {
    /// Namespaces with limits or deployments, by name.
    pub fn namespaces(
        &self,
        scope: &Scope,
        namespace: Option<&Namespace>,
        selector: &Selector,
        window: &Window<NamespaceSummary>,
    ) -> Page<NamespaceSummary> {
        // In another order than its own, the list has to be known whole.
        let asked = window.sort.is_some();
        let wanted = |name: &&Namespace| {
            scope.admits(name)
                && namespace.is_none_or(|n| n == *name)
                && (asked || window.admits(name))
        };
        let all = self.namespace_names();
        let names: Vec<Namespace> = {
            let book = lock(&self.shared.namespaces);
            let none = Labels::new();
            let labels = |name: &Namespace| {
                book.limits
                    .get(name)
                    .map_or(&none, |(r, _)| &r.manifest.metadata.labels)
            };
            let selected = all
                .iter()
                .filter(wanted)
                .filter(|name| selector.admits(labels(name)));
            let most = if asked {
                usize::MAX
            } else {
                window.limit.saturating_add(1)
            };
            selected.take(most).cloned().collect()
        };
        let now = self.shared.clock.now();
        let summaries = names
            .iter()
            .map(|name| self.shared.holdings(name).summary(name, now));
        Page::of(summaries, window)
    }

    /// The names of all of them.
    pub fn namespace_names(&self) -> BTreeSet<Namespace> {
        let mut names: BTreeSet<Namespace> = lock(&self.shared.cache).namespaces().collect();
        names.extend(lock(&self.shared.namespaces).limits.keys().cloned());
        names
    }

    /// The secrets that deployments of each namespace use, by name.
    pub fn secrets(&self) -> BTreeMap<Namespace, BTreeSet<String>> {
        let cache = lock(&self.shared.cache);
        let mut used: BTreeMap<Namespace, BTreeSet<String>> = BTreeMap::new();
        for (key, entry) in &cache.deployments {
            let names = entry
                .resolved
                .iter()
                .flat_map(|task| task.workload.secrets())
                .map(|secret| secret.name.clone());
            used.entry(key.namespace.clone()).or_default().extend(names);
        }
        used
    }

    /// None: it has neither limits nor deployments.
    pub fn namespace(&self, name: &Namespace) -> Option<NamespaceView> {
        let holdings = self.shared.holdings(name);
        if holdings.record.is_none() && holdings.entries.is_empty() {
            return None;
        }
        Some(NamespaceView {
            name: name.clone(),
            generation: holdings.record.as_ref().map_or(0, |r| r.generation),
            manifest: holdings.record.as_ref().map(|r| r.manifest.clone()),
            usage: holdings.usage(),
            spend: holdings.spend(self.shared.clock.now()),
            held_back: holdings.held().collect(),
        })
    }

    /// Stores the limits of a namespace. Equal ones change nothing.
    /// `if_generation`: 0 wants none to be set, n wants them at generation n.
    ///
    /// # Errors
    /// `Generation`, or the state can't be written.
    pub async fn put_namespace(
        &self,
        actor: &Actor,
        manifest: Document,
        if_generation: Option<u64>,
    ) -> Result<NamespaceOutcome, Error> {
        let name = manifest.metadata.name.clone();
        loop {
            if let NamespaceOutcome {
                outcome: Outcome::Unchanged,
                generation,
                ..
            } = self.try_put_namespace(&manifest, if_generation)?
            {
                return Ok(NamespaceOutcome {
                    name,
                    generation,
                    outcome: Outcome::Unchanged,
                });
            }
            let before = lock(&self.shared.namespaces).limits.get(&name).cloned();
            let generation = before.as_ref().map_or(0, |(r, _)| r.generation);
            check_generation(&name, if_generation, generation)?;
            let done = |generation, outcome| NamespaceOutcome {
                name: name.clone(),
                generation,
                outcome,
            };
            let (outcome, expect) = match &before {
                Some((_, revision)) => (
                    Outcome::Updated,
                    Expect::AtRevision {
                        key: path(&name),
                        revision: *revision,
                    },
                ),
                None => (Outcome::Created, Expect::Absent { key: path(&name) }),
            };
            let generation = generation + 1;
            let record = NamespaceRecord {
                generation,
                manifest: manifest.clone(),
                updated_at: self.shared.clock.now(),
            };
            let mut change = Change::of(event(
                Reason::NamespaceLimitsSet,
                actor,
                &name,
                format!("generation {generation}"),
            ));
            change.expect(expect);
            change.limits(&name, Some(record))?;
            match self.shared.committer.accept(change).await {
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(done(generation, outcome)),
            }
        }
    }

    /// What `put_namespace` would answer now. Changes nothing.
    ///
    /// # Errors
    /// `Generation`.
    pub fn try_put_namespace(
        &self,
        manifest: &Document,
        if_generation: Option<u64>,
    ) -> Result<NamespaceOutcome, Error> {
        let name = manifest.metadata.name.clone();
        let before = lock(&self.shared.namespaces)
            .limits
            .get(&name)
            .map(|(record, _)| record.clone());
        let generation = before.as_ref().map_or(0, |r| r.generation);
        check_generation(&name, if_generation, generation)?;
        let (generation, outcome) = match before {
            Some(r) if r.manifest == *manifest => (generation, Outcome::Unchanged),
            Some(_) => (generation + 1, Outcome::Updated),
            None => (1, Outcome::Created),
        };
        Ok(NamespaceOutcome {
            name,
            generation,
            outcome,
        })
    }

    /// Removes the limits of a namespace that has no deployments.
    ///
    /// # Errors
    /// `NotFound`, `Generation`, `InUse`, or the state can't be written.
    pub async fn delete_namespace(
        &self,
        actor: &Actor,
        name: &Namespace,
        if_generation: Option<u64>,
    ) -> Result<NamespaceOutcome, Error> {
        let deployments = lock(&self.shared.cache).of_namespace(name).count();
        let before = lock(&self.shared.namespaces).limits.get(name).cloned();
        let Some((record, revision)) = before else {
            return Err(Error::NotFound {
                what: "namespace",
                name: name.to_string(),
            });
        };
        check_generation(name, if_generation, record.generation)?;
        if deployments > 0 {
            return Err(Error::InUse {
                name: name.to_string(),
                deployments,
            });
        }
        let mut change = Change::of(event(
            Reason::NamespaceLimitsRemoved,
            actor,
            name,
            "it has no limits any more".to_owned(),
        ));
        change.expect(Expect::AtRevision {
            key: path(name),
            revision,
        });
        change.limits(name, None)?;
        self.shared.committer.accept(change).await?;
        Ok(NamespaceOutcome {
            name: name.clone(),
            generation: record.generation,
            outcome: Outcome::Deleting,
        })
    }
}

fn path(name: &Namespace) -> String {
    format!("{NAMESPACES}{name}")
}

fn check_generation(name: &Namespace, wanted: Option<u64>, actual: u64) -> Result<(), Error> {
    match wanted {
        Some(expected) if expected != actual => Err(Error::Generation {
            what: "namespace",
            name: name.to_string(),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}

fn event(reason: Reason, actor: &Actor, namespace: &Namespace, message: String) -> Event {
    crate::state::journal::namespace_event(Severity::Info, reason, actor, namespace, message)
}

impl Holdings {
    fn summary(&self, name: &Namespace, now: Instant) -> NamespaceSummary {
        NamespaceSummary {
            name: name.clone(),
            labels: self
                .record
                .as_ref()
                .map(|r| r.manifest.metadata.labels.clone())
                .unwrap_or_default(),
            usage: self.usage(),
            spend: self.spend(now),
            limited: self.record.is_some(),
            held_back: u32::try_from(self.held().count()).unwrap_or(u32::MAX),
        }
    }

    fn usage(&self) -> UsageView {
        let mut total = Usage::default();
        let mut deployments = 0;
        for entry in &self.entries {
            let used = entry
                .allocations
                .values()
                .map(|l| usage(&l.record, Millis(0)))
                .fold(Usage::default(), Usage::plus);
            deployments += u64::from(used.replicas > 0);
            total = total.plus(used);
        }
        UsageView {
            cpu_milli: total.cpu,
            memory: Bytes(total.memory),
            accelerators: total.accelerators,
            replicas: total.replicas,
            allocations: total.allocations,
            deployments,
        }
    }

    fn held(&self) -> impl Iterator<Item = HeldTask> {
        self.entries.iter().flat_map(|entry| {
            let name = &entry.record.manifest.metadata.name;
            entry.held.iter().map(move |held| HeldTask {
                deployment: name.clone(),
                held: held.clone().into(),
            })
        })
    }
}

impl Cache {
    /// The namespaces that have deployments, by name.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = Namespace> {
        let first = self
            .deployments
            .keys()
            .next()
            .map(|key| key.namespace.clone());
        std::iter::successors(first, |name| {
            let behind = (Excluded(last_of(name)?), Unbounded);
            self.deployments
                .range(behind)
                .next()
                .map(|(key, _)| key.namespace.clone())
        })
    }

    /// The deployments of a namespace.
    pub(crate) fn of_namespace<'a>(
        &'a self,
        name: &'a Namespace,
    ) -> impl Iterator<Item = (&'a DeploymentKey, &'a DeploymentState)> {
        self.copies_of_namespace(name)
            .map(|(key, entry)| (key, &**entry))
    }

    /// The same, for readers.
    fn copies_of_namespace<'a>(
        &'a self,
        name: &'a Namespace,
    ) -> impl Iterator<Item = (&'a DeploymentKey, &'a Arc<DeploymentState>)> {
        let from_here = first_of(name)
            .into_iter()
            .flat_map(|from| self.deployments.range_copies(from..));
        from_here.take_while(move |(key, _)| key.namespace == *name)
    }
}
