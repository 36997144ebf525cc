//! The tables' versions: tells our file from another's, an older one from a newer, and brings an older one up to date.
//! It must not know what a key means.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::{Error, file};

/// Marks the file as ours: "twnd".
const APPLICATION: i64 = 0x7477_6e64;

/// Copies were never made of an earlier one.
const FIRST_WITH_AUDIT: i64 = 2;

/// The n-th takes schema n to n + 1. One that has been released is never edited.
pub(crate) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE kv (
        key TEXT NOT NULL UNIQUE,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL
    ) STRICT;

    -- What `watch` replays. A position is the revision, then the change's place in its transaction: see tables.rs.
    CREATE TABLE change (
        position INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        value BLOB
    ) STRICT;

    -- The last committed revision, and the last one whose changes may be gone.
    CREATE TABLE head (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL,
        compacted INTEGER NOT NULL
    ) STRICT;
    INSERT INTO head VALUES (1, 0, 0);
",
    "
    -- What happened, each entry chained to the one before it: see core's audit.rs.
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        revision INTEGER NOT NULL,
        hash BLOB NOT NULL,
        entry BLOB NOT NULL
    ) STRICT;

    -- Where the chain ends, and the last entry of it that is not kept any more.
    CREATE TABLE audit_bounds (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        anchor_seq INTEGER NOT NULL,
        anchor_hash BLOB NOT NULL,
        head_seq INTEGER NOT NULL,
        head_hash BLOB NOT NULL
    ) STRICT;
    INSERT INTO audit_bounds VALUES (1, 0, zeroblob(32), 0, zeroblob(32));
",
    // The length is that of tables::MAX_LOGGED when this was released.
    "
    -- Whether the log has the value itself. If not, the value is the key's, for as long as the key is at this revision.
    ALTER TABLE change ADD COLUMN kept INTEGER NOT NULL DEFAULT 1;
    UPDATE change SET value = NULL, kept = 0 WHERE length(value) > 4096;

    -- How many bytes the entries take that are kept.
    ALTER TABLE audit_bounds ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE audit_bounds SET bytes = (SELECT coalesce(sum(length(entry)), 0) FROM audit);
",
];

/// Puts the file in the mode that durability rests on, and its schema at the last of `migrations`.
pub(crate) fn prepare(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), Error> {
    let failed = |source| file::failure("opened", path, source);
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    let found = identify(connection, path)?;
    if found > known {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if found == 0 {
        // Before the first page is written: afterwards it takes a rewrite of the file.
        connection
            .pragma_update(None, "auto_vacuum", "incremental")
            .map_err(failed)?;
    }
    durable(connection, path)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    for migration in migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction
            .execute_batch(migration)
            .map_err(|source| file::failure("brought to this version's schema", path, source))?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION)
        .map_err(failed)?;
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    make_shrinkable(connection, path);
    Ok(())
}

/// Rewrites a file of an earlier version once, so that the pages of what is deleted can be given back. It needs space for a second copy of
/// what is live; without that the file stays as it is until the next start.
fn make_shrinkable(connection: &Connection, path: &Path) {
    const INCREMENTAL: i64 = 2;
    let rewrite = || {
        if connection.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0))?
            == INCREMENTAL
        {
            return Ok(());
        }
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.execute_batch("VACUUM")?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    };
    if let Err(error) = rewrite() {
        tracing::warn!(path = %path.display(), %error, "the state's file can't be rewritten: it does not shrink until the next start");
    }
}

/// Whether this version can read the file: the schema's version, checked.
pub(crate) fn identify_known(connection: &Connection, path: &Path) -> Result<(), Error> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match identify(connection, path)? {
        // One that is not the newest is brought up to date when it is opened.
        found if (FIRST_WITH_AUDIT..=known).contains(&found) => Ok(()),
        found if found > known => Err(Error::Newer {
            path: path.to_owned(),
            found,
            known,
        }),
        found => Err(Error::Older {
            path: path.to_owned(),
            found,
            known: FIRST_WITH_AUDIT,
        }),
    }
}

/// The schema's version; 0 for a file that is still empty.
fn identify(connection: &Connection, path: &Path) -> Result<i64, Error> {
    let failed = |source| file::failure("opened", path, source);
    let number = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(failed)
    };
    let version = number("PRAGMA user_version")?;
    if number("PRAGMA application_id")? == APPLICATION && version >= 0 {
        return Ok(version);
    }
    if number("SELECT count(*) FROM sqlite_schema")? == 0 {
        Ok(0)
    } else {
        Err(Error::Foreign {
            path: path.to_owned(),
        })
    }
}

