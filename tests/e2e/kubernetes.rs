//! Through the provider `kubernetes` on a real API server with its controllers: the objects are there, and follow, and go. Nothing runs in the pods.

mod objects;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tradewind_kit::{Daemon, cluster::Cluster};

/// A secret that must appear in the cluster and nowhere else.
const CANARY: &str = "canary-5f1d0c";
const KINDS: [&str; 7] = [
    "deployment",
    "service",
    "job",
    "secret",
    "configmap",
    "hpa",
    "pdb",
];

fn daemon(cluster: &Cluster, settings: &str, grant: &str) -> Result<Daemon> {
    Daemon::start(
        &["cheapest", "kubernetes"],
        &[("k8s", &cluster.instance(settings, grant))],
    )
}

/// A manifest of one task called `web`.
fn task(name: &str, update: &str, task: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  update: {update}\n  services:\n    web: {{image: example.com/web:1, {task}}}\n"
    )
}

fn web(name: &str, further: &str) -> String {
    let common = "ports: {http: {protocol: http, expose: public}}, health: {http: /health}, resources: {cpu: 100m, memory: 64Mi}";
    task(name, "{}", &format!("{common}, {further}"))
}

/// The messages and failures of a deployment's tasks and allocations, in one text.
fn told(deployment: &Value) -> String {
    let tasks = deployment["tasks"].as_array().into_iter().flatten();
    let texts = tasks.map(|task| {
        let allocations = task["allocations"].as_array().into_iter().flatten();
        let below: Vec<String> = allocations.map(|a| a["message"].to_string()).collect();
        format!(
            "{} {} {}",
            task["message"],
            task["failure"],
            below.join(" ")
        )
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn uids(objects: &[Value]) -> Vec<String> {
    let mut uids: Vec<String> = objects
        .iter()
        .map(|o| o["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
        .collect();
    uids.sort();
    uids
}

#[tokio::test]
async fn a_service_is_deployed_resized_changed_and_removed_whole() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let daemon = daemon(
        &cluster,
        "",
        "secrets = [\"db\"]\nannotations = [\"example.com/*\"]",
    )?;
    std::fs::create_dir_all(daemon.data().join("secrets/db"))?;
    std::fs::write(daemon.data().join("secrets/db/password"), CANARY)?;
    let further = |replicas: u32, version: u32| {
        format!(
            "replicas: {replicas}, env: {{VERSION: \"{version}\", PASSWORD: {{secret: db, key: password}}}}, \
             files: [{{path: /etc/app.toml, content: \"a = 1\"}}], extensions: {{kubernetes: {{annotations: {{example.com/team: shop}}}}}}"
        )
    };
    // What somebody else has is left alone.
    cluster
        .apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: default}\n")?;
    daemon.put("shop", &web("shop", &further(2, 1))).await?;
    let running = daemon.running("shop").await?;
    assert_eq!(
        (&running["places"], &running["ready"]),
        (&json!(["k8s/lab"]), &json!(2)),
        "{running:#}"
    );
    let deployments = cluster.ours("deployment", "default")?;
    let [deployment] = &deployments[..] else {
        anyhow::bail!("{deployments:#?}")
    };
    let labels = &deployment["metadata"]["labels"];
    assert_eq!(
        (
            &labels["tradewind.dev/instance"],
            &labels["tradewind.dev/deployment"],
            &labels["tradewind.dev/task"]
        ),
        (&json!("k8s"), &json!("shop"), &json!("web"))
    );
    assert_eq!(
        labels["tradewind.dev/allocation"],
        deployment["metadata"]["name"]
    );
    // Its command line leaves out who manages what.
    let name = labels["tradewind.dev/allocation"]
        .as_str()
        .unwrap_or_default();
    let whole: Value = serde_json::from_str(&cluster.kubectl(&[
        "get",
        "--raw",
        &format!("/apis/apps/v1/namespaces/default/deployments/{name}"),
    ])?)?;
    let mut managers = whole["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    let manager = managers.any(|m| m["manager"] == "tradewind" && m["operation"] == "Apply");
    assert!(manager, "{whole:#}");
    let (services, budgets) = (
        cluster.ours("service", "default")?,
        cluster.ours("pdb", "default")?,
    );
    assert_eq!(
        (services.len(), budgets.len()),
        (2, 1),
        "inside and outside"
    );
    assert_eq!(cluster.ours("configmap", "default")?.len(), 1);
    let mut selectors = services.iter().map(|s| &s["spec"]["selector"]).chain(
        budgets
            .iter()
            .map(|b| &b["spec"]["selector"]["matchLabels"]),
    );
    assert!(
        selectors.all(|selector| selector["tradewind.dev/instance"] == "k8s"),
        "{services:#?} {budgets:#?}"
    );
    let secrets = cluster.ours("secret", "default")?;
    let value = secrets[0]["data"]["env-0"].as_str().unwrap_or_default();
    assert_eq!(value, "Y2FuYXJ5LTVmMWQwYw==", "the value, in base64");

    let before = uids(&cluster.ours("pod", "default")?);
    daemon.put("shop", &web("shop", &further(3, 1))).await?;
    daemon
        .until("shop", "grown", |d| {
            d["ready"] == 3 && d["status"] == "running"
        })
        .await?;
    let grown = uids(&cluster.ours("pod", "default")?);
    assert!(
        grown.len() == 3 && before.iter().all(|uid| grown.contains(uid)),
        "what ran goes on: {before:?} {grown:?}"
    );
    daemon.put("shop", &web("shop", &further(3, 2))).await?;
    daemon
        .until("shop", "changed", |d| {
            d["status"] == "running" && d["generation"] == 3 && d["rollout"]["status"] == "done"
        })
        .await?;
    let changed = cluster.until("pod", "default", "changed", |pods| pods.len() == 3)?;
    assert!(
        changed
            .iter()
            .all(|pod| pod["spec"]["containers"][0]["env"][0]["value"] == "2"),
        "{changed:#?}"
    );

    for shown in [
        daemon.get("/v1/deployments/shop").await?,
        daemon.list("/v1/events?limit=1000").await?,
    ] {
        assert!(!shown.to_string().contains(CANARY));
    }
    assert!(!daemon.log().contains(CANARY));
    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    for kind in KINDS {
        let left = cluster.ours(kind, "default")?;
        assert!(left.is_empty(), "{kind}: {left:#?}");
    }
    assert!(
        cluster
            .list("configmap", "default")?
            .iter()
            .any(|o| o["metadata"]["name"] == "theirs")
    );
    Ok(())
}

#[tokio::test]
async fn jobs_end_autoscalers_are_there_and_what_was_lost_is_swept() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let daemon = daemon(&cluster, "", "")?;
    let job = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: nightly}\nspec:\n  jobs:\n    once: {image: example.com/job:1, replicas: 2, retries: 1, deadline: 1h, resources: {cpu: 100m, memory: 64Mi}}\n";
    daemon.put("nightly", job).await?;
    let done = daemon
        .until("nightly", "completed", |d| d["status"] == "completed")
        .await?;
    assert_eq!(cluster.ours("job", "default")?.len(), 2, "{done:#}");

    daemon
        .put(
            "shop",
            &web(
                "shop",
                "replicas: 2, extensions: {kubernetes: {autoscale: {min: 2, max: 4, cpu: 70}}}",
            ),
        )
        .await?;
    daemon.running("shop").await?;
    let scalers = cluster.ours("hpa", "default")?;
    assert_eq!(
        (
            &scalers[0]["spec"]["minReplicas"],
            &scalers[0]["spec"]["maxReplicas"]
        ),
        (&json!(2), &json!(4)),
        "{scalers:#?}"
    );
    assert_eq!(cluster.ours("pdb", "default")?.len(), 1);

    // Removed behind the daemon's back: it is made again.
    let name = scalers[0]["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let before = uids(&cluster.ours("deployment", "default")?);
    cluster.kubectl(&[
        "delete",
        "deployment",
        &name,
        "-n",
        "default",
        "--wait=true",
    ])?;
    cluster.until("deployment", "default", "made again", |all| {
        all.len() == 1 && uids(all) != before
    })?;
    daemon
        .until("shop", "running again", |d| {
            d["status"] == "running" && d["ready"] == 2
        })
        .await?;

    for name in ["nightly", "shop"] {
        daemon.delete(name).await?;
        daemon.gone(name).await?;
    }
    for kind in KINDS {
        let left = cluster.ours(kind, "default")?;
        assert!(left.is_empty(), "{kind}: {left:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_that_was_evicted_or_went_with_its_node_is_no_attempt_of_its_job() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let daemon = daemon(&cluster, "", "")?;
    let job = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: nightly}\nspec:\n  jobs:\n    once: {image: waits/job:1, retries: 0, resources: {cpu: 100m, memory: 64Mi}}\n";
    daemon.put("nightly", job).await?;
    let live = |pods: &[Value]| {
        pods.iter()
            .find(|p| p["status"]["phase"] == "Running")
            .map(|p| p["metadata"]["name"].to_string())
    };
    let name = |pods: &[Value]| live(pods).unwrap_or_default().trim_matches('"').to_owned();
    let first = name(&cluster.until("pod", "default", "running", |pods| live(pods).is_some())?);
    // By an eviction of the cluster's, and by a node that says only why.
    let disrupted =
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]);
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory", "conditions": disrupted});
    let mut pod = first;
    for status in [
        evicted,
        json!({"phase": "Failed", "reason": "NodeShutdown", "message": "the node shuts down"}),
    ] {
        cluster.report("default", &pod, &status)?;
        let next = cluster.until("pod", "default", "made again", |pods| {
            live(pods).is_some() && name(pods) != pod
        })?;
        let shown = daemon.get("/v1/deployments/nightly").await?;
        assert!(
            shown["status"] != "failed" && shown["status"] != "completed",
            "{shown:#}"
        );
        pod = name(&next);
    }
    cluster.kubectl(&[
        "annotate",
        "pod",
        &pod,
        "-n",
        "default",
        "example.com/ends=yes",
    ])?;
    daemon
        .until("nightly", "completed", |d| d["status"] == "completed")
        .await?;
    Ok(())
}

/// The least that an API server needs to know of the mesh's kinds.
fn mesh_kinds() -> String {
    let kind = |kind: &str, plural: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.networking.istio.io}}\nspec:\n  group: networking.istio.io\n  \
             scope: Namespaced\n  names: {{kind: {kind}, plural: {plural}, singular: {}}}\n  versions:\n  - name: v1beta1\n    served: true\n    storage: true\n    \
             schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n",
            kind.to_lowercase()
        )
    };
    format!(
        "{}---\n{}",
        kind("VirtualService", "virtualservices"),
        kind("DestinationRule", "destinationrules")
    )
}

