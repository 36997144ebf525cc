//! Holds a process spec against its grant and turns it into something that can be started: the program found, the working folder
//! resolved, every name checked. It must not start, write or remember anything. Lookups block shortly.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    capability::ProcessSpec,
    failure::{Failure, UNSUPPORTED},
    grant::{Entry, ProcessGrant, Spaces, TEMPORARY, pattern},
    names::{Digest, Namespace},
    workload::{Check, ConfigFile, EnvValue, FileContent, Probe, Protocol, Resources, SecretRef},
};
use tradewind_credentials::secrets;

use super::{
    census::MARK,
    confine::{self, Confine},
    size,
    variables::{self, CARRIED},
};

/// The signals a process may be asked to stop with. The wrapper survives them, so that it can still write the exit status down.
const SIGNALS: [(&str, Signal); 8] = [
    ("TERM", Signal::TERM),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("ALRM", Signal::ALARM),
    ("KILL", Signal::KILL),
];

/// A spec that has passed every check, with what was found on the way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub(super) digest: Digest,
    pub(super) spec: ProcessSpec,
    /// What is promised to it; none: its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) promised: Option<Resources>,
    /// The program's absolute path.
    pub(super) program: PathBuf,
    /// Absolute, without symbolic links; none for the private folder.
    pub(super) directory: Option<PathBuf>,
    /// Where absolute config files may lie: the granted folders, without symbolic links.
    pub(super) folders: Vec<PathBuf>,
    /// Bytes of kept output.
    pub(super) log_size: u64,
    /// Whose it is. In the record of a version before: nobody's, so that it has the common secrets alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<Namespace>,
    /// The entries of its grant by which it has its secrets. None, in the record of a version before: it was started with the common ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secrets: Option<Vec<Entry>>,
    /// What it may reach. In the record of a version before: what the daemon's user may, but for what is the daemon's own.
    #[serde(default)]
    pub(super) confine: Confine,
}

/// What a spec is held against, beside its grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    /// The `PATH` in which programs are found.
    pub(super) search: &'a str,
    /// What is the daemon's own, without symbolic links: nothing there is a folder or a program of a workload.
    pub(super) hidden: &'a [PathBuf],
    /// Whether the kernel has Landlock.
    pub(super) landlock: bool,
}

impl Prepared {
    pub(super) fn signal(&self) -> Signal {
        signal(&self.spec.stop_signal).unwrap_or(Signal::TERM)
    }

    /// Promised millicores and bytes.
    pub(super) fn promise(&self) -> (u64, u64) {
        let promised = self.promised.as_ref().or(self.spec.limits.as_ref());
        promised.map_or((0, 0), |r| (u64::from(r.cpu.0), r.memory.0))
    }

    /// The entries by which it has its secrets. What an earlier version has started with common ones keeps them.
    pub(super) fn secrets(&self) -> Vec<Entry> {
        let common = |name: &str| Entry {
            name: name.to_owned(),
            namespaces: Some(Spaces::All),
        };
        self.secrets.clone().unwrap_or_else(|| {
            secrets_in(&self.spec)
                .map(|secret| common(&secret.name))
                .collect()
        })
    }

    /// The most bytes that it may fill; 0: any number.
    pub(super) fn memory_limit(&self) -> u64 {
        self.spec.limits.as_ref().map_or(0, |l| l.memory.0)
    }
}

/// # Errors
/// `invalid` for what can never work, `denied` for what the grant does not allow; both name the field.
pub(super) fn prepare(
    grant: &ProcessGrant,
    mut spec: ProcessSpec,
    host: Host<'_>,
) -> Result<Prepared, Failure> {
    let confine = Confine::of(grant, host.landlock)?;
    let promised = spec.promised.take();
    let text = serde_json::to_vec(&spec)
        .map_err(|e| Failure::internal(format!("the spec can't be written down: {e}")))?;
    let digest = Digest::of(&text);
    let program = program(grant, &spec.command, host, "command")?;
    let folders = folders(grant, host);
    let directory = spec
        .working_directory
        .as_deref()
        .map(|d| working_directory(&folders, d))
        .transpose()?;
    environment(grant, &spec)?;
    // Secrets are read at each start, and counted then.
    let texts = spec.env.iter().map(|var| {
        (
            var.name.as_str(),
            if let EnvValue::Text(text) = &var.value {
                text.len()
            } else {
                0
            },
        )
    });
    size::fits(texts, &spec.command)?;
    ports(grant, &spec)?;
    for (i, file) in spec.files.iter().enumerate() {
        config_file(grant, file, &format!("files[{i}]"))?;
    }
    for (name, probe) in [
        ("startup", &spec.startup),
        ("readiness", &spec.readiness),
        ("liveness", &spec.liveness),
    ] {
        if let Some(probe) = probe {
            check_probe(grant, &spec, probe, host, name)?;
        }
    }
    if signal(&spec.stop_signal).is_none() {
        let known = SIGNALS.map(|(name, _)| name).join(", ");
        let message = format!(
            "\"{}\" is not a signal to stop with: use one of {known}",
            spec.stop_signal.escape_debug()
        );
        return Err(Failure::invalid(message).field("stop-signal"));
    }
    Ok(Prepared {
        digest,
        promised,
        program,
        directory,
        folders,
        log_size: grant.log_size.0,
        namespace: grant.namespace.clone(),
        secrets: Some(
            grant
                .secrets
                .iter()
                .filter(|entry| secrets_in(&spec).any(|s| entry.name == s.name))
                .cloned()
                .collect(),
        ),
        confine,
        spec,
    })
}

