//! From what an engine lists of a container to its status. Pure.
//!
//! One list tells of all containers, but not when each began, how often the engine has started it again, and why it ended. That is asked for
//! each container when it is first seen and when the list shows that it has begun or ended anew, and kept in between: what a look costs does not
//! grow with the containers that are as they were.

use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum as State,
    HealthStatusEnum, PortSummaryTypeEnum,
};
use tradewind_core::{
    capability::containers::{ContainerKey, ContainerStatus},
    failure::Failure,
    grant::ContainersGrant,
    units::{Instant, Millis},
    workload::{Endpoint, Health, Phase, Protocol},
};

use crate::{
    body,
    labels::{self, Note},
};

/// How far the engine's clock and its rounding may put a time off.
const SLACK: Millis = Millis(1_500);

/// An engine that starts a failed container again has done so after this.
const RESTART_PATIENCE: Millis = Millis(10_000);

/// How a container ended that went with its machine or its engine: by a signal, or unseen.
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;
const UNKNOWN: i32 = 255;
/// So long after its start an engine has seen what is left of its containers.
const TAKEN_OVER: Millis = Millis(30_000);
const LOST: &str = "lost: the machine or the engine was restarted";

/// What was asked of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) running: bool,
    pub(crate) restarts: u32,
    pub(crate) created_at: Option<Instant>,
    /// The latest start: the engine may have started it again.
    pub(crate) started_at: Option<Instant>,
    pub(crate) ended_at: Option<Instant>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) out_of_memory: bool,
    pub(crate) error: String,
    /// It shares the network of the engine's machine.
    pub(crate) host_network: bool,
    /// It went with its machine or its engine, not by itself.
    pub(crate) lost: bool,
}

/// What one entry of the list says.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) key: ContainerKey,
    pub(crate) note: Note,
    pub(crate) phase: Seen,
    health: Health,
    /// The shortest time since it began or ended; none where the list tells it too coarsely.
    since: Option<Millis>,
    ports: Vec<Published>,
    /// The engine's id of the image that it was made from.
    pub(crate) image_id: Option<String>,
}

/// A port on the engine's machine.
#[derive(Debug, Clone)]
struct Published {
    inside: u16,
    number: u16,
    host: String,
    udp: bool,
}

/// The state of a container, as far as it decides a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Created,
    Running,
    Restarting,
    Ended,
    Removing,
}

impl Listed {
    /// None: an entry without an id or without our labels.
    pub(crate) fn read(summary: ContainerSummary) -> Option<Self> {
        let labels = summary.labels.as_ref()?;
        let (key, note) = (labels::key(labels)?, labels::note(Some(labels)));
        let text = summary.status.unwrap_or_default();
        let phase = match summary.state? {
            State::EMPTY | State::CREATED => Seen::Created,
            State::RUNNING | State::PAUSED | State::STOPPING => Seen::Running,
            State::RESTARTING => Seen::Restarting,
            State::EXITED | State::DEAD => Seen::Ended,
            State::REMOVING => Seen::Removing,
        };
        let ports = summary
            .ports
            .unwrap_or_default()
            .into_iter()
            .filter_map(|p| {
                let host =
                    p.ip.filter(|ip| !ip.is_empty())
                        .unwrap_or_else(|| "127.0.0.1".to_owned());
                Some(Published {
                    inside: p.private_port,
                    number: p.public_port?,
                    host,
                    udp: p.typ == Some(PortSummaryTypeEnum::UDP),
                })
            });
        let (health, since) = (health(&text), age(&text));
        Some(Self {
            id: summary.id?,
            key,
            note,
            phase,
            health,
            since,
            ports: ports.collect(),
            image_id: summary.image_id,
        })
    }

    /// Whether what was asked of it before still holds.
    pub(crate) fn agrees(&self, known: &Detail, now: Instant) -> bool {
        let (same, at) = match self.phase {
            Seen::Running => (known.running, known.started_at),
            Seen::Ended => (
                !known.running && (known.ended_at.is_some() || known.lost),
                known.ended_at,
            ),
            // Some engines say so of what ran until the machine was restarted.
            Seen::Created => return known.created_at.is_some() && !known.running,
            // Nothing is asked of these.
            Seen::Restarting | Seen::Removing => return true,
        };
        // It has been so for less than this: it was not so before.
        let newest = self
            .since
            .map(|since| Instant(now.0.saturating_sub(since.0).saturating_sub(SLACK.0)));
        same && match (at, newest) {
            (Some(at), Some(newest)) => newest <= at,
            _ => true,
        }
    }

