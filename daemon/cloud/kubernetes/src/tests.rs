//! Limits of grants, tried without a cluster: what is refused is refused before anything is sent.

use serde_json::{Value, json};
use tradewind_core::{
    capability::{
        Attempt,
        kubernetes::{
            Caller, Kubernetes, ListQuery, PodLogQuery, Propagation, Reference, SecretItem,
        },
    },
    failure::{Failure, FailureKind},
    grant::KubernetesGrant,
    workload::{Labels, SecretRef},
};
use tradewind_credentials::Credentials;

use crate::{Clusters, Options, failure, marks, pod};

const ALLOCATION: &str = "a-x-1";

/// Nothing listens there: what gets as far as a request is `unavailable`.
const NOWHERE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
    clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
    contexts: [{name: c, context: {cluster: c, user: u}}, {name: program, context: {cluster: c, user: p}}]\n\
    users: [{name: u, user: {token: hidden}}, {name: p, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/hidden-program}}}]\n";

struct World {
    clusters: Clusters,
    folder: tempfile::TempDir,
    caller: Caller,
}

fn world() -> World {
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir()
        .unwrap();
    std::fs::write(folder.path().join("kubeconfig"), NOWHERE).unwrap();
    let clusters = Clusters::new(Options {
        credentials: Credentials::default(),
        secrets: folder.path().to_owned(),
    });
    let attempt = Attempt {
        allocation: ALLOCATION.parse().unwrap(),
        namespace: "default".parse().unwrap(),
        token: "t".to_owned(),
        tags: Labels::new(),
        resources: Default::default(),
        startup: None,
    };
    World {
        clusters,
        folder,
        caller: Caller {
            owner: "k8s".parse().unwrap(),
            attempt: Some(attempt),
        },
    }
}

impl World {
    fn grant(&self, further: Value) -> KubernetesGrant {
        let mut grant = json!({"kubeconfig": self.folder.path().join("kubeconfig"), "namespaces": ["team"], "secrets": ["db"], "timeout": "1s"});
        grant
            .as_object_mut()
            .unwrap()
            .extend(further.as_object().unwrap().clone());
        serde_json::from_value(grant).unwrap()
    }

    async fn apply(&self, further: Value, object: Value) -> Failure {
        self.clusters
            .apply(&self.caller, &self.grant(further), vec![object.to_string()])
            .await
            .unwrap_err()
    }
}

fn deployment(spec: Value) -> Value {
    let mut pod = json!({"automountServiceAccountToken": false, "containers": [{"name": "main", "image": "x"}]});
    pod.as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "team"}, "spec": {"template": {"spec": pod}}})
}

fn container(fields: Value) -> Value {
    let mut container = json!({"name": "main", "image": "x"});
    container
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    deployment(json!({"containers": [container]}))
}

/// The same grant as workloads of a namespace have it.
fn narrowed(grant: &KubernetesGrant, namespace: &str) -> KubernetesGrant {
    grant.for_namespace(Some(&namespace.parse().unwrap()))
}

#[tokio::test]
async fn what_is_for_one_namespace_is_refused_to_others() {
    let world = world();
    let limited = |name: &str| json!([{ "name": name, "namespaces": ["shop"] }]);
    let mounts = |source: Value| deployment(json!({"volumes": [source]}));
    for (further, object, line) in [
        (
            json!({"service-accounts": limited("web")}),
            deployment(json!({"serviceAccountName": "web"})),
            "service-accounts",
        ),
        (
            json!({"host-paths": limited("/srv")}),
            mounts(json!({"name": "v", "hostPath": {"path": "/srv"}})),
            "host-paths",
        ),
        (
            json!({"cluster-secrets": limited("pull")}),
            deployment(json!({"imagePullSecrets": [{"name": "pull"}]})),
            "cluster-secrets",
        ),
    ] {
        let asked = async |namespace: &str| {
            let grant = narrowed(&world.grant(further.clone()), namespace);
            world
                .clusters
                .apply(&world.caller, &grant, vec![object.to_string()])
                .await
                .unwrap_err()
        };
        let (theirs, own) = (asked("team").await, asked("shop").await);
        assert!(
            theirs
                .remedy
                .as_ref()
                .is_some_and(|remedy| remedy.contains(line)),
            "{theirs:?}"
        );
        assert_ne!(
            own.code.as_deref(),
            Some("not-granted"),
            "it gets as far as the cluster, which is nowhere: {own:?}"
        );
    }
    std::fs::write(world.folder.path().join("db"), "value").unwrap();
    let item = SecretItem {
        key: "k".to_owned(),
        source: SecretRef {
            name: "db".to_owned(),
            key: None,
        },
        variable: false,
    };
    let asked = async |namespace: &str| {
        let grant = narrowed(&world.grant(json!({"secrets": limited("db")})), namespace);
        world
            .clusters
            .apply_secret(
                &world.caller,
                &grant,
                "team",
                &format!("{ALLOCATION}-env"),
                vec![item.clone()],
            )
            .await
            .unwrap_err()
    };
    assert!(
        asked("team")
            .await
            .message
            .contains("not granted to namespace \"team\"")
    );
    assert_ne!(asked("shop").await.code.as_deref(), Some("not-granted"));
}

