//! Stored plans: what one holds, what it was made from, and what of that has moved since. Pure: it is told what is so now.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Placement, preview::Preview};
use crate::{
    base::{
        list::Choice,
        names::{Actor, AllocationId, DecisionId, InstanceName, Namespace, PlanId, TaskName},
        units::{Bytes, Instant, MicroUsd, MilliCpu},
        version::Identity,
    },
    spec::{
        manifest::{Manifest, Resolved, Target},
        offer::PriceUnit,
        policy_call::PlacedOffer,
    },
    state::decision::Decision,
};

/// Where plans are kept: by namespace and name.
pub const PLANS: &str = "plans/";

/// A stored plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRecord {
    /// Its name.
    pub id: PlanId,
    /// Who stored it.
    pub author: Actor,
    /// When it was stored.
    pub created_at: Instant,
    /// Until when it can be applied.
    pub expires_at: Instant,
    /// It deletes the deployment; `manifest` is what it had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
    /// The last word on it; none: nobody has said anything yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// Who carried it out. Absent: nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The manifest that it was made from.
    pub manifest: Manifest,
    /// What it was made from: when any of it moves, it is not applied.
    pub basis: Basis,
    /// The places that it gives.
    pub adoption: Adoption,
    /// As it was shown.
    pub plan: Preview,
}

/// How far a stored plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlanStatus {
    /// Nobody has approved or rejected it.
    Pending,
    /// Somebody has approved it.
    Approved,
    /// Somebody has rejected it, for good.
    Rejected,
    /// It has been carried out.
    Applied,
    /// Its time has passed.
    Expired,
}

impl PlanStatus {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Applied => "applied",
            Self::Expired => "expired",
        }
    }
}

impl Choice for PlanStatus {
    const WHAT: &'static str = "a plan's status";
    const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::Applied,
        Self::Expired,
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl std::fmt::Display for PlanStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What somebody else said about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Who said it.
    pub by: Actor,
    /// When.
    pub at: Instant,
    /// Whether the plan may be applied. Else it is rejected for good.
    pub approved: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// That a plan has been carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Who carried it out.
    pub by: Actor,
    /// When.
    pub at: Instant,
    /// Of the deployment, by the plan.
    pub generation: u64,
}

/// What a plan was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// Of the deployment; 0: there was none.
    pub generation: u64,
    /// What ran of it.
    pub running: Vec<Running>,
    /// The policy, with its digests. Absent: nothing had to be decided.
    #[serde(default, with = "crate::state::forms::identity::optional")]
    pub policy: Option<Identity>,
    /// The providers, with their digests.
    #[serde(with = "crate::state::forms::identity::list")]
    pub providers: Vec<Identity>,
    /// The offers that it uses, as they were quoted.
    pub quotes: Vec<Quote>,
}

/// Replicas that ran when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// The allocation.
    pub allocation: AllocationId,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// Its replicas.
    pub replicas: u32,
}

/// An offer of the plan, as it was quoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    /// The provider instance.
    pub provider: InstanceName,
    /// The provider's name for the offer.
    pub offer: String,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// Per unit and hour.
    pub price: MicroUsd,
    /// What the price is of.
    pub price_unit: PriceUnit,
    /// Per GiB of memory and hour, on top.
    pub memory_price: MicroUsd,
    /// Once per replica.
    pub setup_price: MicroUsd,
    /// What the plan adds there.
    pub adds: Adds,
    /// Replicas that could be added when it was quoted. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Where the price comes from, in the provider's words.
    pub source: String,
    /// When the price was true, as the provider says.
    pub quoted_at: Instant,
}

/// What a plan adds at one offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adds {
    /// Replicas that it adds.
    pub replicas: u32,
    /// Of all of them.
    pub cpu: MilliCpu,
    /// Of all of them.
    pub memory: Bytes,
}

/// The places that the controller shall take over instead of having the policy choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// The decision that chose them.
    pub decision: Option<Decision>,
    /// The tasks that have not been taken over yet: at first, all of the deployment.
    pub tasks: Vec<AdoptedTask>,
}

