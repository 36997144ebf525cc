//! Offers of every provider, asked for concurrently and kept for a while, less what has been promised since they were quoted.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::Instant as Tick;
use tradewind_core::{
    failure::Failure,
    names::{AllocationId, Digest, InstanceName},
    offer::{Offer, OffersQuery},
    placement::{PlacedOffer, Table},
    plugin::{Provider, Snapshot},
    record::Stage,
    view::ProviderFailure,
};

use super::{Shared, lock, state::Reserved};

/// How long an offer that has failed is left alone.
const COOLING: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Book {
    quotes: Mutex<HashMap<InstanceName, Quote>>,
    cooling: Mutex<BTreeMap<(InstanceName, Arc<str>), Tick>>,
    /// Providers that are being asked while an older answer serves.
    refreshing: Mutex<BTreeSet<InstanceName>>,
}

/// One provider's last answer.
#[derive(Clone)]
struct Quote {
    /// Of the component and its settings: another version is asked anew.
    version: (Digest, Digest),
    asked: Tick,
    answered: Tick,
    answer: Result<Arc<Vec<Offer>>, Failure>,
}

impl Book {
    /// Leaves an offer alone for a while.
    pub(super) fn cool(&self, provider: &InstanceName, offer: &str, now: Tick) {
        lock(&self.cooling).insert((provider.clone(), Arc::from(offer)), now + COOLING);
    }

    /// The next assessment asks this provider again.
    pub(super) fn forget(&self, provider: &InstanceName) {
        lock(&self.quotes).remove(provider);
    }

    fn quote(&self, provider: &dyn Provider) -> Option<Quote> {
        let version = (provider.identity().component, provider.identity().settings);
        lock(&self.quotes).get(&provider.identity().instance).filter(|q| q.version == version).cloned()
    }

    fn cooling(&self, now: Tick) -> BTreeSet<(InstanceName, Arc<str>)> {
        let mut cooling = lock(&self.cooling);
        cooling.retain(|_, until| *until > now);
        cooling.keys().cloned().collect()
    }
}

impl Shared {
    /// The table of every provider's offers, and the providers that gave none. Nobody waits for a provider that has answered not long
    /// ago, or whose last answer was a failure: it is asked again meanwhile.
    pub(super) async fn assess(self: &Arc<Self>, snapshot: &Snapshot) -> (Table, Vec<ProviderFailure>) {
        let now = Tick::now();
        let ttl = self.options.offers_ttl.std();
        let quotes = join_all(snapshot.providers.values().map(|provider| async move {
            match self.offers.quote(provider.as_ref()) {
                Some(quote) if now.duration_since(quote.answered) < ttl => quote,
                Some(quote) if quote.answer.is_err() || now.duration_since(quote.answered) < 2 * ttl => {
                    self.refresh(provider);
                    quote
                }
                _ => self.ask(provider.as_ref()).await,
            }
        }))
        .await;

        let mut offers = Vec::new();
        let mut failures = Vec::new();
        for ((name, _), quote) in snapshot.providers.iter().zip(quotes) {
            match quote.answer {
                Ok(list) => {
                    let first = offers.len();
                    offers.extend(list.iter().map(|offer| PlacedOffer { provider: name.clone(), offer: offer.clone() }));
                    self.deduct(name, quote.asked, offers.get_mut(first..).unwrap_or_default());
                }
                Err(failure) => failures.push(ProviderFailure { provider: name.clone(), failure }),
            }
        }
        let features = snapshot.providers.iter().map(|(name, p)| (name.clone(), p.features())).collect();
        (Table::new(Arc::new(offers), features, self.offers.cooling(now)), failures)
    }

    fn refresh(self: &Arc<Self>, provider: &Arc<dyn Provider>) {
        let name = provider.identity().instance.clone();
        if lock(&self.offers.refreshing).insert(name.clone()) {
            let (shared, provider) = (self.clone(), provider.clone());
            self.tasks.spawn(async move {
                shared.ask(provider.as_ref()).await;
                lock(&shared.offers.refreshing).remove(&name);
            });
        }
    }

    async fn ask(&self, provider: &dyn Provider) -> Quote {
        let identity = provider.identity();
        let asked = Tick::now();
        let query = OffersQuery { spot: true, holding: self.holding(&identity.instance), ..Default::default() };
        let answer = provider.offers(&query).await.map(Arc::new);
        if let Err(failure) = &answer {
            tracing::warn!(provider = %identity, kind = %failure.kind, message = failure.message, "no offers");
        }
        let quote = Quote { version: (identity.component, identity.settings), asked, answered: Tick::now(), answer };
        lock(&self.offers.quotes).insert(identity.instance.clone(), quote.clone());
        quote
    }

    /// Replicas that a provider has accepted, by offer.
    fn holding(&self, provider: &InstanceName) -> Vec<(String, u32)> {
        let world = lock(&self.world);
        let mut unsettled: HashMap<&AllocationId, u32> = HashMap::new();
        let promised = world.reserved.get(provider).into_iter().flatten();
        for ((id, _), reserved) in promised.filter(|(_, r)| r.settled.is_none()) {
            *unsettled.entry(id).or_default() += reserved.replicas;
        }
        let mut held: BTreeMap<&str, u32> = BTreeMap::new();
        let lives = world.deployments.values().flat_map(|e| e.allocations.values());
        for live in lives.filter(|l| l.record.provider == *provider && l.record.state.is_some()) {
            let record = &live.record;
            let ended = record.stage == Stage::Applied && !live.in_transition() && !live.is_ready();
            if !ended {
                let unsettled = unsettled.get(&record.id).copied().unwrap_or(0);
                *held.entry(&record.offer.id).or_default() += record.replicas.saturating_sub(unsettled);
            }
        }
        held.into_iter().map(|(offer, replicas)| (offer.to_owned(), replicas)).collect()
    }

    /// Takes off what has been promised since the quote was asked for.
    fn deduct(&self, provider: &InstanceName, asked: Tick, offers: &mut [PlacedOffer]) {
        let mut world = lock(&self.world);
        let Some(reserved) = world.reserved.get_mut(provider) else { return };
        reserved.retain(|_, r| r.settled.is_none_or(|at| at > asked));
        if reserved.is_empty() {
            return;
        }
        let mut by_offer: HashMap<&str, Vec<&Reserved>> = HashMap::new();
        for r in reserved.values() {
            by_offer.entry(&r.offer).or_default().push(r);
        }
        for PlacedOffer { offer, .. } in offers {
            for r in by_offer.get(&*offer.id).into_iter().flatten() {
                if offer.capacity != u32::MAX {
                    offer.capacity = offer.capacity.saturating_sub(r.replicas);
                }
                if offer.free_cpu != u64::MAX {
                    offer.free_cpu = offer.free_cpu.saturating_sub(u64::from(r.cpu) * u64::from(r.replicas));
                }
                if offer.free_memory != u64::MAX {
                    offer.free_memory = offer.free_memory.saturating_sub(r.memory.saturating_mul(u64::from(r.replicas)));
                }
            }
        }
    }
}
