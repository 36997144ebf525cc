//! The one way into the state. Whoever changes something describes it as a `Change` and hands it to the `Committer`, which takes these steps,
//! in this order, each by its law:
//!
//! 1. **Expect**: a record that exists is written only if it is still the one that was looked at. Otherwise `Conflict`, and nothing happens.
//! 2. **Put** and **event**: every document of the change and every event that tells of it are one transaction.
//! 3. **Ledger**: an interval of cost that ends with the change is stored in the same transaction: none is lost, none counted twice.
//! 4. **Commit**: until the store has answered, nobody sees any of it. After an error nothing has changed.
//! 5. **Show**: the cache has it before anybody is told. A later write that was shown first stays; what has gone meanwhile stays gone.
//! 6. **Enqueue** and **wake**: whoever follows a deployment is told, then the deployments that the change names are reconciled.
//!
//! `accept` is cancel-safe: a client that leaves while its change is being stored does not leave the cache behind the store. What it has begun
//! goes on in a task of its own. `commit` is for the controller's own tasks, which nobody drops.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tradewind_core::{
    capability::{Clock, Paces},
    cordon::CordonRecord,
    decision::Decision,
    document::{Document, encode},
    event::{Cause, Event},
    ledger::Segment,
    names::{AllocationId, EventId, Namespace},
    record::{
        AllocationRecord, DECISIONS, DeploymentKey, DeploymentRecord, EVENTS, NAMESPACES,
        NamespaceRecord, SEGMENTS,
    },
    store::{Error, Expect, Revision, Store, Txn},
};
use ulid::Ulid;

use crate::{
    lock, request,
    state::book::{Charge, NamespaceBook},
    state::cache::{Cache, DeploymentState},
    state::inputs::Inputs,
    state::journal::changing,
    state::progress::Progress,
    state::timings::Timings,
};

/// What shall become true, all of it or nothing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Change {
    txn: Txn,
    events: Vec<Event>,
    segments: Vec<(AllocationId, Segment)>,
    shown: Vec<Shown>,
    enqueued: Vec<DeploymentKey>,
    inputs: Option<Arc<Inputs>>,
}

/// What the cache has of a committed change.
#[derive(Debug, Clone)]
enum Shown {
    /// A deployment with another spec, or one that is to go: what has failed before says nothing about it.
    Spec(DeploymentKey, Box<DeploymentRecord>),
    /// A record of the same spec: its update came further, or its load asks for other numbers.
    Progress(DeploymentKey, Box<DeploymentRecord>),
    DeploymentGone(DeploymentKey),
    Placed(Box<AllocationRecord>),
    Changed(Box<AllocationRecord>),
    AllocationGone(AllocationId),
    /// Other limits, or none any more: they may change anything in the namespace.
    Limits(Namespace, Option<Box<NamespaceRecord>>),
    Cordoned(Box<CordonRecord>),
    Uncordoned(Box<CordonRecord>),
}

// === impl Change ===

impl Change {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A change that only an event tells of.
    pub(crate) fn of(event: Event) -> Self {
        Self {
            events: vec![event],
            ..Self::default()
        }
    }

