//! Secrets as files: a namespace's own lie in `NAMESPACE/NAME` of the daemon's secrets folder (`NAMESPACE/NAME/KEY` for a reference with a key) and
//! go before; those in `NAME` are common to the namespaces that a grant shares them with. Values leave the folder only into what a capability starts; they must never reach a message, a log or
//! the record.

use std::{
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};
use tradewind_core::{
    failure::{Failure, FailureKind, SECRET},
    grant::Entry,
    names::Namespace,
    workload::SecretRef,
};

use crate::owners::{self, Kind};

/// What a workload may have, as its grant says.
#[derive(Debug, Clone, Copy)]
pub struct Granted<'a> {
    /// The capability that lends it.
    pub capability: &'static str,
    /// The secrets that the grant names, each with the namespaces for which it holds.
    pub secrets: &'a [Entry],
    /// Whose workload it is; none: it is not known.
    pub namespace: Option<&'a Namespace>,
}

/// Checks that a reference is granted and that its names are plain file names.
///
/// # Errors
/// `denied` for a secret outside the grant, `invalid` for a name that is not a plain file name.
pub fn check(granted: Granted<'_>, secret: &SecretRef, field: &str) -> Result<(), Failure> {
    for name in std::iter::once(&secret.name).chain(&secret.key) {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain)
        {
            let message = format!(
                "\"{}\" is not a secret's name: use letters, digits and - _ . not beginning with a dot",
                name.escape_debug()
            );
            return Err(Failure::invalid(message).field(field));
        }
    }
    let Granted {
        capability,
        secrets,
        namespace,
    } = granted;
    if secrets
        .iter()
        .any(|entry| entry.name == secret.name && entry.is_for(namespace))
    {
        return Ok(());
    }
    // The same whether others have it or nobody.
    let whose = namespace.map_or_else(String::new, |namespace| {
        format!(" to namespace \"{namespace}\"")
    });
    Err(Failure::not_granted(
        format!("the secret \"{}\" is not granted{whose}", secret.name),
        field,
    )
    .remedy(format!(
        "add \"{}\" to secrets in [grants.{capability}] of the instance file",
        secret.name
    )))
}

/// What a variable gets of a secret's value: all but one line end, `\n` or `\r\n`, which editors and `echo` put behind it. A file gets the
/// value as it is.
pub fn variable(value: &[u8]) -> &[u8] {
    value
        .strip_suffix(b"\r\n")
        .or_else(|| value.strip_suffix(b"\n"))
        .unwrap_or(value)
}

/// Reads a secret's value as it is in its file, if it is granted: the namespace's own where it has one of this name, else the common one if
/// the grant shares that with the namespace. Blocks.
///
/// # Errors
/// Those of `check`, and `denied` when the file can't be read; the message names the secret and the reason, never a value.
pub fn read(
    granted: Granted<'_>,
    folder: Option<&Path>,
    secret: &SecretRef,
    field: &str,
) -> Result<Vec<u8>, Failure> {
    check(granted, secret, field)?;
    let Some(folder) = folder else {
        let message = format!(
            "the secret \"{}\" can't be read: the daemon has no secrets folder",
            shown(secret)
        );
        return Err(Failure::denied(message)
            .field(field)
            .code(SECRET)
            .remedy("name one in the setting \"secrets\""));
    };
    let mut path = PathBuf::from(&secret.name);
    path.extend(&secret.key);
    let shared = granted.shares_common(&secret.name);
    let own = granted
        .namespace
        .map(|namespace| folder.join(namespace.as_str()));
    let own = own.filter(|own| !shared || own.join(&secret.name).symlink_metadata().is_ok());
    let value = match &own {
        Some(own) => inside(own, &path),
        None if shared => owners::read(&folder.join(&path), Kind::Secret),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    value.map_err(|error| {
        unreadable(&error, granted, secret)
            .field(field)
            .code(SECRET)
    })
}

impl Granted<'_> {
    fn shares_common(&self, name: &str) -> bool {
        self.secrets
            .iter()
            .any(|entry| entry.name == name && entry.shares_common(self.namespace))
    }
}

fn shown(secret: &SecretRef) -> String {
    secret.key.as_ref().map_or_else(
        || secret.name.clone(),
        |key| format!("{}/{key}", secret.name),
    )
}

