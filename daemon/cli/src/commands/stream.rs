//! `logs` and `events`: once, or followed until the end or until the reader has enough.

mod lines;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    time::Duration,
};

use futures::StreamExt;
use serde::{Serialize, de::DeserializeOwned};
use tradewind_api::{
    EventView, LogsView, Nothing, TaskLogLine,
    problem::{Kind, Problem},
};

use tokio::time::Instant as Tick;
use tradewind_core::units::Instant;

use super::lists::{self, History, Order};
use crate::{
    Context, Error,
    args::{self, Paging},
    client::{self, Client},
    render,
};

/// Lines to begin with where no number is asked for, and where only some of them are shown.
const TAIL: u32 = 100;
const SEARCHED: u32 = 10_000;
/// Events that are printed where no number is asked for.
const USUAL: usize = 50;
const RETRY: Duration = Duration::from_millis(500);
/// How long the logs of a daemon that has gone are waited for: whoever pipes them wants an end some time.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes that are read of logs that are not followed.
const MOST: usize = 64 << 20;

pub(super) async fn logs(context: &Context, args: args::Logs) -> Result<(), Error> {
    let path = ["v1", "deployments", args.name.as_str(), "logs"];
    let mut query = context.namespace();
    let lines = lines::Lines::new(args.kind, now());
    let usual = if lines.filters() { SEARCHED } else { TAIL };
    let tail = args.tail.unwrap_or(usual);
    query.push(("tail", tail.to_string()));
    query.extend(args.previous.then(|| ("previous", "true".to_owned())));
    query.extend(args.task.map(|t| ("task", t)));
    query.extend(args.replica.map(|r| ("replica", r.to_string())));
    if args.follow {
        let line =
            |line: &TaskLogLine| lines.wants(line).then(|| lines.show(&context.output, line));
        return follow(context, &path, query, Following::Logs, line).await;
    }
    let mut view = whole(context, &path, query, tail as usize).await?;
    if lines.is_blind_to(&view.lines) && context.output.is_for_people() {
        // Where it can't be told, nobody looks.
        let _ = writeln!(
            io::stderr(),
            "note: a provider keeps no times of lines: all of those are shown, whatever --since says"
        );
    }
    view.lines.retain(|line| lines.wants(line));
    context
        .output
        .show(&view, |out| lines.show_all(out, &view.lines))
}

fn now() -> Instant {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Instant(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}

/// The last lines, however many answers they take. Lines that are written meanwhile end it as soon as there are as many as were asked for.
async fn whole(
    context: &Context,
    path: &[&str],
    mut query: Vec<(&'static str, String)>,
    tail: usize,
) -> Result<LogsView, Error> {
    let mut view: LogsView = context.client.get(path, &query).await?;
    let bytes = |lines: &[TaskLogLine]| lines.iter().map(|l| l.line.text.len()).sum::<usize>();
    let mut size = bytes(&view.lines);
    while let Some(next) = view.next.clone().filter(|_| view.more && size < MOST) {
        let of: BTreeSet<_> = view.lines.iter().map(|l| &l.allocation).collect();
        if view.lines.iter().filter(|l| !l.line.partial).count() >= tail.saturating_mul(of.len()) {
            break;
        }
        query.retain(|(name, _)| *name != "after");
        query.push(("after", next));
        let page: LogsView = context.client.get(path, &query).await?;
        size += bytes(&page.lines);
        view.lines.extend(page.lines);
        (view.next, view.more) = (page.next, page.more);
    }
    view.lines.sort_by_key(|l| l.line.time);
    Ok(view)
}

pub(super) async fn events(context: &Context, args: args::Events) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.kind.query());
    let path = match &args.deployment {
        Some(name) => vec!["v1", "deployments", name.as_str(), "events"],
        None => vec!["v1", "events"],
    };
    if args.follow {
        let limit = args
            .limit
            .map_or_else(|| USUAL.to_string(), |limit| limit.to_string());
        query.push(("limit", limit));
        if context.output.is_for_people() {
            context
                .output
                .text(&render::stream::header(&context.output))?;
        }
        return follow(context, &path, query, Following::Events, |e: &EventView| {
            Some(render::stream::event(&context.output, e))
        })
        .await;
    }
    let asked = History {
        order: Order::NewestLast,
        paging: Paging {
            limit: args.limit,
            cursor: args.cursor,
        },
        usual: USUAL,
        shown: args.shown,
    };
    lists::history::<EventView, Nothing>(context, &path, query, asked, |events| {
        render::stream::events(&context.output, events)
    })
    .await
}

