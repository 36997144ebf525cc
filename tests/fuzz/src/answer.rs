//! The answer of a policy, as it comes from the plugin.

use std::{collections::BTreeMap, sync::Arc};

use arbitrary::{Arbitrary, Result, Unstructured};
use tradewind_core::{
    offer::Offer,
    placement::{
        Answer, Candidates, Group, Placed, PlacedOffer, Request, Shape, Spread, Task, certify,
        validate,
    },
    units::{Bytes, MicroUsd, MilliCpu, Millis},
    workload::Resources,
};

/// An answer that is accepted breaks no hard constraint of its request, and every replica is accounted for.
pub fn answer(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let Ok(request) = request(&mut data) else {
        return;
    };
    let Ok(answer) = answer_to(&request, &mut data) else {
        return;
    };
    if let Ok(placed) = validate(&request, &answer) {
        holds(&request, &answer, &placed);
        certify(&request, &placed, answer.lower_bound);
    }
}

/// Small numbers meet their limits more often than large ones.
fn number(data: &mut Unstructured) -> Result<u32> {
    if data.ratio(1u8, 16u8)? {
        u32::arbitrary(data)
    } else {
        data.int_in_range(0..=5)
    }
}

fn amount(data: &mut Unstructured) -> Result<u64> {
    if data.ratio(1u8, 16u8)? {
        u64::arbitrary(data)
    } else {
        data.int_in_range(0..=20)
    }
}

fn spread(data: &mut Unstructured) -> Result<Spread> {
    let all = [Spread::None, Spread::Zone, Spread::Region, Spread::Provider];
    data.choose(&all).copied()
}

fn group(data: &mut Unstructured) -> Result<Option<Group>> {
    if data.ratio(3u8, 4u8)? {
        return Ok(None);
    }
    let over = *data.choose(&[Spread::Zone, Spread::Region, Spread::Provider])?;
    let word = (*data.choose(&["default/a", "default/b"])?).to_owned();
    Ok(Some(Group { word, over }))
}

/// At least one.
fn several<T>(
    data: &mut Unstructured,
    most: usize,
    mut one: impl FnMut(&mut Unstructured) -> Result<T>,
) -> Result<Vec<T>> {
    let count = data.int_in_range(1..=most)?;
    (0..count).map(|_| one(data)).collect()
}

/// A request as the daemon makes them: everything that it says of itself is consistent.
fn request(data: &mut Unstructured) -> Result<Request> {
    let offers = several(data, 4, offer)?;
    let shapes = several(data, 3, shape)?;
    let mut candidates = Candidates {
        start: vec![0],
        ..Candidates::default()
    };
    for _ in &shapes {
        for offer in 0..offers.len() as u32 {
            if data.ratio(3u8, 4u8)? {
                candidates.offer.push(offer);
                candidates.cost.push(amount(data)?);
                candidates.hourly.push(amount(data)?);
                candidates.units.push(1.0);
                candidates.hours.push(1.0);
            }
        }
        candidates.start.push(candidates.offer.len() as u32);
    }
    candidates.expected = candidates.cost.clone();
    let mut tasks = several(data, 3, |data| task(data, shapes.len(), offers.len()))?;
    for (i, task) in tasks.iter_mut().enumerate() {
        task.name = format!("t{i}").parse().expect("a name");
    }
    Ok(Request {
        seed: 0,
        tasks,
        shapes,
        candidates,
        offers: Arc::new(offers),
    })
}

fn offer(data: &mut Unstructured) -> Result<PlacedOffer> {
    let price = MicroUsd(amount(data)?);
    let mut offer = Offer::new("o", MilliCpu(number(data)?), Bytes(amount(data)?), price);
    offer.region = Arc::from(*data.choose(&["r", "s"])?);
    offer.zone = Arc::from(*data.choose(&["", "z"])?);
    offer.shared = bool::arbitrary(data)?;
    if data.ratio(1u8, 3u8)? {
        offer.capacity = number(data)?;
    }
    if data.ratio(1u8, 3u8)? {
        (offer.free_cpu, offer.free_memory) = (amount(data)?, amount(data)?);
    }
    let provider = *data.choose(&["a", "b"])?;
    Ok(PlacedOffer {
        provider: provider.parse().expect("a name"),
        offer,
    })
}