    /// Whether it would change nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.txn.is_empty() && self.events.is_empty() && self.segments.is_empty()
    }

    pub(crate) fn expect(&mut self, expect: Expect) {
        self.txn.expects.push(expect);
    }

    /// A document that the cache does not show.
    ///
    /// # Errors
    /// It has no JSON form.
    pub(crate) fn put<T: Document>(
        &mut self,
        key: impl Into<String>,
        document: &T,
    ) -> Result<(), Error> {
        let bytes = encode(document)?;
        self.edit(|txn| txn.put(key, bytes));
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: impl Into<String>) {
        self.edit(|txn| txn.delete(key));
    }

    /// Lets go of the beginning of the audit log.
    pub(crate) fn cut_audit(&mut self, through: u64) {
        self.edit(|txn| txn.cut_audit(through));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// A deployment with another spec. The expectation is the caller's: it may be a new one.
    pub(crate) fn put_spec(
        &mut self,
        key: &DeploymentKey,
        record: DeploymentRecord,
    ) -> Result<(), Error> {
        self.put(key.path(), &record)?;
        self.shown.push(Shown::Spec(key.clone(), Box::new(record)));
        Ok(())
    }

    /// A deployment's record with the spec that it has.
    pub(crate) fn put_progress(
        &mut self,
        key: &DeploymentKey,
        record: DeploymentRecord,
    ) -> Result<(), Error> {
        self.put(key.path(), &record)?;
        self.shown
            .push(Shown::Progress(key.clone(), Box::new(record)));
        Ok(())
    }

    /// Nothing of the deployment is left.
    pub(crate) fn delete_deployment(
        &mut self,
        key: &DeploymentKey,
        record: &DeploymentRecord,
        revision: Revision,
    ) {
        self.expect(Expect::AtRevision {
            key: key.path(),
            revision,
        });
        self.delete(key.path());
        record
            .revisions
            .iter()
            .for_each(|kept| self.delete(key.revision_path(kept.generation)));
        self.delete(key.images_path());
        self.shown.push(Shown::DeploymentGone(key.clone()));
    }

    /// An allocation that did not exist before.
    pub(crate) fn place(&mut self, record: AllocationRecord) -> Result<(), Error> {
        self.put(record.path(), &record)?;
        self.shown.push(Shown::Placed(Box::new(record)));
        Ok(())
    }

    /// An allocation whose record was of this revision.
    pub(crate) fn put_allocation(
        &mut self,
        record: AllocationRecord,
        revision: Revision,
    ) -> Result<(), Error> {
        self.expect(Expect::AtRevision {
            key: record.path(),
            revision,
        });
        self.put(record.path(), &record)?;
        self.shown.push(Shown::Changed(Box::new(record)));
        Ok(())
    }

    pub(crate) fn delete_allocation(&mut self, record: &AllocationRecord, revision: Revision) {
        self.expect(Expect::AtRevision {
            key: record.path(),
            revision,
        });
        self.delete(record.path());
        self.shown.push(Shown::AllocationGone(record.id.clone()));
    }

    /// The limits of a namespace; none: they are removed. The expectation is the caller's.
    pub(crate) fn limits(
        &mut self,
        namespace: &Namespace,
        record: Option<NamespaceRecord>,
    ) -> Result<(), Error> {
        let key = format!("{NAMESPACES}{namespace}");
        match &record {
            Some(record) => self.put(key, record)?,
            None => self.delete(key),
        }
        self.shown
            .push(Shown::Limits(namespace.clone(), record.map(Box::new)));
        Ok(())
    }

    /// A cordon whose record was of this revision; none: there was no such record.
    pub(crate) fn cordon(
        &mut self,
        record: CordonRecord,
        revision: Option<Revision>,
    ) -> Result<(), Error> {
        let key = record.path();
        self.expect(match revision {
            Some(revision) => Expect::AtRevision {
                key: key.clone(),
                revision,
            },
            None => Expect::Absent { key: key.clone() },
        });
        self.put(key, &record)?;
        self.shown.push(Shown::Cordoned(Box::new(record)));
        Ok(())
    }

    /// Lifts a cordon whose record was of this revision.
    pub(crate) fn uncordon(&mut self, record: CordonRecord, revision: Revision) {
        let key = record.path();
        self.expect(Expect::AtRevision {
            key: key.clone(),
            revision,
        });
        self.delete(key);
        self.shown.push(Shown::Uncordoned(Box::new(record)));
    }

    /// An interval of an allocation's cost that ends with this change.
    pub(crate) fn segment(&mut self, allocation: &AllocationId, segment: Option<Segment>) {
        self.segments
            .extend(segment.map(|segment| (allocation.clone(), segment)));
    }

    pub(crate) fn decision(&mut self, decision: &Decision) -> Result<(), Error> {
        self.put(format!("{DECISIONS}{}", decision.id), decision)
    }

    /// The policy call that a decision of this change came of.
    pub(crate) fn inputs(&mut self, inputs: Option<&Arc<Inputs>>) {
        self.inputs = inputs.cloned();
    }

    /// The deployment is reconciled once the change is shown.
    pub(crate) fn enqueue(&mut self, key: &DeploymentKey) {
        self.enqueued.push(key.clone());
    }

    /// Both, in this order.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.txn = self.txn.and(other.txn);
        self.events.extend(other.events);
        self.segments.extend(other.segments);
        self.shown.extend(other.shown);
        self.enqueued.extend(other.enqueued);
        self.inputs = self.inputs.or(other.inputs);
        self
    }

    fn edit(&mut self, edit: impl FnOnce(Txn) -> Txn) {
        self.txn = edit(std::mem::take(&mut self.txn));
    }
}