/// The places of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedTask {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    pub target: Option<Target>,
    /// Replicas in all, those without a place included.
    pub replicas: u32,
    /// Where its replicas go.
    pub placements: Vec<Placement>,
    /// Whether the decision placed it; else it stays where it ran.
    pub decided: bool,
}

/// What is so now, of what a plan was made from.
pub struct Present<'a> {
    /// Of the deployment; 0: there is none.
    pub generation: u64,
    /// What runs of it.
    pub running: Vec<Running>,
    /// By the plugin instance's name; absent: it is not loaded.
    pub policies: BTreeMap<InstanceName, Identity>,
    /// The providers, likewise.
    pub providers: BTreeMap<InstanceName, Identity>,
    /// Offers of the providers that have answered.
    pub offers: &'a [PlacedOffer],
    /// Providers that have not answered, with what they said instead.
    pub silent: BTreeMap<InstanceName, String>,
}

impl PlanRecord {
    /// The key of the record.
    pub fn path(namespace: &Namespace, id: &PlanId) -> String {
        format!("{PLANS}{namespace}/{id}")
    }

    /// How far it is at this instant.
    pub fn status(&self, now: Instant) -> PlanStatus {
        match (&self.applied, &self.review) {
            (Some(_), _) => PlanStatus::Applied,
            (None, Some(review)) if !review.approved => PlanStatus::Rejected,
            _ if self.expires_at <= now => PlanStatus::Expired,
            (None, Some(_)) => PlanStatus::Approved,
            (None, None) => PlanStatus::Pending,
        }
    }
}

impl Adoption {
    fn of_task(&self, task: &Resolved) -> Option<&AdoptedTask> {
        self.tasks
            .iter()
            .find(|t| t.task == task.name && t.target == task.target)
    }

    /// Whether it says where tasks of these go, with as many replicas as are wanted. Those that began before are in it no more.
    pub fn covers<'t>(&self, mut tasks: impl Iterator<Item = &'t Resolved> + Clone) -> bool {
        tasks.clone().any(|t| self.of_task(t).is_some())
            && tasks.all(|t| self.of_task(t).is_none_or(|a| a.replicas == t.replicas))
    }

    /// What is left of it for tasks that have not begun. None: nothing.
    pub fn for_later(&self, waits: impl Fn(&TaskName) -> bool) -> Option<Self> {
        let tasks: Vec<_> = self
            .tasks
            .iter()
            .filter(|t| waits(&t.task))
            .cloned()
            .collect();
        (!tasks.is_empty()).then(|| Self {
            decision: self.decision.clone(),
            tasks,
        })
    }

    /// A task's places, and the decision that chose them.
    pub fn places(&self, task: &Resolved) -> Option<(Vec<Placement>, Option<DecisionId>)> {
        let adopted = self.of_task(task)?;
        let decision = self
            .decision
            .as_ref()
            .filter(|_| adopted.decided)
            .map(|d| d.id.clone());
        Some((adopted.placements.clone(), decision))
    }
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} × {} on {}/{}",
            self.replicas, self.task, self.provider, self.region
        )
    }
}

impl Quote {
    /// The quote of an offer at which the plan adds so much.
    pub fn new(placed: &PlacedOffer, adds: Adds) -> Self {
        let PlacedOffer { provider, offer } = placed;
        Self {
            provider: provider.clone(),
            offer: offer.id.to_string(),
            region: offer.region.to_string(),
            size: offer.size.to_string(),
            price: offer.price,
            price_unit: offer.price_unit,
            memory_price: offer.memory_price,
            setup_price: offer.setup_price,
            adds,
            capacity: (offer.capacity != u32::MAX).then_some(offer.capacity),
            source: offer.source.to_string(),
            quoted_at: offer.quoted_at,
        }
    }

    /// `provider/region/size`.
    pub fn place(&self) -> String {
        let parts = [self.provider.as_str(), &self.region, &self.size];
        parts
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>()
            .join("/")
    }

