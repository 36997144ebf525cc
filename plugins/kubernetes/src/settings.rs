//! The settings: where in the cluster workloads run, what its capacity is worth, and how it is reached from outside.

use std::collections::BTreeMap;

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error,
    units::{Money, Size},
};

pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// As the operator writes them. The defaults are those of the schema.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The cluster's namespace for everything.
    pub(crate) namespace: String,
    /// The region, where nodes bear no label that tells it.
    pub(crate) region: String,
    /// Per core and hour. Neither this nor the next, and no annotation: nobody has set a price.
    pub(crate) cpu_price: Option<Money>,
    /// Per GiB of memory and hour.
    pub(crate) memory_price: Option<Money>,
    /// An annotation of nodes with their price in USD per hour, instead of the two above; "" for none.
    pub(crate) price_annotation: String,
    /// Kinds of accelerators, by the name that manifests use.
    pub(crate) accelerators: BTreeMap<String, Accelerator>,
    /// Only nodes with these labels.
    pub(crate) node_selector: BTreeMap<String, String>,
    /// How public ports are reached.
    pub(crate) public: Public,
    /// The host name or address under which ports of nodes are reached.
    pub(crate) node_address: String,
    /// The domain of the cluster's DNS.
    pub(crate) cluster_domain: String,
    /// Secret objects of the cluster for pulling images.
    pub(crate) image_pull_secrets: Vec<String>,
    /// The service account of pods; "" for none.
    pub(crate) service_account: String,
    /// Whether services of several replicas keep all but one when nodes are drained.
    pub(crate) disruption_budget: bool,
    /// Whether services get routes and weights in an Istio mesh.
    pub(crate) istio: bool,
    /// Gateways of the mesh that the routes are for.
    pub(crate) istio_gateways: Vec<String>,
}

/// A kind of accelerator in the cluster's words.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Accelerator {
    /// The resource that pods ask for.
    pub(crate) resource: String,
    /// Labels of the nodes that have this kind.
    #[serde(default)]
    pub(crate) node_selector: BTreeMap<String, String>,
    /// Of each.
    #[serde(default)]
    pub(crate) memory: Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Public {
    LoadBalancer,
    NodePort,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            region: "cluster".to_owned(),
            cpu_price: None,
            memory_price: None,
            price_annotation: String::new(),
            accelerators: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            public: Public::LoadBalancer,
            node_address: String::new(),
            cluster_domain: "cluster.local".to_owned(),
            image_pull_secrets: Vec::new(),
            service_account: String::new(),
            disruption_budget: true,
            istio: false,
            istio_gateways: vec!["mesh".to_owned()],
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.public == Public::NodePort && self.node_address.is_empty() {
            let message =
                "ports of nodes are reached under no address: name one that leads to a node";
            return Err(Error::invalid(message).field("settings.node-address"));
        }
        Ok(())
    }
}
