//! What containers wrote: the second serial port, which the start script gives to nothing else. Its cursor is a number of bytes.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    fleet::{LogPiece, Member, State, read_logs},
    host::{Clock, Http},
    types::{LogChunk, LogQuery},
};

use crate::client::Client;

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    contents: String,
    /// A number, as a text.
    #[serde(default)]
    next: String,
}

impl<H: Http + Clock> Client<H> {
    pub(crate) fn logs(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        read_logs(state, query, |member, after| self.piece(member, after.unwrap_or("0")))
    }

    fn piece(&self, member: &Member, after: &str) -> Result<LogPiece, Error> {
        let from: u64 = after.parse().map_err(|_| Error::invalid(format!("{after:?} is not a cursor of this provider")).field("after"))?;
        let path = format!("{}/serialPort?port=2&start={from}", self.path(&member.id)?);
        match self.get::<Written>(&path) {
            Ok(written) => {
                let lines = written.contents.lines().map(|line| (None, line.trim_end_matches('\r').to_owned())).collect();
                Ok(LogPiece { lines, next: if written.next.is_empty() { after.to_owned() } else { written.next } })
            }
            // It has not begun, or is gone: nothing can be read, which is no failure.
            Err(error) if matches!(error.kind, ErrorKind::NotFound) || error.code.as_deref() == Some("resourceNotReady") => {
                Ok(LogPiece { lines: Vec::new(), next: after.to_owned() })
            }
            Err(error) => Err(error),
        }
    }
}
