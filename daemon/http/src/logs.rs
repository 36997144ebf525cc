//! `/v1/deployments/{name}/logs`: what the replicas wrote, once or followed.

use std::{collections::VecDeque, time::Duration};

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{LogsView, TaskLogLine};
use tradewind_controller::LogsRequest;
use tradewind_core::{
    identity::Role,
    names::{DeploymentName, Namespace, TaskName},
    workload::LogQuery,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::Name,
    extract::{Path, Query, Streaming},
    sse::{self, Message},
};

/// Between two questions for more, while following.
const PAUSE: Duration = Duration::from_millis(300);
const DEFAULT_TAIL: u32 = 100;
const MOST_LINES: u32 = 10_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogsQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Only this task's.
    task: Option<TaskName>,
    /// Only this replica's.
    replica: Option<u32>,
    /// The last so many lines, at most 10000. Default 100.
    tail: Option<u32>,
    /// The cursor `next` of an earlier answer: go on behind it. It has no meaning but for the daemon.
    #[schemars(extend("pattern" = "^[-_A-Za-z0-9]+$"))]
    after: Option<String>,
    /// True: what replicas wrote in the run before the present one, of those that have been started again. It can't be followed.
    #[serde(default)]
    previous: bool,
    /// True: server-sent events named `line`, until nothing more can come. `Accept: text/event-stream` does the same.
    #[serde(default)]
    follow: bool,
}

pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(query): Query<LogsQuery>,
    streaming: Streaming,
) -> Result<Response, Error> {
    let tail = query.tail.unwrap_or(DEFAULT_TAIL).min(MOST_LINES);
    let after = streaming.last_event_id.or(query.after);
    let request = LogsRequest {
        task: query.task,
        query: LogQuery {
            replica: query.replica,
            tail,
            after,
            previous: query.previous,
        },
    };
    let follows = query.follow || streaming.accepted;
    if follows && query.previous {
        return Err(Error::Parameters {
            message: "previous: a run that has ended can't be followed: leave out one of previous and follow".to_owned(),
        });
    }
    let first = app
        .controller
        .logs(&query.namespace, &name, request.clone())
        .await?;
    if follows {
        let following = Following {
            app,
            namespace: query.namespace,
            name,
            request,
            lines: first.lines.into(),
            next: first.next,
        };
        return follow(&caller, following).await;
    }
    Ok(Json(first).into_response())
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getLogs")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("deployments")
        .summary("Read or follow the output of a deployment")
        .response::<200, Json<LogsView>>()
        .with(
            sse::Told::default()
                .event::<TaskLogLine>("line")
                .described(),
        )
}

struct Following {
    app: App,
    namespace: Namespace,
    name: DeploymentName,
    request: LogsRequest,
    lines: VecDeque<TaskLogLine>,
    next: Option<String>,
}

async fn follow(caller: &Caller, start: Following) -> Result<Response, Error> {
    let app = start.app.clone();
    let messages = stream::try_unfold(start, |mut at| async move {
        loop {
            if let Some(line) = at.lines.pop_front() {
                // Resuming is safe only behind the last line of an answer: its cursor covers all of them.
                let id = if at.lines.is_empty() {
                    at.next.clone()
                } else {
                    None
                };
                return Ok(Some((
                    Message {
                        id,
                        name: "line",
                        data: line,
                    },
                    at,
                )));
            }
            let Some(after) = at.next.take() else {
                return Ok(None);
            };
            at.request.query.after = Some(after);
            let more = match at
                .app
                .controller
                .logs(&at.namespace, &at.name, at.request.clone())
                .await
            {
                Ok(more) => more,
                // Deleted meanwhile: nothing more can come.
                Err(tradewind_controller::Error::NotFound { .. }) => return Ok(None),
                Err(e) => return Err(Error::from(e)),
            };
            at.next = more.next;
            at.lines = more.lines.into();
            if at.lines.is_empty() && at.next.is_some() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
    sse::response(&app, &caller.identity, messages).await
}
