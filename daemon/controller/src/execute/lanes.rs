//! Bulkheads: every place has its own lane for calls that change something, so that calls which hang in one region are its own affair.
//! A lane may hold no more slots than are left over, of all slots and of its provider's: so there are always some for a place that has none.
//! It must not know what the calls do.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tradewind_core::{names::InstanceName, place_health::Place};

use crate::lock;

#[derive(Clone)]
pub(crate) struct Lanes {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Calls at once in all, and in one lane.
    most: usize,
    lane_most: usize,
}

#[derive(Default)]
struct State {
    used: usize,
    providers: HashMap<InstanceName, usize>,
    lanes: BTreeMap<Place, Lane>,
    /// Lanes in which somebody waits, each once, in the order of their turns.
    turns: VecDeque<Place>,
    closed: bool,
}

#[derive(Default)]
struct Lane {
    used: usize,
    /// Calls at once of its provider.
    provider_most: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

/// A call's slot. It comes free when this is dropped.
pub(crate) struct Permit {
    of: Option<(Arc<Inner>, Place)>,
}

/// How busy a lane is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) calls: usize,
    pub(crate) waiting: usize,
}

impl Lanes {
    pub(crate) fn new(most: usize, lane_most: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::default(),
                most: most.max(1),
                lane_most: lane_most.max(1),
            }),
        }
    }

    /// Waits for a slot. `provider_most`: the calls at once of the provider. None: the controller stops.
    pub(crate) async fn enter(&self, place: &Place, provider_most: usize) -> Option<Permit> {
        let (sender, turn) = oneshot::channel();
        {
            let mut state = lock(&self.inner.state);
            if state.closed {
                return None;
            }
            let lane = state.lanes.entry(place.clone()).or_default();
            lane.provider_most = provider_most.max(1);
            lane.waiting.push_back(sender);
            if lane.waiting.len() == 1 {
                state.turns.push_back(place.clone());
            }
            self.inner.admit(&mut state);
        }
        turn.await.ok()
    }

    /// Nobody enters any more; who waits is sent away.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.inner.state);
        state.closed = true;
        state.turns.clear();
        state
            .lanes
            .values_mut()
            .for_each(|lane| lane.waiting.clear());
    }

    pub(crate) fn usage(&self) -> BTreeMap<Place, Usage> {
        let state = lock(&self.inner.state);
        let usage = |lane: &Lane| Usage {
            calls: lane.used,
            waiting: lane.waiting.len(),
        };
        state
            .lanes
            .iter()
            .map(|(place, lane)| (place.clone(), usage(lane)))
            .collect()
    }
}

impl Inner {
    /// Gives out what can be given out, the lanes taking turns.
    fn admit(self: &Arc<Self>, state: &mut State) {
        let mut refused = 0;
        while refused < state.turns.len()
            && let Some(place) = state.turns.pop_front()
        {
            let Some(lane) = state.lanes.get_mut(&place) else {
                continue;
            };
            let of_provider = state.providers.get(&place.provider).copied().unwrap_or(0);
            let room = [(state.used, self.most), (of_provider, lane.provider_most)];
            if lane.used >= self.lane_most || !has_room(lane.used, room) {
                refused += 1;
                state.turns.push_back(place);
                continue;
            }
            refused = 0;
            let Some(next) = lane.waiting.pop_front() else {
                continue;
            };
            let again = !lane.waiting.is_empty();
            if let Err(mut unwanted) = next.send(Permit {
                of: Some((self.clone(), place.clone())),
            }) {
                // Who waited has gone. Dropping the permit as it is would take this lock again.
                unwanted.of = None;
            } else {
                lane.used += 1;
                state.used += 1;
                *state.providers.entry(place.provider.clone()).or_default() += 1;
            }
            if again {
                state.turns.push_back(place);
            }
        }
    }
}

/// Whether a lane with so many calls may have one more: as many as it has must be left of everything it draws from.
fn has_room(used: usize, room: [(usize, usize); 2]) -> bool {
    room.into_iter()
        .all(|(taken, most)| taken < most && (used == 0 || used < most - taken))
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some((inner, place)) = self.of.take() else {
            return;
        };
        let mut state = lock(&inner.state);
        state.used = state.used.saturating_sub(1);
        if let Some(used) = state.providers.get_mut(&place.provider) {
            *used = used.saturating_sub(1);
        }
        if let Some(lane) = state.lanes.get_mut(&place) {
            lane.used = lane.used.saturating_sub(1);
            if lane.used == 0 && lane.waiting.is_empty() {
                state.lanes.remove(&place);
            }
        }
        inner.admit(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn place(region: &str) -> Place {
        Place {
            provider: "cloud".parse().unwrap(),
            region: region.to_owned(),
        }
    }

    /// What can be had in a lane without waiting.
    fn fill(lanes: &Lanes, region: &str) -> Vec<Permit> {
        std::iter::from_fn(|| lanes.enter(&place(region), 24).now_or_never().flatten()).collect()
    }

    #[test]
    fn lanes_that_hang_leave_room_for_every_other() {
        let lanes = Lanes::new(64, 16);
        let held: Vec<(String, Vec<Permit>)> = (0..4)
            .map(|i| (format!("r{i}"), fill(&lanes, &format!("r{i}"))))
            .collect();
        let got: Vec<usize> = held.iter().map(|(_, permits)| permits.len()).collect();
        assert_eq!(got, [12, 6, 3, 2], "each takes half of what is left");
        drop(held);
        assert_eq!(lock(&lanes.inner.state).used, 0);
        assert!(
            lock(&lanes.inner.state).turns.is_empty(),
            "who has gone does not wait"
        );
    }

    #[tokio::test]
    async fn a_slot_that_comes_free_goes_to_the_next() {
        let lanes = Lanes::new(2, 1);
        let first = lanes.enter(&place("a"), 24).await.unwrap();
        let mut second = Box::pin({
            let lanes = lanes.clone();
            async move { lanes.enter(&place("a"), 24).await }
        });
        assert!(second.as_mut().now_or_never().is_none());
        let other = lanes.enter(&place("b"), 24).now_or_never().flatten();
        assert!(other.is_some(), "another lane does not wait for it");
        drop(first);
        assert!(second.await.is_some());
        lanes.close();
        assert!(lanes.enter(&place("a"), 24).await.is_none());
    }
}
