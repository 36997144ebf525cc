//! What is asked of a provider, in the order in which it is tried.

mod faults;
mod garbage;
mod life;
mod offers;
mod removal;
mod words;

pub(crate) use words::refuses_unknown;

use crate::{check::Check, subject::Subject};

/// Writes one entry of the list.
macro_rules! check {
    ($name:literal, $asks:literal, $run:path) => {
        check!($name, $asks, [], $run)
    };
    ($name:literal, $asks:literal, [$($needs:literal),*], $run:path) => {
        Check { name: $name, asks: $asks, needs: &[$($needs),*], run: |subject| Box::pin($run(subject)) }
    };
}

/// All of them. What a check needs stands before it.
pub(crate) fn checks() -> Vec<Check<Subject>> {
    let mut all: Vec<Check<Subject>> = vec![
        check!(
            "describe",
            "it tells the same of itself twice, and wants the capabilities that it imports",
            words::describe
        ),
        check!(
            "settings",
            "settings that its schema does not know are refused",
            words::settings
        ),
        check!("check", "its place can be reached and used", words::check),
        check!(
            "offers",
            "offers make sense, and are the same when asked for again",
            offers::sane
        ),
        check!(
            "offers-region",
            "all offers of a region are there when it is asked for alone",
            offers::region
        ),
        check!(
            "apply",
            "an allocation runs in time, with the replicas asked for",
            life::apply
        ),
        check!(
            "apply-again",
            "the same once more changes nothing",
            ["apply"],
            life::again
        ),
        check!(
            "apply-unanswered",
            "the same without the state, as after a lost answer, makes no double",
            ["apply"],
            life::unanswered
        ),
        check!(
            "observe",
            "one observation for each, `gone` for what does not exist any more",
            ["apply"],
            life::observe
        ),
        check!(
            "logs",
            "no more lines than asked for, of the replica asked for, and a way to go on",
            ["apply"],
            life::logs
        ),
        check!(
            "resize-up",
            "more replicas come, and those that run go on if it says so",
            ["apply"],
            life::resize_up
        ),
        check!(
            "resize-down",
            "surplus replicas go, and the others go on if it says so",
            ["apply"],
            life::resize_down
        ),
        check!(
            "update",
            "another workload takes the place of the old one",
            ["apply"],
            life::update
        ),
        check!(
            "garbage",
            "state that is not its own is refused, and harms nothing",
            garbage::garbage
        ),
        check!(
            "disappears",
            "what was removed behind its back is `gone`, and no error",
            removal::disappears
        ),
        check!(
            "owned",
            "what is there is listed, with a state that removes it",
            removal::owned
        ),
        check!("destroy", "it is gone in time", ["apply"], removal::destroy),
        check!(
            "destroy-again",
            "what does not exist is gone",
            ["apply", "destroy"],
            removal::again
        ),
        check!("job", "a job runs to its end", life::job),
        check!(
            "job-again",
            "a job that has ended is not run again by the same once more",
            life::job_again
        ),
        check!(
            "previous",
            "the state of the version before is read: seen, resized, removed",
            life::previous
        ),
    ];
    all.extend(faults::checks());
    all.push(check!(
        "nothing-left",
        "nothing is left of all this",
        removal::nothing_left
    ));
    all
}
