//! The standing of places as the controller keeps it: fed by every call, asked before every call, told as events, shown as regions.
//! The rules are `core::place_health`'s. What is known here is lost with the daemon, and learnt again by calling.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant as Tick};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_api::{CoolingView, CordonView, Degraded, DegradedView, RegionView, RegionsView};
use tradewind_core::{
    capability::Clock,
    event::{Cause, Event, Reason, Severity},
    failure::Failure,
    identity::Scope,
    names::{Digest, InstanceName, Namespace},
    place_health::{self, Admission, Call, Change, Place, Sheet, Standings},
    plugin::{Plugins, Provider, Snapshot},
    record::AllocationRecord,
    units::{Instant, Millis},
    workload::VolumeSource,
};

use crate::{
    Handle, lock, observe::measurements::Meters, schedule::offers::OfferCache, state::cache::Cache,
    state::commit::Committer, state::journal::CONTROLLER,
};

/// The longest that nobody looks whether a check is due.
const LOOK: Duration = Duration::from_secs(3600);

/// What it stands on.
pub(crate) struct Deps {
    pub(crate) committer: Arc<Committer>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) quotes: Arc<OfferCache>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// What is known of the places, and since when time is counted.
pub(crate) struct PlaceHealth {
    deps: Deps,
    standings: Mutex<Standings>,
    began: Tick,
    /// A provider has become degraded.
    degraded: Notify,
    /// The versions that what is known is about.
    versions: Mutex<BTreeMap<InstanceName, (Digest, Digest)>>,
}

