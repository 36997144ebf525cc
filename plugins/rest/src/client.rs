//! The cloud's API: requests, answers, pages. It knows the cloud's words; what allocations are is the fleet's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    api::escaped,
    fleet::{self, Described, Instance, New, Stage, Wired},
    host::{Clock, Http},
    types::{Allocation, ChosenOffer, Destroyed, EnvValue, EnvVar, Job, Port, Run, Workload},
};

use crate::Rest;

/// The most pages of one list: a cursor that never ends must not keep a call for ever.
const PAGES: usize = 10_000;

/// An instance as the cloud shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    state: Word,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// Micro-USD per hour.
    price: Option<u64>,
    created_at: u64,
    started_at: Option<u64>,
    ended_at: Option<u64>,
    exit_code: Option<i32>,
    #[serde(default)]
    restarts: u32,
    address: Option<String>,
    port: Option<u16>,
}

/// How far the cloud says an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Word {
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
struct Creation<'a> {
    token: &'a str,
    size: &'a str,
    tags: &'a [(String, String)],
    workload: &'a Value,
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
    instances: Vec<Shown>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Deletion {
    state: Word,
}

impl<H: Http> Rest<H> {
    pub(crate) fn price_list(&self) -> Result<Vec<ForSale>, Error> {
        self.api
            .call::<Offers>("GET", "/v1/offers", None)
            .map(|answer| answer.offers)
    }

    pub(crate) fn regions(&self) -> Result<Vec<Region>, Error> {
        self.api
            .call::<Regions>("GET", "/v1/regions", None)
            .map(|answer| answer.regions)
    }
}

impl<H: Http + Clock> fleet::Cloud for Rest<H> {
    fn now(&self) -> u64 {
        self.api.host().now()
    }

    fn place(&self, offer: &ChosenOffer) -> Result<String, Error> {
        if offer.region.is_empty() || offer.size.is_empty() {
            let message = format!(
                "the offer {:?} is not one of this cloud: it names no region and size",
                offer.id
            );
            return Err(Error::invalid(message).field("offer.id"));
        }
        Ok(offer.region.clone())
    }

    fn places(&self) -> Result<Vec<String>, Error> {
        Ok(self
            .regions()?
            .into_iter()
            .map(|region| region.name)
            .filter(|name| self.settings.uses(name))
            .collect())
    }

    fn describe(&self, allocation: &Allocation) -> Result<Described, Error> {
        let workload = &allocation.workload;
        fleet::refuse(workload)?;
        if workload
            .env
            .iter()
            .any(|var: &EnvVar| matches!(var.value, EnvValue::Secret(_)))
        {
            return Err(Error::unsupported("this cloud has no secrets").field("workload.env"));
        }
        // The cloud chooses the ports' numbers.
        Ok(Described {
            workload: described(workload),
            ports: workload
                .ports
                .iter()
                .map(|port| Wired::of(port, 0))
                .collect(),
        })
    }

    fn create(&self, new: &New<'_>) -> Result<Instance, Error> {
        let creation = Creation {
            token: new.token,
            size: &new.allocation.offer.size,
            tags: new.tags,
            workload: new.workload,
        };
        let body = serde_json::to_value(creation)
            .map_err(|error| Error::internal(format!("the request can't be written: {error}")))?;
        self.api
            .call::<Shown>("POST", &instances(new.place), Some(&body))
            .map(Into::into)
    }

    fn tagged(&self, place: &str, (key, value): (&str, &str)) -> Result<Vec<Instance>, Error> {
        let first = format!(
            "{}?tag={}:{}",
            instances(place),
            escaped(key),
            escaped(value)
        );
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..PAGES {
            let path = next.map_or_else(
                || first.clone(),
                |cursor: String| format!("{first}&page={}", escaped(&cursor)),
            );
            let page: Page = self.api.call("GET", &path, None)?;
            found.extend(page.instances.into_iter().map(Instance::from));
            next = page.next;
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Error::internal(format!(
            "a list of more than {PAGES} pages in {place:?}"
        )))
    }

    fn tag(&self, place: &str, id: &str, tags: &BTreeMap<&str, &str>) -> Result<(), Error> {
        self.api
            .call::<Value>(
                "PUT",
                &format!("{}/{}/tags", instances(place), escaped(id)),
                Some(&json!(tags)),
            )
            .map(drop)
    }

    fn delete(&self, place: &str, id: &str) -> Result<Destroyed, Error> {
        match self.api.call::<Deletion>(
            "DELETE",
            &format!("{}/{}", instances(place), escaped(id)),
            None,
        ) {
            Ok(Deletion {
                state: Word::Deleted | Word::Lost,
            }) => Ok(Destroyed::Gone),
            Ok(_) => Ok(Destroyed::Going),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Destroyed::Gone),
            Err(error) => Err(error),
        }
    }
}

impl From<Shown> for Instance {
    fn from(shown: Shown) -> Self {
        Self {
            id: shown.id,
            stage: match shown.state {
                Word::Creating => Stage::Creating,
                Word::Running => Stage::Running,
                Word::Exited => Stage::Exited,
                Word::Deleting => Stage::Deleting,
                Word::Deleted | Word::Lost => Stage::Gone,
            },
            tags: shown.tags,
            price: shown.price,
            created_at: shown.created_at,
            started_at: shown.started_at,
            ended_at: shown.ended_at,
            exit_code: shown.exit_code,
            restarts: shown.restarts,
            address: shown.address,
            port: shown.port,
            message: String::new(),
        }
    }
}

fn instances(region: &str) -> String {
    format!("/v1/regions/{}/instances", escaped(region))
}

/// What an instance shall run, in the cloud's words. Equal workloads give equal texts: the fingerprint is made of them.
fn described(workload: &Workload) -> Value {
    let mut env = Map::new();
    for var in &workload.env {
        if let EnvValue::Text(text) = &var.value {
            env.insert(var.name.clone(), text.as_str().into());
        }
    }
    let port = |port: &Port| json!({"name": port.name, "number": port.number});
    let job = match &workload.run {
        Run::Service => Value::Null,
        Run::Job(Job { retries, deadline }) => json!({"retries": retries, "deadlineMs": deadline}),
    };
    json!({
        "image": workload.image,
        "command": workload.command,
        "arguments": workload.arguments,
        "workingDirectory": workload.working_directory,
        "user": workload.user,
        "env": env,
        "ports": workload.ports.iter().map(port).collect::<Vec<_>>(),
        "cpu": workload.resources.cpu,
        "memory": workload.resources.memory,
        "stopSignal": workload.stop_signal,
        "stopGraceMs": workload.stop_grace,
        "job": job,
    })
}
