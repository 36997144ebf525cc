//! Hints that the folder may have changed. Watches the folder, never a file; an event says only "look".

use std::path::Path;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use tokio::sync::mpsc;

/// Hints stop when it is dropped.
pub(crate) struct Watch {
    pub(crate) hints: mpsc::Receiver<()>,
    /// None: the system gives no events, only the timer finds changes.
    _watcher: Option<RecommendedWatcher>,
    /// Keeps `hints` open when there is no watcher.
    _sender: mpsc::Sender<()>,
}

impl Watch {
    pub(crate) fn start(folder: &Path) -> Self {
        let (sender, hints) = mpsc::channel(1);
        let send = sender.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may mean lost events: look then, too. A full channel already holds a hint.
            if event.is_err() || event.is_ok_and(|e| tells_a_change(e.kind)) {
                let _full = send.try_send(());
            }
        })
        .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "the plugin folder can't be watched: changes are found by the timer alone"))
            .ok();
        Self { hints, _watcher: watcher, _sender: sender }
    }
}

/// Our own reading must not count.
fn tells_a_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if !matches!(access, AccessKind::Close(notify::event::AccessMode::Write)))
}