impl PlaceHealth {
    pub(crate) fn new(deps: Deps) -> Self {
        Self {
            deps,
            standings: Mutex::default(),
            began: Tick::now(),
            degraded: Notify::new(),
            versions: Mutex::default(),
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn tick(&self, at: Millis) -> Tick {
        self.began.checked_add(at.std()).unwrap_or_else(Tick::now)
    }

    /// Whether a call may go there; if not, when to ask again.
    pub(crate) fn admit(&self, place: &Place) -> Result<(), Tick> {
        match lock(&self.standings).admit(place, self.now()) {
            Admission::Go => Ok(()),
            Admission::Wait(until) => Err(self.tick(until)),
        }
    }

    /// The call that was admitted has not been made.
    pub(crate) fn unused(&self, place: &Place) {
        lock(&self.standings).unused(place, self.now());
    }

    /// Why nothing new is to be begun at a place for now: it does not answer, or its provider refuses.
    pub(crate) fn shut(&self, place: &Place) -> Option<Failure> {
        let standings = lock(&self.standings);
        let degraded = standings
            .degraded()
            .get(&place.provider)
            .map(|d| d.cause.clone());
        degraded.or_else(|| {
            standings.shut(place, self.now())?;
            standings.places().get(place).and_then(|s| s.cause.clone())
        })
    }

    /// Leaves an offer alone for a while, because of what became of something there.
    pub(crate) fn cool_down(&self, record: &AllocationRecord, cause: &str) {
        lock(&self.standings).cool_down(
            &record.intent.provider,
            &record.intent.offer.id,
            &Failure::unavailable(cause),
            self.now(),
        );
    }

    pub(crate) fn sheet(&self, clock: Instant) -> Sheet {
        lock(&self.standings).sheet(self.now(), clock)
    }
}

/// A call's failure as everybody may read it: what tells of the workload that the call was for stays with that workload.
pub(crate) fn for_everybody(record: &AllocationRecord, failure: &Failure) -> Failure {
    let (names, words) = private(record);
    let tells = |text: &str| {
        names.iter().any(|name| mentions(text, name))
            || words
                .iter()
                .any(|word| text.contains(&format!("\"{word}\"")))
    };
    let message = if tells(&failure.message) {
        let code = failure
            .code
            .as_ref()
            .map_or_else(String::new, |code| format!(" ({code})"));
        format!("a call for one of its tasks has failed{code}")
    } else {
        failure.message.clone()
    };
    Failure {
        message,
        remedy: failure.remedy.clone().filter(|text| !tells(text)),
        ..failure.clone()
    }
}

/// What of a workload is nobody else's business: names, which are known wherever they stand, and words, which are known by their quotes.
fn private(record: &AllocationRecord) -> (Vec<&str>, Vec<&str>) {
    let workload = &record.intent.workload;
    let mut names = vec![record.deployment.as_str(), record.task.as_str()];
    if record.namespace != Namespace::default_namespace() {
        names.push(record.namespace.as_str());
    }
    names.extend(
        workload
            .image
            .as_deref()
            .into_iter()
            .chain(workload.working_directory.as_deref()),
    );
    names.extend(workload.networks.iter().map(|n| n.name.as_str()));
    names.extend(workload.files.iter().map(|f| f.path.as_str()));
    for volume in &workload.volumes {
        names.push(&volume.path);
        match &volume.source {
            VolumeSource::Persistent { name, .. } => names.push(name),
            VolumeSource::HostPath { path } => names.push(path),
            VolumeSource::Scratch { .. } => {}
        }
    }
    let mut words: Vec<&str> = workload
        .command
        .iter()
        .chain(&workload.arguments)
        .map(String::as_str)
        .collect();
    words.push(&workload.user);
    words.extend(workload.ports.iter().map(|p| p.name.as_str()));
    words.extend(workload.env.iter().map(|v| v.name.as_str()));
    words.extend(workload.labels.values().map(String::as_str));
    words.retain(|word| !word.trim().is_empty());
    (names, words)
}

/// Whether a text holds a name as a whole word: in quotes, or long enough to be no word of ours by chance.
fn mentions(text: &str, name: &str) -> bool {
    const BY_CHANCE: usize = 3;
    let joins = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    !name.trim().is_empty()
        && text.match_indices(name).any(|(at, _)| {
            let before = text.get(..at).and_then(|t| t.chars().next_back());
            let after = text.get(at + name.len()..).and_then(|t| t.chars().next());
            let quoted = before == Some('"') && after == Some('"');
            quoted
                || name.len() > BY_CHANCE && !before.is_some_and(joins) && !after.is_some_and(joins)
        })
}

impl PlaceHealth {
    /// Takes in how a call ended that changes something.
    pub(crate) async fn record_call(
        &self,
        record: &AllocationRecord,
        began: Tick,
        failure: Option<&Failure>,
    ) {
        let place = Place::of(record);
        // The daemon itself had no room for the call: that says nothing about the place.
        if failure.is_some_and(|f| f.code.as_deref() == Some("busy")) {
            return self.unused(&place);
        }
        self.deps
            .meters
            .started(record, failure, self.deps.clock.now());
        // What is known of a place is shown to everybody.
        let failure = failure.map(|f| for_everybody(record, f));
        let failure = failure.as_ref();
        let took = Millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let shared = self
            .deps
            .quotes
            .is_shared(&record.intent.provider, &record.intent.offer.id);
        let call = Call {
            place: &place,
            size: &record.intent.offer.size,
            offer: &record.intent.offer.id,
            shared,
        };
        let change = lock(&self.standings).ended(&call, self.now(), took, failure);
        if let Some(change) = change {
            self.tell_of(change).await;
        }
    }

    async fn tell_of(&self, change: Change) {
        let told = |severity, reason: Reason, provider: &InstanceName, message: String| Event {
            plugin: Some(provider.clone()),
            ..Event::new(severity, reason, CONTROLLER, message)
        };
        let because =
            |event: Event, cause: &Failure| event.because(Cause::Failure(cause.kind.to_string()));
        match change {
            Change::Opened { place, cause } => {
                let message = format!(
                    "nothing new goes to {} until it answers again: {}",
                    place,
                    cause.told()
                );
                self.deps
                    .committer
                    .emit_event(because(
                        told(
                            Severity::Warning,
                            Reason::CircuitOpened,
                            &place.provider,
                            message,
                        ),
                        &cause,
                    ))
                    .await;
            }
            Change::Closed { place } => {
                self.deps
                    .committer
                    .emit_event(told(
                        Severity::Info,
                        Reason::CircuitClosed,
                        &place.provider,
                        format!("{} answers again", place),
                    ))
                    .await;
                self.better();
            }
            Change::Degraded { provider, cause } => {
                self.degraded.notify_one();
                let message = format!(
                    "nothing new is placed with \"{provider}\" until its check passes: {}",
                    cause.told()
                );
                self.deps
                    .committer
                    .emit_event(because(
                        told(
                            Severity::Error,
                            Reason::ProviderDegraded,
                            &provider,
                            message,
                        ),
                        &cause,
                    ))
                    .await;
            }
        }
    }

    async fn tell_recovered(&self, provider: &InstanceName, why: &str) {
        let message = format!("\"{provider}\" is used again: {why}");
        let event = Event {
            plugin: Some(provider.clone()),
            ..Event::new(
                Severity::Info,
                Reason::ProviderRecovered,
                CONTROLLER,
                message,
            )
        };
        self.deps.committer.emit_event(event).await;
        self.better();
    }

    /// Every place that was called.
    pub(crate) fn called(&self) -> Vec<Place> {
        lock(&self.standings).places().keys().cloned().collect()
    }

    /// Somewhere is better than before: who waits for a place looks again.
    fn better(&self) {
        lock(&self.deps.cache).enqueue_waiting();
        self.deps.committer.wake.notify_one();
    }

    /// Another version or other settings, or none: what was known of a provider may not hold any more.
    pub(crate) fn reset_changed_providers(self: &Arc<Self>, snapshot: &Snapshot) {
        let versions = snapshot.providers.iter().map(|(name, p)| {
            (
                name.clone(),
                (p.identity().component, p.identity().settings),
            )
        });
        let versions: BTreeMap<_, _> = versions.collect();
        let before = std::mem::replace(&mut *lock(&self.versions), versions.clone());
        let names: BTreeSet<&InstanceName> = before.keys().chain(versions.keys()).collect();
        for name in names
            .into_iter()
            .filter(|name| before.get(*name) != versions.get(*name))
        {
            let was_degraded = lock(&self.standings).forget(name);
            if !versions.contains_key(name) {
                self.deps.quotes.forget(name);
            } else if was_degraded {
                let (place_health, name) = (self.clone(), name.clone());
                self.deps.tasks.spawn(async move {
                    place_health
                        .tell_recovered(&name, "its component or its settings have changed")
                        .await
                });
            }
        }
    }

    /// Checks degraded providers until they are well. Runs until the controller stops.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let next = lock(&self.standings)
                .degraded()
                .values()
                .map(|d| d.check_at)
                .min();
            let next = next.map_or_else(|| Tick::now() + LOOK, |at| self.tick(at));
            tokio::select! {
                () = self.deps.stop.cancelled() => return,
                () = self.degraded.notified() => continue,
                () = tokio::time::sleep_until(next) => {}
            }
            let snapshot = self.deps.plugins.snapshot();
            let now = self.now();
            let due: Vec<InstanceName> = {
                let mut standings = lock(&self.standings);
                let due = standings
                    .degraded()
                    .iter()
                    .filter(|(_, d)| d.check_at <= now)
                    .map(|(name, _)| name.clone())
                    .collect::<Vec<_>>();
                due.iter()
                    .for_each(|name| standings.still_degraded(name, now));
                due
            };
            for name in due {
                let Some(provider) = snapshot.providers.get(&name).cloned() else {
                    continue;
                };
                let place_health = self.clone();
                self.deps
                    .tasks
                    .spawn(async move { place_health.check(name, provider.as_ref()).await });
            }
        }
    }

