//! Looks after all processes from time to time: cuts their output to size and measures what they use. It changes no stage.

use std::{sync::Arc, time::Duration};

use tradewind_core::{units::Bytes, workload::Usage};

use super::{Shared, output, proc, slot::Slot};

const EVERY: Duration = Duration::from_secs(1);
/// Usage is measured every so many sweeps.
const USAGE_EVERY: u32 = 10;
/// `/proc` counts processor time in hundredths of a second on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Runs until the supervisor closes.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let mut round = 0u32;
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        round = round.wrapping_add(1);
        let slots = shared.slots();
        let swept = tokio::task::spawn_blocking(move || {
            for slot in &slots {
                look(slot, round.is_multiple_of(USAGE_EVERY));
            }
        });
        if swept.await.is_err() {
            return;
        }
    }
}

fn look(slot: &Slot, measure: bool) {
    let (pid, size, unknown) = {
        let state = slot.state();
        (state.pid, state.record.prepared.log_size, state.usage.is_none())
    };
    if pid == 0 {
        return;
    }
    if let Err(error) = output::trim(&slot.folder, size) {
        tracing::debug!(owner = %slot.owner, allocation = %slot.key.allocation, %error, "the output of a process can't be cut to size");
    }
    if !measure && !unknown {
        return;
    }
    let Some((memory, ticks)) = proc::tree_usage(pid) else { return };
    let now = std::time::Instant::now();
    let mut state = slot.state();
    if state.pid != pid {
        return;
    }
    // Use is what was used between two looks: the first one alone says nothing.
    if let Some((before, at)) = state.looked {
        let seconds = now.duration_since(at).as_secs_f64().max(0.001);
        // A child that ended takes its count away.
        let cpu = ticks.saturating_sub(before) as f64 / TICKS_PER_SECOND / seconds * 1000.0;
        state.usage = Some(Usage { cpu, memory: Bytes(memory), requests: 0.0 });
    }
    state.looked = Some((ticks, now));
}
