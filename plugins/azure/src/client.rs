//! The resource manager's API: requests, answers, pages. Container groups are made in one resource group; the name is what makes a repeated
//! creation the same one.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    api::escaped,
    fleet::{self, Described, Instance, New, flat_tag},
    host::{Clock, Http},
    types::{Allocation, ChosenOffer, Destroyed},
    warn,
};

use crate::{
    Azure,
    group::{CREATED, Group, described, job_tags},
};

const VERSION: &str = "api-version=2023-05-01";
const RESOURCES_VERSION: &str = "api-version=2021-04-01";
/// The most pages of one list: links that never end must not keep a call for ever.
const PAGES: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    value: Vec<Group>,
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct ResourceGroup {
    properties: ResourceGroupProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceGroupProperties {
    provisioning_state: String,
}

impl<H: Http + Clock> Azure<H> {
    /// How the resource group is.
    pub(crate) fn group(&self) -> Result<String, Error> {
        let path = format!("{}?{RESOURCES_VERSION}", self.resource_group());
        Ok(self
            .api
            .call::<ResourceGroup>("GET", &path, None)?
            .properties
            .provisioning_state)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<T, Error> {
        self.api
            .call("GET", &format!("{path}?{VERSION}{query}"), None)
    }

    fn resource_group(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}",
            escaped(&self.settings.subscription),
            escaped(&self.settings.resource_group)
        )
    }

    fn groups(&self) -> String {
        format!(
            "{}/providers/Microsoft.ContainerInstance/containerGroups",
            self.resource_group()
        )
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{}", self.groups(), escaped(name))
    }

    /// What a list leaves out, for those groups where it matters. A job beyond its bounds is stopped: the platform knows none.
    fn complete(&self, listed: Group) -> Result<Instance, Error> {
        let group = if listed.is_vague() {
            self.get(&self.path(&listed.name), "")
        } else {
            Ok(listed)
        };
        let group: Group = group?;
        if group.is_overdue(self.now())
            && let Err(error) = self.api.call::<Value>(
                "POST",
                &format!("{}/stop?{VERSION}", self.path(&group.name)),
                None,
            )
        {
            warn!("a job beyond its bounds can't be stopped: {error}"; name = group.name);
        }
        Ok(group.instance(self.now()))
    }

    pub(crate) fn now(&self) -> u64 {
        self.api.host().now()
    }
}

impl<H: Http + Clock> fleet::Cloud for Azure<H> {
    /// The list is of the whole resource group: one serves all.
    const FEW: usize = 0;

    fn now(&self) -> u64 {
        self.api.host().now()
    }

    fn place(&self, offer: &ChosenOffer) -> Result<String, Error> {
        if !self.settings.locations.contains(&offer.region) {
            let message = format!(
                "the location {:?} is not one of the settings'",
                offer.region
            );
            return Err(Error::invalid(message).field("offer.region"));
        }
        Ok(self.settings.resource_group.clone())
    }

    fn places(&self) -> Result<Vec<String>, Error> {
        Ok(vec![self.settings.resource_group.clone()])
    }

    fn describe(&self, allocation: &Allocation) -> Result<Described, Error> {
        described(&self.settings, allocation)
    }

    fn create(&self, new: &New<'_>) -> Result<Instance, Error> {
        let path = format!("{}?{VERSION}", self.path(new.name));
        // Asked before: a second creation would start the container again.
        match self.api.call::<Group>("GET", &path, None) {
            Ok(group) => return Ok(group.instance(self.now())),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let now = (CREATED.to_owned(), self.now().to_string());
        let own = job_tags(&new.allocation.workload.run)
            .into_iter()
            .chain([now]);
        let tags: BTreeMap<String, String> = new
            .tags
            .iter()
            .map(|(key, value)| (flat_tag(key), value.clone()))
            .chain(own)
            .collect();
        let mut body = new.workload.clone();
        if let Some(body) = body.as_object_mut() {
            body.insert("tags".to_owned(), json!(tags));
        }
        Ok(self
            .api
            .call::<Group>("PUT", &path, Some(&body))?
            .instance(self.now()))
    }

    fn tagged(&self, _: &str, tag: (&str, &str)) -> Result<Vec<Instance>, Error> {
        let (mut found, mut next) = (Vec::new(), format!("{}?{VERSION}", self.groups()));
        for _ in 0..PAGES {
            let page: Page = self.api.call("GET", &next, None)?;
            for group in page.value.into_iter().filter(|group| group.bears(tag)) {
                match self.complete(group) {
                    Ok(instance) => found.push(instance),
                    // It went while it was looked at.
                    Err(error) if error.kind == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            match page.next_link.filter(|link| !link.is_empty()) {
                Some(link) => next = link,
                None => return Ok(found),
            }
        }
        Err(Error::internal(format!(
            "a list of more than {PAGES} pages"
        )))
    }

    fn delete(&self, _: &str, id: &str) -> Result<Destroyed, Error> {
        let path = format!("{}?{VERSION}", self.path(id));
        // Accepted is not done, and the answer may say neither: whether it is still there does.
        let deleted = self
            .api
            .call::<Value>("DELETE", &path, None)
            .and_then(|_| self.api.call::<Group>("GET", &path, None));
        match deleted {
            Ok(_) => Ok(Destroyed::Going),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Destroyed::Gone),
            Err(error) => Err(error),
        }
    }
}
