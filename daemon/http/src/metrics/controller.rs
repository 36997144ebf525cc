//! Deployments, and the controller's work. The number of series is bounded: deployments beyond `api.metric-deployments` are told together.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::AtomicU64,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tradewind_controller::{BOUNDS, DeploymentMeasure, Measures, Times};
use tradewind_core::{
    names::{DeploymentName, Namespace},
    units::MicroUsd,
};

/// The namespace and the name under which deployments without series of their own are told. No name has brackets.
const OTHERS: &str = "(others)";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    namespace: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDeployment {
    namespace: String,
    deployment: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRollout {
    namespace: String,
    deployment: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByQueue {
    queue: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProvider {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPeriod {
    namespace: String,
    period: &'static str,
}

/// Restarts as they were told. Deployments come and go, and change between series of their own and the common one: what was told there is
/// never taken back.
#[derive(Debug, Default)]
pub(super) struct Restarts(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// Of each deployment, as it was counted last.
    counted: HashMap<(Namespace, DeploymentName), u64>,
    series: HashMap<ByDeployment, u64>,
}

// === impl Restarts ===

impl Restarts {
    /// Adds what came since. `labelled`: each deployment with its series.
    fn told(
        &self,
        labelled: &[(ByDeployment, &DeploymentMeasure)],
    ) -> Family<ByDeployment, Counter> {
        let mut told = self.0.lock();
        let Told { counted, series } = &mut *told;
        let mut now = HashMap::with_capacity(labelled.len());
        let known: HashSet<&ByDeployment> = labelled.iter().map(|(label, _)| label).collect();
        series.retain(|label, _| label.namespace == OTHERS || known.contains(label));
        for (label, one) in labelled {
            let key = (one.namespace.clone(), one.name.clone());
            let before = counted.get(&key).copied().unwrap_or(0);
            *series.entry(label.clone()).or_default() += one.restarts.saturating_sub(before);
            now.insert(key, one.restarts);
        }
        *counted = now;
        let family = Family::<ByDeployment, Counter>::default();
        for (label, restarts) in series {
            family.get_or_create(label).inc_by(*restarts);
        }
        family
    }
}

/// `most`: deployments with series of their own.
pub(super) fn deployments(
    listed: &[DeploymentMeasure],
    most: usize,
    restarts: &Restarts,
    now: &mut Registry,
) {
    let by_status = Family::<ByStatus, Gauge>::default();
    let wanted = Family::<ByDeployment, Gauge>::default();
    let ready = Family::<ByDeployment, Gauge>::default();
    let mut labelled = Vec::with_capacity(listed.len());
    let rollouts = Family::<ByRollout, Gauge>::default();
    for (n, one) in listed.iter().enumerate() {
        let status = one.status.as_str();
        let namespace = one.namespace.to_string();
        by_status
            .get_or_create(&ByStatus { namespace, status })
            .inc();
        let (namespace, deployment) = if n < most {
            (one.namespace.to_string(), one.name.to_string())
        } else {
            (OTHERS.to_owned(), OTHERS.to_owned())
        };
        let label = ByDeployment {
            namespace,
            deployment,
        };
        wanted.get_or_create(&label).inc_by(i64::from(one.replicas));
        ready.get_or_create(&label).inc_by(i64::from(one.ready));
        labelled.push((label.clone(), one));
        if let Some(status) = one.rollout {
            let label = ByRollout {
                namespace: label.namespace,
                deployment: label.deployment,
                status: status.as_str(),
            };
            rollouts.get_or_create(&label).inc();
        }
    }
    now.register(
        "tradewind_deployments",
        "Deployments by namespace and status",
        by_status,
    );
    now.register(
        "tradewind_deployment_replicas_wanted",
        "Replicas that a deployment shall have",
        wanted,
    );
    now.register(
        "tradewind_deployment_replicas_ready",
        "Replicas of a deployment that are ready",
        ready,
    );
    now.register(
        "tradewind_deployment_replica_restarts",
        "Restarts of a deployment's replicas since the daemon began",
        restarts.told(&labelled),
    );
    now.register(
        "tradewind_deployment_rollout",
        "1 while an update is not done, by where it stands",
        rollouts,
    );
}

/// What the controller has to do, and how long it takes.
pub(super) fn work(measures: &Measures, now: &mut Registry) {
    let queues = Family::<ByQueue, Gauge>::default();
    for (queue, depth) in [
        ("now", measures.queued),
        ("later", measures.delayed),
        ("place", measures.waiting),
    ] {
        queues
            .get_or_create(&ByQueue { queue })
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
    }
    now.register(
        "tradewind_queue_depth",
        "Deployments to be looked at now or later, and those that wait for a place",
        queues,
    );
    for (name, help, times) in [
        (
            "tradewind_decision_seconds",
            "Time of a decision about a batch of deployments, offers included",
            &measures.decision,
        ),
        (
            "tradewind_reconcile_seconds",
            "Time of a step of the reconciler, until its intents are stored",
            &measures.reconcile,
        ),
        (
            "tradewind_store_commit_seconds",
            "Time of a commit of the state",
            &measures.store,
        ),
    ] {
        now.register(name, help, Buckets(times.clone()));
    }
    let places = Family::<ByState, Gauge>::default();
    for (state, count) in &measures.places {
        places
            .get_or_create(&ByState { state })
            .set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    now.register(
        "tradewind_places_cordoned",
        "Places that take no new replicas by somebody's word, by whether they are drained",
        places,
    );
    let ages = Family::<ByProvider, Gauge<f64, AtomicU64>>::default();
    for (provider, age) in &measures.quotes {
        let provider = provider.to_string();
        ages.get_or_create(&ByProvider { provider })
            .set(age.as_secs_f64());
    }
    now.register(
        "tradewind_offers_age_seconds",
        "How old the last offers of a provider are",
        ages,
    );
    let budgets = Family::<ByPeriod, Gauge<f64, AtomicU64>>::default();
    for (namespace, (hourly, monthly)) in &measures.budgets {
        let limit = |period, most: Option<MicroUsd>| {
            if let Some(most) = most {
                let namespace = namespace.to_string();
                budgets
                    .get_or_create(&ByPeriod { namespace, period })
                    .set(most.usd());
            }
        };
        limit("hour", *hourly);
        limit("month", *monthly);
    }
    now.register(
        "tradewind_namespace_budget_usd",
        "The most that a namespace may spend per hour or month",
        budgets,
    );
}

/// Durations as they were counted elsewhere.
#[derive(Debug)]
struct Buckets(Times);

impl TypedMetric for Buckets {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Buckets {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().copied();
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let all = self.0.counts.iter().sum();
        encoder.encode_histogram::<ByQueue>(self.0.sum, all, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use tradewind_api::Status;
    use tradewind_core::rollout;

    use super::*;

    #[test]
    fn the_number_of_series_is_bounded_and_nothing_is_left_out() {
        let one = |name: &str, ready| DeploymentMeasure {
            namespace: "default".parse().unwrap(),
            name: name.parse().unwrap(),
            status: Status::Running,
            ready,
            replicas: 3,
            restarts: 1,
            rollout: (ready < 3).then_some(rollout::Status::Paused),
        };
        let all = [one("a", 3), one("b", 2), one("c", 3), one("d", 1)];
        let mut registry = Registry::default();
        let restarts = Restarts::default();
        deployments(&all, 2, &restarts, &mut registry);
        let mut out = String::new();
        text::encode_registry(&mut out, &registry).unwrap();
        for line in [
            r#"tradewind_deployments{namespace="default",status="running"} 4"#,
            r#"tradewind_deployment_replicas_ready{namespace="default",deployment="b"} 2"#,
            r#"tradewind_deployment_replicas_ready{namespace="(others)",deployment="(others)"} 4"#,
            r#"tradewind_deployment_replicas_wanted{namespace="(others)",deployment="(others)"} 6"#,
            r#"tradewind_deployment_replica_restarts_total{namespace="default",deployment="a"} 1"#,
            r#"tradewind_deployment_replica_restarts_total{namespace="(others)",deployment="(others)"} 2"#,
            r#"tradewind_deployment_rollout{namespace="default",deployment="b",status="paused"} 1"#,
        ] {
            assert!(out.contains(line), "{line}\n{out}");
        }
        assert_eq!(out.matches("replicas_ready{").count(), 3, "{out}");
        // One goes, and the next gets series of its own; one more restart is counted where it belongs.
        let mut more = one("d", 1);
        more.restarts = 2;
        let mut registry = Registry::default();
        deployments(
            &[one("b", 2), one("c", 3), more],
            2,
            &restarts,
            &mut registry,
        );
        let mut out = String::new();
        text::encode_registry(&mut out, &registry).unwrap();
        for line in [
            r#"restarts_total{namespace="default",deployment="b"} 1"#,
            r#"restarts_total{namespace="default",deployment="c"} 0"#,
            r#"restarts_total{namespace="(others)",deployment="(others)"} 3"#,
        ] {
            assert!(out.contains(line), "{line}\n{out}");
        }
        assert!(!out.contains(r#"deployment="a""#), "{out}");
    }

    #[test]
    fn durations_that_were_counted_elsewhere_become_a_histogram() {
        let mut counts = vec![0; BOUNDS.len() + 1];
        (counts[0], counts[1], counts[BOUNDS.len()]) = (2, 1, 1);
        let mut registry = Registry::default();
        registry.register("t_seconds", "Times", Buckets(Times { counts, sum: 31.5 }));
        let mut out = String::new();
        text::encode_registry(&mut out, &registry).unwrap();
        for line in [
            "# TYPE t_seconds histogram",
            "t_seconds_count 4",
            "t_seconds_sum 31.5",
            "t_seconds_bucket{le=\"0.001\"} 3",
            "t_seconds_bucket{le=\"+Inf\"} 4",
        ] {
            assert!(out.contains(line), "{line}\n{out}");
        }
    }
}
