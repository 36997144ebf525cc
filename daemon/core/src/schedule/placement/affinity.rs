//! Affinity: which tasks share a domain, and which share none. Words bind tasks of one namespace. What runs already binds a task before
//! it is decided about; the tasks of one batch bind each other, and an answer is held against that.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Group, PlacedOffer, Refusal, Request, Spread, Task, Want};
use crate::{
    base::names::{InstanceName, Namespace},
    spec::manifest::Constraints,
};

/// Where something is, as far as its domain's kind tells places apart; the rest is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Domain {
    /// The provider instance.
    pub provider: String,
    /// The region.
    pub region: String,
    /// The zone.
    pub zone: String,
}

/// Domains that other tasks have taken already, each once and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Where those of the same affinity are: there, and nowhere else.
    pub together: Vec<Domain>,
    /// Where others of the same anti-affinity are: anywhere but there.
    pub apart: Vec<Domain>,
}

/// A task that has places, as those see it who are decided about.
#[derive(Debug, Clone)]
pub struct Neighbour<'a> {
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// The constraints that name its words.
    pub constraints: &'a Constraints,
    /// Of the narrowest kind.
    pub places: Vec<Domain>,
    /// It is a part of this one of the wants.
    pub part_of: Option<usize>,
}

/// What a word means for those who bear it: the kind of domain, and who is where.
#[derive(Default)]
struct Circle {
    over: Option<Spread>,
    places: Vec<(Option<usize>, Domain)>,
}

impl Domain {
    /// Of the narrowest kind.
    pub fn new(provider: &InstanceName, region: &str, zone: &str) -> Self {
        Self {
            provider: provider.to_string(),
            region: region.to_owned(),
            zone: zone.to_owned(),
        }
    }

    fn widened(&self, over: Spread) -> Self {
        let (provider, region, zone) = widen(over, (&self.provider, &self.region, &self.zone));
        Self {
            provider: provider.to_owned(),
            region: region.to_owned(),
            zone: zone.to_owned(),
        }
    }

    fn is(&self, (provider, region, zone): (&str, &str, &str)) -> std::cmp::Ordering {
        (
            self.provider.as_str(),
            self.region.as_str(),
            self.zone.as_str(),
        )
            .cmp(&(provider, region, zone))
    }
}

/// Names are unique only within what is around them: equal names of different providers, or regions, are different domains.
fn widen<'a>(
    over: Spread,
    (provider, region, zone): (&'a str, &'a str, &'a str),
) -> (&'a str, &'a str, &'a str) {
    match over {
        Spread::None => ("", "", ""),
        Spread::Provider => (provider, "", ""),
        Spread::Region => (provider, region, ""),
        Spread::Zone => (provider, region, zone),
    }
}

/// The domain of an offer.
pub(super) fn domain(over: Spread, placed: &PlacedOffer) -> Names<'_> {
    widen(
        over,
        (
            placed.provider.as_str(),
            &placed.offer.region,
            &placed.offer.zone,
        ),
    )
}

impl Bounds {
    /// Whether affinity admits an offer.
    pub(super) fn admits_together(&self, group: &Group, placed: &PlacedOffer) -> bool {
        let here = domain(group.over, placed);
        self.together.iter().all(|d| d.is(here).is_eq())
    }

    /// Whether anti-affinity admits an offer.
    pub(super) fn admits_apart(&self, group: &Group, placed: &PlacedOffer) -> bool {
        let here = domain(group.over, placed);
        self.apart.binary_search_by(|d| d.is(here)).is_err()
    }
}

/// Whether a task is bound to others at all.
pub fn is_bound(constraints: &Constraints) -> bool {
    constraints.affinity.is_some() || constraints.anti_affinity.is_some()
}

