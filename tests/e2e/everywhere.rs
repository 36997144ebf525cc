//! One manifest on a container engine, a Kubernetes cluster and an AWS account at once, and from one to the other when it is taken away.

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon,
    aws::AwsCloud,
    cluster::Cluster,
    endpoints, eventually, fetch,
    podman::{IMAGE, Podman},
    when,
};

/// A model served on a port, at three places or where it costs least.
fn model(head: &str) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: my-model}}
spec:
{head}
  services:
    my-model:
      image: {IMAGE}
      command: [sh, -c, 'exec httpd -f -p $PORT -h /srv']
      files: [{{path: /srv/index.html, content: "the model answers"}}]
      ports: {{http: {{protocol: http}}}}
      resources: {{cpu: 10m, memory: 32Mi}}
      stop: {{grace: 1s}}
"#
    )
}

const EVERYWHERE: &str = r#"
  targets:
    - {provider: engine, region: local, services: [{name: my-model}]}
    - {provider: cluster, region: lab, services: [{name: my-model}]}
    - {provider: account, region: us-west-2, services: [{name: my-model}]}
"#;

/// The three of them, the engine being the cheapest and the account the dearest.
struct Clouds {
    engine: Podman,
    cluster: Cluster,
    account: AwsCloud,
}

impl Clouds {
    fn start() -> Result<Option<Self>> {
        let Some(engine) = Podman::start()? else {
            return Ok(None);
        };
        let Some(cluster) = Cluster::start()? else {
            return Ok(None);
        };
        let Some(account) = AwsCloud::start()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            engine,
            cluster,
            account,
        }))
    }

    fn daemon(&self) -> Result<Daemon> {
        let engine = self.engine.instance("", "cpu-price = \"0.001\"");
        let cluster = self.cluster.instance("", "");
        // With two clusters that start beside it, the account takes more than the usual four seconds to answer, and is asked again half a
        // minute later.
        let patient = "timeout = \"30s\"";
        let account =
            self.account
                .instance_with(&["us-west-2"], "load-balancer = false", patient)?;
        let plugins = ["cheapest", "containers", "kubernetes", "aws"];
        // Likewise the engine more than two: without its offers another one is the cheapest.
        let settings = "[controller]\noffers-patience = \"30s\"\n";
        Daemon::configured(
            &plugins,
            &[
                ("engine", &engine),
                ("cluster", &cluster),
                ("account", &account),
            ],
            settings,
        )
    }

    /// What really runs at each of the three.
    fn running(&self) -> Result<[usize; 3]> {
        let pods = self.cluster.ours("pods", "default")?;
        let pods = pods
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .count();
        Ok([
            self.engine.containers()?.len(),
            pods,
            self.account.live("us-west-2")?.len(),
        ])
    }

    async fn until(&self, wanted: [usize; 3]) -> Result<()> {
        let running = eventually(format!("{wanted:?} run"), async || {
            let running = self.running()?;
            Ok(when(running == wanted, format!("{running:?}")))
        });
        running.await.map(drop)
    }
}

/// The endpoints at one provider.
fn at(deployment: &Value, provider: &str) -> Vec<String> {
    let mut alone = deployment.clone();
    if let Some(tasks) = alone["tasks"].as_array_mut() {
        for task in tasks {
            if let Some(allocations) = task["allocations"].as_array_mut() {
                allocations.retain(|a| a["provider"] == provider);
            }
        }
    }
    endpoints(&alone)
}

/// Whether it runs at one provider alone, beside what is left behind where nothing answers.
fn goes_on(deployment: &Value, provider: &str) -> bool {
    let tasks = deployment["tasks"].as_array().into_iter().flatten();
    let mut current = tasks
        .flat_map(|task| task["allocations"].as_array().into_iter().flatten())
        .filter(|allocation| allocation["lost"] == false && allocation["superseded"] == false)
        .peekable();
    current.peek().is_some()
        && current.all(|allocation| allocation["provider"] == provider && allocation["ready"] == 1)
}

#[tokio::test]
async fn one_manifest_runs_on_an_engine_a_cluster_and_an_account_at_once() -> Result<()> {
    let Some(clouds) = Clouds::start()? else {
        return Ok(());
    };
    let daemon = clouds.daemon()?;
    daemon.put("my-model", &model(EVERYWHERE)).await?;
    let running = daemon.running("my-model").await?;
    assert_eq!(
        running["places"],
        json!(["account/us-west-2", "cluster/lab", "engine/local"]),
        "{running:#}"
    );
    assert_eq!(clouds.running()?, [1, 1, 1]);
    assert_eq!(
        fetch(&daemon.http, &at(&running, "engine")[0]).await?,
        "the model answers"
    );
    let described = daemon.run(&["describe", "my-model"])?;
    for place in ["engine/local", "cluster/lab", "account/us-west-2"] {
        assert!(
            described.contains(place),
            "{place} is missing in:\n{described}"
        );
    }
    daemon.delete("my-model").await?;
    daemon.gone("my-model").await?;
    clouds.until([0, 0, 0]).await
}

#[tokio::test]
async fn what_is_taken_away_goes_on_at_the_next_one_and_is_not_doubled_when_it_returns()
-> Result<()> {
    let Some(mut clouds) = Clouds::start()? else {
        return Ok(());
    };
    let daemon = clouds.daemon()?;
    daemon
        .put("my-model", &model("  recovery: {failover: 1s}"))
        .await?;
    let running = daemon.running("my-model").await?;
    assert_eq!(running["places"], json!(["engine/local"]), "the cheapest");

    clouds.engine.interrupt()?;
    daemon
        .until("my-model", "running on the cluster", |d| {
            goes_on(d, "cluster")
        })
        .await?;
    clouds.cluster.stop_server();
    daemon
        .until("my-model", "running in the account", |d| {
            goes_on(d, "account")
        })
        .await?;

    clouds.engine.serve()?;
    clouds.cluster.start_server()?;
    clouds.until([0, 0, 1]).await?;
    daemon.running("my-model").await?;
    Ok(())
}
