//! Prices for room: what the flow can't see, rooms that are shared by replicas of different sizes, limits the batch through prices for
//! millicores and bytes (Lagrangian relaxation; Fisher, *Management Science* 27, 1981). Whatever the prices are, what every class would pay
//! at least, less what all the room is worth, is a bound for the batch. The volume algorithm raises it: steps along averaged subgradients
//! (Barahona and Anbil, *Mathematical Programming* 87, 2000). Good prices also lead to good answers.

use std::collections::BTreeMap;

use crate::{
    model::{Class, Column, Model},
    relaxation::{self, Relaxed},
};

/// The most columns that are looked at in all steps together: the limit of work.
const WORK: usize = 100_000_000;
/// The most steps.
const STEPS: usize = 600;
/// So many times the best prices are shown.
const LOOKS: usize = 4;
/// So many steps without a better bound make the steps shorter.
const PATIENCE: usize = 6;
/// The weight of the last step in the averages.
const MEMORY: f64 = 0.1;
/// How far a sum of floating-point numbers can be from what it should be, relative to its parts.
const ROUNDING: f64 = 1e-11;

/// One replica's part of an offer, and the price of all of it: replicas, millicores and bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Offer {
    /// Of one replica, one millicore and one byte; nothing where there is no limit.
    part: [f64; 3],
    /// Micro-USD for all there is.
    price: [f64; 3],
    /// The part that is used, and its average over the steps.
    used: [f64; 3],
    mean: [f64; 3],
}

/// What a level may leave without a place, as an offer of its own.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    most: f64,
    /// Micro-USD for all that may be left.
    price: f64,
    /// The part that is left, and its average over the steps.
    used: f64,
    mean: f64,
}

impl Level {
    fn part(self) -> f64 {
        if self.most > 0.0 {
            1.0 / self.most
        } else {
            0.0
        }
    }
}

/// Prices, and what they prove.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    offers: Vec<Offer>,
    levels: Vec<Level>,
    /// The most that a replica of each class pays for its place.
    dearest: Vec<f64>,
    /// Micro-USD that the batch can't cost less than.
    pub(crate) bound: i64,
}

impl Offer {
    /// What one replica pays for its room.
    fn each(&self, (cpu, memory): (f64, f64)) -> f64 {
        let [replica, millicore, byte] =
            [0, 1, 2].map(|i| self.part.get(i).unwrap_or(&0.0) * self.price.get(i).unwrap_or(&0.0));
        replica + millicore * cpu + byte * memory
    }
}

/// Whether prices for room can prove more than the flow does.
pub(crate) fn matter(model: &Model<'_>) -> bool {
    model.columns().any(|(_, column)| {
        let room = model.room(column.offer);
        !column.held && (room.cpu != u64::MAX || room.memory != u64::MAX)
    })
}

/// Raises the flow's bound towards the cost of the best answer, and shows the best prices every now and then to a finder of answers, which
/// says what the best one costs now.
pub(crate) fn raise(
    model: &Model<'_>,
    unplaced: &[u32],
    flow: &Relaxed,
    best: i64,
    mut find: impl FnMut(&Prices) -> i64,
) -> Option<Prices> {
    let mut now = Prices::of(model, unplaced, flow);
    now.look(model)?;
    now.average(1.0);
    let (mut proven, mut best, mut length, mut waited) = (now.clone(), best, 0.5, 0);
    let steps = (WORK / model.columns().count().max(1)).clamp(1, STEPS);
    for step in 1..=steps {
        let gap = (best - proven.bound).min(proven.bound / 20 + 1);
        if gap <= 0 || !now.step_from(&proven, length * gap as f64) {
            break;
        }
        now.look(model)?;
        now.average(MEMORY);
        waited += 1;
        if now.bound > proven.bound {
            proven.clone_from(&now);
            (length, waited) = (f64::min(length * 1.1, 2.0), 0);
        } else if waited >= PATIENCE {
            (length, waited) = (length * 0.66, 0);
        }
        if step * LOOKS % steps < LOOKS {
            best = best.min(find(&proven));
        }
    }
    Some(proven)
}

