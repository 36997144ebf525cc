//! An instance in Compute Engine's words: what is sent to create one, and what is shown of it.
//!
//! Shapes: Compute Engine API v1, resource `instances`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use tradewind_plugin_sdk::{
    Error, api,
    fleet::{self, Described, Instance, Stage, Wired},
    types::{Allocation, Exposure, Run},
    units::GIB,
};

use crate::{
    script,
    settings::{DISK, Settings, region},
};

/// Our own label: jobs end by turning their machine off.
const RUN: &str = "tradewind-run";
const JOB: &str = "job";
/// The most bytes of one value of an instance's metadata.
const METADATA: usize = 256 << 10;

/// As the API shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) name: String,
    /// By which operations name it.
    #[serde(rename = "id", default)]
    pub(crate) number: String,
    /// A whole address, whose last part is the zone's name.
    zone: String,
    status: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    creation_timestamp: Option<String>,
    last_start_timestamp: Option<String>,
    last_stop_timestamp: Option<String>,
    #[serde(default)]
    status_message: String,
    #[serde(default)]
    network_interfaces: Vec<Interface>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    #[serde(rename = "networkIP")]
    network_ip: Option<String>,
    #[serde(default)]
    access_configs: Vec<Access>,
}

#[derive(Debug, Deserialize)]
struct Access {
    #[serde(rename = "natIP")]
    nat_ip: Option<String>,
}

/// What an instance shall be: everything but its name and labels.
pub(crate) fn described(settings: &Settings, allocation: &Allocation) -> Result<Described, Error> {
    let (workload, zone) = (&allocation.workload, &allocation.offer.zone);
    fleet::refuse(workload)?;
    let Some(image) = workload.image.as_deref() else {
        return Err(
            Error::unsupported("instances run images, not plain commands").field("workload.image"),
        );
    };
    let ports = fleet::numbered(&workload.ports)?;
    if !settings.external_address
        && workload
            .ports
            .iter()
            .any(|port| port.exposure == Exposure::Public)
    {
        return Err(Error::unsupported(
            "instances without an external address have no public ports",
        )
        .field("workload.ports")
        .remedy(
            "set external-address in [settings] of the instance file, or make the port internal",
        ));
    }
    let env = fleet::environment(workload, &ports)?;
    let script = script::startup(workload, image, &env, &ports);
    fleet::fits(workload, "the startup script", script.len(), METADATA)?;
    let disk = workload.resources.disk.div_ceil(GIB).saturating_add(DISK);
    let mut interface =
        json!({"network": format!("projects/{}/{}", settings.project, settings.network)});
    if let Some(interface) = interface.as_object_mut() {
        if !settings.subnetwork.is_empty() {
            interface.insert(
                "subnetwork".to_owned(),
                json!(format!(
                    "projects/{}/{}",
                    settings.project, settings.subnetwork
                )),
            );
        }
        if settings.external_address {
            interface.insert(
                "accessConfigs".to_owned(),
                json!([{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]),
            );
        }
    }
    let mut machine = json!({
        "machineType": format!("zones/{zone}/machineTypes/{}", allocation.offer.size),
        "disks": [{
            "boot": true,
            "autoDelete": true,
            "initializeParams": {
                "sourceImage": settings.image,
                "diskSizeGb": disk.to_string(),
                "diskType": format!("zones/{zone}/diskTypes/{}", settings.disk_type),
            },
        }],
        "networkInterfaces": [interface],
        "metadata": {"items": [
            {"key": "startup-script", "value": script},
            {"key": "enable-guest-attributes", "value": "TRUE"},
        ]},
        "tags": {"items": settings.network_tags},
    });
    if let Some(machine) = machine
        .as_object_mut()
        .filter(|_| !settings.service_account.is_empty())
    {
        let scopes = ["https://www.googleapis.com/auth/cloud-platform"];
        machine.insert(
            "serviceAccounts".to_owned(),
            json!([{"email": settings.service_account, "scopes": scopes}]),
        );
    }
    let wired = ports
        .iter()
        .filter(|(port, _)| port.exposure != Exposure::Local)
        .map(|(port, number)| Wired::of(port, *number))
        .collect();
    Ok(Described {
        workload: machine,
        ports: wired,
    })
}

/// The labels of an instance. Label keys have neither dots nor slashes.
pub(crate) fn labels(tags: &[(String, String)], run: &Run) -> BTreeMap<String, String> {
    let kind = if matches!(run, Run::Job(_)) {
        JOB
    } else {
        "service"
    };
    let own = [(RUN.to_owned(), kind.to_owned())];
    tags.iter()
        .map(|(key, value)| (fleet::flat_tag(key), value.clone()))
        .chain(own)
        .collect()
}

/// Names an instance of the project.
pub(crate) fn id(zone: &str, name: &str) -> String {
    format!("{zone}/{name}")
}

impl Machine {
    pub(crate) fn zone(&self) -> &str {
        self.zone.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is a job that has ended: its status is asked for by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.status == "TERMINATED" && self.labels.get(RUN).is_some_and(|run| run == JOB)
    }

    pub(crate) fn is_going(&self) -> bool {
        self.status == "STOPPING" && self.labels.get(RUN).is_none_or(|run| run != JOB)
    }

    /// A job's machine that was stopped from outside before the job had ended.
    pub(crate) fn lost(&self) -> Instance {
        let message = "lost: its machine was stopped before it had ended".to_owned();
        Instance {
            stage: Stage::Failed,
            message,
            ..self.instance(None)
        }
    }

    pub(crate) fn instance(&self, exit_code: Option<i32>) -> Instance {
        let at = |text: &Option<String>| text.as_deref().and_then(api::instant);
        let stage = match self.status.as_str() {
            "PROVISIONING" | "STAGING" | "PENDING" => Stage::Creating,
            "RUNNING" | "REPAIRING" => Stage::Running,
            "TERMINATED" if self.has_ended() => Stage::Exited,
            // A job's machine is turning itself off: its status follows.
            "STOPPING" if !self.is_going() => Stage::Running,
            "STOPPING" => Stage::Deleting,
            _ => Stage::Failed,
        };
        let interface = self.network_interfaces.first();
        let public = interface.and_then(|interface| {
            interface
                .access_configs
                .iter()
                .find_map(|access| access.nat_ip.clone())
        });
        Instance {
            id: id(self.zone(), &self.name),
            stage,
            tags: self
                .labels
                .iter()
                .map(|(key, value)| (fleet::full_tag(key), value.clone()))
                .collect(),
            price: None,
            created_at: at(&self.creation_timestamp).unwrap_or_default(),
            started_at: at(&self.last_start_timestamp),
            ended_at: at(&self.last_stop_timestamp).filter(|_| stage == Stage::Exited),
            exit_code,
            restarts: 0,
            address: public
                .or_else(|| interface.and_then(|interface| interface.network_ip.clone())),
            port: None,
            message: if stage == Stage::Failed {
                format!(
                    "its machine is {} in {}",
                    self.status.to_lowercase(),
                    region(self.zone())
                )
            } else {
                self.status_message.clone()
            },
        }
    }
}
