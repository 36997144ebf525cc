//! The capability `aws` itself, without a daemon: whatever a plugin asks, the grant and the tags decide. On moto behind its proxy.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tradewind_aws::{Accounts, Options};
use tradewind_core::{
    capability::{
        Attempt,
        aws::{
            Asker, Aws, HealthCheck, InstanceState, LoadBalancerRequest, Piece, RunRequest, Target,
            TargetGroupRequest,
        },
    },
    failure::{Failure, FailureKind, NOT_GRANTED},
    grant::AwsGrant,
    names::{AllocationId, InstanceName, Namespace},
    units::{Bytes, Millis},
    workload::{Labels, SecretRef},
};
use tradewind_credentials::Credentials;
use tradewind_kit::aws::{AwsCloud, Rule};

const EAST: &str = "us-east-1";

/// An account on a cloud, asked by an owner with a grant.
struct World {
    cloud: AwsCloud,
    accounts: Accounts,
    secrets: tempfile::TempDir,
    grant: Value,
    subnets: Vec<String>,
}

fn world() -> Result<Option<World>> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(None);
    };
    let secrets = tradewind_kit::private_folder()?;
    std::fs::write(secrets.path().join("db"), "it's secret")?;
    let keys = secrets.path().join("keys");
    std::fs::write(&keys, tradewind_kit::aws::KEYS)?;
    let accounts = Accounts::new(Options {
        credentials: Credentials::default(),
        secrets: secrets.path().to_owned(),
    });
    let grant = json!({
        "regions": [EAST], "credentials": {"file": keys}, "endpoint": cloud.endpoint(), "instance-types": ["t3.*"], "images": ["*"],
        "subnets": ["*"], "security-groups": ["default"], "load-balancers": true, "instances": 2, "secrets": ["db"], "timeout": "2s"
    });
    let answer = cloud.api(EAST, "ec2", &[("Action", "DescribeSubnets")])?;
    let subnets = answer
        .split("<subnetId>")
        .skip(1)
        .filter_map(|rest| rest.split('<').next().map(str::to_owned))
        .collect();
    Ok(Some(World {
        cloud,
        accounts,
        secrets,
        grant,
        subnets,
    }))
}

impl World {
    fn asker(&self, owner: &str, over: Value) -> Result<Asker> {
        let mut grant = self.grant.clone();
        over.as_object()
            .into_iter()
            .flatten()
            .for_each(|(key, value)| grant[key] = value.clone());
        let grant: AwsGrant = serde_json::from_value(grant)?;
        let grant = grant.for_namespace(Some(&Namespace::default_namespace()));
        Ok(Asker {
            owner: InstanceName::try_from(owner.to_owned())?,
            grant,
        })
    }

    fn balancer(&self) -> LoadBalancerRequest {
        let subnets = self.subnets.iter().take(2).cloned().collect();
        LoadBalancerRequest {
            region: EAST.to_owned(),
            internal: false,
            subnets,
            security_groups: vec![],
        }
    }
}

fn attempt(token: &str) -> Result<Attempt> {
    Ok(Attempt {
        allocation: AllocationId::try_from("a1".to_owned())?,
        namespace: "default".parse()?,
        token: token.to_owned(),
        tags: Labels::new(),
        resources: Default::default(),
        startup: None,
    })
}

fn request() -> RunRequest {
    RunRequest {
        region: EAST.to_owned(),
        zone: String::new(),
        subnet: "subnet-x".to_owned(),
        instance_type: "t3.small".to_owned(),
        image: "ami-12c6146b".to_owned(),
        security_groups: vec![],
        key_name: String::new(),
        instance_profile: String::new(),
        spot: false,
        ends_with_system: false,
        disk: Bytes(0),
        user_data: vec![
            Piece::Text("#!/bin/sh\nDB=".to_owned()),
            Piece::Secret(SecretRef {
                name: "db".to_owned(),
                key: None,
            }),
        ],
        replica: 0,
        ordinal: 0,
        spec: "s".to_owned(),
    }
}

/// The kind of a refusal with its code; of one by the grant, with the field at fault.
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>) -> (FailureKind, Option<String>) {
    let failure = result.expect_err("it is refused");
    let code = failure.code.filter(|code| code != NOT_GRANTED);
    (failure.kind, code.or(failure.field))
}

