//! The audit log's chain: every entry's hash covers the one before it, so that no entry can be edited, removed, moved or put in
//! without every later hash telling. Pure arithmetic over entries; where they are kept is the store's affair.
//!
//! Whoever can rewrite the whole chain can also cut off its end: only a head that was noted elsewhere shows that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::{list::Listed, names::Digest, revision::Revision};

/// Keeps these hashes apart from all others.
const DOMAIN: &[u8] = b"tradewind audit entry 1\0";

/// One thing that happened, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counts from 1, without a gap.
    pub seq: u64,
    /// The transaction that recorded it.
    pub revision: Revision,
    /// Of the entry and the hash before it.
    pub hash: Digest,
    /// The event's JSON, byte for byte.
    pub bytes: Vec<u8>,
}

/// How far the chain goes: the number and the hash of an entry. Number 0 stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditHead")]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The entry's number.
    pub seq: u64,
    /// The entry's hash.
    pub hash: Digest,
}

/// What is kept of the chain: everything behind `anchor`, up to `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditBounds")]
#[serde(rename_all = "camelCase")]
pub struct Bounds {
    /// The last entry that is not kept any more; number 0: all are kept.
    pub anchor: Head,
    /// The last entry.
    pub head: Head,
}

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[schemars(rename = "AuditFault")]
#[serde(tag = "kind", rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Fault {
    #[error("entry {seq} is not what was recorded: it, or one before it, was edited")]
    Altered { seq: u64 },
    #[error("entry {seq} is missing: entry {found} follows")]
    Missing { seq: u64, found: u64 },
    #[error("entry {seq} is not in its place: entry {found} was expected")]
    Misplaced { seq: u64, found: u64 },
    #[error("entry {seq} is missing: the log ends before it")]
    Ended { seq: u64 },
    #[error("the log begins after entry {seq}, which is not where it says that it was cut off")]
    Anchor { seq: u64 },
    #[error("entry {seq} can't be read: {message}")]
    Unreadable { seq: u64, message: String },
    #[error("no entry has the expected hash {hash}: the log ends at entry {seq}")]
    Unexpected { seq: u64, hash: Digest },
}

impl Fault {
    /// The first sequence number that is wrong.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Altered { seq }
            | Self::Missing { seq, .. }
            | Self::Misplaced { seq, .. }
            | Self::Ended { seq }
            | Self::Anchor { seq }
            | Self::Unreadable { seq, .. }
            | Self::Unexpected { seq, .. } => *seq,
        }
    }
}

/// What became of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditVerdict")]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Entries that are as they were recorded, counted from the first one kept.
    pub verified: u64,
    /// The last of them.
    pub head: Head,
    /// Where the entry with the expected hash is, if one was expected and found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// The first thing that is wrong. Absent: nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What an event's `after` says when the beginning of the log is cut off: the log itself tells where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cut {
    /// The last entry that is not kept any more.
    pub anchor: Head,
}

/// The reason of the event that records a cut.
pub const TRIMMED: &str = "AuditTrimmed";

/// Follows a chain from its anchor, entry by entry.
#[derive(Debug)]
pub struct Chain {
    anchor: Head,
    head: Head,
    expected: Option<Digest>,
    found: Option<u64>,
    /// The last cut that the log itself records.
    cut: Option<Head>,
}

// === impl Head ===

impl Head {
    /// Before the first entry.
    pub const START: Self = Self {
        seq: 0,
        hash: Digest::ZERO,
    };

    /// The next entry of the chain.
    pub fn next(self, revision: Revision, bytes: &[u8]) -> Self {
        let seq = self.seq + 1;
        let length = bytes.len() as u64;
        let previous = self.hash;
        let hash = Digest::of_all(&[
            DOMAIN,
            previous.as_bytes(),
            &seq.to_be_bytes(),
            &revision.0.to_be_bytes(),
            &length.to_be_bytes(),
            bytes,
        ]);
        Self { seq, hash }
    }
}

// === impl Chain ===

impl Chain {
    /// `expected`: a hash that some entry must have.
    pub fn behind(anchor: Head, expected: Option<Digest>) -> Self {
        let found = expected
            .filter(|hash| *hash == anchor.hash)
            .map(|_| anchor.seq);
        Self {
            anchor,
            head: anchor,
            expected,
            found,
            cut: None,
        }
    }

    /// The number that the next entry must have.
    pub fn next_seq(&self) -> u64 {
        self.head.seq + 1
    }

