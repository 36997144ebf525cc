//! Through the `aws` provider on moto, which a proxy makes stricter: what the daemon makes is what the account then holds, whatever becomes
//! of single answers.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon,
    aws::{AwsCloud, KEYS, Machine, Rule, text},
};

const EAST: &str = "us-east-1";
const WEST: &str = "us-west-2";
/// The first choice of every policy.
const CHEAP_EAST: &str = "prices.us-east-1 = { \"t3.small\" = \"0.001\" }";

fn service(replicas: u32, version: u32, more: &str) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: shop}}
spec:
  services:
    web:
      image: shop/web:1
      env: {{VERSION: "{version}"}}
      replicas: {replicas}
      resources: {{cpu: 1, memory: 1Gi}}
      {more}
"#
    )
}

/// With a port that the public reaches.
fn public(replicas: u32) -> String {
    service(
        replicas,
        1,
        "ports: {http: {protocol: http, port: 80, expose: public}}\n      health: {http: /health}",
    )
}

fn private(replicas: u32) -> String {
    service(replicas, 1, "")
}

fn daemon(cloud: &AwsCloud, settings: &str) -> Result<Daemon> {
    Daemon::start(
        &["cheapest", "aws"],
        &[("cloud", &cloud.instance(&[EAST], settings)?)],
    )
}

/// Which replicas there are, in order. Doubles would show.
fn replicas(machines: &[Machine]) -> Vec<String> {
    let mut held: Vec<String> = machines
        .iter()
        .map(|machine| machine.tag("tradewind.dev/replica"))
        .collect();
    held.sort();
    held
}

fn ids(machines: &[Machine]) -> BTreeSet<String> {
    machines.iter().map(|machine| machine.id.clone()).collect()
}

/// What of load balancing exists in a region.
fn balanced(cloud: &AwsCloud, region: &str) -> Result<(Vec<String>, Vec<String>)> {
    Ok((
        cloud.balancing(region, "DescribeLoadBalancers", &[])?,
        cloud.balancing(region, "DescribeTargetGroups", &[])?,
    ))
}