#[tokio::test]
async fn one_call_makes_one_instance_however_often_it_is_made_and_secrets_reach_it_alone()
-> Result<()> {
    let Some(world) = world()? else { return Ok(()) };
    let aws = world.asker("aws", json!({}))?;
    let request = RunRequest {
        subnet: world.subnets[0].clone(),
        ..request()
    };
    let made = world.accounts.run(&aws, &attempt("t")?, &request).await?;
    assert_eq!(
        world.accounts.run(&aws, &attempt("t")?, &request).await?.id,
        made.id
    );
    assert_eq!(world.cloud.machines(EAST)?.len(), 1);
    let parameters = [
        ("Action", "DescribeInstanceAttribute"),
        ("InstanceId", made.id.as_str()),
        ("Attribute", "userData"),
    ];
    let data = world.cloud.api(EAST, "ec2", &parameters)?;
    // The whole script, with DB='it'\''s secret' as its second line.
    assert!(
        data.contains("IyEvYmluL3NoCkRCPSdpdCdcJydzIHNlY3JldCc="),
        "{data}"
    );
    assert!(!format!("{made:?}").contains("secret"));

    world
        .accounts
        .terminate(&aws, EAST, std::slice::from_ref(&made.id))
        .await?;
    let dead = world.accounts.run(&aws, &attempt("t")?, &request).await?;
    assert_eq!(
        (dead.id, dead.state),
        (made.id.clone(), InstanceState::Terminated),
        "a token stands for one instance, dead or alive"
    );
    let next = world
        .accounts
        .run(
            &aws,
            &attempt("t")?,
            &RunRequest {
                ordinal: 1,
                ..request.clone()
            },
        )
        .await?;
    let other = world.accounts.run(&aws, &attempt("u")?, &request).await?;
    assert!(next.id != made.id && other.id != next.id);
    let third = world.accounts.run(&aws, &attempt("v")?, &request).await;
    assert_eq!(
        refused(third),
        (FailureKind::Quota, Some("grant-limit".to_owned()))
    );
    Ok(())
}