    /// # Errors
    /// The entry does not continue the chain.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), Fault> {
        let wanted = self.next_seq();
        if entry.seq > wanted {
            return Err(Fault::Missing {
                seq: wanted,
                found: entry.seq,
            });
        }
        if entry.seq < wanted {
            return Err(Fault::Misplaced {
                seq: entry.seq,
                found: wanted,
            });
        }
        let next = self.head.next(entry.revision, &entry.bytes);
        if next.hash != entry.hash {
            return Err(Fault::Altered { seq: wanted });
        }
        self.head = next;
        if self.expected == Some(next.hash) {
            self.found = Some(next.seq);
        }
        if let Some(cut) = cut(&entry.bytes) {
            self.cut = Some(cut.anchor);
        }
        Ok(())
    }

    /// What was found, after the last entry or the first fault. `end`: where the log says that it ends.
    pub fn conclude(self, end: Option<Head>, fault: Option<Fault>) -> Verdict {
        let Self {
            anchor,
            head,
            expected,
            found,
            cut,
        } = self;
        let ended = || match end {
            Some(end) if end.seq > head.seq => Some(Fault::Ended { seq: head.seq + 1 }),
            Some(end) if end != head => Some(Fault::Altered { seq: head.seq }),
            _ => None,
        };
        // A beginning that was cut off is told of by an entry behind it.
        let untold =
            || (anchor.seq > 0 && cut != Some(anchor)).then_some(Fault::Anchor { seq: anchor.seq });
        let unexpected = || {
            expected
                .filter(|_| found.is_none())
                .map(|hash| Fault::Unexpected {
                    seq: head.seq,
                    hash,
                })
        };
        let fault = fault.or_else(ended).or_else(untold).or_else(unexpected);
        Verdict {
            verified: head.seq - anchor.seq,
            head,
            expected: found,
            fault,
        }
    }
}

fn cut(bytes: &[u8]) -> Option<Cut> {
    #[derive(Deserialize)]
    struct Told {
        reason: String,
        after: serde_json::Value,
    }
    // Most entries are something else: only those that may be one are read.
    let needle = TRIMMED.as_bytes();
    if !bytes.windows(needle.len()).any(|window| window == needle) {
        return None;
    }
    let told: Told = serde_json::from_slice(bytes).ok()?;
    if told.reason != TRIMMED {
        None
    } else {
        serde_json::from_value(told.after).ok()
    }
}

// === wire ===

/// An entry as the API shows it and as it is exported: one JSON line. The event's text must stay as it is, byte for byte.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The entry's number, from 1.
    pub seq: u64,
    /// The transaction that recorded it.
    pub revision: Revision,
    /// Of the entry and the hash before it.
    pub hash: Digest,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub event: Option<Box<RawValue>>,
    /// Base64, in place of `event`, of bytes that are no JSON any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

/// By number.
impl Listed for Line {
    const LIST: &'static str = "audit";
    type Key = u64;

    fn key(&self) -> u64 {
        self.seq
    }
}

/// Some entries, and what is kept in all.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditPage")]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// What is kept in all.
    pub bounds: Bounds,
    /// The entries, the oldest first.
    pub entries: Vec<Line>,
}

/// The first line of an export: where it begins and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preface {
    /// The version of this format.
    pub audit: u32,
    /// What is kept in all.
    #[serde(flatten)]
    pub bounds: Bounds,
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let Entry {
            seq,
            revision,
            hash,
            bytes,
        } = entry;
        let event = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| RawValue::from_string(text.to_owned()).ok());
        // Spaces around the value would be lost.
        let event = event.filter(|event| event.get().len() == bytes.len());
        let bytes = event.is_none().then(|| STANDARD.encode(&bytes));
        Self {
            seq,
            revision,
            hash,
            event,
            bytes,
        }
    }
}

