//! `/v1/decisions/{id}/replay`: a decision's inputs given to a policy once more.

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use tradewind_core::{identity::Role, replay::ReplayView};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    decisions::Id,
    explain::policy_of,
    extract::{ComponentBody, Path},
};

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(Id { id }): Path<Id>,
    ComponentBody(component): ComponentBody,
) -> Result<Json<ReplayView>, Error> {
    let recording = app.controller.recording(caller.scope(), &id).await?;
    let policy = match component {
        None => policy_of(&app, recording.policy()).await?,
        // It is shown the whole call, and could tell of it.
        Some(_) if !recording.is_within(caller.scope()) => {
            return Err(Error::OthersToo {
                token: caller.identity.name().clone(),
                id,
            });
        }
        Some(component) => {
            app.plugins
                .load_candidate(component.into(), recording.policy())
                .await?
        }
    };
    Ok(Json(
        recording.replay(policy.as_ref(), caller.scope()).await?,
    ))
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("replayDecision")
        .with(needs(Role::Operator, Reach::Filtered))
        .tag("placement")
        .summary("Have a decision made once more")
        .description(
            "By the version of the policy that made it, whose answer must be the same bit for bit: `identical` says so. Or by the component in \
             the body (`application/wasm`), which is run under the same limits and never serves: the answer tells what differs and what it \
             would cost. Bringing a component takes an admin unless the setting `api.uploads` lets operators do so. Changes nothing.",
        )
}
