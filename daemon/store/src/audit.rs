//! The audit log's table: appending to the chain, cutting off its beginning, reading and checking it. What the entries mean is not
//! its affair, and when they are written is the writer's.

use rusqlite::{Connection, Result, Row, params, types::ValueRef};

use tradewind_core::{
    audit::{Bounds, Chain, Entry, Fault, Head, Verdict},
    names::Digest,
    store::Revision,
};

use crate::tables::{signed, unsigned};

pub(crate) fn bounds(connection: &Connection) -> Result<Bounds> {
    let mut statement = connection
        .prepare_cached("SELECT anchor_seq, anchor_hash, head_seq, head_hash FROM audit_bounds")?;
    statement.query_row([], |row| {
        Ok(Bounds {
            anchor: Head {
                seq: unsigned(row.get(0)?),
                hash: digest(row, 1)?,
            },
            head: Head {
                seq: unsigned(row.get(2)?),
                hash: digest(row, 3)?,
            },
        })
    })
}

pub(crate) fn set_bounds(connection: &Connection, bounds: Bounds) -> Result<()> {
    let Bounds { anchor, head } = bounds;
    connection
        .prepare_cached("UPDATE audit_bounds SET anchor_seq = ?1, anchor_hash = ?2, head_seq = ?3, head_hash = ?4")?
        .execute(params![signed(anchor.seq), anchor.hash.as_bytes(), signed(head.seq), head.hash.as_bytes()])?;
    Ok(())
}

/// How many bytes the entries take.
pub(crate) fn size(connection: &Connection) -> Result<u64> {
    connection
        .prepare_cached("SELECT bytes FROM audit_bounds")?
        .query_row([], |row| row.get(0))
        .map(unsigned)
}

fn grow(connection: &Connection, bytes: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE audit_bounds SET bytes = bytes + ?1")?
        .execute([bytes])
        .map(|_| ())
}

pub(crate) fn append(
    connection: &Connection,
    head: &mut Head,
    revision: u64,
    entries: &[Vec<u8>],
) -> Result<()> {
    for bytes in entries {
        *head = head.next(Revision(revision), bytes);
        connection
            .prepare_cached(
                "INSERT INTO audit (seq, revision, hash, entry) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                signed(head.seq),
                signed(revision),
                head.hash.as_bytes(),
                bytes
            ])?;
    }
    let bytes: usize = entries.iter().map(Vec::len).sum();
    if bytes == 0 {
        Ok(())
    } else {
        grow(connection, i64::try_from(bytes).unwrap_or(i64::MAX))
    }
}

/// Removes the entries up to `through`. The last of them becomes the anchor.
pub(crate) fn cut(connection: &Connection, bounds: &mut Bounds, through: u64) -> Result<()> {
    if through <= bounds.anchor.seq || through > bounds.head.seq {
        return Ok(());
    }
    let mut last = connection.prepare_cached("SELECT hash FROM audit WHERE seq = ?1")?;
    let hash = last.query_row([signed(through)], |row| digest(row, 0))?;
    let mut bytes = connection
        .prepare_cached("SELECT coalesce(sum(length(entry)), 0) FROM audit WHERE seq <= ?1")?;
    let bytes: i64 = bytes.query_row([signed(through)], |row| row.get(0))?;
    connection
        .prepare_cached("DELETE FROM audit WHERE seq <= ?1")?
        .execute([signed(through)])?;
    grow(connection, -bytes)?;
    bounds.anchor = Head { seq: through, hash };
    Ok(())
}

pub(crate) fn entries(connection: &Connection, after: u64, limit: usize) -> Result<Vec<Entry>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, revision, hash, entry FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let rows = statement.query_map(
        params![signed(after), i64::try_from(limit).unwrap_or(i64::MAX)],
        entry,
    )?;
    rows.collect()
}

/// Follows the chain through the whole table, as of one moment. Damage that keeps a row from being read is a finding too.
pub(crate) fn verify(connection: &Connection, expected: Option<Digest>) -> Result<Verdict> {
    let snapshot = connection.unchecked_transaction()?;
    let bounds = bounds(&snapshot)?;
    let mut chain = Chain::behind(bounds.anchor, expected);
    let fault = fault(&snapshot, &mut chain)?;
    Ok(chain.conclude(Some(bounds.head), fault))
}

fn fault(connection: &Connection, chain: &mut Chain) -> Result<Option<Fault>> {
    let mut statement =
        connection.prepare("SELECT seq, revision, hash, entry FROM audit ORDER BY seq")?;
    let mut rows = statement.query([])?;
    loop {
        let read = rows.next().and_then(|row| row.map(entry).transpose());
        match read {
            Ok(None) => return Ok(None),
            Ok(Some(entry)) => {
                if let Err(fault) = chain.follow(&entry) {
                    return Ok(Some(fault));
                }
            }
            Err(error) => {
                return Ok(Some(Fault::Unreadable {
                    seq: chain.next_seq(),
                    message: error.to_string(),
                }));
            }
        }
    }
}

fn entry(row: &Row<'_>) -> Result<Entry> {
    Ok(Entry {
        seq: unsigned(row.get(0)?),
        revision: Revision(unsigned(row.get(1)?)),
        hash: digest(row, 2)?,
        bytes: row.get(3)?,
    })
}

/// One of another length is none that was ever written: it equals no hash.
fn digest(row: &Row<'_>, column: usize) -> Result<Digest> {
    let value = row.get_ref(column)?;
    let bytes = match value {
        ValueRef::Blob(bytes) => bytes,
        _ => &[],
    };
    Ok(<[u8; 32]>::try_from(bytes).map_or(Digest::ZERO, Digest::from_bytes))
}