/// What must hold for every connection that writes.
pub(crate) fn durable(connection: &Connection, path: &Path) -> Result<(), Error> {
    let failed = |source| file::failure("opened", path, source);
    let mode: String = connection
        .query_row("PRAGMA journal_mode = wal", [], |row| row.get(0))
        .map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Error::FileSystem {
            path: path.to_owned(),
            mode,
        });
    }
    connection
        .pragma_update(None, "synchronous", "full")
        .map_err(failed)?;
    // The writer checkpoints after it has answered, not inside somebody's commit.
    connection
        .query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))
        .map_err(failed)?;
    // A log that a burst made long gives its space back.
    connection
        .query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))
        .map_err(failed)
}

/// Reads what the daemon works with, whole.
pub(crate) fn check_records(connection: &Connection, path: &Path) -> Result<(), Error> {
    first_finding(connection, path, "PRAGMA quick_check('kv')")
}

/// Reads the whole file: for when the last run ended badly.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    first_finding(connection, path, "PRAGMA quick_check(1)")
}

fn first_finding(connection: &Connection, path: &Path, sql: &str) -> Result<(), Error> {
    let finding: String = connection
        .query_row(sql, [], |row| row.get(0))
        .map_err(|source| file::failure("checked", path, source))?;
    if finding == "ok" {
        Ok(())
    } else {
        Err(Error::Damaged {
            path: path.to_owned(),
            finding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once_each_in_order_and_keep_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let first = "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1);";
        let second = "ALTER TABLE t ADD COLUMN b INTEGER DEFAULT 7; INSERT INTO t VALUES (2, 8);";
        let mut connection = Connection::open(&path).unwrap();
        prepare(&mut connection, &path, &[first]).unwrap();
        prepare(&mut connection, &path, &[first, second]).unwrap();
        prepare(&mut connection, &path, &[first, second]).unwrap();
        let number = |pragma: &str| {
            connection
                .query_row(pragma, [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!(number("PRAGMA synchronous"), 2, "every commit is synced");
        let rows: Vec<(i64, i64)> = connection
            .prepare("SELECT a, b FROM t ORDER BY a")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows, [(1, 7), (2, 8)]);
        let error = prepare(&mut connection, &path, &[first]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("has schema 2, this version knows none after 1"),
            "{error}"
        );
    }

    #[test]
    fn an_older_log_of_changes_is_read_and_its_large_values_let_go_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let mut connection = Connection::open(&path).unwrap();
        prepare(&mut connection, &path, &MIGRATIONS[..2]).unwrap();
        connection
            .pragma_update(None, "auto_vacuum", "none")
            .unwrap();
        connection.execute_batch("VACUUM").unwrap();
        let large = "CAST(replace(hex(zeroblob(2000000)), '00', 'ab') AS BLOB)";
        let rows = format!(
            "INSERT INTO kv VALUES ('large', {large}, 3), ('small', x'07', 1);
             INSERT INTO change VALUES ({}, 'small', x'07'), ({}, 'large', {large}), ({}, 'large', {large}), ({}, 'gone', NULL);
             UPDATE head SET revision = 4",
            1 << 20,
            2 << 20,
            3 << 20,
            4 << 20,
        );
        connection.execute_batch(&rows).unwrap();
        let size = || std::fs::metadata(&path).unwrap().len();
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        let before = size();

        prepare(&mut connection, &path, MIGRATIONS).unwrap();
        assert_eq!(
            connection
                .query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0))
                .unwrap(),
            2
        );
        assert!(size() < before / 2, "{before} bytes became {}", size());
        let page = |after| {
            crate::tables::changes(&connection, crate::tables::Position::after(after), "").unwrap()
        };
        let crate::tables::Page::Changes { changes, .. } = page(0) else {
            panic!("the first is there")
        };
        assert_eq!(
            changes
                .iter()
                .map(|c| (c.revision.0, c.value.as_deref()))
                .collect::<Vec<_>>(),
            [(1, Some(&[7][..]))]
        );
        assert!(
            matches!(page(1), crate::tables::Page::Compacted { oldest: 2 }),
            "replaced by revision 3"
        );
        let crate::tables::Page::Changes { changes, .. } = page(2) else {
            panic!("the newest is there")
        };
        let lengths: Vec<_> = changes
            .iter()
            .map(|c| (c.revision.0, c.value.as_ref().map(Vec::len)))
            .collect();
        assert_eq!(lengths, [(3, Some(4_000_000)), (4, None)]);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_schema_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let mut connection = Connection::open(&path).unwrap();
        prepare(&mut connection, &path, &["CREATE TABLE t (a)"]).unwrap();
        prepare(
            &mut connection,
            &path,
            &["", "CREATE TABLE u (a); INSERT INTO nowhere VALUES (1)"],
        )
        .unwrap_err();
        assert_eq!(identify(&connection, &path).unwrap(), 1);
        prepare(&mut connection, &path, &["", "CREATE TABLE u (a)"]).unwrap();
    }

    #[test]
    fn another_programs_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("theirs.db");
        let mut connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE bookmarks (url)")
            .unwrap();
        let error = prepare(&mut connection, &path, MIGRATIONS).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        let mode: String = connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "delete");
    }
}
