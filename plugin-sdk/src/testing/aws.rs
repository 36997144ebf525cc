//! A stand-in for the capability `aws`: a table of instances and load balancers that keeps what the contract says of each.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use crate::{
    Error,
    host::{
        self,
        aws::{
            Aws, Image, Instance, InstanceState, InstanceType, Listener, ListenerRequest,
            LoadBalancer, LoadBalancerRequest, LoadBalancerState, RunRequest, SpotPrice, Target,
            TargetGroup, TargetGroupRequest, TargetHealth, TargetState,
        },
    },
    testing::Clock,
};

/// One account. Clones share it.
#[derive(Clone, Default)]
pub struct Account(Rc<RefCell<Table>>);

/// What there is, for a test to change.
#[derive(Default)]
pub struct Table {
    /// On whose behalf things are made: the host knows it, a test says it.
    pub allocation: String,
    /// The host's token of that attempt.
    pub token: String,
    /// What is on sale, in every region.
    pub types: Vec<InstanceType>,
    /// Spot prices, in every region.
    pub spot: Vec<SpotPrice>,
    /// Every instance that was ever made, and the request that made it.
    pub instances: Vec<(Instance, RunRequest)>,
    /// Ids that no list shows yet.
    pub hidden: Vec<String>,
    /// What consoles show.
    pub consoles: BTreeMap<String, String>,
    /// Load balancers with the request that made each.
    pub balancers: Vec<(LoadBalancer, LoadBalancerRequest)>,
    /// Target groups with the request that made each.
    pub groups: Vec<(TargetGroup, TargetGroupRequest)>,
    /// Listeners, with the load balancer of each.
    pub listeners: Vec<(Listener, String)>,
    /// Registered targets, by group.
    pub targets: BTreeMap<String, Vec<(Target, TargetState)>>,
    /// Answers of the next calls of `run`, instead of an instance.
    pub refusals: VecDeque<Error>,
    /// How often each operation was called.
    pub calls: BTreeMap<&'static str, u32>,
    clock: Clock,
    tokens: BTreeMap<String, String>,
}

impl Account {
    /// An empty account whose instances start at the clock's time.
    pub fn new(clock: Clock) -> Self {
        Self(Rc::new(RefCell::new(Table {
            clock,
            token: "token".to_owned(),
            ..Table::default()
        })))
    }

    /// Looks at it, or changes it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    /// What exists and costs something.
    pub fn live(&self) -> Vec<Instance> {
        self.with(|table| {
            table
                .instances
                .iter()
                .map(|(instance, _)| instance.clone())
                .filter(is_live)
                .collect()
        })
    }

    /// Changes an instance, as the cloud would.
    pub fn set(&self, id: &str, change: impl FnOnce(&mut Instance)) {
        self.with(|table| {
            table
                .instances
                .iter_mut()
                .find(|(instance, _)| instance.id == id)
                .map(|(instance, _)| change(instance))
        });
    }

    /// An instance ends by itself, for this reason.
    pub fn end(&self, id: &str, reason: &str) {
        self.set(id, |instance| {
            (instance.state, instance.reason) = (InstanceState::Terminated, reason.to_owned())
        });
    }

    fn called(&self, operation: &'static str) {
        self.with(|table| *table.calls.entry(operation).or_default() += 1);
    }
}

fn is_live(instance: &Instance) -> bool {
    !matches!(
        instance.state,
        InstanceState::Terminated | InstanceState::ShuttingDown
    )
}

impl host::Clock for Account {
    fn now(&self) -> u64 {
        self.with(|table| host::Clock::now(&table.clock))
    }
    fn monotonic(&self) -> u64 {
        self.with(|table| host::Clock::monotonic(&table.clock))
    }
}

impl Aws for Account {
    fn zones(&self, region: &str) -> Result<Vec<String>, Error> {
        self.called("zones");
        Ok(["a", "b"].map(|zone| format!("{region}{zone}")).to_vec())
    }

    fn instance_types(&self, _: &str, types: &[String]) -> Result<Vec<InstanceType>, Error> {
        self.called("instance_types");
        Ok(self.with(|table| {
            table
                .types
                .iter()
                .filter(|t| types.contains(&t.name))
                .cloned()
                .collect()
        }))
    }

