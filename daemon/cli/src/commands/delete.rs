//! `delete`: asks for it, then waits until everything that ran is gone.

use reqwest::Method;
use tradewind_api::Accepted;

use super::wait::{self, Goal};
use crate::{Context, Error, args::Delete, client::Body};

pub(super) async fn run(context: &Context, args: Delete) -> Result<(), Error> {
    let path = ["v1", "deployments", args.name.as_str()];
    let accepted: Accepted = context
        .client
        .send(Method::DELETE, &path, &context.namespace(), Body::Empty)
        .await?;
    if args.detach {
        return context.output.show(&accepted, |_| {
            format!("deployment \"{}\" is being deleted", accepted.name)
        });
    }
    wait::until(
        context,
        &accepted.namespace,
        &args.name,
        Goal::Gone,
        args.timeout,
    )
    .await?;
    context.output.show(&accepted, |_| {
        format!("deployment \"{}\" is gone", accepted.name)
    })
}
