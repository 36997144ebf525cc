//! Offers of every provider, asked for concurrently and kept for a while, less what has been promised since they were quoted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant as Tick, timeout_at},
};
use tokio_util::task::TaskTracker;
use tradewind_core::{
    assess,
    capability::Clock,
    failure::{Failure, NO_ANSWER_YET, ProviderFailure},
    names::{AllocationId, InstanceName},
    offer::{Offer, OffersQuery},
    place_health::{Place, Sheet},
    placement::{Exclusion, PlacedOffer, Table},
    plugin::{Plugins, Provider, Snapshot},
    quality::Measures,
    record::{AllocationRecord, DeploymentKey, Stage},
    settings::StaleQuotes,
    units::Millis,
    workload::Resources,
};

use crate::{
    Options, lock,
    observe::{measurements::Meters, outages::Outages, place_health::PlaceHealth},
    state::{
        cache::{Cache, Reserved},
        notes::Version,
    },
};

/// How soon a provider that had no room is asked again.
pub(crate) const ROOM_AGAIN: Millis = Millis(2_000);
/// How soon a provider is asked again that failed to answer, where a deployment waits for its offers.
const FAILED_AGAIN: Millis = Millis(5_000);

#[derive(Default)]
pub(crate) struct OfferCache {
    quotes: Mutex<HashMap<InstanceName, Quote>>,
    /// The last answer of each that was none of a failure, outdated ones too.
    last: Mutex<HashMap<InstanceName, Quote>>,
    /// Who wants to know when a provider has answered anew.
    curious: Mutex<HashMap<InstanceName, BTreeSet<DeploymentKey>>>,
    /// Questions that are under way, by the version that is asked.
    asking: Mutex<HashMap<(InstanceName, Version), Asking>>,
    /// When an answer was last found to be outdated.
    forgotten: Mutex<HashMap<InstanceName, Tick>>,
}

/// What is known of the room at an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Replicas(u32),
    /// What was quoted does not hold any more: its provider has to be asked.
    Unknown,
}

/// A question under way.
#[derive(Clone)]
struct Asking {
    since: Tick,
    /// Closes when the answer is in the book.
    done: watch::Receiver<()>,
}

/// One provider's last answer.
#[derive(Clone)]
struct Quote {
    version: Version,
    asked: Tick,
    answered: Tick,
    answer: Result<Arc<Vec<Offer>>, Failure>,
}

impl Quote {
    /// Whether nobody waits for a newer one. One that is out of date is asked for beside.
    fn is_usable(&self, ttl: Duration) -> bool {
        let age = self.answered.elapsed();
        age < ttl || self.answer.is_err() || age < 2 * ttl
    }

    /// Whether more is free than an earlier answer told.
    fn has_more_room_than(&self, before: &Quote) -> bool {
        let (Ok(new), Ok(old)) = (&self.answer, &before.answer) else {
            return false;
        };
        let old: HashMap<&str, &Offer> = old.iter().map(|o| (&*o.id, o)).collect();
        new.iter().any(|o| {
            old.get(&*o.id).is_none_or(|b| {
                o.capacity > b.capacity || o.free_cpu > b.free_cpu || o.free_memory > b.free_memory
            })
        })
    }
}

pub(crate) fn version(provider: &dyn Provider) -> Version {
    let identity = provider.identity();
    (identity.component, identity.settings)
}

impl OfferCache {
    /// The next assessment asks this provider again.
    pub(crate) fn invalidate(&self, provider: &InstanceName) {
        lock(&self.forgotten).insert(provider.clone(), Tick::now());
        lock(&self.quotes).remove(provider);
    }

    /// The provider is gone, and its quotes with it.
    pub(crate) fn forget(&self, provider: &InstanceName) {
        self.invalidate(provider);
        lock(&self.last).remove(provider);
    }

    /// How old the last offers of each provider are. A failure is no answer.
    pub(crate) fn ages(&self) -> BTreeMap<InstanceName, Duration> {
        let last = lock(&self.last);
        last.iter()
            .map(|(provider, quote)| (provider.clone(), quote.answered.elapsed()))
            .collect()
    }

    fn outdated(&self, quote: &Quote, provider: &InstanceName) -> bool {
        lock(&self.forgotten)
            .get(provider)
            .is_some_and(|at| *at > quote.asked)
    }

