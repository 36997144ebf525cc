//! Flows of least cost through a network of integers: the network simplex method with strongly feasible trees (Ahuja, Magnanti and Orlin,
//! *Network Flows*, 1993, sections 11.5 to 11.7), which take in arcs block by block. Capacities and costs are whole numbers, so the optimum
//! is whole, and its potentials prove it.

/// A place that flow goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node(u32);

/// A way from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arc(u32);

/// An arc outside the tree carries nothing, or all it can.
#[derive(Debug, Clone, Copy, Default)]
struct Edge {
    from: u32,
    to: u32,
    capacity: i64,
    flow: i64,
    cost: i64,
}

/// A node, and where it hangs in the tree.
#[derive(Debug, Clone, Copy)]
struct Hung {
    supply: i64,
    potential: i64,
    parent: u32,
    /// The arc to its parent, in whichever direction.
    edge: u32,
    depth: u32,
    child: u32,
    next: u32,
    before: u32,
}

const NONE: u32 = u32::MAX;
/// The node that artificial arcs lead to.
const ROOT: u32 = 0;
/// Enough capacity for everything.
const AMPLE: i64 = i64::MAX / 4;

/// A network and the flow in it.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: Vec<Hung>,
    edges: Vec<Edge>,
    /// Where the next block of arcs begins.
    at: usize,
}

/// The change that an arc brings when it comes into the tree.
struct Pivot {
    amount: i64,
    /// Where the tree is cut, if anywhere: below this node's parent.
    cut: Option<u32>,
    /// The ends of the arc that came: the one below the cut first.
    ends: [u32; 2],
}

impl Network {
    /// With room for so many arcs.
    pub(crate) fn with_capacity(arcs: usize) -> Self {
        let mut network = Self {
            nodes: Vec::new(),
            edges: Vec::with_capacity(arcs),
            at: 0,
        };
        network.node(0);
        network
    }

    /// A node from which so much flows, or, where that is negative, at which so much arrives.
    pub(crate) fn node(&mut self, supply: i64) -> Node {
        self.nodes.push(Hung {
            supply,
            potential: 0,
            parent: NONE,
            edge: NONE,
            depth: 0,
            child: NONE,
            next: NONE,
            before: NONE,
        });
        Node(self.nodes.len() as u32 - 1)
    }

    /// Costs must not be negative.
    pub(crate) fn arc(&mut self, from: Node, to: Node, capacity: u32, cost: i64) -> Arc {
        self.edges.push(Edge {
            from: from.0,
            to: to.0,
            capacity: i64::from(capacity),
            flow: 0,
            cost,
        });
        Arc(self.edges.len() as u32 - 1)
    }

    /// What flows through an arc.
    pub(crate) fn flow(&self, arc: Arc) -> i64 {
        self.edge(arc.0).flow
    }

    /// What one unit through an unused arc adds at least to the cost of the best flow.
    pub(crate) fn reduced_cost(&self, arc: Arc) -> i64 {
        self.reduced(&self.edge(arc.0))
    }

    /// What a unit costs at this node, when it costs nothing at another.
    pub(crate) fn price(&self, at: Node, beside: Node) -> i64 {
        self.hung(beside.0).potential - self.hung(at.0).potential
    }

    /// Finds the cheapest flow that takes every node's supply, if there is one.
    pub(crate) fn solve(&mut self) -> bool {
        let arcs = self.edges.len();
        self.hang_on_root();
        let block = arcs.isqrt().max(16);
        // Strongly feasible trees never cycle; how long they may take is bounded all the same.
        for _ in 0..100 * self.nodes.len() + 10 * arcs {
            let Some(entering) = self.entering(arcs, block) else {
                return self.edges.iter().skip(arcs).all(|edge| edge.flow == 0);
            };
            self.pivot(entering);
        }
        false
    }

