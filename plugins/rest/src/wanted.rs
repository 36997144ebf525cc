//! What an allocation means to this cloud: what each instance shall run, its tags, and a fingerprint that tells old from new.
//! What the cloud can't do is refused by its field, never left out.

use serde_json::{Map, Value, json};
use tradewind_plugin_sdk::{
    Error,
    types::{Allocation, EnvValue, EnvVar, Job, Port, Run, Workload},
};

use crate::state::Wired;

/// The host's tags by which everything is found again.
pub(crate) const PROVIDER: &str = "tradewind.dev/provider";
pub(crate) const ALLOCATION: &str = "tradewind.dev/allocation";
/// Our own, beside the host's.
pub(crate) const REPLICA: &str = "tradewind.dev/replica";
pub(crate) const SPEC: &str = "tradewind.dev/spec";

pub(crate) struct Wanted {
    pub(crate) allocation: String,
    pub(crate) region: String,
    pub(crate) size: String,
    pub(crate) replicas: u32,
    pub(crate) token: String,
    pub(crate) workload: Value,
    pub(crate) spec: String,
    pub(crate) ports: Vec<Wired>,
    /// In the order of their importance: a cloud that attaches only some of them begins with those that find it again.
    tags: Vec<(String, String)>,
}

impl Wanted {
    pub(crate) fn of(allocation: &Allocation) -> Result<Self, Error> {
        refuse(&allocation.workload)?;
        let (region, size) = (allocation.offer.region.clone(), allocation.offer.size.clone());
        if region.is_empty() || size.is_empty() {
            let message = format!("the offer {:?} is not one of this cloud: it names no region and size", allocation.offer.id);
            return Err(Error::invalid(message).field("offer.id"));
        }
        let workload = described(&allocation.workload);
        let spec = fingerprint(&format!("{size} {workload}"));
        let of_host = |key: &str| allocation.tags.iter().find(|tag| tag.key == key).map(|tag| (tag.key.clone(), tag.value.clone()));
        let mut tags: Vec<(String, String)> = [PROVIDER, ALLOCATION].into_iter().filter_map(of_host).collect();
        if tags.len() < 2 {
            return Err(Error::internal(format!("the host has given no tags {PROVIDER:?} and {ALLOCATION:?}")));
        }
        tags.push((SPEC.to_owned(), spec.clone()));
        let further = allocation.tags.iter().filter(|tag| tag.key != PROVIDER && tag.key != ALLOCATION);
        tags.extend(further.map(|tag| (tag.key.clone(), tag.value.clone())));
        Ok(Self {
            allocation: allocation.id.clone(),
            region,
            size,
            replicas: allocation.replicas,
            token: allocation.token.clone(),
            workload,
            spec,
            ports: allocation.workload.ports.iter().map(Wired::of).collect(),
            tags,
        })
    }

    /// The tags of one replica's instance.
    pub(crate) fn tags(&self, index: u32) -> Vec<(String, String)> {
        let mut tags = self.tags.clone();
        tags.insert(2, (REPLICA.to_owned(), index.to_string()));
        tags
    }
}

fn refuse(workload: &Workload) -> Result<(), Error> {
    let secret = |var: &EnvVar| matches!(var.value, EnvValue::Secret(_));
    let refused = [
        (!workload.volumes.is_empty(), "workload.volumes", "volumes"),
        (!workload.networks.is_empty(), "workload.networks", "networks"),
        (!workload.files.is_empty(), "workload.files", "files"),
        (workload.env.iter().any(secret), "workload.env", "secrets"),
        (workload.scaling.is_some(), "workload.scaling", "scaling by the provider"),
        (!workload.resources.accelerators.is_empty(), "workload.resources.accelerators", "accelerators"),
    ];
    match refused.into_iter().find(|(present, ..)| *present) {
        Some((_, field, what)) => Err(Error::invalid(format!("this cloud has no {what}")).field(field)),
        None => Ok(()),
    }
}

/// What an instance shall run, in the cloud's words. Equal workloads give equal texts: the fingerprint is made of them.
fn described(workload: &Workload) -> Value {
    let mut env = Map::new();
    for var in &workload.env {
        if let EnvValue::Text(text) = &var.value {
            env.insert(var.name.clone(), text.as_str().into());
        }
    }
    let port = |port: &Port| json!({"name": port.name, "number": port.number});
    let job = match &workload.run {
        Run::Service => Value::Null,
        Run::Job(Job { retries, deadline }) => json!({"retries": retries, "deadlineMs": deadline}),
    };
    json!({
        "image": workload.image,
        "command": workload.command,
        "arguments": workload.arguments,
        "workingDirectory": workload.working_directory,
        "user": workload.user,
        "env": env,
        "ports": workload.ports.iter().map(port).collect::<Vec<_>>(),
        "cpu": workload.resources.cpu,
        "memory": workload.resources.memory,
        "stopSignal": workload.stop_signal,
        "stopGraceMs": workload.stop_grace,
        "job": job,
    })
}

/// FNV-1a: the same on every machine and in every version, which the standard library's hashes don't promise.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
