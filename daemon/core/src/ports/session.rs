//! Sessions with replicas: a command beside a workload, a connection to one of its ports, files from and to it. Whoever starts workloads opens
//! them, since it knows by its own marks which process, container or pod a replica is: no plugin is asked, and none can answer for another's.

use futures::channel::mpsc;

use crate::{
    base::{
        failure::{Failure, UNSUPPORTED},
        names::{AllocationId, Namespace},
    },
    spec::workload::{Port, Protocol},
};

/// Messages that wait to be taken, in each direction. Whoever sends more waits.
const WAITING: usize = 16;
/// The most bytes of one message.
pub const CHUNK: usize = 32 << 10;

/// One replica of an allocation, as the controller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRef {
    /// Whose it is.
    pub namespace: Namespace,
    /// The allocation.
    pub allocation: AllocationId,
    /// Its index in the allocation, from 0.
    pub index: u32,
    /// The cloud's own name for it, as its provider has reported it: to be held against the marks that it bears.
    pub id: String,
    /// The ports that its workload declares: no other is reached.
    pub ports: Vec<Port>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What a session is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Runs a command beside the workload: as its user, with its variables and limits, in its folder.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
        /// Whether it gets input. Without it, its input is empty.
        input: bool,
        /// It runs at a terminal of this size. Its errors come with its output then.
        terminal: Option<Size>,
    },
    /// Connects to a TCP port that the workload declares.
    Connect {
        /// The port's name.
        port: String,
    },
    /// Reads a file or folder, as a tar archive whose entries begin with its last name.
    Read {
        /// Absolute, or from the folder in which the workload runs.
        path: String,
    },
    /// Unpacks a tar archive.
    Write {
        /// The folder: absolute, or from the folder in which the workload runs. It exists.
        path: String,
    },
}

/// What goes to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes of its input.
    Data(Vec<u8>),
    /// The input ends.
    End,
    /// The terminal has another size.
    Resize(Size),
}

/// What comes from a replica.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Bytes of its output.
    Stdout(Vec<u8>),
    /// Bytes of its errors.
    Stderr(Vec<u8>),
    /// It is over. Nothing follows.
    End(Ended),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// The command ended with this code; a signal counts as 128 and its number. Of other sessions: 0.
    Code(i32),
    /// It broke off.
    Failed(Box<Failure>),
}

/// An open session. It ends, with what it has started, once both of its channels are dropped.
#[derive(Debug)]
pub struct Session {
    /// To the replica.
    pub input: mpsc::Sender<Input>,
    /// From the replica.
    pub output: mpsc::Receiver<Output>,
}

/// The other end of a session: what whoever opens it holds.
#[derive(Debug)]
pub struct Served {
    /// From the client. It ends when the client has gone.
    pub input: mpsc::Receiver<Input>,
    /// To the client. It fails when the client has gone.
    pub output: mpsc::Sender<Output>,
}

impl std::fmt::Display for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exec { .. } => "run a command beside a workload",
            Self::Connect { .. } => "connect to a replica's port",
            Self::Read { .. } => "read a replica's files",
            Self::Write { .. } => "write into a replica's files",
        })
    }
}

impl Session {
    /// A session and its other end.
    pub fn pair() -> (Self, Served) {
        let (to, input) = mpsc::channel(WAITING);
        let (output, from) = mpsc::channel(WAITING);
        (
            Self {
                input: to,
                output: from,
            },
            Served { input, output },
        )
    }
}

impl ReplicaRef {
    /// The port of this name or number, if connections can be made to it.
    ///
    /// # Errors
    /// `invalid`: there is none, with the names that there are, or it speaks UDP.
    pub fn tcp_port(&self, name: &str) -> Result<&Port, Failure> {
        let port = self.port(name)?;
        if port.protocol == Protocol::Udp {
            let message = format!(
                "the port \"{}\" speaks UDP: only TCP can be forwarded",
                port.name
            );
            return Err(Failure::invalid(message).field("port"));
        }
        Ok(port)
    }

    fn port(&self, name: &str) -> Result<&Port, Failure> {
        let by_name = self.ports.iter().find(|p| p.name == name);
        let number = name.parse::<u16>().ok().filter(|number| *number != 0);
        let by_number = || {
            let is =
                |p: &&Port| Some(p.number) == number || p.published == number && number.is_some();
            self.ports.iter().find(is)
        };
        by_name.or_else(by_number).ok_or_else(|| {
            let names: Vec<String> = self
                .ports
                .iter()
                .map(|p| format!("\"{}\"", p.name))
                .collect();
            let known = if names.is_empty() {
                "it declares none".to_owned()
            } else {
                format!("it declares {}", names.join(", "))
            };
            Failure::invalid(format!(
                "the workload has no port \"{}\": {known}",
                name.escape_debug()
            ))
            .field("port")
        })
    }
}

/// The refusal of a session by who can't open any of its kind.
pub fn unsupported(what: &Opening) -> Failure {
    Failure::invalid(format!("this provider can't {what}"))
        .code(UNSUPPORTED)
        .remedy("sessions are there where the daemon itself starts what runs: processes, containers and Kubernetes")
}
