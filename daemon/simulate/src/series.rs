//! What happened over time, in rows of equal length. Every entry is a sum, so that rows can be joined when there are too many of them.

use tradewind_core::units::Millis;

/// The finest step that is chosen unasked, and by what it grows: 1 s, 10 s, 1 min, 5 min, 15 min, 1 h, 6 h, 1 day, then doubled.
const FINEST: u64 = 1000;
const GROWTH: [u64; 7] = [10, 6, 5, 3, 4, 6, 4];
/// More rows say no more in a chart.
const MOST_ROWS: usize = 1000;
/// Those who ask for a step may have more.
const MOST_ASKED_FOR: usize = 100_000;

/// Of cores (thousandths), memory (bytes) and accelerators, each multiplied by milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Millicores × milliseconds.
    pub cpu: u128,
    /// Bytes × milliseconds.
    pub memory: u128,
    /// Accelerators × milliseconds.
    pub accelerators: u128,
}

impl Amounts {
    pub(super) fn add(&mut self, level: &Self, times: u128) {
        self.cpu += level.cpu * times;
        self.memory += level.memory * times;
        self.accelerators += level.accelerators * times;
    }

    fn join(&mut self, other: &Self) {
        self.add(other, 1);
    }
}

/// What happened in one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Micro-USD.
    pub cost: u64,
    /// Used of all offers.
    pub used: Amounts,
    /// Used of offers whose capacity is known.
    pub bounded: Amounts,
    /// The capacity of the offers whose capacity is known.
    pub capacity: Amounts,
    /// Replicas × milliseconds.
    pub running: u128,
    /// Tasks × milliseconds.
    pub waiting: u128,
    /// The most tasks that waited at once.
    pub most_waiting: u32,
    /// Tasks whose time came.
    pub arrived: u32,
    /// Tasks whose last replica ran to its end.
    pub ended: u32,
    /// Replicas.
    pub preempted: u32,
    /// Replicas.
    pub interrupted: u32,
}

impl Row {
    pub(super) fn join(&mut self, other: &Self) {
        self.cost += other.cost;
        self.used.join(&other.used);
        self.bounded.join(&other.bounded);
        self.capacity.join(&other.capacity);
        self.running += other.running;
        self.waiting += other.waiting;
        self.most_waiting = self.most_waiting.max(other.most_waiting);
        self.arrived += other.arrived;
        self.ended += other.ended;
        self.preempted += other.preempted;
        self.interrupted += other.interrupted;
    }
}

/// The rows from the start on, each a step long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    step: u64,
    most: usize,
    growth: usize,
    rows: Vec<Row>,
}

impl Series {
    /// With the step that was asked for, else with the finest that gives a readable number of rows.
    pub(super) fn new(step: Option<Millis>) -> Self {
        let (step, most, growth) = step.map_or((FINEST, MOST_ROWS, 0), |s| {
            (s.0.max(1), MOST_ASKED_FOR, GROWTH.len())
        });
        Self {
            step,
            most,
            growth,
            rows: Vec::new(),
        }
    }

    /// The length of a row.
    pub fn step(&self) -> Millis {
        Millis(self.step)
    }

    /// The rows, of which the first begins with the trace.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a point in time.
    pub(super) fn note(&mut self, at: u64, add: impl FnOnce(&mut Row)) {
        let mut add = Some(add);
        self.spread(at, at.saturating_add(1), |row, _, _| {
            if let Some(add) = add.take() {
                add(row);
            }
        });
    }

    /// Every row that a span touches, with the part of the span in it: its beginning and its end.
    pub(super) fn spread(&mut self, from: u64, to: u64, mut add: impl FnMut(&mut Row, u64, u64)) {
        if to <= from {
            return;
        }
        self.reach(to - 1);
        let step = self.step;
        let first = from / step;
        let rows = self
            .rows
            .iter_mut()
            .skip(usize::try_from(first).unwrap_or(usize::MAX));
        for (i, row) in (first..).zip(rows) {
            let begin = i * step;
            if begin >= to {
                break;
            }
            add(row, from.max(begin), to.min(begin + step));
        }
    }

    fn reach(&mut self, at: u64) {
        while at / self.step >= self.most as u64 {
            let factor = GROWTH.get(self.growth).copied().unwrap_or(2);
            self.growth += 1;
            self.step *= factor;
            let joined = self
                .rows
                .chunks(usize::try_from(factor).unwrap_or(2))
                .map(|rows| {
                    let mut all = Row::default();
                    rows.iter().for_each(|row| all.join(row));
                    all
                });
            self.rows = joined.collect();
        }
        let wanted = usize::try_from(at / self.step)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
            .min(self.most);
        if self.rows.len() < wanted {
            self.rows.resize(wanted, Row::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_rows_lose_nothing() {
        let mut series = Series::new(None);
        let hours = 3_600_000;
        // An hour fits into 1000 rows of 10 s; a thousand hours into 1000 rows of an hour.
        for (from, to, step) in [
            (500, hours, 10_000),
            (1000, 1000 * hours, hours),
            (0, 1001 * hours, 6 * hours),
        ] {
            series.spread(from, to, |row, a, b| row.running += u128::from(b - a));
            assert_eq!(series.step(), Millis(step));
        }
        let total: u128 = series.rows().iter().map(|r| r.running).sum();
        assert_eq!(total, u128::from(2001 * hours - 1500 + hours));
        series.note(7 * hours, |row| row.arrived += 1);
        assert_eq!(
            series
                .rows()
                .iter()
                .map(|r| r.arrived)
                .collect::<Vec<_>>()
                .get(..2),
            Some(&[0, 1][..])
        );
    }
}