    fn spot_prices(&self, _: &str, types: &[String]) -> Result<Vec<SpotPrice>, Error> {
        self.called("spot_prices");
        Ok(self.with(|table| {
            table
                .spot
                .iter()
                .filter(|p| types.contains(&p.instance_type))
                .cloned()
                .collect()
        }))
    }

    fn images(&self, _: &str, ids: &[String]) -> Result<Vec<Image>, Error> {
        self.called("images");
        let image = |id: &String| Image {
            id: id.clone(),
            name: id.clone(),
            architecture: "x86_64".to_owned(),
            available: true,
        };
        Ok(ids
            .iter()
            .filter(|id| !id.contains("missing"))
            .map(image)
            .collect())
    }

    fn run(&self, request: &RunRequest) -> Result<Instance, Error> {
        self.called("run");
        self.with(|table| {
            if let Some(refusal) = table.refusals.pop_front() {
                return Err(refusal);
            }
            let token = format!("{} {} {request:?}", table.allocation, table.token);
            if let Some(id) = table.tokens.get(&token) {
                let known = table
                    .instances
                    .iter()
                    .find(|(instance, _)| instance.id == *id)
                    .map(|(instance, _)| instance.clone());
                return known.ok_or_else(|| Error::internal("an instance is lost"));
            }
            let number = table.instances.len() + 1;
            let instance = Instance {
                id: format!("i-{number}"),
                state: InstanceState::Pending,
                instance_type: request.instance_type.clone(),
                zone: request.zone.clone(),
                public_address: format!("203.0.113.{number}"),
                private_address: format!("10.0.0.{number}"),
                launched_at: host::Clock::now(&table.clock),
                spot: request.spot,
                allocation: table.allocation.clone(),
                replica: request.replica,
                spec: request.spec.clone(),
                reason: String::new(),
            };
            table.tokens.insert(token, instance.id.clone());
            table.instances.push((instance.clone(), request.clone()));
            Ok(instance)
        })
    }

    fn instances(&self, region: &str, allocations: &[String]) -> Result<Vec<Instance>, Error> {
        self.called("instances");
        self.with(|table| {
            let shown = |(instance, request): &&(Instance, RunRequest)| {
                request.region == region
                    && !table.hidden.contains(&instance.id)
                    && (allocations.is_empty() || allocations.contains(&instance.allocation))
            };
            Ok(table
                .instances
                .iter()
                .filter(shown)
                .map(|(instance, _)| instance.clone())
                .collect())
        })
    }

    fn terminate(&self, _: &str, ids: &[String]) -> Result<(), Error> {
        self.called("terminate");
        ids.iter()
            .for_each(|id| self.end(id, "Client.UserInitiatedShutdown"));
        Ok(())
    }

    fn console(&self, _: &str, id: &str) -> Result<String, Error> {
        self.called("console");
        Ok(self.with(|table| table.consoles.get(id).cloned().unwrap_or_default()))
    }

    fn create_load_balancer(&self, request: &LoadBalancerRequest) -> Result<LoadBalancer, Error> {
        self.called("create_load_balancer");
        self.with(|table| {
            let id = format!("lb-{}", table.allocation);
            if let Some((known, _)) = table
                .balancers
                .iter()
                .find(|(balancer, _)| balancer.id == id)
            {
                return Ok(known.clone());
            }
            let (allocation, dns_name) =
                (table.allocation.clone(), format!("{id}.elb.example.com"));
            let made = LoadBalancer {
                id,
                allocation,
                dns_name,
                vpc: "vpc-1".to_owned(),
                state: LoadBalancerState::Active,
            };
            table.balancers.push((made.clone(), request.clone()));
            Ok(made)
        })
    }

    fn create_target_group(&self, request: &TargetGroupRequest) -> Result<TargetGroup, Error> {
        self.called("create_target_group");
        self.with(|table| {
            let id = format!("tg-{}-{}", table.allocation, request.port);
            if let Some((known, _)) = table.groups.iter().find(|(group, _)| group.id == id) {
                return Ok(known.clone());
            }
            let (allocation, port) = (table.allocation.clone(), request.port.clone());
            let made = TargetGroup {
                id,
                allocation,
                port,
                number: request.number,
            };
            table.groups.push((made.clone(), request.clone()));
            Ok(made)
        })
    }