    async fn check(&self, name: InstanceName, provider: &dyn Provider) {
        match provider.check().await {
            Ok(conditions) if conditions.iter().all(|c| c.met) => {
                let recovered = lock(&self.standings).recovered(&name);
                if recovered {
                    self.tell_recovered(&name, "its check has passed").await;
                }
            }
            Ok(conditions) => {
                let unmet = conditions
                    .iter()
                    .filter(|c| !c.met)
                    .map(|c| c.message.as_str())
                    .collect::<Vec<_>>()
                    .join("; ");
                tracing::warn!(provider = %name, unmet, "the provider is still degraded");
            }
            Err(failure) => {
                tracing::warn!(provider = %name, kind = %failure.kind, message = failure.message, "the provider is still degraded");
            }
        }
    }
}

impl Handle {
    /// Whether a provider is degraded, and why.
    pub fn degraded(&self, provider: &InstanceName) -> Option<DegradedView> {
        self.regions(&Scope::All)
            .beside
            .degraded
            .into_iter()
            .find(|d| d.provider == *provider)
    }

    /// Every known place of a provider that serves and is open to a namespace of the scope: how it stands and what is under way there.
    pub fn regions(&self, scope: &Scope) -> RegionsView {
        let place_health = &self.shared.place_health;
        let (now, clock) = (place_health.now(), self.shared.clock.now());
        let at = |then: Millis| Instant((clock.0.saturating_add(then.0)).saturating_sub(now.0));
        let usage = self.shared.lanes.usage();
        let standings = lock(&place_health.standings).clone();
        let mut places: BTreeSet<Place> = self.shared.quotes.places();
        places.extend(standings.places().keys().cloned());
        places.extend(usage.keys().cloned());
        let snapshot = self.shared.plugins.snapshot();
        let seen = |provider: &InstanceName| {
            let known = snapshot.providers.get(provider);
            known.is_some_and(|known| scope.sees(known.namespaces()))
        };
        places.retain(|place| seen(&place.provider));
        let cordons = lock(&self.shared.cache).cordons.clone();
        // A cordoned place is shown whether or not anything is known of it.
        let cordoned = cordons.iter().map(|cordon| Place {
            provider: cordon.provider.clone(),
            region: cordon.region.clone(),
        });
        let unknown = |place: &Place| match place.region.is_empty() {
            true => !places.iter().any(|known| known.provider == place.provider),
            false => !places.contains(place),
        };
        let absent: Vec<Place> = cordoned
            .filter(|place| *scope == Scope::All || seen(&place.provider))
            .filter(unknown)
            .collect();
        places.extend(absent);
        let view = |place: Place| {
            let known = standings.places().get(&place).cloned().unwrap_or_default();
            let busy = usage.get(&place).copied().unwrap_or_default();
            let throttled = known
                .throttled
                .filter(|until| now < *until)
                .map(|until| CoolingView {
                    what: "everything".to_owned(),
                    until: at(until),
                    cause: known
                        .cause
                        .as_ref()
                        .map(|c| c.message.clone())
                        .unwrap_or_default(),
                });
            let cooling = standings
                .cooling(&place.provider, now)
                .filter_map(|(what, cooling)| {
                    let what = match what {
                        place_health::Cooled::Offer(offer)
                            if self.shared.quotes.is_of(&place, offer) =>
                        {
                            format!("offer {offer}")
                        }
                        place_health::Cooled::Size { region, size } if *region == place.region => {
                            format!("size {size}")
                        }
                        _ => return None,
                    };
                    Some(CoolingView {
                        what,
                        until: at(cooling.until),
                        cause: cooling.cause.clone(),
                    })
                });
            let over = cordons.over(&place.provider, &place.region);
            RegionView {
                cordons: over.map(CordonView::from).collect(),
                circuit: known.breaker.circuit(now),
                since: known.breaker.opened().map(at),
                until: known.breaker.until(now).map(at),
                error_rate: known.rates.error_rate(now),
                latency: known.rates.latency(now),
                time_to_ready: known.rates.time_to_ready(now),
                cause: known.cause.filter(|_| known.breaker.failures() > 0),
                cooling: throttled.into_iter().chain(cooling).collect(),
                calls: busy.calls,
                waiting: busy.waiting,
                provider: place.provider,
                region: place.region,
            }
        };
        let degraded = standings
            .degraded()
            .iter()
            .filter(|(provider, _)| seen(provider))
            .map(|(provider, d)| DegradedView {
                provider: provider.clone(),
                cause: d.cause.clone(),
                since: at(d.since),
                next_check: at(d.check_at),
            });
        let degraded = degraded.collect();
        RegionsView::new(
            places.into_iter().map(view).collect(),
            Degraded { degraded },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_told_from_a_part_of_another() {
        for (text, word, wanted) in [
            ("the network \"www\" can't be made", "www", true),
            (
                "open /run/tradewind.box.red.shop.www.json: file name too long",
                "shop",
                true,
            ),
            (
                "open /run/tradewind.box.red.shop.www.json: file name too long",
                "red",
                false,
            ),
            (
                "the container engine does not answer at \"/run/x.sock\": nobody listens",
                "web",
                false,
            ),
            ("webserver, my-web, web_1", "web", false),
            ("can't reach it", "", false),
            ("can't reach it", " ", false),
        ] {
            assert_eq!(mentions(text, word), wanted, "{word} in {text}");
        }
    }
}
