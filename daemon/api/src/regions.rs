//! Regions as the API shows them: how each has been doing, and what follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    failure::Failure,
    list::{Choice, Listed, SortValue},
    names::InstanceName,
    place_health::Circuit,
    units::{Instant, Millis},
};

use crate::{CordonView, Page};

/// Every region of every provider.
pub type RegionsView = Page<RegionView, Degraded>;

/// What a list of regions says beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Degraded {
    /// Providers that have refused their credentials or permissions: nothing new is placed with them.
    pub degraded: Vec<DegradedView>,
}

/// A region of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionView {
    /// The provider instance.
    pub provider: InstanceName,
    /// Empty where the provider has no regions.
    pub region: String,
    /// Why nothing new is placed there by somebody's word: the cordon of the whole provider, that of the region. Absent: it is open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cordons: Vec<CordonView>,
    /// Whether calls go there.
    pub circuit: Circuit,
    /// When the circuit opened. Absent: it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// When calls go again. Absent: they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
    /// Share of calls without an answer lately, 0 … 1.
    pub error_rate: f64,
    /// Of one call, lately. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Millis>,
    /// From accepted to ready, lately. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready: Option<Millis>,
    /// The last failure, while it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Failure>,
    /// What is left alone there for a while.
    #[serde(default)]
    pub cooling: Vec<CoolingView>,
    /// Calls under way that change something.
    pub calls: usize,
    /// Calls that wait for their turn.
    pub waiting: usize,
}

/// A region that is not in the list any more: it is gone, or left what the list was narrowed to. The data of the event `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionLeft {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty where the provider has no regions.
    pub region: String,
}

/// By provider, then by name.
impl Listed for RegionView {
    const LIST: &'static str = "regions";
    const SORTS: &'static [&'static str] =
        &["provider", "region", "circuit", "latency", "timeToReady"];
    type Key = (InstanceName, String);

    fn key(&self) -> Self::Key {
        (self.provider.clone(), self.region.clone())
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "provider" => self.provider.as_str().into(),
            "region" => self.region.as_str().into(),
            "circuit" => self.circuit.name().into(),
            "latency" => self.latency.into(),
            "timeToReady" => self.time_to_ready.into(),
            _ => SortValue::Nothing,
        }
    }
}

/// What gets no new placements for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoolingView {
    /// An offer, a size, or everything.
    pub what: String,
    /// Until when.
    pub until: Instant,
    /// The failure that led to it.
    pub cause: String,
}

/// A provider that has refused its credentials or permissions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DegradedView {
    /// The provider instance.
    pub provider: InstanceName,
    /// With what the operator can do, where the provider says it.
    pub cause: Failure,
    /// Since when.
    pub since: Instant,
    /// When it is checked again.
    pub next_check: Instant,
}
