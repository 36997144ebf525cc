//! Compiled code on disk, and what is known of it. The engine takes whatever lies in its cache for machine code of its own: so a digest of each
//! entry is kept beside it, by the component that it was made of, and no entry is left to the engine that is not what was written.
//!
//! It guards against damage and mix-ups (a bad disk, a restore of single files); who may write the folder can change digests as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tradewind_core::names::Digest;
use wasmtime::{Cache, CacheConfig, component::Component};

use super::compiler::Workshop;

/// Where the engine keeps its entries; and where earlier versions of the daemon let it keep them, which nobody vouches for.
const CODE: &str = "code";
const FORMERLY: &str = "modules";
/// One file for each component.
const ENTRIES: &str = "entries";

pub(crate) struct Code {
    folder: PathBuf,
    cache: Cache,
    /// Held while something is compiled that is not in the cache, so that its entries are known from others.
    compiling: Mutex<()>,
}

/// The entries of one component. An entry's name is a digest of the component and of everything about the engine that matters.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    component: Digest,
    /// By path below the folder of code.
    entries: BTreeMap<String, Entry>,
}

/// A file of compiled code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    digest: Digest,
    /// Which engines can use it.
    engine: u64,
}

/// The same for engines that can use each other's code.
fn key(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

impl Code {
    /// None when what lies in the folder can neither be vouched for nor removed: then nothing of it may be used.
    ///
    /// # Errors
    /// When the engine can't have a cache there.
    pub(crate) fn open(folder: &Path) -> wasmtime::Result<Option<Self>> {
        let useless = |error: io::Error| {
            tracing::warn!(folder = %folder.display(), %error, "compiled code can't be kept: plugins are compiled at each start");
        };
        for part in [CODE, ENTRIES].map(|part| folder.join(part)) {
            // A folder that can't be written may still hold good entries.
            if let Err(error) = fs::create_dir_all(&part)
                && !part.is_dir()
            {
                useless(error);
                return Ok(None);
            }
        }
        let mut config = CacheConfig::new();
        // Packing an entry anew would change it behind our back.
        config
            .with_directory(folder.join(CODE))
            .with_optimized_compression_usage_counter_threshold(u64::MAX);
        let code = Self {
            folder: folder.to_owned(),
            cache: Cache::new(config)?,
            compiling: Mutex::default(),
        };
        if let Err(error) = code.sweep() {
            useless(error);
            return Ok(None);
        }
        Workshop::tidy(folder);
        let formerly = folder.join(FORMERLY);
        if formerly.is_dir()
            && let Err(error) = fs::remove_dir_all(&formerly)
        {
            tracing::debug!(folder = %formerly.display(), %error, "the former compile cache can't be removed");
        }
        Ok(Some(code))
    }

    pub(crate) fn cache(&self) -> Cache {
        self.cache.clone()
    }

    /// Takes from the cache what is still what was put there. None: there is nothing that this engine can use. Blocks.
    ///
    /// # Errors
    /// When an entry that is damaged can't be removed, or the engine does not take one.
    pub(crate) fn find(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: &[u8],
    ) -> wasmtime::Result<Option<Component>> {
        if self.is_sound(digest, engine)? {
            Component::from_binary(engine, bytes).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Compiles, or takes from the cache what is still what was put there. Blocks.
    ///
    /// # Errors
    /// When the bytes can't be compiled, or an entry that is damaged can't be removed.
    pub(crate) fn component(
        &self,
        engine: &wasmtime::Engine,
        digest: Digest,
        bytes: &[u8],
    ) -> wasmtime::Result<Component> {
        let misses = self.cache.cache_misses();
        let held = (!self.is_sound(digest, engine)?).then(|| self.hold());
        if held.is_some() {
            self.sweep()?;
        }
        let before = self.present();
        let component = Component::from_binary(engine, bytes)?;
        if self.cache.cache_misses() != misses {
            let new = self.present().difference(&before).cloned().collect();
            if let Err(error) = self.vouch(digest, new, engine) {
                tracing::debug!(%error, "compiled code can't be vouched for: it will be compiled anew");
            }
        }
        Ok(component)
    }

    /// Takes over what a process of ours has compiled for this engine in a folder of its own. Blocks.
    ///
    /// # Errors
    /// When it can't be moved or vouched for.
    pub(crate) fn take_over(
        &self,
        workshop: &Path,
        engine: &wasmtime::Engine,
        digest: Digest,
    ) -> io::Result<()> {
        let _held = self.hold();
        let from = workshop.join(CODE);
        let made = files(&from);
        for name in &made {
            let to = self.folder.join(CODE).join(name);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::rename(from.join(name), to)?;
        }
        self.vouch(digest, made, engine)
    }

    fn hold(&self) -> MutexGuard<'_, ()> {
        self.compiling.lock()
    }

    /// Where a process of ours may put what it compiles.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub(crate) fn workshop(&self) -> io::Result<Workshop> {
        Workshop::open(&self.folder)
    }

    /// Whether there is an entry of this component for this engine. Those that are not what was written are removed.
    fn is_sound(&self, component: Digest, engine: &wasmtime::Engine) -> io::Result<bool> {
        let mut sound = false;
        for (name, entry) in self.known(component).unwrap_or_default() {
            let path = self.folder.join(CODE).join(&name);
            match fs::read(&path) {
                Ok(bytes) if Digest::of(&bytes) == entry.digest => {
                    sound |= entry.engine == key(engine)
                }
                Ok(_) => {
                    tracing::warn!(entry = name, %component, "compiled code on disk is damaged: the plugin is compiled anew");
                    remove(&path)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Nor can the engine read it.
                Err(error) => {
                    tracing::warn!(entry = name, %error, "compiled code on disk can't be read: the plugin is compiled anew")
                }
            }
        }
        Ok(sound)
    }

    /// Removes what nothing vouches for.
    fn sweep(&self) -> io::Result<()> {
        let mut known = BTreeSet::new();
        for file in fs::read_dir(self.folder.join(ENTRIES))? {
            let name = file?.file_name();
            let component = name
                .to_str()
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|hex| hex.parse().ok());
            known.extend(
                component
                    .and_then(|c| self.known(c))
                    .unwrap_or_default()
                    .into_keys(),
            );
        }
        for name in self.present().difference(&known) {
            tracing::info!(
                entry = name,
                "compiled code that nothing vouches for is removed"
            );
            remove(&self.folder.join(CODE).join(name))?;
        }
        Ok(())
    }

    fn present(&self) -> BTreeSet<String> {
        files(&self.folder.join(CODE))
    }

    fn path(&self, component: Digest) -> PathBuf {
        self.folder
            .join(ENTRIES)
            .join(format!("{}.json", component.hex()))
    }

    /// None for what can't be read, or is another component's.
    fn known(&self, component: Digest) -> Option<BTreeMap<String, Entry>> {
        let known: Known = serde_json::from_slice(&fs::read(self.path(component)).ok()?).ok()?;
        (known.component == component).then_some(known.entries)
    }

    /// Adds new entries to those of a component.
    fn vouch(
        &self,
        component: Digest,
        new: BTreeSet<String>,
        engine: &wasmtime::Engine,
    ) -> io::Result<()> {
        let code = self.folder.join(CODE);
        let mut entries = self.known(component).unwrap_or_default();
        entries.retain(|name, _| code.join(name).exists());
        for name in new {
            let digest = Digest::of(&fs::read(code.join(&name))?);
            entries.insert(
                name,
                Entry {
                    digest,
                    engine: key(engine),
                },
            );
        }
        let path = self.path(component);
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&fresh, serde_json::to_vec(&Known { component, entries })?)?;
        fs::rename(&fresh, path)
    }
}

