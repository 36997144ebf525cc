//! Routes of a mesh: what the allocations of one task share.
//!
//! Every allocation of a task is a subset of one host, and one VirtualService shares the traffic out among them. No allocation owns it: each that is
//! applied or removed writes it whole, from what the cluster has of the task at that moment, and looks again until what it has written is what
//! is there. Whoever writes last has therefore seen everybody, without a lock. When the last allocation goes, it goes too.

use serde::Deserialize;
use serde_json::{Value, json};
use tradewind_plugin_sdk::{
    Error,
    host::{Kubernetes as Capability, Propagation, Reference},
    types::Allocation,
};

use crate::{Kubernetes, names, objects::service_port, seen::Metadata, state::Wired};

/// How often what was written is compared with what is there.
const LOOKS: usize = 5;

/// The share of one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    allocation: String,
    /// Thousandths, as the host says.
    told: Option<u64>,
    replicas: u64,
}

#[derive(Deserialize)]
struct Deployment {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    replicas: u64,
}

/// What happens to a task's allocations.
pub(crate) enum Change<'a> {
    /// This one is there, with these ports.
    Joins(&'a Allocation, &'a [Wired]),
    Leaves(&'a str),
}

impl<H: Capability> Kubernetes<H> {
    /// Writes the routes of a task.
    pub(crate) fn route(
        &self,
        namespace: &str,
        mesh: &str,
        change: &Change<'_>,
    ) -> Result<(), Error> {
        let mut written: Option<Vec<Share>> = None;
        for _ in 0..LOOKS {
            let there = self.shares(namespace, mesh, change)?;
            if written.as_ref() == Some(&there) {
                return Ok(());
            }
            if there.is_empty() {
                return self.unroute(namespace, mesh);
            }
            match change {
                Change::Joins(allocation, ports) => self
                    .cluster
                    .apply(&self.routes(namespace, mesh, allocation, ports, &there))?,
                // What remains has its ports in the routes, which only lose a subset.
                Change::Leaves(_) => self.reroute(namespace, mesh, &there)?,
            }
            written = Some(there);
        }
        Err(Error::unavailable(format!(
            "the allocations that share {mesh:?} change faster than its routes are written"
        )))
    }

    /// The task's allocations, as the cluster has them.
    fn shares(
        &self,
        namespace: &str,
        mesh: &str,
        change: &Change<'_>,
    ) -> Result<Vec<Share>, Error> {
        let all: Vec<Deployment> = self.cluster.list("Deployment", namespace, &[])?;
        let of_task = all.into_iter().filter(|d| {
            d.metadata.deletion_timestamp.is_none() && shared(&d.metadata).as_deref() == Some(mesh)
        });
        let mut shares: Vec<Share> = of_task
            .map(|d| Share {
                told: d
                    .metadata
                    .annotations
                    .get(names::TRAFFIC)
                    .and_then(|text| text.parse().ok()),
                replicas: d.spec.replicas,
                allocation: d.metadata.name,
            })
            .filter(|share| !matches!(change, Change::Leaves(going) if share.allocation == *going))
            .collect();
        shares.sort_by(|a, b| a.allocation.cmp(&b.allocation));
        Ok(shares)
    }

    fn routes(
        &self,
        namespace: &str,
        mesh: &str,
        of: &Allocation,
        ports: &[Wired],
        shares: &[Share],
    ) -> Vec<Value> {
        let selector = json!({names::NAMESPACE: of.namespace, names::DEPLOYMENT: of.deployment, names::TASK: of.task});
        let object = |kind: &str, spec: Value| json!({"kind": kind, "metadata": {"name": mesh, "namespace": namespace}, "spec": spec});
        let service_ports: Vec<Value> = ports
            .iter()
            .map(|port| service_port(port, "ClusterIP"))
            .collect();
        let service = object(
            "Service",
            json!({"type": "ClusterIP", "selector": selector, "ports": service_ports}),
        );
        vec![
            service,
            object("DestinationRule", rule(mesh, shares)),
            object("VirtualService", self.virtual_service(mesh, ports, shares)),
        ]
    }

    fn virtual_service(&self, mesh: &str, ports: &[Wired], shares: &[Share]) -> Value {
        let weights = weights(shares);
        let route = |port: &Wired| {
            let to = |(share, weight): (&Share, &u64)| {
                let destination = json!({"host": mesh, "subset": share.allocation, "port": {"number": port.published}});
                json!({"destination": destination, "weight": weight})
            };
            json!({"match": [{"port": port.published}], "route": shares.iter().zip(&weights).map(to).collect::<Vec<_>>()})
        };
        let speaks = |port: &&Wired| matches!(port.protocol.as_str(), "http" | "grpc");
        let streams = |port: &&Wired| matches!(port.protocol.as_str(), "tcp" | "https");
        let mut spec = json!({"hosts": [mesh], "gateways": self.settings.istio_gateways});
        for (key, routes) in [
            (
                "http",
                ports.iter().filter(speaks).map(route).collect::<Vec<_>>(),
            ),
            (
                "tcp",
                ports.iter().filter(streams).map(route).collect::<Vec<_>>(),
            ),
        ] {
            if let Some(spec) = spec.as_object_mut().filter(|_| !routes.is_empty()) {
                spec.insert(key.to_owned(), json!(routes));
            }
        }
        spec
    }

