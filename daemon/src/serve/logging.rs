//! Where log lines go: standard error, as text for people or JSON for programs.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt, util::TryInitError};

use crate::config::{Log, LogFormat};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the setting \"log.level\" can't be used")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("a log is set up already")]
    Twice(#[from] TryInitError),
}

/// # Errors
/// A level that can't be understood.
pub fn start(log: &Log) -> Result<(), Error> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_new(&log.level)?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Json => builder.json().flatten_event(true).finish().with(filter_fn(is_harmless)).try_init()?,
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            builder.with_ansi(colours).finish().with(filter_fn(is_harmless)).try_init()?;
        }
    }
    Ok(())
}

/// Whatever level is asked for: below `info` the client of container engines writes down what it sends, secrets of workloads among it.
fn is_harmless(what: &Metadata<'_>) -> bool {
    *what.level() <= Level::INFO || !what.target().starts_with("bollard")
}
