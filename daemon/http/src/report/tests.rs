use tradewind_core::{
    assess::{Background, Benefit, ChoiceReport},
    names::InstanceName,
    offer::Offer,
    placement::{PlacedOffer, Table, Want},
    plugin::Features,
    quality::Measures,
    units::{Bytes, GIB, Instant, MicroUsd, MilliCpu},
};

use super::*;

/// Two offers, one of which has a name that no page should take for markup; the other has been measured.
fn report() -> Report {
    let (evil, good): (InstanceName, InstanceName) = (
        "evil".parse().expect("a name"),
        "good".parse().expect("a name"),
    );
    let offer = |provider: &InstanceName, region: &str, price: u64| {
        let mut offer = Offer::new(region, MilliCpu(2000), Bytes(4 * GIB), MicroUsd(price));
        offer.region = region.into();
        PlacedOffer {
            provider: provider.clone(),
            offer,
        }
    };
    let mut bad = offer(&evil, "</title><script>alert(1)</script>", 300_000);
    bad.offer.availability = 0.5;
    let offers = vec![bad, offer(&good, "eu", 200_000)];
    let features = Features {
        commands: true,
        services: true,
        ..Features::default()
    };
    let table = Table::new(
        std::sync::Arc::new(offers),
        [(evil, features), (good.clone(), features)].into(),
        Default::default(),
    );
    let text = b"{\"apiVersion\":\"tradewind.dev/v1\",\"kind\":\"CloudDeployment\",\"metadata\":{\"name\":\"x\"},\
                 \"spec\":{\"services\":{\"web\":{\"command\":[\"serve\"],\"replicas\":2,\"duration\":\"1h\"}}}}";
    let manifest =
        tradewind_manifest::parse(text, tradewind_manifest::Format::Json).expect("valid");
    let task = tradewind_core::manifest::resolve(&manifest).remove(0);
    let want = Want::of(&manifest.metadata.namespace, &manifest.metadata.name, &task);
    let (mut measures, now) = (Measures::default(), Instant(10_000));
    measures
        .entry(&good, "eu", "")
        .became_ready(Millis(1_500), Instant(9_000));
    let (offers, excluded) = tradewind_core::assess::task(
        &want,
        &table,
        &Background {
            quotes: &Default::default(),
            measures: &measures,
            now,
        },
    );
    let choice = vec![ChoiceReport {
        provider: good.clone(),
        region: "eu".to_owned(),
        size: String::new(),
        offer: "eu".to_owned(),
        replicas: 2,
        policy: good,
    }];
    let task = TaskReport {
        task: task.name,
        target: task.target,
        replicas: 2,
        cpu: MilliCpu(100),
        memory: Bytes(GIB),
        duration: task.duration,
        benefit: Benefit::of(&offers, &choice, 2),
        offers,
        excluded,
        choice,
        unplaced: None,
    };
    Report {
        at: now,
        tasks: vec![task],
        failures: Vec::new(),
    }
}

#[test]
fn the_page_stands_alone_and_what_others_say_stays_text() {
    let page = html("<b>mine</b>", &report());
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("&lt;b&gt;mine&lt;/b&gt;"),
        "{page}"
    );
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;"), "{page}");
    for loads in [
        "<script", "<link", "<img", "src=", "href=", "url(", "@import", "http://", "https://",
    ] {
        assert!(!page.contains(loads), "{loads} is in:\n{page}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn costs_and_what_was_measured_are_on_the_page() {
    let report = report();
    let benefit = &report.tasks[0].benefit;
    assert_eq!(
        benefit.chosen.map(|b| (b.hourly, b.estimate, b.monthly)),
        Some((MicroUsd(400_000), MicroUsd(400_000), MicroUsd(292_000_000)))
    );
    let best = benefit
        .best_quality
        .as_ref()
        .expect("an offer whose availability is known");
    assert_eq!(
        (best.provider.as_str(), best.more.hourly.0),
        ("evil", 200_000)
    );
    let page = html("x", &report);
    for text in [
        "$0.40",
        "$0.60",
        "$292.00",
        "+$0.20",
        "1.5 s",
        "measured, 1 sample, 1 s ago",
        "<svg",
        "The cheapest",
        "The best quality",
        "costs the least of 2 candidates",
    ] {
        assert!(page.contains(text), "{text} is missing in:\n{page}");
    }
}
