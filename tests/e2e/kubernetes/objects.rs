//! The capability itself on a real API server: what it writes bears its marks and is found and removed by them, what others have is left alone.

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_core::{
    capability::{
        Attempt,
        kubernetes::{Caller, Deletion, Kubernetes, ListQuery, Propagation, Reference, SecretItem},
    },
    failure::FailureKind,
    grant::KubernetesGrant,
    names::Namespace,
    workload::{Labels, SecretRef},
};
use tradewind_credentials::Credentials;
use tradewind_kit::{cluster::Cluster, private_folder};
use tradewind_kubernetes::{Clusters, Options};

const ALLOCATION: &str = "a-capability-test";

fn deployment(name: &str, replicas: u32) -> String {
    let pod = json!({"automountServiceAccountToken": false, "containers": [{"name": "main", "image": "example.com/x:1"}]});
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": pod});
    let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template});
    json!({"kind": "Deployment", "metadata": {"name": name, "namespace": "default", "labels": {"tradewind.dev/instance": "forged"}}, "spec": spec}).to_string()
}

fn object(kind: &str, spec: Value) -> String {
    json!({"kind": kind, "metadata": {"name": ALLOCATION, "namespace": "default"}, "spec": spec})
        .to_string()
}

fn autoscaler(kind: &str, name: &str) -> String {
    let target = json!({"apiVersion": "apps/v1", "kind": kind, "name": name});
    object(
        "HorizontalPodAutoscaler",
        json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2}),
    )
}

