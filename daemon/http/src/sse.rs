//! Server-sent events: a stream of JSON values that ends when the client goes, the source ends, or the daemon stops.

use std::{convert::Infallible, time::Duration};

use aide::{generate::in_context, transform::TransformOperation};
use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tradewind_api::problem::Problem;

use super::{App, Error, openapi};
use crate::identity::Identity;

/// What a stream is sent as.
pub(crate) const MEDIA_TYPE: &str = "text/event-stream";
/// Where the description of a stream tells its events: their names, and what their data are.
const EVENTS: &str = "x-tradewind-events";
/// The name of the event with which a stream ends that fails.
const ERROR: &str = "error";

/// One message: its id (to resume behind it), its name, its data.
pub(crate) struct Message<T> {
    pub id: Option<String>,
    pub name: &'static str,
    pub data: T,
}

/// The events of a stream, for the documentation of a route that may answer with one.
#[derive(Debug, Default)]
pub(crate) struct Told(Map<String, Value>);

/// A comment line this often keeps intermediaries and clients from giving up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Turns `messages` into the response. A failed source ends the stream with an event named `error` that carries the problem.
///
/// # Errors
/// `Share` or `Busy` when too many streams are open: of its token, or of all.
pub(crate) async fn response<T, S>(
    app: &App,
    identity: &Identity,
    messages: S,
) -> Result<Response, Error>
where
    T: Serialize + Send + 'static,
    S: Stream<Item = Result<Message<T>, Error>> + Send + 'static,
{
    let slot = app.streams.take(identity, Duration::ZERO).await?;
    let stopping = app.stopping.clone();
    let events = messages
        .take_until(stopping.cancelled_owned())
        .map(move |message| {
            // The slot lives as long as the stream.
            let _ = &slot;
            Ok::<_, Infallible>(render(message))
        });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

fn render<T: Serialize>(message: Result<Message<T>, Error>) -> Event {
    let rendered = message.and_then(|m| {
        let event = Event::default()
            .event(m.name)
            .json_data(&m.data)
            .map_err(|e| Error::Encode(e.into()))?;
        Ok(match m.id {
            Some(id) => event.id(id),
            None => event,
        })
    });
    rendered.unwrap_or_else(|e| {
        let problem = Event::default().event(ERROR);
        problem
            .json_data(e.to_problem())
            .unwrap_or_else(|_| Event::default().event(ERROR))
    })
}

// === impl Told ===

impl Told {
    /// The stream has events of this name, each with such a value as its data.
    pub(crate) fn event<T: JsonSchema>(mut self, name: &str) -> Self {
        let schema = in_context(|context| context.schema.subschema_for::<T>());
        self.0.insert(name.to_owned(), schema.into());
        self
    }

    pub(crate) fn described(self) -> impl FnOnce(TransformOperation) -> TransformOperation {
        let Self(events) = self.event::<Problem>(ERROR);
        let mut media = openapi::text("Server-sent events, with JSON as their data.");
        media.extensions.insert(EVENTS.to_owned(), events.into());
        openapi::or_media(MEDIA_TYPE, media)
    }
}