    fn moved(&self, now: &Present<'_>, out: &mut Vec<String>) {
        let place = self.place();
        if let Some(said) = now.silent.get(&self.provider) {
            out.push(format!("{place} has no quote now: {said}"));
            return;
        }
        let found = now
            .offers
            .iter()
            .find(|p| p.provider == self.provider && *p.offer.id == *self.offer);
        let Some(PlacedOffer { offer, .. }) = found else {
            out.push(format!(
                "{place} is not offered any more (offer \"{}\")",
                self.offer
            ));
            return;
        };
        let prices = [
            ("price", self.price, offer.price),
            ("price of memory", self.memory_price, offer.memory_price),
            ("set-up price", self.setup_price, offer.setup_price),
        ];
        out.extend(
            prices
                .iter()
                .filter(|(_, was, is)| was != is)
                .map(|(what, was, is)| format!("{what} of {place} moved from {was} to {is}")),
        );
        if self.price_unit != offer.price_unit {
            out.push(
                format!(
                    "price of {place} is per {:?}, it was per {:?}",
                    offer.price_unit, self.price_unit
                )
                .to_lowercase(),
            );
        }
        let Adds {
            replicas,
            cpu,
            memory,
        } = self.adds;
        if offer.capacity < replicas {
            let was = self
                .capacity
                .map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
            out.push(format!(
                "capacity of {place} moved from {was} to {}: the plan adds {replicas}",
                offer.capacity
            ));
        }
        if offer.shared && offer.free_cpu < u64::from(cpu.0) {
            out.push(format!(
                "{place} has {}m of processors left: the plan adds {}m",
                offer.free_cpu, cpu.0
            ));
        }
        if offer.shared && offer.free_memory < memory.0 {
            out.push(format!(
                "{place} has {} of memory left: the plan adds {memory}",
                Bytes(offer.free_memory)
            ));
        }
    }
}

impl Basis {
    /// What has moved, one sentence each; empty: the plan holds.
    pub fn moved(&self, now: &Present<'_>) -> Vec<String> {
        let mut out = Vec::new();
        if self.generation != now.generation {
            out.push(match (self.generation, now.generation) {
                (was, 0) => format!("the deployment is gone, planned at generation {was}"),
                (0, is) => format!("the deployment exists by now, at generation {is}"),
                (was, is) => format!("the deployment is at generation {is}, planned at {was}"),
            });
        }
        for was in &self.running {
            match now.running.iter().find(|r| r.allocation == was.allocation) {
                Some(is) if is.replicas == was.replicas => {}
                Some(is) => out.push(format!("there are {is}, planned with {}", was.replicas)),
                None => out.push(format!("{was} ({}) are not there any more", was.allocation)),
            }
        }
        let new = now
            .running
            .iter()
            .filter(|r| !self.running.iter().any(|w| w.allocation == r.allocation));
        out.extend(new.map(|is| format!("{is} ({}) came after the plan", is.allocation)));
        out.extend(
            self.policy
                .iter()
                .flat_map(|p| plugin_moved("policy", p, now.policies.get(&p.instance))),
        );
        out.extend(
            self.providers
                .iter()
                .flat_map(|p| plugin_moved("provider", p, now.providers.get(&p.instance))),
        );
        self.quotes
            .iter()
            .for_each(|quote| quote.moved(now, &mut out));
        out
    }
}

fn plugin_moved(what: &str, was: &Identity, is: Option<&Identity>) -> Vec<String> {
    let name = &was.instance;
    let Some(is) = is else {
        return vec![format!("{what} \"{name}\" is not loaded any more")];
    };
    let mut out = Vec::new();
    if was.component != is.component {
        out.push(format!(
            "{what} \"{name}\" moved from digest {} to {}",
            was.component.short(),
            is.component.short()
        ));
    }
    if was.settings != is.settings {
        out.push(format!(
            "settings of {what} \"{name}\" moved from digest {} to {}",
            was.settings.short(),
            is.settings.short()
        ));
    }
    out
}