#[tokio::test]
async fn objects_are_written_marked_found_and_removed_and_those_of_others_left_alone() -> Result<()>
{
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let secrets = private_folder()?;
    std::fs::write(secrets.path().join("db"), "canary-31")?;
    let clusters = Clusters::new(Options {
        credentials: Credentials::default(),
        secrets: secrets.path().to_owned(),
    });
    let grant = json!({"kubeconfig": cluster.kubeconfig(), "namespaces": ["default", "nowhere"], "secrets": ["db"]});
    let grant: KubernetesGrant = serde_json::from_value(grant)?;
    let grant = grant.for_namespace(Some(&Namespace::default_namespace()));
    let attempt = Attempt {
        allocation: ALLOCATION.parse()?,
        namespace: Namespace::default_namespace(),
        token: "t".to_owned(),
        tags: Labels::from([("tradewind.dev/task".to_owned(), "web".to_owned())]),
        resources: Default::default(),
        startup: None,
    };
    let ours = Caller {
        owner: "ours".parse()?,
        attempt: Some(attempt),
    };
    let theirs = Caller {
        owner: "theirs".parse()?,
        ..ours.clone()
    };
    let reference = |kind: &str, name: &str| Reference {
        kind: kind.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    };

    let info = clusters.info(&grant).await?;
    let version = |kind: &str| {
        info.kinds
            .iter()
            .find(|k| k.kind == kind)
            .map(|k| k.api_version.clone())
            .unwrap_or_default()
    };
    assert!(info.version.starts_with("v1."), "{info:?}");
    assert!(
        ["v2", "v2beta2"]
            .iter()
            .any(|v| version("HorizontalPodAutoscaler") == format!("autoscaling/{v}")),
        "{info:?}"
    );
    assert!(
        ["v1", "v1beta1"]
            .iter()
            .any(|v| version("PodDisruptionBudget") == format!("policy/{v}")),
        "{info:?}"
    );

    let written = clusters
        .apply(&ours, &grant, vec![deployment(ALLOCATION, 2)])
        .await?;
    let made: Value = serde_json::from_str(&written[0])?;
    let marks = &made["metadata"]["labels"];
    assert_eq!(
        (
            &marks["tradewind.dev/instance"],
            &marks["tradewind.dev/allocation"],
            &marks["tradewind.dev/task"]
        ),
        (&json!("ours"), &json!(ALLOCATION), &json!("web"))
    );
    assert_eq!(
        made["spec"]["template"]["metadata"]["labels"]["tradewind.dev/instance"],
        "ours"
    );
    assert_eq!(made["metadata"].get("managedFields"), None);
    let again = clusters
        .apply(&ours, &grant, vec![deployment(ALLOCATION, 3)])
        .await?;
    assert_eq!(
        serde_json::from_str::<Value>(&again[0])?["spec"]["replicas"],
        3
    );

    // The pods that services and disruption budgets mean are this instance's, whatever is written.
    let forged = json!({"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": "x", "tradewind.dev/instance": "theirs"}});
    let batch = vec![
        object("Service", forged),
        object(
            "PodDisruptionBudget",
            json!({"minAvailable": 1, "selector": {}}),
        ),
    ];
    let written = clusters.apply(&ours, &grant, batch).await?;
    let selector = |i: usize| {
        serde_json::from_str::<Value>(&written[i])
            .map(|written| written["spec"]["selector"].clone())
    };
    let mut mine =
        json!({"app.kubernetes.io/managed-by": "tradewind", "tradewind.dev/instance": "ours"});
    assert_eq!(selector(1)?, json!({ "matchLabels": mine }));
    mine["app"] = json!("x");
    assert_eq!(selector(0)?, mine);

    // Nobody scales what others have, or anything else than what may be written.
    clusters
        .apply(&theirs, &grant, vec![deployment("theirs", 1)])
        .await?;
    let refused = clusters
        .apply(&ours, &grant, vec![autoscaler("Deployment", "theirs")])
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code.as_deref(), refused.field.as_deref()),
        (
            Some("not-ours"),
            Some("objects[0].spec.scaleTargetRef.name")
        )
    );
    let refused = clusters
        .apply(&ours, &grant, vec![autoscaler("ReplicaSet", "x")])
        .await
        .unwrap_err();
    assert_eq!(
        refused.field.as_deref(),
        Some("objects[0].spec.scaleTargetRef.kind"),
        "{refused:?}"
    );
    clusters
        .apply(&ours, &grant, vec![autoscaler("Deployment", ALLOCATION)])
        .await?;
    clusters
        .delete(
            &theirs,
            &grant,
            vec![reference("Deployment", "theirs")],
            Propagation::Background,
        )
        .await?;

    // Another instance neither sees nor touches it.
    let refused = clusters
        .apply(&theirs, &grant, vec![deployment(ALLOCATION, 1)])
        .await
        .unwrap_err();
    assert_eq!(
        (refused.kind, refused.code.as_deref()),
        (FailureKind::Denied, Some("not-ours")),
        "{refused:?}"
    );
    let list = ListQuery {
        kind: "Deployment".to_owned(),
        namespace: "default".to_owned(),
        limit: 1,
        ..ListQuery::default()
    };
    assert!(
        clusters
            .list(&theirs, &grant, &list)
            .await?
            .objects
            .is_empty()
    );
    assert_eq!(
        clusters
            .get(&theirs, &grant, &reference("Deployment", ALLOCATION))
            .await
            .unwrap_err()
            .code
            .as_deref(),
        Some("not-ours")
    );
    let refused = clusters
        .delete(
            &theirs,
            &grant,
            vec![reference("Deployment", ALLOCATION)],
            Propagation::Background,
        )
        .await
        .unwrap_err();
    assert_eq!(refused.code.as_deref(), Some("not-ours"));
    // Outside of an apply what exists can be changed and nothing be made.
    let outside = Caller {
        attempt: None,
        ..ours.clone()
    };
    let kept = clusters
        .apply(&outside, &grant, vec![deployment(ALLOCATION, 3)])
        .await?;
    assert_eq!(
        serde_json::from_str::<Value>(&kept[0])?["metadata"]["labels"]["tradewind.dev/allocation"],
        ALLOCATION
    );
    assert_eq!(
        clusters
            .apply(&outside, &grant, vec![deployment("new", 1)])
            .await
            .unwrap_err()
            .code
            .as_deref(),
        Some("no-attempt")
    );
    let missing = clusters
        .apply(
            &ours,
            &grant,
            vec![deployment("x", 1).replace("\"default\"", "\"nowhere\"")],
        )
        .await
        .unwrap_err();
    assert!(
        missing.message.contains("no namespace \"nowhere\""),
        "{missing:?}"
    );
    let invalid = clusters
        .apply(
            &ours,
            &grant,
            vec![deployment("bad", 1).replace("\"main\"", "\"Not A Name\"")],
        )
        .await
        .unwrap_err();
    assert_eq!(invalid.kind, FailureKind::Invalid, "{invalid:?}");
    assert!(
        invalid
            .field
            .as_deref()
            .is_some_and(|field| field.contains("containers[0].name")),
        "{invalid:?}"
    );

    let item = SecretItem {
        key: "k".to_owned(),
        source: SecretRef {
            name: "db".to_owned(),
            key: None,
        },
        variable: true,
    };
    let first = clusters
        .apply_secret(&ours, &grant, "default", ALLOCATION, vec![item.clone()])
        .await?;
    let same = clusters
        .apply_secret(&ours, &grant, "default", ALLOCATION, vec![item.clone()])
        .await?;
    std::fs::write(secrets.path().join("db"), "canary-32")?;
    let other = clusters
        .apply_secret(&ours, &grant, "default", ALLOCATION, vec![item])
        .await?;
    assert!(first == same && same != other, "{first} {same} {other}");

    let owned = clusters.owned(&ours, &grant).await?;
    assert!(!format!("{owned:?}").contains("canary"));
    let mut kinds: Vec<&str> = owned
        .iter()
        .filter(|o| o.allocation == ALLOCATION)
        .map(|o| o.object.kind.as_str())
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "Deployment",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
            "Secret",
            "Service"
        ]
    );
    clusters.nodes(&grant, &[]).await?;

    let mut all: Vec<Reference> = kinds
        .iter()
        .map(|kind| reference(kind, ALLOCATION))
        .collect();
    all.push(reference("Service", "never-there"));
    let ends = clusters
        .delete(&outside, &grant, all.clone(), Propagation::Background)
        .await?;
    assert_eq!(ends.last(), Some(&Deletion::Gone), "{ends:?}");
    let ends = clusters
        .delete(&outside, &grant, all, Propagation::Background)
        .await?;
    assert_eq!(ends, [Deletion::Gone; 6]);
    Ok(())
}
