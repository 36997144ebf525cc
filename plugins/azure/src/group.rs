//! A container group in the resource manager's words: what is sent to create one, and what is shown of it.
//!
//! Shapes: Azure REST API, Microsoft.ContainerInstance/containerGroups, version 2023-05-01.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tradewind_plugin_sdk::{
    Error, api,
    fleet::{self, Described, Instance, Stage, Wired},
    types::{
        Allocation, Check, EnvValue, Exposure, Job, Port, Probe, Probes, Protocol, Run, SecretRef,
        Workload,
    },
    units::GIB,
};

use crate::settings::Settings;

/// The one container of a group.
pub(crate) const CONTAINER: &str = "workload";
/// Milliseconds that a start may take where no startup check says otherwise: the manifest's five minutes.
const START_BOUND: u64 = 300_000;
/// Our own tags: what the list needs to know of a job.
const RETRIES: &str = "tradewind-retries";
const DEADLINE: &str = "tradewind-deadline";

/// As the API shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    pub(crate) properties: Properties,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Properties {
    #[serde(default)]
    provisioning_state: String,
    #[serde(default)]
    restart_policy: String,
    ip_address: Option<IpAddress>,
    #[serde(default)]
    containers: Vec<Container>,
    /// Of the group. Lists leave it out.
    pub(crate) instance_view: Option<GroupView>,
}

