//! One service or job.

use std::{collections::HashSet, path};

use indexmap::IndexMap;

use super::{Found, MAX_REPLICAS, health, labels, place, recovery, resources, scale, schedule};
use tradewind_core::{
    field::{Path, short},
    manifest::{
        EnvSpec, FileSpec, Job, LimitsSpec, Placement, PortSpec, RecoverySpec, ResourcesSpec,
        SecretSpec, Service, StopSpec, VolumeSpec, forms,
    },
    names::PortName,
    units::{Bytes, Millis},
    workload::{Labels, Protocol},
};

const MAX_PORTS: usize = 100;
const MAX_RETRIES: u32 = 1_000;
/// 100 years of 365.25 days.
const MAX_DURATION: Millis = Millis(100 * 31_557_600_000);
const MAX_GRACE: Millis = Millis(86_400_000);
/// The most that a task's environment, files and extensions hold together.
const MAX_CONTENT: usize = 1 << 20;
/// The most that Linux passes to a program as one argument, or as one variable with its name: 128 KiB with the NUL behind it.
const MAX_STRING: usize = (128 << 10) - 1;
/// The most that a program's arguments and variables take together: half of what Linux passes on with the usual limit of the stack.
const MAX_START: usize = 1 << 20;
const SIGNALS: [&str; 7] = ["TERM", "INT", "QUIT", "HUP", "KILL", "USR1", "USR2"];

/// What both kinds of task have.
struct Common<'a> {
    image: Option<&'a str>,
    command: &'a [String],
    args: &'a [String],
    working_directory: Option<&'a str>,
    user: Option<&'a str>,
    env: &'a IndexMap<String, EnvSpec>,
    ports: &'a IndexMap<PortName, PortSpec>,
    volumes: &'a [VolumeSpec],
    networks: &'a [String],
    files: &'a [FileSpec],
    resources: &'a ResourcesSpec,
    limits: Option<&'a LimitsSpec>,
    duration: Option<Millis>,
    placement: &'a Placement,
    recovery: &'a RecoverySpec,
    stop: Option<&'a StopSpec>,
    labels: &'a Labels,
    extensions: &'a IndexMap<String, serde_json::Value>,
}

macro_rules! common {
    ($task:expr) => {{
        let task = $task;
        Common {
            image: task.image.as_deref(),
            command: &task.command,
            args: &task.args,
            working_directory: task.working_directory.as_deref(),
            user: task.user.as_deref(),
            env: &task.env,
            ports: &task.ports,
            volumes: &task.volumes,
            networks: &task.networks,
            files: &task.files,
            resources: &task.resources,
            limits: task.limits.as_ref(),
            duration: task.duration,
            placement: &task.placement,
            recovery: &task.recovery,
            stop: task.stop.as_ref(),
            labels: &task.labels,
            extensions: &task.extensions,
        }
    }};
}

pub(super) fn service(found: &mut Found, service: &Service, at: &Path) {
    common(found, &common!(service), at);
    found.require(
        service.replicas <= MAX_REPLICAS,
        || at.clone().key("replicas"),
        || {
            format!(
                "{} replicas are too many: write 0 to {MAX_REPLICAS}",
                service.replicas
            )
        },
    );
    if let Some(spec) = &service.scale {
        scale::service(found, spec, &at.clone().key("scale"));
    }
    for (field, spec) in [
        ("startup", &service.startup),
        ("health", &service.health),
        ("liveness", &service.liveness),
    ] {
        if let Some(spec) = spec {
            health::health(found, spec, &service.ports, &at.clone().key(field));
        }
    }
    if let Some(rate) = service
        .request_rate
        .filter(|rate| !rate.is_finite() || *rate <= 0.0)
    {
        let message = || {
            format!(
                "{rate} is not a rate: write requests per second above 0, such as 250, or leave it out"
            )
        };
        found.require(false, || at.clone().key("requestRate"), message);
    }
    if let Some(hedge) = &service.hedge {
        recovery::hedge(found, hedge, &at.clone().key("hedge"));
    }
}