/// Binds tasks that are to be decided about to where others are already, and has all that share a word mean the same kind of domain.
pub fn apply_affinity(wants: &mut [Want], neighbours: &[Neighbour<'_>]) {
    let mut together: HashMap<(Namespace, String), Circle> = HashMap::new();
    let mut apart: HashMap<(Namespace, String), Circle> = HashMap::new();
    let wanted = wants
        .iter()
        .map(|w| (&w.namespace, &w.need.constraints, None, [].as_slice()));
    let there = neighbours
        .iter()
        .map(|n| (n.namespace, n.constraints, n.part_of, n.places.as_slice()));
    for (namespace, constraints, part_of, places) in wanted.chain(there) {
        let key = |group: &Group| (namespace.clone(), group.word.clone());
        let places = || places.iter().map(|place| (part_of, place.clone()));
        if let Some(group) = &constraints.affinity {
            let circle = together.entry(key(group)).or_default();
            circle.over = Some(circle.over.map_or(group.over, |over| over.min(group.over)));
            circle.places.extend(places());
        }
        if let Some(group) = &constraints.anti_affinity {
            let circle = apart.entry(key(group)).or_default();
            circle.over = Some(circle.over.map_or(group.over, |over| over.max(group.over)));
            circle.places.extend(places());
        }
    }
    for (i, want) in wants.iter_mut().enumerate() {
        let Want {
            namespace,
            need,
            bounds,
            ..
        } = want;
        let constraints = &mut need.constraints;
        if let Some(group) = &mut constraints.affinity
            && let Some(circle) = together.get(&(namespace.clone(), group.word.clone()))
        {
            bounds.together = circle.taken(group, |_| true);
        }
        if let Some(group) = &mut constraints.anti_affinity
            && let Some(circle) = apart.get(&(namespace.clone(), group.word.clone()))
        {
            bounds.apart = circle.taken(group, |part_of| part_of != Some(i));
        }
    }
}

impl Circle {
    fn taken(&self, group: &mut Group, counts: impl Fn(Option<usize>) -> bool) -> Vec<Domain> {
        group.over = self.over.unwrap_or(group.over);
        let mut domains: Vec<Domain> = self
            .places
            .iter()
            .filter(|(part_of, _)| counts(*part_of))
            .map(|(_, place)| place.widened(group.over))
            .collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }
}

/// Provider, region and zone, as far as a kind of domain tells places apart.
type Names<'a> = (&'a str, &'a str, &'a str);

/// The words of a batch, and what an answer has done to them so far.
pub(super) struct Ties<'a> {
    together: BTreeMap<&'a str, (Spread, Option<Names<'a>>)>,
    apart: BTreeMap<&'a str, Spread>,
    owners: HashMap<(&'a str, Names<'a>), u32>,
}

impl<'a> Ties<'a> {
    pub(super) fn of(request: &'a Request) -> Self {
        let mut ties = Self {
            together: BTreeMap::new(),
            apart: BTreeMap::new(),
            owners: HashMap::new(),
        };
        for task in &request.tasks {
            if let Some(group) = &task.affinity {
                let known = ties
                    .together
                    .entry(&group.word)
                    .or_insert((group.over, None));
                known.0 = known.0.min(group.over);
            }
            if let Some(group) = &task.anti_affinity {
                let known = ties.apart.entry(&group.word).or_insert(group.over);
                *known = (*known).max(group.over);
            }
        }
        ties
    }

    /// Takes a row of the answer. One that is refused leaves no trace.
    ///
    /// # Errors
    /// It breaks what an earlier row has bound it to.
    pub(super) fn take(
        &mut self,
        row: usize,
        index: u32,
        task: &'a Task,
        place: &'a PlacedOffer,
    ) -> Result<(), Refusal> {
        let name = || task.name.to_string();
        let apart = task
            .anti_affinity
            .as_ref()
            .and_then(|group| Some((group, *self.apart.get(group.word.as_str())?)));
        if let Some((group, over)) = apart
            && let Some(other) = self
                .owners
                .get(&(group.word.as_str(), domain(over, place)))
                .copied()
                .filter(|owner| *owner != index)
        {
            return Err(Refusal::AntiAffinity {
                row,
                task: index,
                name: name(),
                over,
                word: group.word.clone(),
                other,
            });
        }
        if let Some(group) = &task.affinity
            && let Some((over, known)) = self.together.get_mut(group.word.as_str())
        {
            let here = domain(*over, place);
            if *known.get_or_insert(here) != here {
                return Err(Refusal::Affinity {
                    row,
                    task: index,
                    name: name(),
                    over: *over,
                    word: group.word.clone(),
                });
            }
        }
        if let Some((group, over)) = apart {
            self.owners
                .insert((&group.word, domain(over, place)), index);
        }
        Ok(())
    }
}
