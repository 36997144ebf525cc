//! Contexts: the daemons that a user works with, by name. They are kept in the user's configuration folder: `contexts.toml` has no secret in
//! it, and each token is a file of its own. Both are for their owner alone, and a reader sees a whole file or none.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use tradewind_config::{TokenFileError, read_secret};
use tradewind_core::{identity::Secret, names::Digest};

use crate::Error;

/// The daemon of this machine's data folder. It is always there.
pub(crate) const LOCAL: &str = "local";

/// All contexts, as the file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is used. None: the daemon of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, Entry>,
}

/// The way to one daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its URL.
    pub server: String,
    /// The digest of its certificate's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// The certificates that signed its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The namespace of commands that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Where contexts are kept.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    folder: PathBuf,
}

// === impl Contexts ===

impl Contexts {
    /// # Errors
    /// `NoContext`.
    pub(crate) fn get(&self, name: &str) -> Result<&Entry, Error> {
        self.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    pub(crate) fn unknown(&self, name: &str) -> Error {
        let mut known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        known.push(LOCAL);
        Error::NoContext {
            name: name.to_owned(),
            known: known.join(", "),
        }
    }

    /// The name of the current one, unless that is this machine's daemon.
    pub(crate) fn current(&self) -> Option<&str> {
        self.current.as_deref().filter(|name| *name != LOCAL)
    }
}

/// Whether a context may be called so: it is a file's name, too.
///
/// # Errors
/// `Argument`.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rule = if name == LOCAL {
        "this name is the daemon's of this machine"
    } else if !begins || name.len() > 100 || !name.chars().all(good) {
        "use letters, digits, \".\", \"_\" and \"-\", at most 100, and begin with a letter or a digit"
    } else {
        return Ok(());
    };
    Err(Error::Argument {
        what: "the context",
        value: name.to_owned(),
        rule: rule.to_owned(),
    })
}

// === impl Shelf ===

impl Shelf {
    /// In the user's configuration folder. None where no home folder is known.
    pub(crate) fn of_user() -> Option<Self> {
        let strategy = etcetera::choose_base_strategy().ok()?;
        Some(Self {
            folder: strategy.config_dir().join("tradewind"),
        })
    }

    /// # Errors
    /// Where no home folder is known.
    pub(crate) fn open() -> Result<Self, Error> {
        Self::of_user().ok_or(Error::Config(tradewind_config::Error::NoHome))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("contexts.toml")
    }

    fn token_path(&self, name: &str) -> PathBuf {
        self.folder.join("tokens").join(name)
    }

    /// # Errors
    /// A file that is there and can't be read or understood.
    pub(crate) fn read(&self) -> Result<Contexts, Error> {
        let path = self.path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(source) => return Err(Error::Read { path, source }),
        };
        toml::from_str(&text).map_err(|source| Error::ContextFile {
            path,
            source: source.into(),
        })
    }

    /// # Errors
    /// `Write`.
    pub(crate) fn write(&self, contexts: &Contexts) -> Result<(), Error> {
        let text = toml::to_string_pretty(contexts).map_err(|e| Error::Encode {
            form: "TOML",
            source: e.into(),
        })?;
        let text = format!("# Written by `tradewind login` and `tradewind context`.\n{text}");
        put(&self.path(), text.as_bytes())
    }

    /// # Errors
    /// A file that is there and holds no token.
    pub(crate) fn token(&self, name: &str) -> Result<Option<Secret>, Error> {
        match read_secret(&self.token_path(name)) {
            Ok(secret) => Ok(Some(secret)),
            Err(TokenFileError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) fn has_token(&self, name: &str) -> bool {
        self.token_path(name).exists()
    }

    /// # Errors
    /// `Write`.
    pub(crate) fn keep_token(&self, name: &str, token: &Secret) -> Result<(), Error> {
        put(
            &self.token_path(name),
            format!("{}\n", token.expose()).as_bytes(),
        )
    }

    /// Whether there was one.
    ///
    /// # Errors
    /// `Write`.
    pub(crate) fn drop_token(&self, name: &str) -> Result<bool, Error> {
        let path = self.token_path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Write { path, source }),
        }
    }

    /// # Errors
    /// `Write`.
    pub(crate) fn rename_token(&self, from: &str, to: &str) -> Result<(), Error> {
        let path = self.token_path(to);
        match fs::rename(self.token_path(from), &path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Write { path, source })
            }
            _ => Ok(()),
        }
    }
}

/// A file for its owner alone. What was there before stays until the new one is whole.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&fresh, path));
    written.map_err(|source| {
        // It is of no use to anybody.
        let _ = fs::remove_file(&fresh);
        failed(source)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn contexts_come_back_as_they_were_and_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf {
            folder: folder.path().join("tradewind"),
        };
        assert_eq!(shelf.read().unwrap(), Contexts::default());
        let entry = Entry {
            server: "https://prod.example.com:7180".into(),
            fingerprint: Some(Digest::of(b"key")),
            ca: None,
            namespace: Some("team".into()),
        };
        let contexts = Contexts {
            current: Some("prod".into()),
            contexts: [("prod".to_owned(), entry)].into(),
        };
        shelf.write(&contexts).unwrap();
        let token = Secret::new([7; 32]);
        shelf.keep_token("prod", &token).unwrap();
        assert_eq!(shelf.read().unwrap(), contexts);
        assert_eq!(
            shelf.token("prod").unwrap().map(|t| t.expose().to_owned()),
            Some(token.expose().to_owned())
        );
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&shelf.path()), 0o600);
        assert_eq!(mode(&shelf.token_path("prod")), 0o600);
        assert_eq!(mode(&shelf.folder), 0o700);
        let text = fs::read_to_string(shelf.path()).unwrap();
        assert!(!text.contains(token.expose()), "{text}");
        shelf.rename_token("prod", "main").unwrap();
        assert!(shelf.drop_token("main").unwrap());
        assert!(!shelf.drop_token("main").unwrap());
        assert!(
            contexts
                .get("absent")
                .unwrap_err()
                .to_string()
                .contains("prod, local")
        );
    }

    #[test]
    fn a_name_is_no_way_out_of_the_folder() {
        for bad in ["", "..", "../x", "a/b", ".hidden", "local", "a b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["prod", "127.0.0.1", "eu-west_1"] {
            check_name(good).unwrap();
        }
    }
}