/// What is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Following {
    /// Ends with its deployment, and when the daemon stays away.
    Logs,
    /// Never ends by itself.
    Events,
}

impl Following {
    /// Whether a failure to open the stream again is worth another attempt.
    fn waits(self, error: &client::Error, lost: Tick) -> bool {
        let passes = match error {
            client::Error::Unreachable { .. } => true,
            client::Error::Refused(problem) => {
                matches!(problem.kind, Kind::Unavailable | Kind::TooManyRequests)
            }
            _ => false,
        };
        passes && (self == Self::Events || lost.elapsed() < PATIENCE)
    }
}

/// A stream that breaks is opened again behind the last place that the daemon named.
async fn follow<T: Serialize + DeserializeOwned>(
    context: &Context,
    path: &[&str],
    mut query: Vec<(&'static str, String)>,
    following: Following,
    line: impl Fn(&T) -> Option<String>,
) -> Result<(), Error> {
    let mut opened = false;
    // Items behind that place, which come once more.
    let mut unplaced: Vec<String> = Vec::new();
    loop {
        let Some(mut stream) = open(context, path, &query, following, opened).await? else {
            return Ok(());
        };
        opened = true;
        let mut known = std::mem::take(&mut unplaced);
        while let Some(Ok(event)) = stream.next().await {
            if event.name == "error" {
                match serde_json::from_str::<Problem>(&event.data) {
                    // The daemon is going: another will answer.
                    Ok(problem) if problem.kind == Kind::Unavailable => break,
                    Ok(problem) => return Err(client::Error::Refused(Box::new(problem)).into()),
                    Err(_) => {
                        return Err(Error::Stream {
                            message: event.data,
                        });
                    }
                }
            }
            if let Some(at) = known.iter().position(|data| *data == event.data) {
                known.remove(at);
            } else {
                match serde_json::from_str::<T>(&event.data) {
                    Ok(item) => {
                        if let Some(line) = line(&item) {
                            context.output.item(&item, |_| line)?;
                        }
                    }
                    Err(e) => {
                        return Err(Error::Stream {
                            message: e.to_string(),
                        });
                    }
                }
            }
            match event.id {
                Some(id) => {
                    query.retain(|(name, _)| *name != "after");
                    query.push(("after", id));
                    unplaced.clear();
                    known.clear();
                }
                None => unplaced.push(event.data),
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// None when what was followed has come to its end meanwhile.
async fn open(
    context: &Context,
    path: &[&str],
    query: &[(&'static str, String)],
    following: Following,
    opened: bool,
) -> Result<
    Option<impl futures::Stream<Item = Result<client::Event, client::Error>> + Unpin + use<>>,
    Error,
> {
    let lost = Tick::now();
    let mut other: Option<Client> = None;
    let mut told = false;
    loop {
        let error = match other
            .as_ref()
            .unwrap_or(&context.client)
            .follow(path, query)
            .await
        {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) => error,
        };
        if opened && following == Following::Logs && error.is_not_found() {
            return Ok(None);
        }
        if !opened || !following.waits(&error, lost) {
            return Err(error.into());
        }
        if !told {
            told = true;
            // Where it can't be told, nobody looks.
            let _ = writeln!(
                io::stderr(),
                "{error}: what is followed goes on as soon as it can"
            );
        }
        tokio::time::sleep(RETRY).await;
        other = context.found_again().ok().or(other);
    }
}
