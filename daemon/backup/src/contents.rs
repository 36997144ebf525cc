//! Which files beside the state a backup holds, under which names, and where those names lead when it is restored.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{Error, Folders};

const PLUGINS: &str = "plugins";
const HISTORY: &str = "plugin-history";
const PROCESSES: &str = "processes";

/// Names in the backup, and the files they stand for.
pub(super) fn list(folders: &Folders) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    walk(&folders.plugins, PLUGINS, 0, &mut found, &|name| {
        !name.starts_with('.') && (name.ends_with(".wasm") || name.ends_with(".toml"))
    })?;
    walk(&folders.data.join(HISTORY), HISTORY, 4, &mut found, &|_| {
        true
    })?;
    // What a process wrote is no part of the state, and neither is what it works on.
    let of_process = |name: &str| {
        !name.starts_with('.') && !name.starts_with("stdout") && !name.starts_with("stderr")
    };
    walk(
        &folders.data.join(PROCESSES),
        PROCESSES,
        3,
        &mut found,
        &of_process,
    )?;
    Ok(found)
}

/// Every regular file that is wanted, down to so many folders below.
fn walk(
    folder: &Path,
    name: &str,
    depth: u32,
    found: &mut Vec<(String, PathBuf)>,
    wanted: &impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let failed = |source| Error::Io {
        action: "read",
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    let mut inside = entries.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    inside.sort_by_key(fs::DirEntry::file_name);
    for entry in inside {
        let Ok(file) = entry.file_name().into_string() else {
            continue;
        };
        // Links are followed: a folder of plugins may be made of them.
        let Ok(kind) = fs::metadata(entry.path()) else {
            continue;
        };
        let path = format!("{name}/{file}");
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), &path, depth - 1, found, wanted)?;
        } else if kind.is_file() && wanted(&file) {
            found.push((path, entry.path()));
        }
    }
    Ok(())
}

/// The parts of a backup that go to places of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    State,
    Plugins,
    History,
    Processes,
}

/// Which part a name belongs to, and its path in that part. None: no backup of ours has such a name.
pub(super) fn part(name: &str) -> Option<(Part, PathBuf)> {
    if name == "state.db" {
        return Some((Part::State, PathBuf::from(name)));
    }
    let (root, rest) = name.split_once('/')?;
    let part = match root {
        PLUGINS => Part::Plugins,
        HISTORY => Part::History,
        PROCESSES => Part::Processes,
        _ => return None,
    };
    let rest = PathBuf::from(rest);
    let inside = rest.components().all(|c| matches!(c, Component::Normal(_)))
        && rest.components().next().is_some();
    inside.then_some((part, rest))
}

impl Part {
    /// Where it belongs.
    pub(super) fn folder(self, folders: &Folders) -> PathBuf {
        match self {
            Self::State => folders.data.clone(),
            Self::Plugins => folders.plugins.clone(),
            Self::History => folders.data.join(HISTORY),
            Self::Processes => folders.data.join(PROCESSES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        assert_eq!(
            part("plugins/a.wasm"),
            Some((Part::Plugins, "a.wasm".into()))
        );
        assert_eq!(
            part("processes/local/a-1/0/process.jsonl"),
            Some((Part::Processes, "local/a-1/0/process.jsonl".into()))
        );
        for bad in [
            "",
            "state.db/x",
            "plugins",
            "plugins/",
            "plugins/../x",
            "plugins//etc/x",
            "/etc/x",
            "../x",
            "secrets/x",
            "plugins/a/../../x",
        ] {
            assert_eq!(part(bad), None, "{bad}");
        }
    }
}
