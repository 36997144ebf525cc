//! The rule of scaling by load.

use crate::base::{names::MetricName, units::Millis};

/// A task's rule with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The fewest replicas.
    pub min: u32,
    /// The most replicas.
    pub max: u32,
    /// Millicores of one copy.
    pub cpu: Option<f64>,
    /// Per second and copy.
    pub requests: Option<f64>,
    /// For one copy.
    pub metric: Option<(MetricName, f64)>,
    /// How long a higher load must last before replicas are added.
    pub up: Millis,
    /// How long a lower load must last before replicas are taken away.
    pub down: Millis,
    /// How long there must be no load before the last copy is taken away.
    pub idle: Millis,
    /// Shares.
    pub tolerance: f64,
    /// The most that the number grows by at once, as a share.
    pub step: f64,
    /// Its replicas end by themselves: none that works is taken away.
    pub job: bool,
}

/// The names of the measures that have a target of their own.
pub const CPU: &str = "cpu";

/// The measure of requests per second, which needs no name of its own.
pub const REQUESTS: &str = "requests";

impl Rule {
    /// The number within the bounds.
    pub fn clamp(&self, replicas: u32) -> u32 {
        // `clamp` would panic on bounds that contradict each other.
        replicas.min(self.max).max(self.min.min(self.max))
    }

    /// Whether a measure of this name is followed.
    pub fn follows(&self, name: &MetricName) -> bool {
        self.metric.as_ref().is_some_and(|(n, _)| n == name)
            || (self.requests.is_some() && name.as_str() == REQUESTS)
    }
}
