//! Events as a daemon sends them: those kept first, then those to come.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Daemon;
use crate::PATIENCE;

/// A stream of events that is open.
pub struct Events {
    response: reqwest::Response,
    /// What has come of the next message.
    begun: Vec<u8>,
    place: Option<String>,
}

impl Events {
    /// The next event.
    ///
    /// # Errors
    /// When the stream ends, tells of a problem, or tells of nothing within [`PATIENCE`].
    pub async fn next(&mut self) -> Result<Value> {
        tokio::time::timeout(PATIENCE, self.read())
            .await
            .context("no further event")?
    }

    /// The id of the last event that came: where a stream can be resumed.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The next message, whatever its name is, with its name.
    ///
    /// # Errors
    /// As `next`.
    pub async fn named(&mut self) -> Result<(String, Value)> {
        tokio::time::timeout(PATIENCE, self.read_named())
            .await
            .context("no further event")?
    }

    async fn read(&mut self) -> Result<Value> {
        let (name, event) = self.read_named().await?;
        ensure!(name == "event", "{event}");
        Ok(event)
    }

    async fn read_named(&mut self) -> Result<(String, Value)> {
        loop {
            while let Some(message) = self.message() {
                if let Some(event) = event(&message)? {
                    if let Some(place) = fields(&message, "id").next() {
                        self.place = Some(place.to_owned());
                    }
                    return Ok(event);
                }
            }
            let more = self.response.chunk().await?;
            self.begun
                .extend(more.context("the stream of events has ended")?);
        }
    }

    /// What stands before the next empty line.
    fn message(&mut self) -> Option<String> {
        let end = self.begun.windows(2).position(|pair| pair == b"\n\n")?;
        let message: Vec<u8> = self.begun.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&message).into_owned())
    }

    /// Waits until an event is as wanted.
    ///
    /// # Errors
    /// As `next`; all that came instead is told.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut others = Vec::new();
        let found = async {
            loop {
                let event = self.read().await?;
                if wanted(&event) {
                    return Ok(event);
                }
                others.push(event.to_string());
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found
            .unwrap_or_else(|_| anyhow::bail!("waited {PATIENCE:?}"))
            .with_context(|| format!("no event \"{what}\" came:\n{}", others.join("\n")))
    }
}

fn fields<'a>(message: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    message
        .lines()
        .filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// The event of a message; none in a comment, which only keeps the connection.
fn event(message: &str) -> Result<Option<(String, Value)>> {
    let data: String = fields(message, "data").collect();
    if data.is_empty() {
        return Ok(None);
    }
    let name = fields(message, "event").next().unwrap_or("event");
    ensure!(name != "error", "{data}");
    Ok(Some((name.to_owned(), serde_json::from_str(&data)?)))
}

impl Daemon {
    /// The events behind a place, those to come included; without a place all that are kept come first.
    ///
    /// # Errors
    /// When the daemon does not send them.
    pub async fn events(&self, after: Option<&str>) -> Result<Events> {
        self.stream("/v1/events?follow=true&limit=10000", after)
            .await
    }

    /// A stream of whatever events, behind a place if one is given.
    ///
    /// # Errors
    /// When the daemon does not send them.
    pub async fn stream(&self, path: &str, after: Option<&str>) -> Result<Events> {
        let mut request = self.http.get(self.url(path));
        if let Some(place) = after {
            request = request.header("last-event-id", place);
        }
        Ok(Events {
            response: request.send().await?.error_for_status()?,
            begun: Vec::new(),
            place: None,
        })
    }

    /// Waits for an event of this reason that is as wanted: one that is kept, or one to come.
    ///
    /// # Errors
    /// When none comes within [`PATIENCE`]; those that came are told, with the daemon's log.
    pub async fn event(&self, reason: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let of_reason = |event: &Value| event["reason"] == reason && wanted(event);
        let mut events = self.events(None).await?;
        let event = events.until(reason, of_reason).await;
        event.map_err(|error| self.with_log(&error))
    }

    /// The reasons of the events that a path lists now, in order.
    ///
    /// # Errors
    /// When the daemon does not list them.
    pub async fn reasons(&self, path: &str) -> Result<Vec<String>> {
        let events = self.list(&format!("{path}?limit=10000")).await?;
        let reasons = events.as_array().into_iter().flatten();
        Ok(reasons
            .filter_map(|event| event["reason"].as_str().map(str::to_owned))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_event_a_comment_or_a_problem() {
        let told = event("event: event\ndata: {\"reason\":\"Done\"}\nid: 7\n\n").unwrap();
        assert_eq!(told.unwrap().1["reason"], "Done");
        assert_eq!(event(":\n\n").unwrap(), None);
        assert!(event("event: error\ndata: {\"status\":410}\n\n").is_err());
    }
}
