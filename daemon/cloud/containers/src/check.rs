//! Holds a container's spec against its grant. It must not talk to the engine. Lookups of host paths block shortly.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use tradewind_core::{
    capability::containers::{ContainerSpec, Pull},
    failure::Failure,
    grant::{ContainersGrant, pattern},
    names::Digest,
    workload::{Check, ConfigFile, EnvValue, Exposure, FileContent, Port, Volume, VolumeSource},
};
use tradewind_credentials::secrets;

use crate::{archive, labels};

/// A spec that has passed every check, with what was found on the way.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) spec: ContainerSpec,
    pub(crate) digest: String,
    /// Of the same spec with its image named without a digest: the containers of one revision differ in that.
    pub(crate) unpinned: String,
    /// Whether the image is granted with the digest that it is named with. Else it is to be shown to be what its name without it means.
    pub(crate) by_digest: bool,
    /// For each volume that is a path of the machine, where that really is.
    pub(crate) host_paths: Vec<Option<PathBuf>>,
}

/// # Errors
/// `invalid` for what can never work, `denied` for what the grant does not allow; both name the field.
pub(crate) fn prepare(grant: &ContainersGrant, spec: ContainerSpec) -> Result<Prepared, Failure> {
    let text = serde_json::to_vec(&spec)
        .map_err(|e| Failure::internal(format!("the spec can't be written down: {e}")))?;
    let by_digest = image(grant, &spec)?;
    words(&spec)?;
    environment(grant, &spec)?;
    ports(grant, &spec)?;
    let host_paths = spec
        .volumes
        .iter()
        .enumerate()
        .map(|(i, v)| volume(grant, v, &format!("volumes[{i}]")))
        .collect::<Result<_, _>>()?;
    networks(grant, &spec)?;
    for (i, file) in spec.files.iter().enumerate() {
        config_file(grant, file, &format!("files[{i}]"))?;
    }
    if spec.privileged && !grant.privileged {
        return Err(denied(
            "privileged containers are not granted",
            "privileged",
            "set privileged = true".to_owned(),
        ));
    }
    if let Some(probe) = &spec.health {
        match &probe.check {
            Check::Command { command } if !command.is_empty() => {}
            _ => {
                return Err(
                    Failure::invalid("an engine checks by a command only").field("health.check")
                );
            }
        }
    }
    if let Some((key, _)) = spec
        .labels
        .iter()
        .find(|(key, _)| key.starts_with(labels::PREFIX))
    {
        let message = format!(
            "the label \"{}\" begins like the host's own",
            key.escape_debug()
        );
        return Err(Failure::invalid(message).field("labels"));
    }
    let digest = Digest::of(&text).to_string();
    let unpinned = match tradewind_core::image::split(&spec.image) {
        (_, None) => digest.clone(),
        (name, Some(_)) => {
            let unpinned = ContainerSpec {
                image: name.to_owned(),
                ..spec.clone()
            };
            let text = serde_json::to_vec(&unpinned)
                .map_err(|e| Failure::internal(format!("the spec can't be written down: {e}")))?;
            Digest::of(&text).to_string()
        }
    };
    Ok(Prepared {
        digest,
        unpinned,
        by_digest,
        spec,
        host_paths,
    })
}

/// A refusal with the line that would lift it.
fn denied(message: impl Into<String>, field: &str, line: String) -> Failure {
    Failure::not_granted(message, field).remedy(format!(
        "{line} in [grants.containers] of the instance file"
    ))
}

pub(crate) fn secrets_of(grant: &ContainersGrant) -> secrets::Granted<'_> {
    secrets::Granted {
        capability: "containers",
        secrets: &grant.secrets,
        namespace: grant.namespace.as_ref(),
    }
}

/// Whether the image is granted as it is named; false: only as it is named without its digest.
fn image(grant: &ContainersGrant, spec: &ContainerSpec) -> Result<bool, Failure> {
    let (image, shown) = (&spec.image, spec.image.escape_debug());
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.:/@".contains(&c);
    if image.is_empty()
        || image.len() > 512
        || !image.bytes().all(plain)
        || !image.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Err(Failure::invalid(format!("\"{shown}\" is not an image's name")).field("image"));
    }
    let granted = |image: &str| grant.images.iter().any(|p| pattern::matches(p, image));
    let (name, digest) = tradewind_core::image::split(image);
    let by_digest = granted(image);
    if !(by_digest || digest.is_some() && granted(name)) {
        return Err(denied(
            format!("the image \"{shown}\" is not granted"),
            "image",
            format!("add \"{shown}\" to images"),
        ));
    }
    if spec.pull == Pull::Always && !grant.pull {
        return Err(denied(
            "pulling images is not granted",
            "pull",
            "set pull = true".to_owned(),
        ));
    }
    Ok(by_digest)
}

