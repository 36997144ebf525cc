//! Regions as the API shows them: how each has been doing, and what follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    failure::Failure,
    list::Listed,
    names::InstanceName,
    place_health::Circuit,
    units::{Instant, Millis},
};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionsView {
    pub regions: Vec<RegionView>,
    /// Providers that have refused their credentials or permissions: nothing new is placed with them.
    pub degraded: Vec<DegradedView>,
}

/// A region of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionView {
    pub provider: InstanceName,
    /// Empty where the provider has no regions.
    pub region: String,
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
    /// Calls under way that change something, and those that wait for their turn.
    pub calls: usize,
    pub waiting: usize,
}

/// By provider, then by name.
impl Listed for RegionView {
    const LIST: &'static str = "regions";
    type Key = (InstanceName, String);

    fn key(&self) -> Self::Key {
        (self.provider.clone(), self.region.clone())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoolingView {
    /// An offer, a size, or everything.
    pub what: String,
    pub until: Instant,
    pub cause: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DegradedView {
    pub provider: InstanceName,
    /// With what the operator can do, where the provider says it.
    pub cause: Failure,
    pub since: Instant,
    pub next_check: Instant,
}