/// The engine's entries, by their paths below a folder, without its notes about them, which have an extension.
fn files(root: &Path) -> BTreeSet<String> {
    fn collect(root: &Path, folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(root, &path, names);
            } else if path.extension().is_none() {
                names.extend(
                    path.strip_prefix(root)
                        .ok()
                        .and_then(|name| name.to_str())
                        .map(str::to_owned),
                );
            }
        }
    }
    let mut names = BTreeSet::new();
    collect(root, root, &mut names);
    names
}

/// Another process may share the folder, and have done it.
fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with one function, which returns a number that tells one name from another: their code differs.
    fn component(name: &str) -> Vec<u8> {
        let number = name.as_bytes()[0] & 0x3f;
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend([1, 5, 1, 0x60, 0, 1, 0x7f]);
        module.extend([3, 2, 1, 0]);
        module.extend([7, 5, 1, 1, b'f', 0, 0]);
        module.extend([10, 6, 1, 4, 0, 0x41, number, 0x0b]);
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.extend([1, u8::try_from(module.len()).unwrap()]);
        bytes.extend(module);
        // One instance of the module, without arguments.
        bytes.extend([2, 4, 1, 0, 0, 0]);
        bytes
    }

    struct Bench {
        code: Code,
        engine: wasmtime::Engine,
    }

    impl Bench {
        fn open(folder: &Path) -> Self {
            let code = Code::open(folder).unwrap().unwrap();
            let engine =
                wasmtime::Engine::new(wasmtime::Config::new().cache(Some(code.cache()))).unwrap();
            Self { code, engine }
        }

        /// Whether it came from the cache.
        fn hits(&self, name: &str) -> bool {
            let (before, bytes) = (self.code.cache.cache_hits(), component(name));
            self.code
                .component(&self.engine, Digest::of(&bytes), &bytes)
                .unwrap();
            self.code.cache.cache_hits() > before
        }

        fn entry(&self, name: &str) -> PathBuf {
            let known = self.code.known(Digest::of(&component(name))).unwrap();
            self.code
                .folder
                .join(CODE)
                .join(known.keys().next().unwrap())
        }
    }

    #[test]
    fn an_entry_is_used_only_as_long_as_it_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::open(folder.path());
        assert!(!bench.hits("a") && bench.hits("a") && !bench.hits("b") && bench.hits("b"));
        let bench = Bench::open(folder.path());
        assert!(bench.hits("a") && bench.hits("b"), "over a restart");

        fs::write(bench.entry("a"), b"damaged").unwrap();
        assert!(!bench.hits("a") && bench.hits("a"), "while it runs");

        let (a, b, aside) = (
            bench.entry("a"),
            bench.entry("b"),
            folder.path().join("aside"),
        );
        for (from, to) in [(&a, &aside), (&b, &a), (&aside, &b)] {
            fs::rename(from, to).unwrap();
        }
        assert!(
            !bench.hits("a") && !bench.hits("b") && bench.hits("a") && bench.hits("b"),
            "swapped"
        );

        let (of_a, of_b) = (
            bench.code.path(Digest::of(&component("a"))),
            bench.code.path(Digest::of(&component("b"))),
        );
        fs::rename(&of_a, &of_b).unwrap();
        let bench = Bench::open(folder.path());
        assert!(
            !bench.hits("a") && !bench.hits("b"),
            "nobody vouches for what is another's"
        );
    }

    #[test]
    fn what_another_process_has_compiled_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::open(folder.path());
        let bytes = component("a");
        let digest = Digest::of(&bytes);
        assert!(
            bench
                .code
                .find(&bench.engine, digest, &bytes)
                .unwrap()
                .is_none()
        );
        let workshop = bench.code.workshop().unwrap();
        Bench::open(workshop.path()).hits("a");
        bench
            .code
            .take_over(workshop.path(), &bench.engine, digest)
            .unwrap();
        drop(workshop);
        assert!(bench.hits("a"));
        assert!(
            bench
                .code
                .find(&bench.engine, digest, &bytes)
                .unwrap()
                .is_some()
        );

        let mut other = wasmtime::Config::new();
        let other = wasmtime::Engine::new(
            other
                .cache(Some(bench.code.cache()))
                .epoch_interruption(true),
        )
        .unwrap();
        assert!(
            bench.code.find(&other, digest, &bytes).unwrap().is_none(),
            "it is of no use to another engine"
        );
    }

    #[test]
    fn a_folder_that_can_not_be_used_costs_the_cache_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CODE), "no folder").unwrap();
        assert!(Code::open(folder.path()).unwrap().is_none());
    }
}