pub(super) fn job(found: &mut Found, job: &Job, at: &Path) {
    common(found, &common!(job), at);
    if let Some(spec) = &job.scale {
        scale::job(found, spec, &at.clone().key("scale"));
    }
    // A job that grows with its work may begin with none.
    let least = u32::from(job.scale.as_ref().is_none_or(|s| s.min > 0));
    found.require(
        (least..=MAX_REPLICAS).contains(&job.replicas),
        || at.clone().key("replicas"),
        || {
            format!(
                "{} replicas of a job are out of range: write {least} to {MAX_REPLICAS}",
                job.replicas
            )
        },
    );
    found.require(
        job.retries <= MAX_RETRIES,
        || at.clone().key("retries"),
        || {
            format!(
                "{} retries are too many: write 0 to {MAX_RETRIES}",
                job.retries
            )
        },
    );
    span(found, job.deadline, || at.clone().key("deadline"));
    if let Some(spec) = &job.schedule {
        schedule::schedule(found, spec, &at.clone().key("schedule"));
        found.require(
            job.scale.is_none(),
            || at.clone().key("scale"),
            || "a job with a schedule runs at its times, not by its load: leave \"scale\" or \"schedule\" out".to_owned(),
        );
    }
}

fn common(found: &mut Found, task: &Common<'_>, at: &Path) {
    run(found, task, at);
    env(found, task.env, &at.clone().key("env"));
    ports(found, task.ports, &at.clone().key("ports"));
    volumes(found, task.volumes, &at.clone().key("volumes"));
    networks(found, task.networks, &at.clone().key("networks"));
    files(found, task.files, &at.clone().key("files"));
    told_ports(found, task, &at.clone().key("env"));
    hidden_files(found, task, &at.clone().key("files"));
    resources::resources(found, task.resources, &at.clone().key("resources"));
    if let Some(limits) = task.limits {
        resources::limits(found, limits, task.resources, &at.clone().key("limits"));
    }
    span(found, task.duration, || at.clone().key("duration"));
    place::placement(found, task.placement, &at.clone().key("placement"));
    recovery::recovery(found, task.recovery, &at.clone().key("recovery"));
    if let Some(stop) = task.stop {
        self::stop(found, stop, &at.clone().key("stop"));
    }
    labels(found, task.labels, &at.clone().key("labels"));
    let total = content(task);
    found.require(total <= MAX_CONTENT, || at.clone(), || {
        format!("{total} bytes of environment, files and extensions are too many: at most {MAX_CONTENT}; put large content into a volume or an image")
    });
}

fn run(found: &mut Found, task: &Common<'_>, at: &Path) {
    found.require(
        task.image.is_some() || !task.command.is_empty(),
        || at.clone(),
        || "nothing to run: give \"image\" (a container image) or \"command\" (a program and its arguments)".to_owned(),
    );
    found.require(
        task.args.is_empty() || task.image.is_some(),
        || at.clone().key("args"),
        || "arguments without an image: put them into \"command\" after the program".to_owned(),
    );
    if let Some(image) = task.image {
        let good = !image.is_empty()
            && image.len() <= 1_024
            && !image.chars().any(|c| c.is_whitespace() || c.is_control());
        found.require(
            good,
            || at.clone().key("image"),
            || format!("\"{}\" is not an image: write a reference such as docker.io/library/nginx:1.29", short(image)),
        );
    }
    found.require(
        !task.command.first().is_some_and(String::is_empty),
        || at.clone().key("command").index(0),
        || "the program's name is empty: write a name or a path".to_owned(),
    );
    for (field, words) in [("command", task.command), ("args", task.args)] {
        self::words(found, words, &at.clone().key(field));
    }
    let variable = |(name, value): (&String, &EnvSpec)| {
        name.len()
            + 2
            + if let EnvSpec::Text(text) = value {
                text.len()
            } else {
                0
            }
    };
    // Each with the NUL behind it, and a pointer to it.
    let total: usize = task
        .command
        .iter()
        .chain(task.args)
        .map(|w| w.len() + 1)
        .chain(task.env.iter().map(variable))
        .map(|n| n + 8)
        .sum();
    found.require(total <= MAX_START, || at.clone(), || {
        format!("the arguments and the environment take {total} bytes: at most {MAX_START} are passed to a program; give large values as \"files\"")
    });
    for (field, value) in [
        ("workingDirectory", task.working_directory),
        ("user", task.user),
    ] {
        found.require(
            value.is_none_or(|v| !v.is_empty() && !v.contains('\0')),
            || at.clone().key(field),
            || "empty, or with a NUL inside: write a value or leave it out".to_owned(),
        );
    }
}

