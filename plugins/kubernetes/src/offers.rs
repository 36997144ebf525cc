//! Capacity for sale: one offer for each place and type of node, with what its pods leave, at the settings' or the nodes' price.

use std::collections::BTreeMap;

use tradewind_plugin_sdk::{
    Error, Offer,
    host::{Kubernetes as Capability, Node},
    provider::NO_PRICE,
    types::{OffersQuery, PriceUnit},
    units::{Cpu, GIB, Money, Size},
};

use crate::{Kubernetes, Settings, names};

/// Labels by which clouds tell nodes that may be taken back, and their value then.
const SPOT: [(&str, &str); 4] = [
    ("karpenter.sh/capacity-type", "spot"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
];

/// What nodes of one offer have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    region: String,
    zone: String,
    size: String,
    spot: bool,
    /// A kind of the settings.
    accelerator: String,
    /// As nodes say, so that nodes of one type at two prices are two offers.
    price: Option<Money>,
}

impl<H: Capability> Kubernetes<H> {
    pub(crate) fn on_sale(&self, query: &OffersQuery) -> Result<Vec<Offer>, Error> {
        let annotation = &self.settings.price_annotation;
        let asked: Vec<String> = Some(annotation.clone())
            .filter(|name| !name.is_empty())
            .into_iter()
            .collect();
        let mut groups: BTreeMap<Group, Vec<Node>> = BTreeMap::new();
        for node in self.cluster.host.nodes(&asked)? {
            if node.usable
                && self
                    .settings
                    .node_selector
                    .iter()
                    .all(|(key, value)| label(&node, key) == Some(value))
            {
                groups.entry(self.group(&node)).or_default().push(node);
            }
        }
        let wanted = |offer: &Offer| {
            (query.regions.is_empty() || query.regions.contains(&offer.region))
                && (query.spot || !offer.spot)
        };
        Ok(groups
            .iter()
            .map(|(group, nodes)| self.offer(group, nodes))
            .filter(wanted)
            .collect())
    }

    fn group(&self, node: &Node) -> Group {
        let text = |key: &str| label(node, key).cloned().unwrap_or_default();
        let has = |one: &crate::settings::Accelerator| {
            let there = node
                .devices
                .iter()
                .any(|device| device.resource == one.resource && device.count > 0);
            there
                && one
                    .node_selector
                    .iter()
                    .all(|(key, value)| label(node, key) == Some(value))
        };
        let kinds = &self.settings.accelerators;
        Group {
            region: label(node, names::REGION)
                .cloned()
                .unwrap_or_else(|| self.settings.region.clone()),
            zone: text(names::ZONE),
            size: text(names::SIZE),
            spot: SPOT
                .iter()
                .any(|(key, value)| label(node, key).is_some_and(|v| v == value)),
            accelerator: kinds
                .iter()
                .find(|(_, one)| has(one))
                .map(|(kind, _)| kind.clone())
                .unwrap_or_default(),
            price: annotated(node, &self.settings.price_annotation)
                .and_then(|price| price.parse().ok()),
        }
    }

