//! `doctor`: one look at everything that a command needs, from the settings to the providers, and what helps where something is wrong. It
//! works when nothing runs.

use std::{net::TcpListener, path::Path};

use serde::Serialize;
use serde_json::Value;
use tradewind_api::{OffersView, PluginState, Plugins, WhoAmI};
use tradewind_config::{Effective, environment};
use tradewind_core::units::{Bytes, Instant, Millis};

use super::version::Versions;
use crate::{
    Error, Globals, Output,
    client::{Client, Trust},
    connection::Connection,
    output::Mood,
    overrides,
    pasted::pasted,
    render,
};

/// Less room than this is told; less than the second stops a daemon soon.
const LITTLE: u64 = 1 << 30;
const LEAST: u64 = 100 << 20;
/// A clock that is further off is told.
const SKEW: u64 = 30_000;
/// What ends within this time is told.
const SOON: u64 = 7 * 24 * 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    what: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Default)]
struct Sheet(Vec<Check>);

impl Sheet {
    fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.add(what, State::Ok, found.into(), None);
    }
    fn warn(&mut self, what: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(what, State::Warn, found.into(), Some(remedy.into()));
    }
    fn fail(&mut self, what: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(what, State::Fail, found.into(), Some(remedy.into()));
    }
    fn failed(&mut self, what: &'static str, error: &Error) {
        let remedy = error.remedy();
        self.add(what, State::Fail, error.to_string(), remedy);
    }
    fn add(&mut self, what: &'static str, state: State, found: String, remedy: Option<String>) {
        let remedy = remedy.map(|remedy| pasted(&remedy));
        self.0.push(Check {
            what,
            state,
            found,
            remedy,
        });
    }
}

/// The exit code: 1 when something is wrong.
pub(crate) async fn run(globals: &Globals) -> Result<u8, Error> {
    let output = Output::new(globals);
    let checks = checks(globals).await;
    output.show(&checks, |out| text(out, &checks))?;
    let fails = checks.iter().any(|check| check.state == State::Fail);
    Ok(u8::from(fails))
}