/// Draws identifiers that are ordered by time, behind all that have been recorded.
pub(crate) struct Ids {
    clock: Arc<dyn Clock>,
    generator: Mutex<ulid::Generator>,
}

impl Ids {
    pub(crate) fn new(clock: Arc<dyn Clock>, generator: ulid::Generator) -> Self {
        Self {
            clock,
            generator: Mutex::new(generator),
        }
    }

    pub(crate) fn draw(&self) -> Ulid {
        let since_epoch = std::time::Duration::from_millis(self.clock.now().0);
        let now = std::time::UNIX_EPOCH
            .checked_add(since_epoch)
            .unwrap_or(std::time::UNIX_EPOCH);
        let mut generator = lock(&self.generator);
        // The generator runs out only after 2^80 identifiers within one millisecond.
        generator
            .generate_from_datetime(now)
            .unwrap_or_else(|_| Ulid::r#gen())
    }
}

/// The writer of the state. It alone has the store's `commit`.
pub(crate) struct Committer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) paces: Arc<dyn Paces>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    /// Taken after `cache` where both are.
    pub(crate) namespaces: Arc<Mutex<NamespaceBook>>,
    /// How far the cache shows what is stored.
    pub(crate) progress: Arc<Progress>,
    /// There may be something to reconcile.
    pub(crate) wake: Arc<Notify>,
    /// How long the parts of the controller take.
    pub(crate) timings: Arc<Timings>,
}

// === impl Committer ===

impl Committer {
    /// What a request asks for.
    ///
    /// # Errors
    /// Those of `commit`, and `Closed` when the runtime ends meanwhile.
    pub(crate) async fn accept(self: &Arc<Self>, change: Change) -> Result<Revision, Error> {
        let this = self.clone();
        let work = async move { this.commit(change).await };
        // Another task does not know by itself which request this is.
        let committed = match request::current() {
            Some(id) => tokio::spawn(request::scope(id, work)),
            None => tokio::spawn(work),
        };
        committed.await.map_err(|_| Error::Closed)?
    }

    /// # Errors
    /// `Conflict` when an expectation does not hold, or the store's; nothing has changed then.
    pub(crate) async fn commit(&self, change: Change) -> Result<Revision, Error> {
        let (revision, ()) = self.commit_showing(change, |_| ()).await?;
        Ok(revision)
    }

    /// The same; `also` is done to the cache with what is shown, lock held: nobody sees the one without the other.
    ///
    /// # Errors
    /// Those of `commit`; `also` is not called then.
    pub(crate) async fn commit_showing<T>(
        &self,
        change: Change,
        also: impl FnOnce(&mut Cache) -> T,
    ) -> Result<(Revision, T), Error> {
        let Change {
            mut txn,
            events,
            segments,
            shown,
            enqueued,
            inputs,
        } = change;
        for event in events {
            txn = self.append_event(txn, event)?;
        }
        let mut charges = Vec::new();
        for (allocation, segment) in segments {
            let id = self.ids.draw().to_string().to_lowercase();
            let key = format!("{SEGMENTS}{}/{allocation}-{id}", segment.namespace);
            txn = txn.put(key.clone(), encode(&segment)?);
            charges.push(Charge { key, segment });
        }
        let under_way = self.progress.begin();
        let revision = match &inputs {
            None => self.timings.store.time(self.store.commit(txn)).await?,
            Some(inputs) => {
                let (txn, storing) = inputs.join(txn).await?;
                let revision = self.timings.store.time(self.store.commit(txn)).await?;
                storing.done();
                revision
            }
        };

        let enqueues = |shown: &Shown| {
            matches!(
                shown,
                Shown::Limits(..) | Shown::Cordoned(_) | Shown::Uncordoned(_)
            )
        };
        let wakes = !enqueued.is_empty() || shown.iter().any(enqueues);
        let gone: Vec<AllocationId> = shown.iter().filter_map(Shown::gone).cloned().collect();
        let answer = {
            let mut cache = lock(&self.cache);
            let mut book = lock(&self.namespaces);
            book.charge_all(charges);
            cache.deployments.changes.show(revision);
            shown
                .into_iter()
                .for_each(|shown| shown.show(&mut cache, &mut book, revision));
            drop(book);
            enqueued.iter().for_each(|key| cache.enqueue(key));
            also(&mut cache)
        };
        under_way.shown(revision);
        gone.iter().for_each(|id| self.paces.set(id, None));
        if wakes {
            self.wake.notify_one();
        }
        Ok((revision, answer))
    }

