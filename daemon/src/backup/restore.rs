//! Putting a backup back. Everything is checked in a folder aside before the first thing is touched; the state itself comes last, and
//! a mark keeps a daemon from starting on what is only half there.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tradewind_cloud::SystemClock;
use tradewind_core::{
    capability::Clock,
    names::{Actor, EventId},
    record::{EVENTS, RESTORED, Restored},
    store::{Store, Txn},
    units::Instant,
    view::{Event, Severity},
};
use tradewind_store::{Database, Options};
use ulid::Ulid;

use super::{
    Draft, Error, Folders, Index,
    archive::{self, Archive},
    contents::{self, Part},
};

/// Is there as long as a restore has begun and not ended.
const MARK: &str = "restore-unfinished";

/// What a restore has done.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub created_at: Instant,
    pub version: String,
    pub data: PathBuf,
    pub files: usize,
    /// Plugin files that were there already and stay as they are.
    pub kept: Vec<String>,
    /// Where the state that was there before is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<PathBuf>,
}

/// Whether a restore into this folder broke off.
pub fn unfinished(data: &Path) -> bool {
    data.join(MARK).exists()
}

/// Checks the backup and puts it in place. `replace`: a state that is there is set aside.
///
/// # Errors
/// The backup can't be used, a daemon has the state, there is a state already, or a file can't be written.
pub async fn restore(backup: &Path, folders: &Folders, replace: bool) -> Result<Report, Error> {
    let state = folders.state();
    make(&folders.data)?;
    // Held to the end: no daemon starts meanwhile.
    let _lock = tradewind_store::Lock::take(&state)?;
    if state.exists() && !replace {
        return Err(Error::Occupied { data: folders.data.clone() });
    }
    let mut archive = archive::open(backup)?;
    let draft = Draft::new(&folders.data)?;
    unpack(&mut archive, backup, &draft)?;
    mark_restored(&draft.path("state.db"), &archive.index).await?;
    put_in_place(&archive.index, folders, &draft)
}

/// Everything into the draft's folder, and the state checked.
fn unpack(archive: &mut Archive, backup: &Path, draft: &Draft) -> Result<(), Error> {
    let damaged = |what: String| Error::Damaged { path: backup.to_owned(), what };
    for member in &archive.index.files {
        contents::part(&member.path).ok_or_else(|| damaged(format!("it holds \"{}\", which belongs nowhere", member.path)))?;
    }
    archive.extract(|member| Some(draft.path(&member.path)))?;
    let state = draft.path("state.db");
    if !state.exists() {
        return Err(damaged("the state is not in it".to_owned()));
    }
    let (snapshot, verdict) = tradewind_store::inspect(&state)?;
    if let Some(source) = verdict.fault {
        return Err(Error::Audit { path: backup.to_owned(), source });
    }
    if (snapshot.revision, snapshot.audit) != (archive.index.revision, archive.index.audit) {
        return Err(damaged("the state in it is not the one that its index tells of".to_owned()));
    }
    Ok(())
}

/// The state itself says that it was restored, and when.
async fn mark_restored(state: &Path, index: &Index) -> Result<(), Error> {
    tradewind_store::renumber(state)?;
    let path = state.to_owned();
    let database = tokio::task::spawn_blocking(move || Database::open(Options::new(path))).await??;
    let at = SystemClock.now();
    let restored = Restored { at, created_at: index.created_at, revision: index.revision };
    let message = format!("the state of {} is in force again", index.created_at);
    let id = EventId::new(Ulid::r#gen());
    let key = format!("{EVENTS}{id}");
    let event = Event {
        id: Some(id),
        at,
        ..Event::new(Severity::Warning, "StateRestored", &Actor::LOCAL, message).changing(None, Some(&restored))
    };
    let encode = |e: serde_json::Error| Error::Io { action: "written", path: state.to_owned(), source: e.into() };
    let bytes = serde_json::to_vec(&event).map_err(encode)?;
    let txn = Txn::new().put(RESTORED, serde_json::to_vec(&restored).map_err(encode)?).put(key, bytes.clone()).audit(bytes);
    database.commit(txn).await?;
    Ok(database.close().await?)
}

fn put_in_place(index: &Index, folders: &Folders, draft: &Draft) -> Result<Report, Error> {
    let mark = folders.data.join(MARK);
    File::create(&mark).and_then(|f| f.sync_all()).map_err(|source| Error::Io { action: "made", path: mark.clone(), source })?;
    sync(&folders.data)?;
    let aside = set_aside(folders)?;
    // What runs is known by its folder: records that are there are newer than the backup's.
    let processes_stay = is_filled(&Part::Processes.folder(folders));
    let mut kept = Vec::new();
    for member in &index.files {
        let Some((part, rest)) = contents::part(&member.path) else { continue };
        let target = part.folder(folders).join(rest);
        match part {
            Part::State => continue,
            Part::Processes if processes_stay => continue,
            // Whoever has put a plugin there meanwhile wants it there.
            Part::Plugins if target.exists() => kept.push(member.path.clone()),
            _ => relocate(&draft.path(&member.path), &target)?,
        }
    }
    relocate(&draft.path("state.db"), &folders.state())?;
    sync(&folders.data)?;
    fs::remove_file(&mark).map_err(|source| Error::Io { action: "removed", path: mark, source })?;
    sync(&folders.data)?;
    let Index { created_at, version, files, .. } = index;
    Ok(Report { created_at: *created_at, version: version.clone(), data: folders.data.clone(), files: files.len(), kept, aside })
}

/// Moves a state that is there, and what belongs to it alone, into a folder of its own.
fn set_aside(folders: &Folders) -> Result<Option<PathBuf>, Error> {
    let old = ["state.db", "state.db-wal", "state.db-shm", "plugin-history"].map(|name| (name, folders.data.join(name)));
    if old.iter().all(|(_, path)| !path.exists()) {
        return Ok(None);
    }
    let aside = folders.data.join(format!("before-restore-{}", Ulid::r#gen().to_string().to_lowercase()));
    make(&aside)?;
    for (name, path) in old.iter().filter(|(_, path)| path.exists()) {
        relocate(path, &aside.join(name))?;
    }
    sync(&folders.data)?;
    Ok(Some(aside))
}

/// Moves a file or folder, over the border of a file system too.
fn relocate(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { action: "put in place", path: to.to_owned(), source };
    if let Some(parent) = to.parent() {
        make(parent)?;
    }
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let new = to.with_extension("new");
            fs::copy(from, &new).and_then(|_| File::open(&new)?.sync_all()).and_then(|()| fs::rename(&new, to)).map_err(failed)
        }
        other => other.map_err(failed),
    }
}

fn is_filled(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| !e.file_name().to_string_lossy().starts_with('.'))))
}

fn make(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| Error::Io { action: "made", path: folder.to_owned(), source })
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|source| Error::Io { action: "synced", path: folder.to_owned(), source })
}
