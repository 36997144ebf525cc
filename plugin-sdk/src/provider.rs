//! Providers: the trait, offers as records, typed state, and the adapter to the contract.

mod offers;

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

pub use self::offers::{NO_PRICE, Offer};
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::offers::{Strings, columns};
use crate::{
    Error,
    bindings::provider::{
        exports::tradewind::plugin::cloud_provider as wire,
        tradewind::plugin::types::{self as wire_types},
    },
    log, settings,
    types::{
        Allocation, Condition, Destroyed, LogChunk, LogQuery, Observation, OffersQuery,
        OwnedAllocation, Tracked, WantedCapability,
    },
};

/// What kinds of workload a provider runs.
pub use wire::Features;

/// What a provider says about itself.
#[derive(Debug, Clone)]
pub struct ProviderInfo {
    /// The kind of provider: lowercase, at most 63 characters of `[a-z0-9-]`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema of the settings.
    pub schema: String,
    /// The capabilities it calls, with the reason for each.
    pub capabilities: Vec<WantedCapability>,
    /// Workloads it can run.
    pub features: Features,
}

impl ProviderInfo {
    /// A provider without settings that wants no capability and runs nothing yet.
    pub fn new(name: &str, version: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            schema: r#"{"type":"object","additionalProperties":false}"#.to_owned(),
            capabilities: Vec::new(),
            features: Features::empty(),
        }
    }

    /// The JSON Schema (2020-12) of the settings.
    #[must_use]
    pub fn schema(mut self, schema: impl ToString) -> Self {
        self.schema = schema.to_string();
        self
    }

    /// A capability it calls, and why.
    #[must_use]
    pub fn wants(mut self, capability: &str, why: &str) -> Self {
        self.capabilities.push(WantedCapability {
            name: capability.to_owned(),
            why: why.to_owned(),
        });
        self
    }

    /// Workloads it can run.
    #[must_use]
    pub fn runs(mut self, features: Features) -> Self {
        self.features = features;
        self
    }
}

/// What a call is told about itself.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The plugin instance's name, from its instance file.
    pub instance: String,
    /// How long the host will wait for this call, in milliseconds from its start.
    pub deadline: u64,
}

/// A cloud provider. Every call makes a fresh value: nothing is kept between calls but the state that [`apply`](Self::apply) returns.
pub trait Provider: Sized {
    /// The instance's settings.
    type Settings: DeserializeOwned;

    /// Who this is.
    fn info() -> ProviderInfo;

    /// Begins a call. Settings that can't work are refused here.
    fn new(context: Context, settings: Self::Settings) -> Result<Self, Error>;

    /// Whether the cloud can be reached and used. Default: nothing to report.
    fn check(&self) -> Result<Vec<Condition>, Error> {
        Ok(Vec::new())
    }

    /// What can be had now.
    fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error>;

    /// Makes the allocation so, and returns the new state. Repeating the call with the same input changes nothing.
    fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Error>;

    /// What became of these: one observation for each.
    fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Error>;

    /// Removes it. Removing what does not exist answers `Gone`.
    fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Error>;

    /// Everything that exists under this instance's tags. Default: nothing.
    fn owned(&self) -> Result<Vec<OwnedAllocation>, Error> {
        Ok(Vec::new())
    }

    /// What the replicas wrote. Default: nothing.
    fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Error> {
        let _ = (tracked, query);
        Ok(LogChunk {
            lines: Vec::new(),
            next: None,
        })
    }
}

/// State as the host keeps it. Put a version into your type: a newer plugin must read what an older one wrote.
///
/// # Errors
/// `internal` when the value has no JSON form.
pub fn write_state<T: Serialize>(state: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(state)
        .map_err(|error| Error::internal(format!("the state can't be written: {error}")))
}

