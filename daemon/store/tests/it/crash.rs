//! Sudden ends and failing disks. The tests marked `ignore` are bodies of processes that the others start: this program, run again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tradewind_core::store::{Error, Revision, Store, Txn};
use tradewind_store::Options;

use crate::support::{chain, open, state};

const PATH: &str = "TRADEWIND_TEST_STATE";

fn child_options() -> Options {
    Options::new(PathBuf::from(std::env::var_os(PATH).unwrap()))
}

/// This program again, to run one test only.
fn child(mut command: Command, body: &str, options: &Options) -> Command {
    command.args(["--ignored", "--exact", "--nocapture", body]).env(PATH, &options.path).stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the crash test kills"]
async fn write_until_killed() {
    let database = open(&child_options());
    let start = database.revision().await.unwrap().0;
    let writers = (0..16).map(|writer| {
        let database = database.clone();
        async move {
            for number in 0u64.. {
                let value = format!("{start}-{writer}-{number}");
                let txn = Txn::new().put(format!("a/{value}"), vec![]).put(format!("b/{value}"), vec![0; 500]);
                let revision = database.commit(txn).await.unwrap();
                println!("wrote {value} {}", revision.0);
            }
        }
    });
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn killed_at_any_moment_it_has_all_that_was_answered() {
    let (_folder, options) = state();
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    for round in 1..=4 {
        let command = Command::new(std::env::current_exe().unwrap());
        let mut child = child(command, "crash::write_until_killed", &options).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut record = |line: String| {
            // One without an end was cut off by the kill, and its answer never got out.
            if let [_, value, revision] = line.split(' ').collect::<Vec<_>>()[..] {
                answered.insert(value.to_owned(), revision.parse().unwrap());
            }
        };
        let writes = |line: &String| line.starts_with("wrote ");
        lines.by_ref().filter(writes).take(150 * round).for_each(&mut record);
        child.kill().unwrap();
        child.wait().unwrap();
        let rest: Vec<String> = lines.filter(writes).collect();
        // The very last may be cut short in the middle of its number.
        rest.iter().rev().skip(1).rev().cloned().for_each(&mut record);

        let database = open(&options);
        let (a, b) = (database.list("a/").await.unwrap(), database.list("b/").await.unwrap());
        let keys = |listing: &tradewind_core::store::Listing| -> BTreeMap<String, u64> {
            listing.records.iter().map(|record| (record.key[2..].to_owned(), record.revision.0)).collect()
        };
        assert_eq!(keys(&a), keys(&b), "no transaction is there by half");
        let found = keys(&a);
        for (value, revision) in &answered {
            assert_eq!(found.get(value), Some(revision), "{value} was answered");
        }
        assert!(found.len() <= answered.len() + round * 17, "only those in flight may be there without an answer");
        assert_eq!(found.values().max(), Some(&a.revision.0));
        database.close().await.unwrap();
    }
    assert!(answered.len() >= 1500);
}

#[tokio::test]
#[ignore = "the process whose files may not grow"]
async fn write_until_the_disk_fails() {
    let database = open(&child_options());
    let mut written = 0;
    let error = loop {
        match database.commit(Txn::new().put(format!("k/{written:04}"), vec![1; 4000])).await {
            Ok(revision) => {
                written += 1;
                assert_eq!(revision, Revision(written));
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Backend { action: "written", .. }), "{}", chain(&error));
    assert!(chain(&error).contains("disk I/O error"), "{}", chain(&error));
    let error = database.commit(Txn::new().put("small", vec![])).await.unwrap_err();
    assert!(chain(&error).contains("no more are taken until the daemon starts again: disk I/O error"), "{}", chain(&error));
    let listing = database.list("").await.unwrap();
    assert_eq!((listing.records.len() as u64, listing.revision.0), (written, written), "reads go on, and show what was answered");
    assert_eq!(database.revision().await.unwrap(), Revision(written));
    println!("wrote {written}");
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_answered_that_is_not_there() {
    let (_folder, options) = state();
    let mut shell = Command::new("bash");
    // A file's size limit is the one disk failure that needs no privileges. In kB; the signal that comes with it is not wanted.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$@\"", "bash"]).arg(std::env::current_exe().unwrap());
    let output = child(shell, "crash::write_until_the_disk_fails", &options).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let written: usize = text.lines().find_map(|line| line.strip_prefix("wrote ")).unwrap().parse().unwrap();
    assert!(written > 10);

    let database = open(&options);
    assert_eq!(database.list("k/").await.unwrap().records.len(), written);
    assert!(database.commit(Txn::new().put("k/after", vec![])).await.unwrap().0 > written as u64);
}
