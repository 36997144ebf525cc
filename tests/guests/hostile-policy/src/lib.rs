//! A policy that breaks one rule at a time: the setting `mode` says which. Without one it places every task on its first candidate.

use std::hint::black_box;

use serde::Deserialize;
use tradewind_plugin_sdk::bindings::{
    policy::exports::tradewind::plugin::scheduling_policy::{
        Columns, Guest, PlaceAnswer, PlaceRequest, PolicyInfo, Unplaced,
    },
    provider::tradewind::plugin::{
        log::{Level, write},
        types::Fault,
    },
};

#[derive(Deserialize)]
struct Settings {
    #[serde(default)]
    mode: String,
    /// Comes back in the note.
    #[serde(default)]
    tag: String,
}

struct Hostile;

impl Guest for Hostile {
    fn describe() -> PolicyInfo {
        PolicyInfo {
            name: "hostile-policy".to_owned(),
            version: "1.2.3".to_owned(),
            summary: "Misbehaves as told".to_owned(),
            settings_schema: r#"{"type":"object","additionalProperties":false,"properties":{"mode":{"type":"string","maxLength":20},"tag":{"type":"string"}}}"#.to_owned(),
            columns: Columns::empty(),
        }
    }

    fn place(request: PlaceRequest) -> Result<PlaceAnswer, Fault> {
        let settings: Settings =
            serde_json::from_str(&request.settings).map_err(|e| fault(&e.to_string()))?;
        let mut answer = first(&request);
        answer.note = settings.tag;
        match settings.mode.as_str() {
            "loop" => loop {
                black_box(&answer);
            },
            "allocate" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1u8; 1 << 20]);
                    black_box(&all);
                }
            }
            "panic" => {
                write(Level::Error, "panicked at 'on purpose'", &[]);
                panic!("on purpose");
            }
            "recurse" => answer.lower_bound = Some(recurse(request.seed)),
            "recurse-widely" => answer.lower_bound = Some(recurse_widely(request.seed)),
            "unknown-offer" => answer.offer.iter_mut().for_each(|o| *o = 4_000_000_000),
            "too-many" => answer.replicas.iter_mut().for_each(|r| *r = u32::MAX),
            "nan" => answer.scores = vec![f64::NAN; request.candidates.offer.len()],
            "ragged" => answer.task.push(0),
            "log" => {
                for i in 0..u64::MAX {
                    write(Level::Info, &format!("line {i}\u{1b}[2J"), &[]);
                }
            }
            "long-log" => write(Level::Error, &"x".repeat(1 << 20), &[]),
            "huge-answer" => answer.scores = vec![0.0; 6 << 20],
            "fault" => return Err(fault("no, because I say so")),
            _ => {}
        }
        Ok(answer)
    }
}

/// Every task's first candidate gets all its replicas.
fn first(request: &PlaceRequest) -> PlaceAnswer {
    let mut answer = PlaceAnswer {
        task: Vec::new(),
        offer: Vec::new(),
        replicas: Vec::new(),
        scores: Vec::new(),
        unplaced: Vec::new(),
        lower_bound: None,
        note: String::new(),
    };
    for (task, (&shape, &replicas)) in request
        .tasks
        .shape
        .iter()
        .zip(&request.tasks.replicas)
        .enumerate()
    {
        let start = request.shapes.candidate_start[shape as usize] as usize;
        let end = request.shapes.candidate_start[shape as usize + 1] as usize;
        match request.candidates.offer.get(start).filter(|_| start < end) {
            Some(&offer) => {
                answer.task.push(task as u32);
                answer.offer.push(offer);
                answer.replicas.push(replicas);
            }
            None => answer.unplaced.push(Unplaced {
                task: task as u32,
                replicas,
                reason: "no candidate".to_owned(),
            }),
        }
    }
    answer
}

fn fault(message: &str) -> Fault {
    Fault {
        message: message.to_owned(),
        field: None,
        code: None,
        remedy: None,
    }
}

/// Small frames, so that the machine's stack ends before the guest's own one in its memory.
#[allow(unconditional_recursion, reason = "on purpose")]
#[inline(never)]
fn recurse(n: u64) -> u64 {
    recurse(black_box(n) + 1).wrapping_add(n)
}

/// Large frames: they run out of the guest's memory.
#[allow(unconditional_recursion, reason = "on purpose")]
#[inline(never)]
fn recurse_widely(n: u64) -> u64 {
    let frame = black_box([n; 64]);
    recurse_widely(n + 1).wrapping_add(frame[7])
}

tradewind_plugin_sdk::bindings::policy::export_policy!(Hostile with_types_in tradewind_plugin_sdk::bindings::policy);
