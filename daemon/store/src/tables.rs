//! Every statement that reads or writes the tables. It knows nothing of threads, and leaves transactions to its callers
//! except where a read must be of one moment.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use tradewind_core::store::{Change, Expect, Listing, Record, Revision, Write};

/// A change's position is its revision shifted by this, plus its place in the transaction: the log needs no second index.
const PLACE_BITS: u32 = 20;
const LAST_PLACE: i64 = (1 << PLACE_BITS) - 1;

/// One fewer than the places there are: the last one marks a revision's end.
pub(crate) const MAX_WRITES: usize = (1 << PLACE_BITS) - 1;

/// The largest value, in bytes, that the log of changes has a copy of. Of a larger one it has the key and the revision.
pub(crate) const MAX_LOGGED: usize = 4096;

/// What a change takes in the log beside its key and value, in bytes.
const CHANGE_OVERHEAD: u64 = 16;

/// Of one page of replayed changes.
const PAGE_ROWS: usize = 1024;
const PAGE_BYTES: usize = 4 << 20;

/// A place in the log of changes, between two changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(i64);

/// Where the log ends, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    /// The last revision whose changes may be gone.
    pub(crate) compacted: u64,
}

#[derive(Debug)]
pub(crate) enum Page {
    /// Those wanted, and how far the log has been read for them.
    Changes {
        changes: Vec<Change>,
        read_to: Position,
    },
    Compacted {
        oldest: u64,
    },
}

// === impl Position ===

impl Position {
    /// Just after the last change of `revision`.
    pub(crate) fn after(revision: u64) -> Self {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        Self(
            revision
                .saturating_mul(1 << PLACE_BITS)
                .saturating_add(LAST_PLACE),
        )
    }

    fn of(revision: u64, place: usize) -> Self {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        Self(
            revision
                .saturating_mul(1 << PLACE_BITS)
                .saturating_add(i64::try_from(place).unwrap_or(LAST_PLACE)),
        )
    }

    pub(crate) fn revision(self) -> u64 {
        unsigned(self.0 >> PLACE_BITS)
    }

    /// Whether it lies between two revisions rather than inside one.
    pub(crate) fn is_between_revisions(self) -> bool {
        self.0 & LAST_PLACE == LAST_PLACE
    }
}

// === statements ===

pub(crate) fn head(connection: &Connection) -> Result<Head> {
    connection
        .prepare_cached("SELECT revision, compacted FROM head")?
        .query_row([], |row| {
            Ok(Head {
                revision: unsigned(row.get(0)?),
                compacted: unsigned(row.get(1)?),
            })
        })
}

pub(crate) fn set_head(connection: &Connection, head: Head) -> Result<()> {
    connection
        .prepare_cached("UPDATE head SET revision = ?1, compacted = ?2")?
        .execute(params![signed(head.revision), signed(head.compacted)])?;
    Ok(())
}

pub(crate) fn get(connection: &Connection, key: &str) -> Result<Option<Record>> {
    connection
        .prepare_cached("SELECT key, value, revision FROM kv WHERE key = ?1")?
        .query_row([key], record)
        .optional()
}

pub(crate) fn list(connection: &Connection, prefix: &str) -> Result<Listing> {
    let snapshot = connection.unchecked_transaction()?;
    let revision = Revision(head(&snapshot)?.revision);
    let mut records = Vec::new();
    // Keys compare as bytes, so all that share a prefix follow one another, from the prefix itself on.
    let mut statement = snapshot
        .prepare_cached("SELECT key, value, revision FROM kv WHERE key >= ?1 ORDER BY key")?;
    let mut rows = statement.query([prefix])?;
    while let Some(row) = rows.next()? {
        if !row.get_ref(0)?.as_str()?.starts_with(prefix) {
            break;
        }
        records.push(record(row)?);
    }
    Ok(Listing { records, revision })
}

/// How many bytes these keys take, with their values.
pub(crate) fn size(connection: &Connection, prefix: &str) -> Result<u64> {
    let mut statement = connection
        .prepare_cached("SELECT key, length(value) FROM kv WHERE key >= ?1 ORDER BY key")?;
    let mut rows = statement.query([prefix])?;
    let mut sum = 0;
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_str()?;
        if !key.starts_with(prefix) {
            break;
        }
        sum += key.len() as u64 + unsigned(row.get(1)?);
    }
    Ok(sum)
}

