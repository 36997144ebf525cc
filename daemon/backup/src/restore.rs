//! Putting a backup back. Everything is checked in a folder aside before the first thing is touched; the state itself comes last, and
//! a mark keeps a daemon from starting on what is only half there.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tradewind_cloud::SystemClock;
use tradewind_core::{
    audit,
    capability::Clock,
    document,
    event::{Event, Reason, Severity},
    names::{Actor, Digest, EventId, TokenName},
    record::{EVENTS, Origin, RESTORED, Restored},
    store::{Store, Txn},
    units::Instant,
};
use tradewind_store::{Database, Options};
use ulid::Ulid;

use super::{
    Draft, Error, Folders, Index, Member,
    archive::{self, Archive},
    authority::{self, Active, Authority, Since},
    contents::{self, Part},
    grants::{self, Instance},
    origin,
};
use tradewind_config::ADMIN_FILE;

/// Is there as long as a restore has begun and not ended.
const MARK: &str = "restore-unfinished";

/// What a restore does, or has done.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When the backup was made.
    pub created_at: Instant,
    /// The daemon's that made it.
    pub version: String,
    /// Of the whole file.
    pub digest: Digest,
    /// The data folder.
    pub data: PathBuf,
    /// Files in the backup.
    pub files: usize,
    /// Tokens that let somebody in.
    pub tokens: Vec<Active>,
    /// Tokens that let somebody in when the backup was made, and do not any more.
    pub ended_tokens: Vec<TokenName>,
    /// The plugin instances of the backup, with what each is granted: by the backup, or by the file that was there already.
    pub instances: Vec<Instance>,
    /// Plugin files that were there already and stay as they are.
    pub kept: Vec<String>,
    /// Why the state that is replaced can't be read: what it has revoked is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Where the state that was there before is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<PathBuf>,
    /// The daemon that made the backup, where nobody has said yet that it has ended: none starts on this state before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<Origin>,
}

/// What whoever restores has decided.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices {
    /// A state that is there is set aside.
    pub replace: bool,
    /// The daemon that made the backup has ended for good.
    pub confirmed: bool,
    /// Tokens stay active where nothing says which were revoked since.
    pub keep_tokens: bool,
    /// The file has this digest, or nothing is done.
    pub expect: Option<Digest>,
}

/// A backup that was checked and is ready to be put in place. Nothing has been touched yet; dropped, it leaves nothing behind.
pub struct Prepared<'a> {
    index: Index,
    folders: &'a Folders,
    report: Report,
    /// The daemon that made the backup, which is known to have ended.
    ended: Option<Origin>,
    draft: Draft,
    /// Held to the end: no daemon starts meanwhile.
    _lock: tradewind_store::Lock,
}

/// Whether a restore into this folder broke off.
pub fn unfinished(data: &Path) -> bool {
    data.join(MARK).exists()
}

/// Checks the backup, and makes of it, in a folder aside, what shall be put in place.
///
/// # Errors
/// The backup can't be used, a daemon has the state, there is a state already, or a file can't be written; with `confirmed` also when the
/// daemon that made the backup is known to run.
pub async fn prepare<'a>(
    backup: &Path,
    folders: &'a Folders,
    choices: Choices,
) -> Result<Prepared<'a>, Error> {
    let state = folders.state();
    make(&folders.data)?;
    let lock = tradewind_store::Lock::take(&state)?;
    let replaces = state.exists();
    if replaces && !choices.replace {
        return Err(Error::Occupied {
            data: folders.data.clone(),
        });
    }
    let mut archive = archive::open(backup)?;
    if let Some(expected) = choices.expect.filter(|digest| *digest != archive.digest) {
        return Err(Error::Unexpected {
            path: backup.to_owned(),
            found: archive.digest,
            expected,
        });
    }
    let other = other(&archive.index, folders, replaces);
    let (beside, ended) = if choices.confirmed {
        (None, other)
    } else {
        (other, None)
    };
    ended.iter().try_for_each(origin::has_ended)?;
    let draft = Draft::new(&folders.data)?;
    unpack(&mut archive, backup, &draft)?;
    // A clock that was set back gives no token its time again.
    let at = SystemClock.now().max(archive.index.created_at);
    let Replaced {
        authority,
        head,
        unreadable,
    } = replaced(&draft.path("state.db"), folders, choices, at)?;
    mark_restored(
        &draft.path("state.db"),
        &archive.index,
        beside.clone(),
        head,
        authority.txn,
    )
    .await?;
    let Archive { digest, index, .. } = archive;
    let plugins = index
        .files
        .iter()
        .filter(|member| matches!(contents::part(&member.path), Some((Part::Plugins, _))));
    let (mut instances, mut kept) = (Vec::new(), Vec::new());
    for member in plugins {
        let there = already_there(member, folders);
        instances.extend(grants::of_file(
            &member.path,
            there.as_deref().unwrap_or(&draft.path(&member.path)),
        ));
        kept.extend(there.map(|_| member.path.clone()));
    }
    let report = Report {
        created_at: index.created_at,
        version: index.version.clone(),
        digest,
        data: folders.data.clone(),
        files: index.files.len(),
        tokens: authority.active,
        ended_tokens: authority.ended,
        instances,
        kept,
        unreadable,
        aside: None,
        beside,
    };
    Ok(Prepared {
        index,
        folders,
        report,
        ended,
        draft,
        _lock: lock,
    })
}

