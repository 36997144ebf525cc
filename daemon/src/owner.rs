//! Whose a data folder is. What another user writes there, root included, is closed to the daemon of its owner.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The daemon of that user could not read what this process would write.
#[derive(Debug, thiserror::Error)]
#[error("\"{}\" is that of user {user}", path.display())]
pub struct NotOurs {
    path: PathBuf,
    user: String,
}

impl NotOurs {
    /// What can be done about it.
    pub fn remedy(&self) -> String {
        format!("run it as that user: `sudo -u {} tradewind …`", self.user)
    }
}

/// Lets this process write to a data folder, if the folder is this user's or not there yet. Of a state it looks at the file.
///
/// # Errors
/// It is another user's.
pub fn check(path: &Path) -> Result<(), NotOurs> {
    let us = rustix::process::geteuid().as_raw();
    match fs::metadata(path).map(|m| m.uid()) {
        Ok(owner) if owner != us => Err(NotOurs {
            path: path.to_owned(),
            user: name(
                &fs::read_to_string("/etc/passwd").unwrap_or_default(),
                owner,
            ),
        }),
        _ => Ok(()),
    }
}

/// The name of a user, else the number as `sudo -u` takes it.
fn name(users: &str, id: u32) -> String {
    let id = id.to_string();
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
        .and_then(|fields| fields.first().map(|&name| name.to_owned()))
        .unwrap_or_else(|| format!("'#{id}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_sudo_takes_it() {
        let users = "root:x:0:0::/root:/bin/sh\ntradewind:x:107:112::/var/lib/tradewind:/usr/sbin/nologin\n";
        assert_eq!(name(users, 107), "tradewind");
        assert_eq!(name(users, 108), "'#108'");
    }

    #[test]
    fn a_folder_that_is_not_there_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path()).unwrap();
        check(&folder.path().join("none")).unwrap();
    }
}
