//! The backup's file: a first line that says what it is, the files' bytes one after another, the index, and a last line with the
//! index's length and the hash of everything before. A file that was cut off or changed is known before anything of it is used.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tradewind_core::names::Digest;

use super::{Error, Index, Member};

/// The version of the format.
pub const FORMAT: u32 = 1;
const MAGIC: &[u8] = b"tradewind backup 1\n";
/// `\nindex `, 20 digits, a space, the hash with its name, a line end.
const LAST_LINE: u64 = 7 + 20 + 1 + 71 + 1;
/// No index is longer.
const LONGEST_INDEX: u64 = 256 << 20;

/// Writes as much as it is given, and hashes it.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
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

/// Makes the file. Sources that have gone meanwhile are left out.
pub(super) fn write(path: &Path, mut index: Index, sources: Vec<(String, PathBuf)>) -> Result<Index, Error> {
    let failed = |source| Error::Io { action: "written", path: path.to_owned(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut out = Hashing { inner: BufWriter::with_capacity(1 << 18, file), hash: Sha256::new() };
    out.write_all(MAGIC).map_err(failed)?;
    for (name, source) in sources {
        let unreadable = |e| Error::Io { action: "read", path: source.clone(), source: e };
        let mut from = match File::open(&source) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(unreadable(e)),
        };
        let mut member = Hashing { inner: &mut out, hash: Sha256::new() };
        let size = io::copy(&mut from, &mut member).map_err(failed)?;
        let digest = Digest::from_bytes(member.hash.finalize().into());
        index.files.push(Member { path: name, size, digest });
    }
    let text = serde_json::to_vec(&index).map_err(|e| failed(e.into()))?;
    out.write_all(&text).map_err(failed)?;
    write!(out, "\nindex {:020} ", text.len()).map_err(failed)?;
    let hash = Digest::from_bytes(out.hash.finalize().into());
    let mut file = out.inner;
    writeln!(file, "{hash}").map_err(failed)?;
    file.flush().map_err(failed)?;
    Ok(index)
}

/// A backup whose bytes are as they were written.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    /// As its last line has it.
    pub(super) digest: Digest,
    pub(super) index: Index,
}

/// Reads the whole file and checks it.
pub(super) fn open(path: &Path) -> Result<Archive, Error> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let foreign = || Error::NoBackup { path: path.to_owned() };
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let body = length.checked_sub(LAST_LINE).filter(|n| *n >= MAGIC.len() as u64).ok_or_else(foreign)?;
    let mut magic = vec![0; MAGIC.len()];
    file.read_exact(&mut magic).map_err(failed)?;
    file.seek(SeekFrom::Start(body)).map_err(failed)?;
    let mut last = String::new();
    (&file).take(LAST_LINE).read_to_string(&mut last).map_err(|_| foreign())?;
    let told = last.strip_prefix("\nindex ").and_then(|l| l.trim_end().split_once(' '));
    let told = told.and_then(|(size, hash)| Some((size.parse::<u64>().ok()?, hash.parse::<Digest>().ok()?)));
    let (size, wanted) = told.filter(|_| magic == MAGIC).ok_or_else(foreign)?;

    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let hashed = body + 7 + 20 + 1;
    let mut hash = Sha256::new();
    io::copy(&mut BufReader::with_capacity(1 << 18, &file).take(hashed), &mut hash).map_err(failed)?;
    if Digest::from_bytes(hash.finalize().into()) != wanted {
        return Err(Error::Damaged { path: path.to_owned(), what: "its bytes do not have the hash that its last line names".to_owned() });
    }
    let start = body.checked_sub(size).filter(|_| size <= LONGEST_INDEX).ok_or_else(foreign)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut text = Vec::new();
    (&file).take(size).read_to_end(&mut text).map_err(failed)?;
    let index: Index =
        serde_json::from_slice(&text).map_err(|e| Error::Damaged { path: path.to_owned(), what: format!("its index: {e}") })?;
    if index.format != FORMAT {
        return Err(Error::Format { path: path.to_owned(), found: index.format, known: FORMAT });
    }
    if is_newer(&index.version, env!("CARGO_PKG_VERSION")) {
        return Err(Error::Newer { path: path.to_owned(), found: index.version });
    }
    let total = index.files.iter().try_fold(MAGIC.len() as u64, |sum, member| sum.checked_add(member.size));
    if total != Some(start) {
        return Err(Error::Damaged { path: path.to_owned(), what: "its index and its content do not fit together".to_owned() });
    }
    Ok(Archive { path: path.to_owned(), file, digest: wanted, index })
}

/// A version that can't be read is taken for a newer one's way to write it.
fn is_newer(version: &str, than: &str) -> bool {
    match (semver::Version::parse(version), semver::Version::parse(than)) {
        (Ok(version), Ok(than)) => version > than,
        _ => true,
    }
}

impl Archive {
    /// Writes every member to where `place` says, each a new file that only its owner can read; None leaves one out.
    pub(super) fn extract(&mut self, place: impl Fn(&Member) -> Option<PathBuf>) -> Result<(), Error> {
        let mut at = MAGIC.len() as u64;
        for member in &self.index.files {
            let start = at;
            at += member.size;
            let Some(target) = place(member) else { continue };
            let failed = |source| Error::Io { action: "written", path: target.clone(), source };
            self.file.seek(SeekFrom::Start(start)).map_err(|source| Error::Io { action: "read", path: self.path.clone(), source })?;
            if let Some(parent) = target.parent() {
                use std::os::unix::fs::DirBuilderExt;
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
            }
            let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target).map_err(failed)?;
            let mut out = Hashing { inner: out, hash: Sha256::new() };
            io::copy(&mut (&self.file).take(member.size), &mut out).map_err(failed)?;
            out.inner.sync_all().map_err(failed)?;
            if Digest::from_bytes(out.hash.finalize().into()) != member.digest {
                let what = format!("\"{}\" is not what was backed up", member.path);
                return Err(Error::Damaged { path: self.path.clone(), what });
            }
        }
        Ok(())
    }
}
