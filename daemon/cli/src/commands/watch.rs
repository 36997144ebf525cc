//! `get --watch`: what changes, as it changes. Events tell when to look again; what is shown is always the whole list as it is. It goes on
//! over restarts of the daemon and cut connections, until who watches has enough.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use futures::{Stream, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tradewind_api::{DeploymentSummary, DeploymentView, problem::Kind};

use super::deployments;
use crate::{
    Context, Error, args,
    client::{self, Client},
    output::{Output, Table, cut},
    render,
};

/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// The most: what no event tells of, and ages, are looked at so often.
const IDLE: Duration = Duration::from_secs(5);
/// Between two tries to reach a daemon that has gone.
const RETRY: Duration = Duration::from_millis(500);
/// Letters of the longest status, which a row may get later.
const LONGEST: usize = "progressing".len();

/// A list that is followed.
///
/// # Errors
/// What the first answer says, and whatever a later one does that no further try would change.
pub(super) async fn list(context: &Context, args: args::Deployments) -> Result<(), Error> {
    let mut screen = Screen::new(&context.output);
    let mut daemon = Daemon::new(context);
    loop {
        let looked = deployments::listed(context, daemon.client(), &args).await;
        let Some((list, table)) = daemon.settle(looked).await? else {
            screen.begin_below();
            continue;
        };
        screen.show(&list.items, table)?;
        daemon.wait_for_change(&["v1", "events"]).await;
    }
}

/// One deployment that is followed, until it is gone.
///
/// # Errors
/// As with a list.
pub(super) async fn one(context: &Context, name: &str) -> Result<(), Error> {
    let mut screen = Screen::new(&context.output);
    let mut daemon = Daemon::new(context);
    let path = ["v1", "deployments", name];
    loop {
        let looked = daemon.client().get(&path, &context.namespace()).await;
        let looked: Result<DeploymentView, Error> = looked.map_err(Error::from);
        let was_there = daemon.seen;
        let view = match looked {
            Err(Error::Client(e)) if was_there && e.is_not_found() => {
                return match context.output.is_for_people() {
                    true => context
                        .output
                        .text(&format!("deployment \"{name}\" is gone")),
                    false => Ok(()),
                };
            }
            looked => daemon.settle(looked).await?,
        };
        let Some(view) = view else {
            screen.begin_below();
            continue;
        };
        screen.show_one(&view)?;
        daemon.wait_for_change(&path).await;
    }
}

type Events = futures::stream::BoxStream<'static, Result<client::Event, client::Error>>;

/// Who is asked: found again when it has gone.
pub(super) struct Daemon<'a> {
    context: &'a Context,
    other: Option<Client>,
    events: Option<Events>,
    looked: Instant,
    /// It has answered.
    seen: bool,
    /// That it is away was told.
    told: bool,
}

impl<'a> Daemon<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self {
            context,
            other: None,
            events: None,
            looked: Instant::now(),
            seen: false,
            told: false,
        }
    }

    pub(super) fn client(&self) -> &Client {
        self.other.as_ref().unwrap_or(&self.context.client)
    }

    /// The answer; none when it is worth another try, before which it waits.
    ///
    /// # Errors
    /// What no other try would change.
    pub(super) async fn settle<T>(&mut self, answer: Result<T, Error>) -> Result<Option<T>, Error> {
        self.looked = Instant::now();
        let error = match answer {
            Ok(answer) => {
                self.seen = true;
                self.told = false;
                return Ok(Some(answer));
            }
            Err(error) if !self.seen || !passes(&error) => return Err(error),
            Err(error) => error,
        };
        self.events = None;
        if !self.told {
            self.told = true;
            // Where it can't be told, nobody looks.
            let _ = writeln!(
                io::stderr(),
                "{error}: what is watched goes on as soon as it can"
            );
        }
        sleep(RETRY).await;
        self.other = self.context.found_again().ok().or(self.other.take());
        Ok(None)
    }

    /// Until something has happened, and not before another look may be taken.
    async fn wait_for_change(&mut self, path: &[&str]) {
        let idle = self.looked + IDLE;
        if self.events.is_none() {
            // What happened before is in what was looked at, or makes one look more.
            let mut query = self.context.namespace();
            if path.last() == Some(&"events") {
                query.push(("limit", "1".to_owned()));
            }
            self.events = match self.client().follow(path, &query).await {
                Ok(stream) => Some(stream.boxed()),
                Err(_) => None,
            };
        }
        match &mut self.events {
            Some(events) => {
                let happened = timeout_at(idle, events.next()).await;
                sleep_until(self.looked + PAUSE).await;
                match happened {
                    Ok(Some(Ok(event))) if event.name != "error" => drain(events).await,
                    // It broke off.
                    Ok(_) => self.events = None,
                    Err(_) => {}
                }
            }
            None => sleep_until(self.looked + RETRY).await,
        }
    }
}

