//! What is asked of a policy: the same answer twice, and never one that breaks a hard limit.

mod batches;

use std::sync::Arc;

use tradewind_core::{
    failure::Failure,
    placement::{Answer, Request, validate},
    plugin::Policy,
};
use tradewind_wasm::{Capabilities, Loaded, PluginSource, StandaloneHost};

use self::batches::Random;
use crate::{
    check::{Check, Verdict, passed, tell},
    provider::refuses_unknown,
};

/// Random batches that are tried.
const BATCHES: u32 = 300;

/// The policy under test.
pub(crate) struct Judged {
    pub(crate) bench: StandaloneHost,
    pub(crate) piece: PluginSource,
    pub(crate) loaded: Loaded,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) seed: u64,
}

macro_rules! check {
    ($name:literal, $asks:literal, $run:path) => {
        Check {
            name: $name,
            asks: $asks,
            needs: &[],
            run: |judged| Box::pin($run(judged)),
        }
    };
}

pub(crate) fn checks() -> Vec<Check<Judged>> {
    vec![
        check!("describe", "it tells the same of itself twice", describe),
        check!(
            "settings",
            "settings that its schema does not know are refused",
            settings
        ),
        check!(
            "deterministic",
            "the same batch gets the same answer, bit by bit",
            deterministic
        ),
        check!(
            "limits",
            "no answer to a random batch breaks a hard limit",
            limits
        ),
        check!("no-tasks", "an empty batch is answered", no_tasks),
        check!(
            "no-candidates",
            "tasks without any candidate are left unplaced",
            no_candidates
        ),
        check!(
            "large",
            "1,000 tasks on 1,000 offers are decided within the limits",
            large
        ),
    ]
}

async fn describe(judged: &mut Judged) -> Verdict {
    let again = judged
        .bench
        .load(&judged.piece, Capabilities::none())
        .await
        .map_err(|e| e.to_string())?
        .about;
    let about = &judged.loaded.about;
    if again == *about {
        passed(about.summary.clone())
    } else {
        Err(format!("it says {about:?} first, then {again:?}"))
    }
}

async fn settings(judged: &mut Judged) -> Verdict {
    refuses_unknown(&judged.bench, &judged.piece, Capabilities::none()).await
}

async fn answer(judged: &Judged, request: &Request) -> Result<Answer, String> {
    judged
        .policy
        .place(request)
        .await
        .map_err(|failure: Failure| tell(&failure))
}

/// An answer that the daemon would accept, with the number of replicas that it places.
async fn placed(judged: &Judged, request: &Request) -> Result<u64, String> {
    let answer = answer(judged, request).await?;
    let placed = validate(request, &answer).map_err(|refusal| refusal.to_string())?;
    Ok(placed
        .iter()
        .flat_map(|p| &p.choices)
        .map(|c| u64::from(c.replicas))
        .sum())
}

async fn deterministic(judged: &mut Judged) -> Verdict {
    let mut random = Random::new(judged.seed);
    for n in 0..20 {
        let request = batches::random(&mut random);
        let (first, second) = (
            answer(judged, &request).await?,
            answer(judged, &request).await?,
        );
        if bits(&first) != bits(&second) {
            return Err(format!(
                "batch {n} of seed {}: {first:?} first, then {second:?}",
                judged.seed
            ));
        }
    }
    passed("20 batches")
}

/// An answer in which equal bits are equal, not-a-number included.
fn bits(answer: &Answer) -> (Answer, Vec<u64>) {
    let scores = answer.scores.iter().map(|score| score.to_bits()).collect();
    (
        Answer {
            scores: Vec::new(),
            ..answer.clone()
        },
        scores,
    )
}

async fn limits(judged: &mut Judged) -> Verdict {
    let mut random = Random::new(judged.seed);
    let (mut replicas, mut wanted) = (0, 0);
    for n in 0..BATCHES {
        let request = batches::random(&mut random);
        wanted += request
            .tasks
            .iter()
            .map(|t| u64::from(t.replicas))
            .sum::<u64>();
        replicas += placed(judged, &request)
            .await
            .map_err(|why| format!("batch {n} of seed {}: {why}", judged.seed))?;
    }
    if replicas == 0 {
        return Err(format!(
            "it places none of the {wanted} replicas of {BATCHES} batches"
        ));
    }
    passed(format!(
        "{BATCHES} batches, {replicas} of {wanted} replicas placed"
    ))
}

async fn no_tasks(judged: &mut Judged) -> Verdict {
    let request = batches::of(&[], 3);
    placed(judged, &request).await?;
    passed("")
}

async fn no_candidates(judged: &mut Judged) -> Verdict {
    let request = batches::hopeless();
    match placed(judged, &request).await? {
        0 => passed(""),
        some => Err(format!("{some} replicas are placed where there is nothing")),
    }
}

async fn large(judged: &mut Judged) -> Verdict {
    let request = batches::large(&mut Random::new(judged.seed));
    let wanted: u64 = request.tasks.iter().map(|t| u64::from(t.replicas)).sum();
    let replicas = placed(judged, &request).await?;
    passed(format!(
        "{replicas} of {wanted} replicas placed, {} candidates",
        request.candidates.offer.len()
    ))
}