#[tokio::test]
async fn a_public_service_runs_behind_a_load_balancer_and_all_of_it_goes_with_it() -> Result<()> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(());
    };
    let daemon = daemon(&cloud, "")?;
    cloud.health("", "initial");
    daemon.put("shop", &public(1)).await?;
    daemon
        .eventually("the registration", async || {
            Ok(cloud.calls("RegisterTargets") > 0)
        })
        .await?;
    let [machine] = &cloud.live(EAST)?[..] else {
        anyhow::bail!("one instance")
    };
    assert_eq!(
        (machine.field("instanceType"), machine.field("keyName")),
        ("t3.small".to_owned(), "ops".to_owned())
    );
    for (key, value) in [
        ("instance", "cloud"),
        ("replica", "0"),
        ("deployment", "shop"),
        ("task", "web"),
    ] {
        assert_eq!(machine.tag(&format!("tradewind.dev/{key}")), value);
    }
    assert!(!machine.tag("tradewind.dev/allocation").is_empty());

    let (balancers, groups) = balanced(&cloud, EAST)?;
    let ([balancer], [group]) = (&balancers[..], &groups[..]) else {
        anyhow::bail!("one of each")
    };
    assert_eq!(
        (text(balancer, "Scheme"), text(balancer, "Type")),
        ("internet-facing".to_owned(), "application".to_owned())
    );
    assert_eq!(balancer.matches("<SubnetId>").count(), 2, "{balancer}");
    assert!(text(balancer, "SecurityGroups").contains("sg-"));
    let group_of = |name: &str| text(group, name);
    assert_eq!(
        (
            group_of("Protocol"),
            group_of("Port"),
            group_of("HealthCheckPath")
        ),
        ("HTTP".into(), "80".into(), "/health".into())
    );
    let (arn, group_arn) = (
        text(balancer, "LoadBalancerArn"),
        group_of("TargetGroupArn"),
    );
    let listeners = cloud.balancing(EAST, "DescribeListeners", &[("LoadBalancerArn", &arn)])?;
    assert_eq!(
        (
            listeners.len(),
            text(&listeners[0], "Port"),
            text(&listeners[0], "Type")
        ),
        (1, "80".to_owned(), "forward".to_owned())
    );
    assert!(listeners[0].contains(&group_arn));
    let targets = cloud.balancing(
        EAST,
        "DescribeTargetHealth",
        &[("TargetGroupArn", &group_arn)],
    )?;
    assert_eq!(
        (targets.len(), text(&targets[0], "Id")),
        (1, machine.id.clone())
    );

    let starting = daemon.get("/v1/deployments/shop").await?;
    assert_ne!(
        starting["status"], "running",
        "the load balancer has not found it healthy yet"
    );
    cloud.health("", "healthy");
    let running = daemon.running("shop").await?;
    let endpoints = running["tasks"][0]["allocations"][0]["endpoints"].to_string();
    assert!(
        endpoints.contains(&text(balancer, "DNSName")),
        "{endpoints}"
    );
    cloud.health("", "unhealthy");
    daemon
        .until("shop", "unhealthy", |d| d["ready"] == 0)
        .await?;
    cloud.health("", "healthy");
    daemon.running("shop").await?;

    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    let (balancers, groups) = balanced(&cloud, EAST)?;
    assert!(cloud.live(EAST)?.is_empty() && balancers.is_empty() && groups.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_runs_goes_on_when_it_grows_and_a_job_tells_its_end() -> Result<()> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(());
    };
    let daemon = daemon(&cloud, "")?;
    daemon.put("shop", &private(2)).await?;
    daemon.running("shop").await?;
    let before = ids(&cloud.live(EAST)?);
    daemon.put("shop", &private(4)).await?;
    daemon.until("shop", "grown", |d| d["ready"] == 4).await?;
    assert!(
        ids(&cloud.live(EAST)?).is_superset(&before),
        "what ran goes on"
    );
    daemon.put("shop", &private(1)).await?;
    daemon
        .eventually("shrinking", async || {
            Ok(replicas(&cloud.live(EAST)?) == ["0"])
        })
        .await?;
    daemon.put("shop", &service(1, 2, "")).await?;
    daemon
        .eventually("the replacement", async || {
            Ok(cloud.live(EAST)?.len() == 1 && ids(&cloud.live(EAST)?).is_disjoint(&before))
        })
        .await?;
    daemon.delete("shop").await?;
    daemon.gone("shop").await?;

    let job = private(1)
        .replace("services:", "jobs:")
        .replace("replicas: 1", "retries: 0");
    daemon.put("shop", &job).await?;
    daemon
        .eventually("the job's instance", async || {
            Ok(cloud.live(EAST)?.len() == 1)
        })
        .await?;
    let machine = cloud.live(EAST)?.remove(0);
    cloud.console(
        &machine.id,
        "booted\nhello from the job\ntradewind.dev/exit=0\n",
    );
    daemon
        .until("shop", "at work", |d| {
            d["tasks"][0]["allocations"][0]["phase"] == "running"
        })
        .await?;
    assert!(
        daemon
            .run(&["logs", "shop"])?
            .contains("hello from the job")
    );
    cloud.end(&machine, "Client.InstanceInitiatedShutdown")?;
    daemon
        .until("shop", "completed", |d| d["status"] == "completed")
        .await?;
    Ok(())
}

