//! What a manifest says for this provider alone: `extensions: {kubernetes: {...}}` of a task.

use std::collections::BTreeMap;

use serde::Deserialize;
use tradewind_plugin_sdk::{Error, types::Workload};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Extension {
    /// Routes in the mesh, whatever the settings say.
    pub(crate) istio: Option<bool>,
    pub(crate) autoscale: Option<Autoscale>,
    pub(crate) node_selector: BTreeMap<String, String>,
    /// Of pods and services.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// An autoscaler of the cluster decides how many replicas there are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Autoscale {
    #[serde(default = "one")]
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// Percent of the processor share that replicas ask for.
    #[serde(default)]
    pub(crate) cpu: Option<u32>,
    /// Percent of the memory that replicas ask for.
    #[serde(default)]
    pub(crate) memory: Option<u32>,
}

fn one() -> u32 {
    1
}

pub(crate) fn of(workload: &Workload) -> Result<Extension, Error> {
    let Some(entry) = workload
        .extensions
        .iter()
        .find(|entry| entry.key == "kubernetes")
    else {
        return Ok(Extension::default());
    };
    serde_json::from_str(&entry.value).map_err(|error| {
        Error::invalid(format!(
            "what is said for Kubernetes is not understood: {error}"
        ))
        .field("workload.extensions.kubernetes")
    })
}
