//! From the states of containers to the state of their allocation. Pure.

use tradewind_plugin_sdk::{
    host::ContainerStatus,
    provider::images,
    types::{Health, Observation, Phase, Replica},
};

pub(crate) fn observation(
    allocation: &str,
    replicas: u32,
    statuses: Vec<Option<ContainerStatus>>,
) -> Observation {
    let runs = statuses
        .iter()
        .flatten()
        .filter(|s| !matches!(s.phase, Phase::Stopping | Phase::Gone))
        .map(|s| s.image.as_str());
    let conditions = images(runs).into_iter().collect();
    let mut seen: Vec<Replica> = (0..)
        .zip(statuses)
        .map(|(index, status)| replica(index, status))
        .collect();
    // An answer that is too short would otherwise pass for fewer replicas.
    seen.extend((seen.len() as u32..replicas).map(|index| replica(index, None)));
    let first_trouble = seen.iter().find(|replica| !replica.message.is_empty());
    Observation {
        allocation: allocation.to_owned(),
        phase: phase(&seen),
        endpoints: Vec::new(),
        message: first_trouble.map_or_else(String::new, |replica| {
            format!("replica {}: {}", replica.index, replica.message)
        }),
        replicas: seen,
        conditions,
        state: None,
        metered_cost: None,
    }
}

fn replica(index: u32, status: Option<ContainerStatus>) -> Replica {
    let Some(status) = status else {
        return Replica {
            index,
            id: String::new(),
            phase: Phase::Gone,
            health: Health::Unknown,
            endpoints: Vec::new(),
            message: "its container does not exist any more".to_owned(),
            restarts: 0,
            started_at: None,
            ended_at: None,
            exit_code: None,
            usage: None,
        };
    };
    Replica {
        index,
        id: status.id,
        phase: status.phase,
        health: status.health,
        endpoints: status.endpoints,
        message: status.message,
        restarts: status.restarts,
        started_at: status.started_at,
        ended_at: status.ended_at,
        exit_code: status.exit_code,
        usage: None,
    }
}

/// The allocation's phase: gone when all are; while something starts or runs, that; at the end, success only when all succeeded.
fn phase(replicas: &[Replica]) -> Phase {
    let any = |phase: Phase| replicas.iter().any(|replica| replica.phase == phase);
    let all = |phase: Phase| replicas.iter().all(|replica| replica.phase == phase);
    if all(Phase::Gone) {
        return Phase::Gone;
    }
    if all(Phase::Succeeded) {
        return Phase::Succeeded;
    }
    let under_way = [
        Phase::Starting,
        Phase::Running,
        Phase::Pending,
        Phase::Stopping,
    ];
    under_way
        .into_iter()
        .find(|phase| any(*phase))
        .unwrap_or(Phase::Failed)
}
