//! A command beside a process: found by the grant, with the process's variables, in its folder, as its user, in its control group. What it
//! leaves behind ends with it.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::{SinkExt, channel::mpsc};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
    task::JoinSet,
};
use tradewind_core::{
    failure::Failure,
    grant::ProcessGrant,
    session::{Ended, Output, Served, Session, Size},
};

use super::{mark, terminal::Terminal, tool};
use crate::{
    process::{
        Shared,
        census::MARK,
        check::{self, Host},
        confine::{self, Plan},
        folder::Record,
        launch,
        slot::Slot,
    },
    session::{Gone, Stream, feed, tell},
};

/// What was written before the end is still told, for so long at most: something that the command has left may hold its output open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Gives a program a terminal of its own (of util-linux, and of BusyBox).
const LEADER: &str = "setsid";

/// What is run for a session.
pub(super) struct Asked {
    /// An absolute path.
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) directory: PathBuf,
    pub(super) plan: Plan,
    pub(super) environment: Environment,
    /// It gets input.
    pub(super) input: bool,
    pub(super) terminal: Option<Size>,
}

/// Which variables it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Environment {
    /// Those of the process.
    Replica,
    /// None of the process's, which would tell a program of the machine's what to do.
    Machine,
}

/// Runs a command that the grant allows.
pub(super) async fn open(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    grant: &ProcessGrant,
    command: Vec<String>,
    (input, terminal): (bool, Option<Size>),
) -> Result<Session, Failure> {
    let (inner, of, grant) = (shared.clone(), slot.clone(), grant.clone());
    let found = move || -> Result<Asked, Failure> {
        let hidden = confine::real(&inner.hidden());
        let host = Host {
            search: &inner.search,
            hidden: &hidden,
            landlock: inner.landlock,
        };
        let program = check::program(&grant, &command, host, "command")?;
        let record = of.state().record.clone();
        let directory = record.prepared.directory.clone();
        Ok(Asked {
            program,
            arguments: command.into_iter().skip(1).collect(),
            directory: directory.unwrap_or_else(|| of.folder.work()),
            plan: inner.plan(&of.folder, &record),
            environment: Environment::Replica,
            input,
            terminal,
        })
    };
    let asked = blocking(found).await?;
    run(shared, slot, asked).await
}

/// Starts what is asked for, and passes on what it reads and writes.
pub(super) async fn run(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    asked: Asked,
) -> Result<Session, Failure> {
    let (inner, of, runtime) = (shared.clone(), slot.clone(), Handle::current());
    let (child, terminal, mark) = blocking(move || start(&inner, &of, &runtime, &asked)).await?;
    let (session, served) = Session::pair();
    shared.keepers.spawn_on(
        attend(shared.clone(), child, terminal, mark, served),
        &shared.runtime,
    );
    Ok(session)
}

