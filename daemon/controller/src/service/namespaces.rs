//! Namespaces: their limits as stored, what they have spent, and how the API sees both. What follows from the limits is `admission`'s.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
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
    budget::{Limits, Usage, forecast},
    event::{Event, Severity},
    identity::Scope,
    ledger::{Amount, Ledger, Meter, Month, Segment},
    list::{Page, Selector, Window},
    manifest::{
        ReplacementSpec,
        namespace::{Approval, Document},
    },
    names::{Actor, InstanceName, Namespace},
    plan::stored::PLANS,
    record::{
        AllocationRecord, DEPLOYMENTS, DeploymentKey, HELD, HeldRecord, LEDGERS, LedgerRecord,
        NAMESPACES, NamespaceRecord, REVISIONS, SEGMENTS,
    },
    store::{self, Expect, Revision, Store},
    units::{Bytes, Instant, MicroUsd, Millis},
    workload::Labels,
};

use crate::{
    Error, Handle, Shared, lock,
    schedule::admission::Budgets,
    service::listing::{first_of, last_of},
    state::cache::{Cache, DeploymentState},
    state::commit::{Change, Committer},
    state::journal::decode,
};

/// The most intervals that are taken into a ledger at once.
const FOLD: usize = 1_000;
/// How often ledgers are brought up to date, and spending is compared with the budgets.
const ACCOUNTING: Duration = Duration::from_secs(10);

/// What is known of the namespaces.
#[derive(Default)]
pub(crate) struct NamespaceBook {
    limits: BTreeMap<Namespace, (NamespaceRecord, Revision)>,
    accounts: HashMap<Namespace, Account>,
}

/// What a namespace has spent, but for what is running up.
#[derive(Clone, Default)]
struct Account {
    ledger: Ledger,
    /// Stored beside the ledger, and to be taken into it: by key.
    segments: BTreeMap<String, Segment>,
}

/// What is known of a namespace, taken at one moment and read when no lock is held any more.
struct Holdings {
    record: Option<NamespaceRecord>,
    account: Account,
    entries: Vec<Arc<DeploymentState>>,
}

/// An interval of cost that ended with a transaction, and its key.
pub(crate) struct Charge {
    pub(crate) key: String,
    pub(crate) segment: Segment,
}

impl NamespaceBook {
    /// # Errors
    /// The state can't be read, or has a document that this version does not understand.
    pub(crate) async fn load(store: &dyn Store, cache: &mut Cache) -> Result<Self, store::Error> {
        let mut book = Self::default();
        for stored in store.list(NAMESPACES).await?.records {
            let record: NamespaceRecord = decode(&stored)?;
            book.limits.insert(
                record.manifest.metadata.name.clone(),
                (record, stored.revision),
            );
        }
        for stored in store.list(LEDGERS).await?.records {
            let record: LedgerRecord = decode(&stored)?;
            if let Ok(name) = stored.key.trim_start_matches(LEDGERS).parse::<Namespace>() {
                book.accounts.entry(name).or_default().ledger = record.ledger;
            }
        }
        for stored in store.list(SEGMENTS).await?.records {
            let segment: Segment = decode(&stored)?;
            book.charge(Charge {
                key: stored.key,
                segment,
            });
        }
        for stored in store.list(HELD).await?.records {
            let record: HeldRecord = decode(&stored)?;
            let entry = cache
                .deployments
                .iter_mut()
                .find(|(key, _)| key.held_path() == stored.key);
            if let Some((_, entry)) = entry {
                entry.held = record.tasks;
            }
        }
        Ok(book)
    }

    /// Shows committed limits; none: they have been removed. A later write that was shown first stays.
    pub(crate) fn set_limits(
        &mut self,
        namespace: &Namespace,
        record: Option<NamespaceRecord>,
        revision: Revision,
    ) {
        if self
            .limits
            .get(namespace)
            .is_some_and(|(_, shown)| *shown >= revision)
        {
            return;
        }
        match record {
            Some(record) => drop(self.limits.insert(namespace.clone(), (record, revision))),
            None => drop(self.limits.remove(namespace)),
        }
    }

    /// Shows the intervals of a committed transaction.
    pub(crate) fn charge_all(&mut self, charges: impl IntoIterator<Item = Charge>) {
        charges.into_iter().for_each(|charge| self.charge(charge));
    }

    fn charge(&mut self, charge: Charge) {
        let account = self
            .accounts
            .entry(charge.segment.namespace.clone())
            .or_default();
        account.segments.insert(charge.key, charge.segment);
    }

