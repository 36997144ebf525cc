//! One revision runs one image, on clouds whose machines tell no digest: the registry tells it beforehand, or people are told that nothing
//! does.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tradewind_kit::{
    Daemon,
    aws::AwsCloud,
    clouds::{azure::Azure, gcp::Gcp},
    cluster::Cluster,
    docker::{REGISTRY_LOGIN, Registry},
};

const EAST: &str = "us-east-1";

/// A cloud whose replicas tell nothing of their images.
enum Cloud {
    Aws(AwsCloud),
    Azure(Azure),
    Gcp(Gcp),
    Kubernetes(Cluster),
}

impl Cloud {
    fn all() -> Result<Vec<(&'static str, Self)>> {
        let mut all = vec![
            ("azure", Self::Azure(Azure::start()?)),
            ("gcp", Self::Gcp(Gcp::start()?)),
        ];
        all.extend(AwsCloud::start()?.map(|cloud| ("aws", Self::Aws(cloud))));
        Ok(all)
    }

    fn instance(&self) -> Result<String> {
        match self {
            Self::Aws(cloud) => cloud.instance(&[EAST], ""),
            Self::Azure(cloud) => Ok(cloud.instance(&[])),
            Self::Gcp(cloud) => Ok(cloud.instance(&[])),
            Self::Kubernetes(cluster) => Ok(cluster.instance("", "")),
        }
    }

    /// What each replica that exists was told to run.
    fn told(&self) -> Result<Vec<String>> {
        match self {
            Self::Aws(cloud) => cloud
                .live(EAST)?
                .iter()
                .map(|machine| user_data(cloud, &machine.id))
                .collect(),
            Self::Azure(cloud) => Ok(cloud
                .live()
                .values()
                .map(|group| group.body.to_string())
                .collect()),
            Self::Gcp(cloud) => Ok(cloud
                .live()
                .values()
                .map(|machine| machine.body.to_string())
                .collect()),
            Self::Kubernetes(cluster) => Ok(cluster
                .ours("deployment", "default")?
                .iter()
                .map(|made| made["spec"].to_string())
                .collect()),
        }
    }
}

fn user_data(cloud: &AwsCloud, id: &str) -> Result<String> {
    let asked = [
        ("Action", "DescribeInstanceAttribute"),
        ("InstanceId", id),
        ("Attribute", "userData"),
    ];
    let answer = cloud.api(EAST, "ec2", &asked)?;
    let packed = tradewind_kit::aws::text(&tradewind_kit::aws::text(&answer, "userData"), "value");
    let mut child = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(packed.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success() && !output.stdout.is_empty(),
        "no user data: {answer}"
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn manifest(image: &str, replicas: u32, version: u32) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: shop}}\nspec:\n  services:\n    web:\n      image: {image}\n      \
         command: [serve]\n      env: {{VERSION: \"{version}\"}}\n      replicas: {replicas}\n      resources: {{cpu: 500m, memory: 1Gi}}\n"
    )
}

/// A daemon with the plugin's instance `cloud` and these settings.
fn start(plugin: &str, cloud: &Cloud, config: &str) -> Result<Daemon> {
    Daemon::configured(
        &["cheapest", plugin],
        &[("cloud", &cloud.instance()?)],
        config,
    )
}

/// Settings with a registry, whose login is kept in the folder.
fn knowing(registry: &Registry, folder: &TempDir) -> Result<String> {
    let login = folder.path().join("login");
    std::fs::write(&login, REGISTRY_LOGIN)?;
    Ok(format!(
        "[[registries]]\nhost = \"{}\"\nsource = {{ file = \"{}\" }}\n",
        registry.address,
        login.display()
    ))
}

#[tokio::test]
async fn a_cluster_has_the_digest_in_its_template_from_the_first_pod_on() -> Result<()> {
    let (Some(registry), Some(cluster)) = (Registry::empty()?, Cluster::start()?) else {
        return Ok(());
    };
    let image = format!("{}/team/web:1", registry.address);
    let first = registry.put("team/web", "1", "first").await?;
    let (cloud, folder) = (Cloud::Kubernetes(cluster), tradewind_kit::private_folder()?);
    let daemon = start("kubernetes", &cloud, &knowing(&registry, &folder)?)?;
    daemon.put("shop", &manifest(&image, 1, 1)).await?;
    daemon.running("shop").await?;
    let template = |when: &str| {
        let told = cloud.told()?;
        ensure!(
            told.len() == 1 && told[0].contains(&format!("\"{image}@{first}\"")),
            "{when}: {told:#?}"
        );
        Ok(())
    };
    template("at first")?;
    registry.put("team/web", "1", "second").await?;
    daemon.put("shop", &manifest(&image, 2, 1)).await?;
    daemon
        .until("shop", "grown", |d| {
            d["ready"] == 2 && d["status"] == "running"
        })
        .await?;
    template("grown")
}

