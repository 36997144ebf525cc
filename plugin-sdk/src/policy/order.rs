//! One shape's candidates from best to worst, found only as far as somebody asks. Most batches need the best few of ten thousand, so the
//! first is found by a scan, the next ones come from a heap, and nothing is ever sorted whole.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

/// An order that a shape's tasks share.
pub(super) struct Order {
    rows: Range<u32>,
    found: Vec<u32>,
    rest: Option<BinaryHeap<Reverse<(Key, u32)>>>,
    /// How many of the best are known to be full for good.
    full: usize,
}

/// A score as an integer that sorts the same way: integers compare quicker, and have a total order.
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
            rest: None,
            full: 0,
        }
    }

    /// The row of the candidate at this place of the order. Equal scores keep their rows' order.
    pub(super) fn get(&mut self, place: usize, scores: &[f64]) -> Option<u32> {
        while self.found.len() <= place {
            let next = if self.found.is_empty() {
                self.best(scores)
            } else {
                self.next(scores)
            }?;
            self.found.push(next);
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

    fn slice<'a>(&self, scores: &'a [f64]) -> &'a [f64] {
        scores
            .get(self.rows.start as usize..self.rows.end as usize)
            .unwrap_or_default()
    }

    fn best(&self, scores: &[f64]) -> Option<u32> {
        let mut best: Option<(f64, u32)> = None;
        for (row, score) in (self.rows.start..).zip(self.slice(scores)) {
            if best.is_none_or(|(least, _)| *score < least) {
                best = Some((*score, row));
            }
        }
        best.map(|(_, row)| row)
    }

    fn next(&mut self, scores: &[f64]) -> Option<u32> {
        let best = self.found.first().copied();
        let pairs = (self.rows.start..)
            .zip(self.slice(scores))
            .filter(|(row, _)| Some(*row) != best);
        let rest = self.rest.get_or_insert_with(|| {
            pairs
                .map(|(row, score)| Reverse((Key::of(*score), row)))
                .collect::<Vec<_>>()
                .into()
        });
        rest.pop().map(|Reverse((_, row))| row)
    }
}
