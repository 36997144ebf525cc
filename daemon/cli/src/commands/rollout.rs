//! `rollout`: how far an update is, and until it is over; pausing it, and letting it go on.

use tradewind_api::DeploymentView;

use super::{
    restart,
    wait::{self, Goal},
};
use crate::{
    Context, Error,
    args::{Rollout, RolloutStatus},
    render,
};

pub(super) async fn run(context: &Context, args: Rollout) -> Result<(), Error> {
    match args {
        Rollout::Status(args) => status(context, args).await,
        Rollout::Pause(args) => restart::pause(context, &args.name).await,
        Rollout::Resume(args) => restart::resume(context, &args.name).await,
    }
}

async fn status(context: &Context, args: RolloutStatus) -> Result<(), Error> {
    let path = ["v1", "deployments", args.name.as_str()];
    let view: DeploymentView = context.client.get(&path, &context.namespace()).await?;
    let waited = if args.no_wait {
        Ok(None)
    } else {
        let summary = &view.summary;
        let goal = Goal::RolledOut {
            generation: summary.generation,
        };
        wait::until(context, &summary.namespace, &args.name, goal, args.timeout).await
    };
    let view = waited?.unwrap_or(view);
    context.output.show(&view.rollout, |out| {
        render::revision::status(out, &view, render::rollout::now())
    })
}
