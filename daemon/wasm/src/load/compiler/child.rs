//! The process that compiles. It reads one order, does it within the order's limits, says what came of it, and ends. It also ends when its
//! input does: then nobody waits for it any more.

use std::{
    io::{self, BufRead, Read, Write},
    path::Path,
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use tradewind_core::names::Digest;

use super::protocol::{Answer, Order, Task};
use crate::{
    load::{cache::Code, schema},
    runtime::engine::{self, chain},
};

/// The longest first line: a schema and settings at their largest, as JSON in JSON.
const LONGEST_ORDER: u64 = 16 << 20;
/// The most that is taken in advance for bytes that are announced.
const AT_ONCE: u64 = 1 << 20;

/// Does the one order that comes on standard input. For a program that was started for it.
pub fn run() -> ExitCode {
    match follow() {
        Ok(answer) => {
            let mut out = io::stdout().lock();
            let said = serde_json::to_writer(&mut out, &answer)
                .map_err(io::Error::from)
                .and_then(|()| out.flush());
            if said.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn follow() -> io::Result<Answer> {
    let mut input = io::BufReader::new(io::stdin());
    let mut line = Vec::new();
    input
        .by_ref()
        .take(LONGEST_ORDER)
        .read_until(b'\n', &mut line)?;
    let order: Order = serde_json::from_slice(&line)?;
    limit(&order)?;
    let mut bytes =
        Vec::with_capacity(usize::try_from(order.size.min(AT_ONCE)).unwrap_or_default());
    input.by_ref().take(order.size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != order.size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    std::thread::Builder::new()
        .name("end of the input".to_owned())
        .spawn(move || {
            let _end = io::copy(&mut input, &mut io::sink());
            std::process::exit(1);
        })?;
    Ok(match order.task {
        Task::Compile { folder, core_dumps } => {
            match compile(folder.as_deref(), core_dumps, &bytes) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Compile(chain(&error)),
            }
        }
        Task::Settings { schema, settings } => schema::compare(&schema, &settings),
    })
}

/// Of this process. Memory is what can be written to: code and files that are mapped are others' as well.
fn limit(order: &Order) -> io::Result<()> {
    let set = |resource, limit: u64, hard: u64| {
        setrlimit(
            resource,
            Rlimit {
                current: Some(limit),
                maximum: Some(hard),
            },
        )
        .map_err(io::Error::from)
    };
    set(Resource::Core, 0, 0)?;
    set(Resource::Data, order.memory.0, order.memory.0)?;
    let seconds = order.processor.0.div_ceil(1000).max(1);
    set(Resource::Cpu, seconds, seconds + 1)
}

fn compile(folder: Option<&Path>, core_dumps: bool, bytes: &[u8]) -> wasmtime::Result<()> {
    let code = folder.map(Code::open).transpose()?.flatten();
    let engine = wasmtime::Engine::new(&engine::compiler_config(
        core_dumps,
        code.as_ref().map(Code::cache),
    ))?;
    match &code {
        Some(code) => code.component(&engine, Digest::of(bytes), bytes).map(drop),
        None => wasmtime::component::Component::from_binary(&engine, bytes).map(drop),
    }
}