    /// Changes allocations whose records were of these revisions, each with what is told of it. Their deployments are reconciled.
    ///
    /// # Errors
    /// Those of `commit`, for all of them.
    pub(crate) async fn revise(
        &self,
        changes: &[(AllocationRecord, Option<Event>, Revision)],
    ) -> Result<(), Error> {
        self.revise_showing(changes, |_| ()).await
    }

    /// The same; `also` is done to the cache before anybody reconciles.
    ///
    /// # Errors
    /// Those of `commit`; `also` is not called then.
    pub(crate) async fn revise_showing(
        &self,
        changes: &[(AllocationRecord, Option<Event>, Revision)],
        also: impl FnOnce(&mut Cache),
    ) -> Result<(), Error> {
        let mut change = Change::new();
        for (after, told, revision) in changes {
            if let Some(told) = told {
                let before = lock(&self.cache).live(&after.id).map(|l| l.record.clone());
                change.event(changing(told.clone(), before.as_ref(), Some(after)));
            }
            change.enqueue(&after.key());
            change.put_allocation(after.clone(), *revision)?;
        }
        self.commit_showing(change, also).await.map(drop)
    }

    /// An event that comes with no other change. What can't be stored is in the log.
    pub(crate) async fn emit_event(&self, event: Event) {
        if let Err(error) = self.commit(Change::of(event)).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an event could not be recorded"
            );
        }
    }

    /// Adds the event for those who follow events and for the audit log. Within a request, that is what led to it unless something nearer did.
    fn append_event(&self, txn: Txn, mut event: Event) -> Result<Txn, Error> {
        let id = EventId::new(self.ids.draw());
        event.at = self.clock.now();
        event.cause = event
            .cause
            .or_else(|| request::current().map(Cause::Request));
        let key = format!("{EVENTS}{id}");
        event.id = Some(id);
        let bytes = encode(&event)?;
        Ok(txn.put(key, bytes.clone()).audit(bytes))
    }
}

// === impl Shown ===

impl Shown {
    fn gone(&self) -> Option<&AllocationId> {
        match self {
            Self::AllocationGone(id) => Some(id),
            _ => None,
        }
    }

    fn show(self, cache: &mut Cache, book: &mut NamespaceBook, revision: Revision) {
        let key = match self {
            Self::Spec(key, record) => {
                match cache.deployments.get_mut(&key) {
                    Some(entry) if entry.revision < revision => entry.replace(*record, revision),
                    // A later write has been shown first.
                    Some(_) => {}
                    None => {
                        cache
                            .deployments
                            .insert(key.clone(), DeploymentState::new(*record, revision));
                    }
                }
                key
            }
            Self::Progress(key, record) => {
                if let Some(entry) = cache.deployments.get_mut(&key) {
                    entry.advance(*record, revision);
                }
                key
            }
            Self::Limits(namespace, record) => {
                book.set_limits(&namespace, record.map(|record| *record), revision);
                let keys: Vec<_> = cache
                    .of_namespace(&namespace)
                    .map(|(key, _)| key.clone())
                    .collect();
                return keys.iter().for_each(|key| cache.enqueue(key));
            }
            Self::Cordoned(record) => return cache.set_cordon(*record, revision),
            Self::Uncordoned(record) => return cache.lift_cordon(&record),
            Self::DeploymentGone(key) => {
                if let Some(entry) = cache.remove_deployment(&key) {
                    entry.changed.notify_waiters();
                }
                return;
            }
            Self::Placed(record) => {
                let key = record.key();
                cache.insert_allocation(*record, revision);
                key
            }
            Self::Changed(record) => {
                let key = record.key();
                if cache.owners.contains_key(&record.id) {
                    cache.insert_allocation(*record, revision);
                }
                key
            }
            Self::AllocationGone(id) => {
                let key = cache.owners.get(&id).cloned();
                cache.remove_allocation(&id);
                let Some(key) = key else { return };
                key
            }
        };
        if let Some(entry) = cache.deployments.get(&key) {
            entry.changed.notify_waiters();
        }
    }
}