    fn create_listener(&self, request: &ListenerRequest) -> Result<Listener, Error> {
        self.called("create_listener");
        self.with(|table| {
            let id = format!("li-{}-{}", request.load_balancer, request.number);
            let made = Listener {
                id,
                number: request.number,
                target_group: request.target_group.clone(),
            };
            table
                .listeners
                .retain(|(listener, _)| listener.id != made.id);
            table
                .listeners
                .push((made.clone(), request.load_balancer.clone()));
            Ok(made)
        })
    }

    fn load_balancers(&self, _: &str, allocations: &[String]) -> Result<Vec<LoadBalancer>, Error> {
        self.called("load_balancers");
        let asked = |balancer: &LoadBalancer| {
            allocations.is_empty() || allocations.contains(&balancer.allocation)
        };
        Ok(self.with(|table| {
            table
                .balancers
                .iter()
                .map(|(balancer, _)| balancer.clone())
                .filter(asked)
                .collect()
        }))
    }

    fn target_groups(&self, _: &str, allocations: &[String]) -> Result<Vec<TargetGroup>, Error> {
        self.called("target_groups");
        let asked =
            |group: &TargetGroup| allocations.is_empty() || allocations.contains(&group.allocation);
        Ok(self.with(|table| {
            table
                .groups
                .iter()
                .map(|(group, _)| group.clone())
                .filter(asked)
                .collect()
        }))
    }

    fn listeners(&self, _: &str, load_balancer: &str) -> Result<Vec<Listener>, Error> {
        self.called("listeners");
        let of = |(_, balancer): &&(Listener, String)| balancer == load_balancer;
        Ok(self.with(|table| {
            table
                .listeners
                .iter()
                .filter(of)
                .map(|(listener, _)| listener.clone())
                .collect()
        }))
    }

    fn register(&self, _: &str, group: &str, targets: &[Target]) -> Result<(), Error> {
        self.called("register");
        self.with(|table| {
            let runs = |target: &Target| {
                table
                    .instances
                    .iter()
                    .any(|(i, _)| i.id == target.instance && i.state == InstanceState::Running)
            };
            if !targets.iter().all(runs) {
                return Err(Error::invalid("a target does not run").code("InvalidTarget"));
            }
            let registered = table.targets.entry(group.to_owned()).or_default();
            for target in targets
                .iter()
                .filter(|target| !registered.iter().any(|(known, _)| known == *target))
                .cloned()
                .collect::<Vec<_>>()
            {
                registered.push((target, TargetState::Initial));
            }
            Ok(())
        })
    }

    fn deregister(&self, _: &str, group: &str, targets: &[Target]) -> Result<(), Error> {
        self.called("deregister");
        self.with(|table| {
            table
                .targets
                .entry(group.to_owned())
                .or_default()
                .retain(|(target, _)| !targets.contains(target))
        });
        Ok(())
    }

    fn health(&self, _: &str, groups: &[String]) -> Result<Vec<TargetHealth>, Error> {
        self.called("health");
        let health = |group: &String, (target, state): &(Target, TargetState)| TargetHealth {
            target_group: group.clone(),
            instance: target.instance.clone(),
            number: target.number,
            state: *state,
            reason: String::new(),
        };
        let of = |table: &Table, group: &String| -> Vec<TargetHealth> {
            table
                .targets
                .get(group)
                .into_iter()
                .flatten()
                .map(|target| health(group, target))
                .collect()
        };
        Ok(self.with(|table| groups.iter().flat_map(|group| of(table, group)).collect()))
    }

    fn delete_listener(&self, _: &str, id: &str) -> Result<bool, Error> {
        self.called("delete_listener");
        self.with(|table| table.listeners.retain(|(listener, _)| listener.id != id));
        Ok(true)
    }

    fn delete_load_balancer(&self, _: &str, id: &str) -> Result<bool, Error> {
        self.called("delete_load_balancer");
        self.with(|table| {
            table.balancers.retain(|(balancer, _)| balancer.id != id);
            table.listeners.retain(|(_, balancer)| balancer != id);
        });
        Ok(true)
    }

    fn delete_target_group(&self, _: &str, id: &str) -> Result<bool, Error> {
        self.called("delete_target_group");
        self.with(|table| {
            if table
                .listeners
                .iter()
                .any(|(listener, _)| listener.target_group == id)
            {
                return Ok(false);
            }
            table.groups.retain(|(group, _)| group.id != id);
            table.targets.remove(id);
            Ok(true)
        })
    }
}
