//! Which daemon a state belongs to, and whether that one may still run: two masters of one installation undo each other's work at every
//! cloud. On one machine that is found out; of other machines somebody has to say it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tradewind_core::{
    document,
    names::Digest,
    record::{Origin, RESTORED, Restored},
    store::Store,
    units::Instant,
};
use tradewind_store::Lock;

use super::Error;

/// In a data folder whose state another daemon has taken over.
const TAKEN_OVER: &str = "taken-over";

/// Who took a state over, and when.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TakenOver {
    by: PathBuf,
    at: Instant,
}

/// The daemon that works on this folder on this machine.
pub(super) fn here(data: &Path) -> Origin {
    let text = |path: &str| {
        fs::read_to_string(path)
            .ok()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    let host = text("/proc/sys/kernel/hostname")
        .or_else(|| text("/etc/hostname"))
        .unwrap_or_default();
    // The identifier itself is nobody else's business.
    let machine =
        text("/etc/machine-id").map(|id| Digest::of(format!("tradewind machine {id}").as_bytes()));
    let data = fs::canonicalize(data)
        .or_else(|_| std::path::absolute(data))
        .unwrap_or_else(|_| data.to_owned());
    Origin {
        host,
        machine,
        data,
    }
}

/// How a message names it.
pub fn shown(origin: &Origin) -> String {
    match (origin.host.as_str(), origin.data.as_os_str().is_empty()) {
        ("", true) => "an unknown machine".to_owned(),
        (host, _) => format!("\"{host}\" on the folder \"{}\"", origin.data.display()),
    }
}

fn is_this_machine(origin: &Origin) -> bool {
    let here = here(&origin.data);
    (&here.host, &here.machine) == (&origin.host, &origin.machine)
}

/// # Errors
/// `Alive` when the daemon is known to run.
pub(super) fn has_ended(origin: &Origin) -> Result<(), Error> {
    let owner = is_this_machine(origin)
        .then(|| Lock::owner(&origin.data.join("state.db")))
        .flatten();
    owner.map_or(Ok(()), |owner| {
        Err(Error::Alive {
            data: origin.data.clone(),
            owner,
        })
    })
}

/// Keeps the daemon of a state that is taken over by that of `data` from starting on it, as far as it can be reached from here.
pub(super) fn retire(origin: &Origin, data: &Path, at: Instant) -> Result<(), Error> {
    let by = here(data).data;
    if !is_this_machine(origin) || origin.data == by || !origin.data.is_dir() {
        return Ok(());
    }
    let path = origin.data.join(TAKEN_OVER);
    let written = serde_json::to_vec(&TakenOver { by, at })
        .map_err(io::Error::from)
        .and_then(|text| fs::write(&path, text));
    written.map_err(|source| Error::Io {
        action: "written",
        path,
        source,
    })
}

/// What was taken over is in force again.
pub(super) fn revive(data: &Path) -> Result<(), Error> {
    let path = data.join(TAKEN_OVER);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Io {
            action: "removed",
            path,
            source,
        }),
        _ => Ok(()),
    }
}

/// Lets a daemon begin on its state, if that was not restored beside another daemon, or taken over by one.
///
/// # Errors
/// `Alive` when the other one runs, `Unconfirmed` when that is not known, `TakenOver`, or the state can't be read.
pub async fn admit(data: &Path, store: &dyn Store) -> Result<(), Error> {
    let taken = fs::read(data.join(TAKEN_OVER))
        .ok()
        .and_then(|text| serde_json::from_slice::<TakenOver>(&text).ok());
    if let Some(TakenOver { by, .. }) = taken {
        return Err(Error::TakenOver {
            data: data.to_owned(),
            by,
        });
    }
    if let Some(origin) = restored(store).await?.and_then(|restored| restored.beside) {
        has_ended(&origin)?;
        return Err(Error::Unconfirmed {
            data: data.to_owned(),
            origin: shown(&origin),
        });
    }
    Ok(())
}

/// What a state says of its being restored.
pub(super) async fn restored(store: &dyn Store) -> Result<Option<Restored>, Error> {
    let Some(stored) = store.get(RESTORED).await? else {
        return Ok(None);
    };
    Ok(Some(document::decode(&stored)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_taken_over_says_by_which() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let origin = here(old.path());
        retire(&origin, old.path(), Instant(1)).unwrap();
        assert!(
            !old.path().join(TAKEN_OVER).exists(),
            "nobody takes over from itself"
        );
        retire(
            &Origin {
                host: "elsewhere".to_owned(),
                ..origin.clone()
            },
            new.path(),
            Instant(1),
        )
        .unwrap();
        assert!(
            !old.path().join(TAKEN_OVER).exists(),
            "a folder of another machine is out of reach"
        );
        retire(&origin, new.path(), Instant(1)).unwrap();
        let told: TakenOver =
            serde_json::from_slice(&fs::read(old.path().join(TAKEN_OVER)).unwrap()).unwrap();
        assert_eq!(told.by, here(new.path()).data);
        revive(old.path()).unwrap();
        revive(old.path()).unwrap();
        assert!(!old.path().join(TAKEN_OVER).exists());
    }
}
