//! The daemon's own process, by the names that Prometheus' clients use, and what was built.

use std::{fs, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, gauge::Gauge, info::Info},
    registry::Registry,
};

/// The kernel counts a process' time in hundredths of a second for its readers, on every machine that the daemon is built for.
const TICKS: f64 = 100.0;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

/// What cannot be read on this system is left out.
pub(super) fn process(started: f64, store_bytes: u64, now: &mut Registry) {
    now.register(
        "tradewind_build",
        "The version of the daemon",
        Info::new(Build {
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        }),
    );
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let gauge = Gauge::<f64, AtomicU64>::default();
            gauge.set(value);
            now.register(name, help, gauge);
        }
    };
    gauge(
        "tradewind_store_size_bytes",
        "What the state takes on disk",
        Some(store_bytes as f64),
    );
    gauge(
        "process_start_time_seconds",
        "When the daemon started, in seconds since 1970",
        Some(started),
    );
    gauge(
        "process_resident_memory_bytes",
        "Memory that the daemon has in use",
        resident(),
    );
    gauge(
        "process_open_fds",
        "Files and connections that the daemon has open",
        fs::read_dir("/proc/self/fd")
            .ok()
            .map(|open| open.count() as f64),
    );
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    gauge(
        "process_max_fds",
        "The most files and connections that the daemon may have open",
        most.map(|most| most as f64),
    );
    if let Some(seconds) = cpu() {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(seconds);
        now.register(
            "process_cpu_seconds",
            "Processor time that the daemon has used",
            cpu,
        );
    }
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn cpu() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name may hold anything; fields are counted behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}