/// A program and its arguments.
pub(super) fn words(found: &mut Found, words: &[String], at: &Path) {
    if let Some(i) = words.iter().position(|w| w.contains('\0')) {
        found.add(at.clone().index(i), "an argument can't contain NUL");
    }
    sizes(found, words, at);
}

/// None is longer than what is passed on.
pub(super) fn sizes(found: &mut Found, words: &[String], at: &Path) {
    for (i, word) in words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.len() > MAX_STRING)
    {
        let message = format!(
            "{} bytes are too many for one argument: at most {MAX_STRING}; give a large value as one of the \"files\"",
            word.len()
        );
        found.add(at.clone().index(i), message);
    }
}

fn env(found: &mut Found, env: &IndexMap<String, EnvSpec>, at: &Path) {
    for (name, value) in env {
        let at = || at.clone().key(name);
        found.require(!name.is_empty() && !name.contains(['=', '\0']), at, || {
            format!("\"{}\" can't be the name of an environment variable: it is empty or contains \"=\" or NUL", short(name))
        });
        match value {
            EnvSpec::Text(text) => {
                found.require(!text.contains('\0'), at, || {
                    "an environment variable can't contain NUL".to_owned()
                });
                let size = name.len() + 1 + text.len();
                found.require(size <= MAX_STRING, at, || {
                    format!("{size} bytes are too many for a variable with its name: at most {MAX_STRING}; give a large value as one of the \"files\"")
                });
            }
            EnvSpec::Secret(secret) => self::secret(found, secret, &at()),
        }
    }
}

/// `PORT`, and `PORT_<NAME>` of each port, tell the program where to listen. They are the provider's: a text may say the same, and nothing else.
fn told_ports(found: &mut Found, task: &Common<'_>, at: &Path) {
    for (i, (port, spec)) in task.ports.iter().enumerate() {
        let number = match spec {
            PortSpec::Number(n) => *n,
            PortSpec::Long(l) => l.port,
        };
        let own = format!(
            "PORT_{}",
            port.as_str().to_ascii_uppercase().replace('-', "_")
        );
        for variable in (i == 0).then(|| "PORT".to_owned()).into_iter().chain([own]) {
            let Some(value) = task.env.get(&variable) else {
                continue;
            };
            let text = if let EnvSpec::Text(text) = value {
                text.as_str()
            } else {
                ""
            };
            let wanted = text.parse::<u16>().ok().filter(|n| *n > 0).unwrap_or(8_080);
            found.require(
                number != 0 && text == number.to_string(),
                || at.clone().key(&variable),
                || match number {
                    0 => format!(
                        "the provider chooses the number of the port \"{port}\" and sets {variable} to it: give the port its number with \"ports: {{{port}: {{port: {wanted}}}}}\", or leave {variable} out"
                    ),
                    number => format!("{variable} tells the program the number of the port \"{port}\", which is {number}: write {number}, or leave {variable} out"),
                },
            );
        }
    }
}

/// A file in a volume that outlives its replica is written once at some providers, and over the volume's own at others.
fn hidden_files(found: &mut Found, task: &Common<'_>, at: &Path) {
    let kept = |volume: &VolumeSpec| volume.name.is_some() || volume.host_path.is_some();
    for (i, file) in task.files.iter().enumerate() {
        let folder = task.working_directory.unwrap_or_default();
        let whole = path::Path::new(folder).join(&file.path);
        let around = task
            .volumes
            .iter()
            .filter(|v| whole.starts_with(&v.path))
            .max_by_key(|v| path::Path::new(&v.path).components().count());
        let Some(volume) = around.filter(|v| kept(v)) else {
            continue;
        };
        let at = at.clone().index(i).key("path");
        found.add(
            at,
            format!(
                "\"{}\" is in the volume at \"{}\", which keeps what it holds, so that a changed content would not arrive: write the file outside of that volume",
                short(&file.path),
                short(&volume.path)
            ),
        );
    }
}

