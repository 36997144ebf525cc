//! Where tasks may run and must run: placement and targets.

use std::collections::HashSet;

use super::{Found, MAX_PLACES, MAX_REPLICAS, labels};
use tradewind_core::{
    field::Path,
    manifest::{Placement, Spec, TargetSpec},
    placement::Spread,
    units::MicroUsd,
};

pub(super) fn placement(found: &mut Found, placement: &Placement, at: &Path) {
    found.require(
        placement.max_price != Some(MicroUsd(0)),
        || at.clone().key("maxPrice"),
        || "no offer costs at most 0: write US dollars per replica and hour, such as 0.25, or leave it out".to_owned(),
    );
    if let Some(spread) = &placement.spread {
        let max = || at.clone().key("spread").key("max");
        found.require(spread.max != Some(0), max, || {
            "0 replicas in each domain leave no place for any: write at least 1".to_owned()
        });
        found.require(
            spread.over != Spread::None || spread.max.is_none(),
            max,
            || "a maximum needs a domain: write \"over\" as zone, region or provider".to_owned(),
        );
    }
    labels(found, &placement.labels, &at.clone().key("labels"));
}

/// What the deployment's placement and the task's own come to together.
pub(super) fn together(found: &mut Found, all: &Placement, own: &Placement, at: &Path) {
    let affinity = own.affinity.as_ref().or(all.affinity.as_ref());
    let apart = own.anti_affinity.as_ref().or(all.anti_affinity.as_ref());
    let spread = own
        .spread
        .as_ref()
        .or(all.spread.as_ref())
        .map_or(Spread::None, |s| s.over);
    let Some(affinity) = affinity else { return };
    let over = affinity.domain.over();
    found.require(
        spread == Spread::None || spread < over,
        || at.clone().key("affinity").key("domain"),
        || {
            let (one, many) = (over.word(), spread.word());
            format!("all replicas share one {one}, and \"spread\" wants several of a {many}: name a wider domain here, or leave one of the two out")
        },
    );
    found.require(
        apart.is_none_or(|apart| apart.with != affinity.with),
        || at.clone().key("antiAffinity").key("with"),
        || {
            format!(
                "\"{}\" is the word of the affinity as well, and tasks can't share a domain and share none: use two words",
                affinity.with
            )
        },
    );
}

/// Targets pin services. A job is never pinned: the policy places it wherever its own placement allows.
pub(super) fn targets(found: &mut Found, spec: &Spec, spec_at: &Path) {
    if spec.targets.is_empty() {
        return;
    }
    let at = spec_at.clone().key("targets");
    if spec.services.is_empty() {
        found.add(at, "targets place services, and there are none: describe them under \"services\", or leave \"targets\" out");
        return;
    }
    let places: usize = spec
        .targets
        .iter()
        .map(|t| {
            if t.services.is_empty() {
                spec.services.len()
            } else {
                t.services.len()
            }
        })
        .sum();
    if places > MAX_PLACES {
        found.add(
            at,
            format!("{places} pairs of target and service are too many: at most {MAX_PLACES}"),
        );
        return;
    }
    providers(found, spec, spec_at);
    let mut seen = HashSet::new();
    for (i, target) in spec.targets.iter().enumerate() {
        one(found, spec, target, &at.clone().index(i), &mut seen);
    }
    for name in spec.services.keys() {
        let listed = spec
            .targets
            .iter()
            .any(|t| t.services.is_empty() || t.services.iter().any(|s| s.name == *name));
        found.require(
            listed,
            || spec_at.clone().key("services").key(name.as_str()),
            || format!("\"{name}\" is in no target and would run nowhere: list it under \"services\" of a target"),
        );
    }
}

type Place<'a> = (&'a str, Option<&'a str>, &'a str);

fn one<'a>(
    found: &mut Found,
    spec: &'a Spec,
    target: &'a TargetSpec,
    at: &Path,
    seen: &mut HashSet<Place<'a>>,
) {
    let region = target.region.as_ref().map(AsRef::as_ref);
    let place = region.map_or_else(
        || target.provider.to_string(),
        |r: &str| format!("{}/{r}", target.provider),
    );
    if target.services.is_empty() {
        for name in spec.services.keys() {
            found.require(
                seen.insert((target.provider.as_ref(), region, name.as_ref())),
                || at.clone(),
                || {
                    format!(
                        "this target is all services at {place}, where another target has \"{name}\" already: list the services of each"
                    )
                },
            );
        }
    }
    for (i, service) in target.services.iter().enumerate() {
        let at = at.clone().key("services").index(i);
        let name = &service.name;
        found.require(
            spec.services.contains_key(name),
            || at.clone().key("name"),
            || unknown(spec, name.as_str()),
        );
        found.require(
            seen.insert((target.provider.as_ref(), region, name.as_ref())),
            || at.clone(),
            || format!("\"{name}\" is at {place} already: list it once and set \"replicas\""),
        );
        let replicas = service.replicas.unwrap_or(0);
        found.require(
            replicas <= MAX_REPLICAS,
            || at.clone().key("replicas"),
            || format!("{replicas} replicas are too many: write 0 to {MAX_REPLICAS}"),
        );
        found.require(
            service
                .platform
                .as_deref()
                .is_none_or(|p| !p.trim().is_empty() && p.len() <= 128),
            || at.clone().key("type"),
            || {
                "not a kind of platform: write a name such as EKS, AKS or GKE, or leave it out"
                    .to_owned()
            },
        );
    }
    let Some(region) = &target.region else { return };
    let narrow = |p: &Placement| !p.regions.is_empty() && !p.regions.contains(region);
    found.require(
        !narrow(&spec.placement),
        || at.clone().key("region"),
        || format!("\"{region}\" is not among the regions of \"spec.placement.regions\": add it there, or drop that list"),
    );
}

fn unknown(spec: &Spec, name: &str) -> String {
    if spec.jobs.contains_key(name) {
        return format!("\"{name}\" is a job: targets place services, and the policy places jobs");
    }
    let near = spec
        .services
        .keys()
        .map(|s| (strsim::damerau_levenshtein(s.as_str(), name), s))
        .min()
        .filter(|(d, _)| *d <= 2);
    let hint = near.map_or_else(
        || "describe it under \"spec.services\"".to_owned(),
        |(_, s)| format!("did you mean \"{s}\"?"),
    );
    format!("there is no service \"{name}\": {hint}")
}

/// A list of allowed providers and a list of required ones would contradict each other or say the same twice.
fn providers(found: &mut Found, spec: &Spec, spec_at: &Path) {
    let message = || {
        "\"targets\" name the providers already: leave \"providers\" out, or drop the targets"
            .to_owned()
    };
    found.require(
        spec.placement.providers.is_empty(),
        || spec_at.clone().key("placement").key("providers"),
        message,
    );
    for (name, service) in &spec.services {
        let at = || {
            spec_at
                .clone()
                .key("services")
                .key(name.as_str())
                .key("placement")
        };
        found.require(
            service.placement.providers.is_empty(),
            || at().key("providers"),
            message,
        );
        for target in spec
            .targets
            .iter()
            .filter(|t| t.services.is_empty() || t.services.iter().any(|s| s.name == *name))
        {
            let Some(region) = target.region.as_ref().filter(|r| {
                !service.placement.regions.is_empty() && !service.placement.regions.contains(r)
            }) else {
                continue;
            };
            found.add(
                at().key("regions"),
                format!("a target of this service is in \"{region}\", which is not in this list: add it, or drop the list"),
            );
            break;
        }
    }
}
