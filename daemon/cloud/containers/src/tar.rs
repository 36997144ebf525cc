//! Files as an archive in the ustar format, which is how engines take them.

/// One file: an absolute path, permission bits, who owns it.
pub(crate) struct Entry<'a> {
    pub(crate) path: &'a str,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) content: &'a [u8],
}

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Whether a path has room in a header.
pub(crate) fn fits(path: &str) -> bool {
    split(path.trim_start_matches('/')).is_some()
}

/// The archive. Entries whose paths do not fit are left out: ask `fits` first.
pub(crate) fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let Some(header) = header(entry) else { continue };
        out.extend_from_slice(&header);
        out.extend_from_slice(entry.content);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

fn header(entry: &Entry<'_>) -> Option<[u8; BLOCK]> {
    let (prefix, name) = split(entry.path.trim_start_matches('/'))?;
    let (uid, gid) = entry.owner;
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        block.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        Some(())
    };
    put(0, name.as_bytes())?;
    put(100, format!("{:07o}", entry.mode).as_bytes())?;
    put(108, format!("{uid:07o}").as_bytes())?;
    put(116, format!("{gid:07o}").as_bytes())?;
    put(124, format!("{:011o}", entry.content.len()).as_bytes())?;
    // When it was changed: always the same, so that equal files make equal archives.
    put(136, b"00000000000")?;
    // The checksum counts as spaces in its own sum.
    put(148, b"        ")?;
    put(156, b"0")?;
    put(257, b"ustar\x0000")?;
    put(345, prefix.as_bytes())?;
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block.get_mut(148..156)?.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(block)
}

/// A long path is kept in two parts, parted at a slash.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME {
        return Some(("", path));
    }
    let (prefix, name) = path.match_indices('/').map(|(at, _)| path.split_at(at)).find(|(_, rest)| rest.len() <= NAME + 1)?;
    (prefix.len() <= PREFIX).then(|| (prefix, name.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_unpacks_what_was_packed() {
        let long = format!("/{}/{}", "folder".repeat(16), "name".repeat(20));
        let entries = [
            Entry { path: "/etc/app/key", mode: 0o400, owner: (0, 0), content: b"secret\n" },
            Entry { path: &long, mode: 0o644, owner: (0, 0), content: &[7; 1000] },
            Entry { path: "/empty", mode: 0o600, owner: (0, 0), content: b"" },
        ];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        std::fs::write(&file, archive(&entries)).unwrap();
        let done = Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(folder.path()).arg("--no-same-owner").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for entry in entries {
            let path = folder.path().join(entry.path.trim_start_matches('/'));
            assert_eq!(std::fs::read(&path).unwrap(), entry.content);
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, entry.mode);
        }
        assert!(fits(&long) && !fits(&"x".repeat(101)) && !fits(&"y/".repeat(200)));
    }
}