fn is_refused(failure: &Failure, field: &str, line: &str) {
    let told = (
        failure.kind,
        failure.field.as_deref(),
        failure.code.as_deref(),
    );
    assert_eq!(
        told,
        (FailureKind::Denied, Some(field), Some("not-granted")),
        "{failure:?}"
    );
    assert!(
        failure
            .remedy
            .as_ref()
            .is_some_and(|remedy| remedy.contains(line)),
        "{failure:?}"
    );
}

#[tokio::test]
async fn pods_may_not_reach_beyond_themselves_unless_granted() {
    let world = world();
    let spec = "objects[0].spec.template.spec";
    let paths =
        |path: &str| deployment(json!({"volumes": [{"name": "v", "hostPath": {"path": path}}]}));
    let cases = [
        (
            deployment(json!({"hostNetwork": true})),
            "hostNetwork",
            "host-network = true",
            json!({"host-network": true}),
        ),
        (
            deployment(json!({"hostNetwork": "yes"})),
            "hostNetwork",
            "host-network = true",
            json!({"host-network": true}),
        ),
        (
            deployment(json!({"hostPID": true})),
            "hostPID",
            "privileged = true",
            json!({"privileged": true}),
        ),
        (
            deployment(json!({"hostIPC": true})),
            "hostIPC",
            "privileged = true",
            json!({"privileged": true}),
        ),
        (
            container(json!({"ports": [{"containerPort": 1, "hostPort": 80}]})),
            "containers[0].ports[0].hostPort",
            "host-network = true",
            json!({"host-network": true}),
        ),
        (
            container(json!({"securityContext": {"privileged": true}})),
            "containers[0].securityContext.privileged",
            "privileged = true",
            json!({"privileged": true}),
        ),
        (
            container(json!({"securityContext": {"allowPrivilegeEscalation": true}})),
            "containers[0].securityContext.allowPrivilegeEscalation",
            "privileged = true",
            json!({"privileged": true}),
        ),
        (
            container(json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})),
            "containers[0].securityContext.capabilities.add",
            "privileged = true",
            json!({"privileged": true}),
        ),
        (
            container(json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})),
            "containers[0].securityContext.seccompProfile",
            "privileged = true",
            json!({"privileged": true}),
        ),
        (
            deployment(json!({"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}})),
            "securityContext.sysctls",
            "privileged = true",
            json!({"privileged": true}),
        ),
        (
            paths("/etc"),
            "volumes[0].hostPath.path",
            "\"/etc\" to host-paths",
            json!({"host-paths": ["/etc"]}),
        ),
        (
            paths("/data/../etc"),
            "volumes[0].hostPath.path",
            "host-paths",
            Value::Null,
        ),
        (
            paths("/datax"),
            "volumes[0].hostPath.path",
            "host-paths",
            Value::Null,
        ),
        (
            deployment(json!({"serviceAccountName": "admin"})),
            "serviceAccountName",
            "\"admin\" to service-accounts",
            json!({"service-accounts": ["admin"]}),
        ),
        (
            deployment(json!({"automountServiceAccountToken": true})),
            "automountServiceAccountToken",
            "service-accounts",
            json!({"service-accounts": ["default"]}),
        ),
        (
            deployment(json!({"automountServiceAccountToken": null})),
            "automountServiceAccountToken",
            "service-accounts",
            json!({"service-accounts": ["default"]}),
        ),
        (
            paths("/data/link"),
            "volumes[0].hostPath.path",
            "\"/data/link\" to host-paths",
            json!({"host-paths": ["/data/link"]}),
        ),
        (
            container(
                json!({"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}}),
            ),
            "containers[0].livenessProbe.httpGet.host",
            "host-network = true",
            json!({"host-network": true}),
        ),
        (
            container(
                json!({"lifecycle": {"postStart": {"tcpSocket": {"host": "10.0.0.1", "port": 80}}}}),
            ),
            "containers[0].lifecycle.postStart.tcpSocket.host",
            "host-network = true",
            json!({"host-network": true}),
        ),
        (
            deployment(json!({"volumes": [{"name": "v", "secret": {"secretName": "others"}}]})),
            "volumes[0].secret.secretName",
            "\"others\" to cluster-secrets",
            json!({"cluster-secrets": ["others"]}),
        ),
        (
            deployment(
                json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "others"}}]}}]}),
            ),
            "volumes[0].projected.sources[0].secret.name",
            "cluster-secrets",
            json!({"cluster-secrets": ["others"]}),
        ),
        (
            deployment(
                json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            ),
            "volumes[0].projected.sources[0].serviceAccountToken",
            "",
            Value::Null,
        ),
        (
            deployment(json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]})),
            "volumes[0].nfs",
            "",
            Value::Null,
        ),
        (
            deployment(json!({"imagePullSecrets": [{"name": "others"}]})),
            "imagePullSecrets[0].name",
            "cluster-secrets",
            json!({"cluster-secrets": ["others"]}),
        ),
        (
            container(
                json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "others", "key": "k"}}}]}),
            ),
            "containers[0].env[0].valueFrom.secretKeyRef.name",
            "cluster-secrets",
            json!({"cluster-secrets": ["others"]}),
        ),
        (
            container(json!({"envFrom": [{"secretRef": {"name": "others"}}]})),
            "containers[0].envFrom[0].secretRef.name",
            "cluster-secrets",
            json!({"cluster-secrets": ["others"]}),
        ),
        (
            deployment(
                json!({"initContainers": [{"name": "i", "image": "x", "securityContext": {"privileged": true}}]}),
            ),
            "initContainers[0].securityContext.privileged",
            "privileged = true",
            json!({"privileged": true}),
        ),
    ];
    for (object, field, line, lifted) in cases {
        let failure = world
            .apply(json!({"host-paths": ["/data"]}), object.clone())
            .await;
        let told = (
            failure.kind,
            failure.field.as_deref(),
            failure.code.as_deref(),
        );
        assert_eq!(
            told,
            (
                FailureKind::Denied,
                Some(format!("{spec}.{field}").as_str()),
                Some("not-granted")
            ),
            "{object}: {failure:?}"
        );
        assert!(
            failure
                .remedy
                .as_ref()
                .is_some_and(|remedy| remedy.contains(line)),
            "{failure:?}"
        );
        if !lifted.is_null() {
            let failure = world.apply(lifted, object.clone()).await;
            assert_eq!(
                failure.kind,
                FailureKind::Unavailable,
                "the line lifts it: {object}: {failure:?}"
            );
        }
    }
    let other = deployment(json!({"automountServiceAccountToken": true}));
    let failure = world
        .apply(json!({"service-accounts": ["web"]}), other)
        .await;
    assert_eq!(
        failure.kind,
        FailureKind::Denied,
        "one account's line is not the default one's: {failure:?}"
    );
    let own = container(
        json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": ALLOCATION, "key": "k"}}}]}),
    );
    assert_eq!(
        world.apply(json!({}), own).await.kind,
        FailureKind::Unavailable,
        "its own secrets are its own"
    );
}

