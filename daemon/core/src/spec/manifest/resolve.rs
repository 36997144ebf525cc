//! From a valid manifest to what the scheduler and the providers need: workloads with every default filled in.

use super::{
    AffinitySpec, EnvSpec, GpuSpec, HealthSpec, Job, LimitsSpec, Manifest, Placement, PortSpec,
    Prerequisite, ResourcesSpec, ScheduleLong, ScheduleSpec, Service, StopSpec, UpdateSpec,
    VolumeSpec, after, recovery,
};
use crate::{
    base::{
        names::{InstanceName, Labels, Region, TaskName},
        units::{Bytes, MicroUsd, Millis},
    },
    spec::{
        health,
        policy_call::{Expected, Group, Spread},
        rules::hedge,
        rules::{
            rollout::{Strategy, Update},
            scaling::Rule,
        },
        workload::{
            Accelerator, Check, ConfigFile, EnvValue, EnvVar, FileContent, Network, Port, Probe,
            Probes, Resources, Run, SecretRef, Volume, VolumeSource, Workload,
        },
    },
};

/// One task of a manifest, ready to be placed. A task with targets resolves to one entry per target.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The task's name in the manifest.
    pub name: TaskName,
    /// None: the policy chooses the places.
    pub target: Option<Target>,
    /// How many replicas.
    pub replicas: u32,
    /// How the number of replicas follows the load, if it does.
    pub scale: Option<Rule>,
    /// Higher ones are placed first, and may take the places of lower ones.
    pub priority: i32,
    /// A job's on the reference machine, a service's by the clock.
    pub duration: Millis,
    /// What runs.
    pub workload: Workload,
    /// Where it may go.
    pub constraints: Constraints,
    /// How a new version of it takes the place of the old one. Jobs are always recreated.
    pub update: Update,
    /// How it is brought back.
    pub recovery: health::Policy,
    /// None: one place is asked.
    pub hedge: Option<hedge::Policy>,
    /// What else is expected of it, for policies.
    pub expected: Expected,
    /// What is of earlier runs counts for nothing.
    pub since: Since,
    /// When it runs. None: once.
    pub schedule: Option<ScheduleLong>,
    /// What it waits for before it begins.
    pub after: Vec<Prerequisite>,
}

/// The run of a job that counts: what was made for an earlier one belongs to that one. The default is the first, for which all counts.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub struct Since {
    /// The deployment's generation that asked for it to run again.
    pub generation: u64,
    /// The number of its run by its schedule.
    pub run: u64,
}

/// The place that a target pins a task to.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub struct Target {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. `None`: the provider has one, or none.
    pub region: Option<Region>,
    /// The kind of place, as the manifest calls it.
    pub platform: Option<String>,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.provider)?;
        self.region.iter().try_for_each(|r| write!(f, "/{r}"))?;
        self.platform.iter().try_for_each(|p| write!(f, " ({p})"))
    }
}

/// A task's hard constraints, the deployment's and its own taken together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Constraints {
    /// Empty: all.
    pub providers: Vec<InstanceName>,
    /// Empty: all.
    pub regions: Vec<Region>,
    /// Offers that may be taken back are allowed.
    pub spot: bool,
    /// Per replica and hour.
    pub max_price: Option<MicroUsd>,
    /// The domains over which replicas are spread.
    pub spread: Spread,
    /// The most replicas in one domain. `None`: an even share.
    pub spread_max: Option<u32>,
    /// Labels that an offer must bear.
    pub labels: Labels,
    /// Tasks that share a domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Group>,
    /// Tasks that share no domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<Group>,
    /// The longest that a job whose duration is stated may take.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::base::units::hashed::optional"
    )]
    pub deadline: Option<Millis>,
}

/// 730 hours: a month.
pub const SERVICE_DURATION: Millis = Millis(730 * 3_600_000);
const JOB_DURATION: Millis = Millis(3_600_000);