    fn offer(&self, group: &Group, nodes: &[Node]) -> Offer {
        // What the largest node has bounds one replica; what all have left bounds their number.
        let most = |of: fn(&Node) -> u64| nodes.iter().map(of).max().unwrap_or(0);
        let sum = |of: fn(&Node) -> u64| nodes.iter().map(of).fold(0u64, u64::saturating_add);
        let (cpu, memory) = (
            u32::try_from(most(|n| n.cpu)).unwrap_or(u32::MAX),
            most(|n| n.memory),
        );
        let (cpu_price, memory_price, source) = self.price(group, nodes, cpu, memory);
        let size = if group.size.is_empty() {
            "node"
        } else {
            &group.size
        };
        let kind = if group.spot { "/spot" } else { "" };
        let cost = group
            .price
            .map(|price| format!("/{}", price.0))
            .unwrap_or_default();
        let id = format!(
            "{}/{}/{size}{kind}{cost}",
            group.region,
            if group.zone.is_empty() {
                "-"
            } else {
                &group.zone
            }
        );
        let mut offer = Offer::new(id, Cpu(cpu), Size(memory), cpu_price);
        (offer.region, offer.zone, offer.size) =
            (group.region.clone(), group.zone.clone(), size.to_owned());
        (offer.price_unit, offer.memory_price) = (PriceUnit::Cpu, memory_price.0);
        offer.shared = true;
        offer.disk = most(|n| n.disk);
        offer.capacity = nodes
            .iter()
            .map(|n| n.free_pods)
            .fold(0, u32::saturating_add);
        (offer.free_cpu, offer.free_memory) = (sum(|n| n.free_cpu), sum(|n| n.free_memory));
        if let Some(known) = self.settings.accelerators.get(&group.accelerator) {
            let of = |node: &Node| {
                node.devices
                    .iter()
                    .find(|d| d.resource == known.resource)
                    .map_or((0, 0), |d| (d.count, d.free))
            };
            offer.accelerator.clone_from(&group.accelerator);
            offer.accelerator_count = nodes.iter().map(|n| of(n).0).max().unwrap_or(0);
            offer.accelerator_memory = known.memory.0;
            offer.capacity = offer
                .capacity
                .min(nodes.iter().map(|n| of(n).1).fold(0, u32::saturating_add));
        }
        offer.spot = group.spot;
        offer.source = source;
        let used = 1.0 - sum(|n| n.free_cpu) as f64 / (sum(|n| n.cpu) as f64).max(1.0);
        offer.load = used.clamp(0.0, 1.0);
        // Those that pods select their nodes by, and that hold for every node of the offer.
        let common = [names::REGION, names::ZONE, names::SIZE];
        let first = nodes.first();
        offer.labels = common
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), label(first?, key)?.clone())))
            .collect();
        offer
    }

    /// Per core and per GiB. A node's price is shared out as the settings' prices stand to each other.
    fn price(
        &self,
        group: &Group,
        nodes: &[Node],
        cpu: u32,
        memory: u64,
    ) -> (Money, Money, String) {
        let Settings {
            cpu_price,
            memory_price,
            price_annotation,
            ..
        } = &self.settings;
        let (per_core, per_gib) = (
            cpu_price.unwrap_or_default(),
            memory_price.unwrap_or_default(),
        );
        let Some(node) = group.price else {
            let source = match nodes
                .iter()
                .find_map(|node| annotated(node, price_annotation)?.parse::<Money>().err())
            {
                _ if cpu_price.is_none() && memory_price.is_none() => NO_PRICE.to_owned(),
                Some(unreadable) => {
                    format!("settings, for the annotation {price_annotation}: {unreadable}")
                }
                None => "settings".to_owned(),
            };
            return (per_core, per_gib, source);
        };
        let source = format!("annotation {price_annotation}");
        let (cores, gibs) = (f64::from(cpu) / 1000.0, memory as f64 / GIB as f64);
        let listed = cores * per_core.0 as f64 + gibs * per_gib.0 as f64;
        if listed > 0.0 {
            let scale = node.0 as f64 / listed;
            let scaled = |price: Money| Money((price.0 as f64 * scale).round() as u64);
            return (scaled(per_core), scaled(per_gib), source);
        }
        (
            Money((node.0 as f64 / cores.max(0.001)).round() as u64),
            Money(0),
            source,
        )
    }
}

fn annotated<'n>(node: &'n Node, key: &str) -> Option<&'n String> {
    node.annotations
        .iter()
        .find(|a| a.key == key)
        .map(|a| &a.value)
}

fn label<'n>(node: &'n Node, key: &str) -> Option<&'n String> {
    node.labels.iter().find(|l| l.key == key).map(|l| &l.value)
}