/// As lines for people.
pub(crate) fn text(out: &Output, checks: &[Check]) -> String {
    let lines = checks.iter().map(|check| {
        let (word, mood) = match check.state {
            State::Ok => ("ok", Mood::Good),
            State::Warn => ("warn", Mood::Busy),
            State::Fail => ("FAIL", Mood::Bad),
        };
        let remedy = check
            .remedy
            .as_ref()
            .map(|remedy| format!("\n      help: {remedy}"))
            .unwrap_or_default();
        let word = out.paint(&format!("{word:4}"), mood);
        format!("{word}  {}: {}{remedy}", check.what, check.found)
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) async fn checks(globals: &Globals) -> Vec<Check> {
    let mut sheet = Sheet::default();
    let config = match Effective::load(&overrides(globals, None), environment) {
        Ok(effective) => {
            let file = effective.config.file.as_ref();
            let file = file.map_or_else(
                || "no file, defaults".to_owned(),
                |f| f.display().to_string(),
            );
            sheet.ok("settings", file);
            Some(effective.config)
        }
        Err(error) => {
            sheet.failed("settings", &error.into());
            None
        }
    };
    let connection = match Connection::find(globals) {
        Ok(connection) => connection,
        Err(error) => {
            sheet.failed("daemon", &error);
            return sheet.0;
        }
    };
    // A context's daemon has its folder elsewhere.
    let local = config.filter(|_| connection.context.is_none());
    if let Some(config) = &local {
        folder(&mut sheet, &config.data);
    }
    let how = match &connection.context {
        Some(context) => format!("{} (context \"{context}\")", connection.server),
        None if connection.is_meant => connection.server.clone(),
        None => {
            let had = connection.had.as_ref();
            let had = had.map_or_else(String::new, |had| {
                format!(", the last one listened at {had}")
            });
            sheet.fail(
                "daemon",
                format!("none runs with this data folder{had}"),
                "start it with `tradewind serve`, or name another with --server or --context",
            );
            if let Some(config) = &local {
                port(&mut sheet, &config.listen.to_string());
            }
            return sheet.0;
        }
    };
    sheet.ok("daemon", how);
    asked(&mut sheet, globals, &connection).await;
    sheet.0
}

fn folder(sheet: &mut Sheet, data: &Path) {
    let shown = data.display();
    if !data.exists() {
        sheet.warn(
            "data folder",
            format!("{shown} is not there"),
            "`tradewind serve` makes it at its first start",
        );
        return;
    }
    match rustix::fs::access(data, rustix::fs::Access::WRITE_OK) {
        Ok(()) => sheet.ok("data folder", shown.to_string()),
        Err(e) => sheet.warn(
            "data folder",
            format!("{shown} can't be written by this user: {e}"),
            "run local commands as the daemon's user; others reach the daemon with a token",
        ),
    }
    if let Ok(space) = rustix::fs::statvfs(data) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        // Three digits or so are enough.
        let unit = if free > 10 << 30 { 30 } else { 20 };
        let shown = format!("{} free", Bytes(free >> unit << unit));
        let remedy = "make room: without it the daemon stops accepting changes. `tradewind config` shows the settings keep.*";
        match free {
            0..LEAST => sheet.fail("disk", shown, remedy),
            LEAST..LITTLE => sheet.warn("disk", shown, remedy),
            _ => sheet.ok("disk", shown),
        }
    }
}

/// Whether a daemon could listen there.
fn port(sheet: &mut Sheet, listen: &str) {
    match TcpListener::bind(listen) {
        Ok(_) => sheet.ok("port", format!("{listen} is free")),
        Err(e) => sheet.warn(
            "port",
            format!("{listen} can't be listened at: {e}"),
            "choose another with the setting listen, or end the program that has it",
        ),
    }
}

async fn asked(sheet: &mut Sheet, globals: &Globals, connection: &Connection) {
    let stranger = match Client::new(&connection.server, None, &connection.trust) {
        Ok(client) => client,
        Err(error) => return sheet.failed("reachable", &error.into()),
    };
    let began = render::rollout::now();
    let date = match stranger.date(&["healthz"]).await {
        Ok(date) => date,
        Err(error) => return sheet.failed("reachable", &connection.explain(error.into())),
    };
    let now = render::rollout::now();
    let took = Millis(now.0.saturating_sub(began.0));
    sheet.ok("reachable", format!("answers in {took}"));
    if connection.server.starts_with("https") {
        sheet.ok(
            "TLS",
            match &connection.trust {
                Trust::System => {
                    "the certificate is signed by one whom this machine trusts".to_owned()
                }
                Trust::Authority(file) => {
                    format!("the certificate is signed by one in {}", file.display())
                }
                Trust::Pinned(digest) => format!("the certificate has the key {digest}"),
            },
        );
    }
    match date {
        Some(at) if at.0.abs_diff(now.0) > SKEW + took.0 => sheet.warn(
            "clock",
            format!(
                "the daemon's differs by {}",
                Millis(at.0.abs_diff(now.0) / 1000 * 1000)
            ),
            "set both clocks: times of events, expiries and certificates depend on them",
        ),
        Some(_) => sheet.ok("clock", "agrees with the daemon's"),
        None => {}
    }
    let versions = Versions::find(globals).await;
    match versions.skew() {
        Some(skew) => sheet.warn("version", skew, "use the program of the daemon's version"),
        None => sheet.ok("version", versions.client.version),
    }
    match stranger.get::<Value>(&["readyz"], &[]).await {
        Ok(_) => sheet.ok("ready", "the state and the plugins are loaded"),
        Err(error) => sheet.fail(
            "ready",
            error.to_string(),
            "wait with `tradewind wait-ready`, and see the daemon's log",
        ),
    }
    let client = match connection.client() {
        Ok(client) => client,
        Err(error) => return sheet.failed("token", &error),
    };
    let who: WhoAmI = match client.get(&["v1", "whoami"], &[]).await {
        Ok(who) => who,
        Err(error) => return sheet.failed("token", &error.into()),
    };
    let shown = render::token::who(
        &Output::for_files(),
        &WhoAmI {
            certificate_ends: None,
            ..who.clone()
        },
    );
    let soon = |at: Option<Instant>| at.filter(|at| at.0 < now.0 + SOON);
    match soon(who.expires_at) {
        Some(_) => sheet.warn(
            "token",
            shown,
            "have another made: `tradewind token create NAME`",
        ),
        None => sheet.ok("token", shown),
    }
    if let Some(at) = soon(who.certificate_ends) {
        sheet.warn(
            "certificate",
            format!("the daemon's ends at {at}"),
            "put a new one where the settings tls.certificate and tls.key point; a self-made one is renewed by the daemon",
        );
    }
    plugins(sheet, &client).await;
    providers(sheet, &client).await;
}

async fn plugins(sheet: &mut Sheet, client: &Client) {
    let list: Plugins = match client.get(&["v1", "plugins"], &[]).await {
        Ok(list) => list,
        Err(error) => {
            return sheet.warn(
                "plugins",
                error.to_string(),
                "ask with a token that reaches all namespaces",
            );
        }
    };
    let all = list.items.len();
    let bad: Vec<String> = list
        .items
        .iter()
        .filter(|plugin| plugin.state == PluginState::Rejected)
        .map(|plugin| plugin.instance.to_string())
        .collect();
    let problems = list.beside.problems.len();
    if all == 0 {
        sheet.warn(
            "plugins",
            "there are none: nothing can be placed",
            "put a policy and a provider into the plugin folder, which `tradewind config` names",
        );
    } else if !bad.is_empty() {
        sheet.fail(
            "plugins",
            format!("refused: {}", bad.join(", ")),
            format!(
                "see `tradewind plugin inspect {}`",
                bad.first().map_or("", String::as_str)
            ),
        );
    } else if problems > 0 {
        sheet.warn(
            "plugins",
            format!("{all}, and {problems} files that belong to none"),
            "see `tradewind plugin list`",
        );
    } else {
        sheet.ok("plugins", format!("{all}, none refused"));
    }
}

async fn providers(sheet: &mut Sheet, client: &Client) {
    match client.get::<OffersView>(&["v1", "offers"], &[]).await {
        Ok(offers) if !offers.beside.failures.is_empty() => {
            let names: Vec<String> = offers
                .beside
                .failures
                .iter()
                .map(|failure| failure.provider.to_string())
                .collect();
            sheet.fail(
                "providers",
                format!("without an answer: {}", names.join(", ")),
                "see `tradewind offers` and `tradewind regions`",
            );
        }
        Ok(offers) if offers.items.is_empty() => sheet.warn(
            "providers",
            "none has an offer: nothing can be placed",
            "see `tradewind plugin list`",
        ),
        Ok(offers) => sheet.ok(
            "providers",
            format!("all answer, {} offers", offers.items.len()),
        ),
        Err(error) => sheet.warn(
            "providers",
            error.to_string(),
            "ask with a token that may see offers",
        ),
    }
}
