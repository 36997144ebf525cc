//! What it says of itself, its settings, its place.

use std::collections::BTreeSet;

use serde_json::Value;
use tradewind_wasm::{Capabilities, LoadError, PluginSource, StandaloneError, StandaloneHost};

use crate::{
    check::{Verdict, passed, tell},
    subject::Subject,
};

pub(super) async fn describe(subject: &mut Subject) -> Verdict {
    let again = subject
        .bench
        .load(&subject.piece, subject.lent.clone())
        .await
        .map_err(|e| e.to_string())?
        .about;
    let about = &subject.loaded.about;
    if again != *about {
        return Err(format!("it says {about:?} first, then {again:?}"));
    }
    let wanted: BTreeSet<&str> = about.capabilities.iter().map(|w| w.name.as_str()).collect();
    let imported: BTreeSet<&str> = subject
        .loaded
        .capabilities
        .iter()
        .map(String::as_str)
        .collect();
    if let Some(silent) = imported.difference(&wanted).next() {
        return Err(format!(
            "it imports \"{silent}\" and does not say why it wants it"
        ));
    }
    if let Some(idle) = wanted.difference(&imported).next() {
        return Err(format!("it wants \"{idle}\" and does not import it"));
    }
    if let Some(wanted) = about.capabilities.iter().find(|w| w.why.trim().is_empty()) {
        return Err(format!("it wants \"{}\" without a reason", wanted.name));
    }
    let f = about.features;
    if !(f.services || f.jobs) || !(f.images || f.commands) {
        return Err(
            "its features say that it runs nothing: services or jobs, of images or commands"
                .to_owned(),
        );
    }
    passed(format!(
        "wants {}",
        if wanted.is_empty() {
            "nothing".to_owned()
        } else {
            Vec::from_iter(wanted).join(", ")
        }
    ))
}

pub(super) async fn settings(subject: &mut Subject) -> Verdict {
    refuses_unknown(&subject.bench, &subject.piece, subject.lent.clone()).await
}

/// Whether a typing error in the settings is found before the plugin serves.
pub(crate) async fn refuses_unknown(
    bench: &StandaloneHost,
    piece: &PluginSource,
    lent: Capabilities,
) -> Verdict {
    const UNKNOWN: &str = "conformance-unknown-setting";
    let mut wrong = piece.settings().clone();
    if let Some(settings) = wrong.as_object_mut() {
        settings.insert(UNKNOWN.to_owned(), Value::Bool(true));
    }
    match bench.load(&piece.clone().with_settings(wrong), lent).await {
        Err(StandaloneError::Load(error @ LoadError::Settings { .. })) => passed(error.to_string()),
        Err(other) => Err(format!(
            "a setting \"{UNKNOWN}\" is not refused by the schema, but: {other}"
        )),
        Ok(_) => Err(format!(
            "a setting \"{UNKNOWN}\" passes unseen: let the schema say \"additionalProperties\": false"
        )),
    }
}

pub(super) async fn check(subject: &mut Subject) -> Verdict {
    let conditions = subject.provider.check().await.map_err(|f| tell(&f))?;
    let unmet: Vec<String> = conditions
        .iter()
        .filter(|c| !c.met)
        .map(|c| format!("{} ({}): {}", c.kind, c.reason, c.message))
        .collect();
    if !unmet.is_empty() {
        return Err(unmet.join("; "));
    }
    passed(
        conditions
            .iter()
            .map(|c| format!("{}: {}", c.kind, c.message))
            .collect::<Vec<_>>()
            .join("; "),
    )
}