/// Finds the program of a command and checks that it may be run.
pub(super) fn program(
    grant: &ProcessGrant,
    command: &[String],
    host: Host<'_>,
    field: &str,
) -> Result<PathBuf, Failure> {
    let first = format!("{field}[0]");
    let Some(name) = command.first().filter(|c| !c.is_empty()) else {
        return Err(
            Failure::invalid("the command is empty: give a program and its arguments").field(field),
        );
    };
    for (i, argument) in command.iter().enumerate() {
        no_nul(argument, &format!("{field}[{i}]"))?;
        size::argument(argument, &format!("{field}[{i}]"))?;
    }
    let path = Path::new(name);
    let shown = name.escape_debug();
    if name.contains('/')
        && (!path.is_absolute() || path.components().any(|c| c == Component::ParentDir))
    {
        let message =
            format!("\"{shown}\" is neither a program's name nor an absolute path without \"..\"");
        return Err(Failure::invalid(message).field(first));
    }
    if !grant
        .commands
        .iter()
        .any(|pattern| pattern::matches(pattern, name))
    {
        return Err(
            Failure::not_granted(format!("the program \"{shown}\" is not granted"), first).remedy(
                format!("add \"{shown}\" to commands in [grants.process] of the instance file"),
            ),
        );
    }
    // Another machine may have it.
    let not_here = |why: String| Failure::invalid(why).code(UNSUPPORTED).field(first.clone());
    let executable = |p: &Path| {
        fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let found = if path.is_absolute() {
        match fs::metadata(path) {
            Ok(_) if executable(path) => path.to_owned(),
            Ok(_) => return Err(not_here(format!("\"{shown}\" is not an executable file"))),
            Err(e) => {
                return Err(not_here(format!(
                    "the program \"{shown}\" can't be used: {}",
                    reason(&e)
                )));
            }
        }
    } else {
        // The host's PATH, never the spec's: else a guest could put another program behind a granted name.
        let all = std::env::split_paths(host.search)
            .filter(|d| d.is_absolute())
            .map(|d| d.join(name));
        let found = all.into_iter().find(|p| executable(p));
        found.ok_or_else(|| {
            not_here(format!(
                "the program \"{shown}\" is not in the daemon's PATH"
            ))
            .remedy(format!(
                "install \"{shown}\" on this machine, or give its absolute path"
            ))
        })?
    };
    if grant.is_any() {
        Ok(found)
    } else {
        resolved(grant, name, found, host, &first)
    }
}

/// The path to run a granted program by: where its links lead, when a pattern and not its very name grants it.
fn resolved(
    grant: &ProcessGrant,
    name: &str,
    found: PathBuf,
    host: Host<'_>,
    field: &str,
) -> Result<PathBuf, Failure> {
    let shown = name.escape_debug();
    let real = fs::canonicalize(&found).map_err(|e| {
        Failure::invalid(format!(
            "the program \"{shown}\" can't be used: {}",
            reason(&e)
        ))
        .code(UNSUPPORTED)
        .field(field)
    })?;
    let temporary: Vec<PathBuf> = TEMPORARY.iter().map(PathBuf::from).collect();
    let others: Vec<PathBuf> = grant
        .others_directories
        .iter()
        .filter_map(|d| fs::canonicalize(&d.name).ok())
        .collect();
    let written = |path: &Path| {
        [&folders(grant, host), &others, &temporary]
            .into_iter()
            .any(|all| confine::is_below(path, all))
    };
    if [&found, &real]
        .iter()
        .any(|path| written(path) || confine::is_below(path, host.hidden))
    {
        let message = format!(
            "the program \"{shown}\" lies in a folder that workloads write to, so that what they write would be granted"
        );
        let remedy = "install it in another folder, or grant any program: commands = [\"*\"]";
        return Err(Failure::not_granted(message, field).remedy(remedy));
    }
    if grant.commands.iter().any(|command| command == name) {
        return Ok(found);
    }
    if !grant
        .commands
        .iter()
        .any(|pattern| means(pattern, name, &real))
    {
        let message = format!(
            "the program \"{shown}\" is a link to \"{}\", which no pattern grants",
            real.display()
        );
        let remedy = format!(
            "add \"{shown}\" itself, or what it leads to, to commands in [grants.process] of the instance file"
        );
        return Err(Failure::not_granted(message, field).remedy(remedy));
    }
    // Some programs, such as busybox, act by the name that they are called by.
    Ok(if real.file_name() == found.file_name() {
        real
    } else {
        found
    })
}

/// Whether a pattern grants what a name has led to.
fn means(pattern: &str, name: &str, real: &Path) -> bool {
    let matches = |pattern: &str| {
        real.to_str()
            .is_some_and(|real| pattern::matches(pattern, real))
    };
    let Some((folder, file)) = pattern.rsplit_once('/') else {
        let last = real.file_name().and_then(|n| n.to_str());
        return !name.contains('/') && last.is_some_and(|last| pattern::matches(pattern, last));
    };
    // A folder of the pattern may be a link itself, as `/bin` is.
    let folder = if folder.contains('*') {
        None
    } else {
        fs::canonicalize(folder).ok()
    };
    matches(pattern) || folder.is_some_and(|f| matches(&format!("{}/{file}", f.display())))
}

/// The granted folders, without symbolic links. None lies where the daemon keeps what is its own.
fn folders(grant: &ProcessGrant, host: Host<'_>) -> Vec<PathBuf> {
    let real = grant
        .directories
        .iter()
        .filter_map(|d| fs::canonicalize(&d.name).ok());
    real.filter(|d| grant.unconfined || !confine::is_below(d, host.hidden))
        .collect()
}

fn working_directory(folders: &[PathBuf], wanted: &str) -> Result<PathBuf, Failure> {
    let field = "working-directory";
    let shown = wanted.escape_debug();
    if !Path::new(wanted).is_absolute() {
        return Err(Failure::invalid(format!(
            "the working folder \"{shown}\" is not an absolute path"
        ))
        .field(field));
    }
    let denied = || {
        Failure::not_granted(
            format!("the working folder \"{shown}\" is not inside a granted folder"),
            field,
        )
        .remedy(
            "add it, or a folder above it, to directories in [grants.process] of the instance file",
        )
    };
    // Whether a folder outside the grant exists is none of the guest's business.
    let lexically = |f: &PathBuf| Path::new(wanted).starts_with(f);
    let real = match fs::canonicalize(wanted) {
        Ok(real) => real,
        Err(e) if folders.iter().any(lexically) => {
            return Err(Failure::invalid(format!(
                "the working folder \"{shown}\" can't be used: {}",
                reason(&e)
            ))
            .field(field));
        }
        Err(_) => return Err(denied()),
    };
    if !folders.iter().any(|f| real.starts_with(f)) {
        return Err(denied());
    }
    if !real.is_dir() {
        return Err(
            Failure::invalid(format!("the working folder \"{shown}\" is not a folder"))
                .field(field),
        );
    }
    Ok(real)
}

fn environment(grant: &ProcessGrant, spec: &ProcessSpec) -> Result<(), Failure> {
    for (i, var) in spec.env.iter().enumerate() {
        let field = format!("env[{i}]");
        // The wrapper's shell passes on no other names.
        let identifier = var
            .name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'_')
            && !var.name.starts_with(|c: char| c.is_ascii_digit());
        if var.name.is_empty() || !identifier {
            let message = format!(
                "\"{}\" is not a variable's name: use letters, digits and _ not beginning with a digit",
                var.name.escape_debug()
            );
            return Err(Failure::invalid(message).field(format!("{field}.name")));
        }
        if var.name == MARK {
            let message = format!(
                "the variable \"{MARK}\" is the daemon's: it marks what belongs to a replica; use another name"
            );
            return Err(Failure::invalid(message).field(format!("{field}.name")));
        }
        if var.name.starts_with(CARRIED) {
            let message = format!(
                "the variable \"{}\" is the daemon's: names that begin with {CARRIED} carry others; use another name",
                var.name
            );
            return Err(Failure::invalid(message).field(format!("{field}.name")));
        }
        variables::check(
            grant,
            &var.name,
            &format!("{field}.name"),
            spec.env.iter().map(|v| v.name.as_str()),
        )?;
        match &var.value {
            EnvValue::Text(text) => no_nul(text, &format!("{field}.value"))?,
            EnvValue::Secret(secret) => secrets::check(secrets_of(grant), secret, &field)?,
        }
    }
    Ok(())
}