#[tokio::test]
async fn a_canary_shifts_the_weights_of_the_mesh() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    cluster.apply(&mesh_kinds())?;
    cluster.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/virtualservices.networking.istio.io",
        "crd/destinationrules.networking.istio.io",
    ])?;
    let kinds = "kinds = [\"Deployment\", \"Service\", \"Secret\", \"ConfigMap\", \"PodDisruptionBudget\", \"VirtualService\", \"DestinationRule\"]";
    let daemon = daemon(&cluster, "istio = true", kinds)?;
    let version = |version: u32| {
        let common = "ports: {http: {protocol: http}}, health: {http: /health}, resources: {cpu: 100m, memory: 64Mi}, replicas: 4";
        task(
            "shop",
            "{strategy: canary, drain: 100ms, steps: [{weight: 25%}]}",
            &format!("{common}, env: {{VERSION: \"{version}\"}}"),
        )
    };
    let weights = |objects: &[Value]| -> Vec<u64> {
        let routes = objects.iter().flat_map(|o| {
            o["spec"]["http"][0]["route"]
                .as_array()
                .into_iter()
                .flatten()
        });
        let mut weights: Vec<u64> = routes
            .filter_map(|route| route["weight"].as_u64())
            .collect();
        weights.sort_unstable();
        weights
    };
    daemon.put("shop", &version(1)).await?;
    daemon.running("shop").await?;
    cluster.until("virtualservice", "default", "one route", |all| {
        weights(all) == [100]
    })?;
    daemon.put("shop", &version(2)).await?;
    let shared = cluster.until("virtualservice", "default", "shared 75 to 25", |all| {
        weights(all) == [25, 75]
    })?;
    let rules = cluster.ours("destinationrule", "default")?;
    assert_eq!(
        rules[0]["spec"]["subsets"].as_array().map(Vec::len),
        Some(2),
        "{rules:#?} {shared:#?}"
    );
    daemon
        .until("shop", "waiting", |d| d["rollout"]["status"] == "waiting")
        .await?;
    daemon.run(&["promote", "shop"])?;
    daemon
        .until("shop", "whole", |d| {
            d["status"] == "running" && d["rollout"]["status"] == "done"
        })
        .await?;
    cluster.until("virtualservice", "default", "one route again", |all| {
        weights(all) == [100]
    })?;
    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    for kind in ["virtualservice", "destinationrule", "service", "deployment"] {
        assert!(cluster.ours(kind, "default")?.is_empty(), "{kind}");
    }
    Ok(())
}

