//! The folder of one process: its record, its working folder, its output, and what its wrapper leaves there.
//! It owns names, formats and safe writes; it must not know when or why they happen. Everything here blocks.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tradewind_core::{
    capability::ProcessKey, names::InstanceName, units::Instant, workload::Output,
};

use super::{
    check::Prepared,
    confine::{self, Ids},
    output::{end_line, pipes},
    proc::Identity,
    reserve,
};

const FORMAT: u32 = 1;
const RECORD: &str = "process.jsonl";
/// The most runs of which it is known where their output begins.
const MOST_BEGINS: usize = 50;
/// Bytes after which a record file begins anew.
const LONGEST_RECORD: u64 = 512 << 10;

/// Where one process keeps everything. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// What must be known about a process to supervise it again. Secrets appear by name only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    pub(super) prepared: Prepared,
    pub(super) wanted: Wanted,
    /// Port numbers by port name.
    pub(super) ports: BTreeMap<String, u16>,
    /// Counts starts, from 1. It is raised and stored before each start, so every start has files of its own.
    pub(super) run: u32,
    pub(super) restarts: u32,
    /// The wrapper of this run, once it is known.
    pub(super) process: Option<Identity>,
    pub(super) started_at: Option<Instant>,
    /// When the first run began that counts against the deadline.
    #[serde(default)]
    pub(super) first_started_at: Option<Instant>,
    /// How often it was lost: its wrapper was killed, or the machine was restarted.
    #[serde(default)]
    pub(super) losses: u32,
    /// Of the restarts, those that no failure has brought about and those before them.
    #[serde(default)]
    pub(super) forgiven: u32,
    /// How the latest run that ended did so.
    pub(super) ended: Option<Ended>,
    /// What marks every process of every run. Empty in the record of a version before marks.
    #[serde(default)]
    pub(super) mark: String,
    /// The control group of this run, where it has one.
    #[serde(default)]
    pub(super) group: Option<PathBuf>,
    /// Where this run was started, when the folder was elsewhere then: it writes its output and its status there.
    #[serde(default)]
    pub(super) home: Option<PathBuf>,
    /// The number of the user that is its own, where the grant has a range of them.
    #[serde(default)]
    pub(super) uid: Option<u32>,
    /// Where the output of each of the last runs begins.
    #[serde(default)]
    pub(super) begins: Vec<Begin>,
}

/// Where the output of a run begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) run: u32,
    pub(super) at: Instant,
    /// In the files of standard output and standard error.
    pub(super) offsets: [u64; 2],
}

