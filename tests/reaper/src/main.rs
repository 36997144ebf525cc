//! `reaper COMMAND ARGUMENT…` runs a command and fails when a process that it has started is left. What is left is named, then killed.
//!
//! On Linux every process whose parent has ended becomes a child of the nearest ancestor that is a *child subreaper*: of this one, whatever the
//! session, the environment and the folder of the process are. So nothing escapes it, and it sees nothing of other runs. Elsewhere it only runs
//! the command.

mod left;

use std::{
    env, io,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait},
};

/// What is ending when the command ends may do so.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// As shells and `env` answer for a command that could not be run.
const NOT_RUN: u8 = 125;

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("reaper: {error}");
        ExitCode::from(NOT_RUN)
    })
}

fn run() -> io::Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let program = arguments
        .next()
        .ok_or_else(|| io::Error::other("usage: reaper COMMAND ARGUMENT…"))?;
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let child = Command::new(&program).args(arguments).spawn();
    let child = child
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    let command = Pid::from_child(&child);
    let code = loop {
        if let Some((ended, status)) = retried(WaitOptions::empty())?
            && ended == command
        {
            break code(status);
        }
    };
    if !anything_left(GRACE)? {
        return Ok(ExitCode::from(code));
    }
    eprintln!("reaper: {} has left", program.display());
    for process in left::descendants() {
        eprintln!("  {process}");
    }
    end()?;
    Ok(ExitCode::from(code.max(1)))
}

/// The exit code, or as shells answer for a signal.
fn code(status: WaitStatus) -> u8 {
    let signal = || status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or_else(signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn retried(options: WaitOptions) -> rustix::io::Result<Option<(Pid, WaitStatus)>> {
    loop {
        match wait(options) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether there still is a process of ours after so long. Those that have ended are waited for.
fn anything_left(grace: Duration) -> rustix::io::Result<bool> {
    let since = Instant::now();
    loop {
        match retried(WaitOptions::NOHANG) {
            Err(Errno::CHILD) => return Ok(false),
            Err(error) => return Err(error),
            Ok(Some(_)) => {}
            Ok(None) if left::descendants().is_empty() => return Ok(false),
            Ok(None) if since.elapsed() >= grace => return Ok(true),
            Ok(None) => std::thread::sleep(PAUSE),
        }
    }
}

/// Kills all that is left: the children of one that is killed become ours.
fn end() -> rustix::io::Result<()> {
    let since = Instant::now();
    while since.elapsed() < GRACE {
        for process in left::descendants() {
            // It may have ended meanwhile.
            let _ = kill_process(process.pid, Signal::KILL);
        }
        if !anything_left(PAUSE)? {
            break;
        }
    }
    Ok(())
}