#[derive(Debug, Deserialize)]
struct IpAddress {
    ip: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Container {
    properties: ContainerProperties,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProperties {
    instance_view: Option<View>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GroupView {
    #[serde(default)]
    state: String,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct View {
    restart_count: u32,
    current_state: Option<Current>,
    previous_state: Option<Current>,
    events: Vec<Event>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Current {
    state: String,
    start_time: Option<String>,
    finish_time: Option<String>,
    exit_code: Option<i32>,
    detail_status: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Event {
    #[serde(default)]
    name: String,
    #[serde(default)]
    message: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// What a group shall be: everything but its name and tags.
pub(crate) fn described(settings: &Settings, allocation: &Allocation) -> Result<Described, Error> {
    let workload = &allocation.workload;
    fleet::refuse(workload)?;
    let Some(image) = workload.image.as_deref() else {
        return Err(
            Error::unsupported("container instances run images, not plain commands")
                .field("workload.image"),
        );
    };
    for (given, field) in [
        (workload.working_directory.is_some(), "working-directory"),
        (!workload.user.is_empty(), "user"),
    ] {
        if given {
            return Err(
                Error::unsupported("container instances take it from the image alone")
                    .field(format!("workload.{field}")),
            );
        }
    }
    let (ports, restarts) = (
        fleet::numbered(&workload.ports)?,
        restart_policy(&workload.run),
    );
    let command = command(workload)?;
    let shown = |port: &Port, number: u16| json!({"port": number, "protocol": if port.protocol == Protocol::Udp { "UDP" } else { "TCP" }});
    let open: Vec<Value> = ports
        .iter()
        .filter(|(port, _)| port.exposure != Exposure::Local)
        .map(|(port, number)| shown(port, *number))
        .collect();
    let mut container = json!({
        "image": image,
        "environmentVariables": fleet::environment(workload, &ports)?.iter().map(variable).collect::<Vec<_>>(),
        "ports": ports.iter().map(|(port, number)| shown(port, *number)).collect::<Vec<_>>(),
        "resources": {"requests": requests(workload)},
    });
    let probe = |probe: &Option<Probe>, field: &str| {
        probe
            .as_ref()
            .map(|one| probed(one, &ports, field))
            .transpose()
    };
    // A container that has not started up is not ready either, so one check can stand for the other.
    let (ready, field) = match &workload.probes.readiness {
        None => (&workload.probes.startup, "startup"),
        readiness => (readiness, "readiness"),
    };
    let optional = [
        ("command", command),
        ("readinessProbe", probe(ready, field)?),
        (
            "livenessProbe",
            probe(&liveness(&workload.probes), "liveness")?,
        ),
    ];
    for (key, value) in optional {
        if let (Some(value), Some(container)) = (value, container.as_object_mut()) {
            container.insert(key.to_owned(), value);
        }
    }
    let mut properties = json!({
        "osType": "Linux",
        "restartPolicy": restarts,
        "containers": [{"name": CONTAINER, "properties": container}],
    });
    if let Some(properties) = properties.as_object_mut() {
        if !open.is_empty() {
            properties.insert(
                "ipAddress".to_owned(),
                json!({"type": address_type(settings, workload)?, "ports": open}),
            );
        }
        if !settings.subnet.is_empty() {
            properties.insert("subnetIds".to_owned(), json!([{"id": settings.subnet}]));
        }
    }
    let wired = ports
        .iter()
        .filter(|(port, _)| port.exposure != Exposure::Local)
        .map(|(port, number)| Wired::of(port, *number))
        .collect();
    Ok(Described {
        workload: json!({"location": allocation.offer.region, "properties": properties}),
        ports: wired,
    })
}

/// The tags that tell of a job what the group itself doesn't.
pub(crate) fn job_tags(run: &Run) -> Vec<(String, String)> {
    match run {
        Run::Service => Vec::new(),
        Run::Job(Job { retries, deadline }) => {
            let deadline = deadline.map(|millis| (DEADLINE.to_owned(), millis.to_string()));
            [(RETRIES.to_owned(), retries.to_string())]
                .into_iter()
                .chain(deadline)
                .collect()
        }
    }
}

/// A failed job is started again by the platform, for ever: how often is counted when it is looked at.
fn restart_policy(run: &Run) -> &'static str {
    match run {
        Run::Service => "Always",
        Run::Job(Job { retries: 0, .. }) => "Never",
        Run::Job(_) => "OnFailure",
    }
}

fn command(workload: &Workload) -> Result<Option<Value>, Error> {
    if workload.command.is_empty() && !workload.arguments.is_empty() {
        let message = "container instances can't give arguments to the image's own entry point: write the whole command";
        return Err(Error::unsupported(message).field("workload.arguments"));
    }
    Ok(Some(&workload.command)
        .filter(|command| !command.is_empty())
        .map(|command| json!(command)))
}

fn address_type(settings: &Settings, workload: &Workload) -> Result<&'static str, Error> {
    let public = workload
        .ports
        .iter()
        .any(|port| port.exposure == Exposure::Public);
    match (settings.subnet.is_empty(), public) {
        (true, true) => Ok("Public"),
        (false, false) => Ok("Private"),
        (true, false) => Err(Error::unsupported("an internal port needs a network")
            .field("workload.ports")
            .remedy("set subnet in [settings] of the instance file, or make the port public")),
        (false, true) => Err(Error::unsupported(
            "container groups in a subnet have no public address",
        )
        .field("workload.ports")
        .remedy("use an instance without subnet for what is public, or make the port internal")),
    }
}

/// Texts are shown by the API, secrets are not; the host puts the values in.
fn variable((name, value): &(String, EnvValue)) -> Value {
    match value {
        EnvValue::Text(text) => json!({"name": name, "value": text}),
        EnvValue::Secret(SecretRef { name: secret, key }) => {
            let key = key
                .as_ref()
                .map_or_else(String::new, |key| format!("/{key}"));
            json!({"name": name, "secureValue": format!("{{{{secret:{secret}{key}}}}}")})
        }
    }
}

/// In steps of a hundredth of a core and a tenth of a GB, upwards.
fn requests(workload: &Workload) -> Value {
    let memory = (workload.resources.memory as f64 / GIB as f64 * 10.0)
        .ceil()
        .max(1.0)
        / 10.0;
    let cpu = f64::from(workload.resources.cpu.div_ceil(10).max(1)) / 100.0;
    json!({"cpu": cpu, "memoryInGB": memory})
}

/// The platform knows no startup check and ends what a liveness check finds dead from its first look on: so that comes when the start has had
/// its time.
fn liveness(probes: &Probes) -> Option<Probe> {
    let mut liveness = probes.liveness.clone()?;
    let start = probes.startup.as_ref().map_or(START_BOUND, |startup| {
        startup.initial_delay.saturating_add(
            startup
                .interval
                .saturating_mul(u64::from(startup.unhealthy_after.max(1))),
        )
    });
    liveness.initial_delay = liveness.initial_delay.saturating_add(start);
    Some(liveness)
}

fn probed(probe: &Probe, ports: &[(&Port, u16)], field: &str) -> Result<Value, Error> {
    let number = |name: &str| {
        ports
            .iter()
            .find(|(port, _)| port.name == name)
            .map(|(_, number)| *number)
    };
    let seconds = |millis: u64| millis.div_ceil(1000).max(1);
    let mut value = json!({
        "initialDelaySeconds": probe.initial_delay.div_ceil(1000),
        "periodSeconds": seconds(probe.interval),
        "timeoutSeconds": seconds(probe.timeout),
        "successThreshold": probe.healthy_after.max(1),
        "failureThreshold": probe.unhealthy_after.max(1),
    });
    let (key, check) = match &probe.check {
        Check::Http(http) => {
            let scheme = ports
                .iter()
                .find(|(port, _)| port.name == http.port)
                .is_some_and(|(port, _)| port.protocol == Protocol::Https);
            (
                "httpGet",
                json!({"path": http.path, "port": number(&http.port), "scheme": if scheme { "https" } else { "http" }}),
            )
        }
        Check::Command(command) => ("exec", json!({"command": command})),
        Check::Tcp(_) => {
            return Err(
                Error::unsupported("container instances check by HTTP or a command")
                    .field(format!("workload.probes.{field}")),
            );
        }
    };
    if let Some(value) = value.as_object_mut() {
        value.insert(key.to_owned(), check);
    }
    Ok(value)
}

impl Group {
    /// Whether a tag has this value.
    pub(crate) fn bears(&self, (key, value): (&str, &str)) -> bool {
        self.tags
            .get(&fleet::flat_tag(key))
            .is_some_and(|own| own == value)
    }

    /// Whether a list says too little of it: how a job is, and why something does not come to run.
    pub(crate) fn is_vague(&self) -> bool {
        let settled = self.properties.provisioning_state == "Succeeded"
            && self.properties.restart_policy == "Always";
        self.properties.instance_view.is_none() && !settled
    }

    /// Whether it is a job that has used up its retries or its time and would still go on.
    pub(crate) fn is_overdue(&self, now: u64) -> bool {
        let view = self.view();
        let Some(current) = view
            .current_state
            .filter(|current| matches!(current.state.as_str(), "Running" | "Waiting"))
        else {
            return false;
        };
        let started = current.start_time.as_deref().and_then(api::instant);
        // The deadline is of all attempts together, and the platform tells the start of the latest two only.
        let first = if view.restart_count == 0 {
            started
        } else {
            self.number(CREATED).or(started)
        };
        let late = self
            .number(DEADLINE)
            .zip(first)
            .is_some_and(|(deadline, first)| now > first.saturating_add(deadline));
        late || (current.state == "Running" && self.has_failed_for_good())
    }

    /// It has been started again more often than asked for.
    fn has_failed_for_good(&self) -> bool {
        self.number(RETRIES)
            .is_some_and(|retries| u64::from(self.view().restart_count) > retries)
    }

    fn number(&self, tag: &str) -> Option<u64> {
        self.tags.get(tag)?.parse().ok()
    }

    fn view(&self) -> View {
        self.properties
            .containers
            .first()
            .and_then(|container| container.properties.instance_view.clone())
            .unwrap_or_default()
    }

    /// As the fleet sees it. What the API doesn't say when it was made counts as just made.
    pub(crate) fn instance(&self, now: u64) -> Instance {
        let view = self.view();
        let (current, failed) = (
            view.current_state.clone().unwrap_or_default(),
            self.has_failed_for_good(),
        );
        let last = if failed && current.exit_code.is_none() {
            view.previous_state.clone().unwrap_or_default()
        } else {
            current.clone()
        };
        let stage = self.stage(&current, failed);
        let ended = stage == Stage::Exited;
        Instance {
            id: self.name.clone(),
            stage,
            tags: self
                .tags
                .iter()
                .map(|(key, value)| (fleet::full_tag(key), value.clone()))
                .collect(),
            price: None,
            created_at: self.number(CREATED).unwrap_or(now),
            started_at: last.start_time.as_deref().and_then(api::instant),
            ended_at: last
                .finish_time
                .as_deref()
                .and_then(api::instant)
                .filter(|_| ended),
            exit_code: last.exit_code.filter(|_| ended),
            restarts: view.restart_count,
            address: self
                .properties
                .ip_address
                .as_ref()
                .and_then(|address| address.ip.clone()),
            port: None,
            message: self.message(stage, &view, &last),
        }
    }

    fn stage(&self, current: &Current, failed: bool) -> Stage {
        let group = self
            .properties
            .instance_view
            .as_ref()
            .map_or("", |view| view.state.as_str());
        let job = self.properties.restart_policy != "Always";
        match (
            self.properties.provisioning_state.as_str(),
            current.state.as_str(),
        ) {
            ("Deleting", _) => Stage::Deleting,
            (_, "Terminated") if job && self.properties.restart_policy == "Never" => Stage::Exited,
            (_, "Terminated")
                if job
                    && (failed
                        || current.exit_code == Some(0)
                        || group == "Failed"
                        || group == "Stopped") =>
            {
                Stage::Exited
            }
            _ if failed => Stage::Exited,
            ("Failed", _) => Stage::Failed,
            (_, "Running") => Stage::Running,
            // A service that a list shows as provisioned runs, or is being started again.
            ("Succeeded", "") if !job => Stage::Running,
            _ if group == "Stopped" => Stage::Failed,
            _ => Stage::Creating,
        }
    }

    fn message(&self, stage: Stage, view: &View, last: &Current) -> String {
        let mut events = view.events.iter().chain(
            self.properties
                .instance_view
                .iter()
                .flat_map(|group| &group.events),
        );
        let warning = events.rfind(|event| event.kind == "Warning");
        match (stage, warning) {
            (Stage::Creating | Stage::Failed, Some(event)) => {
                format!("{}: {}", event.name, event.message)
            }
            (Stage::Exited, _) if last.exit_code != Some(0) && !last.detail_status.is_empty() => {
                let code = last
                    .exit_code
                    .map_or_else(String::new, |code| format!("ended with status {code}: "));
                format!("{code}{}", last.detail_status)
            }
            _ => String::new(),
        }
    }
}

/// When a group was made, by our clock: lists don't say.
pub(crate) const CREATED: &str = "tradewind-created";
