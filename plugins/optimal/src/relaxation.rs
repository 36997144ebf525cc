//! The batch as a flow: what is left of it without shared rooms of different sizes, limits per hour and affinity. Its optimum is whole and
//! quickly found; it is a bound for the batch, often its optimum, and its reduced costs say which columns no better answer can use.

use std::collections::BTreeMap;

use tradewind_plugin_sdk::policy::Domain;

use crate::{
    model::{Class, Model},
    network::{Arc, Network, Node},
};

/// The cheapest flow.
#[derive(Debug)]
pub(crate) struct Relaxed {
    /// Replicas of each column, class by class.
    pub(crate) counts: Vec<u32>,
    pub(crate) cost: i64,
    /// What a replica in a column that has none adds at least.
    pub(crate) reduced: Vec<i64>,
    /// What the last replica that an offer has room for is worth, by the offer's index.
    pub(crate) offers: BTreeMap<u32, i64>,
    /// What it is worth that one more replica of a priority may be left without a place.
    pub(crate) levels: Vec<i64>,
}

struct Flow {
    network: Network,
    sink: Node,
    offers: BTreeMap<u32, Node>,
    levels: Vec<Option<Node>>,
    columns: Vec<Arc>,
    skips: Vec<Option<Arc>>,
}

/// The least number of replicas without a place, priority by priority, the highest first; at least that of an answer, where it leaves none.
pub(crate) fn least_unplaced(model: &Model<'_>, known: &[u32]) -> Vec<u32> {
    let mut unplaced = vec![u32::MAX; model.levels];
    for level in 0..model.levels {
        let least = match known.get(level) {
            Some(0) => 0,
            _ => {
                let mut flow = Flow::new(
                    model,
                    &unplaced,
                    |_| 0,
                    |class| i64::from(class.level == level),
                );
                if !flow.network.solve() {
                    return vec![0; model.levels];
                }
                let of_level = model
                    .classes
                    .iter()
                    .zip(&flow.skips)
                    .filter(|(class, _)| class.level == level);
                of_level
                    .map(|(_, skip)| skip.map_or(0, |arc| flow.network.flow(arc)))
                    .sum::<i64>() as u32
            }
        };
        if let Some(unplaced) = unplaced.get_mut(level) {
            *unplaced = least;
        }
    }
    unplaced
}

/// The cheapest flow that leaves at most so many replicas of each priority without a place, if there is one.
pub(crate) fn cheapest(model: &Model<'_>, unplaced: &[u32]) -> Option<Relaxed> {
    let mut flow = Flow::new(model, unplaced, |cost| cost, |class| class.skip_cost);
    if !flow.network.solve() {
        return None;
    }
    let Flow {
        network,
        sink,
        offers,
        levels,
        columns,
        skips,
    } = flow;
    let counts: Vec<u32> = columns
        .iter()
        .map(|arc| network.flow(*arc) as u32)
        .collect();
    let reduced = columns
        .iter()
        .map(|arc| network.reduced_cost(*arc))
        .collect();
    let placed: i64 = model
        .columns()
        .zip(&counts)
        .map(|((_, column), count)| column.cost * i64::from(*count))
        .sum();
    let skipped: i64 = model
        .classes
        .iter()
        .zip(&skips)
        .map(|(class, arc)| class.skip_cost * arc.map_or(0, |arc| network.flow(arc)))
        .sum();
    let price = |node: Node| network.price(node, sink).max(0);
    Some(Relaxed {
        counts,
        cost: placed + skipped,
        reduced,
        offers: offers
            .into_iter()
            .map(|(offer, node)| (offer, price(node)))
            .collect(),
        levels: levels
            .into_iter()
            .map(|node| node.map_or(0, price))
            .collect(),
    })
}

impl Flow {
    fn new(
        model: &Model<'_>,
        unplaced: &[u32],
        cost: impl Fn(i64) -> i64,
        skip_cost: impl Fn(&Class<'_>) -> i64,
    ) -> Self {
        let columns = model.columns().count();
        let mut network = Network::with_capacity(columns + columns / 4 + 16);
        let sink = network.node(
            -model
                .classes
                .iter()
                .map(|class| i64::from(class.demand))
                .sum::<i64>(),
        );
        let offers = offers(model, &mut network, sink);
        let levels: Vec<Option<Node>> = (0..model.levels)
            .map(|level| {
                let most = unplaced.get(level).copied().filter(|most| *most > 0)?;
                let node = network.node(0);
                network.arc(node, sink, most, 0);
                Some(node)
            })
            .collect();
        let mut flow = Self {
            network,
            sink,
            offers,
            levels,
            columns: Vec::with_capacity(columns),
            skips: Vec::new(),
        };
        for class in &model.classes {
            let source = flow.network.node(i64::from(class.demand));
            let mut domains: BTreeMap<Domain, Node> = BTreeMap::new();
            for column in &class.columns {
                let from = class.domain(model.request.offer(column.offer)).map_or(
                    source,
                    |(domain, most)| {
                        *domains.entry(domain).or_insert_with(|| {
                            let node = flow.network.node(0);
                            flow.network.arc(source, node, most, 0);
                            node
                        })
                    },
                );
                let to = if column.held {
                    flow.sink
                } else {
                    flow.offers.get(&column.offer).copied().unwrap_or(flow.sink)
                };
                flow.columns
                    .push(flow.network.arc(from, to, column.upper, cost(column.cost)));
            }
            let skip = flow.levels.get(class.level).copied().flatten();
            flow.skips.push(skip.map(|node| {
                flow.network
                    .arc(source, node, class.demand, skip_cost(class))
            }));
        }
        flow
    }
}

/// A node for each offer, with room for as many of the smallest replicas that want to go there.
fn offers(model: &Model<'_>, network: &mut Network, sink: Node) -> BTreeMap<u32, Node> {
    let node = |(offer, most): (u32, u32)| {
        let node = network.node(0);
        network.arc(node, sink, most, 0);
        (offer, node)
    };
    most_replicas(model).into_iter().map(node).collect()
}

/// How many replicas each offer can take at most: the smallest of those that want to go there.
pub(crate) fn most_replicas(model: &Model<'_>) -> BTreeMap<u32, u32> {
    let mut smallest: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for (class, column) in model.columns().filter(|(_, column)| !column.held) {
        let (cpu, memory) = class.size();
        let known = smallest.entry(column.offer).or_insert((u64::MAX, u64::MAX));
        *known = (known.0.min(cpu), known.1.min(memory));
    }
    let fits = |free: u64, each: u64| match free {
        u64::MAX => u32::MAX,
        free => free
            .checked_div(each)
            .map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX)),
    };
    let most = |(offer, (cpu, memory)): (u32, (u64, u64))| {
        let room = model.room(offer);
        (
            offer,
            room.replicas
                .min(fits(room.cpu, cpu))
                .min(fits(room.memory, memory)),
        )
    };
    smallest.into_iter().map(most).collect()
}