/// The secrets that a process is to have.
fn secrets_in(spec: &ProcessSpec) -> impl Iterator<Item = &SecretRef> {
    let variables = spec.env.iter().filter_map(|var| {
        if let EnvValue::Secret(secret) = &var.value {
            Some(secret)
        } else {
            None
        }
    });
    let files = spec.files.iter().filter_map(|file| {
        if let FileContent::Secret(secret) = &file.content {
            Some(secret)
        } else {
            None
        }
    });
    variables.chain(files)
}

fn secrets_of(grant: &ProcessGrant) -> secrets::Granted<'_> {
    secrets::Granted {
        capability: "process",
        secrets: &grant.secrets,
        namespace: grant.namespace.as_ref(),
    }
}

fn ports(grant: &ProcessGrant, spec: &ProcessSpec) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (i, port) in spec.ports.iter().enumerate() {
        let field = format!("ports[{i}]");
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if port.name.is_empty()
            || !port.name.bytes().all(plain)
            || !names.insert(port_variable(&port.name))
        {
            let message = format!(
                "\"{}\" is not a port's name, or it repeats: use letters, digits and hyphens",
                port.name.escape_debug()
            );
            return Err(Failure::invalid(message).field(format!("{field}.name")));
        }
        let fixed = fixed_port(port.number, port.published)
            .map_err(|message| Failure::invalid(message).field(format!("{field}.published")))?;
        let Some(number) = fixed else { continue };
        if !grant
            .ports
            .iter()
            .any(|r| (r.from..=r.to).contains(&number))
        {
            let refused = Failure::not_granted(
                format!("the port \"{number}\" is not granted"),
                format!("{field}.number"),
            );
            return Err(refused.remedy(format!(
                "use 0 for a port chosen by the host, or add {number} to ports in [grants.process] of the instance file"
            )));
        }
        if !numbers.insert(number) {
            return Err(Failure::invalid(format!("the port \"{number}\" repeats"))
                .field(format!("{field}.number")));
        }
    }
    Ok(())
}