impl Prepared<'_> {
    /// What it will do, and bring into force.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Puts it in place.
    ///
    /// # Errors
    /// A file can't be written. What was begun is finished by another restore; no daemon starts before.
    pub fn put_in_place(self) -> Result<Report, Error> {
        let aside = put_in_place(&self.index, self.folders, &self.draft)?;
        origin::revive(&self.folders.data)?;
        self.ended
            .iter()
            .try_for_each(|origin| origin::retire(origin, &self.folders.data, SystemClock.now()))?;
        Ok(Report {
            aside,
            ..self.report
        })
    }
}

/// What is made of the state that is replaced.
struct Replaced {
    authority: Authority,
    /// Where its audit log ends.
    head: Option<audit::Head>,
    unreadable: Option<String>,
}

/// What the restored state must say of powers, by the state that it replaces.
fn replaced(
    state: &Path,
    folders: &Folders,
    choices: Choices,
    at: Instant,
) -> Result<Replaced, Error> {
    let backup = authority::documents(tradewind_store::read(state, &authority::PREFIXES)?);
    let present = folders.state();
    let read = || {
        let (snapshot, _) = tradewind_store::inspect(&present)?;
        Ok::<_, tradewind_store::Error>((
            snapshot.audit,
            tradewind_store::read(&present, &authority::PREFIXES)?,
        ))
    };
    let (head, since, unreadable) = match present.exists().then(read) {
        Some(Ok((head, records))) => (
            Some(head),
            Since::State(authority::documents(records)),
            None,
        ),
        unknown => {
            let administrator = tradewind_config::read_secret(&folders.data.join(ADMIN_FILE))
                .ok()
                .map(|secret| secret.hash());
            let since = Since::Unknown {
                administrator,
                keep_tokens: choices.keep_tokens,
            };
            (
                None,
                since,
                unknown.and_then(Result::err).map(|error| error.to_string()),
            )
        }
    };
    Ok(Replaced {
        authority: authority::carry_over(&backup, &since, at)?,
        head,
        unreadable,
    })
}

/// The plugin file that a member of the backup gives way to: whoever has put it there meanwhile wants it there.
fn already_there(member: &Member, folders: &Folders) -> Option<PathBuf> {
    let (part, rest) = contents::part(&member.path)?;
    Some(part.folder(folders).join(rest)).filter(|path| part == Part::Plugins && path.exists())
}

/// The daemon that made the backup, where it is not the one of this folder: that one has ended, since its state could be taken.
fn other(index: &Index, folders: &Folders, replaces: bool) -> Option<Origin> {
    match &index.origin {
        Some(origin) => (*origin != origin::here(&folders.data)).then(|| origin.clone()),
        // Made by a version that did not say: what is replaced is taken for what was backed up.
        None => (!replaces).then(Origin::default),
    }
}

/// Takes down that the daemon which made the backup has ended for good, after a restore. Answers which one, or none when that was said before.
///
/// # Errors
/// A daemon has the state, nothing was restored, the other daemon is known to run, or the state can't be written.
pub async fn confirm(folders: &Folders) -> Result<Option<String>, Error> {
    let state = folders.state();
    let missing = || Error::NotRestored {
        data: folders.data.clone(),
    };
    if !state.exists() {
        return Err(missing());
    }
    let database =
        tokio::task::spawn_blocking(move || Database::open(Options::new(state))).await??;
    let restored = origin::restored(&database).await?.ok_or_else(missing)?;
    let Some(origin) = restored.beside.clone() else {
        database.close().await?;
        return Ok(None);
    };
    origin::has_ended(&origin)?;
    let at = SystemClock.now();
    origin::retire(&origin, &folders.data, at)?;
    let after = Restored {
        beside: None,
        ..restored.clone()
    };
    let shown = origin::shown(&origin);
    let message = format!("the daemon of {shown} has ended for good");
    let told = Event::new(
        Severity::Warning,
        Reason::RestoreConfirmed,
        &Actor::LOCAL,
        message,
    )
    .changing(Some(&restored), Some(&after));
    database
        .commit(record(&folders.state(), Txn::new(), &after, told, at)?)
        .await?;
    database.close().await?;
    Ok(Some(shown))
}

/// Everything into the draft's folder, and the state checked.
fn unpack(archive: &mut Archive, backup: &Path, draft: &Draft) -> Result<(), Error> {
    let damaged = |what: String| Error::Damaged {
        path: backup.to_owned(),
        what,
    };
    archive.extract(|member| Some(draft.path(&member.path)))?;
    let state = draft.path("state.db");
    if !state.exists() {
        return Err(damaged("the state is not in it".to_owned()));
    }
    let (snapshot, verdict) = tradewind_store::inspect(&state)?;
    if let Some(source) = verdict.fault {
        return Err(Error::Audit {
            path: backup.to_owned(),
            source,
        });
    }
    if (snapshot.revision, snapshot.audit) != (archive.index.revision, archive.index.audit) {
        return Err(damaged(
            "the state in it is not the one that its index tells of".to_owned(),
        ));
    }
    Ok(())
}

