//! `cordon`, `uncordon` and `drain`.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use tokio::time::{Instant, sleep};
use tradewind_api::{LeftView, Outcome, PlaceOutcome, PlaceView};

use super::watch::Daemon;
use crate::{
    Context, Error,
    args::{Cordon, Drain, PlaceName, Uncordon},
    client::Body,
    progress::Progress,
    render,
};

/// Between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn cordon(context: &Context, args: Cordon) -> Result<(), Error> {
    let mut query = region(&args.place);
    query.extend(args.reason.map(|reason| ("reason", reason)));
    let done = send(context, Method::PUT, &args.place, "cordon", &query).await?;
    let place = &args.place;
    context.output.show(&done, |_| match done.outcome {
        Outcome::Unchanged => format!("\"{place}\" was cordoned before"),
        _ => format!(
            "\"{place}\" is cordoned: nothing new is placed there, and what runs there goes on"
        ),
    })
}

pub(super) async fn uncordon(context: &Context, args: Uncordon) -> Result<(), Error> {
    let query = region(&args.place);
    let done = send(context, Method::DELETE, &args.place, "cordon", &query).await?;
    let place = &args.place;
    context.output.show(&done, |_| match done.outcome {
        Outcome::Unchanged => format!("\"{place}\" was not cordoned"),
        _ => format!("\"{place}\" takes new replicas again"),
    })
}

pub(super) async fn drain(context: &Context, args: Drain) -> Result<(), Error> {
    let mut query = region(&args.place);
    query.extend(args.reason.clone().map(|reason| ("reason", reason)));
    query.extend(
        args.deadline
            .map(|deadline| ("deadline", deadline.to_string())),
    );
    query.extend(args.ignore_jobs.then(|| ("ignoreJobs", "true".to_owned())));
    let done = send(context, Method::PUT, &args.place, "drain", &query).await?;
    if args.no_wait {
        return context.output.show(&done, |_| {
            format!(
                "\"{}\" is drained: `tradewind regions` says when nothing is left there",
                args.place
            )
        });
    }
    let view = until_empty(context, &args).await?;
    context.output.show(&view, |_| {
        let ignored = view.left.iter().filter(|one| one.ignored).count();
        let jobs = match ignored {
            0 => String::new(),
            _ => " but jobs".to_owned(),
        };
        format!(
            "nothing is left at \"{place}\"{jobs}, and nothing new is placed there: `tradewind uncordon {place}` opens it again",
            place = args.place
        )
    })
}

/// Shows what is left, until nothing is or the rest can't go.
async fn until_empty(context: &Context, args: &Drain) -> Result<PlaceView, Error> {
    let end = args.timeout.map(|span| Instant::now() + span.std());
    let progress = Progress::new(context.output.is_for_people(), false);
    let mut daemon = Daemon::new(context);
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    let reached = loop {
        let path = ["v1", "places", args.place.provider.as_str()];
        let looked = daemon.client().get(&path, &region(&args.place)).await;
        let looked: Result<PlaceView, Error> = looked.map_err(Error::from);
        let Some(view) = daemon.settle(looked).await? else {
            continue;
        };
        show(&progress, &view, &mut shown);
        let Some(drain) = view.cordon.as_ref().and_then(|cordon| cordon.drain.clone()) else {
            break Err(Error::Uncordoned {
                place: args.place.to_string(),
            });
        };
        if drain.drained_at.is_some() {
            break Ok(view);
        }
        let waited_for = || view.left.iter().filter(|one| !one.ignored);
        let hopeless =
            drain.overdue && waited_for().next().is_some() && waited_for().all(|one| one.stuck);
        if hopeless || end.is_some_and(|at| at <= Instant::now()) {
            break Err(Error::NotDrained {
                place: args.place.to_string(),
                left: waited_for().map(line).collect(),
            });
        }
        sleep(PAUSE).await;
    };
    progress.finish(reached.is_ok());
    reached
}

fn show(progress: &Progress, view: &PlaceView, shown: &mut BTreeMap<String, String>) {
    let there: BTreeMap<String, &LeftView> = view
        .left
        .iter()
        .map(|one| (one.allocation.to_string(), one))
        .collect();
    shown.retain(|id, name| {
        let stays = there.contains_key(id);
        if !stays {
            progress.put(id.clone(), format!("{name}: gone from there"), true);
        }
        stays
    });
    for (id, one) in there {
        shown.insert(id.clone(), name(one));
        progress.put(id, line(one), one.ignored);
    }
}

fn name(one: &LeftView) -> String {
    let target = one
        .target
        .as_ref()
        .map(|target| format!(" at {target}"))
        .unwrap_or_default();
    format!("{}/{} {}{target}", one.namespace, one.deployment, one.task)
}

fn line(one: &LeftView) -> String {
    format!(
        "{}: {}, {}",
        name(one),
        render::replicas(one.replicas),
        one.why
    )
}

fn region(place: &PlaceName) -> Vec<(&'static str, String)> {
    let region = place.region.iter();
    region
        .map(|region| ("region", region.to_string()))
        .collect()
}

async fn send(
    context: &Context,
    method: Method,
    place: &PlaceName,
    action: &str,
    query: &[(&'static str, String)],
) -> Result<PlaceOutcome, Error> {
    let path = ["v1", "places", place.provider.as_str(), action];
    Ok(context
        .client
        .send(method, &path, query, Body::Empty)
        .await?)
}
