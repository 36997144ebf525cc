//! Backups made, looked at and put back, without a daemon.

use std::{os::unix::fs::PermissionsExt, process::Command};

use serde_json::json;
use tradewind_core::store::{Store, Txn};
use tradewind_store::Options;

use super::*;

/// A name that the header of a tar file has no room for.
const LONG: &str = "a-plugin-whose-name-is-longer-than-the-one-hundred-bytes-that-the-header-of-a-tar-file-has-room-for-without-help.wasm";

/// What version 0.1 printed when it made the backup in `tests/state/0.1`.
const DIGEST_OF_FORMAT_1: &str =
    "sha256:898e5ebc5df76e87d8d809069c9504e4fe0c4a36bdfa8e1f459a676696287a3a";

/// Something of everything that a backup holds.
async fn fill(folder: &Path) -> (Folders, Database) {
    let folders = Folders {
        data: folder.join("data"),
        plugins: folder.join("plugins"),
    };
    let files: [(PathBuf, &[u8]); 6] = [
        (
            folders.plugins.join("local.toml"),
            b"component = \"process.wasm\"\n[grants.process]\ncommands = [\"sleep\"]\n",
        ),
        (folders.plugins.join(LONG), b"\0asm"),
        (folders.plugins.join("empty.wasm"), b""),
        (folders.plugins.join("notes.txt"), b"no plugin"),
        (
            folders.data.join("plugin-history/history/local.json"),
            b"{}",
        ),
        (
            folders.data.join("processes/local/a-1/0/process.jsonl"),
            b"{\"pid\": 1}\n",
        ),
    ];
    for (path, bytes) in files {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let state = folders.state();
    let database = tokio::task::spawn_blocking(move || Database::open(Options::new(state)))
        .await
        .unwrap()
        .unwrap();
    let token = json!({
        "v": 1, "id": "t-1", "name": "ci", "role": "admin", "namespaces": ["*"],
        "hash": Digest::of(b"ci"), "createdAt": Instant(1), "createdBy": "local",
    });
    let txn = Txn::new()
        .put("tokens/ci", token.to_string().into_bytes())
        .audit(br#"{"v":1,"reason":"TokenCreated"}"#.to_vec());
    database.commit(txn).await.unwrap();
    (folders, database)
}

async fn backup(folder: &Path) -> PathBuf {
    let (folders, database) = fill(folder).await;
    let made = Handle::new(database.clone(), folders).make().await.unwrap();
    database.close().await.unwrap();
    let path = folder.join("backup");
    let mut out = File::create(&path).unwrap();
    assert_eq!(io::copy(&mut &made.file, &mut out).unwrap(), made.size);
    path
}

/// Puts a backup into an empty folder and holds it against what was filled in.
async fn put_back(path: &Path, digest: Digest) {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders {
        data: folder.path().join("data"),
        plugins: folder.path().join("plugins"),
    };
    let choices = Choices {
        expect: Some(Digest::of(b"another")),
        ..Choices::default()
    };
    assert!(matches!(
        prepare(path, &folders, choices).await.err().unwrap(),
        Error::Unexpected { .. }
    ));
    let prepared = prepare(
        path,
        &folders,
        Choices {
            expect: Some(digest),
            ..Choices::default()
        },
    )
    .await
    .unwrap();
    let report = prepared.put_in_place().unwrap();
    assert_eq!(
        report
            .ended_tokens
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>(),
        ["ci"]
    );
    for (path, bytes) in [
        (
            folders.plugins.join("local.toml"),
            b"component = \"process.wasm\"\n[grants.process]\ncommands = [\"sleep\"]\n".as_slice(),
        ),
        (folders.plugins.join(LONG), b"\0asm"),
        (folders.plugins.join("empty.wasm"), b""),
        (
            folders.data.join("plugin-history/history/local.json"),
            b"{}",
        ),
        (
            folders.data.join("processes/local/a-1/0/process.jsonl"),
            b"{\"pid\": 1}\n",
        ),
    ] {
        assert_eq!(fs::read(&path).unwrap(), bytes, "{}", path.display());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            path.display()
        );
    }
    assert_eq!(
        fs::metadata(folders.state()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!folders.plugins.join("notes.txt").exists());
    let (snapshot, verdict) = tradewind_store::inspect(&folders.state()).unwrap();
    assert!(
        verdict.fault.is_none() && snapshot.audit.seq == 2,
        "{snapshot:?}"
    );
    assert_eq!(
        tradewind_store::read(&folders.state(), &["tokens/"])
            .unwrap()
            .len(),
        1
    );
}

/// The backup that version 0.1 made of the same, in format 1.
fn of_format_1(folder: &Path) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/state/0.1/backup.gz");
    let unpacked = Command::new("gzip")
        .arg("-dc")
        .arg(packed)
        .output()
        .unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    let path = folder.join("backup-1");
    fs::write(&path, unpacked.stdout).unwrap();
    path
}

#[tokio::test]
async fn a_backup_is_a_tar_file_and_is_put_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = backup(folder.path()).await;
    let listed = Command::new("tar").arg("-tf").arg(&path).output().unwrap();
    assert!(
        listed.status.success() && listed.stderr.is_empty(),
        "{listed:?}"
    );
    let long = format!("plugins/{LONG}");
    let names = [
        "state.db",
        &long,
        "plugins/empty.wasm",
        "plugins/local.toml",
        "plugin-history/history/local.json",
        "processes/local/a-1/0/process.jsonl",
        "index.json",
        "digest",
    ];
    assert_eq!(
        String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        names
    );
    let Checked { digest, index } = check(&path).unwrap();
    assert_eq!(
        (digest, index.format),
        (Digest::of(&fs::read(&path).unwrap()), 2)
    );
    put_back(&path, digest).await;
}

#[tokio::test]
async fn a_backup_of_format_1_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = of_format_1(folder.path());
    let Checked { digest, index } = check(&path).unwrap();
    assert_eq!(
        (digest.to_string().as_str(), index.format),
        (DIGEST_OF_FORMAT_1, 1)
    );
    put_back(&path, digest).await;
}

#[tokio::test]
async fn what_was_changed_or_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for whole in [backup(folder.path()).await, of_format_1(folder.path())] {
        let bytes = fs::read(&whole).unwrap();
        let bad = folder.path().join("bad");
        let refused = |what: &str, bytes: &[u8]| {
            fs::write(&bad, bytes).unwrap();
            let error = check(&bad).unwrap_err();
            assert!(
                matches!(error, Error::NoBackup { .. } | Error::Damaged { .. }),
                "{what}: {error:?}"
            );
        };
        let end = bytes.len();
        for at in [
            0,
            7,
            156,
            600,
            end / 2,
            end - 2049,
            end - 2048,
            end - 2000,
            end - 1530,
            end - 1100,
            end - 50,
            end - 1,
        ] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            refused(&format!("byte {at} of {end} flipped"), &flipped);
        }
        for rest in [
            0,
            1,
            511,
            512,
            2047,
            2048,
            4096,
            end / 2,
            end - 2048,
            end - 1024,
            end - 512,
            end - 1,
        ] {
            refused(&format!("cut off after {rest} of {end}"), &bytes[..rest]);
        }
        for more in [b"x".as_slice(), &[0; 512], &[0; 10_240], &bytes] {
            refused(
                &format!("{} bytes more", more.len()),
                &[&bytes, more].concat(),
            );
        }
    }
}