#[tokio::test]
async fn lost_and_late_answers_and_lists_that_are_behind_make_no_doubles() -> Result<()> {
    let troubles: [(&str, Rule); 4] = [
        (
            "lost once",
            Rule::on("RunInstances").after(1).times(1).lose_the_answer(),
        ),
        (
            "lost for the sdk, too",
            Rule::on("RunInstances").after(1).times(4).lose_the_answer(),
        ),
        (
            "throttled",
            Rule::on("RunInstances")
                .times(4)
                .refuse("RequestLimitExceeded"),
        ),
        ("hung", Rule::on("RunInstances").after(2).times(1).hang()),
    ];
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(());
    };
    for (what, rule) in troubles {
        cloud.lag(Duration::from_millis(700));
        cloud.rule(rule);
        let before = cloud.machines(EAST)?.len();
        let daemon = daemon(&cloud, "")?;
        daemon.put("shop", &private(3)).await?;
        daemon.running("shop").await?;
        assert_eq!(
            (
                replicas(&cloud.live(EAST)?),
                cloud.machines(EAST)?.len() - before
            ),
            (["0", "1", "2"].map(str::to_owned).to_vec(), 3),
            "{what}"
        );
        cloud.lag(Duration::ZERO);
        cloud.heal();
        daemon.delete("shop").await?;
        daemon.gone("shop").await?;
        assert!(cloud.live(EAST)?.is_empty(), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn what_one_place_can_not_supply_comes_from_the_next_and_nothing_is_left_behind() -> Result<()>
{
    for code in [
        "InsufficientInstanceCapacity",
        "InstanceLimitExceeded",
        "VcpuLimitExceeded",
    ] {
        let Some(cloud) = AwsCloud::start()? else {
            return Ok(());
        };
        let both = cloud.instance(&[EAST, WEST], CHEAP_EAST)?;
        // The first replica is there already when the second can't be had, in every zone of the region.
        cloud.rule(Rule::on("RunInstances").within(EAST).after(1).refuse(code));
        let daemon = Daemon::start(&["cheapest", "aws"], &[("cloud", &both)])?;
        daemon.put("shop", &private(2)).await?;
        daemon.running("shop").await?;
        assert_eq!(replicas(&cloud.live(WEST)?), ["0", "1"], "{code}");
        assert!(cloud.live(EAST)?.is_empty(), "{code}");
    }
    Ok(())
}

#[tokio::test]
async fn expired_credentials_degrade_one_provider_with_cause_and_remedy_until_they_are_rotated()
-> Result<()> {
    let (Some(cloud), Some(other)) = (AwsCloud::start()?, AwsCloud::start()?) else {
        return Ok(());
    };
    let daemon = Daemon::start(
        &["cheapest", "aws"],
        &[
            ("cloud", &cloud.instance(&[EAST], CHEAP_EAST)?),
            ("other", &other.instance(&[EAST], "")?),
        ],
    )?;
    daemon.put("shop", &private(1)).await?;
    assert_eq!(
        daemon.running("shop").await?["places"],
        json!(["cloud/us-east-1"])
    );
    cloud.expire(KEYS.split(':').next().unwrap_or_default());
    daemon
        .put(
            "second",
            &private(1)
                .replace("shop", "second")
                .replace("second/web", "shop/web"),
        )
        .await?;
    assert_eq!(
        daemon.running("second").await?["places"],
        json!(["other/us-east-1"]),
        "others are not affected"
    );
    let told =
        |shown: &str| shown.contains("expired") && shown.contains("credentials in [grants.aws]");
    daemon
        .eventually("the cause", async || {
            Ok(told(&daemon.run(&["plugin", "inspect", "cloud"])?))
        })
        .await?;
    let secret = KEYS.split(':').nth(1).unwrap_or_default();
    assert!(!daemon.log().contains(secret));

    cloud.rotate("AKIATESTSECOND:another-secret")?;
    daemon.put("shop", &private(2)).await?;
    daemon
        .until("shop", "grown on the same cloud", |d| {
            d["ready"] == 2 && d["places"] == json!(["cloud/us-east-1"])
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_is_refused_for_good_says_why_in_describe() -> Result<()> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(());
    };
    let message = "Invalid value 't3.small' for InstanceType";
    cloud.rule(Rule::on("RunInstances").refuse_saying(
        400,
        "InvalidParameterValue",
        &format!("{message}."),
    ));
    let mut daemon = daemon(&cloud, "instance-types = [\"t3.small\"]")?;
    daemon.put("shop", &private(1)).await?;
    let shows =
        |daemon: &Daemon, what: &str| anyhow::Ok(daemon.run(&["describe", "shop"])?.contains(what));
    daemon
        .eventually("the cause", async || shows(&daemon, message))
        .await?;
    assert!(cloud.live(EAST)?.is_empty());
    daemon.stop()?;

    // A limit of the grant is told like one of the cloud's, with the line that would lift it.
    cloud.heal();
    let narrow =
        cloud.instance_with(&[EAST], "instance-types = [\"t3.small\"]", "instances = 2")?;
    std::fs::write(daemon.plugins().join("cloud.toml"), narrow)?;
    daemon.launch()?;
    daemon.put("shop", &private(3)).await?;
    daemon
        .eventually("the limit", async || {
            shows(&daemon, "the grant allows 2 instances at once")
        })
        .await?;
    assert!(cloud.live(EAST)?.len() <= 2);
    Ok(())
}

#[tokio::test]
async fn spot_capacity_is_bought_as_such_and_made_again_when_it_is_taken_back() -> Result<()> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(());
    };
    let daemon = daemon(&cloud, "spot = true")?;
    daemon
        .put(
            "shop",
            &service(1, 1, "").replace("replicas: 1", "replicas: 1\n      placement: {spot: true}"),
        )
        .await?;
    let running = daemon.running("shop").await?;
    let machine = cloud.live(EAST)?.remove(0);
    assert_eq!(machine.field("instanceLifecycle"), "spot", "{running:#}");
    cloud.end(&machine, "Server.SpotInstanceTermination")?;
    daemon
        .eventually("another instance", async || {
            Ok(cloud.live(EAST)?.iter().any(|other| other.id != machine.id))
        })
        .await?;
    daemon.running("shop").await?;
    Ok(())
}

/// How many calls one look at so many allocations makes.
async fn calls_of_a_look(count: u64, more: &str) -> Result<Option<(u64, Value)>> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(None);
    };
    // moto answers one request after the other, and is slow when it holds much: a call that is late would be repeated, and counted.
    let instance = cloud.instance_with(&[EAST], more, "timeout = \"40s\"")?;
    let patient = format!("{instance}[limits]\ndeadline = \"60s\"\nconcurrency = 4\n");
    let daemon = Daemon::start(&["cheapest", "aws"], &[("cloud", &patient)])?;
    let mut manifest = String::from(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: many}\nspec:\n  services:\n",
    );
    for number in 0..count {
        manifest += &format!(
            "    s{number}: {{image: shop/web:1, replicas: 1, resources: {{cpu: 1, memory: 1Gi}}}}\n"
        );
    }
    daemon.put("many", &manifest).await?;
    // All of them may take long; that one more runs may not.
    let mut ready = 0;
    while ready < count {
        let more = |d: &Value| d["ready"].as_u64() > Some(ready);
        let seen = daemon.until("many", "running with one more", more).await?;
        ready = seen["ready"].as_u64().unwrap_or_default();
    }
    let made = json!(cloud.all_calls());
    cloud.forget_calls();
    daemon
        .eventually("some looks", async || {
            Ok(cloud.calls("DescribeInstances") >= 3)
        })
        .await?;
    let calls = cloud.all_calls();
    eprintln!("{count} allocations: made with {made}, looked at with {calls:?} in a few rounds");
    Ok(Some((
        calls
            .keys()
            .filter(|action| *action != "DescribeInstances")
            .count() as u64,
        json!(calls),
    )))
}

#[tokio::test]
async fn a_look_at_many_allocations_is_one_list() -> Result<()> {
    let count = std::env::var("TRADEWIND_AWS_ALLOCATIONS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200);
    let Some((_, calls)) = calls_of_a_look(count, "load-balancer = false").await? else {
        return Ok(());
    };
    assert!(
        calls.get("DescribeLoadBalancers").is_none()
            && calls["DescribeInstances"].as_u64() < Some(10),
        "{calls}"
    );
    Ok(())
}
