//! The cloud's API: requests, answers, pages. It knows the cloud's words and nothing of allocations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    host::{Http, HttpRequest},
    types::{Destroyed, Entry},
};

use crate::{errors, settings::Settings};

/// The most pages of one list: a cursor that never ends must not keep a call for ever.
const PAGES: usize = 10_000;

pub(crate) struct Client<H> {
    host: H,
    url: String,
    credential: Option<String>,
    timeout: u64,
}

/// An instance as the cloud shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) state: Stage,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// Micro-USD per hour.
    #[serde(default)]
    pub(crate) price: u64,
    pub(crate) created_at: u64,
    pub(crate) started_at: Option<u64>,
    pub(crate) ended_at: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    #[serde(default)]
    pub(crate) restarts: u32,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
}

/// How far the cloud says an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Stage {
    Creating,
    Running,
    Exited,
    Deleting,
    Deleted,
    Lost,
}

/// What shall be created.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct New<'a> {
    pub(crate) token: &'a str,
    pub(crate) size: &'a str,
    pub(crate) tags: &'a [(String, String)],
    pub(crate) workload: &'a Value,
}

/// What is on sale.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForSale {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) size: String,
    /// Millicores.
    pub(crate) cpu: u32,
    /// Bytes.
    pub(crate) memory: u64,
    /// Micro-USD per hour.
    pub(crate) price: u64,
    /// Absent: no known limit.
    pub(crate) capacity: Option<u32>,
    pub(crate) boot_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) up: bool,
}

#[derive(Deserialize)]
struct Offers {
    offers: Vec<ForSale>,
}

#[derive(Deserialize)]
struct Regions {
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Page {
    instances: Vec<Instance>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Deletion {
    state: Stage,
}

impl<H: Http> Client<H> {
    pub(crate) fn new(host: H, settings: &Settings) -> Self {
        let credential = Some(settings.credential.clone()).filter(|name| !name.is_empty());
        Self { host, url: settings.url.clone(), credential, timeout: settings.timeout.millis() }
    }

    pub(crate) fn host(&self) -> &H {
        &self.host
    }

    pub(crate) fn offers(&self) -> Result<Vec<ForSale>, Error> {
        self.call::<Offers>("GET", "/v1/offers", None).map(|answer| answer.offers)
    }

    pub(crate) fn regions(&self) -> Result<Vec<Region>, Error> {
        self.call::<Regions>("GET", "/v1/regions", None).map(|answer| answer.regions)
    }

    /// Creates an instance, or answers the one that this token has made.
    pub(crate) fn create(&self, region: &str, new: &New<'_>) -> Result<Instance, Error> {
        let body = serde_json::to_vec(new).map_err(|error| Error::internal(format!("the request can't be written: {error}")))?;
        self.call("POST", &instances(region), Some(body))
    }

    /// Every instance with this tag that the cloud shows by now, page by page.
    pub(crate) fn tagged(&self, region: &str, key: &str, value: &str) -> Result<Vec<Instance>, Error> {
        let first = format!("{}?tag={}:{}", instances(region), escaped(key), escaped(value));
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..PAGES {
            let path = next.map_or_else(|| first.clone(), |cursor: String| format!("{first}&page={}", escaped(&cursor)));
            let page: Page = self.call("GET", &path, None)?;
            found.extend(page.instances);
            next = page.next;
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Error::internal(format!("a list of more than {PAGES} pages in {region:?}")))
    }

    /// Adds the tags that a creation has failed to attach.
    pub(crate) fn tag(&self, region: &str, id: &str, tags: &BTreeMap<&str, &str>) -> Result<Instance, Error> {
        let body = serde_json::to_vec(tags).map_err(|error| Error::internal(format!("the request can't be written: {error}")))?;
        self.call("PUT", &format!("{}/{}/tags", instances(region), escaped(id)), Some(body))
    }

    /// Deletes an instance. One that does not exist is gone.
    pub(crate) fn delete(&self, region: &str, id: &str) -> Result<Destroyed, Error> {
        match self.call::<Deletion>("DELETE", &format!("{}/{}", instances(region), escaped(id)), None) {
            Ok(Deletion { state: Stage::Deleted | Stage::Lost }) => Ok(Destroyed::Gone),
            Ok(_) => Ok(Destroyed::Going),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Destroyed::Gone),
            Err(error) => Err(error),
        }
    }

    fn call<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<Vec<u8>>) -> Result<T, Error> {
        let json = Entry { key: "content-type".to_owned(), value: "application/json".to_owned() };
        let response = self.host.send(&HttpRequest {
            method: method.to_owned(),
            url: format!("{}{path}", self.url),
            headers: if body.is_some() { vec![json] } else { Vec::new() },
            body: body.unwrap_or_default(),
            credential: self.credential.clone(),
            timeout: Some(self.timeout),
        })?;
        if !(200..300).contains(&response.status) {
            return Err(errors::refusal(&response));
        }
        serde_json::from_slice(&response.body)
            .map_err(|error| Error::internal(format!("the answer to {method} {path:?} is not understood: {error}")))
    }
}

fn instances(region: &str) -> String {
    format!("/v1/regions/{}/instances", escaped(region))
}

/// Percent-encoding of everything but what is safe everywhere.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
