//! The connections there are. A new one is let in although all places are taken, as long as another one waits for its client: that one
//! leaves. So nobody is kept out by connections that ask for nothing, and what a known sender has in flight is never broken off.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::Pulse;
use crate::identity::network;

/// The places, and who has them.
pub(crate) struct Crowd {
    most: usize,
    /// Of one address that is not this machine's own.
    most_of_one: usize,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    last: u64,
    by_id: HashMap<u64, Member>,
    of_address: HashMap<IpAddr, usize>,
}

struct Member {
    address: IpAddr,
    pulse: Arc<Pulse>,
    leave: CancellationToken,
}

/// A connection's place, until it is dropped.
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    id: u64,
    pulse: Arc<Pulse>,
    leave: CancellationToken,
}

/// No place is to be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) address: IpAddr,
}

impl Crowd {
    /// At most half of the places are for one address.
    pub(crate) fn new(most: u32) -> Self {
        let most = most as usize;
        Self {
            most,
            most_of_one: most.div_ceil(2),
            members: Mutex::default(),
        }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// How many connections there are.
    pub(crate) fn count(&self) -> usize {
        self.members().by_id.len()
    }

    /// A place for a connection from `address`, and whose connection leaves for it.
    ///
    /// # Errors
    /// Every other connection has a request of a known sender in flight.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<(Seat, Option<IpAddr>), Full> {
        let own = address.to_canonical().is_loopback();
        let address = network(address);
        let mut members = self.members();
        let of_one = members
            .of_address
            .get(&address)
            .copied()
            .unwrap_or_default();
        let left = if !own && of_one >= self.most_of_one {
            Some(members.oust(Some(address)).ok_or(Full { address })?)
        } else if members.by_id.len() >= self.most {
            let most = members
                .of_address
                .iter()
                .max_by_key(|(_, count)| **count)
                .map(|(address, _)| *address);
            Some(
                members
                    .oust(most)
                    .or_else(|| members.oust(None))
                    .ok_or(Full { address })?,
            )
        } else {
            None
        };
        let (pulse, leave) = (Arc::new(Pulse::new()), CancellationToken::new());
        members.last += 1;
        let id = members.last;
        members.by_id.insert(
            id,
            Member {
                address,
                pulse: pulse.clone(),
                leave: leave.clone(),
            },
        );
        *members.of_address.entry(address).or_default() += 1;
        drop(members);
        Ok((
            Seat {
                crowd: self.clone(),
                id,
                pulse,
                leave,
            },
            left,
        ))
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock()
    }
}

impl Members {
    /// Asks the connection to leave that has waited longest, of this address or of all, and answers its address.
    fn oust(&mut self, of: Option<IpAddr>) -> Option<IpAddr> {
        let mine = self
            .by_id
            .iter()
            .filter(|(_, member)| of.is_none_or(|address| address == member.address));
        let waiting = mine.filter_map(|(id, member)| Some((member.pulse.waiting()?, *id)));
        let (_, id) = waiting.min()?;
        self.remove(id).map(|member| {
            member.leave.cancel();
            member.address
        })
    }

    fn remove(&mut self, id: u64) -> Option<Member> {
        let member = self.by_id.remove(&id)?;
        if let Some(count) = self.of_address.get_mut(&member.address) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&member.address);
            }
        }
        Some(member)
    }
}

impl Seat {
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    pub(super) async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.members().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Share;

    fn enter(crowd: &Arc<Crowd>, address: &str) -> Result<Seat, Full> {
        crowd.enter(address.parse().unwrap()).map(|(seat, _)| seat)
    }

    fn leaves(seat: &Seat) -> bool {
        seat.leave.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_longest_leaves_for_a_new_one() {
        let crowd = Arc::new(Crowd::new(4));
        let mut seats = Vec::new();
        for _ in 0..4 {
            seats.push(enter(&crowd, "127.0.0.1").unwrap());
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        seats[0].pulse().hold(Share::default());
        let fifth = enter(&crowd, "127.0.0.1").unwrap();
        assert_eq!(
            seats.iter().map(leaves).collect::<Vec<_>>(),
            [false, true, false, false]
        );
        assert_eq!(crowd.count(), 4);
        for seat in seats.iter().chain([&fifth]) {
            seat.pulse().hold(Share::default());
        }
        assert!(enter(&crowd, "127.0.0.1").is_err(), "nobody waits");
        seats[0].pulse().answered();
        assert!(enter(&crowd, "127.0.0.1").is_ok() && leaves(&seats[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_pushes_out_its_own() {
        let crowd = Arc::new(Crowd::new(8));
        let friend = enter(&crowd, "192.0.2.1").unwrap();
        let mut crowded: Vec<_> = (0..4)
            .map(|_| enter(&crowd, "192.0.2.9").unwrap())
            .collect();
        crowded.push(enter(&crowd, "192.0.2.9").unwrap());
        assert_eq!(crowd.count(), 5, "half of the places for one address");
        let own: Vec<_> = (0..8)
            .map(|_| enter(&crowd, "127.0.0.1").unwrap())
            .collect();
        assert_eq!(
            (crowd.count(), leaves(&friend)),
            (8, false),
            "the address with most connections loses one first"
        );
        drop((own, crowded, friend));
        assert_eq!(crowd.count(), 0);
    }
}
