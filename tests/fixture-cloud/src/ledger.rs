//! The rules of the ledger: what may be created, what a repeated token means, what is seen when, and what everything costs.
//! It knows nothing of HTTP; the time is given to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::{Config, Lag, Size},
    error::Error,
    faults::{Fault, Operation, Script},
    instance::{Instance, State, Times},
};

/// What shall be created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct New {
    /// The same token means the same instance, for ever.
    pub token: String,
    pub size: String,
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    #[serde(default)]
    pub workload: Value,
}

/// How a creation comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Birth {
    Whole,
    Half,
    Stuck,
}

/// The cloud: its stock, its ledger, its script.
#[derive(Debug)]
pub struct Cloud {
    pub(crate) config: Config,
    pub(crate) script: Script,
    /// Everything that ever was, in the order of creation.
    instances: BTreeMap<String, Instance>,
    tokens: HashMap<String, String>,
    /// Live instances by region and size.
    held: BTreeMap<(String, String), u32>,
    /// Instances by tag, for quick lists.
    tagged: HashMap<(String, String), BTreeSet<String>>,
    moving: BTreeSet<String>,
    down: BTreeSet<String>,
    pub(crate) calls: BTreeMap<Operation, u64>,
    operations: u64,
    now: u64,
    /// Instances whose port may have to be opened or closed.
    touched: BTreeSet<String>,
}

