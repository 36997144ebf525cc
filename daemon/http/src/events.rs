//! `/v1/events`, and those of one deployment: what has happened, as a list or as a stream that can be resumed.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{EventView, Page};
use tradewind_controller::{EventFilter, EventKind};
use tradewind_core::{
    event::{Cursor, Event, Reason, Severity},
    identity::Role,
    list::{self, OneOf, Window},
    names::{DeploymentName, InstanceName, Namespace},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::Name,
    extract::{Path, Query, Since, Streaming},
    paging::{self, Fields, Here, shown},
    sse::{self, Message},
};

const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 10_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// Only this namespace. For one deployment's events: default `default`.
    namespace: Option<Namespace>,
    /// Only this deployment.
    deployment: Option<DeploymentName>,
    /// Only this plugin instance.
    plugin: Option<InstanceName>,
    /// Only those with this severity, or with one of several between commas.
    severity: Option<OneOf<Severity>>,
    /// Only those for this reason, or for one of several between commas.
    reason: Option<OneOf<Reason>>,
    /// Only those since then: a moment such as `2026-07-01T12:00:00Z`, or a time back from now such as `1h`. Default: all that are kept.
    since: Option<Since>,
    /// Only these fields of each item of a list, between commas, such as `at,reason,message`. Default: all.
    fields: Option<Fields>,
    /// The last so many of those kept; with `after`, the first. Default 100, at most 10000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where a page of the list lies: out of the link of the page before. Pages go back in time, with `after` forward.
    cursor: Option<list::Cursor<Event>>,
    /// Only those behind this place: a revision, or the id of an event in a stream. Streams resume with it, or with the header
    /// `Last-Event-ID`; 410 when what came after it is not kept any more.
    after: Option<Cursor>,
    /// True: server-sent events named `event`, those kept first, then those to come. `Accept: text/event-stream` does the same.
    #[serde(default)]
    follow: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentEventsQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Only those with this severity, or with one of several between commas.
    severity: Option<OneOf<Severity>>,
    /// Only those for this reason, or for one of several between commas.
    reason: Option<OneOf<Reason>>,
    /// Only those since then: a moment such as `2026-07-01T12:00:00Z`, or a time back from now such as `1h`. Default: all that are kept.
    since: Option<Since>,
    /// Only these fields of each item of a list, between commas, such as `at,reason,message`. Default: all.
    fields: Option<Fields>,
    /// The last so many of those kept; with `after`, the first. Default 100, at most 10000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where a page of the list lies: out of the link of the page before. Pages go back in time, with `after` forward.
    cursor: Option<list::Cursor<Event>>,
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
    window: Window<Event>,
    after: Option<Cursor>,
    follow: bool,
    fields: Option<Fields>,
}

pub(crate) async fn all(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<EventsQuery>,
    streaming: Streaming,
) -> Result<Response, Error> {
    let filter = EventFilter {
        scope: caller.scope().clone(),
        namespace: q.namespace,
        deployment: q.deployment,
        plugin: q.plugin,
        kind: kind(&app, q.severity, q.reason, q.since),
    };
    let wanted = wanted(
        filter,
        window(q.limit, q.cursor),
        q.after,
        q.follow,
        streaming,
    )?;
    answer(app, &caller, here, wanted.only(q.fields)?).await
}

pub(crate) fn all_docs(op: TransformOperation) -> TransformOperation {
    op.id("listEvents")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("events")
        .summary("List or follow events")
        .response::<200, Json<Page<EventView>>>()
        .with(paging::linked)
        .with(sse::Told::default().event::<EventView>("event").described())
}

pub(crate) async fn of_deployment(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    here: Here,
    Query(q): Query<DeploymentEventsQuery>,
    streaming: Streaming,
) -> Result<Response, Error> {
    let filter = EventFilter {
        scope: caller.scope().clone(),
        namespace: Some(q.namespace),
        deployment: Some(name),
        plugin: None,
        kind: kind(&app, q.severity, q.reason, q.since),
    };
    let wanted = wanted(
        filter,
        window(q.limit, q.cursor),
        q.after,
        q.follow,
        streaming,
    )?;
    answer(app, &caller, here, wanted.only(q.fields)?).await
}

