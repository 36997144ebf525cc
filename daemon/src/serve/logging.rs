//! Where log lines go: standard error, as text for people or JSON for programs. Whoever logs is never held up and never fails: a thread of its
//! own writes, and what standard error does not take is dropped and counted.

mod buffer;

use std::{
    io::{self, IsTerminal},
    panic::PanicHookInfo,
    sync::OnceLock,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt, util::TryInitError,
};

use self::buffer::Buffer;
use tradewind_config::{Log, LogFormat};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the setting \"log.level\" can't be used")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("a log is set up already")]
    Twice(#[from] TryInitError),
    #[error("the log's thread can't be started")]
    Thread(#[source] io::Error),
}

type SetLevel = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// A process has one log.
static BUFFER: OnceLock<Buffer> = OnceLock::new();
static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// How long the end of the process waits for the last lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Sets up the log, and has panics told in it.
///
/// # Errors
/// A level that can't be understood, or a thread that can't be started.
pub fn start(log: &Log) -> Result<(), Error> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_new(&log.level)?;
    let buffer = Buffer::start(io::stderr()).map_err(Error::Thread)?;
    let lines = BUFFER.get_or_init(|| buffer);
    // A failure to write must not be told by writing, and telling it must not panic.
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(move || lines)
        .log_internal_errors(false);
    let set_level: SetLevel = match log.format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().with(filter_fn(is_harmless)).try_init()?;
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
        LogFormat::Text => {
            let colours = io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let builder = builder.with_ansi(colours).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().with(filter_fn(is_harmless)).try_init()?;
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
    };
    let _ = SET_LEVEL.set(set_level);
    std::panic::set_hook(Box::new(tell_panic));
    Ok(())
}

/// Puts another level into force.
///
/// # Errors
/// A level that can't be understood; the one before stays.
pub fn set_level(level: &str) -> Result<(), Error> {
    let filter = EnvFilter::try_new(level)?;
    // It fails only when the log is gone.
    let _set = SET_LEVEL.get().is_some_and(|set| set(filter));
    Ok(())
}

/// Waits, for a second at most, until what was logged has been written.
pub fn flush() {
    if let Some(buffer) = BUFFER.get() {
        buffer.flush(LAST_WORDS);
    }
}

/// Lines that standard error did not take, since the start.
pub fn dropped() -> u64 {
    BUFFER.get().map_or(0, Buffer::dropped)
}

fn tell_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    // Empty unless RUST_BACKTRACE asks for it.
    let backtrace = std::backtrace::Backtrace::capture();
    let shown = matches!(
        backtrace.status(),
        std::backtrace::BacktraceStatus::Captured
    )
    .then(|| backtrace.to_string());
    tracing::error!(
        panic = text.unwrap_or("without a message"),
        place,
        thread = thread.name().unwrap_or_default(),
        backtrace = shown,
        "the daemon's code panicked"
    );
}

/// Whatever level is asked for: below `info` the client of container engines writes down what it sends, secrets of workloads among it.
fn is_harmless(what: &Metadata<'_>) -> bool {
    *what.level() <= Level::INFO || !what.target().starts_with("bollard")
}
