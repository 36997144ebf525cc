//! What lies in the plugin folder now, and which further components its instance files name. Reads files whole, follows links, never follows a
//! name out of these two folders; decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use tradewind_core::{
    names::{Digest, InstanceName},
    units::Bytes,
};

use super::instance_file::{self, InstanceFile};

/// Looks at an open file and at the folders on the way to it.
pub type Believes = fn(&fs::File, &Path) -> io::Result<()>;

/// Components of the program's own: names and bytes.
pub type Builtin = &'static [(&'static str, &'static [u8])];

/// Where files are looked for, and which of them are read.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The plugin folder.
    pub(crate) folder: PathBuf,
    /// A folder of further components: one is read if an instance file names it and the plugin folder does not have it.
    pub(crate) components: Option<PathBuf>,
    /// The largest component, in bytes.
    pub(crate) size_cap: u64,
    pub(crate) believes: Believes,
    /// Components that need no file.
    pub(crate) builtin: Builtin,
    /// The instance of a built-in component that is there without a file, under the component's name.
    pub(crate) at_hand: Option<InstanceName>,
}

/// One look at the folder.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) instances: BTreeMap<InstanceName, Found>,
    /// Files that can't belong to any instance, with the reason.
    pub(crate) problems: Vec<(String, String)>,
}

/// What the folder says about one instance.
#[derive(Debug)]
pub(crate) struct Found {
    /// The instance file's bytes; empty for a component without one.
    pub(crate) text: Vec<u8>,
    pub(crate) settings: Digest,
    pub(crate) file: Result<InstanceFile, String>,
    pub(crate) component: Component,
}

#[derive(Debug, Clone)]
pub(crate) enum Component {
    Read {
        bytes: Arc<[u8]>,
        digest: Digest,
    },
    /// The instance file names a file that is not there.
    Missing {
        why: String,
    },
    /// It can't be used, whatever is in it.
    Unusable {
        why: String,
    },
    /// It changed while it was read: look again.
    Unsettled,
    /// The instance file can't be read, so nothing names one.
    Unnamed,
}

enum Content {
    Whole(Vec<u8>),
    TooLarge(u64),
    Unsettled,
}

/// # Errors
/// When the folder itself can't be listed.
pub(crate) fn scan(options: &Options) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut components: BTreeMap<String, Option<Component>> = BTreeMap::new();
    let mut files: BTreeMap<String, InstanceName> = BTreeMap::new();
    for entry in fs::read_dir(&options.folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else {
            scan.problems.push((
                name.to_string_lossy().into_owned(),
                "the file name is not UTF-8".to_owned(),
            ));
            continue;
        };
        // Hidden files are other programs' temporary ones, and a ConfigMap's folders.
        if name.starts_with('.') {
            continue;
        }
        if name.ends_with(".wasm") {
            components.insert(name.to_owned(), None);
        } else if let Some(stem) = name.strip_suffix(".toml") {
            match stem.parse::<InstanceName>() {
                Ok(instance) => {
                    files.insert(name.to_owned(), instance);
                }
                Err(e) => scan.problems.push((name.to_owned(), e.to_string())),
            }
        }
    }

    let mut named = BTreeSet::new();
    for (name, instance) in files {
        if let Some(found) = configured(options, &name, &mut components, &mut named) {
            scan.instances.insert(instance, found);
        }
    }
    for name in components.keys().cloned().collect::<Vec<_>>() {
        if named.contains(&name) {
            continue;
        }
        match name.trim_end_matches(".wasm").parse::<InstanceName>() {
            Ok(instance) if scan.instances.contains_key(&instance) => {
                let why = format!(
                    "no instance file names it, and \"{instance}\" is taken by {instance}.toml"
                );
                scan.problems.push((name, why));
            }
            Ok(instance) => {
                let component = component(options, &[&options.folder], &name, &mut components);
                let found = Found {
                    text: Vec::new(),
                    settings: Digest::of(b""),
                    file: Ok(InstanceFile::bare(&name)),
                    component,
                };
                scan.instances.insert(instance, found);
            }
            Err(e) => scan.problems.push((name, e.to_string())),
        }
    }
    if let Some(name) = &options.at_hand
        && !scan.instances.contains_key(name)
        && let Some(component) = builtin(options, name.as_str())
    {
        let found = Found {
            text: Vec::new(),
            settings: Digest::of(b""),
            file: Ok(InstanceFile::bare(&format!(
                "{}{name}",
                instance_file::BUILTIN
            ))),
            component,
        };
        scan.instances.insert(name.clone(), found);
    }
    Ok(scan)
}

/// A component that needs no file.
fn builtin(options: &Options, name: &str) -> Option<Component> {
    let (_, bytes) = options.builtin.iter().find(|(known, _)| *known == name)?;
    Some(Component::Read {
        digest: Digest::of(bytes),
        bytes: Arc::from(*bytes),
    })
}

fn not_builtin(options: &Options, name: &str) -> String {
    let known: Vec<&str> = options.builtin.iter().map(|(name, _)| *name).collect();
    if known.is_empty() {
        return format!(
            "component \"{}{name}\" is not in this program: it was built without components",
            instance_file::BUILTIN
        );
    }
    format!(
        "component \"{}{name}\" is not in this program: it has {}",
        instance_file::BUILTIN,
        known.join(", ")
    )
}

