//! Server-sent events: a stream of JSON values that ends when the client goes, the source ends, or the daemon stops.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt};
use serde::Serialize;

use super::{App, Error};
use crate::identity::Identity;

/// One message: its id (to resume behind it), its name, its data.
pub(crate) struct Message<T> {
    pub id: Option<String>,
    pub name: &'static str,
    pub data: T,
}

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
        let problem = Event::default().event("error");
        problem
            .json_data(e.to_problem())
            .unwrap_or_else(|_| Event::default().event("error"))
    })
}