impl Prices {
    fn of(model: &Model<'_>, unplaced: &[u32], flow: &Relaxed) -> Self {
        let most = relaxation::most_replicas(model);
        let count = most.keys().last().map_or(0, |last| *last as usize + 1);
        let mut offers = vec![Offer::default(); count];
        for (offer, replicas) in most {
            let Some(known) = offers.get_mut(offer as usize) else {
                continue;
            };
            let room = model.room(offer);
            let part = |limited: bool, most: f64| {
                if limited && most > 0.0 {
                    1.0 / most
                } else {
                    0.0
                }
            };
            known.part = [
                part(replicas != u32::MAX, f64::from(replicas)),
                part(room.cpu != u64::MAX, room.cpu as f64),
                part(room.memory != u64::MAX, room.memory as f64),
            ];
            let [price, ..] = &mut known.price;
            *price = if replicas == u32::MAX {
                0.0
            } else {
                flow.offers
                    .get(&offer)
                    .map_or(0.0, |price| *price as f64 * f64::from(replicas))
            };
        }
        let level = |(most, price): (&u32, &i64)| Level {
            most: f64::from(*most),
            price: *price as f64 * f64::from(*most),
            used: 0.0,
            mean: 0.0,
        };
        Self {
            offers,
            levels: unplaced.iter().zip(&flow.levels).map(level).collect(),
            dearest: Vec::new(),
            bound: 0,
        }
    }

    /// What a replica of a class pays for its room on an offer, in micro-USD.
    pub(crate) fn room(&self, offer: u32, (cpu, memory): (u64, u64)) -> f64 {
        self.offers
            .get(offer as usize)
            .map_or(0.0, |offer| offer.each((cpu as f64, memory as f64)))
    }

    /// Lets every class choose by these prices: the bound, and what is used.
    fn look(&mut self, model: &Model<'_>) -> Option<()> {
        self.offers
            .iter_mut()
            .for_each(|offer| offer.used = [0.0; 3]);
        self.levels.iter_mut().for_each(|level| level.used = 0.0);
        self.dearest.clear();
        let (mut sum, mut size) = (0.0, 0.0);
        for class in &model.classes {
            let paid = self.choose(model, class)?;
            sum += paid;
            size += paid.abs();
        }
        let worth: f64 = self
            .offers
            .iter()
            .flat_map(|offer| offer.price)
            .sum::<f64>()
            + self.levels.iter().map(|level| level.price).sum::<f64>();
        let bound = (sum - worth) - (size + worth) * ROUNDING;
        self.bound = bound.ceil() as i64;
        Some(())
    }

    /// What a replica in a column that has none adds at least: in place of its class's dearest one.
    pub(crate) fn reduced(&self, model: &Model<'_>) -> Vec<i64> {
        let of_class = |(class, dearest): (&Class<'_>, &f64)| {
            let size = sizes(class);
            let reduced = class.columns.iter().map(move |column| {
                ((self.price(column, size) - dearest) * (1.0 - ROUNDING)).max(0.0) as i64
            });
            reduced.collect::<Vec<_>>()
        };
        model
            .classes
            .iter()
            .zip(&self.dearest)
            .flat_map(of_class)
            .collect()
    }

    fn price(&self, column: &Column, size: (f64, f64)) -> f64 {
        let room = self
            .offers
            .get(column.offer as usize)
            .filter(|_| !column.held)
            .map_or(0.0, |offer| offer.each(size));
        column.cost as f64 + room
    }

    /// The cheapest places of one class. Nothing when it has too few.
    fn choose(&mut self, model: &Model<'_>, class: &Class<'_>) -> Option<f64> {
        let size = sizes(class);
        let skip = self
            .levels
            .get(class.level)
            .filter(|level| level.most > 0.0);
        let skip = skip.map(|level| class.skip_cost as f64 + level.price * level.part());
        let (mut left, mut paid, mut dearest) = (class.demand, 0.0, f64::NEG_INFINITY);
        for (column, price, most) in self.cheapest(model, class, size) {
            if left == 0 || skip.is_some_and(|skip| skip <= price) {
                break;
            }
            let some = most.min(left);
            left -= some;
            paid += price * f64::from(some);
            dearest = price;
            if let Some(offer) = self
                .offers
                .get_mut(column.offer as usize)
                .filter(|_| !column.held)
            {
                for ((used, part), each) in offer
                    .used
                    .iter_mut()
                    .zip(offer.part)
                    .zip([1.0, size.0, size.1])
                {
                    *used += part * each * f64::from(some);
                }
            }
        }
        if left > 0 {
            (dearest, paid) = (skip?, paid + skip? * f64::from(left));
            if let Some(level) = self.levels.get_mut(class.level) {
                level.used += f64::from(left) * level.part();
            }
        }
        self.dearest.push(dearest);
        Some(paid)
    }