/// Every task of the manifest with its defaults filled in, services first, in the manifest's order. The manifest has passed `parse`.
pub fn resolve(manifest: &Manifest) -> Vec<Resolved> {
    let spec = &manifest.spec;
    let mut out = Vec::new();
    for (name, service) in &spec.services {
        let base = Resolved {
            name: name.clone(),
            target: None,
            replicas: service.replicas,
            scale: service
                .scale
                .as_ref()
                .map(|s| Rule::new(s, service.resources.cpu, false)),
            priority: service.priority.unwrap_or(spec.priority),
            duration: service.duration.unwrap_or(SERVICE_DURATION),
            workload: service_workload(service),
            constraints: constraints(&spec.placement, &service.placement),
            update: UpdateSpec::resolve(spec.update.as_ref(), service.update.as_ref()),
            recovery: recovery::recovery(&spec.recovery, &service.recovery, &Run::Service),
            hedge: recovery::hedge(spec.hedge.as_ref(), service.hedge.as_ref()),
            expected: Expected {
                migration_cost: service.migration_cost.unwrap_or_default(),
                egress: service.egress.unwrap_or_default(),
                request_rate: service.request_rate,
            },
            since: Since::default(),
            schedule: None,
            after: after::prerequisites(&service.after),
        };
        out.extend(at_targets(manifest, base));
    }
    for (name, job) in &spec.jobs {
        out.push(Resolved {
            name: name.clone(),
            target: None,
            replicas: job.replicas,
            scale: job
                .scale
                .as_ref()
                .map(|s| Rule::new(s, job.resources.cpu, true)),
            priority: job.priority.unwrap_or(spec.priority),
            duration: job.duration.unwrap_or(JOB_DURATION),
            recovery: recovery::recovery(&spec.recovery, &job.recovery, &job_run(job)),
            hedge: None,
            workload: job_workload(job),
            // An estimate that nobody has made excludes nothing.
            constraints: Constraints {
                deadline: job.duration.and(job.deadline),
                ..constraints(&spec.placement, &job.placement)
            },
            expected: Expected {
                migration_cost: job.migration_cost.unwrap_or_default(),
                ..Expected::default()
            },
            update: Update {
                strategy: Strategy::Recreate,
                drain: Millis(0),
                ..Update::default()
            },
            since: Since::default(),
            schedule: job.schedule.as_ref().map(ScheduleSpec::long),
            after: after::prerequisites(&job.after),
        });
    }
    out
}

fn at_targets(manifest: &Manifest, base: Resolved) -> Vec<Resolved> {
    if manifest.spec.targets.is_empty() {
        return vec![base];
    }
    let pinned = manifest.spec.targets.iter().filter_map(|target| {
        let listed = target.services.iter().find(|s| s.name == base.name);
        if listed.is_none() && !target.services.is_empty() {
            return None;
        }
        let mut one = base.clone();
        let platform = listed.and_then(|s| s.platform.clone());
        one.replicas = listed.and_then(|s| s.replicas).unwrap_or(base.replicas);
        one.constraints.providers = vec![target.provider.clone()];
        if let Some(region) = &target.region {
            one.constraints.regions = vec![region.clone()];
        }
        if let Some(platform) = &platform {
            one.constraints
                .labels
                .insert("platform".to_owned(), platform.clone());
        }
        one.target = Some(Target {
            provider: target.provider.clone(),
            region: target.region.clone(),
            platform,
        });
        Some(one)
    });
    pinned.collect()
}

/// The task's own lists replace the deployment's; labels add up.
fn constraints(all: &Placement, own: &Placement) -> Constraints {
    let spread = own.spread.as_ref().or(all.spread.as_ref());
    let mut labels = all.labels.clone();
    labels.extend(own.labels.clone());
    Constraints {
        providers: if own.providers.is_empty() {
            all.providers.clone()
        } else {
            own.providers.clone()
        },
        regions: if own.regions.is_empty() {
            all.regions.clone()
        } else {
            own.regions.clone()
        },
        spot: own.spot.or(all.spot).unwrap_or(false),
        max_price: own.max_price.or(all.max_price),
        spread: spread.map_or(Spread::None, |s| s.over),
        spread_max: spread.and_then(|s| s.max),
        labels,
        affinity: own
            .affinity
            .as_ref()
            .or(all.affinity.as_ref())
            .map(AffinitySpec::group),
        anti_affinity: own
            .anti_affinity
            .as_ref()
            .or(all.anti_affinity.as_ref())
            .map(AffinitySpec::group),
        deadline: None,
    }
}

/// The fields that both kinds share become a workload the same way.
macro_rules! workload {
    ($task:expr, $run:expr, $probes:expr) => {{
        let task = $task;
        Workload {
            run: $run,
            image: task.image.clone(),
            command: task.command.clone(),
            arguments: task.args.clone(),
            working_directory: task.working_directory.clone(),
            user: task.user.clone().unwrap_or_default(),
            env: task
                .env
                .iter()
                .map(|(name, value)| EnvVar {
                    name: name.clone(),
                    value: env_value(value),
                })
                .collect(),
            ports: task
                .ports
                .iter()
                .map(|(name, spec)| port(name.as_str(), spec))
                .collect(),
            volumes: task.volumes.iter().map(volume).collect(),
            networks: task
                .networks
                .iter()
                .map(|name| Network {
                    name: name.clone(),
                    internal: false,
                    options: Labels::new(),
                })
                .collect(),
            files: task.files.iter().map(file).collect(),
            resources: resources(&task.resources),
            limits: task.limits.as_ref().map(|l| limits(l, &task.resources)),
            probes: $probes,
            stop_signal: task.stop.as_ref().map_or_else(|| "TERM".to_owned(), signal),
            stop_grace: task
                .stop
                .as_ref()
                .and_then(|s| s.grace)
                .unwrap_or(Millis::from_secs(10)),
            scaling: None,
            labels: task.labels.clone(),
            extensions: task
                .extensions
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            restart: 0,
        }
    }};
}

fn service_workload(service: &Service) -> Workload {
    let first_port = service
        .ports
        .keys()
        .next()
        .map(|p| p.as_str().to_owned())
        .unwrap_or_default();
    let probes = Probes {
        startup: service.startup.as_ref().map(|h| startup(h, &first_port)),
        readiness: service.health.as_ref().map(|h| probe(h, &first_port)),
        liveness: service.liveness.as_ref().map(|h| probe(h, &first_port)),
    };
    workload!(service, Run::Service, probes)
}

