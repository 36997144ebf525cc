//! The collector: one small process for all replicas of a daemon, which copies their output out of pipes into files that it keeps within
//! their size at every moment. It is started by the daemon and outlives it, as replicas do; the next daemon's collector takes its place.
//!
//! It is told on its standard input what to follow, and ends when that has ended and everything it follows as well.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::pipe},
    sync::mpsc,
    task::LocalSet,
};
use tradewind_core::workload::Output;

use super::{super::folder::Folder, OUTPUTS, kept, make_room, pipes};

/// The hidden command of the daemon's program that runs a collector.
pub const COMMAND: &str = "collect-output";
/// Held by the collector of a folder. It has the collector's process id in it.
const LOCK: &str = ".output-collector";
/// Copied at once.
const CHUNK: usize = 64 << 10;
/// Copied of one output before others have their turn, and at most by a drain: no pipe holds more.
const TURN: usize = 1 << 20;
/// Between two tries to open pipes.
const AGAIN: Duration = Duration::from_secs(1);
/// How long an earlier collector may take to write down what is in the pipes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a daemon says, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// Copy the output of the process in this folder; its files may hold so many bytes together. Answered with the number and a newline once
    /// its pipes are open: what is written into a pipe that nobody has open is lost.
    Follow { folder: PathBuf, size: u64, id: u64 },
    /// Copy what is in the pipes now, then answer with the number and a newline.
    Drain { folder: PathBuf, id: u64 },
    /// The process is gone, and its folder as well.
    Forget { folder: PathBuf },
}

enum Job {
    Size(u64, u64),
    Drain(u64),
}

/// What all copies share.
struct Work {
    /// With a number that tells a copy from a later one of the same folder.
    followed: RefCell<HashMap<PathBuf, (u64, mpsc::UnboundedSender<Job>)>>,
    copies: Cell<u64>,
    answers: mpsc::UnboundedSender<u64>,
    /// Closed when the process is told to end: what is in the pipes is copied first.
    ending: tokio_util::sync::CancellationToken,
}

impl Work {
    /// A copy of this number is no more.
    fn ended(&self, folder: &Path, number: u64) {
        let mut followed = self.followed.borrow_mut();
        if followed
            .get(folder)
            .is_some_and(|(other, _)| *other == number)
        {
            followed.remove(folder);
        }
    }
}

/// Collects for the daemon at the other end of the standard input, and returns when there is nothing more to collect. Blocks.
///
/// # Errors
/// The folder can't be used, or there is no daemon.
pub fn collect(root: &Path) -> io::Result<()> {
    let _lock = take_over(root)?;
    // What replicas wait for is ended last when memory is short. Only root may say so.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-500");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let set = LocalSet::new();
    set.block_on(&runtime, serve())
}

/// Waits until nobody else copies: an earlier collector is told to end. Two would mix up what they copy.
fn take_over(root: &Path) -> io::Result<File> {
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(root.join(LOCK))?;
    let until = Instant::now() + PATIENCE;
    let mut told = None;
    while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(error.into());
        }
        let late = Instant::now() > until;
        let other = std::fs::read_to_string(root.join(LOCK))
            .ok()
            .and_then(|text| text.trim().parse::<i32>().ok());
        // Asked again and again: the one before may be about to take over itself.
        if let Some(pid) = other
            .filter(|pid| (late || told != Some(*pid)) && is_collector(*pid))
            .and_then(super::super::proc::pid)
        {
            let _ =
                rustix::process::kill_process(pid, if late { Signal::KILL } else { Signal::TERM });
            told = other;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    Ok(lock)
}

fn is_collector(pid: i32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command
        .split(|b| *b == 0)
        .any(|word| word == COMMAND.as_bytes())
}

