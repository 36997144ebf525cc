//! `decisions` and `decision show`.

use tradewind_core::view::DecisionView;

use crate::cli::{Context, Error, render};

pub async fn list(context: &Context, deployment: Option<String>, limit: usize) -> Result<(), Error> {
    let mut query = vec![("limit", limit.to_string())];
    if let Some(deployment) = deployment {
        query.push(("deployment", deployment));
        query.extend(context.namespace());
    }
    let list: Vec<DecisionView> = context.client.get(&["v1", "decisions"], &query).await?;
    context.output.show(&list, |out| render::decision::list(out, &list))
}

pub async fn show(context: &Context, id: &str) -> Result<(), Error> {
    let decision: DecisionView = context.client.get(&["v1", "decisions", id], &[]).await?;
    context.output.show(&decision, |out| render::decision::one(out, &decision))
}
