//! The part of a request that is one namespace's: a shadow is shown nothing of others.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    base::names::Namespace,
    schedule::placement::Placed,
    spec::policy_call::{Candidates, PlacedOffer, Request, Task},
};

/// The tasks of a namespace, their shapes and candidates, and what was chosen for them. What the others of the batch were given is
/// off the offers, so that two sides are compared on the same room. None: the request is about the namespace alone.
pub fn narrow(
    request: &Request,
    placed: &[Placed],
    namespace: &Namespace,
) -> Option<(Request, Vec<Placed>)> {
    if request.tasks.iter().all(|t| t.namespace == *namespace) {
        return None;
    }
    let mut offers: Vec<PlacedOffer> = request.offers.to_vec();
    let (mut tasks, mut kept, mut shapes) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (task, placed) in request.tasks.iter().zip(placed) {
        if task.namespace == *namespace {
            let next = u32::try_from(shapes.len()).unwrap_or(u32::MAX);
            let shape = *shapes.entry(task.shape).or_insert(next);
            tasks.push(Task {
                shape,
                ..task.clone()
            });
            kept.push(placed.clone());
        } else {
            take_room(&mut offers, request, task, placed);
        }
    }
    let mut by_new: Vec<(u32, u32)> = shapes.into_iter().map(|(old, new)| (new, old)).collect();
    by_new.sort_unstable();
    let mut candidates = Candidates {
        start: vec![0],
        ..Candidates::default()
    };
    for (_, old) in &by_new {
        copy(&mut candidates, &request.candidates, *old);
    }
    let shapes = by_new
        .iter()
        .filter_map(|(_, old)| request.shapes.get(*old as usize).cloned())
        .collect();
    Some((
        Request {
            seed: request.seed,
            tasks,
            shapes,
            candidates,
            offers: Arc::new(offers),
        },
        kept,
    ))
}

fn take_room(offers: &mut [PlacedOffer], request: &Request, task: &Task, placed: &Placed) {
    for choice in &placed.choices {
        let held: u32 = task
            .current
            .iter()
            .filter(|(offer, _)| *offer == choice.offer)
            .map(|(_, n)| *n)
            .sum();
        let added = choice.replicas.saturating_sub(held);
        let Some(PlacedOffer { offer, .. }) = offers.get_mut(choice.offer as usize) else {
            continue;
        };
        if offer.capacity != u32::MAX {
            offer.capacity = offer.capacity.saturating_sub(added);
        }
        if let Some(shape) = request
            .shapes
            .get(task.shape as usize)
            .filter(|_| offer.shared)
        {
            let added = u64::from(added);
            offer.free_cpu = offer
                .free_cpu
                .saturating_sub(added.saturating_mul(u64::from(shape.resources.cpu.0)));
            offer.free_memory = offer
                .free_memory
                .saturating_sub(added.saturating_mul(shape.resources.memory.0));
        }
    }
}

/// Appends a shape's candidates.
fn copy(to: &mut Candidates, from: &Candidates, shape: u32) {
    fn rows<T: Copy>(to: &mut Vec<T>, from: &[T], range: &std::ops::Range<usize>) {
        to.extend_from_slice(from.get(range.clone()).unwrap_or_default());
    }
    let range = from.of(shape);
    rows(&mut to.offer, &from.offer, &range);
    rows(&mut to.cost, &from.cost, &range);
    rows(&mut to.expected, &from.expected, &range);
    rows(&mut to.hourly, &from.hourly, &range);
    rows(&mut to.units, &from.units, &range);
    rows(&mut to.hours, &from.hours, &range);
    to.start
        .push(u32::try_from(to.offer.len()).unwrap_or(u32::MAX));
}
