//! Hints that the folder may have changed. Watches the folder, never a file; an event says only "look". The name may come to mean another
//! folder (a link that is turned, a folder that is replaced or mounted over): then that one is watched.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::mpsc;

/// Hints stop when it is dropped.
pub(crate) struct Watch {
    pub(crate) hints: mpsc::Receiver<()>,
    /// The last event was of a file that is being written: it is not complete yet.
    writing: Arc<AtomicBool>,
    folder: PathBuf,
    watched: Option<Identity>,
    /// The folder that was watched has gone, whatever bears its name now.
    gone: Arc<AtomicBool>,
    /// None: the system gives no events, only the timer finds changes.
    watcher: Option<RecommendedWatcher>,
    /// Keeps `hints` open when there is no watcher.
    sender: mpsc::Sender<()>,
}

/// What tells folders of one name apart. Numbers of inodes are given again; then the time of birth differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Identity {
    fn of(folder: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(folder)
            .ok()
            .filter(std::fs::Metadata::is_dir)?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok(),
        })
    }
}

impl Watch {
    pub(crate) fn start(folder: &Path) -> Self {
        let (sender, hints) = mpsc::channel(1);
        let mut watch = Self {
            hints,
            writing: Arc::default(),
            folder: folder.to_owned(),
            watched: None,
            gone: Arc::default(),
            watcher: None,
            sender,
        };
        watch.watched = Identity::of(folder);
        watch.begin();
        watch
    }

    /// Whether the name means another folder than the one that is watched. Then that one is watched from now on, if there is one.
    pub(crate) async fn follow(&mut self) -> bool {
        let folder = self.folder.clone();
        // A file system that does not answer must hold up nothing else.
        let Ok(now) = tokio::task::spawn_blocking(move || Identity::of(&folder)).await else {
            return false;
        };
        if now == self.watched && !self.gone.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.watched = now;
        self.watcher = None;
        if now.is_some() {
            tracing::info!(folder = %self.folder.display(), "the plugin folder is another one now: it is watched anew");
            self.begin();
        }
        true
    }

    /// Whether somebody was still writing at the last event.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::Relaxed)
    }

    fn begin(&mut self) {
        let (send, folder) = (self.sender.clone(), self.folder.clone());
        let writing = self.writing.clone();
        let gone = Arc::new(AtomicBool::new(false));
        self.gone = gone.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event
                .as_ref()
                .is_ok_and(|e| matches!(e.kind, EventKind::Remove(_)) && e.paths.contains(&folder))
            {
                gone.store(true, Ordering::Relaxed);
            }
            // An error may mean lost events: look then, too. A full channel already holds a hint.
            if event.as_ref().is_ok_and(|e| !tells_a_change(e.kind)) {
                return;
            }
            writing.store(!event.is_ok_and(|e| completes(e.kind)), Ordering::Relaxed);
            let _full = send.try_send(());
        })
        .and_then(|mut watcher| {
            watcher
                .watch(&self.folder, RecursiveMode::NonRecursive)
                .map(|()| watcher)
        });
        self.watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "the plugin folder can't be watched: changes are found by the timer alone"))
            .ok();
    }
}

/// A file that was closed after writing, renamed or removed is as it shall be.
fn completes(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_)
    )
}

/// Our own reading must not count.
fn tells_a_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if !matches!(access, AccessKind::Close(AccessMode::Write)))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn a_file_is_complete_when_it_is_closed_renamed_or_removed() {
        for (kind, complete) in [
            (
                EventKind::Access(AccessKind::Close(AccessMode::Write)),
                true,
            ),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), true),
            (EventKind::Remove(RemoveKind::File), true),
            (EventKind::Create(CreateKind::File), false),
            (EventKind::Modify(ModifyKind::Data(DataChange::Any)), false),
            (EventKind::Any, false),
        ] {
            assert!(tells_a_change(kind), "{kind:?}");
            assert_eq!(completes(kind), complete, "{kind:?}");
        }
        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert!(!tells_a_change(read), "our own reading");
    }
}
