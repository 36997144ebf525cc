//! What an allocation means to a cloud: what each instance shall run, its tags, its name, and a fingerprint that tells old from new.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Cloud, Wired};
use crate::{
    Error, api,
    types::{Allocation, EnvValue, EnvVar, FileContent, Port, Workload},
};

/// The host's tags by which everything is found again.
pub const PROVIDER: &str = "tradewind.dev/provider";
/// Likewise.
pub const ALLOCATION: &str = "tradewind.dev/allocation";
/// The number of the replica: our own, beside the host's.
pub const REPLICA: &str = "tradewind.dev/replica";
/// The fingerprint of what it runs, likewise.
pub const SPEC: &str = "tradewind.dev/spec";

const HOSTS: &str = "tradewind.dev/";
const FLAT: &str = "tradewind-";
/// The first port that a workload gets which leaves the choice to the provider.
const FIRST_PORT: u16 = 8080;

/// An allocation in a cloud's words.
pub struct Described {
    /// What each instance shall run.
    pub workload: Value,
    /// Its ports, as their endpoints are told.
    pub ports: Vec<Wired>,
}

pub(super) struct Wanted<'a> {
    pub(super) allocation: &'a Allocation,
    pub(super) place: String,
    pub(super) workload: Value,
    pub(super) spec: String,
    pub(super) ports: Vec<Wired>,
    tags: Vec<(String, String)>,
}

impl<'a> Wanted<'a> {
    pub(super) fn of<C: Cloud>(cloud: &C, allocation: &'a Allocation) -> Result<Self, Error> {
        let Described { workload, ports } = cloud.describe(allocation)?;
        let place = cloud.place(&allocation.offer)?;
        let spec = api::fingerprint(&format!("{} {workload}", allocation.offer.size));
        let of_host = |key: &str| {
            allocation
                .tags
                .iter()
                .find(|tag| tag.key == key)
                .map(|tag| (tag.key.clone(), tag.value.clone()))
        };
        let mut tags: Vec<(String, String)> = [PROVIDER, ALLOCATION]
            .into_iter()
            .filter_map(of_host)
            .collect();
        if tags.len() < 2 {
            return Err(Error::internal(format!(
                "the host has given no tags {PROVIDER:?} and {ALLOCATION:?}"
            )));
        }
        tags.push((SPEC.to_owned(), spec.clone()));
        let further = allocation
            .tags
            .iter()
            .filter(|tag| tag.key != PROVIDER && tag.key != ALLOCATION);
        tags.extend(further.map(|tag| (tag.key.clone(), tag.value.clone())));
        Ok(Self {
            allocation,
            place,
            workload,
            spec,
            ports,
            tags,
        })
    }

    /// The tags of one replica's instance.
    pub(super) fn tags(&self, index: u32) -> Vec<(String, String)> {
        let mut tags = self.tags.clone();
        tags.insert(2, (REPLICA.to_owned(), index.to_string()));
        tags
    }

    /// The name of one replica's instance: readable as far as there is room, and never that of another one.
    pub(super) fn name(&self, index: u32) -> String {
        let readable = self
            .allocation
            .id
            .get(..24)
            .unwrap_or(&self.allocation.id)
            .trim_end_matches('-');
        let unique = api::fingerprint(&format!("{} {}", self.allocation.id, self.spec));
        format!("tw-{readable}-{unique}-{index}")
    }
}

/// A tag's key for clouds whose keys have neither dots nor slashes.
pub fn flat_tag(key: &str) -> String {
    key.strip_prefix(HOSTS)
        .map_or_else(|| key.to_owned(), |name| format!("{FLAT}{name}"))
}

/// The key that was flattened.
pub fn full_tag(key: &str) -> String {
    key.strip_prefix(FLAT)
        .map_or_else(|| key.to_owned(), |name| format!("{HOSTS}{name}"))
}

/// Refuses, by its field, what a cloud of plain instances has not: volumes, networks, files, scaling of its own, accelerators. The task goes
/// elsewhere then.
///
/// # Errors
/// [`Error::unsupported`].
pub fn refuse(workload: &Workload) -> Result<(), Error> {
    let refused = [
        (!workload.volumes.is_empty(), "workload.volumes", "volumes"),
        (
            !workload.networks.is_empty(),
            "workload.networks",
            "networks",
        ),
        (!workload.files.is_empty(), "workload.files", "files"),
        (
            workload.scaling.is_some(),
            "workload.scaling",
            "scaling by the provider",
        ),
        (
            !workload.resources.accelerators.is_empty(),
            "workload.resources.accelerators",
            "accelerators",
        ),
    ];
    match refused.into_iter().find(|(present, ..)| *present) {
        Some((_, field, what)) => {
            Err(Error::unsupported(format!("this provider has no {what}")).field(field))
        }
        None => Ok(()),
    }
}