/// None when the file has gone since it was listed.
fn configured(
    options: &Options,
    name: &str,
    components: &mut BTreeMap<String, Option<Component>>,
    named: &mut BTreeSet<String>,
) -> Option<Found> {
    let unreadable = |why: String, component| Found {
        text: Vec::new(),
        settings: Digest::of(why.as_bytes()),
        file: Err(why),
        component,
    };
    let text = match read(
        &options.folder.join(name),
        instance_file::SIZE_CAP,
        options.believes,
    ) {
        Ok(Content::Whole(text)) => text,
        Ok(Content::TooLarge(size)) => {
            let why = format!(
                "the instance file has {size} bytes, the most is {}",
                Bytes(instance_file::SIZE_CAP)
            );
            return Some(unreadable(why, Component::Unnamed));
        }
        Ok(Content::Unsettled) => return Some(unreadable(String::new(), Component::Unsettled)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
        Err(e) => {
            return Some(unreadable(
                format!("the instance file can't be read: {e}"),
                Component::Unnamed,
            ));
        }
    };
    let settings = Digest::of(&text);
    Some(match InstanceFile::parse(&text) {
        Ok(file) => {
            named.insert(file.component.clone());
            let folders: Vec<_> = [&options.folder]
                .into_iter()
                .chain(&options.components)
                .map(PathBuf::as_path)
                .collect();
            let component = component(options, &folders, &file.component, components);
            Found {
                text,
                settings,
                file: Ok(file),
                component,
            }
        }
        Err(e) => Found {
            text,
            settings,
            file: Err(e.to_string()),
            component: Component::Unnamed,
        },
    })
}

/// Reads each component once, however many instances name it, out of the first of these folders that has it.
fn component(
    options: &Options,
    folders: &[&Path],
    name: &str,
    read_already: &mut BTreeMap<String, Option<Component>>,
) -> Component {
    if let Some(Some(known)) = read_already.get(name) {
        return known.clone();
    }
    if let Some(own) = name.strip_prefix(instance_file::BUILTIN) {
        let found = builtin(options, own).unwrap_or_else(|| Component::Missing {
            why: not_builtin(options, own),
        });
        read_already.insert(name.to_owned(), Some(found.clone()));
        return found;
    }
    let size_cap = options.size_cap;
    let there = folders.iter().find_map(|folder| {
        match read(&folder.join(name), size_cap, options.believes) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            known => Some(known),
        }
    });
    let found = match there {
        Some(Ok(Content::Whole(bytes))) => Component::Read {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
        },
        Some(Ok(Content::TooLarge(size))) => Component::Unusable {
            why: format!(
                "\"{name}\" is too large: {size} bytes, reload.max-size is {}",
                Bytes(size_cap)
            ),
        },
        Some(Ok(Content::Unsettled)) => Component::Unsettled,
        None => Component::Missing {
            why: match folders.get(1) {
                Some(further) => format!(
                    "component \"{name}\" is neither in the plugin folder nor in \"{}\" (the setting \"components\")",
                    further.display()
                ),
                None => format!("component \"{name}\" is not in the plugin folder"),
            },
        },
        Some(Err(e)) => Component::Unusable {
            why: format!("\"{name}\" can't be read: {e}"),
        },
    };
    read_already.insert(name.to_owned(), Some(found.clone()));
    found
}

fn read(path: &Path, cap: u64, believes: Believes) -> io::Result<Content> {
    // Before opening: a pipe would block.
    let before = fs::metadata(path)?;
    if !before.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if before.len() > cap {
        return Ok(Content::TooLarge(before.len()));
    }
    let mut bytes = Vec::new();
    let mut file = fs::File::open(path)?;
    believes(&file, path)?;
    (&mut file).take(cap + 1).read_to_end(&mut bytes)?;
    let after = file.metadata()?;
    if bytes.len() as u64 > cap {
        return Ok(Content::TooLarge(after.len()));
    }
    let same =
        |a: &Metadata, b: &Metadata| a.len() == b.len() && a.modified().ok() == b.modified().ok();
    if same(&before, &after) && bytes.len() as u64 == after.len() {
        Ok(Content::Whole(bytes))
    } else {
        Ok(Content::Unsettled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILTIN: Builtin = &[("a", b"of a"), ("b", b"of b")];

    fn bytes(scan: &Scan, name: &str) -> Result<String, String> {
        match &scan.instances[&name.parse::<InstanceName>().unwrap()].component {
            Component::Read { bytes, .. } => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Component::Missing { why } => Err(why.clone()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn what_is_built_in_needs_no_file_and_gives_way_to_one() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let options = Options {
            folder: folder.path().to_owned(),
            components: None,
            size_cap: 1 << 20,
            believes: |_, _| Ok(()),
            builtin: BUILTIN,
            at_hand: Some("a".parse().unwrap()),
        };
        put("mine.toml", "component = \"builtin:b\"");
        put("odd.toml", "component = \"builtin:c\"");
        let found = scan(&options).unwrap();
        assert_eq!(found.instances.len(), 3);
        assert_eq!(bytes(&found, "a").unwrap(), "of a");
        assert_eq!(bytes(&found, "mine").unwrap(), "of b");
        let why = bytes(&found, "odd").unwrap_err();
        assert!(
            why.contains("\"builtin:c\"") && why.contains("it has a, b"),
            "{why}"
        );

        put("a.wasm", "of a file");
        assert_eq!(bytes(&scan(&options).unwrap(), "a").unwrap(), "of a file");
        let without = Options {
            at_hand: None,
            ..options
        };
        std::fs::remove_file(folder.path().join("a.wasm")).unwrap();
        assert_eq!(scan(&without).unwrap().instances.len(), 2);
    }
}
