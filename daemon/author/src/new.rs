//! Writes a new plugin that builds and passes its tests as it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, Kind};

/// Where the new plugin gets the SDK from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SdkSource {
    /// A folder with the SDK's source.
    Path(PathBuf),
    /// A published version (`0.1`).
    Version(String),
}

/// Writes a plugin named `name` into `folder`, which must not exist yet or be empty. Returns the files, in the order they were written.
///
/// # Errors
/// [`Error::Name`], [`Error::Exists`], or [`Error::Io`] with the path at fault.
pub fn new(kind: Kind, name: &str, folder: &Path, sdk: &SdkSource) -> Result<Vec<PathBuf>, Error> {
    check_name(name)?;
    let io = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { what, path, source }
    };
    if folder.exists()
        && folder
            .read_dir()
            .map_err(io("read", folder))?
            .next()
            .is_some()
    {
        return Err(Error::Exists {
            folder: folder.to_owned(),
        });
    }
    let dependency = match sdk {
        SdkSource::Path(path) => {
            let path = path.canonicalize().map_err(io("find", path))?;
            format!("{{ path = {} }}", toml_string(&path.to_string_lossy()))
        }
        SdkSource::Version(version) => toml_string(version),
    };
    let (library, instance) = match kind {
        Kind::Policy => (
            include_str!("../templates/policy/lib.rs.txt"),
            include_str!("../templates/policy/instance.toml.txt"),
        ),
        Kind::Provider => (
            include_str!("../templates/provider/lib.rs.txt"),
            include_str!("../templates/provider/instance.toml.txt"),
        ),
    };
    let own = format!("{name}.toml");
    let files = [
        ("Cargo.toml", include_str!("../templates/Cargo.toml.txt")),
        ("clippy.toml", include_str!("../templates/clippy.toml.txt")),
        (".gitignore", "/target\n"),
        ("README.md", include_str!("../templates/README.md.txt")),
        ("src/lib.rs", library),
        (own.as_str(), instance),
    ];
    let fill = |text: &str| {
        let text = text
            .replace("{{name}}", name)
            .replace("{{Type}}", &type_name(name));
        text.replace("{{kind}}", kind.as_str())
            .replace("{{sdk}}", &dependency)
    };
    fs::create_dir_all(folder.join("src")).map_err(io("create", folder))?;
    let written = files.iter().map(|(path, text)| {
        let path = folder.join(path);
        fs::write(&path, fill(text)).map_err(io("write", &path))?;
        Ok(path)
    });
    written.collect()
}

/// The contract's rule for names, and cargo's: a package name begins with a letter and is none of Rust's words.
fn check_name(name: &str) -> Result<(), Error> {
    let inner = name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let ends = name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.ends_with('-');
    let reserved = [
        "self",
        "super",
        "crate",
        "test",
        "core",
        "std",
        "alloc",
        "proc-macro",
        "serde",
        "tradewind-plugin-sdk",
    ];
    // Types named like the SDK's would clash in the template.
    let taken = [
        "score",
        "provider",
        "offer",
        "error",
        "settings",
        "state",
        "host",
        "context",
        "features",
        "replica",
        "observation",
        "phase",
    ];
    let keyword = [
        "fn", "mod", "use", "let", "if", "as", "in", "for", "impl", "match", "type", "move",
        "loop", "enum", "struct", "trait", "where", "while",
    ];
    let fits = (1..=63).contains(&name.len())
        && inner
        && ends
        && ![&reserved[..], &taken[..], &keyword[..]]
            .concat()
            .contains(&name);
    if fits {
        Ok(())
    } else {
        Err(Error::Name {
            name: name.to_owned(),
        })
    }
}

/// `fast-lane` → `FastLane`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_ascii_uppercase().to_string() + letters.as_str()
        })
    };
    name.split('-').map(word).collect()
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_work_are_taken_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            new(
                Kind::Policy,
                name,
                &folder.path().join("p"),
                &SdkSource::Version("0.1".to_owned()),
            )
        };
        for name in [
            "",
            "Ab",
            "1a",
            "a-",
            "a_b",
            "a/../b",
            "test",
            "fn",
            &"a".repeat(64),
        ] {
            assert!(matches!(write(name), Err(Error::Name { .. })), "{name}");
        }
        assert_eq!(write("fast-lane").unwrap().len(), 6);
        let library = fs::read_to_string(folder.path().join("p/src/lib.rs")).unwrap();
        assert!(library.contains("pub struct FastLane") && !library.contains("{{"));
        assert!(matches!(write("fast-lane"), Err(Error::Exists { .. })));
    }
}
