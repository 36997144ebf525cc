//! Format 2: a tar file. The files come first, each under its name; then the index, `index.json`; then `digest`, the hash of every byte
//! before it. With the end of the archive behind it, `digest` is always as long, so whoever reads begins there.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};
use tradewind_core::names::Digest;

use super::{Error, Fault, Found, Hashing, Index, LONGEST_INDEX, Member, read_index};

/// The version of the format.
pub(crate) const FORMAT: u32 = 2;
const INDEX: &str = "index.json";
const DIGEST: &str = "digest";
const BLOCK: u64 = 512;
/// The last member, and the two empty blocks at an archive's end.
const SEAL: u64 = 4 * BLOCK;
/// The longest name of a member.
const LONGEST_NAME: u64 = 4096;

/// A member as it lies in the file.
struct Entry {
    name: Vec<u8>,
    start: u64,
    size: u64,
}

/// Makes the file. Sources that have gone meanwhile are left out.
pub(crate) fn write(
    path: &Path,
    mut index: Index,
    sources: Vec<(String, PathBuf)>,
) -> Result<Index, Error> {
    let failed = |source| Error::Io {
        action: "written",
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let at = index.created_at.0 / 1000;
    let mut archive = Builder::new(Hashing::new(BufWriter::with_capacity(1 << 18, file)));
    for (name, source) in sources {
        let unreadable = |e| Error::Io {
            action: "read",
            path: source.clone(),
            source: e,
        };
        let from = match File::open(&source) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(unreadable(e)),
        };
        let size = from.metadata().map_err(unreadable)?.len();
        let mut member = Hashing::new(from.take(size));
        append(&mut archive, &name, at, size, &mut member).map_err(failed)?;
        // What it has grown by meanwhile is not in it. One that was written over has no state that could be kept.
        if member.inner.limit() > 0 {
            return Err(unreadable(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it became shorter while it was read",
            )));
        }
        index.files.push(Member {
            path: name,
            size,
            digest: member.digest(),
        });
    }
    let text = serde_json::to_vec(&index).map_err(|e| failed(e.into()))?;
    append(&mut archive, INDEX, at, text.len() as u64, text.as_slice()).map_err(failed)?;
    let digest = archive.get_ref().digest();
    let mut file = seal(archive, digest, at).map_err(failed)?.inner;
    file.flush().map_err(failed)?;
    Ok(index)
}

/// Reads the whole file and checks it. Its digest is that of the whole file, as `sha256sum` tells it.
pub(super) fn read(mut file: &File, length: u64) -> Result<Found, Fault> {
    let body = length.checked_sub(SEAL).ok_or(Fault::Foreign)?;
    file.seek(SeekFrom::Start(body))?;
    let mut end = Vec::new();
    file.take(SEAL).read_to_end(&mut end)?;
    let wanted = sealed(&end).ok_or(Fault::Foreign)?;
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Hashing::new(BufReader::with_capacity(1 << 18, file).take(body));
    io::copy(&mut bytes, &mut io::sink())?;
    if bytes.digest() != wanted {
        return Err(Fault::Damaged(
            "its bytes do not have the hash that its last member names".to_owned(),
        ));
    }
    let mut whole = Hashing {
        inner: end.as_slice(),
        hash: bytes.hash,
    };
    io::copy(&mut whole, &mut io::sink())?;

    let place = find_index(file, body)?;
    file.seek(SeekFrom::Start(place.start))?;
    let mut text = Vec::new();
    file.take(place.size).read_to_end(&mut text)?;
    let index = read_index(&text, FORMAT)?;
    let starts = find_files(file, &index, place.start)?;
    Ok(Found {
        digest: whole.digest(),
        index,
        starts,
    })
}

/// The last member but one. Members are counted over, not kept: there may be as many as somebody likes to make up.
fn find_index(file: &File, body: u64) -> Result<Entry, Fault> {
    let (mut before, mut last) = (None, None);
    walk(file, |entry| {
        before = last.replace(entry);
        Ok(())
    })?;
    let ends_whole = last.is_some_and(|digest: Entry| digest.start == body + BLOCK);
    before
        .filter(|index: &Entry| {
            ends_whole && index.name == INDEX.as_bytes() && index.size <= LONGEST_INDEX
        })
        .ok_or_else(|| {
            Fault::Damaged("its last members are not its index and its digest".to_owned())
        })
}

