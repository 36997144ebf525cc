//! Copies of the whole state: made while it is in use, looked at before one is put in place, and told that it was restored.
//! Everything here blocks.

use std::fs::File;
use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use tradewind_core::{
    audit::{Head, Verdict},
    store::{Record, Revision},
};

use crate::{Error, audit, file, schema, tables};

/// How far the revisions of a restored state jump: beyond all that may have been committed after the copy was made, so that nobody
/// who followed that goes on in what comes now as if nothing had happened.
const JUMP: u64 = 1 << 30;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's revision.
    pub revision: Revision,
    /// Where its audit log ends.
    pub audit: Head,
}

/// Copies the state at `from`, as of one moment, to a new file that only its owner can read. Nobody waits for it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<Snapshot, Error> {
    let failed = |source| Error::Sqlite {
        action: "copied",
        path: from.to_owned(),
        source,
    };
    let source = file::reader(from).map_err(failed)?;
    let mut target = file::writer(to)?;
    {
        // In one step: a copy in several begins anew at each write in between.
        let backup = Backup::new(&source, &mut target).map_err(failed)?;
        backup.step(-1).map_err(failed)?;
    }
    // One file that needs no log beside it.
    target
        .query_row("PRAGMA journal_mode = delete", [], |_| Ok(()))
        .map_err(failed)?;
    let snapshot = describe(&target).map_err(failed)?;
    target.close().map_err(|(_, source)| failed(source))?;
    File::open(to)
        .and_then(|copy| copy.sync_all())
        .map_err(|source| Error::File {
            path: to.to_owned(),
            source,
        })?;
    Ok(snapshot)
}

/// Checks a copy: whose it is, its version, every page, the chain of its audit log.
///
/// # Errors
/// It can't be used: damaged, another program's, or a newer version's.
pub fn inspect(path: &Path) -> Result<(Snapshot, Verdict), Error> {
    let failed = |source| file::failure("read", path, source);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    schema::identify_known(&connection, path)?;
    schema::check(&connection, path)?;
    let snapshot = describe(&connection).map_err(failed)?;
    let verdict = audit::verify(&connection, None).map_err(failed)?;
    Ok((snapshot, verdict))
}

/// Everything below these prefixes, of a state that no daemon works on. Nothing is written.
///
/// # Errors
/// It can't be read: damaged, another program's, or a newer version's.
pub fn read(path: &Path, prefixes: &[&str]) -> Result<Vec<Record>, Error> {
    let failed = |source| file::failure("read", path, source);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    schema::identify_known(&connection, path)?;
    let mut records = Vec::new();
    for prefix in prefixes {
        records.extend(tables::list(&connection, prefix).map_err(failed)?.records);
    }
    Ok(records)
}

/// Marks a copy that is about to be put in place: what was followed before can't be gone on with.
///
/// # Errors
/// It can't be written.
pub fn renumber(path: &Path) -> Result<(), Error> {
    let failed = |source| file::failure("written", path, source);
    let mut connection = file::writer(path)?;
    let transaction = connection.transaction().map_err(failed)?;
    let mut head = tables::head(&transaction).map_err(failed)?;
    tables::compact(&transaction, head.revision).map_err(failed)?;
    head.revision += JUMP;
    head.compacted = head.revision;
    tables::set_head(&transaction, head).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))
}

fn describe(connection: &Connection) -> rusqlite::Result<Snapshot> {
    Ok(Snapshot {
        revision: Revision(tables::head(connection)?.revision),
        audit: audit::bounds(connection)?.head,
    })
}
