//! What can be typed at `dev` and `init`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Dev {
    /// The port of the API on 127.0.0.1. Default: a free one
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Keep the folder of the daemon at the end. With `--data`, it is kept anyway. Default: it is
    /// removed
    #[arg(long)]
    pub keep: bool,
}

#[derive(Debug, Args)]
pub struct Init {
    /// The folder. It is made if it is missing. A file that exists is never overwritten
    #[arg(default_value = "tradewind", value_name = "DIR")]
    pub folder: PathBuf,
}
