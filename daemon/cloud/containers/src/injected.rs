//! What a container is given when it is made: environment and files with the values of secrets, and numbers for its ports. It holds
//! secret values: nothing here is ever printed.

use std::{collections::VecDeque, io, path::Path};

use parking_lot::Mutex;
use tradewind_cloud::process;
use tradewind_core::{
    capability::containers::ContainerSpec,
    failure::{Failure, FailureKind},
    workload::{ConfigFile, EnvValue, FileContent, Protocol},
};
use tradewind_credentials::{
    Secret,
    secrets::{self, Granted},
};
use zeroize::Zeroizing;

use crate::labels::NotedPort;

pub(crate) struct Injected {
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    pub(crate) files: Vec<File>,
    pub(crate) ports: Vec<NotedPort>,
    /// What must show nowhere.
    secrets: Vec<Secret>,
}

pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) content: Zeroizing<Vec<u8>>,
}

/// Ports of a container in a network of its own that ask for no number get one from here on.
const FIRST_PORT: u16 = 8080;
/// The most that Linux passes to a program as one variable with its name: 128 KiB with the NUL behind it.
const LONGEST: usize = (128 << 10) - 1;

/// Numbers of the machine's ports that were chosen lately: their containers may not listen yet.
#[derive(Default)]
pub(crate) struct Chosen(Mutex<VecDeque<u16>>);

const REMEMBERED: usize = 1024;
const ATTEMPTS: u32 = 64;

impl Chosen {
    /// One that nobody listens on now. Blocks shortly.
    fn choose(&self) -> io::Result<u16> {
        for _ in 0..ATTEMPTS {
            let number = process::free_port()?;
            let mut chosen = self.0.lock();
            if !chosen.contains(&number) {
                chosen.push_back(number);
                if chosen.len() > REMEMBERED {
                    chosen.pop_front();
                }
                return Ok(number);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// Reads the secrets and numbers the ports. Blocks.
///
/// # Errors
/// `denied` or `invalid` for a secret that can't be had as it is asked for.
pub(crate) fn give(
    spec: &ContainerSpec,
    granted: Granted<'_>,
    folder: &Path,
    chosen: &Chosen,
) -> Result<Injected, Failure> {
    let ports = ports(spec, chosen)?;
    let mut given = Injected {
        env: Vec::new(),
        files: Vec::new(),
        ports,
        secrets: Vec::new(),
    };
    for (i, port) in given.ports.iter().enumerate() {
        if i == 0 {
            given.env.push(format!("PORT={}", port.number));
        }
        given.env.push(format!(
            "PORT_{}={}",
            port.name.to_ascii_uppercase().replace('-', "_"),
            port.number
        ));
    }
    for (i, var) in spec.env.iter().enumerate() {
        let value = match &var.value {
            EnvValue::Text(text) => text.clone(),
            EnvValue::Secret(secret) => {
                let field = format!("env[{i}]");
                let unfit = || {
                    Failure::invalid(format!(
                        "the value of the secret \"{}\" is no text: pass it as a file",
                        secret.name
                    ))
                    .field(&field)
                };
                let value = Zeroizing::new(secrets::read(granted, Some(folder), secret, &field)?);
                let value = std::str::from_utf8(secrets::variable(&value))
                    .map_err(|_| unfit())?
                    .to_owned();
                if value.contains('\0') {
                    return Err(unfit());
                }
                given.secrets.push(Secret::new(&value));
                value
            }
        };
        let size = var.name.len() + 1 + value.len();
        if size > LONGEST {
            let message = format!(
                "the variable \"{}\" has {size} bytes with its name, and at most {LONGEST} are passed to a program",
                var.name
            );
            return Err(Failure::invalid(message)
                .field(format!("env.{}", var.name))
                .remedy("pass a large value as a file"));
        }
        given.env.push(format!("{}={value}", var.name));
    }
    for (i, file) in spec.files.iter().enumerate() {
        let content = content(file, granted, folder, &format!("files[{i}]"))?;
        if let (FileContent::Secret(_), Ok(text)) = (&file.content, std::str::from_utf8(&content)) {
            given.secrets.push(Secret::new(text.trim_end()));
        }
        given.files.push(File {
            path: file.path.clone(),
            mode: file.mode,
            content,
        });
    }
    Ok(given)
}

impl Injected {
    /// Takes the values of secrets out of what the engine says of its failure.
    pub(crate) fn redact(&self, mut failure: Failure) -> Failure {
        for secret in self
            .secrets
            .iter()
            .map(Secret::expose)
            .filter(|s| !s.is_empty())
        {
            failure.message = failure.message.replace(secret, "(secret)");
        }
        failure
    }
}

fn content(
    file: &ConfigFile,
    granted: Granted<'_>,
    folder: &Path,
    field: &str,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    Ok(Zeroizing::new(match &file.content {
        FileContent::Data(data) => data.clone(),
        FileContent::Secret(secret) => secrets::read(granted, Some(folder), secret, field)?,
    }))
}

/// In the machine's network an engine starts a container whose number somebody has: it would fail, or somebody else would answer for it.
fn not_taken(number: u16, protocol: Protocol) -> Result<(), Failure> {
    let Ok(Some(holder)) = process::port_holder(number, protocol) else {
        return Ok(());
    };
    let pid = holder
        .pid
        .map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let message = format!("port {number} is taken by something that Tradewind did not start{pid}");
    let remedy = "stop what listens there, or leave the number to the daemon: give the port none";
    Err(Failure::new(FailureKind::OutOfCapacity, message)
        .code("port-taken")
        .remedy(remedy))
}

/// In a network of its own a container may have any number; in the machine's it must be one that nobody has.
fn ports(spec: &ContainerSpec, chosen: &Chosen) -> Result<Vec<NotedPort>, Failure> {
    let mut next = FIRST_PORT;
    let mut noted = Vec::new();
    for port in &spec.ports {
        let number = match (port.number, port.published.filter(|p| *p != 0)) {
            (0, Some(published)) if spec.host_network => published,
            (0, None) if spec.host_network => chosen.choose().map_err(|e| {
                Failure::new(
                    FailureKind::OutOfCapacity,
                    format!("no free port is to be had: {}", e.kind()),
                )
            })?,
            (0, _) => {
                while spec.ports.iter().any(|p| p.number == next) {
                    next += 1;
                }
                next += 1;
                next - 1
            }
            (number, _) => number,
        };
        if spec.host_network && (port.number, port.published.unwrap_or_default()) != (0, 0) {
            not_taken(number, port.protocol).map_err(|failure| failure.field("ports"))?;
        }
        noted.push(NotedPort {
            name: port.name.clone(),
            number,
            protocol: port.protocol,
            exposure: port.exposure,
        });
    }
    Ok(noted)
}