fn secret(found: &mut Found, spec: &SecretSpec, at: &Path) {
    let good = |s: &str| {
        !s.is_empty() && s.len() <= 253 && !s.chars().any(|c| c.is_whitespace() || c.is_control())
    };
    found.require(
        good(&spec.secret),
        || at.clone().key("secret"),
        || {
            format!(
                "\"{}\" is not the name of a secret: use 1 to 253 characters without spaces",
                short(&spec.secret)
            )
        },
    );
    found.require(
        spec.key.as_deref().is_none_or(good),
        || at.clone().key("key"),
        || {
            "not a key of a secret: use 1 to 253 characters without spaces, or leave it out"
                .to_owned()
        },
    );
}

fn ports(found: &mut Found, ports: &IndexMap<PortName, PortSpec>, at: &Path) {
    found.require(
        ports.len() <= MAX_PORTS,
        || at.clone(),
        || format!("{} ports are too many: at most {MAX_PORTS}", ports.len()),
    );
    let (mut numbers, mut published) = (HashSet::new(), HashSet::new());
    for (name, spec) in ports {
        let at = || at.clone().key(name.as_str());
        let (number, callers, udp, long) = match spec {
            PortSpec::Number(n) => (*n, None, false, false),
            PortSpec::Long(l) => (l.port, l.published, l.protocol == Protocol::Udp, true),
        };
        let number_at = || if long { at().key("port") } else { at() };
        found.require(number == 0 || numbers.insert((number, udp)), number_at, || {
            format!("port {number} has another name already: give each port a number of its own, or 0 to have one chosen")
        });
        let Some(callers) = callers else { continue };
        found.require(
            callers != 0,
            || at().key("published"),
            || "0 is no port to publish: leave it out to have one chosen".to_owned(),
        );
        found.require(
            callers == 0 || published.insert((callers, udp)),
            || at().key("published"),
            || format!("port {callers} is published twice: give each port a number of its own"),
        );
    }
}

/// An absolute path without `..`.
fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && is_tame(path)
}

fn is_tame(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 4_096
        && !path.contains('\0')
        && !path.split('/').any(|part| part == "..")
}

fn volumes(found: &mut Found, volumes: &[VolumeSpec], at: &Path) {
    let mut seen = HashSet::new();
    for (i, volume) in volumes.iter().enumerate() {
        let at = at.clone().index(i);
        found.require(
            is_absolute(&volume.path),
            || at.clone().key("path"),
            || {
                format!(
                    "\"{}\" is not an absolute path: begin with \"/\" and use no \"..\"",
                    short(&volume.path)
                )
            },
        );
        found.require(
            seen.insert(volume.path.trim_end_matches('/')),
            || at.clone().key("path"),
            || {
                format!(
                    "\"{}\" has a volume already: give each volume a path of its own",
                    short(&volume.path)
                )
            },
        );
        found.require(
            volume.name.is_none() || volume.host_path.is_none(),
            || at.clone(),
            || "a volume is named or a path of the machine, not both: give \"name\" or \"hostPath\"".to_owned(),
        );
        if let Some(name) = &volume.name {
            found.require(
                is_name(name),
                || at.clone().key("name"),
                || not_a_name("volume", name),
            );
            found.require(
                volume.size.is_some() || volume.host_path.is_some(),
                || at.clone().key("size"),
                || format!("the volume \"{}\" has no size: write the least that it must hold, such as 1Gi", short(name)),
            );
        }
        if let Some(path) = &volume.host_path {
            found.require(
                is_absolute(path),
                || at.clone().key("hostPath"),
                || {
                    format!(
                        "\"{}\" is not an absolute path: begin with \"/\" and use no \"..\"",
                        short(path)
                    )
                },
            );
        }
        found.require(
            volume.class.is_none() || volume.name.is_some(),
            || at.clone().key("class"),
            || "only a named volume has a class: give \"name\", or leave \"class\" out".to_owned(),
        );
        found.require(
            volume
                .size
                .is_none_or(|s| (Bytes(1)..=resources::MAX_DISK).contains(&s)),
            || at.clone().key("size"),
            || {
                format!(
                    "{} is out of range: write more than 0 and at most 1Pi",
                    volume.size.unwrap_or_default()
                )
            },
        );
    }
}

