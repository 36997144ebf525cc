//! The daemon's side of the collector: starts it, tells it what to follow, starts it again when it has ended. Everything here blocks, and
//! never for long: a collector that does not answer is done without.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    super::{folder::Folder, reserve},
    collector::Order,
    pipes,
};

/// How long a word to the collector may take. It listens once its predecessor has ended.
const WORD: Duration = Duration::from_secs(10);
/// How long its answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between the end of a collector and the next one, at the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Keeps a collector at work for as long as it is there.
#[derive(Debug)]
pub(in crate::process) struct Collecting(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What is run, with its arguments. None: output goes straight into files, which are cut to size from time to time.
    program: Option<Vec<OsString>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The other end of the collector's standard input.
    link: Option<UnixStream>,
    /// Sizes by folder: what a new collector must be told.
    followed: BTreeMap<PathBuf, u64>,
    waiting: HashMap<u64, mpsc::Sender<()>>,
    /// Pipes that the collector may not have open yet, by the number of what it was told: what is in them stays.
    held: HashMap<u64, Vec<File>>,
    last: u64,
    /// Counts collectors, to tell the end of one from that of the next.
    generation: u64,
    /// How many have ended in a row without an answer.
    ended: u32,
    closed: bool,
}

// === impl Collecting ===

impl Collecting {
    pub(in crate::process) fn new(program: Option<Vec<OsString>>) -> Self {
        Self(Arc::new(Shared {
            program,
            state: Mutex::default(),
        }))
    }

    /// Makes the pipes of a process and has them followed. Answers them, open: they are to be held until the process has them open itself, for
    /// pipes that nobody has open count as over. None: there is no collector, or there can be no pipes.
    ///
    /// # Errors
    /// The daemon has no descriptor left.
    pub(in crate::process) fn prepare(
        &self,
        folder: &Folder,
        size: u64,
    ) -> io::Result<Option<Vec<File>>> {
        if self.0.program.is_none() {
            return Ok(None);
        }
        let held = pipes::make(folder).and_then(|()| {
            super::OUTPUTS
                .into_iter()
                .map(|output| pipes::open(folder, output))
                .collect()
        });
        let held: Vec<File> = match held {
            Ok(held) => held,
            Err(error) if reserve::is_own(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(folder = %folder.path().display(), %error, "a process writes straight into files: there can be no pipes");
                return Ok(None);
            }
        };
        Ok(self.follow(folder, size).then_some(held))
    }

    /// Has the output of a process followed that may run already. False: there is no collector.
    pub(in crate::process) fn follow(&self, folder: &Folder, size: u64) -> bool {
        let path = folder.path().to_owned();
        // Lines are text.
        if path.to_str().is_none() {
            return false;
        }
        let mut state = self.0.state();
        state.followed.insert(path.clone(), size);
        if state.link.is_none() {
            // It is told of everything that is followed.
            return self.0.start(&mut state);
        }
        state.follow(path, size) || self.0.start(&mut state)
    }

