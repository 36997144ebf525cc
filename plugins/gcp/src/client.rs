//! The Compute Engine API: requests, answers, pages, operations. A request id makes a repeated creation the same one, and the name would
//! stop a second one.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    api::{escaped, fingerprint},
    fleet::{self, Described, Instance, New, Stage, TOKEN_SPENT, flat_tag},
    host::{Clock, Http},
    types::{Allocation, ChosenOffer, Destroyed},
};

use crate::{
    Gcp,
    errors::{ALREADY_EXISTS, Failed},
    machine::{Machine, described, id, labels},
    script::EXIT,
};

/// The most pages of one list: cursors that never end must not keep a call for ever.
const PAGES: usize = 1000;
/// How long a call waits for operations: most that fail for want of room do so within seconds.
const PATIENCE: u64 = 15_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    items: std::collections::BTreeMap<String, Scope>,
    next_page_token: Option<String>,
}

/// What an aggregated list shows of one zone: instances, or a warning that there are none.
#[derive(Deserialize)]
struct Scope {
    #[serde(default)]
    instances: Vec<Machine>,
}

#[derive(Deserialize)]
struct Operation {
    name: String,
    status: String,
    error: Option<Failed>,
}

/// The operations by which a machine is stopped from outside.
const STOPPED: [&str; 4] = [
    "compute.instances.preempted",
    "compute.instances.hostError",
    "compute.instances.terminateOnHostMaintenance",
    "stop",
];

#[derive(Deserialize)]
struct Operations {
    #[serde(default)]
    items: Vec<Done>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    #[serde(default)]
    operation_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GuestAttributes {
    query_value: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default)]
    items: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    value: String,
}

impl<H: Http + Clock> Gcp<H> {
    pub(crate) fn project(&self) -> Result<(), Error> {
        self.get::<Value>(&format!("/projects/{}", escaped(&self.settings.project)))
            .map(drop)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.api.call("GET", path, None)
    }

    fn zone(&self, zone: &str) -> String {
        format!(
            "/projects/{}/zones/{}",
            escaped(&self.settings.project),
            escaped(zone)
        )
    }

    /// Of an instance, by what the fleet knows it by.
    pub(crate) fn path(&self, id: &str) -> Result<String, Error> {
        let (zone, name) = id
            .split_once('/')
            .ok_or_else(|| Error::internal(format!("{id:?} names no zone")))?;
        Ok(format!("{}/instances/{}", self.zone(zone), escaped(name)))
    }

