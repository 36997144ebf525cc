//! The suite as a whole: load, check, clean up, report.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tradewind_core::plugin::Kind;
use tradewind_wasm::{Capabilities, Plugin, PluginSource, StandaloneHost};

use crate::{
    check::{self, Told, passed},
    policy::{self, Judged},
    ports, provider,
    report::Report,
    script::Script,
    subject::Subject,
    tasks::Tasks,
};

/// How the suite runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// What a provider is asked to run. None: the usual plain commands.
    pub tasks: Option<Tasks>,
    /// An earlier version of the component, whose state this one must read.
    pub previous: Option<Arc<[u8]>>,
    /// How long anything may take to become so. Default 60 s.
    pub patience: Duration,
    /// Only these checks, with those that they need. Empty: all.
    pub only: Vec<String>,
    /// What random batches are drawn from.
    pub seed: u64,
}

/// What keeps the suite from being run at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No check has this name.
    #[error("there is no check \"{0}\"")]
    UnknownCheck(String),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tasks: None,
            previous: None,
            patience: Duration::from_secs(60),
            only: Vec::new(),
            seed: 1,
        }
    }
}

const LOADS: (&str, &str) = (
    "loads",
    "the daemon would let it serve: imports, grants, limits, settings",
);

/// A check as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The kind of plugin that it is for.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// What it asks of the plugin.
    pub asks: &'static str,
}

/// Every check there is: a provider's, then a policy's.
pub fn list() -> Vec<Listed> {
    let of = |kind: Kind| move |(name, asks)| Listed { kind, name, asks };
    let provider = provider::checks().into_iter().map(|c| (c.name, c.asks));
    let policy = policy::checks().into_iter().map(|c| (c.name, c.asks));
    let provider = std::iter::once(LOADS)
        .chain(provider)
        .map(of(Kind::Provider));
    provider
        .chain(std::iter::once(LOADS).chain(policy).map(of(Kind::Policy)))
        .collect()
}

/// Makes the checks, and removes what they have made, also when `stop` ends them early. `told` hears of each as soon as it is known.
///
/// # Errors
/// When a check that was asked for does not exist.
pub async fn run(
    bench: &StandaloneHost,
    piece: &PluginSource,
    capabilities: Capabilities,
    options: Options,
    stop: &CancellationToken,
    told: Told<'_>,
) -> Result<Report, Error> {
    let all = list();
    let known = |name: &String| all.iter().any(|listed| listed.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        return Err(Error::UnknownCheck(unknown.clone()));
    }
    let mut report = Report {
        instance: piece.name().to_string(),
        ..Report::default()
    };
    let script = Arc::new(Script::default());
    let lent = ports::behind(&capabilities, &script);
    let begun = Instant::now();
    let (name, asks) = LOADS;
    let loaded = match bench.load(piece, lent.clone()).await {
        Ok(loaded) => loaded,
        Err(error) => {
            let failed = check::checked(name, asks, Err(error.to_string()), begun);
            told(&failed);
            report.add(failed);
            return Ok(report);
        }
    };
    report.is_about(&loaded.about, loaded.digest);
    let is = check::checked(
        name,
        asks,
        passed(format!(
            "it is {} {} {}",
            loaded.about.kind, loaded.about.name, loaded.about.version
        )),
        begun,
    );
    told(&is);
    report.add(is);
    let (bench, piece) = (bench.clone(), piece.clone());
    match loaded.plugin.clone() {
        Plugin::Provider(of) => {
            let Options {
                tasks,
                previous,
                patience,
                only,
                seed: _,
            } = options;
            let mut subject = Subject::new(
                bench,
                piece,
                loaded,
                of,
                (capabilities, lent, script),
                tasks,
                previous,
                patience,
            );
            check::all(
                &provider::checks(),
                &only,
                &mut subject,
                stop,
                &mut report,
                told,
            )
            .await;
            report.left = subject.clean().await;
        }
        Plugin::Policy(of) => {
            let mut judged = Judged {
                bench,
                piece,
                loaded,
                policy: of,
                seed: options.seed,
            };
            check::all(
                &policy::checks(),
                &options.only,
                &mut judged,
                stop,
                &mut report,
                told,
            )
            .await;
        }
    }
    Ok(report)
}