    /// Replicas of a task that an offer can still take: as quoted, less what has been promised since, and less what other tasks will need
    /// there before they are whole. What was quoted longer ago than `fresh` does not count, but where there is no limit.
    pub(crate) fn room(
        &self,
        cache: &Cache,
        of: &AllocationRecord,
        needs: &Resources,
        fresh: Millis,
    ) -> Room {
        let holds = |q: &&Quote| {
            q.answer.is_ok()
                && q.asked.elapsed() <= fresh.std()
                && !self.outdated(q, &of.intent.provider)
        };
        let quote = lock(&self.quotes)
            .get(&of.intent.provider)
            .filter(holds)
            .cloned();
        let current = quote.is_some();
        let Some(quote) = quote.or_else(|| lock(&self.last).get(&of.intent.provider).cloned())
        else {
            return Room::Unknown;
        };
        let offers = quote.answer.iter().flat_map(|list| list.iter());
        // What is not offered any more is for its provider to give or to refuse.
        let Some(mut offer) = offers
            .into_iter()
            .find(|o| *o.id == *of.intent.offer.id)
            .cloned()
        else {
            return if current {
                Room::Replicas(u32::MAX)
            } else {
                Room::Unknown
            };
        };
        if offer.capacity == u32::MAX && !offer.shared {
            return Room::Replicas(u32::MAX);
        }
        if !current
            && lock(&self.quotes)
                .get(&of.intent.provider)
                .is_none_or(|q| q.answer.is_ok())
        {
            return Room::Unknown;
        }
        let reserved = cache
            .reserved
            .get(&of.intent.provider)
            .into_iter()
            .flat_map(HashMap::values);
        for r in reserved.filter(|r| {
            r.offer == of.intent.offer.id && r.settled.is_none_or(|at| at >= quote.asked)
        }) {
            offer.take(r.replicas, u64::from(r.cpu), r.memory);
        }
        for (key, replicas, each) in cache.owed(&of.intent.provider, &of.intent.offer.id) {
            if key != (&of.namespace, &of.deployment, &of.task, of.target.as_ref()) {
                offer.take(replicas, u64::from(each.cpu.0), each.memory.0);
            }
        }
        let share = |free: u64, need: u64| {
            if free == u64::MAX {
                u64::MAX
            } else {
                free / need.max(1)
            }
        };
        let shared = if offer.shared {
            share(offer.free_cpu, u64::from(needs.cpu.0))
                .min(share(offer.free_memory, needs.memory.0))
        } else {
            u64::MAX
        };
        Room::Replicas(
            offer
                .capacity
                .min(u32::try_from(shared).unwrap_or(u32::MAX)),
        )
    }

    /// How long ago a provider was asked for what is known of it now. None: nothing is.
    fn age(&self, provider: &InstanceName) -> Option<Duration> {
        lock(&self.quotes)
            .get(provider)
            .filter(|q| !self.outdated(q, provider))
            .map(|q| q.asked.elapsed())
    }

    /// Takes an answer in. Answers who wanted to know.
    fn record_answer(&self, provider: &InstanceName, quote: Quote) -> BTreeSet<DeploymentKey> {
        if quote.answer.is_ok() {
            lock(&self.last).insert(provider.clone(), quote.clone());
        }
        lock(&self.quotes).insert(provider.clone(), quote);
        lock(&self.curious).remove(provider).unwrap_or_default()
    }

    /// Whether replicas of all sizes share an offer, as it was quoted last.
    pub(crate) fn is_shared(&self, provider: &InstanceName, offer: &str) -> bool {
        let quotes = lock(&self.quotes);
        let mut offers = quotes
            .get(provider)
            .into_iter()
            .flat_map(|q| q.answer.iter())
            .flat_map(|list| list.iter());
        offers.any(|o| o.shared && *o.id == *offer)
    }