async fn serve() -> io::Result<()> {
    let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    let (orders, mut replies) = UnixStream::from_std(stream)?.into_split();
    let (answers, mut answered) = mpsc::unbounded_channel::<u64>();
    let work = Rc::new(Work {
        followed: RefCell::default(),
        copies: Cell::default(),
        answers,
        ending: tokio_util::sync::CancellationToken::new(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    let mut lines = Some(BufReader::new(orders).lines());
    let mut ends = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            line = next_line(&mut lines) => match line {
                Some(line) => {
                    if let Ok(order) = serde_json::from_str(&line) {
                        take(&work, order, &mut tasks);
                    }
                }
                None => lines = None,
            },
            Some(id) = answered.recv() => {
                // A daemon that has gone needs no answer.
                let _ = replies.write_all(format!("{id}\n").as_bytes()).await;
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            _ = ends.recv() => {
                work.ending.cancel();
                while tasks.join_next().await.is_some() {}
                return Ok(());
            }
        }
        if lines.is_none() && tasks.is_empty() {
            return Ok(());
        }
    }
}

/// None when the daemon has gone.
async fn next_line(
    lines: &mut Option<tokio::io::Lines<BufReader<tokio::net::unix::OwnedReadHalf>>>,
) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

fn take(work: &Rc<Work>, order: Order, tasks: &mut tokio::task::JoinSet<()>) {
    let send = |folder: &Path, job: Job| -> Result<(), Job> {
        match work.followed.borrow().get(folder) {
            Some((_, jobs)) => jobs.send(job).map_err(|e| e.0),
            None => Err(job),
        }
    };
    match order {
        Order::Forget { folder } => {
            work.followed.borrow_mut().remove(&folder);
        }
        Order::Drain { folder, id } => {
            if send(&folder, Job::Drain(id)).is_err() {
                let _ = work.answers.send(id);
            }
        }
        Order::Follow { folder, size, id } => {
            if send(&folder, Job::Size(size, id)).is_ok() {
                return;
            }
            let (jobs, queue) = mpsc::unbounded_channel();
            let number = work.copies.get() + 1;
            work.copies.set(number);
            work.followed
                .borrow_mut()
                .insert(folder.clone(), (number, jobs));
            tasks.spawn_local(follow(folder, (size, id), number, work.clone(), queue));
        }
    }
}

/// Copies until nobody can write any more. Nobody is left waiting because a descriptor could not be had at first.
async fn follow(
    folder: PathBuf,
    (size, id): (u64, u64),
    number: u64,
    work: Rc<Work>,
    queue: mpsc::UnboundedReceiver<Job>,
) {
    loop {
        match Copy::open(Folder::at(folder.clone()), size) {
            Ok(copy) => {
                let _ = work.answers.send(id);
                return copy.run(number, work, queue).await;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
    let _ = work.answers.send(id);
    work.ended(&folder, number);
}

/// The output of one process on its way into its files.
struct Copy {
    folder: Folder,
    size: u64,
    /// How many bytes more the files may hold.
    room: u64,
    pipes: [Option<pipe::Receiver>; 2],
    buffer: Vec<u8>,
}

/// What came of a turn of copying.
#[derive(PartialEq, Eq)]
enum Turn {
    /// The pipe is empty.
    Empty,
    /// There is more.
    More,
    /// Nobody can write any more.
    Over,
}

impl Copy {
    fn open(folder: Folder, size: u64) -> io::Result<Self> {
        let receiver =
            |output| pipe::OpenOptions::new().open_receiver(pipes::path(&folder, output));
        let pipes = [
            Some(receiver(Output::Stdout)?),
            Some(receiver(Output::Stderr)?),
        ];
        let room = size.saturating_sub(kept(&folder)?);
        Ok(Self {
            folder,
            size,
            room,
            pipes,
            buffer: Vec::new(),
        })
    }

    async fn run(mut self, number: u64, work: Rc<Work>, mut jobs: mpsc::UnboundedReceiver<Job>) {
        while self.pipes.iter().any(Option::is_some) {
            let [first, second] = &self.pipes;
            let ready = tokio::select! {
                () = readable(first) => 0,
                () = readable(second) => 1,
                job = jobs.recv() => match job {
                    Some(job) => {
                        self.see_to(job, &work);
                        continue;
                    }
                    // Forgotten.
                    None => break,
                },
                () = work.ending.cancelled() => {
                    self.drain();
                    break;
                }
            };
            let turn = self.turn(ready, TURN);
            if turn == Turn::Over
                && let Some(pipe) = self.pipes.get_mut(ready)
            {
                *pipe = None;
            }
            if turn != Turn::More {
                // Most write little: thousands of them hold no memory.
                self.buffer = Vec::new();
            }
            tokio::task::yield_now().await;
        }
        // From here on a new run of the same process is followed anew: nothing comes between this and the last look at the pipes.
        work.ended(self.folder.path(), number);
        jobs.close();
        while let Ok(job) = jobs.try_recv() {
            self.see_to(job, &work);
        }
    }

    fn see_to(&mut self, job: Job, work: &Work) {
        match job {
            Job::Size(size, id) => {
                self.size = size;
                self.room = 0;
                // Those that nobody could write to any more: the next run does.
                for (pipe, output) in self
                    .pipes
                    .iter_mut()
                    .zip(OUTPUTS)
                    .filter(|(pipe, _)| pipe.is_none())
                {
                    *pipe = pipe::OpenOptions::new()
                        .open_receiver(pipes::path(&self.folder, output))
                        .ok();
                }
                let _ = work.answers.send(id);
            }
            Job::Drain(id) => {
                self.drain();
                let _ = work.answers.send(id);
            }
        }
    }

    /// Copies what is there now.
    fn drain(&mut self) {
        for i in 0..self.pipes.len() {
            self.turn(i, TURN);
        }
    }

    /// Copies at most so many bytes.
    fn turn(&mut self, i: usize, most: usize) -> Turn {
        let Some(Some(pipe)) = self.pipes.get(i) else {
            return Turn::Empty;
        };
        let Some(output) = OUTPUTS.get(i).copied() else {
            return Turn::Empty;
        };
        // Little of what may be kept at once.
        let chunk = usize::try_from(self.size / 4)
            .unwrap_or(CHUNK)
            .clamp(1 << 10, CHUNK);
        self.buffer.resize(chunk, 0);
        let mut copied = 0;
        let mut file = None;
        while copied < most {
            let read = match pipe.try_read(&mut self.buffer) {
                Ok(0) => return Turn::Over,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Empty,
                Err(_) => return Turn::Over,
            };
            copied += read;
            let bytes = self.buffer.get(..read).unwrap_or_default();
            if self.room < read as u64 {
                // On an error nothing is written: the files must not outgrow their size.
                let Ok(room) = make_room(&self.folder, self.size, read as u64) else {
                    continue;
                };
                // Where less may be kept than a few blocks, the newest are kept all the same.
                self.room = room.max(read as u64);
            }
            if file.is_none() {
                file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o600)
                    .open(self.folder.output(output))
                    .ok();
            }
            // What finds no room on the disk is lost: whoever wrote it must not wait for room.
            if file
                .as_mut()
                .is_some_and(|file: &mut File| file.write_all(bytes).is_ok())
            {
                self.room -= read as u64;
            }
        }
        Turn::More
    }
}

async fn readable(pipe: &Option<pipe::Receiver>) {
    match pipe {
        // An error shows when it is read.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}