/// State that an earlier call returned.
///
/// # Errors
/// `internal` when the bytes are not such a value.
pub fn read_state<T: DeserializeOwned>(state: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(state)
        .map_err(|error| Error::internal(format!("the stored state can't be read: {error}")))
}

/// The condition by which an allocation tells which images its replicas run: one reference with its digest
/// (`docker.io/library/nginx:1.29@sha256:…`) for each replica; empty ones are left out. The host keeps the first that it learns of a workload,
/// and asks for every later replica by that digest. None: nothing is known.
pub fn images<'a>(references: impl IntoIterator<Item = &'a str>) -> Option<Condition> {
    let mut told: Vec<&str> = Vec::new();
    for reference in references
        .into_iter()
        .filter(|reference| !reference.is_empty())
    {
        if !told.contains(&reference) {
            told.push(reference);
        }
    }
    let reason = if told.len() == 1 { "Resolved" } else { "Mixed" };
    let condition = |message| Condition {
        kind: "ImageResolved".to_owned(),
        met: told.len() == 1,
        reason: reason.to_owned(),
        message,
    };
    (!told.is_empty()).then(|| condition(told.join(" ")))
}

/// What the register macro exports. Not for authors.
#[doc(hidden)]
pub struct Exported<P>(PhantomData<P>);

fn begin<P: Provider>(context: wire_types::Context) -> Result<P, Error> {
    log::install_panic_hook();
    let settings = settings::read(&context.settings)?;
    P::new(
        Context {
            instance: context.instance,
            deadline: context.deadline,
        },
        settings,
    )
}

impl<P: Provider> wire::Guest for Exported<P> {
    fn describe() -> wire::ProviderInfo {
        log::install_panic_hook();
        let info = P::info();
        wire::ProviderInfo {
            name: info.name,
            version: info.version,
            summary: info.summary,
            settings_schema: info.schema,
            capabilities: info.capabilities,
            features: info.features,
        }
    }

    fn check(context: wire_types::Context) -> Result<Vec<Condition>, wire_types::Error> {
        Ok(begin::<P>(context)?.check()?)
    }

    fn offers(
        context: wire_types::Context,
        query: OffersQuery,
    ) -> Result<wire_types::Offers, wire_types::Error> {
        Ok(offers::columns(begin::<P>(context)?.offers(&query)?))
    }

    fn apply(
        context: wire_types::Context,
        allocation: Allocation,
        prior: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, wire_types::Error> {
        Ok(begin::<P>(context)?.apply(&allocation, prior.as_deref())?)
    }

    fn observe(
        context: wire_types::Context,
        tracked: Vec<Tracked>,
    ) -> Result<Vec<Observation>, wire_types::Error> {
        Ok(begin::<P>(context)?.observe(&tracked)?)
    }

    fn destroy(
        context: wire_types::Context,
        tracked: Tracked,
    ) -> Result<Destroyed, wire_types::Error> {
        Ok(begin::<P>(context)?.destroy(&tracked)?)
    }

    fn owned(context: wire_types::Context) -> Result<Vec<OwnedAllocation>, wire_types::Error> {
        Ok(begin::<P>(context)?.owned()?)
    }

    fn logs(
        context: wire_types::Context,
        tracked: Tracked,
        query: LogQuery,
    ) -> Result<LogChunk, wire_types::Error> {
        Ok(begin::<P>(context)?.logs(&tracked, &query)?)
    }
}

/// Makes a type the provider of this plugin: once per crate.
#[macro_export]
macro_rules! register_provider {
    ($provider:ty) => {
        // A native build checks it, too.
        const _: fn() -> $crate::ProviderInfo = <$provider as $crate::Provider>::info;
        #[cfg(target_family = "wasm")]
        mod __tradewind {
            #![allow(unsafe_code, reason = "the exports of the contract")]
            use super::*;
            type Plugin = $crate::provider::Exported<$provider>;
            $crate::bindings::provider::export_provider!(Plugin with_types_in $crate::bindings::provider);
        }
    };
}