    /// The first tree: every node on the root, by an arc that costs more than any way where it brings what is not there.
    fn hang_on_root(&mut self) {
        let dear = self
            .edges
            .iter()
            .map(|edge| edge.cost)
            .max()
            .unwrap_or(0)
            .saturating_add(1)
            .saturating_mul(self.nodes.len() as i64);
        let dear = dear.min(i64::MAX / 8);
        for node in 1..self.nodes.len() as u32 {
            let supply = self.hung(node).supply;
            let edge = self.edges.len() as u32;
            self.edges.push(match supply {
                0.. => Edge {
                    from: node,
                    to: ROOT,
                    capacity: AMPLE,
                    flow: supply,
                    cost: 0,
                },
                _ => Edge {
                    from: ROOT,
                    to: node,
                    capacity: AMPLE,
                    flow: -supply,
                    cost: dear,
                },
            });
            self.hang(node, ROOT, edge);
            self.at_node(node, |hung| {
                (hung.potential, hung.depth) = (if supply < 0 { dear } else { 0 }, 1)
            });
        }
    }

    /// The arc of the next block that has one which pays the most.
    fn entering(&mut self, arcs: usize, block: usize) -> Option<u32> {
        let (mut best, mut least, mut looked) = (None, 0, 0);
        for _ in 0..arcs {
            let index = self.at;
            self.at = if index + 1 < arcs { index + 1 } else { 0 };
            let edge = self.edge(index as u32);
            let reduced = self.reduced(&edge);
            let gain = if edge.flow < edge.capacity && edge.flow == 0 {
                reduced
            } else {
                -reduced
            };
            if gain < least && edge.capacity > 0 {
                (best, least) = (Some(index as u32), gain);
            }
            looked += 1;
            if looked >= block && best.is_some() {
                return best;
            }
        }
        best
    }

    fn pivot(&mut self, entering: u32) {
        let edge = self.edge(entering);
        let forward = edge.flow == 0;
        let (first, second) = if forward {
            (edge.from, edge.to)
        } else {
            (edge.to, edge.from)
        };
        let join = self.join(first, second);
        let Pivot {
            amount,
            cut,
            ends: [lower, upper],
        } = self.leaving(edge.capacity, first, second, join);
        if amount > 0 {
            self.at_edge(entering, |edge| {
                edge.flow += if forward { amount } else { -amount }
            });
            self.push(first, join, -amount);
            self.push(second, join, amount);
        }
        let Some(cut) = cut else { return };
        let reduced = self.reduced(&self.edge(entering));
        self.turn(lower, upper, entering, cut);
        self.shift(
            lower,
            if edge.from == lower {
                -reduced
            } else {
                reduced
            },
        );
    }

    /// Where the ways of two nodes to the root meet.
    fn join(&self, mut a: u32, mut b: u32) -> u32 {
        while a != b {
            let (up_a, up_b) = (self.hung(a), self.hung(b));
            if up_a.depth >= up_b.depth {
                a = up_a.parent;
            }
            if up_b.depth >= up_a.depth {
                b = up_b.parent;
            }
        }
        a
    }

    /// How much can flow around, and what stops it: of several arcs the last on the way from the join on, so that every node can always
    /// send something to the root.
    fn leaving(&self, capacity: i64, first: u32, second: u32, join: u32) -> Pivot {
        let mut pivot = Pivot {
            amount: capacity,
            cut: None,
            ends: [first, second],
        };
        for (node, edge) in self.way(first, join) {
            let left = if edge.from == node {
                edge.flow
            } else {
                edge.capacity - edge.flow
            };
            if left < pivot.amount {
                pivot = Pivot {
                    amount: left,
                    cut: Some(node),
                    ends: [first, second],
                };
            }
        }
        for (node, edge) in self.way(second, join) {
            let left = if edge.from == node {
                edge.capacity - edge.flow
            } else {
                edge.flow
            };
            if left <= pivot.amount {
                pivot = Pivot {
                    amount: left,
                    cut: Some(node),
                    ends: [second, first],
                };
            }
        }
        pivot
    }

    /// The nodes below the join with the arcs to their parents.
    fn way(&self, from: u32, join: u32) -> impl Iterator<Item = (u32, Edge)> {
        let up = move |node: &u32| Some(self.hung(*node).parent);
        std::iter::successors(Some(from), up)
            .take_while(move |node| *node != join)
            .map(|node| (node, self.edge(self.hung(node).edge)))
    }

