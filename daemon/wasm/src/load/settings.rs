//! Whether a plugin takes its settings: first its schema says so, then the plugin itself.

use std::sync::Arc;

use tradewind_core::{
    failure::FailureKind,
    placement::{Candidates, Request},
    units::Millis,
};

use super::{
    compiler::{Answer, Compiler, Task},
    error::{Error, blocking, understood},
    schema,
};
use crate::runtime::{call::Runner, census::Census, plugin::Plugin, plugin_info::PluginInfo, v0_1};

/// A schema comes from a plugin, and settings may from a stranger. What is not sure to be quick is compared by a process that has limits.
///
/// # Errors
/// The schema is none, or the settings are not what it asks for.
pub(super) async fn check(
    compiler: Option<&Compiler>,
    about: PluginInfo,
    settings: serde_json::Value,
) -> Result<PluginInfo, Error> {
    let alone = compiler.is_none();
    let (here, about, settings) = blocking(move || {
        let schema = &about.settings_schema;
        let here = (alone || schema::is_quick(schema, &settings))
            .then(|| schema::compare(schema, &settings));
        (here, about, settings)
    })
    .await?;
    let answer = match (here, compiler) {
        (None, Some(compiler)) => {
            let schema = about.settings_schema.clone();
            compiler
                .order(Task::Settings { schema, settings }, &[])
                .await?
        }
        (here, _) => here.unwrap_or(Answer::Done),
    };
    understood(answer)?;
    Ok(about)
}

/// The most that the trial of the settings may take. What needs longer is not judged by it.
const TRIAL: Millis = Millis(2_000);

/// Hands the settings to the plugin once, in a call that is about nothing: it observes no allocation, or places no task. A schema can't tell
/// whether a text is a price; the plugin can. Whatever else goes wrong in it is no matter of the settings, and shows in calls that are about
/// something. It counts in no statistics.
pub(super) async fn try_out(
    described: &v0_1::Described,
    runner: &Runner,
    settings: &str,
    about: &PluginInfo,
) -> Result<(), Error> {
    let runner = runner.uncounted().at_most(TRIAL);
    let counted = Census::default().count(&Census::default());
    let failure = match v0_1::plugin(
        described.clone(),
        runner,
        settings.to_owned(),
        about,
        counted,
    ) {
        Plugin::Provider(provider) => provider.observe(&[]).await.err(),
        Plugin::Policy(policy) => policy.place(&nothing()).await.err(),
    };
    let Some(failure) = failure else {
        return Ok(());
    };
    if failure.code.as_deref() == Some("busy") {
        return Err(Error::Describe(Box::new(failure)));
    }
    let path = failure
        .field
        .as_deref()
        .and_then(|field| field.strip_prefix("settings"))
        .filter(|p| p.is_empty() || p.starts_with('.'));
    match path.filter(|_| failure.kind == FailureKind::Invalid) {
        Some(path) => {
            let remedy = failure
                .remedy
                .as_deref()
                .map(|remedy| format!(": {remedy}"))
                .unwrap_or_default();
            Err(Error::Settings {
                path: path.to_owned(),
                why: format!("{}{remedy}", failure.message),
            })
        }
        None => Ok(()),
    }
}

/// A batch without tasks.
fn nothing() -> Request {
    let candidates = Candidates {
        start: vec![0],
        ..Candidates::default()
    };
    Request {
        seed: 0,
        tasks: Vec::new(),
        shapes: Vec::new(),
        candidates,
        offers: Arc::default(),
    }
}