fn job_workload(job: &Job) -> Workload {
    workload!(job, job_run(job), Probes::default())
}

fn job_run(job: &Job) -> Run {
    Run::Job {
        retries: job.retries,
        deadline: job.deadline,
    }
}

fn secret(s: &super::SecretSpec) -> SecretRef {
    SecretRef {
        name: s.secret.clone(),
        key: s.key.clone(),
    }
}

fn env_value(spec: &EnvSpec) -> EnvValue {
    match spec {
        EnvSpec::Text(text) => EnvValue::Text(text.clone()),
        EnvSpec::Secret(s) => EnvValue::Secret(secret(s)),
    }
}

fn port(name: &str, spec: &PortSpec) -> Port {
    let long = match spec {
        PortSpec::Number(n) => super::PortLong {
            port: *n,
            ..Default::default()
        },
        PortSpec::Long(long) => long.clone(),
    };
    Port {
        name: name.to_owned(),
        number: long.port,
        published: long.published,
        protocol: long.protocol,
        exposure: long.expose,
    }
}

fn volume(spec: &VolumeSpec) -> Volume {
    let size = spec.size.unwrap_or(Bytes(0));
    let source = match (&spec.host_path, &spec.name) {
        (Some(path), _) => VolumeSource::HostPath { path: path.clone() },
        (None, Some(name)) => VolumeSource::Persistent {
            name: name.clone(),
            size,
            class: spec.class.clone().unwrap_or_default(),
        },
        (None, None) => VolumeSource::Scratch { size },
    };
    Volume {
        path: spec.path.clone(),
        read_only: spec.read_only,
        source,
    }
}

fn file(spec: &super::FileSpec) -> ConfigFile {
    let content = match &spec.secret {
        Some(s) => FileContent::Secret(secret(s)),
        None => FileContent::Data(spec.content.clone().unwrap_or_default().into_bytes()),
    };
    // `parse` has refused a mode that is not octal.
    let mode = spec
        .mode
        .as_deref()
        .and_then(super::forms::octal)
        .unwrap_or(0o644);
    ConfigFile {
        path: spec.path.clone(),
        mode,
        content,
    }
}

fn resources(spec: &ResourcesSpec) -> Resources {
    let accelerators = match &spec.gpu {
        None | Some(GpuSpec::Count(0)) => Vec::new(),
        Some(GpuSpec::Count(count)) => vec![Accelerator {
            count: *count,
            ..Default::default()
        }],
        Some(GpuSpec::Long(one)) if one.count == 0 => Vec::new(),
        Some(GpuSpec::Long(one)) => vec![one.clone()],
    };
    Resources {
        cpu: spec.cpu,
        memory: spec.memory,
        disk: spec.disk.unwrap_or_default(),
        accelerators,
    }
}

/// The resources with the limits in their place: what has no limit of its own is limited to what it asks for.
fn limits(limits: &LimitsSpec, needs: &ResourcesSpec) -> Resources {
    let mut out = resources(needs);
    out.cpu = limits.cpu.unwrap_or(out.cpu);
    out.memory = limits.memory.unwrap_or(out.memory);
    out.disk = limits.disk.unwrap_or(out.disk);
    out
}

/// The signal's name without its optional prefix.
fn signal(stop: &StopSpec) -> String {
    let name = stop.signal.as_deref().unwrap_or("TERM");
    name.strip_prefix("SIG").unwrap_or(name).to_owned()
}

/// A start may take as long as a liveness check waits for it, unless the check says how often it may fail.
fn startup(spec: &HealthSpec, first_port: &str) -> Probe {
    let probe = probe(spec, first_port);
    let most = health::START_BOUND
        .0
        .div_ceil(probe.interval.0.max(1))
        .max(1);
    Probe {
        unhealthy_after: spec
            .unhealthy_after
            .unwrap_or(u32::try_from(most).unwrap_or(u32::MAX)),
        ..probe
    }
}

fn probe(spec: &HealthSpec, first_port: &str) -> Probe {
    let port = spec
        .port
        .as_ref()
        .map_or_else(|| first_port.to_owned(), |p| p.as_str().to_owned());
    let check = match (&spec.http, spec.command.is_empty()) {
        (Some(path), _) => Check::Http {
            port,
            path: path.clone(),
            headers: Labels::new(),
            status_min: 200,
            status_max: 399,
        },
        (None, false) => Check::Command {
            command: spec.command.clone(),
        },
        (None, true) => Check::Tcp { port },
    };
    Probe {
        check,
        initial_delay: spec.initial_delay.unwrap_or(Millis(0)),
        interval: spec.interval.unwrap_or(Millis::from_secs(5)),
        timeout: spec.timeout.unwrap_or(Millis::from_secs(2)),
        healthy_after: spec.healthy_after.unwrap_or(1),
        unhealthy_after: spec.unhealthy_after.unwrap_or(3),
    }
}
