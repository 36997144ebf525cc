//! `logs` and `events`: once, or followed until the end or until the reader has enough.

use std::time::Duration;

use futures::StreamExt;
use serde::{Serialize, de::DeserializeOwned};
use tradewind_core::view::{Event, LogsView, TaskLogLine};

use crate::{
    cli::{Context, Error, args, render},
    client,
    problem::{Kind, Problem},
};

const RETRY: Duration = Duration::from_millis(500);

pub async fn logs(context: &Context, args: args::Logs) -> Result<(), Error> {
    let path = ["v1", "deployments", args.name.as_str(), "logs"];
    let mut query = context.namespace();
    query.push(("tail", args.tail.to_string()));
    query.extend(args.task.map(|t| ("task", t)));
    query.extend(args.replica.map(|r| ("replica", r.to_string())));
    let line = |line: &TaskLogLine| render::stream::log_line(line);
    if args.follow {
        return follow(context, &path, query, Resume::No, line).await;
    }
    let view: LogsView = context.client.get(&path, &query).await?;
    context.output.show(&view, |_| view.lines.iter().map(line).collect::<Vec<_>>().join("\n"))
}

pub async fn events(context: &Context, args: args::Events) -> Result<(), Error> {
    let mut query = context.namespace();
    query.push(("limit", args.limit.to_string()));
    let path = match &args.deployment {
        Some(name) => vec!["v1", "deployments", name.as_str(), "events"],
        None => vec!["v1", "events"],
    };
    if args.follow {
        return follow(context, &path, query, Resume::Yes, |e: &Event| render::stream::event(e)).await;
    }
    let list: Vec<Event> = context.client.get(&path, &query).await?;
    context.output.show(&list, |_| list.iter().map(render::stream::event).collect::<Vec<_>>().join("\n"))
}

/// Whether a stream that broke goes on behind the last item seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resume {
    Yes,
    No,
}

async fn follow<T: Serialize + DeserializeOwned>(
    context: &Context,
    path: &[&str],
    mut query: Vec<(&'static str, String)>,
    resume: Resume,
    line: impl Fn(&T) -> String,
) -> Result<(), Error> {
    let mut opened = false;
    loop {
        let mut stream = match context.client.follow(path, &query).await {
            Ok(stream) => stream,
            // It was there: the daemon restarts.
            Err(client::Error::Unreachable { .. }) if opened => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        opened = resume == Resume::Yes;
        while let Some(Ok(event)) = stream.next().await {
            if event.name == "error" {
                match serde_json::from_str::<Problem>(&event.data) {
                    // The daemon is going: another will answer.
                    Ok(problem) if problem.kind == Kind::Unavailable && resume == Resume::Yes => break,
                    Ok(problem) => return Err(client::Error::Refused(Box::new(problem)).into()),
                    Err(_) => return Err(Error::Stream { message: event.data }),
                }
            }
            if let Some(id) = &event.id {
                query.retain(|(name, _)| *name != "after");
                query.push(("after", id.clone()));
            }
            match serde_json::from_str::<T>(&event.data) {
                Ok(item) => context.output.item(&item, |_| line(&item))?,
                Err(e) => return Err(Error::Stream { message: e.to_string() }),
            }
        }
        if resume == Resume::No {
            return Ok(());
        }
        tokio::time::sleep(RETRY).await;
    }
}