#[tokio::test]
async fn annotations_and_services_reach_no_further_than_they_are_granted() {
    let world = world();
    let annotated = |key: &str, value: &str| {
        let mut object = deployment(json!({}));
        object["spec"]["template"]["metadata"] = json!({"annotations": {key: value}});
        object
    };
    let (role, apparmor) = (
        "iam.amazonaws.com/role",
        "container.apparmor.security.beta.kubernetes.io/main",
    );
    let at = "objects[0].spec.template.metadata.annotations";
    is_refused(
        &world.apply(json!({}), annotated(role, "admin")).await,
        &format!("{at}.{role}"),
        "annotations = [\"iam.amazonaws.com/role\"]",
    );
    let unconfined = annotated(apparmor, "unconfined");
    is_refused(
        &world.apply(json!({"annotations": ["*"]}), unconfined).await,
        &format!("{at}.{apparmor}"),
        "privileged = true",
    );
    for (further, allowed) in [
        (
            json!({"annotations": ["iam.amazonaws.com/*"]}),
            annotated(role, "reader"),
        ),
        (json!({}), annotated("purpose", "shop")),
        (json!({}), annotated("tradewind.dev/content", "x")),
        (json!({}), annotated(apparmor, "runtime/default")),
    ] {
        assert_eq!(
            world.apply(further, allowed.clone()).await.kind,
            FailureKind::Unavailable,
            "{allowed}"
        );
    }
    let service = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "team"}, "spec": spec});
    for (field, spec) in [
        (
            "externalIPs",
            json!({"selector": {"a": "b"}, "externalIPs": ["10.96.0.1"]}),
        ),
        (
            "externalName",
            json!({"type": "ExternalName", "externalName": "db.other.svc"}),
        ),
        (
            "loadBalancerIP",
            json!({"type": "LoadBalancer", "loadBalancerIP": "192.0.2.1"}),
        ),
    ] {
        is_refused(
            &world.apply(json!({}), service(spec.clone())).await,
            &format!("objects[0].spec.{field}"),
            "host-network = true",
        );
        assert_eq!(
            world
                .apply(json!({"host-network": true}), service(spec))
                .await
                .kind,
            FailureKind::Unavailable
        );
    }
}

