//! Whom the state lets in, and what it says to the others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tradewind_core::store::{Store, Txn};
use tradewind_store::{Database, Error, Options};

use crate::support::{chain, open, state};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let (_folder, options) = state();
    let database = open(&options);
    database.commit(Txn::new().put("k", vec![1])).await.unwrap();
    let folder = options.path.parent().unwrap();
    assert_eq!(mode(folder), 0o700);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 4, "file, lock, log and its index: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");

    drop(database);
    fs::set_permissions(&options.path, fs::Permissions::from_mode(0o644)).unwrap();
    let _database = open(&options);
    assert_eq!(mode(&options.path), 0o600);
}

#[tokio::test]
async fn a_second_daemon_is_refused_until_the_first_has_gone() {
    let (_folder, options) = state();
    let first = open(&options);
    let error = Database::open(options.clone()).unwrap_err();
    let path = options.path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "the state at \"{path}\" is in use by another daemon (process {}): stop that one, or give this one another folder (the setting \"data\")",
            std::process::id()
        )
    );
    first.commit(Txn::new().put("k", vec![1])).await.unwrap();
    let clone = first.clone();
    drop(first);
    assert!(
        matches!(Database::open(options.clone()), Err(Error::InUse { .. })),
        "a clone still has it"
    );
    clone.close().await.unwrap();
    let second = open(&options);
    assert_eq!(second.get("k").await.unwrap().unwrap().value, [1]);
}

#[test]
fn a_place_that_can_hold_no_state_is_named() {
    let (folder, _) = state();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Database::open(Options::new(file.join("state.db"))).unwrap_err();
    assert!(matches!(error, Error::Folder { .. }), "{error}");
    assert!(
        chain(&error).contains(&format!(
            "the folder {:?} of the state can't be made: ",
            file
        )),
        "{}",
        chain(&error)
    );

    // Nobody may make files here, not even root.
    let error = Database::open(Options::new("/proc/self/state.db")).unwrap_err();
    assert!(
        chain(&error).starts_with(
            "the state's file \"/proc/self/state.db.lock\" can't be opened for writing: "
        ),
        "{}",
        chain(&error)
    );
}

#[test]
fn what_is_no_database_is_refused_with_a_remedy_and_left_as_it_is() {
    let (folder, _) = state();
    let path = folder.path().join("notes.txt");
    let text = "not a database, but longer than its header would be: ".repeat(20);
    fs::write(&path, &text).unwrap();
    let error = Database::open(Options::new(&path)).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("move it away to start with nothing"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn damage_inside_the_file_is_found_before_anything_is_done() {
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
    let mut bytes = fs::read(&options.path).unwrap();
    bytes
        .iter_mut()
        .skip(8 * PAGE)
        .for_each(|byte| *byte = 0xff);
    fs::write(&options.path, bytes).unwrap();

    let error = Database::open(options.clone()).unwrap_err();
    let path = options.path.display();
    assert!(matches!(error, Error::Damaged { .. }), "{}", chain(&error));
    assert!(
        error
            .to_string()
            .contains(&format!("the state at \"{path}\" is damaged (")),
        "{error}"
    );
    assert!(error.to_string().contains("tradewind restore"), "{error}");
}
