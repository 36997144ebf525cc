//! The capability on a real API server: the one that `TRADEWIND_TEST_KUBECONFIG` names. The end-to-end tests start one of their own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

use serde_json::{Value, json};
use tradewind_core::{
    capability::{
        Attempt,
        kubernetes::{Caller, Deletion, Kubernetes, ListQuery, Propagation, Reference, SecretItem},
    },
    failure::FailureKind,
    grant::KubernetesGrant,
    workload::{Labels, SecretRef},
};
use tradewind_credentials::Credentials;
use tradewind_kubernetes::{Clusters, Options};

const ALLOCATION: &str = "a-capability-test";

fn deployment(name: &str, replicas: u32) -> String {
    let pod = json!({"automountServiceAccountToken": false, "containers": [{"name": "main", "image": "example.com/x:1"}]});
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": pod});
    let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template});
    json!({"kind": "Deployment", "metadata": {"name": name, "namespace": "default", "labels": {"tradewind.dev/instance": "forged"}}, "spec": spec}).to_string()
}

#[tokio::test]
async fn objects_are_written_marked_found_and_removed_and_those_of_others_left_alone() {
    let Ok(kubeconfig) = std::env::var("TRADEWIND_TEST_KUBECONFIG") else {
        eprintln!("left out: TRADEWIND_TEST_KUBECONFIG names no cluster");
        return;
    };
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("db"), "canary-31").unwrap();
    let clusters = Clusters::new(Options { credentials: Credentials::default(), secrets: secrets.path().to_owned() });
    let grant: KubernetesGrant =
        serde_json::from_value(json!({"kubeconfig": kubeconfig, "namespaces": ["default", "nowhere"], "secrets": ["db"]})).unwrap();
    let attempt = |id: &str| Attempt {
        allocation: id.parse().unwrap(),
        namespace: "default".parse().unwrap(),
        token: "t".to_owned(),
        tags: Labels::from([("tradewind.dev/task".to_owned(), "web".to_owned())]),
        resources: Default::default(),
        startup: None,
    };
    let ours = Caller { owner: "ours".parse().unwrap(), attempt: Some(attempt(ALLOCATION)) };
    let theirs = Caller { owner: "theirs".parse().unwrap(), attempt: Some(attempt(ALLOCATION)) };
    let reference = |kind: &str, name: &str| Reference { kind: kind.to_owned(), namespace: "default".to_owned(), name: name.to_owned() };

    let info = clusters.info(&grant).await.unwrap();
    let version = |kind: &str| info.kinds.iter().find(|k| k.kind == kind).map(|k| k.api_version.clone()).unwrap_or_default();
    assert!(info.version.starts_with("v1."), "{info:?}");
    assert!(["v2", "v2beta2"].iter().any(|v| version("HorizontalPodAutoscaler") == format!("autoscaling/{v}")), "{info:?}");
    assert!(["v1", "v1beta1"].iter().any(|v| version("PodDisruptionBudget") == format!("policy/{v}")), "{info:?}");

    let written = clusters.apply(&ours, &grant, vec![deployment(ALLOCATION, 2)]).await.unwrap();
    let object: Value = serde_json::from_str(&written[0]).unwrap();
    let marks = &object["metadata"]["labels"];
    assert_eq!(
        (&marks["tradewind.dev/instance"], &marks["tradewind.dev/allocation"], &marks["tradewind.dev/task"]),
        (&json!("ours"), &json!(ALLOCATION), &json!("web"))
    );
    assert_eq!(object["spec"]["template"]["metadata"]["labels"]["tradewind.dev/instance"], "ours");
    assert_eq!(object["metadata"].get("managedFields"), None);
    let again = clusters.apply(&ours, &grant, vec![deployment(ALLOCATION, 3)]).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&again[0]).unwrap()["spec"]["replicas"], 3);

    // Another instance neither sees nor touches it.
    let refused = clusters.apply(&theirs, &grant, vec![deployment(ALLOCATION, 1)]).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_deref()), (FailureKind::Denied, Some("not-ours")), "{refused:?}");
    let list = ListQuery { kind: "Deployment".to_owned(), namespace: "default".to_owned(), limit: 1, ..ListQuery::default() };
    assert!(clusters.list(&theirs, &grant, &list).await.unwrap().objects.is_empty());
    assert_eq!(clusters.get(&theirs, &grant, &reference("Deployment", ALLOCATION)).await.unwrap_err().code.as_deref(), Some("not-ours"));
    let refused = clusters.delete(&theirs, &grant, vec![reference("Deployment", ALLOCATION)], Propagation::Background).await.unwrap_err();
    assert_eq!(refused.code.as_deref(), Some("not-ours"));
    // Outside of an apply what exists can be changed and nothing be made.
    let outside = Caller { attempt: None, ..ours.clone() };
    let kept = clusters.apply(&outside, &grant, vec![deployment(ALLOCATION, 3)]).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept[0]).unwrap()["metadata"]["labels"]["tradewind.dev/allocation"], ALLOCATION);
    assert_eq!(clusters.apply(&outside, &grant, vec![deployment("new", 1)]).await.unwrap_err().code.as_deref(), Some("no-attempt"));
    let missing = clusters.apply(&ours, &grant, vec![deployment("x", 1).replace("\"default\"", "\"nowhere\"")]).await.unwrap_err();
    assert!(missing.message.contains("no namespace \"nowhere\""), "{missing:?}");
    let invalid = clusters.apply(&ours, &grant, vec![deployment("bad", 1).replace("\"main\"", "\"Not A Name\"")]).await.unwrap_err();
    assert_eq!(invalid.kind, FailureKind::Invalid, "{invalid:?}");
    assert!(invalid.field.as_deref().is_some_and(|field| field.contains("containers[0].name")), "{invalid:?}");

    let item = SecretItem { key: "k".to_owned(), source: SecretRef { name: "db".to_owned(), key: None }, variable: true };
    let first = clusters.apply_secret(&ours, &grant, "default", ALLOCATION, vec![item.clone()]).await.unwrap();
    let same = clusters.apply_secret(&ours, &grant, "default", ALLOCATION, vec![item.clone()]).await.unwrap();
    std::fs::write(secrets.path().join("db"), "canary-32").unwrap();
    let other = clusters.apply_secret(&ours, &grant, "default", ALLOCATION, vec![item]).await.unwrap();
    assert!(first == same && same != other, "{first} {same} {other}");

    let owned = clusters.owned(&ours, &grant).await.unwrap();
    assert!(!format!("{owned:?}").contains("canary"));
    let mut kinds: Vec<&str> = owned.iter().filter(|o| o.allocation == ALLOCATION).map(|o| o.object.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["Deployment", "Secret"]);
    clusters.nodes(&grant, &[]).await.unwrap();

    let all = [reference("Deployment", ALLOCATION), reference("Secret", ALLOCATION), reference("Service", "never-there")];
    let ends = clusters.delete(&outside, &grant, all.to_vec(), Propagation::Background).await.unwrap();
    assert_eq!(ends[1..], [Deletion::Gone, Deletion::Gone]);
    let ends = clusters.delete(&outside, &grant, all.to_vec(), Propagation::Background).await.unwrap();
    assert_eq!(ends, [Deletion::Gone; 3]);
}