impl Line {
    /// Back to what was recorded. None: it has neither an event nor readable bytes.
    pub fn entry(self) -> Option<Entry> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let bytes = match (self.event, self.bytes) {
            (Some(event), None) => event.get().as_bytes().to_vec(),
            (None, Some(text)) => STANDARD.decode(text).ok()?,
            _ => return None,
        };
        Some(Entry {
            seq: self.seq,
            revision: self.revision,
            hash: self.hash,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: u64) -> Vec<Entry> {
        let mut head = Head::START;
        let mut entries = Vec::new();
        for n in 1..=count {
            let bytes = format!("{{\"n\":{n}}}").into_bytes();
            head = head.next(Revision(n * 2), &bytes);
            entries.push(Entry {
                seq: head.seq,
                revision: Revision(n * 2),
                hash: head.hash,
                bytes,
            });
        }
        entries
    }

    fn verdict(
        anchor: Head,
        entries: &[Entry],
        end: Option<Head>,
        expected: Option<Digest>,
    ) -> Verdict {
        let mut chain = Chain::behind(anchor, expected);
        let fault = entries.iter().find_map(|entry| chain.follow(entry).err());
        chain.conclude(end, fault)
    }

    fn head(entries: &[Entry]) -> Head {
        entries.last().map_or(Head::START, |e| Head {
            seq: e.seq,
            hash: e.hash,
        })
    }

    #[test]
    fn every_kind_of_edit_is_found_at_its_first_number() {
        type Edit = fn(&mut Vec<Entry>);
        let whole = chain(9);
        let end = Some(head(&whole));
        assert_eq!(verdict(Head::START, &whole, end, None).fault, None);
        let cases: [(&str, Edit, u64); 9] = [
            ("a byte", |e| e[4].bytes[2] ^= 1, 5),
            ("a revision", |e| e[4].revision.0 += 1, 5),
            ("a hash", |e| e[4].hash = Digest::ZERO, 5),
            (
                "an entry and its hash",
                |e| {
                    e[4].bytes = b"{}".to_vec();
                    let before = head(&e[..4]);
                    e[4].hash = before.next(e[4].revision, b"{}").hash;
                },
                6,
            ),
            ("removed", |e| drop(e.remove(4)), 5),
            (
                "put in",
                |e| {
                    let copy = e[4].clone();
                    e.insert(5, copy)
                },
                5,
            ),
            ("two swapped", |e| e.swap(4, 5), 5),
            ("the first removed", |e| drop(e.remove(0)), 1),
            ("the last removed", |e| drop(e.pop()), 9),
        ];
        for (what, edit, seq) in cases {
            let mut entries = whole.clone();
            edit(&mut entries);
            let fault = verdict(Head::START, &entries, end, None)
                .fault
                .unwrap_or_else(|| panic!("{what} was not found"));
            assert_eq!(fault.seq(), seq, "{what}: {fault}");
        }
    }

    #[test]
    fn an_end_that_was_cut_off_needs_a_head_that_was_noted() {
        let whole = chain(9);
        let noted = head(&whole).hash;
        let short = &whole[..6];
        assert_eq!(
            verdict(Head::START, short, Some(head(short)), None).fault,
            None,
            "nothing inside the log can tell"
        );
        let fault = verdict(Head::START, short, Some(head(short)), Some(noted)).fault;
        assert_eq!(
            fault,
            Some(Fault::Unexpected {
                seq: 6,
                hash: noted
            })
        );
        let told = verdict(Head::START, &whole, Some(head(&whole)), Some(whole[3].hash));
        assert_eq!((told.fault, told.expected), (None, Some(4)));
    }

    #[test]
    fn a_beginning_is_cut_off_only_with_an_entry_that_says_so() {
        let mut entries = chain(9);
        let anchor = head(&entries[..5]);
        let text = serde_json::json!({"reason": TRIMMED, "after": Cut { anchor }}).to_string();
        let next = head(&entries).next(Revision(20), text.as_bytes());
        let unsaid = entries[5..].to_vec();
        entries.push(Entry {
            seq: next.seq,
            revision: Revision(20),
            hash: next.hash,
            bytes: text.into_bytes(),
        });
        let kept = &entries[5..];
        let good = verdict(anchor, kept, Some(next), None);
        assert_eq!((good.fault, good.verified), (None, 5));
        assert_eq!(
            verdict(anchor, &unsaid, None, None).fault,
            Some(Fault::Anchor { seq: 5 })
        );
        let further = head(&entries[..7]);
        assert_eq!(
            verdict(further, &entries[7..], Some(next), None).fault,
            Some(Fault::Anchor { seq: 7 })
        );
    }

    #[test]
    fn a_line_keeps_the_bytes() {
        for bytes in [
            &b"{\"b\":1,\"a\":1.10}"[..],
            b" {}",
            b"\xff",
            b"{\"a\":",
            b"",
        ] {
            let entry = Entry {
                seq: 1,
                revision: Revision(1),
                hash: Digest::ZERO,
                bytes: bytes.to_vec(),
            };
            let text = serde_json::to_string(&Line::from(entry.clone())).unwrap();
            let line: Line = serde_json::from_str(&text).unwrap();
            assert_eq!(line.entry(), Some(entry), "{text}");
        }
    }
}
