//! The daemon's own life in the events and in the audit log: its starts, its stops, and the change of its version.

use tradewind_core::{
    event::{Event, Reason, Severity},
    record::{DAEMON, DaemonRecord},
    units::Instant,
};

use crate::{
    Error, Handle,
    state::commit::Change,
    state::journal::{CONTROLLER, decode},
};

impl Handle {
    /// The time as the controller has it.
    pub fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// Records that the daemon has started with this version.
    ///
    /// # Errors
    /// The state can't be read or written.
    pub async fn started(&self, version: &str) -> Result<(), Error> {
        let before: Option<DaemonRecord> = match self.shared.store.get(DAEMON).await? {
            Some(stored) => Some(decode(&stored)?),
            None => None,
        };
        let now = DaemonRecord {
            version: version.to_owned(),
            started_at: self.now(),
            running: true,
        };
        let mut change = Change::new();
        for event in told(before.as_ref(), &now) {
            change.event(event);
        }
        change.put(DAEMON, &now)?;
        self.shared.committer.commit(change).await?;
        Ok(())
    }

    /// Records that the daemon stops, and why.
    ///
    /// # Errors
    /// The state can't be read or written.
    pub async fn stopped(&self, why: &str) -> Result<(), Error> {
        let event = Event::new(Severity::Info, Reason::DaemonStopped, CONTROLLER, why);
        let mut change = Change::of(event);
        if let Some(stored) = self.shared.store.get(DAEMON).await? {
            let record: DaemonRecord = decode(&stored)?;
            let stopped = DaemonRecord {
                running: false,
                ..record
            };
            change.put(DAEMON, &stopped)?;
        }
        self.shared.committer.commit(change).await?;
        Ok(())
    }
}

/// The events of a start.
fn told(before: Option<&DaemonRecord>, now: &DaemonRecord) -> Vec<Event> {
    let event = |severity, reason, message| Event::new(severity, reason, CONTROLLER, message);
    let version = &now.version;
    let broke_off = before.filter(|b| b.running);
    let (severity, message) = match broke_off {
        Some(b) => (
            Severity::Warning,
            format!(
                "version {version}; the daemon that had started at {} ended without a stop",
                b.started_at
            ),
        ),
        None => (Severity::Info, format!("version {version}")),
    };
    let mut told = vec![event(severity, Reason::DaemonStarted, message)];
    if let Some(b) = before.filter(|b| b.version != *version) {
        let message = format!("from version {} to {version}", b.version);
        told.push(event(Severity::Info, Reason::DaemonUpgraded, message));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_tells_of_another_version_and_of_an_end_without_a_stop() {
        let record = |version: &str, running| DaemonRecord {
            version: version.to_owned(),
            started_at: Instant(0),
            running,
        };
        let reasons = |before: Option<DaemonRecord>| {
            told(before.as_ref(), &record("2", true))
                .into_iter()
                .map(|e| (e.reason, e.severity))
                .collect::<Vec<_>>()
        };
        let started = |severity| ("DaemonStarted".to_owned(), severity);
        let upgraded = ("DaemonUpgraded".to_owned(), Severity::Info);
        assert_eq!(reasons(None), [started(Severity::Info)]);
        assert_eq!(reasons(Some(record("2", false))), [started(Severity::Info)]);
        assert_eq!(
            reasons(Some(record("1", true))),
            [started(Severity::Warning), upgraded]
        );
    }
}