/// A deployment that goes to one provider.
fn at(name: &str, provider: &str, further: &str) -> String {
    web(
        name,
        &format!("placement: {{providers: [{provider}]}}, {further}"),
    )
}

#[tokio::test]
async fn a_namespace_that_is_not_granted_is_told_with_its_remedy() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    cluster.kubectl(&["create", "namespace", "team"])?;
    let outside = cluster.instance("namespace = \"team\"", "");
    let daemon = Daemon::start(
        &["cheapest", "kubernetes"],
        &[("outside", outside.as_str())],
    )?;
    daemon
        .put("far", &at("far", "outside", "replicas: 1"))
        .await?;
    let remedy = "the namespace \\\"team\\\" is not granted; add \\\"team\\\" to namespaces";
    daemon
        .until("far", "refused with its remedy", |d| {
            d.to_string().contains(remedy)
        })
        .await?;
    assert!(cluster.ours("deployment", "team")?.is_empty());
    Ok(())
}

/// By annotations add-ons of a cluster give pods rights: that is for who grants, not for who writes a manifest.
#[tokio::test]
async fn an_annotation_that_is_not_granted_keeps_its_own_task_away() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let instance = cluster.instance("", "");
    let daemon = Daemon::start(&["cheapest", "kubernetes"], &[("k8s", instance.as_str())])?;
    let annotated =
        "replicas: 1, extensions: {kubernetes: {annotations: {iam.amazonaws.com/role: admin}}}";
    daemon.put("sly", &at("sly", "k8s", annotated)).await?;
    let remedy = "the annotation \\\"iam.amazonaws.com/role\\\" is not granted; add \\\"iam.amazonaws.com/role\\\" to annotations";
    daemon
        .until("sly", "refused with its remedy", |d| {
            d.to_string().contains(remedy)
        })
        .await?;
    daemon
        .put("shop", &at("shop", "k8s", "replicas: 1"))
        .await?;
    daemon.running("shop").await?;
    let names = cluster.ours("deployment", "default")?;
    assert_eq!(names.len(), 1, "{names:#?}");
    Ok(())
}