#[test]
fn a_pod_is_found_wherever_it_hides() {
    let grant: KubernetesGrant = serde_json::from_value(json!({"namespaces": []})).unwrap();
    let pod = json!({"hostNetwork": true, "containers": []});
    for object in [
        json!({"spec": pod}),
        json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}),
        json!({"anything": [{"at": {"all": pod}}]}),
    ] {
        assert!(pod::check(&grant, &object, &|_| false).is_err(), "{object}");
    }
}

#[tokio::test]
async fn namespaces_kinds_and_names_outside_the_grant_are_refused() {
    let world = world();
    let mut elsewhere = deployment(json!({}));
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    is_refused(
        &world.apply(json!({}), elsewhere).await,
        "objects[0].metadata.namespace",
        "namespaces = [\"kube-system\"]",
    );
    let mut role = deployment(json!({}));
    (role["kind"], role["apiVersion"]) = (json!("Role"), json!("rbac.authorization.k8s.io/v1"));
    is_refused(
        &world.apply(json!({}), role).await,
        "objects[0].kind",
        "kinds = [\"Role\"",
    );
    for kind in [
        "VirtualService",
        "DestinationRule",
        "Pod",
        "Node",
        "Namespace",
    ] {
        let mut object = deployment(json!({}));
        object["kind"] = json!(kind);
        is_refused(
            &world.apply(json!({}), object).await,
            "objects[0].kind",
            kind,
        );
    }
    let mut climbing = deployment(json!({}));
    climbing["metadata"]["name"] = json!("../../secrets/x");
    let failure = world.apply(json!({}), climbing).await;
    assert_eq!(
        (failure.kind, failure.field.as_deref()),
        (FailureKind::Invalid, Some("objects[0].metadata.name"))
    );
    // Even a granted one: it is a part of paths.
    let mut climbing = deployment(json!({}));
    climbing["metadata"]["namespace"] = json!("../x");
    assert_eq!(
        world
            .apply(json!({"namespaces": ["../x"]}), climbing)
            .await
            .kind,
        FailureKind::Denied
    );

    let grant = world.grant(json!({}));
    let reference = |kind: &str, namespace: &str| Reference {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: "x".to_owned(),
    };
    let list = |kind: &str, namespace: &str| ListQuery {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        ..ListQuery::default()
    };
    is_refused(
        &world
            .clusters
            .get(&world.caller, &grant, &reference("Deployment", "other"))
            .await
            .unwrap_err(),
        "object.namespace",
        "other",
    );
    is_refused(
        &world
            .clusters
            .list(&world.caller, &grant, &list("Pod", "other"))
            .await
            .unwrap_err(),
        "query.namespace",
        "other",
    );
    is_refused(
        &world
            .clusters
            .list(&world.caller, &grant, &list("Node", "team"))
            .await
            .unwrap_err(),
        "query.kind",
        "Node",
    );
    let delete = |object| {
        world
            .clusters
            .delete(&world.caller, &grant, vec![object], Propagation::Foreground)
    };
    is_refused(
        &delete(reference("Pod", "team")).await.unwrap_err(),
        "objects[0].kind",
        "kinds",
    );
    is_refused(
        &delete(reference("Deployment", "other")).await.unwrap_err(),
        "objects[0].namespace",
        "other",
    );
    let log = PodLogQuery {
        namespace: "other".to_owned(),
        pod: "p".to_owned(),
        ..PodLogQuery::default()
    };
    is_refused(
        &world
            .clusters
            .logs(&world.caller, &grant, &log)
            .await
            .unwrap_err(),
        "query.namespace",
        "other",
    );
    let blind = world.grant(json!({"read": []}));
    is_refused(
        &world.clusters.nodes(&blind, &[]).await.unwrap_err(),
        "grants.kubernetes.read",
        "\"Node\"",
    );
    // A selector can't be widened.
    let sly = ListQuery {
        labels: Labels::from([("a".to_owned(), "b,tradewind.dev/instance!=k8s".to_owned())]),
        ..list("Pod", "team")
    };
    assert_eq!(
        world
            .clusters
            .list(&world.caller, &grant, &sly)
            .await
            .unwrap_err()
            .kind,
        FailureKind::Invalid
    );
}