    /// The limits of a namespace, and what has been spent of its month. None: it has none.
    pub(crate) fn limits<'a>(
        &self,
        namespace: &Namespace,
        now: Instant,
        records: impl Iterator<Item = &'a AllocationRecord>,
    ) -> Option<Limits> {
        let (record, _) = self.limits.get(namespace)?;
        let spent = if record.manifest.spec.budget.is_some() {
            self.spent(namespace, now, records)
        } else {
            Amount::default()
        };
        Some(Limits::new(namespace, &record.manifest.spec, spent.whole())).filter(|l| !l.is_none())
    }

    fn spent<'a>(
        &self,
        namespace: &Namespace,
        now: Instant,
        records: impl Iterator<Item = &'a AllocationRecord>,
    ) -> Amount {
        let month = Month::of(now);
        let running = records.map(|r| Meter::running(r, now).within(month));
        let account = self.accounts.get(namespace);
        let ended = account
            .into_iter()
            .flat_map(|a| a.segments.values())
            .map(|s| s.within(month));
        let before = account.map(|a| a.ledger.month(month)).unwrap_or_default();
        running.chain(ended).fold(before, Amount::plus)
    }

    /// The policy of deployments that name none.
    pub(crate) fn policy(&self, namespace: &Namespace) -> Option<&InstanceName> {
        self.limits
            .get(namespace)
            .and_then(|(r, _)| r.manifest.spec.policy.as_ref())
    }

    /// Who has to agree to changes there. None: it does not say.
    pub(crate) fn approval(&self, namespace: &Namespace) -> Option<Approval> {
        self.limits
            .get(namespace)
            .and_then(|(r, _)| r.manifest.spec.approval)
    }

    /// How deployments move that do not say themselves. None: they stay.
    pub(crate) fn replacement(&self, namespace: &Namespace) -> Option<&ReplacementSpec> {
        self.limits
            .get(namespace)
            .and_then(|(r, _)| r.manifest.spec.replacement.as_ref())
    }

    /// How many bytes of the state it may take. None: it does not say.
    fn state_quota(&self, namespace: &Namespace) -> Option<Bytes> {
        self.limits
            .get(namespace)
            .and_then(|(r, _)| r.manifest.spec.quota.state)
    }

    pub(crate) fn limited(&self) -> Vec<Namespace> {
        self.limits.keys().cloned().collect()
    }
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

/// How much of the month what an allocation does will still take.
pub(crate) fn lasts(entry: &DeploymentState, record: &AllocationRecord, now: Instant) -> Millis {
    let task = entry
        .resolved
        .iter()
        .find(|t| t.name == record.task && t.target == record.target);
    let job = matches!(
        record.intent.workload.run,
        tradewind_core::workload::Run::Job { .. }
    );
    match task.filter(|_| job) {
        Some(task) => job_lasts(
            record.intent.takes.unwrap_or(task.duration),
            now.since(record.intent.created_at),
            now,
        ),
        None => Month::left(now),
    }
}

/// A job that takes longer than estimated is taken to need another hour.
pub(crate) fn job_lasts(duration: Millis, since: Millis, now: Instant) -> Millis {
    let left = Millis(duration.0.saturating_sub(since.0));
    let left = if left.0 == 0 { Millis(3_600_000) } else { left };
    left.min(Month::left(now))
}

/// What a record uses of its namespace, money by its meter or its offer.
pub(crate) fn usage(record: &AllocationRecord, lasts: Millis) -> Usage {
    if record.status.phase.is_final() {
        return Usage::default();
    }
    let metered = record.status.meter.and_then(|m| m.metered);
    let hourly = metered.unwrap_or_else(|| record.hourly_total());
    let resources = &record.intent.workload.resources;
    let one = Usage {
        cpu: u64::from(resources.cpu.0),
        memory: resources.memory.0,
        accelerators: resources
            .accelerators
            .iter()
            .map(|a| u64::from(a.count))
            .sum(),
        replicas: 1,
        ..Usage::default()
    };
    Usage {
        hourly: hourly.0,
        monthly: forecast(hourly, lasts).0,
        allocations: 1,
        ..one.times(u64::from(record.intent.replicas))
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
        let wanted = |name: &&Namespace| {
            scope.admits(name) && namespace.is_none_or(|n| n == *name) && window.admits(name)
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
            selected
                .take(window.limit.saturating_add(1))
                .cloned()
                .collect()
        };
        let now = self.shared.clock.now();
        Page::first(
            names
                .iter()
                .map(|name| self.shared.holdings(name).summary(name, now)),
            window.limit,
        )
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
                "NamespaceLimitsSet",
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
            "NamespaceLimitsRemoved",
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

fn event(reason: &str, actor: &Actor, namespace: &Namespace, message: String) -> Event {
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
