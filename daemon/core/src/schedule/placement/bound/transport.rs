//! The transportation problem: groups of replicas to offers with a common capacity, at the least cost. Solved exactly by successive cheapest
//! paths; all numbers are integers.

use std::collections::{HashMap, VecDeque};

use super::{Group, Room};

/// Edges that are looked at before the search is given up.
const MOST_WORK: usize = 4_000_000;

struct Edge {
    to: usize,
    left: u64,
    cost: i128,
}

/// Each edge is followed by its reverse.
#[derive(Default)]
struct Network {
    edges: Vec<Edge>,
    out: Vec<Vec<usize>>,
}

/// The least cost of all groups' demands, in micro-USD. None: they do not fit, or it takes too long.
pub(super) fn optimum(groups: &[Group<'_>], capacity: &HashMap<u32, Room>) -> Option<u128> {
    let mut net = Network::default();
    let (source, sink) = (net.node(), net.node());
    let mut offers: HashMap<u32, usize> = HashMap::new();
    let mut demand = 0u64;
    for group in groups {
        let from = net.node();
        net.edge(source, from, group.demand, 0);
        demand = demand.checked_add(group.demand)?;
        let mut domains: HashMap<(&str, &str, &str), usize> = HashMap::new();
        for arc in &group.arcs {
            let domain = *domains.entry(group.domain(arc.offer)).or_insert_with(|| {
                let node = net.node();
                net.edge(from, node, group.spread_max, 0);
                node
            });
            let offer = *offers.entry(arc.offer).or_insert_with(|| {
                let node = net.node();
                net.edge(
                    node,
                    sink,
                    capacity
                        .get(&arc.offer)
                        .copied()
                        .unwrap_or_default()
                        .replicas(),
                    0,
                );
                node
            });
            let cost = i128::from(arc.cost);
            if arc.held > 0 {
                net.edge(domain, sink, arc.held, cost);
            }
            net.edge(domain, offer, arc.room.replicas(), cost);
        }
    }
    net.cheapest(source, sink, demand)
}

#[expect(
    clippy::indexing_slicing,
    reason = "nodes and edges are named by the numbers that `node` and `edge` gave them"
)]
impl Network {
    fn node(&mut self) -> usize {
        self.out.push(Vec::new());
        self.out.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, left: u64, cost: i128) {
        self.out[from].push(self.edges.len());
        self.edges.push(Edge { to, left, cost });
        self.out[to].push(self.edges.len());
        self.edges.push(Edge {
            to: from,
            left: 0,
            cost: -cost,
        });
    }

    fn cheapest(&mut self, source: usize, sink: usize, mut demand: u64) -> Option<u128> {
        let (mut sum, mut work) = (0i128, 0usize);
        while demand > 0 {
            let via = self.path(source, sink, &mut work)?;
            let mut most = demand;
            let mut at = sink;
            while at != source {
                let edge = via[at]?;
                most = most.min(self.edges[edge].left);
                at = self.edges[edge ^ 1].to;
            }
            at = sink;
            while at != source {
                let edge = via[at]?;
                self.edges[edge].left -= most;
                self.edges[edge ^ 1].left = self.edges[edge ^ 1].left.saturating_add(most);
                sum += self.edges[edge].cost * i128::from(most);
                at = self.edges[edge ^ 1].to;
            }
            demand -= most;
        }
        u128::try_from(sum).ok()
    }

    /// The edge by which each node is reached at the least cost. None: the sink is not.
    fn path(&self, source: usize, sink: usize, work: &mut usize) -> Option<Vec<Option<usize>>> {
        let nodes = self.out.len();
        let (mut cost, mut via, mut queued) = (
            vec![i128::MAX; nodes],
            vec![None; nodes],
            vec![false; nodes],
        );
        cost[source] = 0;
        let mut queue = VecDeque::from([source]);
        while let Some(at) = queue.pop_front() {
            queued[at] = false;
            *work += self.out[at].len();
            if *work > MOST_WORK {
                return None;
            }
            for &e in &self.out[at] {
                let edge = &self.edges[e];
                let reached = cost[at].saturating_add(edge.cost);
                if edge.left > 0 && reached < cost[edge.to] {
                    (cost[edge.to], via[edge.to]) = (reached, Some(e));
                    if !queued[edge.to] {
                        queued[edge.to] = true;
                        queue.push_back(edge.to);
                    }
                }
            }
        }
        (cost[sink] != i128::MAX).then_some(via)
    }
}