/// The key of the first expectation that does not hold.
pub(crate) fn unmet<'a>(connection: &Connection, expects: &'a [Expect]) -> Result<Option<&'a str>> {
    for expect in expects {
        let (key, wanted) = match expect {
            Expect::Absent { key } => (key, None),
            Expect::AtRevision { key, revision } => (key, Some(revision.0)),
        };
        let found = connection
            .prepare_cached("SELECT revision FROM kv WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        if found.map(unsigned) != wanted {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Returns how many bytes the log of changes has grown by.
pub(crate) fn apply(connection: &Connection, revision: u64, writes: &[Write]) -> Result<u64> {
    let mut log = connection.prepare_cached(
        "INSERT INTO change (position, key, value, kept) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut logged = 0;
    for (place, write) in writes.iter().enumerate() {
        let position = Position::of(revision, place).0;
        match write {
            Write::Put { key, value } => {
                put(connection, key, value, revision)?;
                // One that is written again by the same transaction can't be found by its revision.
                let is_last = || {
                    writes
                        .iter()
                        .skip(place + 1)
                        .all(|later| later.key() != key)
                };
                let kept = if value.len() > MAX_LOGGED && is_last() {
                    None
                } else {
                    Some(value)
                };
                log.execute(params![position, key, kept, kept.is_some()])?;
                logged += change_bytes(key.len(), kept.map_or(0, Vec::len));
            }
            Write::Archive { key, value } => put(connection, key, value, revision)?,
            Write::Delete { key } => {
                connection
                    .prepare_cached("DELETE FROM kv WHERE key = ?1")?
                    .execute([key])?;
                log.execute(params![position, key, None::<Vec<u8>>, true])?;
                logged += change_bytes(key.len(), 0);
            }
        }
    }
    Ok(logged)
}

fn change_bytes(key: usize, value: usize) -> u64 {
    (key as u64)
        .saturating_add(value as u64)
        .saturating_add(CHANGE_OVERHEAD)
}

fn put(connection: &Connection, key: &str, value: &[u8], revision: u64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO kv (key, value, revision) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
        )?
        .execute(params![key, value, signed(revision)])?;
    Ok(())
}

/// How many bytes the log of changes takes.
pub(crate) fn logged(connection: &Connection) -> Result<u64> {
    sum(connection, i64::MAX)
}

/// Those of every revision up to `through`.
pub(crate) fn logged_through(connection: &Connection, through: u64) -> Result<u64> {
    sum(connection, Position::after(through).0)
}

fn sum(connection: &Connection, position: i64) -> Result<u64> {
    // Lengths in bytes stand at a row's beginning: large values are not read for theirs.
    let sql = "SELECT coalesce(sum(octet_length(key) + coalesce(length(value), 0) + ?2), 0) FROM change WHERE position <= ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .query_row(params![position, signed(CHANGE_OVERHEAD)], |row| row.get(0))
        .map(unsigned)
}

/// The revision through which the log must be forgotten for `bytes` of it to go.
pub(crate) fn oldest(connection: &Connection, bytes: u64) -> Result<u64> {
    let sql = "SELECT position, octet_length(key), coalesce(length(value), 0) FROM change ORDER BY position";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let (mut sum, mut through) = (0, 0);
    while let Some(row) = rows.next()? {
        if sum >= bytes {
            break;
        }
        sum += unsigned(row.get(1)?) + unsigned(row.get(2)?) + CHANGE_OVERHEAD;
        through = Position(row.get(0)?).revision();
    }
    Ok(through)
}

/// Forgets the changes of every revision up to `through`.
pub(crate) fn compact(connection: &Connection, through: u64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM change WHERE position <= ?1")?
        .execute([Position::after(through).0])?;
    Ok(())
}

/// One page of the changes under `prefix` after `position`, as of one moment.
pub(crate) fn changes(connection: &Connection, position: Position, prefix: &str) -> Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let head = head(&snapshot)?;
    if position < Position::after(head.compacted) {
        return Ok(Page::Compacted {
            oldest: head.compacted,
        });
    }
    let mut statement = snapshot.prepare_cached(
        "SELECT position, key, value, kept FROM change WHERE position > ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([position.0])?;
    let mut changes = Vec::new();
    let mut bytes = 0usize;
    let mut read = 0usize;
    let mut read_to = position;
    while let Some(row) = rows.next()? {
        let before = std::mem::replace(&mut read_to, Position(row.get(0)?));
        read += 1;
        let key = row.get_ref(1)?.as_str()?;
        if key.starts_with(prefix) {
            let mut value: Option<Vec<u8>> = row.get(2)?;
            if !row.get::<_, bool>(3)? {
                value = get(&snapshot, key)?
                    .filter(|record| record.revision.0 == read_to.revision())
                    .map(|record| record.value);
                match value {
                    Some(_) => {}
                    // Written anew since: nobody has it any more. What comes before it is told first.
                    None if changes.is_empty() => {
                        return Ok(Page::Compacted {
                            oldest: read_to.revision(),
                        });
                    }
                    None => {
                        return Ok(Page::Changes {
                            changes,
                            read_to: before,
                        });
                    }
                }
            }
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            changes.push(Change {
                revision: Revision(read_to.revision()),
                key: key.to_owned(),
                value,
            });
        }
        if read >= PAGE_ROWS || bytes >= PAGE_BYTES {
            return Ok(Page::Changes { changes, read_to });
        }
    }
    Ok(Page::Changes {
        changes,
        read_to: read_to.max(Position::after(head.revision)),
    })
}

fn record(row: &Row<'_>) -> Result<Record> {
    Ok(Record {
        key: row.get(0)?,
        value: row.get(1)?,
        revision: Revision(unsigned(row.get(2)?)),
    })
}

// SQLite's integers are signed; ours count up from 0 and never get near the sign.

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
