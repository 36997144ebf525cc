//! The backup's file: what holds for each of its formats. A file that was cut off or changed is known before anything of it is used.
//! Backups are written in the newest format and read in all of them.

mod v1;
mod v2;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tradewind_core::names::Digest;

use super::{Error, Index, Member, contents};
pub(super) use v2::{FORMAT, write};

/// No index is longer.
const LONGEST_INDEX: u64 = 256 << 20;

/// A backup whose bytes are as they were written.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    pub(super) digest: Digest,
    pub(super) index: Index,
    /// Where the bytes of each file of the index begin.
    starts: Vec<u64>,
}

/// What a format makes of a file.
struct Found {
    digest: Digest,
    index: Index,
    starts: Vec<u64>,
}

/// Why a file can't be used.
enum Fault {
    Foreign,
    Damaged(String),
    Format(u32),
    Newer(String),
    Io(io::Error),
}

/// Passes bytes on, and hashes them.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

/// Reads the whole file and checks it.
pub(super) fn open(path: &Path) -> Result<Archive, Error> {
    let failed = |source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut magic = Vec::new();
    (&file)
        .take(v1::MAGIC.len() as u64)
        .read_to_end(&mut magic)
        .map_err(failed)?;
    let found = if magic == v1::MAGIC {
        v1::read(&file, length)
    } else {
        v2::read(&file, length)
    };
    let Found {
        digest,
        index,
        starts,
    } = found.and_then(checked).map_err(|fault| fault.of(path))?;
    Ok(Archive {
        path: path.to_owned(),
        file,
        digest,
        index,
        starts,
    })
}

/// No name may lead out of the folder that it is unpacked in.
fn checked(found: Found) -> Result<Found, Fault> {
    match found
        .index
        .files
        .iter()
        .find(|member| contents::part(&member.path).is_none())
    {
        Some(member) => Err(Fault::Damaged(format!(
            "it holds \"{}\", which belongs nowhere",
            member.path.escape_debug()
        ))),
        None => Ok(found),
    }
}

/// Reads an index that was found in a file of this format.
fn read_index(text: &[u8], format: u32) -> Result<Index, Fault> {
    /// What the index of every format has.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        version: String,
    }
    let broken = |e: serde_json::Error| Fault::Damaged(format!("its index: {e}"));
    let head: Head = serde_json::from_slice(text).map_err(broken)?;
    if head.format > FORMAT {
        return Err(Fault::Format(head.format));
    }
    if head.format != format {
        return Err(Fault::Damaged(format!(
            "it is of format {format}, and its index tells of format {}",
            head.format
        )));
    }
    if is_newer(&head.version, env!("CARGO_PKG_VERSION")) {
        return Err(Fault::Newer(head.version));
    }
    serde_json::from_slice(text).map_err(broken)
}

/// A version that can't be read is taken for a newer one's way to write it.
fn is_newer(version: &str, than: &str) -> bool {
    match (
        semver::Version::parse(version),
        semver::Version::parse(than),
    ) {
        (Ok(version), Ok(than)) => version > than,
        _ => true,
    }
}

// === impl Archive ===

impl Archive {
    /// Writes every member to where `place` says, each a new file that only its owner can read; None leaves one out.
    pub(super) fn extract(
        &mut self,
        place: impl Fn(&Member) -> Option<PathBuf>,
    ) -> Result<(), Error> {
        for (member, start) in self.index.files.iter().zip(&self.starts) {
            let Some(target) = place(member) else {
                continue;
            };
            let failed = |source| Error::Io {
                action: "written",
                path: target.clone(),
                source,
            };
            self.file
                .seek(SeekFrom::Start(*start))
                .map_err(|source| Error::Io {
                    action: "read",
                    path: self.path.clone(),
                    source,
                })?;
            if let Some(parent) = target.parent() {
                use std::os::unix::fs::DirBuilderExt;
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent)
                    .map_err(failed)?;
            }
            let out = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&target)
                .map_err(failed)?;
            let mut out = Hashing::new(out);
            io::copy(&mut (&self.file).take(member.size), &mut out).map_err(failed)?;
            out.inner.sync_all().map_err(failed)?;
            if out.digest() != member.digest {
                let what = format!("\"{}\" is not what was backed up", member.path);
                return Err(Error::Damaged {
                    path: self.path.clone(),
                    what,
                });
            }
        }
        Ok(())
    }
}

// === impl Fault ===

impl Fault {
    fn of(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Foreign => Error::NoBackup { path },
            Self::Damaged(what) => Error::Damaged { path, what },
            Self::Format(found) => Error::Format {
                path,
                found,
                known: FORMAT,
            },
            Self::Newer(found) => Error::Newer { path, found },
            Self::Io(source) => Error::Io {
                action: "read",
                path,
                source,
            },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

// === impl Hashing ===

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    /// Of what has passed so far.
    fn digest(&self) -> Digest {
        Digest::from_bytes(self.hash.clone().finalize().into())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}