/// Blocks.
fn start(
    shared: &Shared,
    slot: &Slot,
    runtime: &Handle,
    asked: &Asked,
) -> Result<(Child, Option<Terminal>, String), Failure> {
    let record: Record = slot.state().record.clone();
    let variables = match asked.environment {
        Environment::Replica => {
            let secrets = shared.options.secrets.as_deref();
            launch::surroundings(&slot.folder, &record, secrets, &shared.search)?.env
        }
        Environment::Machine => vec![
            ("PATH".to_owned(), shared.search.clone().into()),
            ("LC_ALL".to_owned(), "C".into()),
        ],
    };
    let failed = |e: io::Error| launch::explain(&e, "the command can't be started");
    let mark = mark(&record.run_mark());
    let (terminal, seat) = match asked.terminal {
        Some(size) => {
            let (terminal, seat) = Terminal::open(size, asked.plan.ids, runtime).map_err(failed)?;
            (Some(terminal), Some(seat))
        }
        None => (None, None),
    };
    let mut command = match &seat {
        Some(_) => {
            let leader = tool(&shared.search, LEADER, "gives a command a terminal")?;
            let mut command = Command::new(leader);
            command.arg("-c").arg(&asked.program);
            command
        }
        None => {
            let mut command = Command::new(&asked.program);
            command.process_group(0);
            command
        }
    };
    command
        .args(&asked.arguments)
        .env_clear()
        .envs(variables.iter().map(|(k, v)| (k, v)))
        .env(MARK, &mark)
        .current_dir(&asked.directory)
        .kill_on_drop(true);
    match seat {
        Some(seat) => {
            let copy = || seat.try_clone().map(Stdio::from).map_err(failed);
            if !variables.iter().any(|(name, _)| name == "TERM") {
                command.env("TERM", "xterm-256color");
            }
            command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
        }
        None => {
            let input = if asked.input {
                Stdio::piped()
            } else {
                Stdio::null()
            };
            command
                .stdin(input)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
        }
    }
    if let Some(ids) = asked.plan.ids {
        command.gid(ids.gid).uid(ids.uid);
    }
    let child = shared
        .reserve
        .spend(|| {
            confine::run(&asked.plan, || {
                let _inside = runtime.enter();
                command.spawn()
            })
        })
        .map_err(failed)?;
    if let (Some(group), Some(pid)) = (&record.group, child.id()) {
        join_group(group, pid);
    }
    Ok((child, terminal, mark))
}

/// What the command uses counts as its replica's, from now on.
fn join_group(group: &Path, pid: u32) {
    let joined = OpenOptions::new()
        .write(true)
        .open(group.join("cgroup.procs"))
        .and_then(|mut procs| procs.write_all(pid.to_string().as_bytes()));
    if let Err(error) = joined {
        tracing::debug!(group = %group.display(), %error, "a session's command is outside of its replica's control group");
    }
}

/// Until the command has ended, the client has gone, or the daemon stops. Nothing that it started is left then.
async fn attend(
    shared: Arc<Shared>,
    mut child: Child,
    terminal: Option<Terminal>,
    mark: String,
    served: Served,
) {
    let Served { mut input, output } = served;
    let mut told = JoinSet::new();
    let stdin = match &terminal {
        Some(terminal) => {
            told.spawn(tell(terminal.reader(), Stream::Stdout, output.clone()));
            None
        }
        None => {
            if let Some(stdout) = child.stdout.take() {
                told.spawn(tell(stdout, Stream::Stdout, output.clone()));
            }
            if let Some(stderr) = child.stderr.take() {
                told.spawn(tell(stderr, Stream::Stderr, output.clone()));
            }
            child.stdin.take()
        }
    };
    let fed = async {
        match &terminal {
            Some(terminal) => {
                feed(&mut input, Some(terminal.writer()), |size| {
                    terminal.resize(size);
                })
                .await
            }
            None => feed(&mut input, stdin, |_| ()).await,
        }
    };
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        Gone = fed => None,
        () = shared.closing.cancelled() => None,
    };
    if let Some(status) = ended {
        last_words(&mut told, output, status).await;
    }
    drop(told);
    drop(child);
    let _ = tokio::task::spawn_blocking(move || shared.end_marked(&mark)).await;
}

async fn last_words(
    told: &mut JoinSet<io::Result<()>>,
    mut output: mpsc::Sender<Output>,
    status: io::Result<ExitStatus>,
) {
    // A terminal whose last user has gone reads as an error.
    let _ = tokio::time::timeout(LAST_WORDS, async {
        while told.join_next().await.is_some() {}
    })
    .await;
    let ended = match status {
        Ok(status) => Ended::Code(code(status)),
        Err(error) => Ended::Failed(Box::new(Failure::internal(format!(
            "the command can't be waited for: {error}"
        )))),
    };
    let _ = output.send(Output::End(ended)).await;
}

/// As shells count: a signal is 128 and its number.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let signal = || status.signal().map(|signal| 128 + signal);
    status.code().or_else(signal).unwrap_or(1)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        Err(Failure::internal(format!(
            "a session's beginning broke off: {e}"
        )))
    })
}