/// It is the same whether others have such a secret or nobody.
fn unreadable(error: &io::Error, granted: Granted<'_>, secret: &SecretRef) -> Failure {
    let (
        shown,
        Granted {
            capability,
            namespace,
            ..
        },
    ) = (shown(secret), granted);
    if let Some(untrusted) = owners::untrusted(error) {
        return Failure::denied(format!("the secret \"{shown}\" is not used: {untrusted}"));
    }
    let (kind, cause) = match error.kind() {
        io::ErrorKind::NotFound => (FailureKind::Denied, "it does not exist"),
        io::ErrorKind::PermissionDenied => (FailureKind::Denied, "the daemon may not read it"),
        io::ErrorKind::IsADirectory => (FailureKind::Invalid, "it has keys: name one"),
        io::ErrorKind::NotADirectory => {
            (FailureKind::Invalid, "it has no keys: name it without one")
        }
        io::ErrorKind::CrossesDevices => (
            FailureKind::Denied,
            "a link leads out of its namespace's folder",
        ),
        _ => (FailureKind::Unavailable, "reading it failed"),
    };
    if granted.shares_common(&secret.name) {
        let own = namespace.map_or_else(String::new, |namespace| {
            format!(", or \"{namespace}/{shown}\" for this namespace alone,")
        });
        return Failure::new(
            kind,
            format!("the secret \"{shown}\" can't be read: {cause}"),
        )
        .remedy(format!(
            "put its value into the file \"{shown}\"{own} of the daemon's secrets folder"
        ));
    }
    let whose = namespace.map_or_else(
        || "no namespace".to_owned(),
        |namespace| format!("namespace \"{namespace}\""),
    );
    let own = namespace.map_or_else(String::new, |namespace| {
        format!("put its value into the file \"{namespace}/{shown}\" of the daemon's secrets folder, or ")
    });
    Failure::new(kind, format!("the secret \"{shown}\" of {whose} can't be read: {cause}")).remedy(format!(
        "{own}grant a common one: secrets = [{{ name = \"{}\", namespaces = [\"{}\"] }}] in [grants.{capability}] of the instance file",
        secret.name,
        namespace.map_or("*", Namespace::as_str)
    ))
}

