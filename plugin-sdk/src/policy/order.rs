//! One shape's candidates from best to worst, found only as far as somebody asks. Most batches need the best few of ten thousand, so each look
//! over the scores finds the next few, more of them each time, and nothing is ever sorted whole.

use std::{collections::BinaryHeap, ops::Range};

/// How many times more the next look finds.
const GROWTH: usize = 8;
/// Scores that are held against the worst of the best at once: one branch for all of them.
const BLOCK: usize = 8;

/// An order that a shape's tasks share.
pub(super) struct Order {
    rows: Range<u32>,
    found: Vec<u32>,
    /// The last that was found: what comes before it is found too.
    last: Option<(Key, u32)>,
    /// How many the next look finds. 0: there are no more.
    next: usize,
    /// How many of the best are known to be full for good.
    full: usize,
}

/// A score as an integer that sorts the same way, with a total order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl Key {
    fn of(score: f64) -> Self {
        let bits = score.to_bits();
        Self(if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        })
    }
}

impl Order {
    pub(super) fn new(rows: Range<u32>) -> Self {
        Self {
            rows,
            found: Vec::new(),
            last: None,
            next: 1,
            full: 0,
        }
    }

    /// The row of the candidate at this place of the order. Equal scores keep their rows' order. Scores are never NaN.
    pub(super) fn get(&mut self, place: usize, scores: &[f64]) -> Option<u32> {
        while self.found.len() <= place && self.next > 0 {
            self.find(scores);
        }
        self.found.get(place).copied()
    }

    pub(super) fn first_with_room(&self) -> usize {
        self.full
    }

    /// Says that the candidate at this place is full for every task of the shape.
    pub(super) fn fill(&mut self, place: usize) {
        if place == self.full {
            self.full += 1;
        }
    }

    /// One look over all scores, for the next few.
    fn find(&mut self, scores: &[f64]) {
        let scores = scores
            .get(self.rows.start as usize..self.rows.end as usize)
            .unwrap_or_default();
        let mut few = Few {
            most: self.next.min(scores.len()),
            after: self.last,
            best: BinaryHeap::new(),
            bar: f64::INFINITY,
        };
        let mut row = self.rows.start;
        let (blocks, rest) = scores.as_chunks::<BLOCK>();
        for block in blocks {
            if block.iter().any(|score| *score <= few.bar) {
                for (at, score) in (row..).zip(block) {
                    few.see(*score, at);
                }
            }
            row += BLOCK as u32;
        }
        for (at, score) in (row..).zip(rest) {
            few.see(*score, at);
        }
        let found = few.best.into_sorted_vec();
        self.next = if found.len() < self.next {
            0
        } else {
            self.next * GROWTH
        };
        self.last = found.last().copied().or(self.last);
        self.found.extend(found.iter().map(|(_, row)| row));
    }
}

/// The best few of what has been seen.
struct Few {
    most: usize,
    /// Only what comes behind it counts.
    after: Option<(Key, u32)>,
    best: BinaryHeap<(Key, u32)>,
    /// What is worse is not among them.
    bar: f64,
}

impl Few {
    fn see(&mut self, score: f64, row: u32) {
        let this = (Key::of(score), row);
        if self.after.is_some_and(|after| this <= after) {
            return;
        }
        if self.best.len() == self.most {
            let Some(mut worst) = self.best.peek_mut().filter(|worst| this < **worst) else {
                return;
            };
            *worst = this;
        } else {
            self.best.push(this);
        }
        if self.best.len() == self.most
            && let Some((worst, _)) = self.best.peek()
        {
            self.bar = worst.score();
        }
    }
}

impl Key {
    fn score(self) -> f64 {
        f64::from_bits(if self.0 >> 63 == 1 {
            self.0 & !(1 << 63)
        } else {
            !self.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_order_of_a_stable_sort_however_far_one_asks() {
        // Few different scores, so that many are equal; both zeros, and what is never used.
        let score = |n: u32| match n.wrapping_mul(2_654_435_761) >> 24 {
            0..20 => f64::MAX,
            20..40 => 0.0,
            40..60 => -0.0,
            other => f64::from(other) - 128.0,
        };
        for count in [0_u32, 1, 7, 8, 9, 64, 1_000] {
            let scores: Vec<f64> = (0..count + 5).map(score).collect();
            let mut sorted: Vec<u32> = (3..3 + count).collect();
            sorted.sort_by(|a, b| scores[*a as usize].total_cmp(&scores[*b as usize]));
            let mut order = Order::new(3..3 + count);
            let found: Vec<u32> = (0..).map_while(|place| order.get(place, &scores)).collect();
            assert_eq!(found, sorted, "{count} candidates");
        }
    }
}