fn networks(found: &mut Found, networks: &[String], at: &Path) {
    let mut seen = HashSet::new();
    for (i, name) in networks.iter().enumerate() {
        let at = || at.clone().index(i);
        found.require(is_name(name), at, || not_a_name("network", name));
        found.require(seen.insert(name), at, || {
            format!("the network \"{}\" is listed twice: keep one", short(name))
        });
    }
}

pub(super) fn is_name(name: &str) -> bool {
    matches!(name.len(), 1..=128)
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

pub(super) fn not_a_name(what: &str, name: &str) -> String {
    format!(
        "\"{}\" is not the name of a {what}: use 1 to 128 letters, digits and any of - _ . and begin with a letter or digit",
        short(name)
    )
}

fn files(found: &mut Found, files: &[FileSpec], at: &Path) {
    let mut seen = HashSet::new();
    for (i, file) in files.iter().enumerate() {
        let at = at.clone().index(i);
        found.require(
            is_tame(&file.path) && !file.path.ends_with('/'),
            || at.clone().key("path"),
            || format!("\"{}\" is not the path of a file: use no \"..\" and no NUL, and end with a file's name", short(&file.path)),
        );
        found.require(
            seen.insert(&file.path),
            || at.clone().key("path"),
            || {
                format!(
                    "\"{}\" is written twice: give each file a path of its own",
                    short(&file.path)
                )
            },
        );
        found.require(
            file.content.is_some() != file.secret.is_some(),
            || at.clone(),
            || {
                "a file has a content or a secret: give exactly one of \"content\" and \"secret\""
                    .to_owned()
            },
        );
        if let Some(spec) = &file.secret {
            secret(found, spec, &at.clone().key("secret"));
        }
        if let Some(mode) = &file.mode {
            found.require(
                forms::octal(mode).is_some(),
                || at.clone().key("mode"),
                || format!("\"{}\" are not permission bits: write one to four octal digits, such as \"644\"", short(mode)),
            );
        }
    }
}

fn span(found: &mut Found, span: Option<Millis>, at: impl FnOnce() -> Path) {
    found.require(
        span.is_none_or(|s| s.0 > 0 && s <= MAX_DURATION),
        at,
        || {
            format!(
                "{} is out of range: write more than 0 and at most 100 years, such as 1h 30m",
                span.unwrap_or_default()
            )
        },
    );
}

fn stop(found: &mut Found, spec: &StopSpec, at: &Path) {
    if let Some(signal) = &spec.signal {
        let known = SIGNALS.contains(&signal.strip_prefix("SIG").unwrap_or(signal));
        found.require(
            known,
            || at.clone().key("signal"),
            || {
                format!(
                    "\"{}\" is not a signal to stop with: use one of {}",
                    short(signal),
                    SIGNALS.join(", ")
                )
            },
        );
    }
    found.require(
        spec.grace.is_none_or(|g| g <= MAX_GRACE),
        || at.clone().key("grace"),
        || {
            format!(
                "{} is out of range: write at most 1day",
                spec.grace.unwrap_or_default()
            )
        },
    );
}

pub(super) fn service_content(service: &Service) -> usize {
    content(&common!(service))
}

pub(super) fn job_content(job: &Job) -> usize {
    content(&common!(job))
}

/// Bytes of environment, files and extensions.
fn content(task: &Common<'_>) -> usize {
    let env: usize = task
        .env
        .iter()
        .map(|(name, v)| name.len() + if let EnvSpec::Text(t) = v { t.len() } else { 0 })
        .sum();
    let files: usize = task
        .files
        .iter()
        .map(|f| f.path.len() + f.content.as_ref().map_or(0, String::len))
        .sum();
    let extensions: usize = task
        .extensions
        .iter()
        .map(|(k, v)| k.len() + v.to_string().len())
        .sum();
    env + files + extensions
}