fn shape(data: &mut Unstructured) -> Result<Shape> {
    Ok(Shape {
        resources: Resources {
            cpu: MilliCpu(number(data)?),
            memory: Bytes(amount(data)?),
            disk: Bytes(0),
            accelerators: Vec::new(),
        },
        duration: Millis(3_600_000),
    })
}

fn task(data: &mut Unstructured, shapes: usize, offers: usize) -> Result<Task> {
    let mut current = BTreeMap::new();
    for offer in 0..offers as u32 {
        if data.ratio(1u8, 4u8)? {
            current.insert(offer, data.int_in_range(1..=3)?);
        }
    }
    Ok(Task {
        namespace: "default".parse().expect("a name"),
        deployment: "d".parse().expect("a name"),
        name: "t".parse().expect("a name"),
        shape: data.int_in_range(0..=shapes - 1)? as u32,
        replicas: number(data)?,
        priority: 0,
        job: bool::arbitrary(data)?,
        spread: spread(data)?,
        spread_max: if data.ratio(2u8, 3u8)? {
            u32::MAX
        } else {
            number(data)?
        },
        max_hourly: if data.ratio(2u8, 3u8)? {
            MicroUsd::MAX
        } else {
            MicroUsd(amount(data)?)
        },
        current: current.into_iter().collect(),
        labels: Default::default(),
        affinity: group(data)?,
        anti_affinity: group(data)?,
        deadline: None,
        expected: Default::default(),
    })
}

/// Any answer at all, but mostly such as might pass: others would not get far.
fn answer_to(request: &Request, data: &mut Unstructured) -> Result<Answer> {
    let mut answer = Answer::default();
    for (task, wanted) in (0u32..).zip(&request.tasks) {
        let candidates = &request.candidates.offer[request.candidates.of(wanted.shape)];
        for offer in candidates {
            if bool::arbitrary(data)? {
                answer.task.push(task);
                answer.offer.push(*offer);
                let most = wanted.replicas.clamp(1, 3);
                answer.replicas.push(data.int_in_range(1..=most)?);
            }
        }
    }
    if data.ratio(1u8, 8u8)? {
        answer.task.push(index(request.tasks.len(), data)?);
        answer.offer.push(index(request.offers.len(), data)?);
        answer.replicas.push(number(data)?);
    }
    if data.ratio(1u8, 16u8)? {
        answer.offer.pop();
    }
    if data.ratio(1u8, 4u8)? {
        let rows = request.candidates.offer.len() + usize::from(data.ratio(1u8, 8u8)?);
        for _ in 0..rows {
            answer.scores.push(f64::arbitrary(data)?);
        }
    }
    if data.ratio(1u8, 4u8)? {
        let reason = String::arbitrary(data)?;
        let task = index(request.tasks.len(), data)?;
        answer.unplaced.push((task, number(data)?, reason));
    }
    answer.lower_bound = Option::<u64>::arbitrary(data)?.map(MicroUsd);
    Ok(answer)
}

/// Mostly one that is there.
fn index(count: usize, data: &mut Unstructured) -> Result<u32> {
    if data.ratio(1u8, 32u8)? {
        u32::arbitrary(data)
    } else {
        Ok(data.int_in_range(0..=count - 1)? as u32)
    }
}

/// Where a replica is, as far as this kind of domain tells places apart.
fn domain(over: Spread, placed: &PlacedOffer) -> (&str, &str, &str) {
    let (provider, offer) = (placed.provider.as_str(), &placed.offer);
    match over {
        Spread::None => ("", "", ""),
        Spread::Provider => (provider, "", ""),
        Spread::Region => (provider, &offer.region, ""),
        Spread::Zone => (provider, &offer.region, &offer.zone),
    }
}