#[tokio::test]
async fn secrets_are_never_read_and_only_granted_ones_are_passed() {
    let world = world();
    std::fs::write(world.folder.path().join("db"), "hidden").unwrap();
    let everything = world.grant(json!({"kinds": ["Secret"], "read": ["Secret"]}));
    let named = Reference {
        kind: "Secret".to_owned(),
        namespace: "team".to_owned(),
        name: "x".to_owned(),
    };
    let list = ListQuery {
        kind: "Secret".to_owned(),
        namespace: "team".to_owned(),
        ..ListQuery::default()
    };
    let refusals = [
        world.clusters.get(&world.caller, &everything, &named).await.unwrap_err(),
        world.clusters.list(&world.caller, &everything, &list).await.unwrap_err(),
        world
            .apply(
                json!({"kinds": ["Secret"]}),
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "team"}}),
            )
            .await,
    ];
    for failure in refusals {
        assert_eq!(
            (failure.kind, failure.code.as_deref()),
            (FailureKind::Denied, Some("secret")),
            "{failure:?}"
        );
    }
    let item = |name: &str| {
        vec![SecretItem {
            key: "k".to_owned(),
            source: SecretRef {
                name: name.to_owned(),
                key: None,
            },
            variable: true,
        }]
    };
    let grant = narrowed(&world.grant(json!({})), "default");
    let apply = |name: &'static str, items| {
        world
            .clusters
            .apply_secret(&world.caller, &grant, "team", name, items)
    };
    let failure = apply(ALLOCATION, item("other")).await.unwrap_err();
    assert!(
        failure
            .remedy
            .as_ref()
            .is_some_and(|r| r.contains("add \"other\" to secrets in [grants.kubernetes]")),
        "{failure:?}"
    );
    assert_eq!(
        apply("someone-elses", item("db"))
            .await
            .unwrap_err()
            .code
            .as_deref(),
        Some("not-ours")
    );
    let failure = apply(ALLOCATION, item("db")).await.unwrap_err();
    assert!(
        failure.kind == FailureKind::Unavailable && !format!("{failure:?}").contains("hidden"),
        "{failure:?}"
    );
    let others = narrowed(&grant, "shop");
    let failure = world
        .clusters
        .apply_secret(&world.caller, &others, "team", ALLOCATION, item("db"))
        .await
        .unwrap_err();
    assert!(
        failure
            .message
            .contains("of namespace \"shop\" can't be read"),
        "{failure:?}"
    );
    let outside = Caller {
        attempt: None,
        ..world.caller.clone()
    };
    let failure = world
        .clusters
        .apply_secret(&outside, &grant, "team", ALLOCATION, item("db"))
        .await
        .unwrap_err();
    assert_eq!(failure.code.as_deref(), Some("no-attempt"));
}