/// Where the files begin, which have to be those of the index.
fn find_files(file: &File, index: &Index, end: u64) -> Result<Vec<u64>, Fault> {
    let unfit = || Fault::Damaged("its index and its content do not fit together".to_owned());
    let mut starts = Vec::with_capacity(index.files.len());
    let mut wanted = index.files.iter();
    walk(file, |entry| {
        if entry.start >= end {
            return Ok(());
        }
        let fits = wanted.next().is_some_and(|member| {
            member.path.as_bytes() == entry.name && member.size == entry.size
        });
        starts.push(entry.start);
        if fits { Ok(()) } else { Err(unfit()) }
    })?;
    if wanted.next().is_some() {
        Err(unfit())
    } else {
        Ok(starts)
    }
}

/// Visits each member. What is no plain file with a plain name is refused.
fn walk(mut file: &File, mut visit: impl FnMut(Entry) -> Result<(), Fault>) -> Result<(), Fault> {
    let broken = |e: io::Error| Fault::Damaged(format!("it is no tar file: {e}"));
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(file);
    let mut long = None;
    // Raw: what describes another member would be read whole, however large it is.
    for entry in archive.entries_with_seek().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        match entry.header().entry_type() {
            EntryType::GNULongName if long.is_none() && entry.size() <= LONGEST_NAME => {
                let mut name = Vec::new();
                entry.read_to_end(&mut name).map_err(broken)?;
                name.pop_if(|last| *last == 0);
                long = Some(name);
            }
            EntryType::Regular => {
                let name = long
                    .take()
                    .unwrap_or_else(|| entry.header().path_bytes().into_owned());
                visit(Entry {
                    name,
                    start: entry.raw_file_position(),
                    size: entry.size(),
                })?;
            }
            _ => {
                let name = String::from_utf8_lossy(&entry.header().path_bytes())
                    .escape_debug()
                    .to_string();
                return Err(Fault::Damaged(format!("\"{name}\" in it is no file")));
            }
        }
    }
    Ok(())
}

/// The digest that a file's end tells of, if it is such an end, byte for byte.
fn sealed(end: &[u8]) -> Option<Digest> {
    let mut archive = tar::Archive::new(end);
    let mut entry = archive.entries().ok()?.raw(true).next()?.ok()?;
    let at = entry.header().mtime().ok()?;
    let mut text = String::new();
    entry.read_to_string(&mut text).ok()?;
    let digest = text.trim_end().parse().ok()?;
    (seal(Builder::new(Vec::new()), digest, at).ok()? == end).then_some(digest)
}

/// Ends a file with the hash of everything before.
fn seal<W: Write>(mut archive: Builder<W>, digest: Digest, at: u64) -> io::Result<W> {
    let text = format!("{digest}\n");
    append(&mut archive, DIGEST, at, text.len() as u64, text.as_bytes())?;
    archive.into_inner()
}

