//! A disk that is full and a file that another program holds: writes are refused with the cause, reads go on, and so do writes
//! when the trouble is over.

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use tradewind_core::store::{Error, Store, Trouble, Txn};
use tradewind_store::{Database, Options};

use crate::support::{chain, open, state};

/// A small file system of its own, if this machine lets us make one.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn of(kilobytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .output();
    }
}

async fn refused(database: &Database, key: &str, size: usize) -> Trouble {
    let error = database
        .commit(Txn::new().put(key, vec![1; size]))
        .await
        .unwrap_err();
    match error {
        Error::Unwritable { trouble, .. } => trouble,
        other => panic!("{}", chain(&other)),
    }
}

/// Without the right to mount, the writer's own test stands for this one: there the file may not grow.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_what_was_answered_stays_and_writes_go_on_when_there_is_room() {
    let Some(disk) = Disk::of(3 << 10) else {
        return;
    };
    let database = open(&Options::new(disk.path().join("state.db")));
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let mut written = 0;
    let error = loop {
        match database
            .commit(
                Txn::new()
                    .put(format!("k/{written:04}"), vec![1; 20_000])
                    .audit(b"{}".to_vec()),
            )
            .await
        {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            Error::Unwritable {
                trouble: Trouble::Full,
                ..
            }
        ),
        "{}",
        chain(&error)
    );
    assert!(
        error
            .to_string()
            .contains("takes no writes: the disk is full"),
        "{error}"
    );
    assert_eq!(*database.trouble().borrow(), Some(Trouble::Full));
    // Giving up may have freed a page or two: this has no room in any case.
    assert_eq!(refused(&database, "k/more", 2 << 20).await, Trouble::Full);
    assert_eq!(
        database.list("k/").await.unwrap().records.len(),
        written,
        "reads go on"
    );

    std::fs::remove_file(&ballast).unwrap();
    database.probe().await;
    assert_eq!(
        *database.trouble().borrow(),
        None,
        "nobody has to write to find out"
    );
    database
        .commit(Txn::new().put("k/after", vec![1; 20_000]))
        .await
        .unwrap();
    assert_eq!(
        database.list("k/").await.unwrap().records.len(),
        written + 1
    );
    assert_eq!(
        database.audit_verify(None).await.unwrap().verified,
        written as u64
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_another_program_holds_the_file_reads_go_on() {
    let (_folder, options) = state();
    let database = open(&options);
    database
        .commit(Txn::new().put("k/0", vec![1]))
        .await
        .unwrap();
    let other = Connection::open(&options.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(refused(&database, "k/1", 1).await, Trouble::Locked);
    assert_eq!(database.list("k/").await.unwrap().records.len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    database.probe().await;
    assert_eq!(*database.trouble().borrow(), None);
    database
        .commit(Txn::new().put("k/1", vec![1]))
        .await
        .unwrap();
}