    /// A class's columns by price as far as they can matter, each with how many replicas of the class it takes.
    fn cheapest<'c>(
        &self,
        model: &Model<'_>,
        class: &'c Class<'_>,
        size: (f64, f64),
    ) -> Vec<(&'c Column, f64, u32)> {
        let by_price = |a: &(&Column, f64, u32), b: &(&Column, f64, u32)| {
            a.1.total_cmp(&b.1).then(a.0.row.cmp(&b.0.row))
        };
        // Every column that is used takes one replica at least; only spreads may shut one.
        let needed = if class.spread.is_some() {
            usize::MAX
        } else {
            class.demand as usize
        };
        let mut order: Vec<(&'c Column, f64, u32)> = Vec::new();
        let mut most = f64::INFINITY;
        for column in &class.columns {
            let price = self.price(column, size);
            if price < most || order.len() < needed {
                order.push((column, price, column.upper));
                if order.len() >= needed.saturating_mul(2).saturating_add(16) {
                    let (_, last, _) = order.select_nth_unstable_by(needed, by_price);
                    most = last.1;
                    order.truncate(needed);
                }
            }
        }
        order.sort_unstable_by(by_price);
        let mut domains = BTreeMap::new();
        for (column, _, upper) in &mut order {
            if let Some((domain, most)) = class.domain(model.request.offer(column.offer)) {
                let left = domains.entry(domain).or_insert(most);
                *upper = (*upper).min(*left).min(class.demand);
                *left -= *upper;
            }
        }
        order
    }

    /// From the best prices so far: dearer where on the average of the last steps too much is used, cheaper where something is left. Says
    /// whether there was anything to change.
    fn step_from(&mut self, best: &Self, length: f64) -> bool {
        let rooms = self
            .offers
            .iter_mut()
            .zip(&best.offers)
            .flat_map(|(offer, best)| {
                let limited = offer.part.map(|part| part > 0.0);
                offer
                    .price
                    .iter_mut()
                    .zip(best.price)
                    .zip(offer.mean)
                    .zip(limited)
                    .filter(|(_, limited)| *limited)
                    .map(|(price, _)| price)
            });
        let levels = self
            .levels
            .iter_mut()
            .zip(&best.levels)
            .filter(|(level, _)| level.most > 0.0);
        let levels = levels.map(|(level, best)| ((&mut level.price, best.price), level.mean));
        let mut changes: Vec<((&mut f64, f64), f64)> = rooms.chain(levels).collect();
        let counts = |((_, best), mean): &&((&mut f64, f64), f64)| *best > 0.0 || *mean > 1.0;
        let norm: f64 = changes
            .iter()
            .filter(counts)
            .map(|(_, mean)| (mean - 1.0) * (mean - 1.0))
            .sum();
        if norm < 1e-9 {
            return false;
        }
        for ((price, best), mean) in &mut changes {
            **price = (*best + length / norm * (*mean - 1.0)).max(0.0);
        }
        true
    }

    /// Takes what was used last into the averages.
    fn average(&mut self, weight: f64) {
        let rooms = self
            .offers
            .iter_mut()
            .flat_map(|offer| offer.mean.iter_mut().zip(offer.used));
        let levels = self
            .levels
            .iter_mut()
            .map(|level| (&mut level.mean, level.used));
        rooms
            .chain(levels)
            .for_each(|(mean, used)| *mean += weight * (used - *mean));
    }
}

/// Millicores and bytes of one replica.
fn sizes(class: &Class<'_>) -> (f64, f64) {
    let (cpu, memory) = class.size();
    (cpu as f64, memory as f64)
}
