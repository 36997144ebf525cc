//! The audit log, for the rest of the daemon: reading it, checking it, keeping it within its limit. Entries are made where events
//! are, in `journal`.

use tradewind_core::{
    audit::{Bounds, Cut, Head, Page, TRIMMED, Verdict},
    names::Digest,
    store::{self, Txn},
    view::{Cause, Event, Severity},
};

use super::{Error, Handle, Shared, journal::CONTROLLER};

/// The most entries that one transaction removes: others wait for it.
const AT_ONCE: u64 = 10_000;

impl Handle {
    /// Entries behind number `after`, at most `limit`; without a number, the last ones.
    ///
    /// # Errors
    /// The state can't be read.
    pub async fn audit(&self, after: Option<u64>, limit: usize) -> Result<Page, Error> {
        let bounds = self.shared.store.audit_bounds().await?;
        let after = after.unwrap_or_else(|| bounds.head.seq.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX)));
        let entries = self.shared.store.audit(after, limit).await?;
        Ok(Page { bounds, entries: entries.into_iter().map(Into::into).collect() })
    }

    /// # Errors
    /// The state can't be read.
    pub async fn audit_bounds(&self) -> Result<Bounds, Error> {
        Ok(self.shared.store.audit_bounds().await?)
    }

    /// Checks the whole log. `expected`: a hash that some entry must have.
    ///
    /// # Errors
    /// The state can't be read.
    pub async fn audit_verify(&self, expected: Option<Digest>) -> Result<Verdict, Error> {
        Ok(self.shared.store.audit_verify(expected).await?)
    }
}

impl Shared {
    /// Cuts off what is beyond the limit, and records that.
    pub(super) async fn trim_audit(&self, keep: u64) -> Result<(), store::Error> {
        loop {
            let Bounds { anchor, head } = self.store.audit_bounds().await?;
            let surplus = (head.seq - anchor.seq).saturating_sub(keep);
            // Some at a time, or every cut would be followed by one of its own record.
            if surplus <= keep / 16 + 1 || self.stop.is_cancelled() {
                return Ok(());
            }
            let through = anchor.seq + surplus.min(AT_ONCE);
            let Some(last) = self.store.audit(through - 1, 1).await?.pop() else { return Ok(()) };
            let after = Cut { anchor: Head { seq: last.seq, hash: last.hash } };
            let message = format!("entries up to {through} are not kept any longer");
            let event = Event::new(Severity::Info, TRIMMED, CONTROLLER, message).because(Cause::Rule("keep.audit".to_owned()));
            let event = Event { before: serde_json::to_value(Cut { anchor }).ok(), after: serde_json::to_value(after).ok(), ..event };
            self.store.commit(self.tell(Txn::new().cut_audit(through), event)?).await?;
        }
    }
}
