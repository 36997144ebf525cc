//! A first end-to-end policy: everything onto the first candidate.
use tradewind_plugin_sdk::bindings::{policy::exports::tradewind::plugin::scheduling_policy as p, provider::tradewind::plugin::types::Fault};

struct Cheapest;

impl p::Guest for Cheapest {
    fn describe() -> p::PolicyInfo {
        p::PolicyInfo {
            name: "cheapest".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Places every task where it costs least".into(),
            settings_schema: "{\"type\":\"object\"}".into(),
            columns: p::Columns::empty(),
        }
    }
    fn place(r: p::PlaceRequest) -> Result<p::PlaceAnswer, Fault> {
        let mut answer = p::PlaceAnswer {
            task: vec![],
            offer: vec![],
            replicas: vec![],
            scores: vec![],
            unplaced: vec![],
            lower_bound: None,
            note: String::new(),
        };
        for (t, (shape, replicas)) in r.tasks.shape.iter().zip(&r.tasks.replicas).enumerate() {
            let from = r.shapes.candidate_start.get(*shape as usize).copied().unwrap_or(0) as usize;
            let to = r.shapes.candidate_start.get(*shape as usize + 1).copied().unwrap_or(0) as usize;
            let best = (from..to).min_by_key(|i| r.candidates.cost.get(*i).copied());
            if let Some(offer) = best.and_then(|i| r.candidates.offer.get(i)) {
                answer.task.push(t as u32);
                answer.offer.push(*offer);
                answer.replicas.push(*replicas);
            }
        }
        Ok(answer)
    }
}

tradewind_plugin_sdk::bindings::policy::export_policy!(Cheapest with_types_in tradewind_plugin_sdk::bindings::policy);
