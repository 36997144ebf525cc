//! Sudden ends and failing disks. The tests marked `ignore` are bodies of processes that the others start: this program, run again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tradewind_core::store::{Error, Revision, Store, Trouble, Txn};
use tradewind_store::{Database, Options};

use crate::support::{chain, open, state};

const PATH: &str = "TRADEWIND_TEST_STATE";

fn child_options() -> Options {
    Options::new(PathBuf::from(std::env::var_os(PATH).unwrap()))
}

/// This program again, to run one test only.
fn child(mut command: Command, body: &str, options: &Options) -> Command {
    command
        .args(["--ignored", "--exact", "--nocapture", body])
        .env(PATH, &options.path)
        .stdin(Stdio::null());
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
                let txn = Txn::new()
                    .put(format!("a/{value}"), vec![])
                    .put(format!("b/{value}"), vec![0; 500]);
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
        let mut child = child(command, "crash::write_until_killed", &options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let mut record = |line: String| {
            // One without an end was cut off by the kill, and its answer never got out.
            if let [_, value, revision] = line.split(' ').collect::<Vec<_>>()[..] {
                answered.insert(value.to_owned(), revision.parse().unwrap());
            }
        };
        let writes = |line: &String| line.starts_with("wrote ");
        lines
            .by_ref()
            .filter(writes)
            .take(150 * round)
            .for_each(&mut record);
        child.kill().unwrap();
        child.wait().unwrap();
        let rest: Vec<String> = lines.filter(writes).collect();
        // The very last may be cut short in the middle of its number.
        rest.iter()
            .rev()
            .skip(1)
            .rev()
            .cloned()
            .for_each(&mut record);

        let database = open(&options);
        let (a, b) = (
            database.list("a/").await.unwrap(),
            database.list("b/").await.unwrap(),
        );
        let keys = |listing: &tradewind_core::store::Listing| -> BTreeMap<String, u64> {
            listing
                .records
                .iter()
                .map(|record| (record.key[2..].to_owned(), record.revision.0))
                .collect()
        };
        assert_eq!(keys(&a), keys(&b), "no transaction is there by half");
        let found = keys(&a);
        for (value, revision) in &answered {
            assert_eq!(found.get(value), Some(revision), "{value} was answered");
        }
        assert!(
            found.len() <= answered.len() + round * 17,
            "only those in flight may be there without an answer"
        );
        assert_eq!(found.values().max(), Some(&a.revision.0));
        database.close().await.unwrap();
    }
    assert!(answered.len() >= 1500);
}

/// The state's files as a crash at this moment would leave them, with only so much of the log.
fn crash_image(options: &Options, log_bytes: Option<usize>) -> (tempfile::TempDir, Options) {
    let log = |options: &Options| options.path.with_extension("db-wal");
    let (folder, image) = state();
    fs::create_dir_all(image.path.parent().unwrap()).unwrap();
    fs::copy(&options.path, &image.path).unwrap();
    let bytes = fs::read(log(options)).unwrap();
    let kept = log_bytes.map_or(bytes.len(), |kept| kept.min(bytes.len()));
    fs::write(log(&image), &bytes[..kept]).unwrap();
    (folder, image)
}

#[tokio::test]
async fn a_log_cut_off_anywhere_holds_whole_transactions_only() {
    const COMMITS: usize = 24;
    let (_folder, options) = state();
    let database = open(&options);
    for number in 0..COMMITS {
        database
            .commit(
                Txn::new()
                    .put(format!("a/{number}"), vec![1; 1500])
                    .put(format!("b/{number}"), vec![2; 6000]),
            )
            .await
            .unwrap();
    }
    let log_bytes = usize::try_from(
        fs::metadata(options.path.with_extension("db-wal"))
            .unwrap()
            .len(),
    )
    .unwrap();
    let mut last = 0;
    for cut in (0..=log_bytes).step_by(log_bytes / 37).chain([log_bytes]) {
        let (_folder, image) = crash_image(&options, Some(cut));
        let database = open(&image);
        let (a, b) = (
            database.list("a/").await.unwrap(),
            database.list("b/").await.unwrap(),
        );
        let there = usize::try_from(a.revision.0).unwrap();
        assert_eq!(
            (a.records.len(), b.records.len()),
            (there, there),
            "cut at {cut} of {log_bytes}"
        );
        assert!(b.records.iter().all(|record| record.value == [2; 6000]));
        assert!(there >= last, "more of the log never holds less");
        last = there;
    }
    assert_eq!(last, COMMITS);
}

#[tokio::test]
async fn after_a_crash_damage_is_found_before_anything_is_done() {
    const PAGE: usize = 4096;
    let (_folder, options) = state();
    let database = open(&options);
    for number in 0..200 {
        database
            .commit(Txn::new().put(format!("k/{number:03}"), vec![1; 1000]))
            .await
            .unwrap();
    }
    database.close().await.unwrap();
    let database = open(&options);
    database
        .commit(Txn::new().put("k/last", vec![]))
        .await
        .unwrap();
    let (_folder, image) = crash_image(&options, None);
    let mut bytes = fs::read(&image.path).unwrap();
    let middle = bytes.len() / PAGE / 2 * PAGE;
    bytes[middle..middle + PAGE].fill(0xff);
    fs::write(&image.path, bytes).unwrap();

    let error = Database::open(image).unwrap_err();
    assert!(
        error.to_string().contains("is damaged (")
            && error.to_string().contains("put a backup back"),
        "{error}"
    );
}

#[tokio::test]
#[ignore = "the process whose files may not grow"]
async fn write_until_the_disk_fails() {
    let database = open(&child_options());
    let mut written = 0;
    let error = loop {
        match database
            .commit(Txn::new().put(format!("k/{written:04}"), vec![1; 4000]))
            .await
        {
            Ok(revision) => {
                written += 1;
                assert_eq!(revision, Revision(written));
            }
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            Error::Unwritable {
                trouble: Trouble::Failing,
                ..
            }
        ),
        "{}",
        chain(&error)
    );
    assert!(
        chain(&error).contains("disk I/O error"),
        "{}",
        chain(&error)
    );
    let error = database
        .commit(Txn::new().put("small", vec![]))
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("disk I/O error"),
        "{}",
        chain(&error)
    );
    let listing = database.list("").await.unwrap();
    assert_eq!(
        (listing.records.len() as u64, listing.revision.0),
        (written, written),
        "reads go on, and show what was answered"
    );
    assert_eq!(database.revision().await.unwrap(), Revision(written));
    println!("wrote {written}");
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_answered_that_is_not_there() {
    let (_folder, options) = state();
    let mut shell = Command::new("bash");
    // A file's size limit is the one disk failure that needs no privileges. In kB; the signal that comes with it is not wanted.
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$@\"", "bash"])
        .arg(std::env::current_exe().unwrap());
    let output = child(shell, "crash::write_until_the_disk_fails", &options)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let written: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("wrote "))
        .unwrap()
        .parse()
        .unwrap();
    assert!(written > 10);

    let database = open(&options);
    assert_eq!(database.list("k/").await.unwrap().records.len(), written);
    assert!(
        database
            .commit(Txn::new().put("k/after", vec![]))
            .await
            .unwrap()
            .0
            > written as u64
    );
}
