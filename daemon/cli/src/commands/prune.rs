//! What has left the files: deployments with given labels that no manifest names.

use reqwest::Method;
use tradewind_api::{Accepted, DeploymentSummary, Page, PlanView, Status};
use tradewind_core::{
    list::Selector,
    names::{DeploymentName, Namespace},
    plan::preview::ChangeAction,
    units::MicroUsd,
};

use super::lists;
use crate::{
    Context, Error,
    args::Paging,
    client::{self, Body},
};

/// The deployments with these labels that are not kept: of the command's namespace, else of those in which something is kept.
///
/// # Errors
/// Whatever keeps the lists from being read.
pub(super) async fn surplus(
    context: &Context,
    selector: &Selector,
    kept: &[(&Namespace, &DeploymentName)],
) -> Result<Vec<DeploymentSummary>, Error> {
    let mut namespaces: Vec<String> = match &context.namespace {
        Some(namespace) => vec![namespace.clone()],
        None => kept
            .iter()
            .map(|(namespace, _)| namespace.to_string())
            .collect(),
    };
    namespaces.sort();
    namespaces.dedup();
    let mut surplus = Vec::new();
    for namespace in namespaces {
        let all = labelled(context, namespace, selector).await?;
        surplus.extend(
            all.into_iter()
                .filter(|d| !kept.contains(&(&d.namespace, &d.name))),
        );
    }
    Ok(surplus)
}

/// The deployments of a namespace with these labels that are not being deleted already.
///
/// # Errors
/// Whatever keeps the list from being read.
pub(super) async fn labelled(
    context: &Context,
    namespace: String,
    selector: &Selector,
) -> Result<Vec<DeploymentSummary>, Error> {
    let query = vec![("namespace", namespace), ("selector", selector.to_string())];
    let mut all: Page<DeploymentSummary> =
        lists::read(context, &["v1", "deployments"], query, Paging::default()).await?;
    all.items.retain(|d| d.status != Status::Deleting);
    Ok(all.items)
}

/// Has them deleted. Each comes with what it is called in a list.
pub(super) async fn delete(
    context: &Context,
    surplus: Vec<DeploymentSummary>,
) -> Vec<(String, Result<Accepted, Error>)> {
    let mut all = Vec::new();
    for one in surplus {
        let label = format!("{}/{}", one.namespace, one.name);
        let query = [("namespace", one.namespace.to_string())];
        let path = ["v1", "deployments", one.name.as_str()];
        let sent = context
            .client
            .send(Method::DELETE, &path, &query, Body::Empty)
            .await;
        all.push((label, sent.map_err(client::Error::into)));
    }
    all
}

/// The plan of a deletion.
pub(super) fn plan(going: DeploymentSummary) -> PlanView {
    PlanView {
        namespace: going.namespace,
        name: going.name,
        policy: None,
        action: Some(ChangeAction::Destroy),
        fields: Vec::new(),
        changes: Vec::new(),
        scales: Vec::new(),
        schedules: Vec::new(),
        unplaced: Vec::new(),
        hourly_before: going.hourly_cost,
        hourly_after: MicroUsd(0),
        estimated_cost: MicroUsd(0),
        monthly_after: None,
        jobs_cost: None,
        certificate: None,
        unanswered: Vec::new(),
        reasons: Vec::new(),
        warnings: Vec::new(),
    }
}
