//! Small changes that make an answer cheaper: a replica goes to a cheaper place, if need be to that of another replica, which goes somewhere
//! else. Only replicas without ties take part: no spread, no limit per hour, no affinity, nothing that runs already.

use crate::model::{Class, Column, Model, Room};

/// The most columns that are looked at: the limit of work.
const WORK: u64 = 30_000_000;

/// A column of a class, and where its count is.
#[derive(Debug, Clone, Copy)]
struct Place {
    class: usize,
    column: Column,
    at: usize,
}

struct Polish {
    /// Millicores and bytes of one replica of each class.
    sizes: Vec<(u64, u64)>,
    /// Each class's columns, the cheapest first; none of a class that takes no part.
    places: Vec<Vec<Place>>,
    /// Where replicas are that take part, by offer.
    guests: Vec<Vec<Place>>,
    counts: Vec<u32>,
    /// What offers have left.
    rooms: Vec<Room>,
    work: u64,
}

/// Replicas of each column that cost less in all, if there is a small change that makes them do so.
pub(crate) fn improve(model: &Model<'_>, counts: &[u32]) -> Option<Vec<u32>> {
    let mut polish = Polish::new(model, counts);
    let mut better = false;
    while polish.pass() {
        better = true;
    }
    better.then_some(polish.counts)
}

/// Whether the replicas of a class have no ties.
pub(crate) fn is_free(class: &Class<'_>) -> bool {
    let tied = class.tasks.first().is_none_or(|task| {
        task.affinity().is_some()
            || task.anti_affinity().is_some()
            || task.current().next().is_some()
    });
    class.spread.is_none() && class.budget.is_none() && !tied
}

impl Polish {
    fn new(model: &Model<'_>, counts: &[u32]) -> Self {
        let offers = model
            .columns()
            .map(|(_, column)| column.offer + 1)
            .max()
            .unwrap_or(0);
        let mut polish = Self {
            sizes: model.classes.iter().map(Class::size).collect(),
            places: Vec::new(),
            guests: vec![Vec::new(); offers as usize],
            counts: counts.to_vec(),
            rooms: (0..offers).map(|offer| model.room(offer)).collect(),
            work: 0,
        };
        let mut at = 0;
        for (index, class) in model.classes.iter().enumerate() {
            let free = is_free(class);
            let place = |(column, at): (&Column, usize)| Place {
                class: index,
                column: *column,
                at,
            };
            let mut places: Vec<Place> = class.columns.iter().zip(at..).map(place).collect();
            at += places.len();
            for place in places.iter().filter(|place| !place.column.held) {
                let count = polish.count(place);
                polish.take(place, count);
                if free && count > 0 {
                    polish.invite(*place);
                }
            }
            places.sort_unstable_by_key(|place| (place.column.cost, place.column.row));
            polish.places.push(if free { places } else { Vec::new() });
        }
        polish
    }

    /// Tries every replica once. Says whether anything is better now.
    fn pass(&mut self) -> bool {
        let all: Vec<Place> = self.guests.iter().flatten().copied().collect();
        let mut better = false;
        for place in all {
            while self.count(&place) > 0 && self.work < WORK && self.relocate(&place) {
                better = true;
            }
        }
        better
    }

    /// Brings one replica to a cheaper place, where there is room or somebody goes elsewhere for less than that saves.
    fn relocate(&mut self, from: &Place) -> bool {
        self.leave(from);
        for i in 0.. {
            let Some(to) = self
                .place(from.class, i)
                .filter(|to| to.column.cost < from.column.cost && self.work < WORK)
            else {
                break;
            };
            self.work += 1;
            if self.count(&to) < to.column.upper
                && (self.enter(&to) || self.displace(&to, from.column.cost - to.column.cost))
            {
                return true;
            }
        }
        // It was there before.
        self.enter(from);
        false
    }

    /// Brings a replica to a place that another leaves, for which that costs less than the gain.
    fn displace(&mut self, to: &Place, gain: i64) -> bool {
        for g in 0.. {
            let Some(guest) = self
                .guests
                .get(to.column.offer as usize)
                .and_then(|guests| guests.get(g))
                .copied()
            else {
                return false;
            };
            self.work += 1;
            if guest.class == to.class || self.count(&guest) == 0 {
                continue;
            }
            self.leave(&guest);
            if self.enter(to) {
                for i in 0.. {
                    let Some(other) = self
                        .place(guest.class, i)
                        .filter(|other| other.column.cost - guest.column.cost < gain)
                    else {
                        break;
                    };
                    self.work += 1;
                    if other.at != guest.at
                        && self.count(&other) < other.column.upper
                        && self.enter(&other)
                    {
                        return true;
                    }
                }
                self.leave(to);
            }
            self.enter(&guest);
        }
        false
    }

    /// One replica more, if it fits.
    fn enter(&mut self, place: &Place) -> bool {
        let Some(room) = self.rooms.get(place.column.offer as usize).copied() else {
            return false;
        };
        let (cpu, memory) = self.sizes.get(place.class).copied().unwrap_or_default();
        if room.replicas == 0 || room.cpu < cpu || room.memory < memory {
            return false;
        }
        self.take(place, 1);
        if let Some(count) = self.counts.get_mut(place.at) {
            *count += 1;
        }
        self.invite(*place);
        true
    }

    /// One replica less.
    fn leave(&mut self, place: &Place) {
        let (cpu, memory) = self.sizes.get(place.class).copied().unwrap_or_default();
        let back = |room: &mut u64, some: u64| {
            *room = if *room == u64::MAX {
                u64::MAX
            } else {
                *room + some
            }
        };
        if let (Some(room), Some(count)) = (
            self.rooms.get_mut(place.column.offer as usize),
            self.counts.get_mut(place.at),
        ) {
            *count -= 1;
            room.replicas = if room.replicas == u32::MAX {
                u32::MAX
            } else {
                room.replicas + 1
            };
            back(&mut room.cpu, cpu);
            back(&mut room.memory, memory);
        }
    }

    fn take(&mut self, place: &Place, count: u32) {
        let (cpu, memory) = self.sizes.get(place.class).copied().unwrap_or_default();
        let some = |room: &mut u64, each: u64| {
            if *room != u64::MAX {
                *room = room.saturating_sub(each.saturating_mul(u64::from(count)));
            }
        };
        if let Some(room) = self.rooms.get_mut(place.column.offer as usize) {
            room.replicas = if room.replicas == u32::MAX {
                u32::MAX
            } else {
                room.replicas.saturating_sub(count)
            };
            some(&mut room.cpu, cpu);
            some(&mut room.memory, memory);
        }
    }

    fn invite(&mut self, place: Place) {
        if let Some(guests) = self.guests.get_mut(place.column.offer as usize)
            && guests.iter().all(|guest| guest.at != place.at)
        {
            guests.push(place);
        }
    }

    fn count(&self, place: &Place) -> u32 {
        self.counts.get(place.at).copied().unwrap_or(0)
    }

    fn place(&self, class: usize, index: usize) -> Option<Place> {
        self.places.get(class)?.get(index).copied()
    }
}
