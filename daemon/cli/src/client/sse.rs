//! Reads server-sent events out of a stream of bytes.

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::Error;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: String,
}

/// Collects bytes into lines and lines into events.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
}

pub(super) fn events(
    bytes: impl Stream<Item = Result<Bytes, Error>> + Send + 'static,
) -> impl Stream<Item = Result<Event, Error>> + Send {
    let mut parser = Parser::default();
    bytes.flat_map(move |chunk| {
        stream::iter(match chunk {
            Ok(chunk) => parser.feed(&chunk).into_iter().map(Ok).collect(),
            Err(e) => vec![Err(e)],
        })
    })
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) -> Vec<Event> {
        let mut out = Vec::new();
        for &byte in chunk {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let text = String::from_utf8_lossy(&line);
            out.extend(self.take_line(text.trim_end_matches('\r')));
        }
        out
    }

    /// An empty line ends an event; one without data is none (a keep-alive).
    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_cut_of_the_bytes() {
        let text = ": hello\n\nid: 7\nevent: line\ndata: {\"a\":1}\n\r\ndata: x\ndata: y\n\n:\n\nevent: empty\n\n";
        let wanted = [
            Event {
                id: Some("7".into()),
                name: "line".into(),
                data: "{\"a\":1}".into(),
            },
            Event {
                id: None,
                name: String::new(),
                data: "x\ny".into(),
            },
        ];
        for size in 1..=text.len() {
            let mut parser = Parser::default();
            let got: Vec<Event> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|c| parser.feed(c))
                .collect();
            assert_eq!(got, wanted, "{size}");
        }
    }
}
