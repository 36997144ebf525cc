//! The API that customers of the cloud use, as a function of a request and the time. One place where paths become operations, and errors answers.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    control,
    error::Error,
    faults::{Fault, Kind, Operation},
    instance::State,
    ledger::{Birth, Cloud, New},
};

/// A request, already read.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The value of `authorization`.
    pub authorization: String,
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// Milliseconds, for the header `retry-after`.
    pub retry_after: Option<u64>,
    pub body: Value,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Reply(Reply),
    /// After so many milliseconds.
    Late(u64, Reply),
    /// The connection breaks.
    Lost,
    /// Nothing, ever.
    Never,
}

/// A target, taken apart.
struct Path<'a> {
    segments: Vec<&'a str>,
    query: Vec<(String, String)>,
}

impl<'a> Path<'a> {
    fn parse(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |text: &str| {
            text.split_once('=')
                .map(|(key, value)| (decoded(key), decoded(value)))
        };
        Self {
            segments: path.split('/').filter(|s| !s.is_empty()).collect(),
            query: query.split('&').filter_map(pair).collect(),
        }
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Percent-decoding.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let code = (byte == b'%').then(|| {
            [bytes.next(), bytes.next()]
                .into_iter()
                .flatten()
                .map(char::from)
                .collect::<String>()
        });
        out.push(
            code.and_then(|hex| u8::from_str_radix(&hex, 16).ok())
                .unwrap_or(byte),
        );
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::invalid(format!("the body can't be used: {error}")))
}

impl From<Result<(u16, Value), Error>> for Reply {
    fn from(result: Result<(u16, Value), Error>) -> Self {
        match result {
            Ok((status, body)) => Self {
                status,
                retry_after: None,
                body,
            },
            Err(error) => Self {
                status: error.status,
                retry_after: error.retry_after,
                body: error.body(),
            },
        }
    }
}

impl Cloud {
    /// Takes a request at this time: its effect, and what becomes of the answer.
    pub fn answer(&mut self, now: u64, request: &Request) -> Answer {
        self.advance(now);
        let path = Path::parse(&request.target);
        if let Some(("control", rest)) = path
            .segments
            .split_first()
            .map(|(first, rest)| (*first, rest))
        {
            return Answer::Reply(
                control::answer(self, &request.method, rest, &request.body).into(),
            );
        }
        if request.authorization != format!("Bearer {}", self.config.token) {
            return Answer::Reply(
                Err(Error::new(
                    401,
                    "Unauthorized",
                    "the bearer token is missing or wrong",
                ))
                .into(),
            );
        }
        match (request.method.as_str(), path.segments.as_slice()) {
            ("GET", ["v1", "regions"]) => self.serve(Operation::Regions, None, None, |cloud, _| {
                Ok((200, cloud.shown_regions()))
            }),
            ("GET", ["v1", "offers"]) => self.serve(Operation::Offers, None, None, |cloud, _| {
                Ok((200, cloud.shown_offers()))
            }),
            ("POST", ["v1", "regions", region, "instances"]) => match read::<New>(&request.body) {
                Ok(new) => {
                    let size = new.size.clone();
                    self.serve(
                        Operation::Create,
                        Some(region),
                        Some(&size),
                        |cloud, fault| cloud.answer_create(region, new, fault),
                    )
                }
                Err(error) => Answer::Reply(Err(error).into()),
            },
            ("GET", ["v1", "regions", region, "instances"]) => {
                self.serve(Operation::List, Some(region), None, |cloud, _| {
                    cloud.answer_list(region, &path)
                })
            }
            ("GET", ["v1", "regions", region, "instances", id]) => {
                self.serve(Operation::Get, Some(region), None, |cloud, _| {
                    let found = cloud
                        .look_up(region, id)
                        .ok_or_else(|| Error::not_found("instance", id))?;
                    Ok((200, found.shown()))
                })
            }
            ("DELETE", ["v1", "regions", region, "instances", id]) => {
                self.serve(Operation::Delete, Some(region), None, |cloud, _| {
                    cloud.answer_delete(region, id)
                })
            }
            ("PUT", ["v1", "regions", region, "instances", id, "tags"]) => {
                self.serve(Operation::Tag, Some(region), None, |cloud, _| {
                    cloud.answer_tag(region, id, &request.body)
                })
            }
            _ => Answer::Reply(
                Err(Error::new(
                    404,
                    "NotFound",
                    format!("there is nothing at \"{}\"", request.target),
                ))
                .into(),
            ),
        }
    }

