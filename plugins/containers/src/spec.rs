//! From a workload to a container. Pure.

use tradewind_plugin_sdk::{
    Error,
    host::ContainerSpec,
    types::{Check, Probe, Workload},
};

use crate::settings::{Network, Settings};

/// How a workload runs as a container.
///
/// # Errors
/// [`Error::unsupported`], with the field, for what a container of an engine can't have.
pub(crate) fn spec(workload: &Workload, settings: &Settings) -> Result<ContainerSpec, Error> {
    let refuse =
        |field: &str, why: &str| Err(Error::unsupported(why).field(format!("workload.{field}")));
    let Some(image) = workload.image.clone() else {
        return refuse(
            "image",
            "this provider runs container images, and the workload names none",
        );
    };
    if workload.scaling.is_some() {
        return refuse("scaling", "this provider does not scale by itself");
    }
    if !workload.resources.accelerators.is_empty() {
        return refuse(
            "resources.accelerators",
            "this provider has no accelerators",
        );
    }
    Ok(ContainerSpec {
        image,
        pull: settings.pull.into(),
        run: workload.run,
        restarts: settings.restarts,
        command: workload.command.clone(),
        arguments: workload.arguments.clone(),
        working_directory: workload.working_directory.clone(),
        user: workload.user.clone(),
        env: workload.env.clone(),
        ports: workload.ports.clone(),
        volumes: workload.volumes.clone(),
        host_network: settings.network == Network::Host && workload.networks.is_empty(),
        networks: workload.networks.clone(),
        files: workload.files.clone(),
        resources: workload.resources.clone(),
        limits: workload.limits.clone(),
        privileged: false,
        health: health(workload)?,
        stop_signal: workload.stop_signal.clone(),
        stop_grace: workload.stop_grace,
        labels: workload.labels.clone(),
    })
}

/// The command by which the engine checks a container. Other checks are the daemon's: the engine knows none, and the health stays unknown here.
fn health(workload: &Workload) -> Result<Option<Probe>, Error> {
    let probes = &workload.probes;
    let mut commands = [&probes.readiness, &probes.startup, &probes.liveness]
        .into_iter()
        .flatten()
        .filter(|probe| matches!(probe.check, Check::Command(_)));
    let first = commands.next();
    let others = |probe: &Probe| first.is_some_and(|first| first.check != probe.check);
    if commands.any(others) {
        let error = Error::unsupported(
            "an engine checks a container by one command only, and the probes have several",
        );
        return Err(error.field("workload.probes"));
    }
    Ok(first.cloned())
}