/// Refuses a workload by its largest part when what an instance is told of it is too long. `told`: what that is called, such as "the user
/// data"; `size` and `most` in bytes.
///
/// # Errors
/// `invalid` with the field and its size.
pub fn fits(workload: &Workload, told: &str, size: usize, most: usize) -> Result<(), Error> {
    if size <= most {
        return Ok(());
    }
    let env = workload
        .env
        .iter()
        .enumerate()
        .filter_map(|(i, var)| match &var.value {
            EnvValue::Text(text) => Some((
                text.len(),
                format!("workload.env[{i}].value"),
                format!("the variable {:?}", var.name),
            )),
            EnvValue::Secret(_) => None,
        });
    let files = workload
        .files
        .iter()
        .enumerate()
        .filter_map(|(i, file)| match &file.content {
            FileContent::Data(data) => Some((
                data.len(),
                format!("workload.files[{i}].content"),
                format!("the file {:?}", file.path),
            )),
            FileContent::Secret(_) => None,
        });
    let words = [
        ("command", &workload.command),
        ("arguments", &workload.arguments),
    ]
    .map(|(field, words)| {
        (
            words.iter().map(String::len).sum::<usize>(),
            format!("workload.{field}"),
            format!("the {field}"),
        )
    });
    let largest = env.chain(files).chain(words).max_by_key(|(size, ..)| *size);
    let (part, field, what) =
        largest.unwrap_or_else(|| (0, "workload".to_owned(), "the workload".to_owned()));
    let message = format!(
        "{told} of an instance would have {size} bytes, and at most {most} are taken: {what} has {part} of them"
    );
    Err(Error::invalid(message)
        .field(field)
        .remedy("put large content into the image, or have the program fetch it"))
}

/// The ports with their numbers, for instances with an address of their own: those without one get 8080 and what follows.
///
/// # Errors
/// [`Error::unsupported`] for a published port that differs: there is nothing that could map it.
pub fn numbered(ports: &[Port]) -> Result<Vec<(&Port, u16)>, Error> {
    let mut taken: BTreeSet<u16> = ports.iter().map(|port| port.number).collect();
    let mut out = Vec::with_capacity(ports.len());
    for (i, port) in ports.iter().enumerate() {
        let wanted = if port.number == 0 {
            port.published.unwrap_or(0)
        } else {
            port.number
        };
        if port.published.is_some_and(|published| published != wanted) {
            let message = format!(
                "the port {:?} can't be published under another number than its own",
                port.name
            );
            return Err(Error::unsupported(message).field(format!("workload.ports[{i}].published")));
        }
        let number = if wanted == 0 {
            (FIRST_PORT..)
                .find(|number| !taken.contains(number))
                .unwrap_or(FIRST_PORT)
        } else {
            wanted
        };
        taken.insert(number);
        out.push((port, number));
    }
    Ok(out)
}

/// A workload's environment: its own, and `PORT_<NAME>` of each port, `PORT` of the first, where it does not say otherwise.
///
/// # Errors
/// `invalid` for a text in which the host would look for a secret's name.
pub fn environment(
    workload: &Workload,
    ports: &[(&Port, u16)],
) -> Result<Vec<(String, EnvValue)>, Error> {
    let text =
        |var: &EnvVar| matches!(&var.value, EnvValue::Text(text) if text.contains("{{secret:"));
    if let Some(i) = workload.env.iter().position(text) {
        let message = "a text must not contain \"{{secret:\": name the secret as the variable's value instead";
        return Err(Error::invalid(message).field(format!("workload.env[{i}]")));
    }
    let mut env: Vec<(String, EnvValue)> = workload
        .env
        .iter()
        .map(|var| (var.name.clone(), var.value.clone()))
        .collect();
    let first = ports
        .first()
        .map(|(_, number)| ("PORT".to_owned(), *number));
    let named = ports.iter().map(|(port, number)| {
        (
            format!("PORT_{}", port.name.to_ascii_uppercase().replace('-', "_")),
            *number,
        )
    });
    for (name, number) in first.into_iter().chain(named) {
        if env.iter().all(|(known, _)| *known != name) {
            env.push((name, EnvValue::Text(number.to_string())));
        }
    }
    Ok(env)
}
