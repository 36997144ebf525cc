//! `wait`: several deployments, until each of them is as wanted.

use tokio::time::Instant;
use tradewind_api::{DeploymentSummary, DeploymentView, Page};
use tradewind_core::names::Namespace;

use super::{
    lists,
    wait::{self, Goal},
};
use crate::{
    Context, Error,
    args::{Condition, Paging, Wait},
};

pub(super) async fn run(context: &Context, args: Wait) -> Result<(), Error> {
    let end = Instant::now() + args.timeout.std();
    let names = names(context, &args).await?;
    let mut reached = Vec::new();
    for (namespace, name) in names {
        // At least one look, however late it has become.
        let left = end
            .saturating_duration_since(Instant::now())
            .max(std::time::Duration::from_millis(500).min(args.timeout.std()));
        let goal = Goal::Meets(args.condition);
        let waited = wait::until(context, &namespace, &name, goal, left.into()).await;
        let view = waited.map_err(|error| match error {
            Error::TimedOut {
                namespace,
                name,
                wanted,
                message,
                ..
            } => Error::TimedOut {
                namespace,
                name,
                wanted,
                after: args.timeout,
                message,
            },
            other => other,
        })?;
        if context.output.is_for_people() {
            let state = match &view {
                Some(view) if args.condition == Condition::Healthy => {
                    format!("healthy ({})", view.summary.status)
                }
                Some(view) => view.summary.status.to_string(),
                None => "gone".to_owned(),
            };
            context
                .output
                .text(&format!("deployment \"{name}\" is {state}"))?;
        }
        reached.extend(view);
    }
    if context.output.is_for_people() {
        return Ok(());
    }
    context.output.show_all(&reached, |_| String::new())
}

/// The deployments that are meant. What is not there can only be waited for to be gone.
async fn names(context: &Context, args: &Wait) -> Result<Vec<(Namespace, String)>, Error> {
    if let Some(selector) = &args.selector {
        let mut query = context.namespace();
        query.push(("selector", selector.to_string()));
        let list: Page<DeploymentSummary> =
            lists::read(context, &["v1", "deployments"], query, Paging::default()).await?;
        let list = list.items;
        if list.is_empty() && args.condition != Condition::Gone {
            return Err(Error::NoneSelected {
                selector: selector.to_string(),
            });
        }
        let named = |one: DeploymentSummary| (one.namespace, one.name.to_string());
        return Ok(list.into_iter().map(named).collect());
    }
    let namespace = context.namespace_or_default();
    let namespace: Namespace =
        namespace
            .parse()
            .map_err(|e: tradewind_core::names::NameError| Error::Argument {
                what: "--namespace",
                value: namespace.clone(),
                rule: e.rule.to_owned(),
            })?;
    for name in args
        .names
        .iter()
        .filter(|_| args.condition != Condition::Gone)
    {
        let _found: DeploymentView = context
            .client
            .get(&["v1", "deployments", name], &context.namespace())
            .await?;
    }
    Ok(args
        .names
        .iter()
        .map(|name| (namespace.clone(), name.clone()))
        .collect())
}
