//! Credentials that are stored on this machine: sealed, one file each, by a key in a file of its own.
//!
//! A file holds a random nonce of 12 bytes and the value under ChaCha20-Poly1305 (RFC 8439), with the credential's name as associated data,
//! so that no file can stand for another. Sealing keeps values out of copies of the folder that lack the key: put the key elsewhere
//! (`seal-key`) for that. This module must not show a value to anybody but its caller.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{
    LONGEST, Secret,
    owners::{self, Kind},
};

const KEY_LENGTH: usize = 32;
const ENDING: &str = "sealed";

/// A folder of sealed credentials. Its functions block.
#[derive(Debug, Clone)]
pub struct Vault {
    folder: PathBuf,
    key: PathBuf,
}

/// Why a credential can't be sealed, opened or removed.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error(
        "\"{name}\" is no credential's name: use letters, digits and - _ . not beginning with a dot, at most 128"
    )]
    Name { name: String },
    #[error("the key file \"{}\" can't be used", path.display())]
    Key { path: PathBuf, source: io::Error },
    #[error("the key file \"{}\" does not hold {KEY_LENGTH} bytes", path.display())]
    NoKey { path: PathBuf },
    #[error("no credential \"{name}\" is sealed here")]
    Missing { name: String },
    #[error("the sealed credential \"{name}\" was not sealed with the key \"{}\", or has been changed", key.display())]
    Broken { name: String, key: PathBuf },
    #[error("the value is empty")]
    Empty,
    #[error("the value is longer than {LONGEST} bytes")]
    TooLong,
    #[error("this machine has no randomness to seal with")]
    Random,
    #[error("\"{}\" can't be used", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Vault {
    /// Sealed credentials in `folder`, by the key in the file `key`. Both are made when something is sealed first.
    pub fn new(folder: PathBuf, key: PathBuf) -> Self {
        Self { folder, key }
    }

    /// Seals a value, in place of one of this name.
    ///
    /// # Errors
    /// When the name or the value can't be used, or a file can't be written; what was sealed before is kept then.
    pub fn seal(&self, name: &str, value: &Secret) -> Result<(), Error> {
        let path = self.path(name)?;
        let value = value.expose().as_bytes();
        if value.is_empty() {
            return Err(Error::Empty);
        }
        if value.len() as u64 > LONGEST {
            return Err(Error::TooLong);
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(file(&self.folder))?;
        let key = self.key_or_new()?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| Error::Random)?;
        let mut sealed = value.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(name),
            &mut sealed,
        )
        .map_err(|_| Error::TooLong)?;
        let fresh = path.with_extension("new");
        write(&fresh, &[&nonce[..], &sealed]).map_err(file(&fresh))?;
        fs::rename(&fresh, &path).map_err(file(&path))
    }

    /// A sealed value.
    ///
    /// # Errors
    /// When there is none, or it does not fit the key.
    pub fn open(&self, name: &str) -> Result<Secret, Error> {
        let path = self.path(name)?;
        let bytes = match owners::read(&path, Kind::Trusted) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing {
                    name: name.to_owned(),
                });
            }
            Err(source) => return Err(Error::File { path, source }),
        };
        let broken = || Error::Broken {
            name: name.to_owned(),
            key: self.key.clone(),
        };
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let value = self
            .read_key()?
            .open_in_place(nonce, Aad::from(name), &mut sealed)
            .map_err(|_| broken())?;
        std::str::from_utf8(value)
            .map(Secret::new)
            .map_err(|_| broken())
    }

    /// Forgets a sealed value; false when there was none.
    ///
    /// # Errors
    /// When its file can't be removed.
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// The names of what is sealed, in order.
    ///
    /// # Errors
    /// When the folder can't be listed.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::File {
                    path: self.folder.clone(),
                    source,
                });
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(file(&self.folder))?.path();
            if path.extension().is_some_and(|e| e == ENDING) {
                names.extend(path.file_stem().and_then(|s| s.to_str()).map(str::to_owned));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain)
        {
            return Err(Error::Name {
                name: name.escape_debug().to_string(),
            });
        }
        Ok(self.folder.join(format!("{name}.{ENDING}")))
    }

    fn read_key(&self) -> Result<LessSafeKey, Error> {
        let bytes =
            Zeroizing::new(
                owners::read(&self.key, Kind::Secret).map_err(|source| Error::Key {
                    path: self.key.clone(),
                    source,
                })?,
            );
        self.key_of(&bytes)
    }

    fn key_of(&self, bytes: &[u8]) -> Result<LessSafeKey, Error> {
        UnboundKey::new(&CHACHA20_POLY1305, bytes)
            .map(LessSafeKey::new)
            .map_err(|_| Error::NoKey {
                path: self.key.clone(),
            })
    }

    fn key_or_new(&self) -> Result<LessSafeKey, Error> {
        match self.read_key() {
            Err(Error::Key { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
                SystemRandom::new()
                    .fill(&mut *bytes)
                    .map_err(|_| Error::Random)?;
                write(&self.key, &[&*bytes]).map_err(|source| Error::Key {
                    path: self.key.clone(),
                    source,
                })?;
                self.key_of(&*bytes)
            }
            other => other,
        }
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::File { path, source }
}

/// For the daemon's user alone, and on disk when this returns.
fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_name_alone() {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        let vault = Vault::new(folder.path().join("credentials"), folder.path().join("key"));
        assert!(matches!(vault.open("api"), Err(Error::Missing { .. })));
        vault.seal("api", &Secret::new("a canary")).unwrap();
        vault.seal("other", &Secret::new("another")).unwrap();
        assert_eq!(
            (vault.open("api").unwrap().expose(), vault.names().unwrap()),
            ("a canary", vec!["api".to_owned(), "other".to_owned()])
        );
        let file = folder.path().join("credentials/api.sealed");
        assert!(!fs::read(&file).unwrap().windows(6).any(|w| w == b"canary"));

        fs::copy(folder.path().join("credentials/other.sealed"), &file).unwrap();
        assert!(
            matches!(vault.open("api"), Err(Error::Broken { .. })),
            "one can't stand for another"
        );
        vault.seal("api", &Secret::new("rotated")).unwrap();
        assert_eq!(vault.open("api").unwrap().expose(), "rotated");
        fs::write(folder.path().join("key"), [7; 32]).unwrap();
        assert!(matches!(vault.open("api"), Err(Error::Broken { .. })));
        fs::write(folder.path().join("key"), "short").unwrap();
        assert!(matches!(
            vault.seal("api", &Secret::new("x")),
            Err(Error::NoKey { .. })
        ));
        assert!(vault.remove("api").unwrap() && !vault.remove("api").unwrap());
        assert!(matches!(
            vault.seal("../up", &Secret::new("x")),
            Err(Error::Name { .. })
        ));
    }
}