fn holds(request: &Request, answer: &Answer, placed: &[Placed]) {
    let said = || format!("{answer:?}\n{request:?}");
    assert_eq!(placed.len(), request.tasks.len(), "{}", said());
    let place = |offer: u32| &request.offers[offer as usize];
    for (task, placed) in request.tasks.iter().zip(placed) {
        let given: u64 = placed.choices.iter().map(|c| u64::from(c.replicas)).sum();
        let without = placed.unplaced.as_ref().map_or(0, |(n, _)| u64::from(*n));
        assert_eq!(given + without, u64::from(task.replicas), "{}", said());

        let column = request.candidates.of(task.shape);
        let mut hourly = 0u128;
        let mut domains = BTreeMap::new();
        for choice in &placed.choices {
            let row = column
                .clone()
                .find(|row| request.candidates.offer[*row] == choice.offer)
                .unwrap_or_else(|| panic!("no candidate: {}", said()));
            let rate = request.candidates.hourly[row];
            hourly += u128::from(rate) * u128::from(choice.replicas);
            *domains
                .entry(domain(task.spread, place(choice.offer)))
                .or_insert(0u64) += u64::from(choice.replicas);
        }
        if task.max_hourly != MicroUsd::MAX {
            assert!(hourly <= u128::from(task.max_hourly.0), "{}", said());
        }
        if task.spread_max != u32::MAX {
            let most = u64::from(task.spread_max);
            assert!(domains.values().all(|n| *n <= most), "{}", said());
        }
    }
    room(request, placed, &said);
    ties(request, placed, &said);
}

/// Every offer has room for what is added to it.
fn room(request: &Request, placed: &[Placed], said: &dyn Fn() -> String) {
    for (i, offer) in (0u32..).zip(request.offers.iter()) {
        let (mut replicas, mut cpu, mut memory) = (0u128, 0u128, 0u128);
        for (task, placed) in request.tasks.iter().zip(placed) {
            let here = |(o, n): (u32, u32)| if o == i { n } else { 0 };
            let held: u32 = task.current.iter().map(|pair| here(*pair)).sum();
            let wanted: u32 = placed
                .choices
                .iter()
                .map(|c| here((c.offer, c.replicas)))
                .sum();
            let added = u128::from(wanted.saturating_sub(held));
            let each = &request.shapes[task.shape as usize].resources;
            replicas += added;
            cpu += added * u128::from(each.cpu.0);
            memory += added * u128::from(each.memory.0);
        }
        let offer = &offer.offer;
        if offer.capacity != u32::MAX {
            assert!(replicas <= u128::from(offer.capacity), "{}", said());
        }
        if offer.shared && offer.free_cpu != u64::MAX {
            assert!(cpu <= u128::from(offer.free_cpu), "{}", said());
        }
        if offer.shared && offer.free_memory != u64::MAX {
            assert!(memory <= u128::from(offer.free_memory), "{}", said());
        }
    }
}

/// Tasks of one affinity share a domain, those of one anti-affinity share none. Of several kinds of domain the strictest counts.
fn ties(request: &Request, placed: &[Placed], said: &dyn Fn() -> String) {
    let all: Vec<(&Task, &Placed)> = request.tasks.iter().zip(placed).collect();
    let places = |placed: &Placed, over| -> Vec<_> {
        let offers = placed.choices.iter().map(|c| c.offer as usize);
        offers.map(|o| domain(over, &request.offers[o])).collect()
    };
    for word in ["default/a", "default/b"] {
        let bear = |group: fn(&Task) -> &Option<Group>| -> Vec<(&Group, &Placed)> {
            all.iter()
                .filter_map(|(task, placed)| Some((group(task).as_ref()?, *placed)))
                .filter(|(group, _)| group.word == word)
                .collect()
        };
        let together = bear(|task| &task.affinity);
        // The order of the kinds is from the narrowest to the widest.
        if let Some(over) = together.iter().map(|(group, _)| group.over).min() {
            let mut found: Vec<_> = together.iter().flat_map(|(_, p)| places(p, over)).collect();
            found.dedup();
            assert!(found.windows(2).all(|w| w[0] == w[1]), "{}", said());
        }
        let apart = bear(|task| &task.anti_affinity);
        if let Some(over) = apart.iter().map(|(group, _)| group.over).max() {
            for (i, (_, one)) in apart.iter().enumerate() {
                for (_, other) in apart.iter().skip(i + 1) {
                    let (one, other) = (places(one, over), places(other, over));
                    assert!(one.iter().all(|d| !other.contains(d)), "{}", said());
                }
            }
        }
    }
}