/// The state itself says that it was restored, and when.
async fn mark_restored(
    state: &Path,
    index: &Index,
    beside: Option<Origin>,
    replaced: Option<audit::Head>,
    powers: Txn,
) -> Result<(), Error> {
    tradewind_store::renumber(state)?;
    let path = state.to_owned();
    let database =
        tokio::task::spawn_blocking(move || Database::open(Options::new(path))).await??;
    let at = SystemClock.now();
    let restored = Restored {
        at,
        created_at: index.created_at,
        revision: index.revision,
        beside,
        replaced,
    };
    let message = match replaced {
        Some(head) => format!(
            "the state of {} is in force again, in place of one whose audit log ended with entry {} of hash {}",
            index.created_at, head.seq, head.hash
        ),
        None => format!("the state of {} is in force again", index.created_at),
    };
    let told = Event::new(
        Severity::Warning,
        Reason::StateRestored,
        &Actor::LOCAL,
        message,
    )
    .changing(None, Some(&restored));
    database
        .commit(record(state, powers, &restored, told, at)?)
        .await?;
    Ok(database.close().await?)
}

/// Adds what a state says of its being restored, with the event that tells of it.
fn record(
    state: &Path,
    txn: Txn,
    restored: &Restored,
    told: Event,
    at: Instant,
) -> Result<Txn, Error> {
    let id = EventId::new(Ulid::r#gen());
    let key = format!("{EVENTS}{id}");
    let event = Event {
        id: Some(id),
        at,
        ..told
    };
    let encode = |e: serde_json::Error| Error::Io {
        action: "written",
        path: state.to_owned(),
        source: e.into(),
    };
    let bytes = document::to_vec(&event).map_err(encode)?;
    Ok(txn
        .put(RESTORED, document::to_vec(restored).map_err(encode)?)
        .put(key, bytes.clone())
        .audit(bytes))
}

/// Answers where the state is now that was there before.
fn put_in_place(index: &Index, folders: &Folders, draft: &Draft) -> Result<Option<PathBuf>, Error> {
    let mark = folders.data.join(MARK);
    File::create(&mark)
        .and_then(|f| f.sync_all())
        .map_err(|source| Error::Io {
            action: "made",
            path: mark.clone(),
            source,
        })?;
    sync(&folders.data)?;
    let aside = set_aside(folders)?;
    // What runs is known by its folder: records that are there are newer than the backup's.
    let processes_stay = is_filled(&Part::Processes.folder(folders));
    for member in &index.files {
        let Some((part, rest)) = contents::part(&member.path) else {
            continue;
        };
        let target = part.folder(folders).join(rest);
        match part {
            Part::State => continue,
            Part::Processes if processes_stay => continue,
            Part::Plugins if already_there(member, folders).is_some() => {}
            _ => relocate(&draft.path(&member.path), &target)?,
        }
    }
    relocate(&draft.path("state.db"), &folders.state())?;
    sync(&folders.data)?;
    fs::remove_file(&mark).map_err(|source| Error::Io {
        action: "removed",
        path: mark,
        source,
    })?;
    sync(&folders.data)?;
    Ok(aside)
}

/// Moves a state that is there, and what belongs to it alone, into a folder of its own.
fn set_aside(folders: &Folders) -> Result<Option<PathBuf>, Error> {
    let old = ["state.db", "state.db-wal", "state.db-shm", "plugin-history"]
        .map(|name| (name, folders.data.join(name)));
    if old.iter().all(|(_, path)| !path.exists()) {
        return Ok(None);
    }
    let aside = folders.data.join(format!(
        "before-restore-{}",
        Ulid::r#gen().to_string().to_lowercase()
    ));
    make(&aside)?;
    for (name, path) in old.iter().filter(|(_, path)| path.exists()) {
        relocate(path, &aside.join(name))?;
    }
    sync(&folders.data)?;
    Ok(Some(aside))
}

/// Moves a file or folder, over the border of a file system too.
fn relocate(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io {
        action: "put in place",
        path: to.to_owned(),
        source,
    };
    if let Some(parent) = to.parent() {
        make(parent)?;
    }
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let new = to.with_extension("new");
            fs::copy(from, &new)
                .and_then(|_| File::open(&new)?.sync_all())
                .and_then(|()| fs::rename(&new, to))
                .map_err(failed)
        }
        other => other.map_err(failed),
    }
}

fn is_filled(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| !e.file_name().to_string_lossy().starts_with('.')))
    })
}

fn make(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|source| Error::Io {
        action: "made",
        path: folder.to_owned(),
        source,
    })
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|f| f.sync_all())
        .map_err(|source| Error::Io {
            action: "synced",
            path: folder.to_owned(),
            source,
        })
}
