//! Files as a tar archive, which is how engines take them. Equal files make equal archives: nothing in one tells when it was made.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

/// One file: an absolute path, permission bits, who owns it.
pub(crate) struct Entry<'a> {
    pub(crate) path: &'a str,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) content: &'a [u8],
}

/// The longest path that Linux takes, without the NUL behind it, and the longest name in one.
const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// Whether Linux has room for a path.
pub(crate) fn fits(path: &str) -> bool {
    path.len() <= LONGEST_PATH && path.split('/').all(|name| name.len() <= LONGEST_NAME)
}

/// The archive.
///
/// # Errors
/// A path names no file, or leads out of its folder with `..`.
pub(crate) fn pack(entries: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0.into());
        header.set_gid(entry.owner.1.into());
        header.set_mtime(0);
        header.set_size(entry.content.len() as u64);
        archive.append_data(&mut header, relative(entry.path)?, entry.content)?;
    }
    archive.into_inner()
}

/// A path as it is below the root, without what makes a folder of it or changes nothing.
fn relative(path: &str) -> io::Result<PathBuf> {
    let mut relative = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => relative.push(name),
            Component::ParentDir => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the path has \"..\" in it",
                ));
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(relative)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, process::Command};

    use super::*;

    #[test]
    fn tar_unpacks_what_was_packed() {
        let long = format!("/{}/{}", "folder".repeat(16), "name".repeat(20));
        let longest = format!("/{}/{}", "folder/".repeat(60), "n".repeat(LONGEST_NAME));
        let entries = [
            Entry {
                path: "/etc/app/key",
                mode: 0o400,
                owner: (0, 0),
                content: b"secret\n",
            },
            Entry {
                path: &long,
                mode: 0o644,
                owner: (0, 0),
                content: &[7; 1000],
            },
            Entry {
                path: &longest,
                mode: 0o640,
                owner: (0, 0),
                content: b"\0\xff\r\n",
            },
            Entry {
                path: "/etc/ü \\ \"x\"\n*",
                mode: 0o755,
                owner: (0, 0),
                content: &[0; 512],
            },
            Entry {
                path: "/empty",
                mode: 0o600,
                owner: (0, 0),
                content: b"",
            },
        ];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        std::fs::write(&file, pack(&entries).unwrap()).unwrap();
        let done = Command::new("tar")
            .arg("-xf")
            .arg(&file)
            .arg("-C")
            .arg(folder.path())
            .arg("--no-same-owner")
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        for entry in &entries {
            let path = folder.path().join(entry.path.trim_start_matches('/'));
            assert_eq!(std::fs::read(&path).unwrap(), entry.content);
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &std::fs::metadata(&path).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, entry.mode);
        }
        assert!(
            fits(&long) && fits(&longest) && !fits(&"x".repeat(256)) && !fits(&"y/".repeat(2048))
        );
        assert_eq!(pack(&entries).unwrap(), pack(&entries).unwrap());
    }

    #[test]
    fn owners_have_all_numbers_and_paths_no_way_out() {
        for owner in [
            (0, 0),
            (1000, 33),
            (0o7777777, 0o10000000),
            (u32::MAX, u32::MAX),
        ] {
            let packed = pack(&[Entry {
                path: "//srv/./app//key/",
                mode: 0o400,
                owner,
                content: b"x",
            }])
            .unwrap();
            let mut unpacked = tar::Archive::new(packed.as_slice());
            let mut entry = unpacked.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(
                (entry.header().uid().unwrap(), entry.header().gid().unwrap()),
                (owner.0.into(), owner.1.into())
            );
            assert_eq!(
                (entry.header().mtime().unwrap(), entry.header().entry_type()),
                (0, EntryType::Regular)
            );
            assert_eq!(entry.path().unwrap(), Path::new("srv/app/key"));
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!(content, "x");
        }
        let long = format!("/{}../x", "folder/".repeat(30));
        for bad in ["/../x", "/a/..", "/", "", &long] {
            assert!(
                pack(&[Entry {
                    path: bad,
                    mode: 0o400,
                    owner: (0, 0),
                    content: b""
                }])
                .is_err(),
                "{bad:?}"
            );
        }
    }
}
