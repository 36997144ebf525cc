//! Whether the state takes writes, told to those who ask for readiness. While it takes none it is asked again and again, so that the
//! end of the trouble shows without anybody writing.

use std::{ffi::OsString, fs, path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tradewind_core::store::Trouble;
use tradewind_store::Database;

use tradewind_http::readiness::Readiness;

const AGAIN: Duration = Duration::from_secs(1);

/// Runs until the daemon stops.
pub(super) async fn watch(store: Database, readiness: Readiness, stopping: CancellationToken) {
    let mut trouble = store.trouble();
    loop {
        let now = *trouble.borrow_and_update();
        readiness.storage(now.map(Trouble::as_str));
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = trouble.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(AGAIN), if now.is_some() => store.probe().await,
        }
    }
}

/// How many bytes the state's file takes, with what has not been brought into it yet. What is not there counts as nothing.
pub(super) fn size(file: PathBuf) -> Arc<dyn Fn() -> u64 + Send + Sync> {
    Arc::new(move || {
        ["", "-wal"]
            .iter()
            .map(|suffix| {
                let mut path = OsString::from(&file);
                path.push(suffix);
                fs::metadata(path).map_or(0, |file| file.len())
            })
            .sum()
    })
}