    /// Does what is asked, or what the script makes of it.
    fn serve(
        &mut self,
        operation: Operation,
        region: Option<&str>,
        size: Option<&str>,
        effect: impl FnOnce(&mut Self, Option<Kind>) -> Result<(u16, Value), Error>,
    ) -> Answer {
        let fault = self.begin(operation, region, size);
        let kind = fault.as_ref().map(|fault| fault.kind);
        let ms = fault.as_ref().map_or(0, |fault: &Fault| fault.ms);
        let refusal = match kind {
            Some(Kind::LostBefore) => return Answer::Lost,
            Some(Kind::Hang) => return Answer::Never,
            Some(Kind::OutOfCapacity) => Some(Error::out_of_capacity(
                region.unwrap_or_default(),
                size.unwrap_or_default(),
            )),
            Some(Kind::Quota) => Some(Error::quota()),
            Some(Kind::Throttled) => Some(Error::throttled(ms)),
            Some(Kind::Denied) => Some(Error::denied("the credential may not do this")),
            Some(Kind::Unavailable) => {
                Some(Error::unavailable("something is broken at the moment"))
            }
            _ => None,
        };
        let outcome = match refusal {
            Some(error) => Err(error),
            None => region
                .map_or(Ok(()), |name| self.region(name))
                .and_then(|()| effect(self, kind)),
        };
        match kind {
            Some(Kind::LostAfter) => Answer::Lost,
            Some(Kind::Slow) => Answer::Late(ms, outcome.into()),
            _ => Answer::Reply(outcome.into()),
        }
    }

    fn shown_regions(&self) -> Value {
        let regions: Vec<Value> = self
            .regions()
            .map(|(name, up)| json!({"name": name, "up": up}))
            .collect();
        json!({ "regions": regions })
    }

    fn shown_offers(&self) -> Value {
        let boot = self.config.boot_ms;
        let shown = |(region, size, what, price, left): (
            &str,
            &str,
            &crate::Size,
            u64,
            Option<u32>,
        )| {
            json!({
                "id": format!("{region}/{size}"), "region": region, "size": size, "cpu": what.cpu, "memory": what.memory,
                "price": price, "capacity": left, "bootMs": boot,
            })
        };
        let offers: Vec<Value> = self.stock().into_iter().map(shown).collect();
        json!({ "offers": offers })
    }

    fn answer_create(
        &mut self,
        region: &str,
        new: New,
        fault: Option<Kind>,
    ) -> Result<(u16, Value), Error> {
        let birth = match fault {
            Some(Kind::Half) => Birth::Half,
            Some(Kind::Stuck) => Birth::Stuck,
            _ => Birth::Whole,
        };
        let (instance, is_new) = self.create(region, new, birth)?;
        if birth == Birth::Half && is_new {
            return Err(Error::new(
                500,
                "Internal",
                "the instance was not completed",
            ));
        }
        Ok((if is_new { 201 } else { 200 }, instance.shown()))
    }

    fn answer_list(&self, region: &str, path: &Path<'_>) -> Result<(u16, Value), Error> {
        let wrong =
            |text: &str| Error::invalid(format!("\"{text}\" is not a tag: write KEY:VALUE"));
        let tag = |text: &str| {
            text.rsplit_once(':')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .ok_or_else(|| wrong(text))
        };
        let tags: Vec<(String, String)> = path
            .query
            .iter()
            .filter(|(key, _)| key == "tag")
            .map(|(_, value)| tag(value))
            .collect::<Result<_, _>>()?;
        let found = self.list(region, &tags, path.value("page").unwrap_or_default());
        let page = self.config.page.max(1);
        let next = found
            .get(page - 1)
            .filter(|_| found.len() > page)
            .map(|last| last.id.clone());
        let shown: Vec<Value> = found.into_iter().take(page).map(|i| i.shown()).collect();
        Ok((200, json!({"instances": shown, "next": next})))
    }

    fn answer_delete(&mut self, region: &str, id: &str) -> Result<(u16, Value), Error> {
        if !self.delete(region, id) {
            return Err(Error::not_found("instance", id));
        }
        let gone = self.instance(id).is_some_and(|i| i.state == State::Deleted);
        Ok(if gone {
            (200, json!({"state": "deleted"}))
        } else {
            (202, json!({"state": "deleting"}))
        })
    }

    fn answer_tag(&mut self, region: &str, id: &str, body: &[u8]) -> Result<(u16, Value), Error> {
        let tags: BTreeMap<String, String> = read(body)?;
        if !self
            .instance(id)
            .is_some_and(|i| i.region == region && i.is_live())
        {
            return Err(Error::not_found("instance", id));
        }
        self.tag(id, tags);
        let shown = self
            .instance(id)
            .map(crate::Instance::shown)
            .unwrap_or_default();
        Ok((200, shown))
    }
}

#[cfg(test)]
mod tests;