/// Reads a file below a namespace's folder. Whoever fills that folder is not trusted with what lies beside it: no link leads out of it.
fn inside(folder: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let whole = folder.join(path);
    // The folder itself is no link either. What bears its name and is no folder is another's, and not told of.
    let folder = rustix::fs::open(
        folder,
        flags | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(|error| {
        if matches!(error, Errno::NOTDIR | Errno::LOOP) {
            Errno::NOENT
        } else {
            error
        }
    })?;
    let opened = openat2(
        &folder,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    );
    let opened = match opened {
        // A kernel before 5.6, or a container's filter of system calls that knows none that new: no links at all.
        Err(Errno::NOSYS | Errno::PERM) => {
            let mut at = folder;
            for part in path
                .components()
                .filter(|part| matches!(part, Component::Normal(_)))
            {
                at = rustix::fs::openat(
                    &at,
                    part.as_os_str(),
                    flags | OFlags::NOFOLLOW,
                    Mode::empty(),
                )?;
            }
            at
        }
        opened => opened?,
    };
    let mut file = File::from(opened);
    owners::check(&file, &whole, Kind::Secret)?;
    let mut value = Vec::new();
    file.read_to_end(&mut value)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of(name: &str) -> SecretRef {
        let (name, key) = name
            .split_once('/')
            .map_or((name, None), |(name, key)| (name, Some(key.to_owned())));
        SecretRef {
            name: name.to_owned(),
            key,
        }
    }

    /// A folder with these secrets, closed to others.
    fn folder(secrets: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        for (path, value) in secrets {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        folder
    }

    /// What a namespace reads by an entry as it stands in an instance file.
    fn read(
        folder: &Path,
        entry: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<String, Failure> {
        let namespace: Option<Namespace> = namespace.map(|name| name.parse().unwrap());
        let secrets: [Entry; 1] = [serde_json::from_str(entry).unwrap()];
        let granted = Granted {
            capability: "process",
            secrets: &secrets,
            namespace: namespace.as_ref(),
        };
        super::read(granted, Some(folder), &of(name), "env[0]")
            .map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn a_namespaces_own_secret_goes_before_the_common_one_and_is_nobody_elses() {
        let folder = folder(&[
            ("db", "common"),
            ("shop/db", "shop's"),
            ("shop/keys/a", "shop's a"),
            ("keys/a", "common a"),
            ("keys/b", "b"),
        ]);
        let (db, keys) = (
            r#"{"name": "db", "namespaces": ["*"]}"#,
            r#"{"name": "keys", "namespaces": ["shop", "team"]}"#,
        );
        let read =
            |entry, namespace, name| super::tests::read(folder.path(), entry, namespace, name);
        assert_eq!(read(db, Some("shop"), "db").unwrap(), "shop's");
        assert_eq!(read(db, Some("team"), "db").unwrap(), "common");
        assert_eq!(read(db, None, "db").unwrap(), "common");
        assert_eq!(read(keys, Some("shop"), "keys/a").unwrap(), "shop's a");
        assert_eq!(read(keys, Some("team"), "keys/a").unwrap(), "common a");
        assert!(
            read(keys, Some("shop"), "keys/b").is_err(),
            "a secret is one namespace's as a whole"
        );
        assert_eq!(
            read(keys, Some("other"), "keys/a")
                .unwrap_err()
                .code
                .as_deref(),
            Some("not-granted")
        );
    }

    #[test]
    fn without_namespaces_the_common_secret_is_for_the_default_namespace_alone() {
        let shared = folder(&[("db", "common"), ("shop/db", "shop's")]);
        let read = |folder: &tempfile::TempDir, namespace| {
            super::tests::read(folder.path(), r#""db""#, namespace, "db")
        };
        assert_eq!(read(&shared, Some("default")).unwrap(), "common");
        assert_eq!(read(&shared, Some("shop")).unwrap(), "shop's");
        let refused = read(&shared, Some("team")).unwrap_err();
        assert_eq!(
            (
                refused.kind,
                refused.code.as_deref(),
                refused.field.as_deref()
            ),
            (FailureKind::Denied, Some(SECRET), Some("env[0]"))
        );
        assert!(
            refused.message.contains("of namespace \"team\""),
            "{refused:?}"
        );
        let remedy = refused.remedy.clone().unwrap();
        let both = [
            "\"team/db\" of the daemon's secrets folder",
            "{ name = \"db\", namespaces = [\"team\"] }",
        ];
        assert!(both.iter().all(|part| remedy.contains(part)), "{remedy}");
        // It tells nothing of what others have: neither a common one nor one that has the namespace's name.
        for others in [
            &folder(&[]),
            &folder(&[("shop/db", "shop's")]),
            &folder(&[("team", "a secret called as the namespace")]),
        ] {
            assert_eq!(read(others, Some("team")).unwrap_err(), refused);
        }
        assert_eq!(
            read(
                &folder(&[("db", "common"), ("team/db", "team's")]),
                Some("team")
            )
            .unwrap(),
            "team's"
        );
        assert_eq!(
            read(
                &folder(&[("db", "common"), ("default/db", "own")]),
                Some("default")
            )
            .unwrap(),
            "own"
        );
        assert!(
            read(&shared, None)
                .unwrap_err()
                .remedy
                .is_some_and(|remedy| remedy.contains("namespaces = [\"*\"]"))
        );
    }

    #[test]
    fn no_link_leads_out_of_a_namespaces_folder() {
        use std::os::unix::fs::symlink;
        let folder = folder(&[("team/theirs", "theirs"), ("shop/..data/token", "mounted")]);
        let root = folder.path();
        symlink("..data/token", root.join("shop/token")).unwrap();
        symlink("../team/theirs", root.join("shop/relative")).unwrap();
        symlink(root.join("team/theirs"), root.join("shop/absolute")).unwrap();
        symlink("team", root.join("mirror")).unwrap();
        for entry in [r#""NAME""#, r#"{"name": "NAME", "namespaces": ["*"]}"#] {
            let read = |namespace, name| {
                super::tests::read(root, &entry.replace("NAME", name), Some(namespace), name)
            };
            assert_eq!(
                read("shop", "token").unwrap(),
                "mounted",
                "as clusters mount secrets"
            );
            for (namespace, name) in [
                ("shop", "relative"),
                ("shop", "absolute"),
                ("mirror", "theirs"),
            ] {
                let failure = read(namespace, name).unwrap_err();
                assert!(!failure.message.contains("theirs\" is"), "{failure:?}");
            }
            assert!(
                read("shop", "relative")
                    .unwrap_err()
                    .message
                    .contains("out of its namespace")
            );
        }
    }

    #[test]
    fn a_refusal_tells_nobody_what_others_have() {
        let secrets = [
            serde_json::from_str(r#"{"name": "stripe", "namespaces": ["shop"]}"#).unwrap(),
            Entry::from("db"),
        ];
        let asked = |namespace: &str, name: &str| {
            let namespace = namespace.parse().unwrap();
            check(
                Granted {
                    capability: "process",
                    secrets: &secrets,
                    namespace: Some(&namespace),
                },
                &of(name),
                "env",
            )
        };
        assert!(asked("shop", "stripe").is_ok() && asked("team", "db").is_ok());
        let (others, nobodys) = (
            asked("team", "stripe").unwrap_err(),
            asked("team", "absent").unwrap_err(),
        );
        assert_eq!(others.message.replace("stripe", "absent"), nobodys.message);
        assert!(others.message.contains("\"team\""));
        let unknown = Granted {
            capability: "process",
            secrets: &secrets,
            namespace: None,
        };
        assert!(
            check(unknown, &of("stripe"), "env").is_err()
                && check(unknown, &of("db"), "env").is_ok()
        );
    }

    #[test]
    fn a_variable_loses_one_line_end() {
        for (value, wanted) in [
            ("", ""),
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\nb\n\n", "a\nb\n"),
            ("a\r", "a\r"),
            ("\n", ""),
            (" a ", " a "),
        ] {
            assert_eq!(
                super::variable(value.as_bytes()),
                wanted.as_bytes(),
                "{value:?}"
            );
        }
    }
}
