//! What containers wrote. The API knows no cursor, but puts the time before each line when asked: what is later than the last one is new.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, ErrorKind, api,
    fleet::{LogPiece, Member, State, read_logs},
    host::{Clock, Http},
    types::{LogChunk, LogQuery},
};

use crate::{client::Client, group::CONTAINER};

/// The API gives no more than the last 4 MB.
const TAIL: u32 = 10_000;

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    content: Option<String>,
}

impl<H: Http + Clock> Client<H> {
    pub(crate) fn logs(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        read_logs(state, query, |member, after| self.piece(member, after.unwrap_or_default(), query.tail))
    }

    fn piece(&self, member: &Member, after: &str, tail: u32) -> Result<LogPiece, Error> {
        let tail = if after.is_empty() { tail.clamp(1, TAIL) } else { TAIL };
        let path = format!("{}/containers/{CONTAINER}/logs", self.path(&member.id));
        let written = match self.get::<Written>(&path, &format!("&tail={tail}&timestamps=true")) {
            Ok(written) => written.content.unwrap_or_default(),
            // It has not begun, or is gone: nothing can be read, which is no failure.
            Err(error) if error.kind == ErrorKind::NotFound || error.code.as_deref() == Some("ContainerGroupDeploymentNotReady") => {
                String::new()
            }
            Err(error) => return Err(error),
        };
        let lines = written.lines().filter_map(|line| line.split_once(' ')).filter(|(time, _)| *time > after);
        let (mut told, mut next) = (Vec::new(), after);
        for (time, text) in lines {
            told.push((api::instant(time), text.to_owned()));
            next = next.max(time);
        }
        Ok(LogPiece { lines: told, next: next.to_owned() })
    }
}