impl Begin {
    pub(super) fn offset(&self, output: Output) -> u64 {
        let [stdout, stderr] = self.offsets;
        if output == Output::Stderr {
            stderr
        } else {
            stdout
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Wanted {
    Run,
    /// Stop what runs, then run this.
    Replace(Box<Prepared>),
    /// Stop what runs, then forget it.
    Remove,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) run: u32,
    pub(super) at: Instant,
    pub(super) code: Option<i32>,
    pub(super) message: String,
    /// It will not be started again.
    pub(super) finally: bool,
    /// It ended as it should.
    pub(super) well: bool,
    /// Nothing tells how it ended, and that is no failure of its own.
    #[serde(default)]
    pub(super) lost: bool,
}

// === impl Record ===

impl Record {
    pub(super) fn new(prepared: Prepared) -> Self {
        Self {
            format: FORMAT,
            prepared,
            wanted: Wanted::Run,
            ports: BTreeMap::new(),
            run: 0,
            restarts: 0,
            process: None,
            started_at: None,
            first_started_at: None,
            losses: 0,
            forgiven: 0,
            ended: None,
            mark: fresh_mark(),
            group: None,
            home: None,
            uid: None,
            begins: Vec::new(),
        }
    }

    /// A new run begins. Of those before it, the last are kept.
    pub(super) fn begin(&mut self, at: Instant, offsets: [u64; 2]) {
        let has_ended = self.ended.as_ref().is_some_and(|e| e.run == self.run);
        if self.process.is_none() && !has_ended {
            // It was never started.
            self.begins.pop();
        }
        self.run += 1;
        self.begins.retain(|begin| begin.run < self.run);
        self.begins.push(Begin {
            run: self.run,
            at,
            offsets,
        });
        let most = self.begins.len().saturating_sub(MOST_BEGINS);
        self.begins.drain(..most);
    }

    /// The mark of this run.
    pub(super) fn run_mark(&self) -> String {
        format!("{}.{}", self.mark, self.run)
    }
}

/// Nobody else has it: the system draws it.
pub(super) fn fresh_mark() -> String {
    let drawn = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let drawn: String = drawn.chars().filter(char::is_ascii_hexdigit).collect();
    if drawn.len() == 32 {
        drawn
    } else {
        String::new()
    }
}

// === impl Folder ===

impl Folder {
    pub(super) fn new(root: &Path, owner: &InstanceName, key: &ProcessKey) -> Self {
        Self(
            root.join(owner.as_str())
                .join(key.allocation.as_str())
                .join(key.replica.to_string()),
        )
    }

    /// The folder of a run that was started elsewhere.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The private working folder.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub(super) fn output(&self, output: Output) -> PathBuf {
        self.0.join(if output == Output::Stderr {
            "stderr"
        } else {
            "stdout"
        })
    }

    /// Creates the folder and its private working folder, both for the owner alone.
    pub(super) fn create(&self) -> io::Result<()> {
        let mut last = Ok(());
        // The allocation's folder may be removed between its creation and that of the folder inside, when a sibling goes.
        for _ in 0..3 {
            last = DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(self.work());
            match &last {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
        last
    }

    /// Stores the record by appending it as a line: the last whole one counts. Replacing the file at each change would cost a file made
    /// and a file deleted per start, which some file systems make pay dearly for; so that happens only when it has grown long.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        // The newline before it ends what a crash may have left unfinished.
        let mut line = vec![b'\n'];
        serde_json::to_writer(&mut line, record).map_err(io::Error::other)?;
        line.push(b'\n');
        let path = self.0.join(RECORD);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        if file.metadata()?.len() < LONGEST_RECORD {
            return file.write_all(&line);
        }
        let temporary = self.0.join(".process.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&line)?;
        drop(file);
        fs::rename(&temporary, path)
    }

    /// None when there is none, or none that can be understood.
    pub(super) fn read(&self) -> Option<Record> {
        let text = fs::read(self.0.join(RECORD)).ok()?;
        let whole = text.rsplit(|b| *b == b'\n').filter(|line| !line.is_empty());
        whole
            .filter_map(|line| serde_json::from_slice::<Record>(line).ok())
            .find(|record| record.format == FORMAT)
    }

    /// Where the output of a run begins that is about to start. Last words of the run before that lack their newline get it.
    pub(super) fn ends(&self) -> io::Result<[u64; 2]> {
        let end = |output| {
            end_line(self, output)?;
            match fs::metadata(self.output(output)) {
                Ok(file) => Ok(file.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
                Err(error) => Err(error),
            }
        };
        Ok([end(Output::Stdout)?, end(Output::Stderr)?])
    }

    /// Opens what a process writes to: its pipe, or the output file itself. It is shared with the process and outlives this daemon. Last words
    /// of an earlier run that lack their newline get it, so that those of the next run are not glued to them.
    pub(super) fn open_output(&self, output: Output, piped: bool) -> io::Result<File> {
        end_line(self, output)?;
        if piped {
            return pipes::open(self, output);
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.output(output))
    }

    /// What a process may read and write of its folder, beside the working folder: its output, and where its wrapper writes.
    pub(super) fn open_files(&self, run: u32) -> [PathBuf; 3] {
        let piped = pipes::are_there(self);
        let [stdout, stderr] = [Output::Stdout, Output::Stderr].map(|o| {
            if piped {
                pipes::path(self, o)
            } else {
                self.output(o)
            }
        });
        [stdout, stderr, self.run_file(run)]
    }

    /// The wrapper finds the file that it writes to: it may not be allowed to make one.
    pub(super) fn make_run_file(&self, run: u32) -> io::Result<()> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.run_file(run))
            .map(|_| ())
    }

    /// Gives to a user what a process may read and write of its folder.
    pub(super) fn give(&self, run: u32, ids: Ids) -> io::Result<()> {
        self.open_files(run)
            .iter()
            .chain([&self.work()])
            .try_for_each(|path| confine::give(path, ids))
    }

    /// The wrapper's id as it wrote it itself.
    pub(super) fn wrapper_pid(&self, run: u32) -> Option<i32> {
        finished_line(&self.run_file(run), 0)?.parse().ok()
    }

    /// The exit status of a run; none where none was written.
    ///
    /// # Errors
    /// The daemon has no descriptor left to look.
    pub(super) fn read_exit(&self, run: u32) -> io::Result<Option<i32>> {
        match fs::read_to_string(self.run_file(run)) {
            Ok(text) => Ok(nth_line(&text, 1).and_then(|line| line.parse().ok())),
            Err(error) if reserve::is_own(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Removes what the wrapper of an earlier run left.
    pub(super) fn clear_run(&self, run: u32) {
        // An absent file is a normal case; a leftover is harmless, since runs never share a number.
        let _ = fs::remove_file(self.run_file(run));
    }

    /// What the wrapper of a run writes: its id, and at the end the exit status.
    fn run_file(&self, run: u32) -> PathBuf {
        self.0.join(format!("run-{run}"))
    }

    /// Takes the folder out of sight in one step and says where it went. `discard` deletes it.
    pub(super) fn retire(&self) -> io::Result<PathBuf> {
        let name = self
            .0
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let parent = self.0.parent().unwrap_or(Path::new("/"));
        let mut retired = parent.join(format!(".gone-{name}"));
        let mut n = 0;
        while retired.exists() {
            n += 1;
            retired = parent.join(format!(".gone-{name}-{n}"));
        }
        fs::rename(&self.0, &retired)?;
        Ok(retired)
    }
}

/// Deletes a retired folder, and the allocation's and the instance's folders when they are empty.
pub(super) fn discard(retired: &Path) {
    // What was refused before it had a folder leaves none behind.
    if let Err(error) = fs::remove_dir_all(retired)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %retired.display(), %error, "a folder of a removed process stays behind");
    }
    for above in retired.ancestors().skip(1).take(2) {
        if fs::remove_dir(above).is_err() {
            break;
        }
    }
}

/// Every process folder below `root`; what a crash left half-made or half-removed is deleted on the way.
pub(super) fn found(root: &Path) -> io::Result<Vec<(InstanceName, ProcessKey, Folder)>> {
    let mut found = Vec::new();
    for (instance, path) in subfolders(root)? {
        let Ok(owner) = instance.parse::<InstanceName>() else {
            continue;
        };
        for (allocation, path) in subfolders(&path)? {
            let Ok(allocation) = allocation.parse() else {
                continue;
            };
            for (name, path) in subfolders(&path)? {
                if name.starts_with(".gone-") {
                    discard(&path);
                } else if let Ok(replica) = name.parse() {
                    let key = ProcessKey {
                        allocation: Clone::clone(&allocation),
                        replica,
                    };
                    found.push((owner.clone(), key.clone(), Folder::new(root, &owner, &key)));
                }
            }
        }
    }
    Ok(found)
}

fn subfolders(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            folders.push((name, entry.path()));
        }
    }
    Ok(folders)
}

/// A line that its writer has finished: without its newline it does not count.
fn finished_line(path: &Path, index: usize) -> Option<String> {
    nth_line(&fs::read_to_string(path).ok()?, index).map(str::to_owned)
}

fn nth_line(text: &str, index: usize) -> Option<&str> {
    text.split_inclusive('\n').nth(index)?.strip_suffix('\n')
}

#[cfg(test)]
mod tests {
    use tradewind_core::names::Digest;

    use super::*;
    use crate::process::check::tests::spec;

    fn record() -> Record {
        let spec = spec(&"x".repeat(100_000));
        let digest = Digest::of(b"");
        Record::new(Prepared {
            digest,
            spec,
            promised: None,
            program: "/x".into(),
            directory: None,
            folders: Vec::new(),
            log_size: 0,
            namespace: None,
            secrets: None,
            confine: Default::default(),
        })
    }

    #[test]
    fn the_last_whole_record_counts_and_the_file_stays_short() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder(root.path().to_owned());
        assert!(folder.read().is_none());
        let mut record = record();
        for run in 1..=20 {
            record.run = run;
            folder.write(&record).unwrap();
            assert_eq!(folder.read().unwrap().run, run);
        }
        let path = root.path().join(RECORD);
        assert!(fs::metadata(&path).unwrap().len() < LONGEST_RECORD + 200_000);
        // A crash in the middle of a line: the one before it counts, and the next one again.
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"\n{\"format\":1,\"prep")
            .unwrap();
        assert_eq!(folder.read().unwrap().run, 20);
        record.run = 21;
        folder.write(&record).unwrap();
        assert_eq!(folder.read().unwrap().run, 21);
    }
}
