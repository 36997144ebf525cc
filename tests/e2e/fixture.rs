//! Through the `rest` provider on the fixture cloud: the daemon makes what the ledger then shows, whatever becomes of single answers.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;
use tradewind_kit::{
    Daemon, endpoints, fetch,
    fixture::{Config, Fault, FixtureCloud, Kind, Lag, Operation},
};

fn manifest(replicas: u32, version: u32) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: shop}}
spec:
  services:
    web:
      command: [serve]
      env: {{VERSION: "{version}"}}
      ports: {{http: {{protocol: http}}}}
      replicas: {replicas}
"#
    )
}

/// Which replicas of which version exist, in order. Doubles would show.
fn held(cloud: &FixtureCloud) -> Vec<(String, String)> {
    let version = |i: &tradewind_kit::fixture::Instance| {
        i.workload["env"]["VERSION"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let mut held: Vec<_> = cloud
        .live()
        .iter()
        .map(|i| (i.tag("tradewind.dev/replica").to_owned(), version(i)))
        .collect();
    held.sort();
    held
}

fn replicas(count: u32, version: u32) -> Vec<(String, String)> {
    (0..count)
        .map(|index| (index.to_string(), version.to_string()))
        .collect()
}

#[tokio::test]
async fn a_deployment_runs_answers_grows_changes_and_goes() -> Result<()> {
    let cloud = FixtureCloud::start(Config {
        boot_ms: 50,
        ..Config::default()
    })?;
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    daemon.put("shop", &manifest(2, 1)).await?;
    let running = daemon.running("shop").await?;
    assert_eq!(
        running["places"],
        json!(["cloud/east"]),
        "the cheaper region"
    );
    let mut ids = BTreeSet::new();
    for endpoint in endpoints(&running) {
        ids.insert(fetch(&daemon.http, &endpoint).await?);
    }
    assert_eq!(ids, cloud.live().into_iter().map(|i| i.id).collect());

    daemon.put("shop", &manifest(3, 1)).await?;
    daemon.until("shop", "grown", |d| d["ready"] == 3).await?;
    assert!(
        cloud.live().iter().filter(|i| ids.contains(&i.id)).count() == 2,
        "what ran goes on"
    );
    daemon.put("shop", &manifest(3, 2)).await?;
    daemon
        .until("shop", "changed", |d| {
            d["status"] == "running" && held(&cloud) == replicas(3, 2)
        })
        .await?;
    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    assert!(cloud.live().is_empty());
    Ok(())
}

#[tokio::test]
async fn lost_answers_and_half_made_instances_make_no_doubles() -> Result<()> {
    for kind in [
        Kind::LostAfter,
        Kind::LostBefore,
        Kind::Half,
        Kind::Throttled,
    ] {
        let cloud = FixtureCloud::start(Config {
            lag: Lag {
                ms: 200,
                operations: 0,
            },
            ..Config::default()
        })?;
        cloud.fault(Fault {
            after: 1,
            ..Fault::new(kind).on(Operation::Create).times(2).ms(50)
        });
        let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
        daemon.put("shop", &manifest(3, 1)).await?;
        daemon.running("shop").await?;
        assert_eq!(
            (held(&cloud), cloud.ledger().len()),
            (replicas(3, 1), 3),
            "{kind:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_one_region_can_not_supply_comes_from_another_and_nothing_is_left_behind() -> Result<()>
{
    for kind in [Kind::OutOfCapacity, Kind::Quota] {
        let cloud = FixtureCloud::start(Config::default())?;
        cloud.fault(Fault {
            after: 1,
            ..Fault::new(kind).on(Operation::Create).within("east")
        });
        let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
        daemon.put("shop", &manifest(2, 1)).await?;
        assert_eq!(
            daemon.running("shop").await?["places"],
            json!(["cloud/west"]),
            "{kind:?}"
        );
        assert!(
            cloud.live().iter().all(|i| i.region == "west"),
            "{kind:?}: {:#?}",
            cloud.live()
        );
    }
    Ok(())
}