#[tokio::test]
async fn a_tag_is_pinned_by_its_registry_before_the_first_machine_pulls_it() -> Result<()> {
    let Some(registry) = Registry::empty()? else {
        return Ok(());
    };
    let image = format!("{}/team/web:1", registry.address);
    let login = tradewind_kit::private_folder()?;
    let config = knowing(&registry, &login)?;
    for (plugin, cloud) in Cloud::all()? {
        let first = registry
            .put("team/web", "1", &format!("first on {plugin}"))
            .await?;
        let mut daemon = start(plugin, &cloud, &config)?;
        let all_run = |digest: &str, count: usize| {
            let told = cloud.told()?;
            ensure!(
                told.len() == count
                    && told
                        .iter()
                        .all(|told| told.contains(&format!("{image}@{digest}"))),
                "{plugin}: {told:#?}"
            );
            Ok(())
        };
        let file = daemon.file("shop.yaml", &manifest(&image, 1, 1))?;
        let plan = daemon.run(&["plan", "-f", &file])?;
        ensure!(!plan.contains("is not pinned"), "{plugin}: {plan}");
        daemon.put("shop", &manifest(&image, 1, 1)).await?;
        daemon.running("shop").await?;
        all_run(&first, 1)?;

        // The tag moves: later replicas of the revision run what its first one runs, after a restart too, and another revision what is new.
        let second = registry
            .put("team/web", "1", &format!("second on {plugin}"))
            .await?;
        let whole = matches!(cloud, Cloud::Gcp(_));
        if whole {
            daemon.stop()?;
            daemon.launch()?;
        }
        daemon.put("shop", &manifest(&image, 2, 1)).await?;
        daemon
            .until("shop", "grown", |d| {
                d["ready"] == 2 && d["status"] == "running"
            })
            .await?;
        all_run(&first, 2)?;
        let described = daemon.run(&["describe", "shop"])?;
        ensure!(
            !described.contains("is not pinned"),
            "{plugin}: {described}"
        );
        if whole {
            daemon.put("shop", &manifest(&image, 2, 2)).await?;
            daemon
                .until("shop", "changed", |d| {
                    all_run(&second, 2).is_ok() && d["status"] == "running"
                })
                .await?;
            daemon.run(&["rollback", "shop"])?;
            daemon
                .until("shop", "back", |_| all_run(&first, 2).is_ok())
                .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_tag_that_nothing_pins_is_told_by_plan_and_describe() -> Result<()> {
    let digest = format!("sha256:{}", "0".repeat(64));
    for (plugin, cloud) in Cloud::all()? {
        let daemon = start(plugin, &cloud, "")?;
        let tag = "registry.example.com/team/web:1";
        let told = format!(
            "the image \"{tag}\" is not pinned on \"cloud\": replicas made later may run another"
        );
        let file = daemon.file("shop.yaml", &manifest(tag, 1, 1))?;
        let plan = daemon.run(&["plan", "-f", &file])?;
        ensure!(plan.contains(&told), "{plugin}: {plan}");
        daemon.put("shop", &manifest(tag, 1, 1)).await?;
        let view = daemon.running("shop").await?;
        let warning = view["tasks"][0]["allocations"][0]["warnings"][0]
            .as_str()
            .unwrap_or_default();
        ensure!(warning.starts_with(&told), "{plugin}: {view:#}");
        let described = daemon.run(&["describe", "shop"])?;
        ensure!(
            described.contains("Warnings\n") && described.contains(&told),
            "{plugin}: {described}"
        );

        let exact = format!("{tag}@{digest}");
        let file = daemon.file("shop.yaml", &manifest(&exact, 1, 1))?;
        let plan = daemon.run(&["plan", "-f", &file])?;
        ensure!(!plan.contains("is not pinned"), "{plugin}: {plan}");
        daemon.put("shop", &manifest(&exact, 1, 1)).await?;
        daemon
            .until("shop", "exact", |d| {
                d["status"] == "running" && !d.to_string().contains("is not pinned")
            })
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_registry_that_does_not_tell_holds_nothing_up_and_is_named() -> Result<()> {
    // Nobody listens there.
    let cloud = Cloud::Gcp(Gcp::start()?);
    let daemon = start("gcp", &cloud, "[[registries]]\nhost = \"127.0.0.1:1\"\n")?;
    daemon
        .put("shop", &manifest("127.0.0.1:1/team/web:1", 1, 1))
        .await?;
    daemon.running("shop").await?;
    let described = daemon.run(&["describe", "shop"])?;
    for wanted in [
        "ImageNotPinned",
        "the registry \"127.0.0.1:1\" does not answer",
        "is not pinned on \"cloud\"",
    ] {
        ensure!(described.contains(wanted), "{wanted}: {described}");
    }
    Ok(())
}
