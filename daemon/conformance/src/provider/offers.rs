//! Its offers. That columns fit together and ids are unique the daemon sees to with every answer; what else must hold is here.

use std::collections::BTreeSet;

use tradewind_core::offer::{Offer, OffersQuery};

use crate::{
    check::{Verdict, passed, skipped, tell},
    subject::Subject,
};

async fn all(subject: &Subject, query: &OffersQuery) -> Result<Vec<Offer>, String> {
    subject.provider.offers(query).await.map_err(|f| tell(&f))
}

pub(super) async fn sane(subject: &mut Subject) -> Verdict {
    let query = OffersQuery {
        spot: true,
        ..OffersQuery::default()
    };
    let offers = all(subject, &query).await?;
    if offers.is_empty() {
        return Err("it offers nothing: there is no way to try it".to_owned());
    }
    if let Some(fault) = offers.iter().find_map(fault) {
        return Err(fault);
    }
    let ids = |offers: &[Offer]| {
        offers
            .iter()
            .map(|o| o.id.to_string())
            .collect::<BTreeSet<_>>()
    };
    let (first, again) = (ids(&offers), ids(&all(subject, &query).await?));
    if let Some(id) = first.symmetric_difference(&again).next() {
        return Err(format!(
            "offer \"{id}\" is there in one of two answers: an offer's id names it for as long as it is for sale"
        ));
    }
    let free = offers.iter().filter(|o| o.price.0 == 0).count();
    passed(format!(
        "{} offers in {} regions, {free} of them for nothing",
        offers.len(),
        regions(&offers).len()
    ))
}

/// The first thing that can't be right.
fn fault(offer: &Offer) -> Option<String> {
    let id = &offer.id;
    if offer.cpu.0 == 0 || offer.memory.0 == 0 {
        return Some(format!(
            "offer \"{id}\" has {} of processor and {} of memory",
            offer.cpu, offer.memory
        ));
    }
    if !offer.shared && (offer.free_cpu != u64::MAX || offer.free_memory != u64::MAX) {
        return Some(format!(
            "offer \"{id}\" says what is free and is not shared: of whole instances `capacity` tells what is left"
        ));
    }
    if offer.accelerator_count > 0 && offer.accelerator.is_empty() {
        return Some(format!(
            "offer \"{id}\" has {} accelerators of no kind",
            offer.accelerator_count
        ));
    }
    let share = |name: &str, value: f64| {
        (!value.is_nan() && !(0.0..=1.0).contains(&value))
            .then(|| format!("offer \"{id}\" has a {name} of {value}: use 0 to 1"))
    };
    let length = |name: &str, value: f64| {
        (value < 0.0).then(|| format!("offer \"{id}\" has a {name} of {value}"))
    };
    share("availability", offer.availability)
        .or_else(|| share("failure-rate", offer.failure_rate))
        .or_else(|| share("load", offer.load))
        .or_else(|| length("latency", offer.latency))
        .or_else(|| length("bandwidth", offer.bandwidth))
        .or_else(|| length("time-to-ready", offer.time_to_ready))
        .or_else(|| length("interruption-rate", offer.interruption_rate))
        .or_else(|| length("carbon", offer.carbon))
}

fn regions(offers: &[Offer]) -> BTreeSet<String> {
    offers.iter().map(|o| o.region.to_string()).collect()
}

pub(super) async fn region(subject: &mut Subject) -> Verdict {
    let everything = all(subject, &OffersQuery::default()).await?;
    let Some(region) = regions(&everything)
        .into_iter()
        .next_back()
        .filter(|r| !r.is_empty())
    else {
        return skipped("its offers name no region");
    };
    let of_region = |offers: &[Offer]| {
        offers
            .iter()
            .filter(|o| *o.region == region)
            .map(|o| o.id.to_string())
            .collect::<BTreeSet<_>>()
    };
    let asked = all(
        subject,
        &OffersQuery {
            regions: vec![region.clone()],
            ..OffersQuery::default()
        },
    )
    .await?;
    if let Some(missing) = of_region(&everything).difference(&of_region(&asked)).next() {
        return Err(format!(
            "offer \"{missing}\" of region \"{region}\" is missing when that region is asked for"
        ));
    }
    let nowhere = OffersQuery {
        regions: vec!["conformance-nowhere".to_owned()],
        ..OffersQuery::default()
    };
    match subject.provider.offers(&nowhere).await {
        Err(failure) if crate::check::is_broken(&failure) => {
            Err(format!("a region that does not exist: {}", tell(&failure)))
        }
        _ => passed(format!(
            "{} of {} offers for \"{region}\"",
            asked.len(),
            everything.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use tradewind_core::units::{Bytes, MicroUsd, MilliCpu};

    use super::*;

    /// What makes a good offer wrong, and a word of what is said of it.
    type Case = (fn(&mut Offer), &'static str);

    #[test]
    fn what_can_not_be_right_is_named() {
        let good = Offer::new("a", MilliCpu(1000), Bytes(1 << 30), MicroUsd(1));
        assert_eq!(fault(&good), None);
        let cases: [Case; 5] = [
            (|o| o.cpu = MilliCpu(0), "of processor"),
            (|o| o.free_cpu = 1, "not shared"),
            (|o| o.accelerator_count = 1, "no kind"),
            (|o| o.availability = 1.5, "availability of 1.5"),
            (|o| o.time_to_ready = -1.0, "time-to-ready of -1"),
        ];
        for (change, part) in cases {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(fault(&bad).is_some_and(|f| f.contains(part)), "{part}");
        }
    }
}