#[tokio::test]
async fn what_belongs_to_somebody_else_can_not_be_touched() -> Result<()> {
    let Some(world) = world()? else { return Ok(()) };
    let (aws, other) = (
        world.asker("aws", json!({}))?,
        world.asker("other", json!({}))?,
    );
    let request = RunRequest {
        subnet: world.subnets[0].clone(),
        ..request()
    };
    let mine = world.accounts.run(&aws, &attempt("t")?, &request).await?;
    let ids = [mine.id.clone()];
    let foreign = (FailureKind::Denied, Some("not-owned".to_owned()));
    assert_eq!(
        refused(world.accounts.terminate(&other, EAST, &ids).await),
        foreign
    );
    assert_eq!(
        refused(world.accounts.console(&other, EAST, &mine.id).await),
        foreign
    );
    assert!(
        world
            .accounts
            .instances(&other, EAST, &[])
            .await?
            .is_empty()
    );
    world
        .accounts
        .terminate(&other, EAST, &["i-0123456789abcdef0".to_owned()])
        .await?;
    // One that nobody of ours has made.
    world.cloud.api(
        EAST,
        "ec2",
        &[
            ("Action", "RunInstances"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("ImageId", "ami-12c6146b"),
        ],
    )?;
    let stranger = world
        .cloud
        .live(EAST)?
        .into_iter()
        .find(|machine| machine.id != mine.id)
        .context("another instance")?
        .id;
    assert_eq!(
        refused(
            world
                .accounts
                .terminate(&aws, EAST, &[mine.id.clone(), stranger.clone()])
                .await
        ),
        foreign
    );
    assert_eq!(
        world.cloud.live(EAST)?.len(),
        2,
        "one that is refused takes none with it"
    );

    let balancer = world
        .accounts
        .create_load_balancer(&aws, &attempt("t")?, &world.balancer())
        .await?;
    assert_eq!(
        world
            .accounts
            .create_load_balancer(&aws, &attempt("u")?, &world.balancer())
            .await?,
        balancer,
        "the same one again"
    );
    let group = TargetGroupRequest {
        region: EAST.to_owned(),
        vpc: balancer.vpc.clone(),
        port: "http".to_owned(),
        number: 80,
        health_check: HealthCheck {
            path: "/health".to_owned(),
            interval: Millis(1000),
            timeout: Millis(1000),
            healthy_after: 1,
            unhealthy_after: 99,
            status_min: 200,
            status_max: 599,
        },
    };
    let group = world
        .accounts
        .create_target_group(&aws, &attempt("t")?, &group)
        .await?;
    let target = |id: &str| {
        [Target {
            instance: id.to_owned(),
            number: 80,
        }]
    };
    assert_eq!(
        refused(
            world
                .accounts
                .register(&other, EAST, &group.id, &target(&mine.id))
                .await
        ),
        foreign
    );
    assert_eq!(
        refused(
            world
                .accounts
                .register(&aws, EAST, &group.id, &target(&stranger))
                .await
        ),
        foreign
    );
    assert_eq!(
        refused(
            world
                .accounts
                .health(&other, EAST, std::slice::from_ref(&group.id))
                .await
        ),
        foreign
    );
    assert_eq!(
        refused(
            world
                .accounts
                .delete_target_group(&other, EAST, &group.id)
                .await
        ),
        foreign
    );
    assert_eq!(
        refused(
            world
                .accounts
                .delete_load_balancer(&other, EAST, &balancer.id)
                .await
        ),
        foreign
    );
    assert!(
        world
            .accounts
            .load_balancers(&other, EAST, &[])
            .await?
            .is_empty()
    );
    // Its name is as one of ours, its tags are not.
    world.cloud.api(
        EAST,
        "elasticloadbalancing",
        &[
            ("Action", "RemoveTags"),
            ("ResourceArns.member.1", balancer.id.as_str()),
            ("TagKeys.member.1", "tradewind.dev/instance"),
        ],
    )?;
    assert_eq!(
        refused(
            world
                .accounts
                .delete_load_balancer(&aws, EAST, &balancer.id)
                .await
        ),
        foreign
    );
    world
        .accounts
        .register(&aws, EAST, &group.id, &target(&mine.id))
        .await?;
    assert_eq!(
        world
            .accounts
            .health(&aws, EAST, std::slice::from_ref(&group.id))
            .await?[0]
            .instance,
        mine.id
    );
    assert!(
        world
            .accounts
            .delete_target_group(&aws, EAST, &group.id)
            .await?
    );
    assert!(
        world
            .accounts
            .delete_target_group(&aws, EAST, &group.id)
            .await?,
        "twice is as good as once"
    );
    Ok(())
}

#[tokio::test]
async fn limits_of_the_grant_hold_before_anything_is_sent() -> Result<()> {
    let Some(world) = world()? else { return Ok(()) };
    let (accounts, good) = (
        &world.accounts,
        RunRequest {
            subnet: world.subnets[0].clone(),
            ..request()
        },
    );
    let narrow = |over: Value| world.asker("aws", over);
    let attempt = attempt("t")?;
    let denied = |field: &str| (FailureKind::Denied, Some(field.to_owned()));
    let aws = narrow(json!({}))?;
    assert_eq!(
        refused(accounts.zones(&aws, "us-west-2").await),
        denied("region")
    );
    assert_eq!(
        refused(
            accounts
                .images(
                    &narrow(json!({"images": ["ami-1"]}))?,
                    EAST,
                    &["ami-2".to_owned()]
                )
                .await
        ),
        denied("ids")
    );
    let large = RunRequest {
        instance_type: "p5.48xlarge".to_owned(),
        ..good.clone()
    };
    assert_eq!(
        refused(accounts.run(&aws, &attempt, &large).await),
        denied("instance-type")
    );
    let secret = RunRequest {
        user_data: vec![Piece::Secret(SecretRef {
            name: "keys".to_owned(),
            key: None,
        })],
        ..good.clone()
    };
    assert_eq!(
        refused(accounts.run(&aws, &attempt, &secret).await),
        denied("user-data")
    );
    let without = narrow(json!({"load-balancers": false}))?;
    assert_eq!(
        refused(
            accounts
                .create_load_balancer(&without, &attempt, &world.balancer())
                .await
        ),
        denied("load-balancers")
    );
    assert_eq!(
        refused(accounts.load_balancers(&without, EAST, &[]).await),
        denied("load-balancers")
    );
    assert_eq!(
        refused(accounts.delete_load_balancer(&without, EAST, "x").await),
        denied("load-balancers")
    );
    assert!(
        world.cloud.all_calls().is_empty(),
        "{:?}",
        world.cloud.all_calls()
    );
    let types = accounts
        .instance_types(&aws, EAST, &["t3.small".to_owned(), "m5.large".to_owned()])
        .await?;
    assert_eq!(
        types
            .into_iter()
            .map(|t| (t.name, t.cpu, t.memory))
            .collect::<Vec<_>>(),
        [("t3.small".to_owned(), 2000, Bytes(2 << 30))]
    );
    Ok(())
}

#[tokio::test]
async fn every_source_of_credentials_signs_and_its_values_show_nowhere() -> Result<()> {
    let Some(world) = world()? else { return Ok(()) };
    let file = |name: &str| world.secrets.path().join(name).display().to_string();
    let json_form = r#"{"Version":1,"AccessKeyId":"AKIAJSON","SecretAccessKey":"hidden-secret","SessionToken":"hidden-session"}"#;
    std::fs::write(Path::new(&file("json")), json_form)?;
    for (source, key_id) in [
        (json!({"file": file("json")}), "AKIAJSON"),
        (json!({"command": ["cat", file("json")]}), "AKIAJSON"),
        (json!({"file": file("keys")}), "AKIATESTFIRST"),
    ] {
        let aws = world.asker("aws", json!({"credentials": source}))?;
        assert!(
            world
                .accounts
                .zones(&aws, EAST)
                .await?
                .contains(&"us-east-1a".to_owned())
        );
        world.cloud.expire(key_id);
        let failure = world.accounts.zones(&aws, EAST).await.expect_err("expired");
        assert_eq!(
            (failure.kind, failure.code.as_deref()),
            (FailureKind::Denied, Some("RequestExpired"))
        );
        assert!(!format!("{failure:?}").contains("hidden"), "{failure:?}");
        world.cloud.forgive(key_id);
        world.accounts.zones(&aws, EAST).await?;
    }
    for source in [
        json!({"file": "/nowhere"}),
        json!({"env": "TRADEWIND_NO_SUCH_KEYS"}),
        json!({"file": file("db")}),
    ] {
        let failure = world
            .accounts
            .zones(&world.asker("aws", json!({"credentials": source}))?, EAST)
            .await
            .expect_err("no keys");
        assert_eq!(failure.kind, FailureKind::Denied, "{failure:?}");
        assert!(!format!("{failure:?}").contains("it's secret"));
    }
    let role = json!({"assume-role": "arn:aws:iam::123456789012:role/tradewind"});
    world.cloud.forget_calls();
    world
        .accounts
        .zones(&world.asker("aws", role.clone())?, EAST)
        .await?;
    world
        .accounts
        .zones(&world.asker("aws", role)?, EAST)
        .await?;
    assert_eq!(
        world.cloud.calls("AssumeRole"),
        1,
        "what a role is given is kept"
    );
    Ok(())
}

#[tokio::test]
async fn failures_keep_awss_code_and_come_within_the_time_of_the_grant() -> Result<()> {
    let Some(world) = world()? else { return Ok(()) };
    let (patient, hasty) = (
        world.asker("aws", json!({"timeout": "60s"}))?,
        world.asker("aws", json!({"timeout": "2s"}))?,
    );
    let request = RunRequest {
        subnet: world.subnets[0].clone(),
        ..request()
    };
    let mut outcomes = Vec::new();
    for rule in [
        Rule::on("RunInstances").refuse("InsufficientInstanceCapacity"),
        Rule::on("RunInstances").refuse("VcpuLimitExceeded"),
        Rule::on("RunInstances").refuse("UnauthorizedOperation"),
        Rule::on("RunInstances").refuse_saying(
            400,
            "InvalidParameterValue",
            "Invalid value 't3.small' for InstanceType.",
        ),
        Rule::on("RunInstances").refuse("InternalError"),
    ] {
        world.cloud.forget_calls();
        world.cloud.rule(rule);
        let failure = world
            .accounts
            .run(&patient, &attempt("t")?, &request)
            .await
            .expect_err("trouble");
        outcomes.push((
            failure.kind.as_str(),
            failure.code.unwrap_or_default(),
            world.cloud.calls("RunInstances"),
        ));
        world.cloud.heal();
    }
    world.cloud.rule(Rule::on("RunInstances").hang());
    let given_up = tokio::time::timeout(
        Duration::from_secs(30),
        world.accounts.run(&hasty, &attempt("t")?, &request),
    )
    .await;
    let failure = given_up
        .context("an operation goes on beyond the grant's time")?
        .expect_err("nothing answers");
    outcomes.push((failure.kind.as_str(), failure.code.unwrap_or_default(), 0));
    world.cloud.heal();
    let told: Vec<(&str, &str)> = outcomes
        .iter()
        .map(|(kind, code, _)| (*kind, code.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("out-of-capacity", "InsufficientInstanceCapacity"),
            ("quota", "VcpuLimitExceeded"),
            ("denied", "UnauthorizedOperation"),
            ("invalid", "InvalidParameterValue"),
            ("unavailable", "InternalError"),
            ("unavailable", "timeout"),
        ]
    );
    assert_eq!(
        (outcomes[0].2, outcomes[4].2),
        (1, 3),
        "what is settled is not asked again, what may pass is"
    );
    Ok(())
}