/// Texts that go to the engine as they are.
fn words(spec: &ContainerSpec) -> Result<(), Failure> {
    for (field, words) in [("command", &spec.command), ("arguments", &spec.arguments)] {
        if let Some(i) = words.iter().position(|w| w.contains('\0')) {
            return Err(Failure::invalid("an argument contains a NUL character")
                .field(format!("{field}[{i}]")));
        }
    }
    if let Some(folder) = &spec.working_directory {
        inside(folder, "working-directory")?;
    }
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.:".contains(&c);
    if spec.user.len() > 128 || !spec.user.bytes().all(plain) {
        return Err(Failure::invalid(format!(
            "\"{}\" is neither a user nor user:group",
            spec.user.escape_debug()
        ))
        .field("user"));
    }
    if spec.stop_signal.len() > 16 || !spec.stop_signal.bytes().all(|c| c.is_ascii_alphanumeric()) {
        let message = format!(
            "\"{}\" is not a signal to stop with",
            spec.stop_signal.escape_debug()
        );
        return Err(Failure::invalid(message).field("stop-signal"));
    }
    Ok(())
}

/// A path inside the container.
fn inside(path: &str, field: &str) -> Result<(), Failure> {
    let good = Path::new(path).is_absolute()
        && !Path::new(path)
            .components()
            .any(|c| c == Component::ParentDir)
        && !path.contains(['\0', ',']);
    if good {
        Ok(())
    } else {
        Err(Failure::invalid(format!(
            "\"{}\" is not an absolute path without \"..\"",
            path.escape_debug()
        ))
        .field(field))
    }
}

fn environment(grant: &ContainersGrant, spec: &ContainerSpec) -> Result<(), Failure> {
    for (i, var) in spec.env.iter().enumerate() {
        let field = format!("env[{i}]");
        if var.name.is_empty() || var.name.contains(['=', '\0']) {
            let message = format!("\"{}\" is not a variable's name", var.name.escape_debug());
            return Err(Failure::invalid(message).field(format!("{field}.name")));
        }
        match &var.value {
            EnvValue::Text(text) if text.contains('\0') => {
                return Err(Failure::invalid("the value contains a NUL character")
                    .field(format!("{field}.value")));
            }
            EnvValue::Text(_) => {}
            EnvValue::Secret(secret) => secrets::check(secrets_of(grant), secret, &field)?,
        }
    }
    Ok(())
}

fn ports(grant: &ContainersGrant, spec: &ContainerSpec) -> Result<(), Failure> {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in spec.ports.iter().enumerate() {
        let field = format!("ports[{i}]");
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if port.name.is_empty()
            || !port.name.bytes().all(plain)
            || !names.insert(port.name.to_ascii_uppercase().replace('-', "_"))
        {
            let message = format!(
                "\"{}\" is not a port's name, or it repeats: use letters, digits and hyphens",
                port.name.escape_debug()
            );
            return Err(Failure::invalid(message).field(format!("{field}.name")));
        }
        if port.number != 0 && !numbers.insert(port.number) {
            return Err(
                Failure::invalid(format!("the port \"{}\" repeats", port.number))
                    .field(format!("{field}.number")),
            );
        }
        if let Some(number) = on_the_machine(spec, port, &field)?
            && !grant
                .ports
                .iter()
                .any(|r| (r.from..=r.to).contains(&number))
        {
            let line = format!(
                "leave the number to the engine, or add {{ from = {number}, to = {number} }} to ports"
            );
            return Err(denied(
                format!("the port \"{number}\" is not granted"),
                &format!("{field}.published"),
                line,
            ));
        }
        // In the machine's own network nothing stands between a container and the machine's addresses: that grant includes this one.
        if port.exposure == Exposure::Public && !spec.host_network && grant.public_address.is_none()
        {
            let message = format!(
                "the port \"{}\" is public, and public ports are not granted",
                port.name
            );
            return Err(denied(
                message,
                &format!("{field}.exposure"),
                "set public-address to an address of the engine's machine".to_owned(),
            ));
        }
    }
    Ok(())
}