    /// Takes an allocation out of routes that are there.
    fn reroute(&self, namespace: &str, mesh: &str, shares: &[Share]) -> Result<(), Error> {
        let named = |kind: &str| Reference {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: mesh.to_owned(),
        };
        let Some(text) = self.cluster.host.get(&named("VirtualService"))? else {
            return Ok(());
        };
        let mut now: Value = serde_json::from_str(&text)
            .map_err(|error| Error::internal(format!("routes that are not understood: {error}")))?;
        let weights = weights(shares);
        for list in ["/spec/http", "/spec/tcp"] {
            for one in now
                .pointer_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                let port = one.pointer("/match/0/port").cloned().unwrap_or_default();
                let to = |(share, weight): (&Share, &u64)| json!({"destination": {"host": mesh, "subset": share.allocation, "port": {"number": port}}, "weight": weight});
                let routes: Vec<Value> = shares.iter().zip(&weights).map(to).collect();
                if let Some(one) = one.as_object_mut() {
                    one.insert("route".to_owned(), json!(routes));
                }
            }
        }
        let metadata = json!({"name": mesh, "namespace": namespace});
        let spec = now.get("spec").cloned().unwrap_or_default();
        // First the routes: a subset that is still a destination must be there.
        self.cluster
            .apply(&[json!({"kind": "VirtualService", "metadata": metadata, "spec": spec})])?;
        self.cluster.apply(&[
            json!({"kind": "DestinationRule", "metadata": metadata, "spec": rule(mesh, shares)}),
        ])
    }

    fn unroute(&self, namespace: &str, mesh: &str) -> Result<(), Error> {
        let kinds = ["VirtualService", "DestinationRule", "Service"];
        let all = kinds.map(|kind| Reference {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: mesh.to_owned(),
        });
        self.cluster
            .host
            .delete(&all, Propagation::Background)
            .map(drop)
    }
}

/// Subsets by allocation; who fails five times in a row is left out for half a minute.
fn rule(mesh: &str, shares: &[Share]) -> Value {
    let subset = |share: &Share| json!({"name": share.allocation, "labels": {names::ALLOCATION: share.allocation}});
    json!({
        "host": mesh,
        "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 5, "interval": "10s", "baseEjectionTime": "30s"}},
        "subsets": shares.iter().map(subset).collect::<Vec<_>>(),
    })
}

fn shared(metadata: &Metadata) -> Option<String> {
    let label = |key: &str| metadata.labels.get(key).map(String::as_str);
    Some(names::shared(
        label(names::NAMESPACE)?,
        label(names::DEPLOYMENT)?,
        label(names::TASK)?,
    ))
}

/// Percentages that add up to 100: what the host has told, and for the others the rest in proportion to their replicas.
fn weights(shares: &[Share]) -> Vec<u64> {
    let told: u64 = shares.iter().filter_map(|share| share.told).sum();
    let rest = 1000u64.saturating_sub(told);
    let untold: u64 = shares
        .iter()
        .filter(|share| share.told.is_none())
        .map(|share| share.replicas)
        .sum();
    let mut parts: Vec<u64> = shares
        .iter()
        .map(|share| {
            share
                .told
                .unwrap_or_else(|| (rest * share.replicas).checked_div(untold).unwrap_or(0))
        })
        .collect();
    if parts.iter().all(|part| *part == 0) {
        parts = vec![1; shares.len()];
    }
    let whole: u64 = parts.iter().sum();
    let mut weights: Vec<u64> = parts.iter().map(|part| part * 100 / whole.max(1)).collect();
    // What rounding has left goes to those who lost most by it.
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|i| {
        std::cmp::Reverse(parts.get(*i).map_or(0, |part| part * 100 % whole.max(1)))
    });
    let missing = 100u64.saturating_sub(weights.iter().sum());
    for i in order.into_iter().cycle().take(if parts.is_empty() {
        0
    } else {
        missing as usize
    }) {
        if let Some(weight) = weights.get_mut(i) {
            *weight += 1;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(told: Option<u64>, replicas: u64) -> Share {
        Share {
            allocation: String::new(),
            told,
            replicas,
        }
    }

    #[test]
    fn weights_follow_what_is_told_and_always_make_a_hundred() {
        for (shares, wanted) in [
            (vec![share(None, 3)], vec![100]),
            (vec![share(Some(900), 9), share(Some(100), 1)], vec![90, 10]),
            (vec![share(Some(0), 3), share(Some(1000), 3)], vec![0, 100]),
            (vec![share(None, 1), share(None, 2)], vec![33, 67]),
            (vec![share(Some(250), 1), share(None, 4)], vec![25, 75]),
            (vec![share(Some(0), 0), share(None, 0)], vec![50, 50]),
            (
                vec![
                    share(Some(333), 1),
                    share(Some(333), 1),
                    share(Some(333), 1),
                ],
                vec![34, 33, 33],
            ),
            (vec![], vec![]),
        ] {
            assert_eq!(weights(&shares), wanted, "{shares:?}");
        }
    }
}
