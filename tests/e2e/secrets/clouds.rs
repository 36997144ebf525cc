//! Canaries that go to clouds: secrets of workloads, and the keys of an account.

use std::rc::Rc;

use anyhow::Result;
use tradewind_kit::{
    Daemon,
    aws::AwsCloud,
    cluster::Cluster,
    podman::{IMAGE, Podman},
};

use super::{
    plants::{Planted, manifest},
    search::Canary,
};

/// Components that their instances need.
pub(super) const COMPONENTS: [&str; 3] = ["containers", "kubernetes", "aws"];

/// One for each cloud that this machine can have.
pub(super) fn plant() -> Result<Vec<Planted>> {
    let mut all = Vec::new();
    all.extend(Podman::start()?.map(in_container).transpose()?);
    all.extend(Cluster::start()?.map(in_cluster).transpose()?);
    if let Some(cloud) = AwsCloud::start()? {
        all.extend(in_account(cloud)?);
    }
    Ok(all)
}

/// A service at one provider that is given the secret as a variable and as a file.
fn service(name: &str, provider: &str, secret: &str, image: &str, more: &str) -> String {
    let task = format!(
        "{{image: \"{image}\", command: [sleep, \"600\"], env: {{CANARY: {{secret: {secret}}}}}, \
         files: [{{path: /srv/token, secret: {{secret: {secret}}}}}], resources: {{cpu: 10m, memory: 32Mi}}{more}}}"
    );
    manifest(
        name,
        &format!("  placement: {{providers: [{provider}]}}\n  services:\n    web: {task}\n"),
    )
}

fn planted(
    canary: Canary,
    provider: (&str, String),
    secret: &str,
    deployment: (&'static str, String),
    arrived: impl Fn(&Daemon) -> Result<bool> + 'static,
) -> Planted {
    Planted {
        secrets: vec![(secret.to_owned(), canary.value.clone())],
        become_: vec![(deployment.0, "running")],
        manifests: vec![deployment],
        ..Planted::of(
            canary,
            (provider.0.to_owned(), provider.1),
            Box::new(arrived),
        )
    }
}

/// In a container's environment and in a file there.
fn in_container(engine: Podman) -> Result<Planted> {
    let canary = Canary::new("container");
    let instance = engine.instance(
        "host-network = true\nsecrets = [\"boxed\"]\n",
        "network = \"host\"\n",
    );
    let needle = canary.clone();
    let arrived = move |_: &Daemon| {
        let Some(container) = engine.containers()?.pop() else {
            return Ok(false);
        };
        let held = |command: &[&str]| {
            let told = engine.podman(&[&["exec", container.as_str()], command].concat())?;
            anyhow::Ok(!super::found(told.as_bytes(), &[&needle]).is_empty())
        };
        Ok(held(&["env"])? && held(&["cat", "/srv/token"])?)
    };
    Ok(planted(
        canary,
        ("box", instance),
        "boxed",
        (
            "boxed",
            service(
                "boxed",
                "box",
                "boxed",
                IMAGE,
                ", stop: {signal: KILL, grace: 1s}",
            ),
        ),
        arrived,
    ))
}

/// In a cluster's secret.
fn in_cluster(cluster: Cluster) -> Result<Planted> {
    let canary = Canary::new("cluster");
    let instance = cluster.instance("", "secrets = [\"clustered\"]");
    let needle = canary.clone();
    let arrived = move |_: &Daemon| {
        let secrets = serde_json::Value::from(cluster.ours("secret", "default")?).to_string();
        Ok(!super::found(secrets.as_bytes(), &[&needle]).is_empty())
    };
    let deployment = (
        "clustered",
        service("clustered", "k8s", "clustered", "example.com/web:1", ""),
    );
    Ok(planted(
        canary,
        ("k8s", instance),
        "clustered",
        deployment,
        arrived,
    ))
}

/// In what an instance of an account starts by; and the account's secret key, with which everything there was signed.
fn in_account(cloud: AwsCloud) -> Result<[Planted; 2]> {
    const REGION: &str = "us-east-1";
    let (canary, key) = (Canary::new("account"), Canary::new("account-key"));
    cloud.rotate(&format!("AKIATESTCANARY:{}", key.value))?;
    let instance = cloud.instance_with(&[REGION], "", "secrets = [\"accounted\"]")?;
    let (cloud, needle) = (Rc::new(cloud), canary.clone());
    let signed = cloud.clone();
    let arrived = move |_: &Daemon| {
        let Some(machine) = cloud.live(REGION)?.pop() else {
            return Ok(false);
        };
        let parameters = [
            ("Action", "DescribeInstanceAttribute"),
            ("InstanceId", machine.id.as_str()),
            ("Attribute", "userData"),
        ];
        Ok(!super::found(
            cloud.api(REGION, "ec2", &parameters)?.as_bytes(),
            &[&needle],
        )
        .is_empty())
    };
    let deployment = (
        "accounted",
        service("accounted", "account", "accounted", "shop/web:1", ""),
    );
    let workload = planted(
        canary,
        ("account", instance.clone()),
        "accounted",
        deployment,
        arrived,
    );
    // Of a key one sees only that something was made with it: it never leaves the daemon.
    let made = move |_: &Daemon| Ok(!signed.live(REGION)?.is_empty());
    Ok([
        workload,
        Planted::of(key, ("account".to_owned(), instance), Box::new(made)),
    ])
}
