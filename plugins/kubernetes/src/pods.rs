//! What a pod says of the replica that it is.

use tradewind_plugin_sdk::types::{Endpoint, Exposure, Health, Phase, Replica};

use crate::{
    seen::{ContainerStatus, Pod, Waiting, millis},
    state::Wired,
};

/// A replica of which nothing is known yet.
pub(crate) fn blank(index: u32, phase: Phase, message: impl Into<String>) -> Replica {
    Replica {
        index,
        id: String::new(),
        phase,
        health: Health::Unknown,
        endpoints: Vec::new(),
        message: message.into(),
        restarts: 0,
        started_at: None,
        ended_at: None,
        exit_code: None,
        usage: None,
    }
}

/// The condition of a pod that the cluster ends, for reasons that are not the pod's.
pub(crate) const DISRUPTED: &str = "DisruptionTarget";
/// What clusters that don't set that condition give as the reason of such a pod, and what a node says that takes a bound pod not at all.
const LOST: [&str; 8] = [
    "Evicted",
    "NodeLost",
    "NodeShutdown",
    "Shutdown",
    "Terminated",
    "Preempting",
    "NodeAffinity",
    "UnexpectedAdmissionError",
];

/// Whether a pod has failed because the cluster took it away, not by what runs in it.
pub(crate) fn is_lost(pod: &Pod) -> bool {
    let status = &pod.status;
    let disrupted = || {
        status
            .conditions
            .iter()
            .any(|c| c.kind == DISRUPTED && c.status == "True")
    };
    let refused = || status.reason.starts_with("OutOf");
    status.phase == "Failed" && (disrupted() || refused() || LOST.contains(&status.reason.as_str()))
}

pub(crate) fn replica(index: u32, pod: &Pod, ports: &[Wired]) -> Replica {
    let container = pod.status.container_statuses.first();
    let ended = container.and_then(|c| {
        c.state
            .terminated
            .as_ref()
            .or(c.last_state.terminated.as_ref())
    });
    let running = container
        .and_then(|c| c.state.running.as_ref())
        .and_then(|r| r.started_at.as_deref());
    let (phase, message) = phase(pod, container);
    let ready = is_ready(pod);
    // A pod without a readiness probe is ready from its first instant: that says nothing.
    let probed = pod
        .spec
        .containers
        .first()
        .is_some_and(|c| c.readiness_probe.is_some());
    let health = match phase {
        Phase::Running if ready && !probed => Health::Unknown,
        Phase::Running if ready => Health::Healthy,
        Phase::Running => Health::Unhealthy,
        _ => Health::Unknown,
    };
    // It has not come to an end: it is made again.
    let lost = is_lost(pod);
    let message = if lost {
        format!("lost: {message}")
    } else {
        message
    };
    let endpoint = |port: &Wired| Endpoint {
        port: port.name.clone(),
        protocol: port.protocol(),
        host: pod.status.pod_ip.clone(),
        number: port.number,
        exposure: Exposure::Internal,
    };
    Replica {
        id: pod.metadata.name.clone(),
        health,
        endpoints: if pod.status.pod_ip.is_empty() {
            Vec::new()
        } else {
            ports.iter().map(endpoint).collect()
        },
        restarts: container.map_or(0, |c| c.restart_count),
        // Of this run: the pod's own time is that of its first.
        started_at: running
            .or(pod.status.start_time.as_deref())
            .filter(|_| !lost)
            .and_then(millis),
        ended_at: ended
            .filter(|_| phase != Phase::Running && !lost)
            .and_then(|t| t.finished_at.as_deref())
            .and_then(millis),
        exit_code: ended.filter(|_| !lost).map(|t| t.exit_code),
        ..blank(index, phase, message)
    }
}

/// The image that a pod runs, with its digest, once its node has told. Nodes that have it from no registry tell an id of their own, by which no
/// other node finds it.
pub(crate) fn image(pod: &Pod) -> Option<String> {
    let asked = pod.spec.containers.first()?.image.split('@').next()?;
    let id = &pod.status.container_statuses.first()?.image_id;
    let (repository, digest) = id.rsplit_once('@')?;
    let known = !repository.is_empty() && digest.starts_with("sha256:");
    (known && !asked.is_empty()).then(|| format!("{asked}@{digest}"))
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    pod.status
        .conditions
        .iter()
        .any(|c| c.kind == "Ready" && c.status == "True")
}

fn phase(pod: &Pod, container: Option<&ContainerStatus>) -> (Phase, String) {
    if pod.metadata.deletion_timestamp.is_some() {
        return (Phase::Stopping, "is being removed".to_owned());
    }
    let status = &pod.status;
    let told = [&status.reason, &status.message]
        .into_iter()
        .filter(|text| !text.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join(": ");
    let waiting = container
        .and_then(|c| c.state.waiting.as_ref())
        .map(said)
        .unwrap_or_default();
    let ended = container.and_then(|c| c.state.terminated.as_ref());
    match status.phase.as_str() {
        "Succeeded" => (Phase::Succeeded, String::new()),
        "Failed" => {
            let code = ended
                .map(|t| format!("ended with status {} ({})", t.exit_code, t.reason))
                .unwrap_or_default();
            (Phase::Failed, if told.is_empty() { code } else { told })
        }
        // A container that has ended and is to be started again does not run.
        "Running" if waiting.is_empty() && ended.is_none() => (Phase::Running, String::new()),
        "Running" if waiting.is_empty() => {
            let said =
                ended.map(|t| format!("ended with status {}; is started again", t.exit_code));
            (Phase::Starting, said.unwrap_or_default())
        }
        _ => {
            let unscheduled = status
                .conditions
                .iter()
                .find(|c| c.kind == "PodScheduled" && c.status == "False");
            let placed = unscheduled
                .map(|c| format!("{}: {}", c.reason, c.message))
                .unwrap_or_default();
            let message = [waiting, placed, told]
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default();
            (Phase::Starting, message)
        }
    }
}

/// Why a container waits. That it is being made is no reason.
fn said(waiting: &Waiting) -> String {
    match (waiting.reason.as_str(), waiting.message.as_str()) {
        ("ContainerCreating" | "PodInitializing", _) => String::new(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}