#[tokio::test]
async fn a_quota_is_told_and_what_it_held_back_goes_on_without_it() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    cluster.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small, namespace: default}\nspec: {hard: {pods: 1}}\n")?;
    let instance = cluster.instance("", "");
    let daemon = Daemon::start(&["cheapest", "kubernetes"], &[("k8s", instance.as_str())])?;
    daemon
        .put("shop", &at("shop", "k8s", "replicas: 2"))
        .await?;
    daemon
        .until("shop", "short of quota", |d| {
            told(d).contains("exceeded quota") && d["ready"] == 1
        })
        .await?;
    cluster.kubectl(&["delete", "resourcequota", "small"])?;
    daemon.until("shop", "whole", |d| d["ready"] == 2).await?;
    Ok(())
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let instance = cluster.instance("", "");
    let daemon = Daemon::start(&["cheapest", "kubernetes"], &[("k8s", instance.as_str())])?;
    daemon
        .put(
            "lost",
            &at("lost", "k8s", "replicas: 1").replace("example.com/web:1", "missing/web:1"),
        )
        .await?;
    daemon
        .until("lost", "without an image", |d| {
            told(d).contains("ImagePullBackOff")
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_field_that_somebody_else_holds_is_told_with_its_remedy() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let instance = cluster.instance("", "");
    let daemon = Daemon::start(&["cheapest", "kubernetes"], &[("k8s", instance.as_str())])?;
    daemon
        .put("shop", &at("shop", "k8s", "replicas: 2"))
        .await?;
    daemon.running("shop").await?;
    let deployments = cluster.ours("deployment", "default")?;
    let name = deployments[0]["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    cluster.kubectl(&[
        "patch",
        "deployment",
        name,
        "--patch",
        r#"{"spec": {"replicas": 3}}"#,
    ])?;
    daemon
        .put("shop", &at("shop", "k8s", "replicas: 4"))
        .await?;
    let held = daemon
        .until("shop", "in conflict", |d| {
            told(d).contains("another manager holds a field")
        })
        .await?;
    assert!(told(&held).contains("force-conflicts = true"), "{held:#}");
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_away_holds_nobody_else_and_is_used_again_when_it_returns()
-> Result<()> {
    let Some(mut cluster) = Cluster::start()? else {
        return Ok(());
    };
    if !cluster.is_own() {
        eprintln!("left out: the cluster that is named can't be stopped");
        return Ok(());
    }
    let instance = cluster.instance("", "timeout = \"2s\"");
    let local = tradewind_kit::LOCAL;
    let daemon = Daemon::start(
        &["cheapest", "kubernetes", "process"],
        &[("k8s", &instance), ("local", local)],
    )?;
    daemon
        .put(
            "shop",
            &web("shop", "placement: {providers: [k8s]}, replicas: 2"),
        )
        .await?;
    daemon.running("shop").await?;
    let before = uids(&cluster.ours("pod", "default")?);
    cluster.stop_server();
    daemon
        .put(
            "shop",
            &web("shop", "placement: {providers: [k8s]}, replicas: 3"),
        )
        .await?;
    let away = daemon
        .until("shop", "told of the silence", |d| {
            told(d).contains("can't be reached")
        })
        .await?;
    assert!(told(&away).contains("connection refused"), "{away:#}");
    let shown = daemon.run(&["describe", "shop"])?;
    ensure!(
        shown.contains("can't be reached") && shown.contains("see that the API server runs"),
        "{shown}"
    );
    // Another provider is not held up.
    daemon
        .put("here", &tradewind_kit::web("here", 1, "hello"))
        .await?;
    daemon.running("here").await?;
    cluster.start_server()?;
    daemon
        .until("shop", "grown", |d| {
            d["ready"] == 3 && d["status"] == "running"
        })
        .await?;
    let after = uids(&cluster.ours("pod", "default")?);
    assert!(
        before.iter().all(|uid| after.contains(uid)),
        "what ran went on: {before:?} {after:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_workload_gets_on_a_cluster_is_what_was_written() -> Result<()> {
    const KINDS: &str = "kinds = [\"Deployment\", \"Service\", \"Secret\", \"ConfigMap\", \"PersistentVolumeClaim\"]\n\
                         secrets = [{ name = \"db\", namespaces = [\"red\", \"blue\"] }]";
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let daemon = daemon(&cluster, "", KINDS)?;
    std::fs::create_dir_all(daemon.data().join("secrets"))?;
    std::fs::write(daemon.data().join("secrets/db"), "two\nlines\n\r\n")?;
    let shop = |namespace: &str, size: &str| {
        let given = "command: [sh, -c, \"echo $$ $(WHO) $HOME\"], env: {WHO: me, P: \"a$$b$(WHO)c\", S: {secret: db}}, \
                     files: [{path: /etc/db, secret: {secret: db}}]";
        task(
            "shop",
            "{}",
            &format!("{given}, volumes: [{{path: /data, name: Web_Data..1, size: {size}}}], resources: {{cpu: 10m, memory: 8Mi}}"),
        )
        .replace("{name: shop}", &format!("{{name: shop, namespace: {namespace}}}"))
    };
    for namespace in ["red", "blue"] {
        daemon
            .put(
                &format!("shop?namespace={namespace}"),
                &shop(namespace, "1Gi"),
            )
            .await?;
    }
    let deployments = cluster.until("deployment", "default", "two", |all| all.len() == 2)?;
    let pod = |deployment: &Value| deployment["spec"]["template"]["spec"].clone();
    let mut claims: Vec<String> = Vec::new();
    for deployment in &deployments {
        let (container, volumes) = (
            pod(deployment)["containers"][0].clone(),
            pod(deployment)["volumes"].clone(),
        );
        // A kubelet makes of it what was written.
        assert_eq!(
            container["command"],
            json!(["sh", "-c", "echo $$$ $$(WHO) $HOME"])
        );
        assert_eq!(container["env"][1]["value"], "a$$$b$$(WHO)c");
        let claim = volumes
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|v| v["persistentVolumeClaim"]["claimName"].as_str());
        claims.extend(claim.map(str::to_owned));
    }
    let secrets = cluster.ours("secret", "default")?;
    assert_eq!(
        secrets[0]["data"],
        json!({"env-0": "dHdvCmxpbmVzCg==", "file-0": "dHdvCmxpbmVzCg0K"}),
        "a variable loses one line end"
    );

    let made = cluster.ours("persistentvolumeclaim", "default")?;
    let owners: std::collections::BTreeSet<_> = made
        .iter()
        .map(|c| c["metadata"]["labels"]["tradewind.dev/namespace"].to_string())
        .collect();
    assert_eq!(
        (made.len(), owners.len(), claims.len()),
        (2, 2, 2),
        "{made:#?}"
    );
    assert_ne!(claims[0], claims[1]);
    daemon
        .put("shop?namespace=red", &shop("red", "2Gi"))
        .await?;
    // Its task says so until the update returns, the deployment from then on.
    let told = |d: &Value| format!("{} {}", told(d), d["message"]);
    let view = daemon
        .until("shop?namespace=red", "told of its claim", |d| {
            told(d).contains("does not let it grow to 2Gi")
        })
        .await?;
    assert!(
        told(&view).contains("the volume \\\"Web_Data..1\\\" was made for 1Gi")
            && !told(&view).contains("immutable"),
        "{view:#}"
    );
    daemon
        .put("shop?namespace=red", &shop("red", "512Mi"))
        .await?;
    daemon
        .until("shop?namespace=red", "running", |d| {
            d["status"] == "running" && d["observedGeneration"] == d["generation"]
        })
        .await?;

    let without = shop("red", "1Gi").replace(", size: 1Gi", "");
    let refused = daemon
        .put("shop?namespace=red", &without)
        .await
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default();
    assert!(
        refused.contains("volumes[0]") && refused.contains("has no size"),
        "{refused}"
    );
    Ok(())
}

#[tokio::test]
async fn no_proxy_is_taken_from_the_environment_and_a_kubeconfigs_is_refused_by_its_name()
-> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let text = std::fs::read_to_string(cluster.kubeconfig())?;
    let led = tempfile::NamedTempFile::new()?;
    std::fs::write(
        led.path(),
        text.replace("{server:", "{proxy-url: \"http://127.0.0.1:9\", server:"),
    )?;
    let straight = cluster.instance("", "");
    let led_away = straight.replace(
        &cluster.kubeconfig().display().to_string(),
        &led.path().display().to_string(),
    );
    let mut daemon = Daemon::start(
        &["cheapest", "kubernetes"],
        &[("k8s", &straight), ("led", &led_away)],
    )?;
    daemon.kill()?;
    // Nobody listens there, and not even the second one is a proxy's address.
    let proxies = [
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("https_proxy", "::no proxy::"),
        ("ALL_PROXY", "http://127.0.0.1:9"),
    ];
    daemon
        .environment
        .extend(proxies.map(|(name, value)| (name.to_owned(), value.to_owned())));
    daemon.launch()?;
    daemon
        .put("shop", &at("shop", "k8s", "replicas: 1"))
        .await?;
    daemon.running("shop").await?;
    let told = daemon.run(&["offers"])?;
    ensure!(
        told.contains("proxy-url") && !told.contains("certificates or keys"),
        "{told}"
    );
    Ok(())
}
