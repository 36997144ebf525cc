//! Policies: the trait, its one-function form [`Score`], and the adapter to the contract.

mod affinity;
mod answer;
mod ledger;
mod order;
mod ranking;
mod view;

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

pub use self::{
    answer::Answer,
    ledger::Ledger,
    ranking::{Placing, Ranking, Score},
    view::{Candidate, Current, Domain, Group, Offer, Request, Shape, Spread, Task},
};
use crate::{
    Error, bindings::policy::exports::tradewind::plugin::scheduling_policy as wire, log, settings,
};

/// Optional columns of a request: what a policy wants to read. The fewer, the quicker.
pub use wire::Columns;

/// What a policy says about itself.
#[derive(Debug, Clone)]
pub struct PolicyInfo {
    /// Lowercase, at most 63 characters of `[a-z0-9-]`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// JSON Schema of the settings.
    pub schema: String,
    /// The columns it reads.
    pub columns: Columns,
}

impl PolicyInfo {
    /// A policy without settings that reads no optional column.
    pub fn new(name: &str, version: &str, summary: &str) -> Self {
        let schema = r#"{"type":"object","additionalProperties":false}"#.to_owned();
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            schema,
            columns: Columns::empty(),
        }
    }

    /// The JSON Schema (2020-12) of the settings.
    #[must_use]
    pub fn schema(mut self, schema: impl ToString) -> Self {
        self.schema = schema.to_string();
        self
    }

    /// The columns it reads.
    #[must_use]
    pub fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }
}

/// A scheduling policy: chooses among candidates that already satisfy every hard constraint.
///
/// No clock, no randomness, no I/O: the same request gives the same answer. Don't iterate over `HashMap`s, whose order differs.
pub trait Policy {
    /// The instance's settings.
    type Settings: DeserializeOwned;

    /// Who this is.
    fn info() -> PolicyInfo;

    /// Decides a whole batch. An error refuses the batch.
    fn place(settings: Self::Settings, request: &Request) -> Result<Answer, Error>;
}

/// What the register macros export. Not for authors.
#[doc(hidden)]
pub struct Exported<P>(PhantomData<P>);

impl<P: Policy> wire::Guest for Exported<P> {
    fn describe() -> wire::PolicyInfo {
        log::install_panic_hook();
        let info = P::info();
        wire::PolicyInfo {
            name: info.name,
            version: info.version,
            summary: info.summary,
            settings_schema: info.schema,
            columns: info.columns,
        }
    }

    fn place(
        request: wire::PlaceRequest,
    ) -> Result<wire::PlaceAnswer, crate::bindings::provider::tradewind::plugin::types::Fault> {
        log::install_panic_hook();
        Ok(decide::<P>(request)?.into())
    }
}

pub(crate) fn decide<P: Policy>(mut request: wire::PlaceRequest) -> Result<Answer, Error> {
    let settings = settings::read(&std::mem::take(&mut request.settings))?;
    P::place(settings, &Request::new(request))
}

/// Makes a type the policy of this plugin: once per crate.
#[macro_export]
macro_rules! register_policy {
    ($policy:ty) => {
        #[cfg(target_family = "wasm")]
        mod __tradewind {
            #![allow(unsafe_code, reason = "the exports of the contract")]
            use super::*;
            #[global_allocator]
            static MEMORY: $crate::memory::Memory = $crate::memory::Memory::new();
            type Plugin = $crate::policy::Exported<$policy>;
            $crate::bindings::policy::export_policy!(Plugin with_types_in $crate::bindings::policy);
        }
    };
}

/// Makes a [`Score`] the policy of this plugin: once per crate.
#[macro_export]
macro_rules! register_score {
    ($score:ty) => {
        $crate::register_policy!($crate::policy::Scored<$score>);
    };
}

/// A [`Score`] as a [`Policy`].
#[doc(hidden)]
pub struct Scored<S>(PhantomData<S>);

impl<S: Score> Policy for Scored<S> {
    type Settings = S;

    fn info() -> PolicyInfo {
        S::info()
    }

    fn place(score: S, request: &Request) -> Result<Answer, Error> {
        Ok(Ranking::by(request, |candidate| score.score(candidate))
            .sticky(score.sticky())
            .place(request))
    }
}