    /// Whether it runs longer than it may.
    pub(crate) fn is_late(&self, known: &Detail, now: Instant) -> bool {
        self.phase == Seen::Running && self.late_at(known).is_some_and(|at| at <= now)
    }

    /// Whether the engine is about to start it again.
    fn comes_back(&self, known: &Detail, now: Instant) -> bool {
        let just = known
            .ended_at
            .is_some_and(|at| now.since(at) < RESTART_PATIENCE);
        just && known.exit_code != Some(0) && known.restarts < self.note.restarts
    }

    /// When its deadline is: of all its attempts together. It is created right before its first start.
    fn late_at(&self, known: &Detail) -> Option<Instant> {
        let first = if known.restarts == 0 {
            known.started_at
        } else {
            known.created_at.or(known.started_at)
        };
        Some(first?.plus(Millis(self.note.deadline?)))
    }

    pub(crate) fn status(
        self,
        grant: &ContainersGrant,
        known: &Detail,
        now: Instant,
    ) -> ContainerStatus {
        let late = self
            .late_at(known)
            .filter(|at| known.ended_at.unwrap_or(now) >= *at && self.phase != Seen::Created);
        let lost = known.lost && matches!(self.phase, Seen::Created | Seen::Ended);
        let (phase, message) = match self.phase {
            _ if lost => (Phase::Failed, LOST.to_owned()),
            Seen::Created => (Phase::Starting, String::new()),
            Seen::Restarting => (
                Phase::Starting,
                format!("is started again after it {}", ended(known)),
            ),
            Seen::Removing => (Phase::Stopping, String::new()),
            _ if late.is_some() => (
                Phase::Failed,
                format!(
                    "did not end within its deadline of {}",
                    Millis(self.note.deadline.unwrap_or_default())
                ),
            ),
            Seen::Running => (Phase::Running, String::new()),
            Seen::Ended if self.comes_back(known, now) => (
                Phase::Starting,
                format!("is started again after it {}", ended(known)),
            ),
            Seen::Ended if self.note.job && known.exit_code == Some(0) => {
                (Phase::Succeeded, String::new())
            }
            Seen::Ended => (Phase::Failed, ended(known)),
        };
        let running = self.phase == Seen::Running;
        ContainerStatus {
            endpoints: if running {
                self.endpoints(grant)
            } else {
                Vec::new()
            },
            image: self.note.image,
            key: self.key,
            id: self.id,
            phase,
            health: if running {
                self.health
            } else {
                Health::Unknown
            },
            restarts: known.restarts,
            // What is lost has not come to an end, so it is made again.
            started_at: known.started_at.filter(|_| !lost),
            ended_at: known.ended_at.filter(|_| !running && !lost),
            exit_code: known
                .exit_code
                .filter(|_| self.phase == Seen::Ended && !lost),
            message,
        }
    }

    fn endpoints(&self, grant: &ContainersGrant) -> Vec<Endpoint> {
        let endpoint = |port: &labels::NotedPort| {
            let (host, number) = if self.note.host_network {
                (body::address(grant, port.exposure).to_string(), port.number)
            } else {
                let is = |p: &&Published| {
                    p.inside == port.number && p.udp == (port.protocol == Protocol::Udp)
                };
                let published = self.ports.iter().find(is)?;
                (published.host.clone(), published.number)
            };
            Some(Endpoint {
                port: port.name.clone(),
                protocol: port.protocol,
                host,
                number,
                exposure: port.exposure,
            })
        };
        self.note.ports.iter().filter_map(endpoint).collect()
    }
}

/// A container that is not there yet, or that could not be made.
pub(crate) fn coming(key: ContainerKey, failure: Option<&Failure>) -> ContainerStatus {
    ContainerStatus {
        key,
        id: String::new(),
        phase: if failure.is_some() {
            Phase::Failed
        } else {
            Phase::Starting
        },
        health: Health::Unknown,
        endpoints: Vec::new(),
        restarts: 0,
        started_at: None,
        ended_at: None,
        exit_code: None,
        message: failure.map_or_else(
            || "is being made: its image may have to be pulled".to_owned(),
            |f| f.message.clone(),
        ),
        image: String::new(),
    }
}