#[tokio::test]
async fn how_the_cluster_is_reached_is_granted_and_told_without_a_value() {
    let world = world();
    let info = |further| {
        let grant = world.grant(further);
        let clusters = world.clusters.clone();
        async move { clusters.info(&grant).await.unwrap_err() }
    };
    let program = info(json!({"context": "program"})).await;
    is_refused(&program, "grants.kubernetes.exec", "exec = true");
    let run = info(json!({"context": "program", "exec": true})).await;
    assert_eq!(
        (run.kind, run.code.as_deref()),
        (FailureKind::Denied, Some("credential")),
        "{run:?}"
    );
    let unknown = info(json!({"context": "nope"})).await;
    assert!(
        unknown
            .remedy
            .as_ref()
            .is_some_and(|r| r.contains("c, program")),
        "{unknown:?}"
    );
    let missing = info(json!({"kubeconfig": "/nowhere/at/all"})).await;
    assert!(
        missing.kind == FailureKind::Denied && missing.message.contains("does not exist"),
        "{missing:?}"
    );
    let none = info(json!({"kubeconfig": null})).await;
    assert_eq!(none.code.as_deref(), Some("no-cluster"));
    let silent = info(json!({})).await;
    assert_eq!(
        (silent.kind, silent.code.as_deref()),
        (FailureKind::Unavailable, Some("unreachable"))
    );
    assert!(silent.message.contains("connection refused"), "{silent:?}");
    // Read anew: another server without a restart.
    std::fs::write(world.folder.path().join("kubeconfig"), "nonsense: [").unwrap();
    assert_eq!(info(json!({})).await.code.as_deref(), Some("kubeconfig"));
    for failure in [program, run, unknown, missing, none, silent] {
        assert!(!format!("{failure:?}").contains("token"), "{failure:?}");
    }
}

#[test]
fn refusals_of_the_api_server_become_kinds_with_remedies() {
    let answer = |code: u16, message: &str, reason: &str| {
        let body = json!({"kind": "Status", "message": message, "reason": reason, "details": {"causes": [{"field": "spec.x", "reason": "r", "message": "m"}]}});
        failure::refused(
            http::StatusCode::from_u16(code).unwrap(),
            body.to_string().as_bytes(),
            Some(tradewind_core::units::Millis(7000)),
            "apply Deployment \"web\"",
        )
    };
    let rbac = "deployments.apps is forbidden: User \"x\" cannot patch resource \"deployments\"";
    for (code, message, reason, kind, told) in [
        (
            401,
            "Unauthorized",
            "Unauthorized",
            FailureKind::Denied,
            failure::UNAUTHORIZED,
        ),
        (403, rbac, "Forbidden", FailureKind::Denied, "Forbidden"),
        (
            403,
            "pods \"x\" is forbidden: exceeded quota: team",
            "Forbidden",
            FailureKind::Quota,
            "QuotaExceeded",
        ),
        (
            403,
            "pods \"x\" is forbidden: maximum cpu usage per Container is 1",
            "Forbidden",
            FailureKind::Invalid,
            "Forbidden",
        ),
        (
            404,
            "not found",
            "NotFound",
            FailureKind::NotFound,
            "NotFound",
        ),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"kubectl\": .spec.replicas",
            "Conflict",
            FailureKind::Invalid,
            failure::FIELD_CONFLICT,
        ),
        (
            409,
            "the object has been modified",
            "Conflict",
            FailureKind::Unavailable,
            "Conflict",
        ),
        (
            422,
            "Deployment is invalid",
            "Invalid",
            FailureKind::Invalid,
            "Invalid",
        ),
        (
            429,
            "slow down",
            "TooManyRequests",
            FailureKind::Throttled,
            "TooManyRequests",
        ),
        (
            503,
            "etcd is away",
            "ServiceUnavailable",
            FailureKind::Unavailable,
            "ServiceUnavailable",
        ),
    ] {
        let failure = answer(code, message, reason);
        assert_eq!(
            (failure.kind, failure.code.as_deref()),
            (kind, Some(told)),
            "{failure:?}"
        );
    }
    assert_eq!(answer(422, "x", "Invalid").field.as_deref(), Some("spec.x"));
    assert_eq!(
        answer(429, "x", "").retry_after,
        Some(tradewind_core::units::Millis(7000))
    );
    for (code, message) in [
        (401, ""),
        (403, rbac),
        (403, "exceeded quota"),
        (409, "conflict with \"kubectl\""),
    ] {
        assert!(answer(code, message, "").remedy.is_some(), "{code}");
    }
    // What is no answer of the API's is still one.
    let plain = failure::refused(http::StatusCode::BAD_GATEWAY, b"<html>", None, "list Pod");
    assert_eq!(plain.kind, FailureKind::Unavailable);
}