/// A process listens where its callers call: there is nothing in between that could map a published number to another one.
pub(super) fn fixed_port(number: u16, published: Option<u16>) -> Result<Option<u16>, String> {
    match (number, published.filter(|p| *p != 0)) {
        (0, published) => Ok(published),
        (number, Some(other)) if other != number => Err(format!(
            "a process can't publish its port \"{number}\" as \"{other}\": give the same number twice, or 0 for the first"
        )),
        (number, _) => Ok(Some(number)),
    }
}

/// `PORT_<NAME>`.
pub(super) fn port_variable(name: &str) -> String {
    format!("PORT_{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn config_file(grant: &ProcessGrant, file: &ConfigFile, field: &str) -> Result<(), Failure> {
    no_nul(&file.path, &format!("{field}.path"))?;
    let path = Path::new(&file.path);
    if path.file_name().is_none() || path.components().any(|c| c == Component::ParentDir) {
        let message = format!(
            "\"{}\" is not a file's path without \"..\"",
            file.path.escape_debug()
        );
        return Err(Failure::invalid(message).field(format!("{field}.path")));
    }
    if file.mode > 0o777 {
        let message = format!(
            "the mode \"{:o}\" has more than permission bits: use at most 777",
            file.mode
        );
        return Err(Failure::invalid(message).field(format!("{field}.mode")));
    }
    match &file.content {
        FileContent::Data(_) => Ok(()),
        FileContent::Secret(secret) => secrets::check(secrets_of(grant), secret, field),
    }
}

fn check_probe(
    grant: &ProcessGrant,
    spec: &ProcessSpec,
    probe: &Probe,
    host: Host<'_>,
    field: &str,
) -> Result<(), Failure> {
    let port = |name: &str| {
        spec.ports.iter().find(|p| p.name == name).ok_or_else(|| {
            let message = format!(
                "the probe names the port \"{}\", which the process does not have",
                name.escape_debug()
            );
            Failure::invalid(message).field(format!("{field}.check.port"))
        })
    };
    match &probe.check {
        Check::Tcp { port: name } => port(name).map(|_| ()),
        Check::Command { command } => {
            program(grant, command, host, &format!("{field}.check.command")).map(|_| ())
        }
        Check::Http {
            port: name,
            path,
            headers,
            status_min,
            status_max,
        } => {
            if port(name)?.protocol == Protocol::Https {
                let message = format!(
                    "the port \"{name}\" speaks https, which a probe can't check: use a tcp or command check"
                );
                return Err(Failure::invalid(message).field(format!("{field}.check.port")));
            }
            if !path.starts_with('/') || !path.bytes().all(|c| c.is_ascii_graphic()) {
                let message = format!(
                    "\"{}\" is not a path: begin with a slash and escape spaces",
                    path.escape_debug()
                );
                return Err(Failure::invalid(message).field(format!("{field}.check.path")));
            }
            if let Some((name, _)) = headers.iter().find(|(n, v)| {
                http::HeaderName::from_bytes(n.as_bytes()).is_err()
                    || http::HeaderValue::from_str(v).is_err()
            }) {
                let message = format!(
                    "\"{}\" is not a header, or its value is none",
                    name.escape_debug()
                );
                return Err(Failure::invalid(message).field(format!("{field}.check.headers")));
            }
            if status_min > status_max {
                let message = format!(
                    "the lowest status \"{status_min}\" is above the highest \"{status_max}\""
                );
                return Err(Failure::invalid(message).field(format!("{field}.check.status-min")));
            }
            Ok(())
        }
    }
}

fn signal(name: &str) -> Option<Signal> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if name.is_empty() {
        Some(Signal::TERM)
    } else {
        SIGNALS.iter().find(|(n, _)| *n == name).map(|(_, s)| *s)
    }
}