/// Whether a container went with its machine or its engine. Podman has then not seen it end, dockerd tells 255 and the time when it looked,
/// and both end it by a signal where they have the time. `up_since`: since when what runs there can have run.
fn is_lost(known: &Detail, up_since: Option<Instant>) -> bool {
    let Some(started) = known.started_at.filter(|_| !known.running) else {
        return false;
    };
    let Some(ended) = known.ended_at.filter(|ended| ended.plus(SLACK) >= started) else {
        return true;
    };
    let Some(since) = up_since.filter(|_| !known.out_of_memory) else {
        return false;
    };
    let told = match known.exit_code {
        Some(KILLED | TERMINATED) => true,
        Some(UNKNOWN) => ended.plus(SLACK) >= since,
        _ => false,
    };
    told && started < since && ended <= since.plus(TAKEN_OVER)
}

/// How it ended, for people.
fn ended(known: &Detail) -> String {
    if known.out_of_memory {
        return "was killed: it needed more memory than its limit".to_owned();
    }
    let error = if known.error.is_empty() {
        String::new()
    } else {
        format!(": {}", known.error)
    };
    match known.exit_code {
        Some(code) if code > 128 => format!("ended with {code} (signal {}){error}", code - 128),
        Some(code) => format!("ended with {code}{error}"),
        None => format!("ended{error}"),
    }
}

/// `Up 5 seconds (healthy)`.
fn health(status: &str) -> Health {
    if status.contains("(healthy)") {
        Health::Healthy
    } else if status.contains("(unhealthy)") {
        Health::Unhealthy
    } else {
        Health::Unknown
    }
}

/// The time in `Up 5 seconds` or `Exited (0) Less than a second ago`, where it is told in seconds.
fn age(status: &str) -> Option<Millis> {
    let words: Vec<&str> = status.split_whitespace().collect();
    let at = words.iter().position(|w| w.starts_with("second"))?;
    let before = words.get(at.checked_sub(1)?)?;
    let seconds = if *before == "a" {
        1
    } else {
        before.parse::<u64>().ok()?.saturating_add(1)
    };
    Some(Millis::from_secs(seconds))
}

impl Detail {
    pub(crate) fn read(inspected: &ContainerInspectResponse, up_since: Option<Instant>) -> Self {
        let Some(state) = &inspected.state else {
            return Self::default();
        };
        // Engines write the year 1 for what has not happened.
        let time = |text: &Option<String>| {
            text.as_deref()
                .and_then(|t| t.parse::<Instant>().ok())
                .filter(|t| t.0 > 0)
        };
        let running = state.running.unwrap_or_default();
        let mode = inspected
            .host_config
            .as_ref()
            .and_then(|h| h.network_mode.as_deref());
        let detail = Self {
            running,
            restarts: inspected
                .restart_count
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or_default(),
            created_at: inspected
                .created
                .as_ref()
                .and_then(|t| t.to_string().parse::<Instant>().ok())
                .filter(|t| t.0 > 0),
            started_at: time(&state.started_at),
            ended_at: time(&state.finished_at).filter(|_| !running),
            exit_code: state
                .exit_code
                .and_then(|c| i32::try_from(c).ok())
                .filter(|_| !running),
            out_of_memory: state.oom_killed.unwrap_or_default(),
            error: state
                .error
                .clone()
                .unwrap_or_default()
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(300)
                .collect(),
            host_network: mode == Some("host"),
            lost: false,
        };
        let restarting = state.restarting.unwrap_or_default();
        Self {
            lost: !restarting && is_lost(&detail, up_since),
            ..detail
        }
    }
}

