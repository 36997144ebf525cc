//! What a version must show before it gets a call: that it would be let in as a plugin, and that it can take over from what serves.

use std::sync::Arc;

use tradewind_core::{
    names::{Digest, InstanceName},
    plugin::{Features, Kind},
};

use super::{CanaryError, CanaryStart, Record, published::Published, split::Made};
use crate::{
    base::pair::Pair,
    load::{Load, candidate::Candidate, instance_file::InstanceFile, version::Version},
    runtime::census::Census,
    trial::Deps,
};

/// An instance as a canary finds it.
pub(crate) struct Incumbent {
    /// What serves.
    pub(crate) active: Option<Arc<Version>>,
    /// The instance's count of living versions.
    pub(crate) census: Census,
}

/// One that has passed the gates.
pub(crate) struct Proven {
    pub(super) record: Record,
    pub(super) component: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) version: Version,
    /// What it is to be compared with.
    pub(super) serving: Pair,
}

impl Proven {
    pub(crate) fn instance(&self) -> &InstanceName {
        &self.record.instance
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    deps: Deps,
}

impl Gate {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// Has it pass the gates of a plugin.
    ///
    /// # Errors
    /// Why it may not be one.
    pub(crate) async fn prove(
        &self,
        start: CanaryStart,
        published: &Published,
        incumbent: Incumbent,
    ) -> Result<Proven, CanaryError> {
        let CanaryStart {
            instance,
            component,
            text,
            terms,
            by,
        } = start;
        if let Some(fault) = terms.fault() {
            return Err(CanaryError::Terms(fault));
        }
        let old = compared_with(published, &instance, incumbent.active)?;
        let serving = old.pair();
        let text = match text {
            Some(text) => text.into_bytes(),
            None => {
                let kept = self.deps.store.apart(move |store| store.bytes(serving));
                kept.await.map_err(CanaryError::HistoryStore)?.1
            }
        };
        let record = Record {
            instance: instance.clone(),
            component: Digest::of(&component),
            settings: Digest::of(&text),
            terms,
            by,
            since: self.deps.clock.now(),
            returning: false,
            made: Made::default(),
        };
        if record.pair() == serving {
            return Err(CanaryError::Same);
        }
        let version = load(
            &*self.deps.loader,
            &record,
            (component.clone().into(), &text),
            incumbent.census,
        )
        .await?;
        match unfit(&old, &version) {
            Some(why) => Err(CanaryError::Other { instance, why }),
            None => Ok(Proven {
                record,
                component,
                text,
                version,
                serving,
            }),
        }
    }
}

/// The version that a canary would be compared with.
///
/// # Errors
/// There is none, or it has a canary already.
pub(super) fn compared_with(
    published: &Published,
    instance: &InstanceName,
    active: Option<Arc<Version>>,
) -> Result<Arc<Version>, CanaryError> {
    if let Some(canary) = published.get(instance) {
        let state = if canary.is_open() {
            "running"
        } else {
            "returning"
        };
        return Err(CanaryError::Busy {
            instance: instance.clone(),
            state,
        });
    }
    active.ok_or_else(|| CanaryError::UnknownInstance {
        instance: instance.clone(),
    })
}

/// # Errors
/// The gate that it does not pass.
pub(super) async fn load(
    loader: &dyn Load,
    record: &Record,
    (component, text): (Arc<[u8]>, &[u8]),
    census: Census,
) -> Result<Version, CanaryError> {
    let instance = &record.instance;
    let file = InstanceFile::kept(text, &format!("{instance}.wasm"))
        .map_err(|e| CanaryError::File(e.to_string()))?;
    // Counts and queue of its own: one that hangs must not take the old one's turns.
    let candidate = Candidate {
        census,
        ..Candidate::apart(
            instance.clone(),
            (file, record.settings),
            (component, record.component),
        )
    };
    loader
        .load(candidate)
        .await
        .map_err(|e| CanaryError::Load(Box::new(e)))
}

/// Why a version can't take over from another. None: it can.
fn unfit(old: &Version, new: &Version) -> Option<String> {
    if old.about.kind != new.about.kind {
        return Some(format!(
            "it is a {}, and that is a {}",
            new.about.kind, old.about.kind
        ));
    }
    if new.about.kind == Kind::Policy {
        // It keeps nothing: any may follow any.
        return None;
    }
    let (was, is) = (&old.identity.plugin, &new.identity.plugin);
    if was != is {
        return Some(format!(
            "it is the plugin \"{is}\", which can't read the state of \"{was}\""
        ));
    }
    let json = |f: Features| serde_json::to_value(f).unwrap_or_default();
    let (had, has) = (json(old.about.features), json(new.about.features));
    let lost = had.as_object()?.iter().find(|(name, value)| {
        value.as_bool() == Some(true) && has.get(name.as_str()) != Some(*value)
    });
    lost.map(|(name, _)| format!("it lacks the feature \"{name}\""))
}