fn no_nul(text: &str, field: &str) -> Result<(), Failure> {
    if text.contains('\0') {
        return Err(Failure::invalid(format!(
            "\"{}\" contains a NUL character",
            text.escape_debug()
        ))
        .field(field));
    }
    Ok(())
}

fn reason(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist",
        std::io::ErrorKind::PermissionDenied => "the daemon may not enter it",
        std::io::ErrorKind::NotADirectory => "a part of its path is not a folder",
        _ => "it can't be read",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tradewind_core::units::Millis;

    use super::*;

    /// A command that asks for nothing.
    pub(in crate::process) fn spec(command: &str) -> ProcessSpec {
        ProcessSpec {
            command: vec![command.to_owned()],
            env: Vec::new(),
            working_directory: None,
            ports: Vec::new(),
            files: Vec::new(),
            limits: None,
            promised: None,
            startup: None,
            readiness: None,
            liveness: None,
            restarts: 0,
            restart_always: false,
            deadline: None,
            stop_signal: String::new(),
            stop_grace: Millis(0),
        }
    }

    #[test]
    fn a_port_is_published_under_its_own_number_only() {
        assert_eq!(fixed_port(0, None), Ok(None));
        assert_eq!(fixed_port(0, Some(80)), Ok(Some(80)));
        assert_eq!(fixed_port(80, Some(80)), Ok(Some(80)));
        assert!(fixed_port(80, Some(81)).is_err());
    }

    /// Records of a version whose grants shared common secrets with every namespace do not tell how theirs are granted.
    #[test]
    fn what_an_earlier_version_has_started_keeps_the_common_secrets() {
        let grant = ProcessGrant {
            secrets: vec!["key".into(), "other".into()],
            ..ProcessGrant::of(&["sh"])
        };
        let secret = SecretRef {
            name: "key".to_owned(),
            key: None,
        };
        let files = vec![ConfigFile {
            path: "key".to_owned(),
            mode: 0o600,
            content: FileContent::Secret(secret),
        }];
        let host = Host {
            search: "/usr/bin:/bin",
            hidden: &[],
            landlock: true,
        };
        let prepared = prepare(
            &grant,
            ProcessSpec {
                files,
                ..spec("sh")
            },
            host,
        )
        .unwrap();
        assert_eq!(prepared.secrets(), [Entry::from("key")]);
        let mut stored = serde_json::to_value(&prepared).unwrap();
        assert_eq!(
            serde_json::from_value::<Prepared>(stored.clone())
                .unwrap()
                .secrets(),
            [Entry::from("key")]
        );
        stored.as_object_mut().unwrap().remove("secrets");
        let of_before: Prepared = serde_json::from_value(stored).unwrap();
        assert_eq!(
            of_before.secrets(),
            [Entry {
                name: "key".to_owned(),
                namespaces: Some(Spaces::All)
            }]
        );
    }
}