    /// The providers whose offers are known.
    pub(crate) fn answered(&self) -> BTreeSet<InstanceName> {
        lock(&self.quotes)
            .iter()
            .filter(|(_, q)| q.answer.is_ok())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether an assessment would wait for an answer now, which may tell of room that nobody has seen yet.
    pub(crate) fn asks_anew(&self, snapshot: &Snapshot, ttl: Millis) -> bool {
        let ttl = ttl.std();
        snapshot.providers.values().any(|provider| {
            self.quote(provider.as_ref())
                .is_none_or(|q| !q.is_usable(ttl))
        })
    }

    fn quote(&self, provider: &dyn Provider) -> Option<Quote> {
        let version = version(provider);
        lock(&self.quotes)
            .get(&provider.identity().instance)
            .filter(|q| q.version == version)
            .cloned()
    }

    /// Every offer as it was quoted, by provider and id.
    pub(crate) fn quoted(&self) -> HashMap<(InstanceName, String), Offer> {
        let quotes = lock(&self.quotes);
        let offers = quotes.iter().flat_map(|(name, q)| {
            q.answer
                .iter()
                .flat_map(|list| list.iter())
                .map(move |o| (name, o))
        });
        offers
            .map(|(name, offer)| ((name.clone(), offer.id.to_string()), offer.clone()))
            .collect()
    }

    /// Every place that something was offered at.
    pub(crate) fn places(&self) -> BTreeSet<Place> {
        let quotes = lock(&self.quotes);
        let offers = quotes.iter().flat_map(|(name, q)| {
            q.answer
                .iter()
                .flat_map(|list| list.iter())
                .map(move |o| (name, &o.region))
        });
        let distinct: BTreeSet<_> = offers.collect();
        distinct
            .into_iter()
            .map(|(name, region)| Place {
                provider: name.clone(),
                region: region.to_string(),
            })
            .collect()
    }

    /// The same, by the last answer that was none of a failure.
    pub(crate) fn known_places(&self) -> BTreeSet<Place> {
        let last = lock(&self.last);
        let offers = last.iter().flat_map(|(name, quote)| {
            let offers = quote.answer.iter().flat_map(|list| list.iter());
            offers.map(move |offer| Place {
                provider: name.clone(),
                region: offer.region.to_string(),
            })
        });
        offers.collect()
    }

    /// Whether a place is where an offer is.
    pub(crate) fn is_of(&self, place: &Place, offer: &str) -> bool {
        let quotes = lock(&self.quotes);
        let mut offers = quotes
            .get(&place.provider)
            .into_iter()
            .flat_map(|q| q.answer.iter())
            .flat_map(|list| list.iter());
        offers.any(|o| *o.id == *offer && *o.region == *place.region)
    }
}

/// What the offers stand on.
pub(crate) struct Deps {
    pub(crate) quotes: Arc<OfferCache>,
    pub(crate) place_health: Arc<PlaceHealth>,
    pub(crate) outages: Arc<Outages>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Arc<Options>,
    pub(crate) tasks: TaskTracker,
}

/// Asks the providers, and makes the table that decisions are made from.
pub(crate) struct Offers {
    deps: Deps,
    /// A provider has answered: what was decided without it is looked at once more.
    pub(crate) answered: Notify,
}

impl Offers {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            deps,
            answered: Notify::new(),
        }
    }

    /// The table of every provider's offers, and the providers that gave none. Nobody waits for a provider that has answered not long
    /// ago, or whose last answer was a failure: it is asked again meanwhile. The others are waited for, but not long.
    pub(crate) async fn assess(
        self: &Arc<Self>,
        snapshot: &Snapshot,
    ) -> (Table, Vec<ProviderFailure>) {
        let quotes = join_all(
            snapshot
                .providers
                .values()
                .map(|provider| self.quote(provider)),
        )
        .await;

        let mut sheet = self.deps.place_health.sheet(self.deps.clock.now());
        for Place { provider, region } in self.deps.outages.lost() {
            sheet.exclude(
                &provider,
                &region,
                Exclusion::Lost(provider.clone(), region.clone()),
            );
        }
        let cordons = lock(&self.deps.cache).cordons.clone();
        cordons.mark(&mut sheet);
        let measures = self.deps.meters.measures();
        let mut offers = Vec::new();
        let mut failures = Vec::new();
        for ((name, _), quote) in snapshot.providers.iter().zip(quotes) {
            match quote.answer {
                Ok(list) => {
                    let first = offers.len();
                    offers.extend(list.iter().map(|offer| PlacedOffer {
                        provider: name.clone(),
                        offer: known(offer, name, &sheet, &measures),
                    }));
                    self.deduct(
                        name,
                        quote.asked,
                        offers.get_mut(first..).unwrap_or_default(),
                    );
                }
                Err(failure) => failures.push(ProviderFailure {
                    provider: name.clone(),
                    failure,
                }),
            }
        }
        let features = snapshot
            .providers
            .iter()
            .map(|(name, p)| (name.clone(), p.features()))
            .collect();
        let table = Table::new(Arc::new(offers), features, sheet);
        let table = match self.deps.options.stale_quotes {
            StaleQuotes::Refuse => {
                table.refusing_quotes(self.deps.clock.now(), self.deps.options.quote_ttl)
            }
            StaleQuotes::Mark => table,
        };
        (table, failures)
    }

    async fn quote(self: &Arc<Self>, provider: &Arc<dyn Provider>) -> Quote {
        let ttl = self.deps.options.offers_ttl.std();
        if let Some(quote) = self.deps.quotes.quote(provider.as_ref()) {
            let age = quote.answered.elapsed();
            if age < ttl {
                return quote;
            }
            if quote.is_usable(ttl) {
                self.ask(provider);
                return quote;
            }
        }
        // Counted from the question, not from this call: a provider that stays silent is waited for once.
        let patience = self.deps.options.offers_patience;
        let mut asking = self.ask(provider);
        let _late = timeout_at(asking.since + patience.std(), asking.done.changed()).await;
        let answered = self
            .deps
            .quotes
            .quote(provider.as_ref())
            .filter(|q| q.asked >= asking.since);
        answered.unwrap_or_else(|| {
            let identity = provider.identity();
            let message = format!(
                "provider \"{}\" has not answered within controller.offers-patience of {patience}",
                identity.instance
            );
            let failure = Failure::unavailable(message)
                .code(NO_ANSWER_YET)
                .from_plugin(identity);
            Quote {
                version: version(provider.as_ref()),
                asked: asking.since,
                answered: Tick::now(),
                answer: Err(failure),
            }
        })
    }

    /// Asks a provider beside, unless the question is under way already. What it answers late serves those who wait for a place.
    fn ask(self: &Arc<Self>, provider: &Arc<dyn Provider>) -> Asking {
        let key = (
            provider.identity().instance.clone(),
            version(provider.as_ref()),
        );
        let (answered, done) = watch::channel(());
        let asking = match lock(&self.deps.quotes.asking).entry(key.clone()) {
            Entry::Occupied(under_way) => return under_way.get().clone(),
            Entry::Vacant(vacant) => vacant
                .insert(Asking {
                    since: Tick::now(),
                    done,
                })
                .clone(),
        };
        let (this, provider, since) = (self.clone(), provider.clone(), asking.since);
        self.deps.tasks.spawn(async move {
            let before = this.deps.quotes.quote(provider.as_ref());
            let failed_before = before.as_ref().is_some_and(|q| q.answer.is_err());
            let mut quote = this.inquire(provider.as_ref(), since).await;
            // What was freed or used up meanwhile is not in the answer. Once is enough where that happens all the time.
            if quote.answer.is_ok() && this.deps.quotes.outdated(&quote, &key.0) {
                quote = this.inquire(provider.as_ref(), Tick::now()).await;
            }
            let late =
                quote.answered.duration_since(since) >= this.deps.options.offers_patience.std();
            let more = before.is_some_and(|before| quote.has_more_room_than(&before));
            let news = quote.answer.is_ok() && (late || failed_before || more);
            let curious = this.deps.quotes.record_answer(&key.0, quote);
            lock(&this.deps.quotes.asking).remove(&key);
            drop(answered);
            this.answered.notify_one();
            if news || !curious.is_empty() {
                let mut cache = lock(&this.deps.cache);
                curious.iter().for_each(|key| cache.enqueue(key));
                if news {
                    cache.enqueue_waiting();
                }
                drop(cache);
                this.deps.wake.notify_one();
            }
        });
        asking
    }

    /// Asks a provider that nobody has had an answer from, unless the question is under way already. One that failed to answer is asked
    /// again a little later: nobody else may have a question for it.
    pub(crate) fn ask_first(self: &Arc<Self>, provider: &Arc<dyn Provider>) {
        let failed_lately = |q: &Quote| q.answered.elapsed() < FAILED_AGAIN.std();
        let known = self.deps.quotes.quote(provider.as_ref());
        if known.is_none_or(|q| q.answer.is_err() && !failed_lately(&q)) {
            self.ask(provider);
        }
    }

    /// Asks a provider how much room it has, unless it has just said so. The deployment is looked at again when it answers.
    pub(crate) fn ask_for_room(self: &Arc<Self>, key: &DeploymentKey, name: &InstanceName) {
        if self
            .deps
            .quotes
            .age(name)
            .is_some_and(|age| age < ROOM_AGAIN.std())
        {
            return;
        }
        if let Some(provider) = self.deps.plugins.snapshot().providers.get(name) {
            lock(&self.deps.quotes.curious)
                .entry(name.clone())
                .or_default()
                .insert(key.clone());
            self.ask(provider);
        }
    }

    async fn inquire(&self, provider: &dyn Provider, asked: Tick) -> Quote {
        let identity = provider.identity();
        let query = OffersQuery {
            spot: true,
            holding: self.holding(&identity.instance),
            ..Default::default()
        };
        let answer = provider.offers(&query).await.map(Arc::new);
        if let Err(failure) = &answer {
            tracing::warn!(provider = %identity, kind = %failure.kind, message = failure.message, "no offers");
        }
        Quote {
            version: version(provider),
            asked,
            answered: Tick::now(),
            answer,
        }
    }

    /// Replicas that a provider has accepted, by offer.
    fn holding(&self, provider: &InstanceName) -> Vec<(String, u32)> {
        let cache = lock(&self.deps.cache);
        let mut unsettled: HashMap<&AllocationId, u32> = HashMap::new();
        let promised = cache.reserved.get(provider).into_iter().flatten();
        for ((id, _), reserved) in promised.filter(|(_, r)| r.settled.is_none()) {
            *unsettled.entry(id).or_default() += reserved.replicas;
        }
        let mut held: BTreeMap<&str, u32> = BTreeMap::new();
        for live in cache
            .lives_of(provider)
            .filter(|l| l.record.handle.state.is_some())
        {
            let record = &live.record;
            let ended =
                record.intent.stage == Stage::Applied && !live.in_transition() && !live.is_ready();
            if !ended {
                let unsettled = unsettled.get(&record.id).copied().unwrap_or(0);
                // What has been told to go is there until its provider says that it is not.
                *held.entry(&record.intent.offer.id).or_default() += record
                    .intent
                    .replicas
                    .max(record.handle.held)
                    .saturating_sub(unsettled);
            }
        }
        held.into_iter()
            .map(|(offer, replicas)| (offer.to_owned(), replicas))
            .collect()
    }

    /// Takes off what has been promised since the quote was asked for.
    fn deduct(&self, provider: &InstanceName, asked: Tick, offers: &mut [PlacedOffer]) {
        let mut cache = lock(&self.deps.cache);
        if let Some(reserved) = cache.reserved.get_mut(provider) {
            reserved.retain(|_, r| r.settled.is_none_or(|at| at >= asked));
        }
        let mut by_offer: HashMap<&str, Vec<&Reserved>> = HashMap::new();
        for r in cache
            .reserved
            .get(provider)
            .into_iter()
            .flat_map(HashMap::values)
        {
            by_offer.entry(&r.offer).or_default().push(r);
        }
        let owing = cache.owing(provider);
        for PlacedOffer { offer, .. } in offers {
            for r in by_offer.get(&*offer.id).into_iter().flatten() {
                offer.take(r.replicas, u64::from(r.cpu), r.memory);
            }
            if owing.contains(&*offer.id) {
                let id = offer.id.to_string();
                for (_, replicas, each) in cache.owed(provider, &id) {
                    offer.take(replicas, u64::from(each.cpu.0), each.memory.0);
                }
            }
        }
    }
}

/// An offer with what was measured of its place where the provider says nothing. What the last minutes say goes before what months do.
fn known(offer: &Offer, provider: &InstanceName, sheet: &Sheet, measures: &Measures) -> Offer {
    let mut offer = offer.clone();
    let measured = sheet.measured(provider, &offer.region);
    if offer.failure_rate.is_nan() && measured.failure_rate > 0.0 {
        offer.failure_rate = measured.failure_rate;
    }
    if let Some(time) = measured.time_to_ready
        && offer.time_to_ready.is_nan()
    {
        offer.time_to_ready = time.0 as f64;
    }
    if let Some(measured) = measures.of(provider, &offer.region, &offer.size) {
        assess::fill(&mut offer, measured);
    }
    offer
}