pub(crate) fn of_deployment_docs(op: TransformOperation) -> TransformOperation {
    op.id("listDeploymentEvents")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("deployments")
        .summary("List or follow a deployment's events")
        .description("Those of deployments that are gone stay readable as long as they are kept.")
        .response::<200, Json<Page<EventView>>>()
        .with(paging::linked)
        .with(sse::Told::default().event::<EventView>("event").described())
}

fn kind(
    app: &App,
    severity: Option<OneOf<Severity>>,
    reason: Option<OneOf<Reason>>,
    since: Option<Since>,
) -> EventKind {
    EventKind {
        severity,
        reason,
        since: since.map(|since| since.before(app.controller.now())),
    }
}

fn window(limit: Option<NonZeroU32>, cursor: Option<list::Cursor<Event>>) -> Window<Event> {
    Window::within(limit, cursor, DEFAULT_LIMIT, MOST)
}

fn wanted(
    filter: EventFilter,
    window: Window<Event>,
    after: Option<Cursor>,
    follow: bool,
    streaming: Streaming,
) -> Result<Wanted, Error> {
    let follow = follow || streaming.accepted;
    if follow && let Some(cursor) = &window.cursor {
        let message = format!(
            "cursor \"{cursor}\" is of a list, and this is a stream: send the id of its last event as `after`"
        );
        return Err(Error::Parameters { message });
    }
    let resumed = streaming.last_event_id.map(place).transpose()?;
    Ok(Wanted {
        filter,
        window,
        after: resumed.or(after),
        follow,
        fields: None,
    })
}

impl Wanted {
    fn only(mut self, fields: Option<Fields>) -> Result<Self, Error> {
        if let Some(fields) = fields.as_ref().filter(|_| self.follow) {
            let message = format!("fields \"{fields}\" are of a list, and this is a stream");
            return Err(Error::Parameters { message });
        }
        self.fields = fields;
        Ok(self)
    }
}

fn place(value: String) -> Result<Cursor, Error> {
    value.parse().map_err(|_| Error::Header {
        name: "Last-Event-ID",
        value,
        rule: "send the id of an event of the stream, or a revision",
    })
}

async fn answer(app: App, caller: &Caller, here: Here, wanted: Wanted) -> Result<Response, Error> {
    if wanted.follow {
        return follow(app, caller, wanted).await;
    }
    let (page, revision) = app
        .controller
        .events(&wanted.filter, wanted.after.as_ref(), &wanted.window)
        .await?;
    let events: Vec<EventView> = shown(page.items);
    Ok(here
        .page(events, page.next)
        .at_revision(revision)
        .only(wanted.fields)?
        .into_response())
}

async fn follow(app: App, caller: &Caller, wanted: Wanted) -> Result<Response, Error> {
    let (kept, after) = match wanted.after {
        Some(after) => (Vec::new(), after),
        None => {
            let (kept, revision) = app
                .controller
                .events(&wanted.filter, None, &wanted.window)
                .await?;
            (kept.items, Cursor::after(revision))
        }
    };
    let to_come = app.controller.follow_events(wanted.filter, after).await?;
    let events = stream::iter(kept.into_iter().map(Ok)).chain(to_come);
    let messages = events.map(|event| {
        let event = event?;
        Ok(Message {
            id: Some(event.cursor().to_string()),
            name: "event",
            data: EventView::from(event),
        })
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
        let filter = EventFilter {
            scope: Scope::All,
            namespace: None,
            deployment: None,
            plugin: None,
            kind: EventKind::default(),
        };
        let at = |revision| Cursor::after(Revision(revision));
        let asked = |id: Option<&str>, after: Option<u64>| {
            let after = after.map(at);
            let streaming = Streaming {
                accepted: true,
                last_event_id: id.map(str::to_owned),
            };
            wanted(filter.clone(), window(None, None), after, false, streaming)
        };
        let got = asked(Some("7"), Some(3)).unwrap();
        assert_eq!(
            (got.after, got.follow, got.window.limit),
            (Some(at(7)), true, DEFAULT_LIMIT)
        );
        assert_eq!(asked(None, Some(3)).unwrap().after, Some(at(3)));
        assert_eq!(asked(None, None).unwrap().after, None);
        assert!(matches!(asked(Some("x"), None), Err(Error::Header { .. })));
    }
}
