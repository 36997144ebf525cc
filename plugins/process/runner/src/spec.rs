//! From a workload to a process. Pure.

use tradewind_plugin_sdk::{
    Error,
    host::ProcessSpec,
    types::{Job, Run, Workload},
};

/// How a workload runs as a process: services start again whatever ends them, jobs as often as their retries allow.
///
/// # Errors
/// [`Error::unsupported`], with the field, for what a plain process can't have; `invalid` without a command.
pub fn spec(workload: &Workload) -> Result<ProcessSpec, Error> {
    let refuse =
        |field: &str, why: &str| Err(Error::unsupported(why).field(format!("workload.{field}")));
    if workload.image.is_some() {
        return refuse("image", "this provider runs commands, not container images");
    }
    if workload.command.is_empty() {
        return Err(Error::invalid("there is no command to run").field("workload.command"));
    }
    if !workload.user.is_empty() {
        return refuse("user", "processes run as the daemon's own user");
    }
    if !workload.volumes.is_empty() {
        return refuse(
            "volumes",
            "processes have no volumes: use a working folder that the grant allows",
        );
    }
    if !workload.networks.is_empty() {
        return refuse("networks", "processes use the machine's own network");
    }
    if workload.scaling.is_some() {
        return refuse("scaling", "this provider does not scale by itself");
    }
    let (restarts, restart_always, deadline) = match &workload.run {
        Run::Service => (u32::MAX, true, None),
        Run::Job(Job { retries, deadline }) => (*retries, false, *deadline),
    };
    Ok(ProcessSpec {
        command: workload
            .command
            .iter()
            .chain(&workload.arguments)
            .cloned()
            .collect(),
        env: workload.env.clone(),
        working_directory: workload.working_directory.clone(),
        ports: workload.ports.clone(),
        files: workload.files.clone(),
        limits: Some(
            workload
                .limits
                .clone()
                .unwrap_or_else(|| workload.resources.clone()),
        ),
        // The contract's spec has no startup probe: the host takes it from the allocation that it is called for.
        readiness: workload.probes.readiness.clone(),
        liveness: workload.probes.liveness.clone(),
        restarts,
        restart_always,
        deadline,
        stop_signal: workload.stop_signal.clone(),
        stop_grace: workload.stop_grace,
    })
}
