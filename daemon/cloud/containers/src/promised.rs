//! What is promised to the containers of each instance, so that no more is promised than there is. It must not know the engine: whoever lists
//! containers tells it what there is.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use tradewind_core::{
    capability::containers::ContainerKey,
    failure::{Failure, FailureKind, GRANT_EXHAUSTED, SLOTS_EXHAUSTED},
    grant::ContainersGrant,
    names::InstanceName,
};

/// Millicores and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) cpu: u64,
    pub(crate) memory: u64,
}

#[derive(Default)]
pub(crate) struct Promised(Mutex<HashMap<InstanceName, Own>>);

#[derive(Default)]
struct Own {
    /// As listed last; none before the first list.
    listed: Option<HashMap<ContainerKey, Share>>,
    /// Being made: not in every list yet.
    coming: HashMap<ContainerKey, Share>,
}

impl Promised {
    fn table(&self) -> MutexGuard<'_, HashMap<InstanceName, Own>> {
        self.0.lock()
    }

    /// Whether it has been told yet what there is.
    pub(crate) fn knows(&self, owner: &InstanceName) -> bool {
        self.table()
            .get(owner)
            .is_some_and(|own| own.listed.is_some())
    }

    pub(crate) fn tell(
        &self,
        owner: &InstanceName,
        listed: impl IntoIterator<Item = (ContainerKey, Share)>,
    ) {
        self.table().entry(owner.clone()).or_default().listed = Some(listed.into_iter().collect());
    }

    /// The sum of all, and how many there are.
    pub(crate) fn sum(&self, owner: &InstanceName) -> (Share, usize) {
        self.table()
            .get(owner)
            .map_or((Share::default(), 0), |own| own.sum(None))
    }

    /// Promises a share to a container, in place of what it had, if that much is left.
    ///
    /// # Errors
    /// `out-of-capacity`, naming what is missing.
    pub(crate) fn promise(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        total: Share,
        key: &ContainerKey,
        share: Share,
    ) -> Result<(), Failure> {
        let mut table = self.table();
        let own = table.entry(owner.clone()).or_default();
        let (others, count) = own.sum(Some(key));
        let lacks = |what: &str, wanted: u64, left: u64, setting: &str| {
            Err(Failure::new(
                FailureKind::OutOfCapacity,
                format!("{wanted} {what} do not fit: {left} are left"),
            )
            .code(GRANT_EXHAUSTED)
            .remedy(format!(
                "raise {setting} in [grants.containers] of the instance file, or stop something"
            )))
        };
        if count >= grant.containers as usize {
            return lacks("containers", 1, 0, "containers")
                .map_err(|failure| failure.code(SLOTS_EXHAUSTED));
        }
        let (cpu, memory) = (
            total.cpu.saturating_sub(others.cpu),
            total.memory.saturating_sub(others.memory),
        );
        if share.cpu > cpu {
            return lacks("millicores", share.cpu, cpu, "cpu");
        }
        if share.memory > memory {
            return lacks("bytes of memory", share.memory, memory, "memory");
        }
        own.coming.insert(key.clone(), share);
        Ok(())
    }

    /// A container that was being made is there, or will not be.
    pub(crate) fn settle(&self, owner: &InstanceName, key: &ContainerKey, made: bool) {
        let mut table = self.table();
        let Some(own) = table.get_mut(owner) else {
            return;
        };
        let share = own.coming.remove(key);
        if let (Some(listed), Some(share), true) = (&mut own.listed, share, made) {
            listed.insert(key.clone(), share);
        }
    }

    pub(crate) fn remove(&self, owner: &InstanceName, key: &ContainerKey) {
        if let Some(listed) = self
            .table()
            .get_mut(owner)
            .and_then(|own| own.listed.as_mut())
        {
            listed.remove(key);
        }
    }
}

impl Own {
    fn sum(&self, except: Option<&ContainerKey>) -> (Share, usize) {
        let listed = self
            .listed
            .iter()
            .flatten()
            .filter(|(key, _)| !self.coming.contains_key(key));
        let all = listed
            .chain(&self.coming)
            .filter(|(key, _)| Some(*key) != except);
        all.fold((Share::default(), 0), |(sum, count), (_, share)| {
            (
                Share {
                    cpu: sum.cpu.saturating_add(share.cpu),
                    memory: sum.memory.saturating_add(share.memory),
                },
                count + 1,
            )
        })
    }
}

/// All of a machine.
pub(crate) fn machine(info: &bollard::models::SystemInfo) -> Share {
    let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
    Share {
        cpu: number(info.ncpu).saturating_mul(1000),
        memory: number(info.mem_total),
    }
}

/// As much of the machine as the grant lends.
pub(crate) fn limited(grant: &ContainersGrant, total: Share) -> Share {
    Share {
        cpu: grant.cpu.map_or(total.cpu, |c| u64::from(c.0)),
        memory: grant.memory.map_or(total.memory, |m| m.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(replica: u32) -> ContainerKey {
        ContainerKey {
            allocation: "a".parse().unwrap(),
            replica,
        }
    }

    #[test]
    fn no_more_is_promised_than_there_is_whatever_a_list_misses() {
        let (promised, owner) = (Promised::default(), "box".parse().unwrap());
        let grant: ContainersGrant =
            serde_json::from_str(r#"{"images": [], "containers": 3}"#).unwrap();
        let total = Share {
            cpu: 1000,
            memory: 100,
        };
        let promise = |replica, cpu, memory| {
            promised.promise(&owner, &grant, total, &key(replica), Share { cpu, memory })
        };
        promise(0, 600, 50).unwrap();
        promise(0, 600, 50).unwrap();
        let refused = promise(1, 500, 10).unwrap_err();
        assert!(refused.lacks_room_for_the_request(true), "less would fit");
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (
                FailureKind::OutOfCapacity,
                "500 millicores do not fit: 400 are left"
            )
        );
        promised.tell(&owner, []);
        assert!(
            promise(1, 500, 10).is_err(),
            "what is being made counts before it is listed"
        );
        promised.settle(&owner, &key(0), true);
        assert!(
            promise(1, 100, 60)
                .unwrap_err()
                .message
                .contains("bytes of memory")
        );
        promise(1, 400, 50).unwrap();
        promise(2, 0, 0).unwrap();
        let slots = promise(3, 0, 0).unwrap_err();
        assert!(
            slots.message.contains("containers") && !slots.lacks_room_for_the_request(true),
            "whoever comes next has no slot either"
        );
        promised.settle(&owner, &key(1), false);
        promised.remove(&owner, &key(0));
        promise(3, 1000, 100).unwrap();
    }
}