#[test]
fn marks_are_the_hosts_whatever_is_written() {
    let marks = Labels::from([(marks::INSTANCE.to_owned(), "k8s".to_owned())]);
    let mut labels = json!({"tradewind.dev/instance": "other", "tradewind.dev/forged": "x", "app.kubernetes.io/managed-by": "helm", "mine": "y"});
    marks::put(labels.as_object_mut().unwrap(), &marks);
    assert_eq!(
        labels,
        json!({"tradewind.dev/instance": "k8s", "mine": "y"})
    );
}

#[tokio::test]
async fn a_kubeconfig_that_leads_through_a_proxy_is_refused_by_that() {
    let world = world();
    let led = NOWHERE.replace("{server:", "{proxy-url: 'http://127.0.0.1:2', server:");
    std::fs::write(world.folder.path().join("kubeconfig"), led).unwrap();
    let refused = world
        .clusters
        .info(&world.grant(json!({})))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.kind, refused.field.as_deref()),
        (FailureKind::Denied, Some("grants.kubernetes.kubeconfig")),
        "{refused:?}"
    );
    assert!(
        refused.message.contains("proxy-url") && refused.remedy.is_some(),
        "{refused:?}"
    );
}

#[test]
fn a_right_that_some_workloads_need_keeps_those_away_alone() {
    let status = json!({"message": "persistentvolumeclaims is forbidden: User \"x\" cannot create resource", "reason": "Forbidden"});
    let refused = || {
        failure::refused(
            http::StatusCode::FORBIDDEN,
            status.to_string().as_bytes(),
            None,
            "apply it",
        )
    };
    for (kind, alone) in [
        ("PersistentVolumeClaim", true),
        ("HorizontalPodAutoscaler", true),
        ("Deployment", false),
        ("Job", false),
    ] {
        assert_eq!(
            crate::apply::of_kind(kind, refused()).concerns_the_workload(),
            alone,
            "{kind}"
        );
    }
}

#[test]
fn what_keeps_a_client_from_being_made_is_told_as_it_is() {
    let proxy = kube::Error::ProxyProtocolUnsupported {
        proxy_url: Box::new("http://127.0.0.1:2".parse().unwrap()),
    };
    for (error, says) in [
        (proxy, "proxy"),
        (
            kube::Error::RustlsTls(kube::client::RustlsTlsError::MissingPrivateKey),
            "no private key",
        ),
        (kube::Error::TlsRequired, "TLS"),
    ] {
        let told = failure::unconnected(&error);
        assert!(
            told.message.contains(says) && !told.message.contains("are not understood"),
            "{told:?}"
        );
    }
}

#[test]
fn a_claim_of_another_deployment_is_refused_and_its_owner_is_not_named() {
    let mut caller = world().caller;
    let tag = |key: &str, value: &str| (format!("tradewind.dev/{key}"), value.to_owned());
    caller.attempt.as_mut().unwrap().tags =
        Labels::from([tag("namespace", "blue"), tag("deployment", "shop")]);
    let of = |kind: &str| Reference {
        kind: kind.to_owned(),
        namespace: "team".to_owned(),
        name: "data".to_owned(),
    };
    let is_its_own = |namespace: &str, kind: &str| {
        let labels =
            json!({"tradewind.dev/namespace": namespace, "tradewind.dev/deployment": "shop"});
        let metadata = serde_json::from_value(json!({"labels": labels})).unwrap();
        crate::apply::is_its_own(&metadata, &caller, &of(kind))
    };
    assert!(
        is_its_own("blue", "PersistentVolumeClaim").is_ok()
            && is_its_own("crimson", "Service").is_ok()
    );
    let refused = is_its_own("crimson", "PersistentVolumeClaim").unwrap_err();
    assert!(
        refused.concerns_the_workload() && !refused.told().contains("crimson"),
        "{refused:?}"
    );
}