/// What has come meanwhile is answered by one look.
async fn drain(events: &mut (impl Stream + Unpin)) {
    while let Some(Some(_)) = futures::FutureExt::now_or_never(events.next()) {}
}

/// Whether another try may be answered otherwise.
fn passes(error: &Error) -> bool {
    match error {
        Error::Client(client::Error::Unreachable { .. }) => true,
        Error::Client(client::Error::Refused(problem)) => {
            matches!(problem.kind, Kind::Unavailable | Kind::TooManyRequests)
        }
        _ => false,
    }
}

/// What is printed, and what of it is on the screen.
struct Screen<'a> {
    output: &'a Output,
    /// Lines that are drawn over.
    drawn: usize,
    /// What was shown of each item last.
    shown: BTreeMap<String, String>,
    begun: bool,
}

impl<'a> Screen<'a> {
    fn new(output: &'a Output) -> Self {
        Self {
            output,
            drawn: 0,
            shown: BTreeMap::new(),
            begun: false,
        }
    }

    /// Something else was written to the terminal.
    fn begin_below(&mut self) {
        self.drawn = 0;
    }

    fn show(&mut self, list: &[DeploymentSummary], table: Table) -> Result<(), Error> {
        if self.output.is_for_people() && self.output.terminal().is_some() {
            return self.redraw(&self.output.listing(&table));
        }
        let mut now = BTreeMap::new();
        let rows = self.output.rows(&table.with_room("STATUS", LONGEST));
        let (header, rows) = rows
            .split_first()
            .map_or(("", &[][..]), |(h, r)| (h.as_str(), r));
        for (i, item) in list.iter().enumerate() {
            let key = format!("{}/{}", item.namespace, item.name);
            let value = serde_json::to_string(item).unwrap_or_default();
            if self.shown.get(&key) != Some(&value) {
                if self.output.is_for_people() {
                    if !self.begun {
                        self.output.text(header)?;
                    }
                    self.output.text(rows.get(i).map_or("", String::as_str))?;
                } else {
                    self.output.item(item, |_| String::new())?;
                }
                self.begun = true;
            }
            now.insert(key, value);
        }
        for key in self.shown.keys().filter(|key| !now.contains_key(*key)) {
            if self.output.is_for_people() {
                self.output.text(&format!("{key} is gone"))?;
            }
        }
        self.shown = now;
        Ok(())
    }

    fn show_one(&mut self, view: &DeploymentView) -> Result<(), Error> {
        let text = || render::deployment::one(self.output, view);
        if self.output.is_for_people() && self.output.terminal().is_some() {
            let text = text();
            return self.redraw(&text);
        }
        if self.output.is_for_people() {
            let summary = std::slice::from_ref(&view.summary);
            let table = render::deployment::table(self.output, summary);
            return self.show(summary, table);
        }
        let value = serde_json::to_string(view).unwrap_or_default();
        if self.shown.get("") != Some(&value) {
            self.output.item(view, |_| String::new())?;
            self.shown.insert(String::new(), value);
        }
        Ok(())
    }

    /// Over what was drawn before. What has no room is counted.
    fn redraw(&mut self, text: &str) -> Result<(), Error> {
        let Some(size) = self.output.terminal() else {
            return self.output.text(text);
        };
        let room = size.lines.saturating_sub(1).max(1);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() > room {
            let more = lines.len() - room + 1;
            lines.truncate(room - 1);
            lines.push(cut(&format!("… and {more} more lines"), size.columns));
        }
        let mut drawing = String::new();
        if self.drawn > 0 {
            drawing.push_str(&format!("\u{1b}[{}A", self.drawn));
        }
        // Each line is cleared behind its text, and the screen below the last.
        for line in &lines {
            drawing.push_str(line);
            drawing.push_str("\u{1b}[K\n");
        }
        drawing.push_str("\u{1b}[J");
        self.drawn = lines.len();
        let mut out = io::stdout().lock();
        out.write_all(drawing.as_bytes())?;
        Ok(out.flush()?)
    }
}