impl Cloud {
    /// A cloud with nothing in it.
    pub fn new(config: Config) -> Self {
        Self {
            script: Script::new(config.seed),
            config,
            instances: BTreeMap::new(),
            tokens: HashMap::new(),
            held: BTreeMap::new(),
            tagged: HashMap::new(),
            moving: BTreeSet::new(),
            down: BTreeSet::new(),
            calls: BTreeMap::new(),
            operations: 0,
            now: 0,
            touched: BTreeSet::new(),
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        let moving: Vec<String> = self.moving.iter().cloned().collect();
        for id in moving {
            self.change(&id, |_| {});
        }
    }

    /// Counts a request, and says how it shall go wrong.
    pub(crate) fn begin(
        &mut self,
        operation: Operation,
        region: Option<&str>,
        size: Option<&str>,
    ) -> Option<Fault> {
        self.operations += 1;
        *self.calls.entry(operation).or_default() += 1;
        self.script.draw(operation, region, size)
    }

    /// # Errors
    /// There is no such region, or it is down.
    pub(crate) fn region(&self, name: &str) -> Result<(), Error> {
        if !self.config.regions.contains_key(name) {
            return Err(Error::not_found("region", name));
        }
        if self.down.contains(name) {
            return Err(Error::new(
                503,
                "RegionDown",
                format!("the region \"{name}\" does not answer"),
            ));
        }
        Ok(())
    }

    pub(crate) fn regions(&self) -> impl Iterator<Item = (&str, bool)> {
        self.config
            .regions
            .keys()
            .map(|name| (name.as_str(), !self.down.contains(name)))
    }

    /// What is for sale: region, size, what it is, its price here, what is left.
    pub(crate) fn stock(&self) -> Vec<(&str, &str, &Size, u64, Option<u32>)> {
        let up = self
            .config
            .regions
            .keys()
            .filter(|name| !self.down.contains(*name));
        let sold = up.flat_map(|name| {
            self.config
                .sizes
                .iter()
                .map(move |(size, what)| (name.as_str(), size.as_str(), what))
        });
        sold.map(|(region, size, what)| {
            (
                region,
                size,
                what,
                self.price(region, size),
                self.left(region, size),
            )
        })
        .collect()
    }

    fn price(&self, region: &str, size: &str) -> u64 {
        let here = self
            .config
            .regions
            .get(region)
            .and_then(|r| r.sizes.get(size))
            .and_then(|s| s.price);
        here.or_else(|| self.config.sizes.get(size).map(|s| s.price))
            .unwrap_or(0)
    }

    fn left(&self, region: &str, size: &str) -> Option<u32> {
        let held = self
            .held
            .get(&(region.to_owned(), size.to_owned()))
            .copied()
            .unwrap_or(0);
        let all: u32 = self.held.values().sum();
        let here = self
            .config
            .regions
            .get(region)
            .and_then(|r| r.sizes.get(size))
            .and_then(|s| s.capacity)
            .map(|c| c.saturating_sub(held));
        let account = self.config.quota.map(|quota| quota.saturating_sub(all));
        here.into_iter().chain(account).min()
    }

    /// Creates an instance, or finds the one this token has made. True when it is new.
    ///
    /// # Errors
    /// The token was used with other parameters, or its instance is gone; nothing is left; the account is full.
    pub(crate) fn create(
        &mut self,
        region: &str,
        new: New,
        birth: Birth,
    ) -> Result<(&Instance, bool), Error> {
        let parameters = format!(
            "{region} {}",
            serde_json::to_string(&new).unwrap_or_default()
        );
        if let Some(id) = self.tokens.get(&new.token).cloned() {
            let instance = self
                .instances
                .get(&id)
                .ok_or_else(|| Error::not_found("instance", &id))?;
            return if instance.parameters != parameters {
                Err(Error::new(
                    409,
                    "TokenReused",
                    format!(
                        "the token \"{}\" was used with other parameters, for \"{id}\"",
                        new.token
                    ),
                ))
            } else if !instance.is_live() {
                Err(Error::new(
                    410,
                    "TokenSpent",
                    format!("what the token \"{}\" made, \"{id}\", is gone", new.token),
                ))
            } else {
                Ok((instance, false))
            };
        }
        if !self
            .stock()
            .iter()
            .any(|(r, s, ..)| *r == region && *s == new.size)
        {
            return Err(Error::invalid(format!(
                "\"{region}\" has no size \"{}\"",
                new.size
            )));
        }
        if self
            .config
            .quota
            .is_some_and(|quota| self.held.values().sum::<u32>() >= quota)
        {
            return Err(Error::quota());
        }
        if self.left(region, &new.size) == Some(0) {
            return Err(Error::out_of_capacity(region, &new.size));
        }
        let id = format!("i-{:06}", self.instances.len() + 1);
        let kept = if birth == Birth::Half {
            new.tags.len().div_ceil(2)
        } else {
            new.tags.len()
        };
        let tags: BTreeMap<String, String> = new.tags.into_iter().take(kept).collect();
        let instance = Instance {
            id: id.clone(),
            region: region.to_owned(),
            size: new.size.clone(),
            token: new.token.clone(),
            tags: BTreeMap::new(),
            workload: new.workload,
            state: State::Creating,
            price: self.price(region, &new.size),
            created_at: self.now,
            running_at: None,
            ended_at: None,
            deleted_at: None,
            exit_code: None,
            restarts: 0,
            port: None,
            status: self.config.status,
            stuck: birth == Birth::Stuck,
            cost: 0,
            created_operation: self.operations,
            deleted_operation: 0,
            parameters,
        };
        *self.held.entry((region.to_owned(), new.size)).or_default() += 1;
        self.tokens.insert(new.token, id.clone());
        self.instances.insert(id.clone(), instance);
        self.tag(&id, tags);
        self.change(&id, |_| {});
        self.instances
            .get(&id)
            .map(|instance| (instance, true))
            .ok_or_else(|| Error::not_found("instance", &id))
    }

    /// Adds tags, or replaces their values.
    pub(crate) fn tag(&mut self, id: &str, tags: BTreeMap<String, String>) {
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        for (key, value) in tags {
            if let Some(old) = instance.tags.insert(key.clone(), value.clone())
                && let Some(ids) = self.tagged.get_mut(&(key.clone(), old))
            {
                ids.remove(id);
            }
            self.tagged
                .entry((key, value))
                .or_default()
                .insert(id.to_owned());
        }
    }

    /// Begins to delete. False when it does not exist (any more).
    pub(crate) fn delete(&mut self, region: &str, id: &str) -> bool {
        if !self
            .instances
            .get(id)
            .is_some_and(|i| i.region == region && i.is_live())
        {
            return false;
        }
        let (now, operation) = (self.now, self.operations);
        self.change(id, |instance| {
            instance.state = State::Deleting;
            instance.deleted_at = instance.deleted_at.or(Some(now));
            instance.deleted_operation = operation;
        });
        true
    }

    /// An instance as it is, whoever may see it yet.
    pub fn instance(&self, id: &str) -> Option<&Instance> {
        self.instances.get(id)
    }

    /// An instance as callers see it.
    pub(crate) fn look_up(&self, region: &str, id: &str) -> Option<&Instance> {
        self.instances
            .get(id)
            .filter(|i| i.region == region && self.is_seen(i))
    }

    /// The instances that callers see which have all these tags, behind a cursor.
    pub(crate) fn list(
        &self,
        region: &str,
        tags: &[(String, String)],
        after: &str,
    ) -> Vec<&Instance> {
        let fits = |i: &&Instance| {
            i.region == region
                && self.is_seen(i)
                && tags.iter().all(|(key, value)| i.tag(key) == value)
        };
        let behind = |id: &&String| id.as_str() > after;
        // The rarest tag names the fewest.
        match tags
            .iter()
            .map(|tag| self.tagged.get(tag))
            .min_by_key(|ids| ids.map_or(0, BTreeSet::len))
        {
            Some(Some(ids)) => ids
                .iter()
                .filter(behind)
                .filter_map(|id| self.instances.get(id))
                .filter(fits)
                .collect(),
            Some(None) => Vec::new(),
            None => self
                .instances
                .values()
                .filter(|i| i.id.as_str() > after)
                .filter(fits)
                .collect(),
        }
    }

    /// Lists and look-ups are behind: what is new does not show yet, what is gone still does.
    fn is_seen(&self, instance: &Instance) -> bool {
        let Lag { ms, operations } = self.config.lag;
        let past = |at: u64, operation: u64| {
            self.now >= at.saturating_add(ms)
                && self.operations >= operation.saturating_add(operations)
        };
        let gone = !instance.is_live()
            && past(instance.deleted_at.unwrap_or(0), instance.deleted_operation);
        past(instance.created_at, instance.created_operation) && !gone
    }

    /// Everything that ever was.
    pub fn ledger(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// An instance goes by itself. False when it was gone.
    pub fn disappear(&mut self, id: &str) -> bool {
        let (now, operation) = (self.now, self.operations);
        let live = self.instances.get(id).is_some_and(Instance::is_live);
        if live {
            self.change(id, |instance| {
                (
                    instance.state,
                    instance.deleted_at,
                    instance.deleted_operation,
                ) = (State::Lost, Some(now), operation);
            });
        }
        live
    }

    /// Instances that are made from now on answer with this status.
    pub fn set_first_status(&mut self, status: u16) {
        self.config.status = status;
    }

    /// From now on an instance answers with this status. False when there is none.
    pub fn set_status(&mut self, id: &str, status: u16) -> bool {
        let found = self
            .instances
            .get_mut(id)
            .map(|instance| instance.status = status)
            .is_some();
        if found {
            self.touched.insert(id.to_owned());
        }
        found
    }

    /// A region goes down or comes back, with everything that is in it.
    pub fn set_region(&mut self, name: &str, up: bool) {
        let changed = if up {
            self.down.remove(name)
        } else {
            self.down.insert(name.to_owned())
        };
        if changed {
            self.touched.extend(
                self.instances
                    .values()
                    .filter(|i| i.region == name)
                    .map(|i| i.id.clone()),
            );
        }
    }

    /// What a size in a region costs and how many there are of it, from now on.
    pub fn set_stock(
        &mut self,
        region: &str,
        size: &str,
        change: impl FnOnce(&mut crate::config::Stock),
    ) {
        change(
            self.config
                .regions
                .entry(region.to_owned())
                .or_default()
                .sizes
                .entry(size.to_owned())
                .or_default(),
        );
    }

    pub fn set_quota(&mut self, quota: Option<u32>) {
        self.config.quota = quota;
    }

    pub fn set_lag(&mut self, lag: Lag) {
        self.config.lag = lag;
    }

    pub fn add_fault(&mut self, fault: Fault) {
        self.script.add(fault);
    }

    pub fn clear_faults(&mut self) {
        self.script.clear();
    }

    /// How often each operation was called.
    pub fn calls(&self) -> &BTreeMap<Operation, u64> {
        &self.calls
    }

    /// The instances to look at again, each with whether it answers now.
    #[cfg(feature = "server")]
    pub(crate) fn take_touched(&mut self) -> Vec<(String, bool, u16)> {
        let touched = std::mem::take(&mut self.touched);
        let shown = |i: &Instance| {
            (
                i.id.clone(),
                i.state == State::Running && !self.down.contains(&i.region),
                i.status,
            )
        };
        touched
            .iter()
            .filter_map(|id| self.instances.get(id))
            .map(shown)
            .collect()
    }

    /// Where an instance answers.
    pub fn set_port(&mut self, id: &str, port: Option<u16>) {
        if let Some(instance) = self.instances.get_mut(id) {
            instance.port = port;
        }
    }

    /// Changes an instance and keeps what depends on it: what is held, what moves, what answers.
    fn change(&mut self, id: &str, change: impl FnOnce(&mut Instance)) {
        let times = Times {
            boot: self.config.boot_ms,
            delete: self.config.delete_ms,
            job: self.config.job_ms,
        };
        let Some(instance) = self.instances.get_mut(id) else {
            return;
        };
        let was_live = instance.is_live();
        change(instance);
        instance.advance(self.now, times);
        if was_live && !instance.is_live() {
            instance.port = None;
            if let Some(held) = self
                .held
                .get_mut(&(instance.region.clone(), instance.size.clone()))
            {
                *held = held.saturating_sub(1);
            }
        }
        if instance.is_moving() {
            self.moving.insert(id.to_owned());
        } else {
            self.moving.remove(id);
        }
        self.touched.insert(id.to_owned());
    }
}