/// One container that was asked for by itself, as an entry of a list.
pub(crate) fn inspected(of: &ContainerInspectResponse) -> Option<Listed> {
    let labels = of.config.as_ref()?.labels.as_ref()?;
    let state = of.state.as_ref()?;
    let phase = match (
        state.running.unwrap_or_default(),
        state.restarting.unwrap_or_default(),
        state.status.map(|s| s.to_string()),
    ) {
        (true, false, _) => Seen::Running,
        (_, true, _) => Seen::Restarting,
        (_, _, Some(status)) if matches!(status.as_str(), "" | "created") => Seen::Created,
        (_, _, Some(status)) if status == "removing" => Seen::Removing,
        _ => Seen::Ended,
    };
    let health = match state.health.as_ref().and_then(|h| h.status) {
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        _ => Health::Unknown,
    };
    let bound = of
        .network_settings
        .as_ref()
        .and_then(|n| n.ports.as_ref())
        .into_iter()
        .flatten();
    let ports = bound.flat_map(|(inside, bindings)| {
        let (number, kind) = inside.split_once('/').unwrap_or((inside, "tcp"));
        let (inside, udp) = (number.parse::<u16>().ok(), kind == "udp");
        bindings.iter().flatten().filter_map(move |b| {
            let host = b
                .host_ip
                .clone()
                .filter(|ip| !ip.is_empty())
                .unwrap_or_else(|| "127.0.0.1".to_owned());
            Some(Published {
                inside: inside?,
                number: b.host_port.as_ref()?.parse().ok()?,
                host,
                udp,
            })
        })
    });
    Some(Listed {
        id: of.id.clone()?,
        key: labels::key(labels)?,
        note: labels::note(Some(labels)),
        phase,
        health,
        since: None,
        ports: ports.collect(),
        image_id: of.image.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000_000_000);

    fn listed(state: State, status: &str, note: Note) -> Listed {
        let labels = [
            ("tradewind.dev/allocation", "a1".to_owned()),
            ("tradewind.dev/replica", "2".to_owned()),
            ("tradewind.dev/note", serde_json::to_string(&note).unwrap()),
        ];
        let labels = Some(labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        let summary = ContainerSummary {
            id: Some("id".into()),
            state: Some(state),
            status: Some(status.into()),
            labels,
            ..Default::default()
        };
        Listed::read(summary).unwrap()
    }

    fn grant() -> ContainersGrant {
        serde_json::from_str(r#"{"images": []}"#).unwrap()
    }

    #[test]
    fn phases_tell_services_from_jobs_and_how_they_ended() {
        let job = Note {
            job: true,
            deadline: Some(5_000),
            ..Note::default()
        };
        let ended = |code| Detail {
            exit_code: Some(code),
            started_at: Some(NOW),
            ended_at: Some(NOW.plus(Millis(10))),
            ..Detail::default()
        };
        let retried = |restarts| {
            (
                Note {
                    restarts: 2,
                    ..job.clone()
                },
                Detail {
                    restarts,
                    ..ended(3)
                },
            )
        };
        let (again, twice) = (retried(1), retried(2));
        // Each attempt is within the deadline; all of them together are not.
        let anew = Detail {
            restarts: 2,
            created_at: Some(Instant(NOW.0 - 6_000)),
            started_at: Some(Instant(NOW.0 - 10)),
            ..Detail::default()
        };
        let thrice = (
            Note {
                restarts: 10,
                ..job.clone()
            },
            anew,
        );
        for (state, note, known, phase, says) in [
            (
                State::EXITED,
                again.0,
                again.1,
                Phase::Starting,
                "started again after it ended with 3",
            ),
            (
                State::EXITED,
                twice.0,
                twice.1,
                Phase::Failed,
                "ended with 3",
            ),
            (
                State::CREATED,
                Note::default(),
                Detail::default(),
                Phase::Starting,
                "",
            ),
            (
                State::RUNNING,
                Note::default(),
                Detail::default(),
                Phase::Running,
                "",
            ),
            (
                State::EXITED,
                Note::default(),
                ended(0),
                Phase::Failed,
                "ended with 0",
            ),
            (State::EXITED, job.clone(), ended(0), Phase::Succeeded, ""),
            (
                State::EXITED,
                job.clone(),
                ended(3),
                Phase::Failed,
                "ended with 3",
            ),
            (
                State::EXITED,
                job.clone(),
                ended(137),
                Phase::Failed,
                "signal 9",
            ),
            (
                State::EXITED,
                job.clone(),
                Detail {
                    out_of_memory: true,
                    ..ended(137)
                },
                Phase::Failed,
                "memory",
            ),
            (
                State::EXITED,
                job.clone(),
                Detail {
                    ended_at: Some(NOW.plus(Millis(5_001))),
                    ..ended(0)
                },
                Phase::Failed,
                "deadline of 5s",
            ),
            (
                State::RUNNING,
                job,
                Detail {
                    started_at: Some(Instant(NOW.0 - 5_000)),
                    ..Detail::default()
                },
                Phase::Failed,
                "deadline",
            ),
            (
                State::RUNNING,
                thrice.0,
                thrice.1,
                Phase::Failed,
                "deadline",
            ),
            (
                State::REMOVING,
                Note::default(),
                Detail::default(),
                Phase::Stopping,
                "",
            ),
        ] {
            let status = listed(state, "", note).status(&grant(), &known, NOW);
            assert_eq!(status.phase, phase, "{state:?} {known:?}");
            assert!(
                status.message.contains(says) && status.message.is_empty() == says.is_empty(),
                "{}",
                status.message
            );
        }
    }

    #[test]
    fn what_went_with_its_machine_is_lost_and_what_ended_by_itself_is_not() {
        let at = |seconds: u64| Instant(NOW.0 + seconds * 1_000);
        let known = |ended: Option<u64>, code: i32| Detail {
            started_at: Some(at(100)),
            ended_at: ended.map(at),
            exit_code: Some(code),
            ..Detail::default()
        };
        // The engine, or its machine, is up since second 200.
        for (known, lost) in [
            (known(None, 0), true),
            // The end is that of an earlier start.
            (known(Some(90), 3), true),
            (known(Some(202), 255), true),
            (known(Some(198), 137), true),
            (known(Some(190), 143), true),
            (
                Detail {
                    out_of_memory: true,
                    ..known(Some(198), 137)
                },
                false,
            ),
            (known(Some(198), 0), false),
            (known(Some(198), 3), false),
            (known(Some(150), 255), false),
            (known(Some(300), 137), false),
            (
                Detail {
                    started_at: Some(at(201)),
                    ..known(Some(202), 137)
                },
                false,
            ),
            (
                Detail {
                    running: true,
                    ..known(None, 0)
                },
                false,
            ),
            (
                Detail {
                    started_at: None,
                    ..known(None, 0)
                },
                false,
            ),
        ] {
            assert_eq!(is_lost(&known, Some(at(200))), lost, "{known:?}");
        }
        assert!(is_lost(&known(None, 0), None) && !is_lost(&known(Some(202), 255), None));
        let job = Note {
            job: true,
            deadline: Some(1),
            ..Note::default()
        };
        for (state, text) in [
            (State::CREATED, "Created"),
            (State::EXITED, "Exited (255) 3 hours ago"),
        ] {
            let lost = Detail {
                lost: true,
                created_at: Some(at(99)),
                ..known(None, 0)
            };
            let seen = listed(state, text, job.clone());
            assert!(
                seen.agrees(&lost, at(300))
                    && !seen.agrees(
                        &Detail {
                            running: true,
                            ..lost.clone()
                        },
                        at(300)
                    ),
                "{text}"
            );
            let status = seen.status(&grant(), &lost, at(300));
            assert_eq!(
                (status.phase, status.started_at, status.exit_code),
                (Phase::Failed, None, None),
                "{text}: it is no end"
            );
            assert_eq!(status.message, LOST);
        }
    }

    #[test]
    fn what_is_known_holds_until_the_list_shows_a_new_start() {
        let known = |ago: u64| Detail {
            running: true,
            started_at: Some(Instant(NOW.0 - ago)),
            ..Detail::default()
        };
        for (status, ago, agrees) in [
            ("Up 5 seconds", 5_900, true),
            ("Up 5 seconds (healthy)", 60_000, false),
            ("Up Less than a second", 900, true),
            ("Up Less than a second", 10_000, false),
            ("Up 3 minutes", 200_000, true),
            ("Up About a minute", 70_000, true),
        ] {
            assert_eq!(
                listed(State::RUNNING, status, Note::default()).agrees(&known(ago), NOW),
                agrees,
                "{status} {ago}"
            );
        }
        assert!(
            !listed(State::EXITED, "Exited (1) 2 hours ago", Note::default())
                .agrees(&known(5), NOW),
            "it has ended since"
        );
        assert!(
            !listed(State::RUNNING, "Up 2 hours", Note::default()).agrees(&Detail::default(), NOW),
            "nothing was known"
        );
    }

    #[test]
    fn the_health_is_what_the_engine_says_of_its_own_check() {
        for (text, health) in [
            ("Up 2 minutes (healthy)", Health::Healthy),
            ("Up 2 minutes (unhealthy)", Health::Unhealthy),
            ("Up 1 second (health: starting)", Health::Unknown),
        ] {
            assert_eq!(
                listed(State::RUNNING, text, Note::default())
                    .status(&grant(), &Detail::default(), NOW)
                    .health,
                health,
                "{text}"
            );
        }
    }
}
