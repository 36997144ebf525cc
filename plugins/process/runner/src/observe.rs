//! From the states of processes to the state of their allocation. Pure.

use tradewind_plugin_sdk::{
    host::ProcessStatus,
    types::{Health, Observation, Phase, Replica},
};

use crate::State;

pub(crate) fn observation(
    allocation: &str,
    state: &State,
    statuses: Vec<Option<ProcessStatus>>,
) -> Observation {
    let mut replicas: Vec<Replica> = (0..)
        .zip(statuses)
        .map(|(index, status)| replica(index, status))
        .collect();
    // An answer that is too short would otherwise pass for fewer replicas.
    replicas.extend((replicas.len() as u32..state.replicas).map(|index| replica(index, None)));
    let phase = phase(&replicas);
    let first_trouble = replicas.iter().find(|replica| !replica.message.is_empty());
    Observation {
        allocation: allocation.to_owned(),
        phase,
        endpoints: Vec::new(),
        message: first_trouble.map_or_else(String::new, |replica| {
            format!("replica {}: {}", replica.index, replica.message)
        }),
        replicas,
        conditions: Vec::new(),
        state: None,
        metered_cost: None,
    }
}

fn replica(index: u32, status: Option<ProcessStatus>) -> Replica {
    let Some(status) = status else {
        return Replica {
            index,
            id: String::new(),
            phase: Phase::Gone,
            health: Health::Unknown,
            endpoints: Vec::new(),
            message: "its process does not exist any more".to_owned(),
            restarts: 0,
            started_at: None,
            ended_at: None,
            exit_code: None,
            usage: None,
        };
    };
    Replica {
        index,
        id: if status.pid == 0 {
            String::new()
        } else {
            status.pid.to_string()
        },
        phase: status.phase,
        health: status.health,
        endpoints: status.endpoints,
        message: status.message,
        restarts: status.restarts,
        started_at: status.started_at,
        ended_at: status.ended_at,
        exit_code: status.exit_code,
        usage: status.usage,
    }
}

/// The allocation's phase: gone when all are; while something starts or runs, that; at the end, success only when all succeeded.
fn phase(replicas: &[Replica]) -> Phase {
    let any = |phase: Phase| replicas.iter().any(|replica| replica.phase == phase);
    let all = |phase: Phase| replicas.iter().all(|replica| replica.phase == phase);
    if all(Phase::Gone) {
        Phase::Gone
    } else if any(Phase::Starting) {
        Phase::Starting
    } else if any(Phase::Running) {
        Phase::Running
    } else if any(Phase::Pending) {
        Phase::Pending
    } else if any(Phase::Stopping) {
        Phase::Stopping
    } else if all(Phase::Succeeded) {
        Phase::Succeeded
    } else {
        Phase::Failed
    }
}
