//! The book of namespaces: their limits and what they have spent, as committed. What follows from the limits is `admission`'s.

use std::collections::{BTreeMap, HashMap};

use tradewind_core::{
    budget::{Limits, Usage, forecast},
    ledger::{Amount, Ledger, Meter, Month, Segment},
    manifest::{ReplacementSpec, namespace::Approval},
    names::{InstanceName, Namespace},
    record::{
        AllocationRecord, HELD, HeldRecord, LEDGERS, LedgerRecord, NAMESPACES, NamespaceRecord,
        SEGMENTS,
    },
    store::{self, Revision, Store},
    units::{Bytes, Instant, Millis},
};

use crate::state::{
    cache::{Cache, DeploymentState},
    journal::decode,
};

/// What is known of the namespaces.
#[derive(Default)]
pub(crate) struct NamespaceBook {
    pub(crate) limits: BTreeMap<Namespace, (NamespaceRecord, Revision)>,
    pub(crate) accounts: HashMap<Namespace, Account>,
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
        let held = store.list(HELD).await?.records;
        if !held.is_empty() {
            let entries = cache.deployments.quietly().iter_mut();
            let mut entries: HashMap<String, &mut DeploymentState> = entries
                .map(|(key, entry)| (key.held_path(), entry))
                .collect();
            for stored in held {
                let record: HeldRecord = decode(&stored)?;
                if let Some(entry) = entries.get_mut(&stored.key) {
                    entry.held = record.tasks;
                }
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
    pub(crate) fn state_quota(&self, namespace: &Namespace) -> Option<Bytes> {
        self.limits
            .get(namespace)
            .and_then(|(r, _)| r.manifest.spec.quota.state)
    }

    pub(crate) fn limited(&self) -> Vec<Namespace> {
        self.limits.keys().cloned().collect()
    }
}

/// What a namespace has spent, but for what is running up.
#[derive(Clone, Default)]
pub(crate) struct Account {
    pub(crate) ledger: Ledger,
    /// Stored beside the ledger, and to be taken into it: by key.
    pub(crate) segments: BTreeMap<String, Segment>,
}

/// An interval of cost that ended with a transaction, and its key.
pub(crate) struct Charge {
    pub(crate) key: String,
    pub(crate) segment: Segment,
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
