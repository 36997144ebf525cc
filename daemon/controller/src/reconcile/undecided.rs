//! Updates about which nothing can be decided, because their policy fails: they are judged by time and by what runs, and nothing is moved. A
//! deadline passes whatever a policy does, and what has failed returns. It asks no policy and starts nothing.

use std::sync::Arc;

use tradewind_core::{
    failure::Failure,
    manifest::Resolved,
    order::is_of,
    rollout::{self, Told, Verdict},
};

use crate::{
    lock,
    reconcile::order,
    reconcile::reconciler::Reconciler,
    reconcile::rollout::{Rolled, mine, progress, sick},
    schedule::scheduler::DeploymentWork,
};

impl Reconciler {
    /// How far the updates of a deployment are while nothing can be decided about it.
    pub(crate) fn judge_undecided(
        self: &Arc<Self>,
        work: &DeploymentWork,
        failure: &Failure,
    ) -> Rolled {
        let now = self.clock.now();
        let mut out = Rolled::default();
        // Written before there were updates: what runs is taken as it is.
        let Some(mut rollout) = work.record.rollout.clone().filter(|r| !r.is_done()) else {
            return out;
        };
        let lacks = format!("nothing could be decided: {}", failure.told());
        let mut told = Vec::new();
        {
            let cache = lock(&self.cache);
            let goes_on = |t: &&Resolved| !work.order.holds(&t.name);
            for task in work.resolved.iter().filter(goes_on) {
                let mine = mine(task, &work.actual);
                let records = || mine.iter().filter_map(|&i| work.actual.get(i));
                let begun = records().any(|r| is_of(r, task));
                let mut input = begun.then(|| {
                    self.task(&cache, work, task, &mine, &work.actual, &rollout, now)
                        .0
                });
                let progress = progress(&mut rollout, task, now);
                // What has not begun has come no further.
                let verdict = input.as_mut().map_or(Verdict::Progressing, |input| {
                    input.switch = progress.switched.is_some();
                    rollout::advance(input, progress, now).verdict
                });
                told.push(Told {
                    verdict,
                    moved: progress.moved,
                    deadline: task.update.deadline,
                    sick: records()
                        .filter(|r| is_of(r, task))
                        .find_map(|r| cache.live(&r.id).and_then(sick)),
                    lacks: Some(lacks.clone()),
                });
            }
        }
        told.extend(order::told(&work.order, now));
        self.weigh(work, rollout, &told, now, &mut out);
        out
    }
}
