//! The audit log, for the rest of the daemon: reading it, checking it, keeping it within its limit. Entries are made where events
//! are, in `journal`.

use tradewind_core::{
    audit::{Bounds, Cut, Head, Line, Page, Verdict},
    event::{Cause, Event, Reason, Severity},
    list::{Cursor, Window},
    names::Digest,
    store,
    units::{Instant, Millis},
};

use crate::{
    Error, Handle, background::retention::Retention, state::commit::Change,
    state::journal::CONTROLLER,
};

/// The part of an entry that says when it happened.
#[derive(serde::Deserialize)]
struct Told {
    at: Instant,
}

/// The most entries that one transaction removes: others wait for it.
const AT_ONCE: u64 = 10_000;

impl Handle {
    /// Entries behind number `after`, and where the next page begins. Without a number, pages go from the last entries back: the cursor is
    /// the entry before which a page ends.
    ///
    /// # Errors
    /// The state can't be read.
    pub async fn audit(
        &self,
        after: Option<u64>,
        window: &Window<Line>,
    ) -> Result<(Page, Option<Cursor<Line>>), Error> {
        let bounds = self.shared.store.audit_bounds().await?;
        let at = window.cursor.as_ref().map(|cursor| *cursor.key());
        let (begin, count) = match after {
            Some(after) => (after.max(at.unwrap_or(0)), window.limit),
            None => {
                let end = at.map_or(bounds.head.seq, |at| {
                    at.saturating_sub(1).min(bounds.head.seq)
                });
                let begin = end
                    .saturating_sub(u64::try_from(window.limit).unwrap_or(u64::MAX))
                    .max(bounds.anchor.seq.min(end));
                (begin, usize::try_from(end - begin).unwrap_or(window.limit))
            }
        };
        let entries = self.shared.store.audit(begin, count).await?;
        let entries: Vec<Line> = entries.into_iter().map(Into::into).collect();
        let next = match after {
            Some(_) => entries.last().filter(|last| last.seq < bounds.head.seq),
            None => entries
                .first()
                .filter(|first| first.seq > bounds.anchor.seq + 1),
        };
        let next = next.map(Cursor::behind);
        Ok((Page { bounds, entries }, next))
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

impl Retention {
    /// Cuts off what is beyond the limits, and records that.
    pub(crate) async fn trim_audit(&self) -> Result<(), store::Error> {
        let keep = self.options.keep_audit;
        loop {
            let Bounds { anchor, head } = self.store.audit_bounds().await?;
            let kept = head.seq - anchor.seq;
            let size = self.store.audit_size().await?;
            // Some at a time, or every cut would be followed by one of its own record.
            let too_many = kept.saturating_sub(keep.entries);
            let mut surplus = if too_many <= keep.entries / 16 + 1 {
                0
            } else {
                self.old(anchor.seq, too_many, keep.age).await?
            };
            if size > keep.size.0 {
                let excess = size - keep.size.0 + keep.size.0 / 16;
                // As many as take so much when they are like the rest.
                let share = u128::from(excess) * u128::from(kept) / u128::from(size.max(1));
                surplus = surplus.max(u64::try_from(share).unwrap_or(kept).max(1).min(kept));
            }
            if surplus == 0 || self.stop.is_cancelled() {
                return Ok(());
            }
            let through = anchor.seq + surplus.min(AT_ONCE);
            let Some(last) = self.store.audit(through - 1, 1).await?.pop() else {
                return Ok(());
            };
            let after = Cut {
                anchor: Head {
                    seq: last.seq,
                    hash: last.hash,
                },
            };
            let message = format!("entries up to {through} are not kept any longer");
            let event = Event::new(Severity::Info, Reason::AuditTrimmed, CONTROLLER, message)
                .because(Cause::Rule("keep.audit".to_owned()));
            let event = Event {
                before: serde_json::to_value(Cut { anchor }).ok(),
                after: serde_json::to_value(after).ok(),
                ..event
            };
            let mut change = Change::of(event);
            change.cut_audit(through);
            self.committer.commit(change).await?;
        }
    }

    /// How many of the first `most` entries behind `after` are older than `age`.
    async fn old(&self, after: u64, most: u64, age: Millis) -> Result<u64, store::Error> {
        let now = self.clock.now();
        let (mut old, mut young) = (0, most + 1);
        while young - old > 1 {
            let middle = old + (young - old) / 2;
            let entry = self.store.audit(after + middle - 1, 1).await?.pop();
            let at = entry
                .and_then(|entry| serde_json::from_slice::<Told>(&entry.bytes).ok())
                .map(|told| told.at);
            // What can't be read is of no known age.
            if at.is_none_or(|at| now.since(at) > age) {
                old = middle
            } else {
                young = middle
            }
        }
        Ok(old)
    }
}
