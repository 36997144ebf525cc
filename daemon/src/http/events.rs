//! `/v1/events`, and those of one deployment: what has happened, as a list or as a stream that can be resumed.

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_controller::EventFilter;
use tradewind_core::{
    identity::Role,
    names::{DeploymentName, InstanceName, Namespace},
    view::{Cursor, Event},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::Name,
    extract::{Path, Query, Streaming},
    openapi,
    sse::{self, Message},
};

const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 10_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Only this namespace. For one deployment's events: default `default`.
    namespace: Option<Namespace>,
    /// Only this deployment.
    deployment: Option<DeploymentName>,
    /// Only this plugin instance.
    plugin: Option<InstanceName>,
    /// The last so many of those kept, at most 10000. Default 100.
    limit: Option<usize>,
    /// Only those behind this place: a revision, or the id of an event in a stream. Streams resume with it, or with the header
    /// `Last-Event-ID`; 410 when what came after it is not kept any more.
    after: Option<Cursor>,
    /// True: server-sent events named `event`, those kept first, then those to come. `Accept: text/event-stream` does the same.
    #[serde(default)]
    follow: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentEventsQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// The last so many of those kept, at most 10000. Default 100.
    limit: Option<usize>,
    /// Only those behind this place: a revision, or the id of an event in a stream. Streams resume with it, or with the header
    /// `Last-Event-ID`; 410 when what came after it is not kept any more.
    after: Option<Cursor>,
    /// True: server-sent events named `event`, those kept first, then those to come. `Accept: text/event-stream` does the same.
    #[serde(default)]
    follow: bool,
}

/// What both resources come to.
struct Wanted {
    filter: EventFilter,
    limit: usize,
    after: Option<Cursor>,
    follow: bool,
}

pub async fn all(State(app): State<App>, caller: Caller, Query(q): Query<EventsQuery>, streaming: Streaming) -> Result<Response, Error> {
    let filter = EventFilter { scope: caller.scope().clone(), namespace: q.namespace, deployment: q.deployment, plugin: q.plugin };
    answer(app, &caller, wanted(filter, q.limit, q.after, q.follow, streaming)?).await
}

pub fn all_docs(op: TransformOperation) -> TransformOperation {
    op.id("listEvents")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("events")
        .summary("List or follow events")
        .response::<200, Json<Vec<Event>>>()
        .with(openapi::or_stream)
}

pub async fn of_deployment(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(q): Query<DeploymentEventsQuery>,
    streaming: Streaming,
) -> Result<Response, Error> {
    let filter = EventFilter { scope: caller.scope().clone(), namespace: Some(q.namespace), deployment: Some(name), plugin: None };
    answer(app, &caller, wanted(filter, q.limit, q.after, q.follow, streaming)?).await
}

pub fn of_deployment_docs(op: TransformOperation) -> TransformOperation {
    op.id("listDeploymentEvents")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("deployments")
        .summary("List or follow a deployment's events")
        .description("Those of deployments that are gone stay readable as long as they are kept.")
        .response::<200, Json<Vec<Event>>>()
        .with(openapi::or_stream)
}

fn wanted(filter: EventFilter, limit: Option<usize>, after: Option<Cursor>, follow: bool, streaming: Streaming) -> Result<Wanted, Error> {
    let resumed = streaming.last_event_id.map(cursor).transpose()?;
    Ok(Wanted { filter, limit: limit.unwrap_or(DEFAULT_LIMIT).min(MOST), after: resumed.or(after), follow: follow || streaming.accepted })
}

fn cursor(value: String) -> Result<Cursor, Error> {
    value.parse().map_err(|_| Error::Header { name: "Last-Event-ID", value, rule: "send the id of an event of the stream, or a revision" })
}

async fn answer(app: App, caller: &Caller, wanted: Wanted) -> Result<Response, Error> {
    if wanted.follow {
        return follow(app, caller, wanted).await;
    }
    let limit = if wanted.after.is_some() { MOST } else { wanted.limit };
    let (mut items, _) = app.controller.events(&wanted.filter, limit).await?;
    if let Some(after) = wanted.after {
        items.retain(|e| after.precedes(e.revision, e.id.as_ref()));
        items.truncate(wanted.limit);
    }
    Ok(Json(items).into_response())
}

async fn follow(app: App, caller: &Caller, wanted: Wanted) -> Result<Response, Error> {
    let (kept, after) = match wanted.after {
        Some(after) => (Vec::new(), after),
        None => {
            let (kept, revision) = app.controller.events(&wanted.filter, wanted.limit).await?;
            (kept, Cursor::after(revision))
        }
    };
    let to_come = app.controller.follow_events(wanted.filter, after).await?;
    let events = stream::iter(kept.into_iter().map(Ok)).chain(to_come);
    let messages = events.map(|event| {
        let event = event?;
        Ok(Message { id: Some(event.cursor().to_string()), name: "event", data: event })
    });
    sse::response(&app, &caller.identity, messages).await
}

#[cfg(test)]
mod tests {
    use tradewind_core::identity::Scope;

    use super::*;
    use tradewind_core::store::Revision;

    #[test]
    fn a_stream_resumes_behind_the_last_event_seen() {
        let filter = EventFilter { scope: Scope::All, namespace: None, deployment: None, plugin: None };
        let at = |revision| Cursor::after(Revision(revision));
        let asked = |id: Option<&str>, after: Option<u64>| {
            let after = after.map(at);
            let streaming = Streaming { accepted: true, last_event_id: id.map(str::to_owned) };
            wanted(filter.clone(), None, after, false, streaming)
        };
        let got = asked(Some("7"), Some(3)).unwrap();
        assert_eq!((got.after, got.follow, got.limit), (Some(at(7)), true, DEFAULT_LIMIT));
        assert_eq!(asked(None, Some(3)).unwrap().after, Some(at(3)));
        assert_eq!(asked(None, None).unwrap().after, None);
        assert!(matches!(asked(Some("x"), None), Err(Error::Header { .. })));
    }
}