/// The number that a port takes on the engine's machine, where it asks for one.
pub(crate) fn on_the_machine(
    spec: &ContainerSpec,
    port: &Port,
    field: &str,
) -> Result<Option<u16>, Failure> {
    let published = port.published.filter(|p| *p != 0);
    match (spec.host_network, port.number) {
        (false, _) | (true, 0) => Ok(published),
        (true, number) if published.is_none_or(|p| p == number) => Ok(Some(number)),
        (true, number) => {
            let message = format!(
                "in the machine's own network the port \"{number}\" can't be published under another number"
            );
            Err(Failure::invalid(message).field(format!("{field}.published")))
        }
    }
}

fn volume(
    grant: &ContainersGrant,
    volume: &Volume,
    field: &str,
) -> Result<Option<PathBuf>, Failure> {
    inside(&volume.path, &format!("{field}.path"))?;
    if Path::new(&volume.path).parent().is_none() {
        return Err(
            Failure::invalid("a volume can't take the place of the whole container")
                .field(format!("{field}.path")),
        );
    }
    match &volume.source {
        VolumeSource::Scratch { .. } => Ok(None),
        VolumeSource::Persistent { name, class, .. } => {
            plain_name(name, "a volume", &format!("{field}.source.name"))?;
            if !matches!(class.as_str(), "" | "local") {
                let message = format!(
                    "the engine keeps volumes on its own disk; it has no class \"{}\"",
                    class.escape_debug()
                );
                return Err(Failure::invalid(message).field(format!("{field}.source.class")));
            }
            Ok(None)
        }
        VolumeSource::HostPath { path } => {
            host_path(grant, path, &format!("{field}.source")).map(Some)
        }
    }
}

/// Where a path of the machine really is. What is granted may itself be a link of who has granted it.
fn host_path(grant: &ContainersGrant, path: &str, field: &str) -> Result<PathBuf, Failure> {
    inside(path, field)?;
    let shown = path.escape_debug();
    let refused = || {
        let line = format!("add \"{shown}\" to host-paths");
        denied(
            format!("the path \"{shown}\" of the machine is not granted"),
            field,
            line,
        )
    };
    // Whether a path outside the grant exists is none of the guest's business.
    if !pattern::mounts(grant.host_paths.iter().map(|e| e.name.as_str()), path) {
        return Err(refused());
    }
    fs::canonicalize(path).map_err(|_| {
        Failure::invalid(format!(
            "the path \"{shown}\" of the machine does not exist, or can't be entered"
        ))
        .field(field)
    })
}

fn networks(grant: &ContainersGrant, spec: &ContainerSpec) -> Result<(), Failure> {
    if spec.host_network && !grant.host_network {
        return Err(denied(
            "the machine's own network is not granted",
            "host-network",
            "set host-network = true".to_owned(),
        ));
    }
    if spec.host_network && !spec.networks.is_empty() {
        return Err(Failure::invalid(
            "a container in the machine's own network can't be in others",
        )
        .field("networks"));
    }
    for (i, network) in spec.networks.iter().enumerate() {
        plain_name(&network.name, "a network", &format!("networks[{i}].name"))?;
        if let Some(option) = network.options.keys().next() {
            let message = format!(
                "networks of an engine take no option \"{}\"",
                option.escape_debug()
            );
            return Err(Failure::invalid(message).field(format!("networks[{i}].options")));
        }
    }
    Ok(())
}

fn plain_name(name: &str, what: &str, field: &str) -> Result<(), Failure> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(plain) {
        let message = format!(
            "\"{}\" is not the name of {what}: use letters, digits and - _ .",
            name.escape_debug()
        );
        return Err(Failure::invalid(message).field(field));
    }
    Ok(())
}

fn config_file(grant: &ContainersGrant, file: &ConfigFile, field: &str) -> Result<(), Failure> {
    let path = Path::new(&file.path);
    if path.file_name().is_none()
        || path.components().any(|c| c == Component::ParentDir)
        || file.path.contains('\0')
        || !archive::fits(&file.path)
    {
        let message = format!(
            "\"{}\" is not a file's path without \"..\", or it is too long",
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
