//! `decisions`, `decision show`, `replay` and `explain`.

use std::path::PathBuf;

use reqwest::Method;
use tradewind_api::{DecisionView, ExplainView, Nothing};
use tradewind_core::replay::ReplayView;

use super::lists::{self, History, Order};
use crate::{
    Context, Error,
    args::{self, Paging},
    client::Body,
    render,
};

/// Decisions that are listed where no number is asked for.
const USUAL: usize = 20;

pub(super) async fn list(context: &Context, args: args::Decisions) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.deployment.map(|deployment| ("deployment", deployment)));
    let asked = History {
        order: Order::NewestFirst,
        paging: Paging {
            limit: args.limit,
            cursor: args.cursor,
        },
        usual: USUAL,
        shown: args.shown,
    };
    lists::history::<DecisionView, Nothing>(
        context,
        &["v1", "decisions"],
        query,
        asked,
        |decisions| render::decision::table(&context.output, decisions),
    )
    .await
}

pub(super) async fn show(context: &Context, id: &str) -> Result<(), Error> {
    let decision: DecisionView = context.client.get(&["v1", "decisions", id], &[]).await?;
    context
        .output
        .show(&decision, |out| render::decision::one(out, &decision))
}

/// The version that decided must answer the same; another one may not, and is compared.
pub(super) async fn replay(
    context: &Context,
    id: &str,
    policy: Option<PathBuf>,
) -> Result<(), Error> {
    let body = match policy {
        None => Body::Empty,
        Some(path) => Body::Component(
            std::fs::read(&path)
                .map_err(|source| Error::Read { path, source })?
                .into(),
        ),
    };
    let replay: ReplayView = context
        .client
        .send(Method::POST, &["v1", "decisions", id, "replay"], &[], body)
        .await?;
    context
        .output
        .show(&replay, |out| render::explain::replay(out, &replay))?;
    if replay.same_policy && !replay.identical {
        let difference = replay
            .first_difference
            .unwrap_or_else(|| "the answers differ".to_owned());
        return Err(Error::Differs {
            id: id.to_owned(),
            difference,
        });
    }
    Ok(())
}

pub(super) async fn explain(context: &Context, name: &str, rows: usize) -> Result<(), Error> {
    let mut query = vec![("rows", rows.to_string())];
    query.extend(context.namespace());
    let view: ExplainView = context
        .client
        .get(&["v1", "deployments", name, "explain"], &query)
        .await?;
    context
        .output
        .show(&view, |out| render::explain::explain(out, &view))
}