    /// Waits until everything is in the files that these processes have written so far.
    pub(in crate::process) fn drain<'a>(&self, folders: impl Iterator<Item = &'a Path>) {
        let mut answers = Vec::new();
        {
            let mut state = self.0.state();
            for folder in folders
                .filter(|folder| state.followed.contains_key(*folder))
                .collect::<Vec<_>>()
            {
                state.last += 1;
                let id = state.last;
                let (tell, told) = mpsc::channel();
                state.waiting.insert(id, tell);
                if !state.say(&Order::Drain {
                    folder: folder.to_owned(),
                    id,
                }) {
                    state.waiting.remove(&id);
                    return;
                }
                answers.push(told);
            }
        }
        for told in answers {
            // One that ends meanwhile answers nothing.
            let _ = told.recv_timeout(PATIENCE);
        }
    }

    /// The process and its folder are gone.
    pub(in crate::process) fn forget(&self, folder: &Folder) {
        let mut state = self.0.state();
        if state.followed.remove(folder.path()).is_some() {
            state.say(&Order::Forget {
                folder: folder.path().to_owned(),
            });
        }
    }

    /// Lets go of the collector: it goes on by itself.
    pub(in crate::process) fn close(&self) {
        let mut state = self.0.state();
        state.closed = true;
        if let Some(link) = state.link.take() {
            let _ = link.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Starts a collector and tells it what there is to follow.
    fn start(self: &Arc<Self>, state: &mut State) -> bool {
        if state.closed {
            return false;
        }
        let started = self.spawn();
        let (link, child) = match started {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!(%error, "the collector of output can't be started: processes write straight into files");
                return false;
            }
        };
        let heard = link.try_clone();
        state.link = Some(link);
        state.generation += 1;
        let generation = state.generation;
        let before = std::mem::take(&mut state.held);
        let followed: Vec<_> = state
            .followed
            .iter()
            .map(|(folder, size)| (folder.clone(), *size))
            .collect();
        let told = followed
            .into_iter()
            .all(|(folder, size)| state.follow(folder, size));
        // Until here: all that is followed is held anew.
        drop(before);
        let shared = Arc::downgrade(self);
        let listen = move || {
            let mut child = child;
            if let Ok(heard) = heard {
                for line in BufReader::new(heard).lines() {
                    let (Some(shared), Ok(Ok(id))) =
                        (shared.upgrade(), line.map(|line| line.parse::<u64>()))
                    else {
                        break;
                    };
                    let mut state = shared.state();
                    state.ended = 0;
                    state.held.remove(&id);
                    if let Some(waiting) = state.waiting.remove(&id) {
                        let _ = waiting.send(());
                    }
                }
            }
            if let Some(shared) = shared.upgrade() {
                shared.has_ended(generation, &mut child);
            } else {
                // It goes on without this daemon; where that stays, it takes note of the end.
                let _ = child.wait();
            }
        };
        let listening = std::thread::Builder::new()
            .name("output-collector".to_owned())
            .stack_size(256 << 10)
            .spawn(listen);
        told && listening.is_ok()
    }

    fn spawn(&self) -> io::Result<(UnixStream, Child)> {
        let Some((program, arguments)) = self.program.as_deref().and_then(<[_]>::split_first)
        else {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        };
        let (link, theirs) = UnixStream::pair()?;
        link.set_write_timeout(Some(WORD))?;
        // In a group of its own, and with nothing of the daemon's that somebody may wait for the end of.
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .arg0("tradewind")
            .process_group(0)
            .spawn()?;
        Ok((link, child))
    }

    /// A collector has ended: the next one goes on with what is in the pipes.
    fn has_ended(self: &Arc<Self>, generation: u64, child: &mut Child) {
        let pause = {
            let mut state = self.state();
            if state.closed || state.generation != generation {
                drop(state);
                let _ = child.wait();
                return;
            }
            // Whoever waits is told by the end of this.
            state.waiting.clear();
            state.link = None;
            state.hold_all();
            state.ended = state.ended.saturating_add(1);
            Duration::from_millis(10)
                .saturating_mul(1 << state.ended.min(10))
                .min(LONGEST_PAUSE)
        };
        let status = child.wait();
        tracing::warn!(status = ?status.ok().map(|s| s.to_string()), "the collector of output has ended: it is started again");
        std::thread::sleep(pause);
        let mut state = self.state();
        if state.link.is_none() && !state.followed.is_empty() {
            self.start(&mut state);
        }
    }
}

// === impl State ===

impl State {
    /// Has the output of a process followed, and holds its pipes open until the collector does.
    fn follow(&mut self, folder: PathBuf, size: u64) -> bool {
        let id = self.hold(&folder);
        self.say(&Order::Follow { folder, size, id })
    }

    /// Holds all pipes open: nobody else does when a process ends now.
    fn hold_all(&mut self) {
        let folders: Vec<PathBuf> = self.followed.keys().cloned().collect();
        for folder in folders {
            self.hold(&folder);
        }
    }

    fn hold(&mut self, folder: &Path) -> u64 {
        self.last += 1;
        let at = Folder::at(folder.to_owned());
        let held = super::OUTPUTS
            .into_iter()
            .filter_map(|output| pipes::open(&at, output).ok())
            .collect();
        self.held.insert(self.last, held);
        self.last
    }

    /// False when it can't be said: the link is given up then.
    fn say(&mut self, order: &Order) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        let Ok(mut line) = serde_json::to_vec(order) else {
            return false;
        };
        line.push(b'\n');
        if link.write_all(&line).is_ok() {
            return true;
        }
        let _ = link.shutdown(Shutdown::Both);
        self.link = None;
        false
    }
}
