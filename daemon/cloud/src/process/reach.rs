//! What one process may reach, and as whom it runs: what its grant says of confinement, applied to its folder and to the daemon's own files.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::PathBuf,
    sync::Arc,
};

use tradewind_core::failure::{Failure, FailureKind, GRANT_EXHAUSTED};

use super::{
    Shared,
    confine::{self, Plan},
    folder::{Folder, Record},
    slot::Slot,
};

impl Shared {
    /// What is the daemon's own.
    pub(super) fn hidden(&self) -> Vec<PathBuf> {
        self.options
            .hidden
            .iter()
            .chain([&self.options.folder])
            .chain(&self.options.secrets)
            .cloned()
            .collect()
    }

    /// Lets a process of another user reach its folder.
    pub(super) fn open_way(&self, folder: &Folder) -> io::Result<()> {
        let base = self
            .options
            .data
            .as_ref()
            .filter(|data| self.options.folder.starts_with(data))
            .unwrap_or(&self.options.folder);
        confine::open_way(base, folder.path())
    }

    /// What a process may reach.
    pub(super) fn plan(&self, folder: &Folder, record: &Record) -> Plan {
        let confine = &record.prepared.confine;
        let own = folder
            .open_files(record.run)
            .into_iter()
            .chain([folder.work()])
            .collect();
        Plan::new(
            confine,
            confine.ids(record.uid),
            &self.hidden(),
            &record.prepared.folders,
            own,
        )
    }

    /// The number of the user that is a process's own, where its grant has a range of them: the one that it has had, else one that no other
    /// process has.
    pub(super) fn own_user(&self, slot: &Slot) -> Result<Option<u32>, Failure> {
        let (range, before) = {
            let state = slot.state();
            (state.record.prepared.confine.users(), state.record.uid)
        };
        let Some(range) = range else { return Ok(None) };
        let numbers = range.from..=range.to;
        if before.is_some_and(|uid| numbers.contains(&uid)) {
            return Ok(before);
        }
        // Chosen and noted under one lock: no two get the same.
        let table = self.table();
        let others: Vec<Arc<Slot>> = table
            .values()
            .flat_map(HashMap::values)
            .filter(|s| !std::ptr::eq(s.as_ref(), slot))
            .cloned()
            .collect();
        let taken: BTreeSet<u32> = others.iter().filter_map(|s| s.state().record.uid).collect();
        let free = numbers
            .into_iter()
            .find(|uid| !taken.contains(uid))
            .ok_or_else(|| {
                let message = format!(
                    "each of the users {} to {} of the grant has a process already",
                    range.from, range.to
                );
                let remedy =
                    "give more users in [grants.process] of the instance file, or run less here";
                Failure::new(FailureKind::OutOfCapacity, message)
                    .code(GRANT_EXHAUSTED)
                    .remedy(remedy)
            })?;
        slot.state().record.uid = Some(free);
        Ok(Some(free))
    }
}
