//! Sessions with replicas: `exec`, `port-forward` and `cp`.

use clap::Args;

/// Which replica of a deployment.
#[derive(Debug, Args)]
pub struct ReplicaArgs {
    /// The task. Default: the only one
    #[arg(long)]
    pub task: Option<String>,
    /// The replica's index in its allocation. Default: the first that runs
    #[arg(long)]
    pub replica: Option<u32>,
    /// The allocation, by its id. Default: one that stays
    #[arg(long, value_name = "ID")]
    pub allocation: Option<String>,
}

#[derive(Debug, Args)]
pub struct Exec {
    /// The deployment
    pub name: String,
    #[command(flatten)]
    pub replica: ReplicaArgs,
    /// Pass standard input on. Default: where it is a terminal
    #[arg(short, long)]
    pub interactive: bool,
    /// Run the command at a terminal. Default: where standard input and output are one
    #[arg(short, long)]
    pub tty: bool,
    /// Run the command without a terminal, wherever this one runs
    #[arg(short = 'T', long, conflicts_with = "tty")]
    pub no_tty: bool,
    /// The program and its arguments, behind `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PortForward {
    /// The deployment
    pub name: String,
    /// Ports, as `[LOCAL:]PORT`: the name or the number of a port that the task declares, and the number
    /// on this machine. Default: the same number, or a free one for a name. `0`: a free one
    #[arg(required = true, value_name = "PORT")]
    pub ports: Vec<String>,
    #[command(flatten)]
    pub replica: ReplicaArgs,
    /// The address of this machine to listen at
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub address: std::net::IpAddr,
}

#[derive(Debug, Args)]
pub struct Copy {
    /// What is copied: a path of this machine, or `NAME:PATH` of a deployment. `FOLDER/.` is what is in
    /// it. `-`: a tar archive on standard input
    pub source: String,
    /// Where to: a path of this machine, or `NAME:PATH` of a deployment. Into a folder that is there, else
    /// under this name. `-`: a tar archive on standard output
    pub destination: String,
    #[command(flatten)]
    pub replica: ReplicaArgs,
}