    fn shown(&self, machine: Machine) -> Result<Instance, Error> {
        if !machine.has_ended() {
            return Ok(machine.instance(None));
        }
        let path = format!(
            "{}/instances/{}/getGuestAttributes?queryPath={}",
            self.zone(machine.zone()),
            escaped(&machine.name),
            escaped(EXIT)
        );
        let code = match self.get::<GuestAttributes>(&path) {
            Ok(found) => found
                .query_value
                .and_then(|value| value.items.first()?.value.trim().parse().ok()),
            // It was turned off by somebody else before it came to its end.
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if code.is_none() && self.was_stopped(&machine)? {
            return Ok(machine.lost());
        }
        Ok(machine.instance(code))
    }

    /// Whether Google Cloud or a person has stopped a machine: it has not turned itself off.
    fn was_stopped(&self, machine: &Machine) -> Result<bool, Error> {
        let path = format!(
            "{}/operations?filter={}",
            self.zone(machine.zone()),
            escaped(&format!("targetId={}", machine.number))
        );
        match self.get::<Operations>(&path) {
            Ok(done) => Ok(done
                .items
                .iter()
                .any(|one| STOPPED.contains(&one.operation_type.as_str()))),
            // Who may not look knows no more than that it has ended.
            Err(error)
                if matches!(
                    error.kind,
                    ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Invalid
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// An instance that exists. One that is going can't be made again before it is gone.
    fn existing(&self, id: &str) -> Result<Instance, Error> {
        let machine: Machine = self.get(&self.path(id)?)?;
        if machine.is_going() {
            return Err(Error::unavailable(format!(
                "the instance {:?} is still being deleted",
                machine.name
            )));
        }
        self.shown(machine)
    }
}

impl<H: Http + Clock> fleet::Cloud for Gcp<H> {
    /// One list is of the whole project.
    const FEW: usize = 1;

    fn now(&self) -> u64 {
        self.api.host().now()
    }

    fn place(&self, offer: &ChosenOffer) -> Result<String, Error> {
        if !self.settings.zones.contains(&offer.zone) || offer.size.is_empty() {
            let message = format!("the offer {:?} is of none of the settings' zones", offer.id);
            return Err(Error::invalid(message).field("offer.zone"));
        }
        Ok(self.settings.project.clone())
    }

    fn places(&self) -> Result<Vec<String>, Error> {
        Ok(vec![self.settings.project.clone()])
    }

    fn describe(&self, allocation: &Allocation) -> Result<Described, Error> {
        described(&self.settings, allocation)
    }

    fn create(&self, new: &New<'_>) -> Result<Instance, Error> {
        let zone = &new.allocation.offer.zone;
        let labels = labels(new.tags, &new.allocation.workload.run);
        let mut body = new.workload.clone();
        if let Some(body) = body.as_object_mut() {
            body.insert("name".to_owned(), json!(new.name));
            body.insert("labels".to_owned(), json!(labels));
        }
        let id = id(zone, new.name);
        let path = format!(
            "{}/instances?requestId={}",
            self.zone(zone),
            uuid(new.token)
        );
        let operation = match self.api.call::<Operation>("POST", &path, Some(&body)) {
            Ok(operation) => operation,
            Err(error) if error.code.as_deref() == Some(ALREADY_EXISTS) => {
                return self.existing(&id).map_err(|error| match error.kind {
                    // It was being deleted, and went between the two requests: its name is free again.
                    ErrorKind::NotFound => Error::unavailable(format!(
                        "the instance {:?} has only just gone",
                        new.name
                    )),
                    _ => error,
                });
            }
            // Not the instance is missing, but what it is to be made of.
            Err(error) if error.kind == ErrorKind::NotFound => {
                return Err(Error {
                    kind: ErrorKind::Invalid,
                    ..error
                }
                .field("settings"));
            }
            Err(error) => return Err(error),
        };
        match (operation.status.as_str(), operation.error) {
            ("DONE", Some(failed)) => Err(failed.error()),
            ("DONE", None) => self.existing(&id).map_err(|error| match error.kind {
                ErrorKind::NotFound => error.code(TOKEN_SPENT),
                _ => error,
            }),
            _ => {
                self.accepted
                    .borrow_mut()
                    .push((zone.clone(), operation.name));
                Ok(Instance::new(
                    id,
                    Stage::Creating,
                    new.tags.iter().cloned().collect(),
                    self.api.host().now(),
                ))
            }
        }
    }

    fn confirm(&self, _: &str, _: &[Instance]) -> Result<(), Error> {
        let since = self.api.host().now();
        for (zone, operation) in self.accepted.take() {
            if self.api.host().now().saturating_sub(since) >= PATIENCE {
                break;
            }
            let path = format!(
                "{}/operations/{}/wait",
                self.zone(&zone),
                escaped(&operation)
            );
            match self.api.call::<Operation>("POST", &path, None) {
                Ok(Operation {
                    error: Some(failed),
                    ..
                }) => return Err(failed.error()),
                Ok(_) => {}
                // What was accepted stays accepted; how it ends is seen when it is looked at.
                Err(error) if error.kind == ErrorKind::Unavailable => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn tagged(&self, place: &str, (key, value): (&str, &str)) -> Result<Vec<Instance>, Error> {
        let filter = escaped(&format!("labels.{}={value}", flat_tag(key)));
        let first = format!(
            "/projects/{}/aggregated/instances?filter={filter}&maxResults=500",
            escaped(place)
        );
        let (mut found, mut next) = (Vec::new(), None);
        for _ in 0..PAGES {
            let path = next.map_or_else(
                || first.clone(),
                |token: String| format!("{first}&pageToken={}", escaped(&token)),
            );
            let page: Page = self.get(&path)?;
            for machine in page.items.into_values().flat_map(|scope| scope.instances) {
                found.push(self.shown(machine)?);
            }
            next = page.next_page_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Error::internal(format!(
            "a list of more than {PAGES} pages"
        )))
    }

    fn delete(&self, _: &str, id: &str) -> Result<Destroyed, Error> {
        match self.api.call::<Operation>("DELETE", &self.path(id)?, None) {
            Ok(Operation {
                error: Some(failed),
                ..
            }) => Err(failed.error()),
            // Done is not gone from every list; asked for again, what is gone is not found.
            Ok(_) => Ok(Destroyed::Going),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Destroyed::Gone),
            Err(error) => Err(error),
        }
    }
}

/// A request id made of a token: the same for the same one, in the form of a random UUID.
fn uuid(token: &str) -> String {
    let hash = format!(
        "{}{}",
        fingerprint(token),
        fingerprint(&format!("{token} again"))
    );
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-a{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}
