//! `plugin test`: the conformance suite on a component, with the capabilities of a daemon and without one.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;
use tradewind_cloud::{SystemClock, process};
use tradewind_conformance::{Checked, Options, Report, Tasks, list, run as check};
use tradewind_core::names::InstanceName;
use tradewind_credentials::owners;
use tradewind_manifest::Format;
use tradewind_wasm::{PluginSource, StandaloneHost};

use super::author::compile_cache;
use super::{Error, render};
use crate::{clouds::Clouds, serve};
use tradewind_cli::{
    args::{Globals, PluginTest},
    output::Output,
    overrides,
};
use tradewind_config::{Config, Effective, environment};

/// Whether the plugin conforms.
pub fn run(globals: &Globals, args: PluginTest) -> Result<bool, Error> {
    let output = Output::new(globals);
    let Some(component) = args.component.as_deref().filter(|_| !args.list) else {
        let all = list();
        output.show(&all, |out| render::conformance::list(out, &all))?;
        return Ok(true);
    };
    let piece = piece(
        component,
        args.instance.as_deref(),
        args.settings.as_deref(),
    )?;
    let options = Options {
        tasks: args.allocation.as_deref().map(tasks).transpose()?,
        previous: args
            .previous
            .as_deref()
            .map(read)
            .transpose()?
            .map(Arc::from),
        patience: args.deadline.std(),
        only: args.checks,
        seed: args.seed,
    };
    if let Some(instance) = &args.instance
        && output.is_for_people()
    {
        eprintln!(
            "a provider does real things now, at the place that \"{}\" names, and removes them at the end",
            instance.display()
        );
    }
    let config = Effective::load(&overrides(globals, None), environment)?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(tradewind_cli::Error::Runtime)?;
    let report = runtime.block_on(suite(&config, &piece, options))?;
    output.show(&report, |out| render::conformance::report(out, &report))?;
    Ok(report.is_good())
}

/// A component as an instance of the plugin folder: called what its instance file is called.
fn piece(
    component: &Path,
    instance: Option<&Path>,
    settings: Option<&Path>,
) -> Result<PluginSource, Error> {
    let stem = instance
        .unwrap_or(component)
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    let name: InstanceName = stem
        .parse()
        .map_err(
            |e: tradewind_core::names::NameError| tradewind_cli::Error::Argument {
                what: "the instance's name",
                value: stem.to_owned(),
                rule: e.rule.to_owned(),
            },
        )?;
    let file = match (instance, settings) {
        (Some(instance), _) => Some(read(instance)?),
        (None, Some(settings)) => Some(wrapped(settings)?),
        (None, None) => None,
    };
    let at = instance.or(settings).unwrap_or(component);
    PluginSource::new(name, read(component)?.into(), file.as_deref()).map_err(unusable(at))
}

/// An instance file of nothing but settings.
fn wrapped(settings: &Path) -> Result<Vec<u8>, Error> {
    let text = String::from_utf8(read(settings)?).map_err(unusable(settings))?;
    let table: toml::Table = toml::from_str(&text).map_err(unusable(settings))?;
    let file = toml::Table::from_iter([
        ("component".to_owned(), "tested.wasm".into()),
        ("settings".to_owned(), table.into()),
    ]);
    Ok(file.to_string().into_bytes())
}

fn tasks(path: &Path) -> Result<Tasks, Error> {
    let format = if path.extension().is_some_and(|e| e == "json") {
        Format::Json
    } else {
        Format::Yaml
    };
    let manifest = tradewind_manifest::parse(&read(path)?, format).map_err(unusable(path))?;
    Ok(Tasks::of(&manifest))
}

async fn suite(config: &Config, piece: &PluginSource, options: Options) -> Result<Report, Error> {
    let serve = |error| Error::Serve(Box::new(error));
    let signal =
        serve::signals::listen_in_terminal().map_err(|e| serve(serve::Error::Signals(e)))?;
    let folder = private_folder()?;
    let started = process::Supervisor::start(process::Options {
        data: None,
        ..serve::process_options(config, folder.clone())
    });
    let processes = started.await.map_err(|e| serve(e.into()))?;
    let clouds = Clouds::new(config);
    let capabilities =
        serve::capabilities(config, &processes, &clouds, Arc::new(SystemClock)).map_err(serve)?;
    let cache = compile_cache()?;
    // From here on as the daemon would.
    owners::trust_anybody(config.reload.trust_any_owner);
    let bench = StandaloneHost::start(cache.clone(), serve::compiling(config.compile.clone()))
        .await
        .map_err(unusable(&cache))?;
    let stop = CancellationToken::new();
    let mut ignored = |_: &Checked| {};
    let checked = check(&bench, piece, capabilities, options, &stop, &mut ignored);
    tokio::pin!(checked);
    let report = tokio::select! {
        report = &mut checked => report,
        signal = signal.wait() => {
            eprintln!("{signal}: removing what was made; once more ends it at once");
            stop.cancel();
            checked.await
        }
    }?;
    processes.shutdown().await;
    if report.left.is_empty() {
        // What stays of it is output of processes that are gone.
        let _ = fs::remove_dir_all(&folder);
    }
    Ok(report)
}

/// A folder of this run's own, for its processes.
fn private_folder() -> Result<PathBuf, Error> {
    let folder = std::env::temp_dir().join(format!(
        "tradewind-test-{}",
        ulid::Ulid::r#gen().to_string().to_lowercase()
    ));
    let made = fs::DirBuilder::new().mode(0o700).create(&folder);
    made.map_err(|source| tradewind_cli::Error::Write {
        path: folder.clone(),
        source,
    })?;
    Ok(folder)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(fs::read(path).map_err(|source| tradewind_cli::Error::Read {
        path: path.to_owned(),
        source,
    })?)
}

fn unusable<E: std::error::Error + Send + Sync + 'static>(path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    move |e| Error::Input {
        path,
        source: Box::new(e),
    }
}
