//! The daemon as a whole: how long it takes to start, and what it holds in memory when it has nothing to do.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use tradewind_kit::{Daemon, LOCAL};

use crate::{
    load::CLOUDS,
    report::{Report, Unit},
    samples::Samples,
};

/// A line of /proc/PID/status, in MiB.
fn memory(status: &str, field: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let mut instances = vec![("local", LOCAL)];
    instances.extend(CLOUDS);
    let mut daemon = Daemon::start(&["cheapest", "fastest", "process", "simulated"], &instances)?;
    let (mut cold, mut warm) = (Samples::default(), Samples::default());
    for _ in 0..5 {
        daemon.kill()?;
        fs::remove_dir_all(daemon.data())?;
        fs::create_dir_all(daemon.data())?;
        cold.time(|| daemon.launch())?;
    }
    for _ in 0..20 {
        daemon.kill()?;
        warm.time(|| daemon.launch())?;
    }
    report.time(
        "daemon start → ready, five plugins, empty data folder, median",
        Unit::Millis,
        cold.median(),
    );
    report.time(
        "daemon start → ready, five plugins, all in the compile cache, median",
        Unit::Millis,
        warm.median(),
    );

    // What starting needed has been given back by then.
    std::thread::sleep(Duration::from_secs(2));
    let pid = daemon.pid().context("the daemon does not run")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field =
        |name| memory(&status, name).with_context(|| format!("/proc/{pid}/status has no {name}"));
    report.value(
        "daemon, idle with five plugins, resident memory",
        field("VmRSS")?,
        "MiB",
        None,
    );
    report.value(
        "daemon, idle with five plugins, resident memory, not of files",
        field("RssAnon")?,
        "MiB",
        None,
    );
    Ok(())
}