    /// Sends so much up to the join, or down from there where it is negative.
    fn push(&mut self, from: u32, join: u32, amount: i64) {
        let mut node = from;
        while node != join {
            let Hung { edge, parent, .. } = self.hung(node);
            self.at_edge(edge, |edge| {
                edge.flow += if edge.from == node { amount } else { -amount }
            });
            node = parent;
        }
    }

    /// Hangs what is below the cut on another node: every node on the way from there to the cut becomes its parent's parent.
    fn turn(&mut self, lower: u32, upper: u32, entering: u32, cut: u32) {
        let (mut node, mut parent, mut edge) = (lower, upper, entering);
        loop {
            let old = self.hung(node);
            self.unhang(node);
            self.hang(node, parent, edge);
            if node == cut {
                return;
            }
            (node, parent, edge) = (old.parent, node, old.edge);
        }
    }

    /// New potentials and depths for all that hangs on a node.
    fn shift(&mut self, top: u32, by: i64) {
        let mut stack = vec![top];
        while let Some(node) = stack.pop() {
            let depth = self.hung(self.hung(node).parent).depth + 1;
            self.at_node(node, |hung| {
                (hung.potential, hung.depth) = (hung.potential + by, depth)
            });
            let mut child = self.hung(node).child;
            while child != NONE {
                stack.push(child);
                child = self.hung(child).next;
            }
        }
    }

    fn hang(&mut self, node: u32, parent: u32, edge: u32) {
        let next = self.hung(parent).child;
        self.at_node(parent, |hung| hung.child = node);
        self.at_node(next, |hung| hung.before = node);
        self.at_node(node, |hung| {
            (hung.parent, hung.edge, hung.next, hung.before) = (parent, edge, next, NONE)
        });
    }

    fn unhang(&mut self, node: u32) {
        let Hung {
            parent,
            next,
            before,
            ..
        } = self.hung(node);
        match before {
            NONE => self.at_node(parent, |hung| hung.child = next),
            before => self.at_node(before, |hung| hung.next = next),
        }
        self.at_node(next, |hung| hung.before = before);
    }

    fn reduced(&self, edge: &Edge) -> i64 {
        edge.cost + self.hung(edge.from).potential - self.hung(edge.to).potential
    }

    fn edge(&self, index: u32) -> Edge {
        self.edges.get(index as usize).copied().unwrap_or_default()
    }

    fn hung(&self, index: u32) -> Hung {
        const NOWHERE: Hung = Hung {
            supply: 0,
            potential: 0,
            parent: ROOT,
            edge: NONE,
            depth: 0,
            child: NONE,
            next: NONE,
            before: NONE,
        };
        self.nodes.get(index as usize).copied().unwrap_or(NOWHERE)
    }

    fn at_edge(&mut self, index: u32, change: impl FnMut(&mut Edge)) {
        self.edges
            .get_mut(index as usize)
            .into_iter()
            .for_each(change);
    }

    fn at_node(&mut self, index: u32, change: impl FnMut(&mut Hung)) {
        self.nodes
            .get_mut(index as usize)
            .into_iter()
            .for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flows_makes_room_where_that_is_cheaper() {
        let mut network = Network::with_capacity(0);
        let [a, b, x, y, sink] = [3, 2, 0, 0, -5].map(|supply| network.node(supply));
        let ways = [
            network.arc(a, x, 9, 1),
            network.arc(a, y, 9, 2),
            network.arc(b, x, 9, 1),
            network.arc(b, y, 9, 5),
        ];
        network.arc(x, sink, 3, 0);
        network.arc(y, sink, 2, 0);
        assert!(network.solve());
        assert_eq!(ways.map(|arc| network.flow(arc)), [1, 2, 2, 0]);
        assert_eq!(
            network.reduced_cost(ways[3]),
            3,
            "it would push one of the others to where it costs one more, and cost four more itself"
        );
    }

    #[test]
    fn more_than_there_is_room_for_does_not_flow() {
        let mut network = Network::with_capacity(0);
        let [a, sink] = [3, -3].map(|supply| network.node(supply));
        network.arc(a, sink, 2, 1);
        assert!(!network.solve());
    }
}
