//! `simulate`: a trace against recorded offers, with a policy's component. It needs no daemon.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Serialize;
use tradewind_core::{
    failure::Failure,
    names::InstanceName,
    placement::{Answer, Request},
    plugin::{Identity, Policy},
};
use tradewind_simulate::{self as simulate, Options, Outcome, Summary, alibaba, offers, trace};
use tradewind_wasm::Compiling;

use super::author::{compile_cache, compiling};
use super::{Error, render};
use tradewind_cli::{
    args::{Globals, Simulate, SimulateCommand, SimulateRun, TraceSource},
    output::Output,
};

/// What is printed: the only part that depends on the machine is the speed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Printed<'a> {
    #[serde(flatten)]
    pub summary: &'a Summary,
    pub speed: Speed,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Speed {
    /// Of the simulation, without reading and writing files.
    pub seconds: f64,
    pub simulated_hours_per_second: f64,
    pub decisions_per_second: f64,
    /// Microseconds of one policy call.
    pub policy_p50_micros: u64,
    pub policy_p99_micros: u64,
}

pub fn run(globals: &Globals, args: Simulate) -> Result<(), Error> {
    let output = Output::new(globals);
    match args.command {
        Some(SimulateCommand::Convert { from, file, out }) => convert(&output, from, &file, out),
        None => simulate(globals, &output, args.run),
    }
}

fn simulate(globals: &Globals, output: &Output, args: SimulateRun) -> Result<(), Error> {
    // The argument parser has seen to it that these are there.
    let named = |file: Option<PathBuf>| file.unwrap_or_default();
    let (trace_file, offers_file, policy_file) =
        (named(args.trace), named(args.offers), named(args.policy));
    let requests = trace::read(open(&trace_file)?).map_err(unusable(&trace_file))?;
    let sets = offers::read(&bytes(&offers_file)?).map_err(unusable(&offers_file))?;
    let options = Options {
        until: args.until,
        batch: args.batch as usize,
        spot: args.spot,
        preempt_across_namespaces: args.preempt_across_namespaces,
        seed: args.seed,
        step: args.step,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(tradewind_cli::Error::Runtime)?;
    let policy = runtime.block_on(load(
        &policy_file,
        args.settings.as_deref(),
        compiling(globals)?,
    ))?;
    let timed = Timed {
        policy,
        calls: Mutex::default(),
    };
    let begun = Instant::now();
    let outcome = runtime.block_on(simulate::run(&requests, &sets, &timed, &options))?;
    let speed = timed.speed(begun.elapsed(), &outcome);
    if let Some(path) = &args.csv {
        write(path, |file| outcome.csv(file).map_err(io::Error::other))?;
    }
    if let Some(path) = &args.chart {
        write(path, |file| {
            file.write_all(outcome.chart().svg().as_bytes())
        })?;
    }
    let printed = Printed {
        summary: &outcome.summary,
        speed,
    };
    Ok(output.show(&printed, |out| render::simulate::summary(out, &printed))?)
}

fn convert(
    output: &Output,
    from: TraceSource,
    file: &Path,
    out: Option<PathBuf>,
) -> Result<(), Error> {
    let TraceSource::AlibabaGpu2020 = from;
    let table = open(file)?;
    let Some(out) = out else {
        let done = alibaba::convert(table, io::stdout().lock()).map_err(unusable(file))?;
        // The output is the trace; the counts go beside it.
        let _ = writeln!(io::stderr(), "{}", render::simulate::converted(&done));
        return Ok(());
    };
    let mut done = Ok(alibaba::Converted::default());
    write(&out, |to| {
        done = alibaba::convert(table, to);
        Ok(())
    })?;
    let done = done.map_err(unusable(file))?;
    Ok(output.show(&done, |_| render::simulate::converted(&done))?)
}

async fn load(
    path: &Path,
    settings: Option<&Path>,
    compiling: Compiling,
) -> Result<Arc<dyn Policy>, Error> {
    let component = bytes(path)?;
    let text = settings.map(bytes).transpose()?;
    // As in the plugin folder: an instance is called what its file is called.
    let stem = settings
        .unwrap_or(path)
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    let name = stem.parse::<InstanceName>().or_else(|_| "policy".parse());
    let name = name.map_err(|e| tradewind_cli::Error::Argument {
        what: "the policy's name",
        value: stem.to_owned(),
        rule: e.to_string(),
    })?;
    let loaded = tradewind_wasm::policy(
        name,
        component,
        text.as_deref(),
        compile_cache()?,
        compiling,
    )
    .await;
    loaded.map_err(|e| match (e, settings) {
        (e @ tradewind_wasm::StandaloneError::InstanceFile(_), Some(settings)) => {
            unusable(settings)(e)
        }
        (e, _) => unusable(path)(e),
    })
}

fn unusable<E: std::error::Error + Send + Sync + 'static>(path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    move |e| Error::Input {
        path,
        source: Box::new(e),
    }
}

fn open(path: &Path) -> Result<Box<dyn Read>, Error> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|source| tradewind_cli::Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Box::new(BufReader::new(file)))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    open(path)?
        .read_to_end(&mut bytes)
        .map_err(|source| tradewind_cli::Error::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(bytes)
}

fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let written = File::create(path).map(BufWriter::new).and_then(|mut file| {
        content(&mut file)?;
        file.flush()
    });
    Ok(written.map_err(|source| tradewind_cli::Error::Write {
        path: path.to_owned(),
        source,
    })?)
}

/// A policy whose calls are timed: the simulation itself has no clock but its own.
struct Timed {
    policy: Arc<dyn Policy>,
    /// Microseconds.
    calls: Mutex<Vec<u64>>,
}

#[async_trait]
impl Policy for Timed {
    fn identity(&self) -> &Identity {
        self.policy.identity()
    }

    async fn place(&self, request: &Request) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let answer = self.policy.place(request).await;
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.calls.lock().push(took);
        answer
    }
}

impl Timed {
    fn speed(self, took: Duration, outcome: &Outcome) -> Speed {
        let mut calls = self.calls.into_inner();
        calls.sort_unstable();
        let quantile = |percent: usize| {
            calls
                .get((calls.len() * percent / 100).min(calls.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        let seconds = took.as_secs_f64();
        let per_second = |n: f64| if seconds > 0.0 { n / seconds } else { 0.0 };
        Speed {
            seconds,
            simulated_hours_per_second: per_second(outcome.summary.time.hours()),
            decisions_per_second: per_second(outcome.summary.decisions as f64),
            policy_p50_micros: quantile(50),
            policy_p99_micros: quantile(99),
        }
    }
}