fn append<W: Write>(
    archive: &mut Builder<W>,
    name: &str,
    at: u64,
    size: u64,
    bytes: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(at);
    header.set_size(size);
    archive.append_data(&mut header, name, bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tradewind_core::{audit::Head, store::Revision, units::Instant};

    use super::{super::Archive, *};

    const PLAIN: (EntryType, &str) = (EntryType::Regular, "plugins/a.toml");

    /// What becomes of a file that is whole, whatever is in it: of these members, each a byte long, with an index of those that are files.
    fn opened(
        members: &[(EntryType, &str)],
        edit: impl FnOnce(&mut Value),
        before_index: &[u8],
    ) -> Result<Archive, Error> {
        let mut archive = Builder::new(Hashing::new(Vec::new()));
        let mut index = Index {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: Instant(0),
            revision: Revision(1),
            origin: None,
            audit: Head {
                seq: 0,
                hash: Digest::ZERO,
            },
            files: Vec::new(),
        };
        for (kind, name) in members {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(1);
            header.set_cksum();
            archive.append(&header, b"x".as_slice()).unwrap();
            if *kind == EntryType::Regular {
                index.files.push(Member {
                    path: (*name).to_owned(),
                    size: 1,
                    digest: Digest::of(b"x"),
                });
            }
        }
        archive.get_mut().write_all(before_index).unwrap();
        let mut index = serde_json::to_value(index).unwrap();
        edit(&mut index);
        let text = index.to_string();
        append(&mut archive, INDEX, 0, text.len() as u64, text.as_bytes()).unwrap();
        let digest = archive.get_ref().digest();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        std::fs::write(&path, seal(archive, digest, 0).unwrap().inner).unwrap();
        super::super::open(&path)
    }

    fn refusal(members: &[(EntryType, &str)], edit: impl FnOnce(&mut Value)) -> String {
        opened(members, edit, &[]).unwrap_err().to_string()
    }

    #[test]
    fn no_member_leads_out_of_its_folder_or_is_a_link() {
        assert_eq!(
            opened(&[PLAIN, (EntryType::Regular, "state.db")], |_| {}, &[])
                .unwrap()
                .starts,
            [512, 1536]
        );
        for name in [
            "../x",
            "/etc/x",
            "plugins/../../x",
            "plugins/..",
            "plugins/",
            "plugins//etc/x",
            "secrets/x",
            "index.json",
            "",
        ] {
            let told = refusal(&[PLAIN, (EntryType::Regular, name)], |_| {});
            assert!(told.contains("belongs nowhere"), "{name:?}: {told}");
        }
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Directory,
            EntryType::Fifo,
            EntryType::Char,
            EntryType::GNUSparse,
            EntryType::GNULongLink,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
        ] {
            let told = refusal(&[(kind, "plugins/b.toml"), PLAIN], |_| {});
            assert!(
                told.contains("\"plugins/b.toml\" in it is no file"),
                "{kind:?}: {told}"
            );
        }
    }

    #[test]
    fn the_index_tells_of_what_is_there() {
        let files = |edit: fn(&mut Vec<Value>)| {
            refusal(&[PLAIN, (EntryType::Regular, "state.db")], |index| {
                edit(index["files"].as_array_mut().unwrap())
            })
        };
        let edits: [fn(&mut Vec<Value>); 5] = [
            |files| files.swap(0, 1),
            |files| files.push(files[0].clone()),
            |files| files.truncate(1),
            |files| files[1]["size"] = json!(2),
            |files| files[1]["path"] = json!("plugins/b.toml"),
        ];
        for edit in edits {
            let told = files(edit);
            assert!(told.contains("do not fit together"), "{told}");
        }
        // What others unpack differs from what is looked at here: a long name that is none, an end before the end.
        assert!(
            refusal(&[(EntryType::GNULongName, "plugins/b.toml"), PLAIN], |_| {})
                .contains("do not fit together")
        );
        let hidden = opened(&[PLAIN], |_| {}, &[0; 1024])
            .unwrap_err()
            .to_string();
        assert!(
            hidden.contains("its last members are not its index and its digest"),
            "{hidden}"
        );
        let garbage = opened(&[PLAIN], |_| {}, &[7; 512]).unwrap_err().to_string();
        assert!(garbage.contains("it is no tar file"), "{garbage}");
    }

    #[test]
    fn what_is_newer_is_refused() {
        let told = |field: &str, value: Value| {
            opened(&[PLAIN], |index| index[field] = value, &[]).unwrap_err()
        };
        // Whatever else the index of a later format has.
        let later = opened(
            &[],
            |index| *index = json!({"format": 3, "version": "9.0.0"}),
            &[],
        )
        .unwrap_err();
        assert!(
            matches!(
                later,
                Error::Format {
                    found: 3,
                    known: 2,
                    ..
                }
            ),
            "{later}"
        );
        assert!(matches!(told("format", json!(1)), Error::Damaged { .. }));
        for version in ["99.0.0", "of tomorrow"] {
            assert!(matches!(
                told("version", json!(version)),
                Error::Newer { .. }
            ));
        }
    }
}
