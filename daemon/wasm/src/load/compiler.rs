//! Compiling, and comparing settings with a plugin's schema, in processes of their own. What a stranger sends may take any time and any memory
//! there: the process has limits of both, and ends at its deadline, when nobody waits for it any more, and with this one.

mod child;
mod protocol;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};
use tradewind_core::{
    settings::CompileBounds,
    units::{Bytes, Millis},
};

use super::progress::Progress;

pub use child::run as compile_child;
pub(crate) use protocol::{Answer, Order, Task};

/// A program that does what [`compile_child`] does.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// The arguments with which it does that.
    pub arguments: Vec<OsString>,
}

/// How components are compiled.
#[derive(Debug, Clone, Default)]
pub struct Compiling {
    /// How large a component may be, and what compiling it may take.
    pub bounds: CompileBounds,
    /// None: in this process, without limits of time and memory. For those who know what they compile.
    pub program: Option<Program>,
    /// Where those who wait see how far it is.
    pub progress: Progress,
}

/// Why a process that compiles, or compares settings with a schema, gave no answer.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("{what} took longer than the setting \"compile.deadline\" allows, {most}")]
    Deadline { what: &'static str, most: Millis },
    #[error(
        "{what} took more processor time than the setting \"compile.processor\" allows, {most}"
    )]
    Processor { what: &'static str, most: Millis },
    #[error("{what} took more memory than the setting \"compile.memory\" allows, {most}")]
    Memory { what: &'static str, most: Bytes },
    #[error("{what} broke off with {status}{}", said(.words))]
    Broken {
        what: &'static str,
        status: ExitStatus,
        words: String,
    },
    #[error("the process for {what} can't be started: {source}")]
    Start {
        what: &'static str,
        source: std::io::Error,
    },
}

fn said(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    }
}

/// Starts processes, a few at once.
#[derive(Clone)]
pub(crate) struct Compiler {
    program: Program,
    bounds: CompileBounds,
    turns: Arc<Semaphore>,
}

/// The most that is read of what such a process says.
const LONGEST_ANSWER: u64 = 1 << 20;
const LONGEST_WORDS: u64 = 4 << 10;
/// What the library, the compiler and the system say when there is no memory left.
const OUT_OF_MEMORY: [&str; 3] = [
    "memory allocation",
    "out of memory",
    "Cannot allocate memory",
];
/// More threads than this would cost memory and gain little.
const THREADS: usize = 8;

impl Compiler {
    pub(crate) fn new(program: Program, bounds: CompileBounds) -> Self {
        let turns = Arc::new(Semaphore::new(bounds.concurrent.max(1) as usize));
        Self {
            program,
            bounds,
            turns,
        }
    }

    /// Has a process do this, which ends with this future. Waits for its turn first, which counts for no deadline.
    ///
    /// # Errors
    /// It took more of something than it may, or broke off.
    pub(crate) async fn order(&self, task: Task, bytes: &[u8]) -> Result<Answer, Error> {
        let what = task.what();
        // Nobody closes it.
        let _turn = self.turns.acquire().await;
        let order = Order {
            task,
            size: bytes.len() as u64,
            memory: self.bounds.memory,
            processor: self.bounds.processor,
        };
        let mut child = self
            .start()
            .map_err(|source| Error::Start { what, source })?;
        match timeout(
            self.bounds.deadline.std(),
            converse(&mut child, &order, bytes),
        )
        .await
        {
            Ok(Ok(said)) => self.understood(what, &said),
            Ok(Err(source)) => Err(Error::Start { what, source }),
            Err(_) => {
                // It is ended here and not only told to: what it holds is free when this returns.
                let _gone = child.kill().await;
                Err(Error::Deadline {
                    what,
                    most: self.bounds.deadline,
                })
            }
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS);
        Command::new(&self.program.path)
            .args(&self.program.arguments)
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    fn understood(&self, what: &'static str, said: &Said) -> Result<Answer, Error> {
        use std::os::unix::process::ExitStatusExt;
        if let Some(answer) = serde_json::from_slice(&said.answer)
            .ok()
            .filter(|_| said.status.success())
        {
            return Ok(answer);
        }
        let words = crate::base::text::tame(String::from_utf8_lossy(&said.words).trim());
        match said.status.signal() {
            Some(signal) if signal == Signal::XCPU.as_raw() => Err(Error::Processor {
                what,
                most: self.bounds.processor,
            }),
            _ if OUT_OF_MEMORY.iter().any(|said| words.contains(said)) => Err(Error::Memory {
                what,
                most: self.bounds.memory,
            }),
            _ => Err(Error::Broken {
                what,
                status: said.status,
                words,
            }),
        }
    }
}

/// What a process has said by its end.
struct Said {
    status: ExitStatus,
    answer: Vec<u8>,
    words: Vec<u8>,
}

async fn converse(child: &mut Child, order: &Order, bytes: &[u8]) -> std::io::Result<Said> {
    let missing = || std::io::Error::other("a pipe is missing");
    let mut input = child.stdin.take().ok_or_else(missing)?;
    let (output, errors) = (
        child.stdout.take().ok_or_else(missing)?,
        child.stderr.take().ok_or_else(missing)?,
    );
    let mut head = serde_json::to_vec(order)?;
    head.push(b'\n');
    let tell = async {
        input.write_all(&head).await?;
        input.write_all(bytes).await?;
        input.flush().await
    };
    // One that ends early reads no more: what it says tells why.
    let (_told, answer, words) = tokio::join!(
        tell,
        hear(output, LONGEST_ANSWER),
        hear(errors, LONGEST_WORDS)
    );
    let status = child.wait().await?;
    // Open until here: its end is how the process learns that this one is gone.
    drop(input);
    Ok(Said {
        status,
        answer,
        words,
    })
}

/// All of it, of which the first part is kept.
async fn hear(from: impl AsyncRead + Unpin, most: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut first = from.take(most);
    if first.read_to_end(&mut kept).await.is_ok() {
        let _rest = tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await;
    }
    kept
}

/// A folder for the code that one process makes, removed with what is left in it.
pub(crate) struct Workshop(PathBuf);

/// Where they lie, below the cache folder.
const WORKSHOPS: &str = "making";

impl Workshop {
    /// # Errors
    /// When it can't be made.
    pub(crate) fn open(cache: &Path) -> std::io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        crate::base::files::private_folder(&cache.join(WORKSHOPS).join(name)).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes those of processes that are gone.
    pub(crate) fn tidy(cache: &Path) {
        for entry in std::fs::read_dir(cache.join(WORKSHOPS))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let owner = name
                .to_str()
                .and_then(|name| name.split_once('-'))
                .and_then(|(pid, _)| rustix::process::Pid::from_raw(pid.parse().ok()?));
            let own = owner
                .is_some_and(|pid| pid.as_raw_nonzero().get().unsigned_abs() == std::process::id());
            let runs = owner.is_some_and(|pid| {
                rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
            });
            if own || !runs {
                let _next_time = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        let remove = move || drop(std::fs::remove_dir_all(path));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
