//! The provider on a table that stands for the cluster.

use serde_json::{Value, json};
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    host::{Device, Node, PodLogLine, PodLogPage},
    provider::{NO_PRICE, read_state, write_state},
    testing::{self, Cluster, allocation, port, tracked},
    types::{
        Accelerator, Allocation, Check, ConfigFile, Destroyed, Entry, EnvValue, EnvVar,
        FileContent, Health, HttpCheck, Job, LogQuery, Observation, OffersQuery, PersistentVolume,
        Phase, Probe, Run, Scaling, SecretRef, Tracked, Volume, VolumeSource,
    },
    units::GIB,
};

use super::*;

const NS: &str = "default";

struct World {
    cluster: Cluster,
    provider: super::Kubernetes<Cluster>,
}

fn world(settings: &str) -> World {
    let cluster = Cluster::default();
    let provider =
        super::Kubernetes::on(cluster.clone(), serde_json::from_str(settings).unwrap()).unwrap();
    World { cluster, provider }
}

fn service(id: &str, replicas: u32) -> Allocation {
    let mut wanted = allocation(id, "lab/lab-a/rack", replicas);
    wanted.workload.image = Some("example.com/web:1".to_owned());
    wanted.workload.command = Vec::new();
    wanted.workload.ports = vec![port("http")];
    wanted
}

impl World {
    fn try_apply(&self, wanted: &Allocation, prior: Option<&State>) -> Result<State, Error> {
        self.cluster.within(Some(wanted));
        let state = self.provider.make_so(wanted, prior);
        self.cluster.within(None);
        state
    }

    fn apply(&self, wanted: &Allocation, prior: Option<&State>) -> State {
        self.try_apply(wanted, prior).unwrap()
    }

    fn object(&self, kind: &str, name: &str) -> Value {
        self.cluster.object(kind, NS, name).unwrap_or_default()
    }

    fn observe(&self, wanted: &Allocation, state: &State) -> Observation {
        self.provider
            .look_at(&[tracked(wanted, &write_state(state).unwrap())])
            .unwrap()
            .remove(0)
    }

    fn container(&self, name: &str) -> Value {
        self.object("Deployment", name)["spec"]["template"]["spec"]["containers"][0].clone()
    }

    /// A pod of an allocation, as the cluster makes it.
    fn pod(&self, name: &str, allocation: &str, status: Value, labels: Value) {
        let mut all =
            json!({"tradewind.dev/instance": "under-test", "tradewind.dev/allocation": allocation});
        all.as_object_mut()
            .unwrap()
            .extend(labels.as_object().unwrap().clone());
        let metadata = json!({"labels": all, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len() % 10)});
        self.cluster.put(
            "Pod",
            NS,
            name,
            json!({"metadata": metadata, "status": status}),
        );
    }
}

fn running() -> Value {
    json!({"phase": "Running", "podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"restartCount": 2}]})
}

#[test]
fn a_service_is_a_deployment_with_a_service_and_a_budget_and_resizing_touches_replicas_alone() {
    let world = world("{}");
    let mut web = service("a-1", 3);
    let state = world.apply(&web, None);
    assert_eq!(
        world.cluster.names(),
        [
            "Deployment/a-1",
            "PodDisruptionBudget/a-1",
            "Service/a-1",
            "Service/a-1-public"
        ]
    );
    assert_eq!(world.cluster.calls(), ["apply 4"], "one batch");
    let before = world.object("Deployment", "a-1");
    assert_eq!(
        (
            &before["spec"]["replicas"],
            &before["spec"]["selector"]["matchLabels"]
        ),
        (&json!(3), &json!({"tradewind.dev/allocation": "a-1"}))
    );
    assert_eq!(
        world.object("Service", "a-1-public")["spec"]["type"],
        "LoadBalancer"
    );
    assert_eq!(
        world.object("Service", "a-1")["spec"]["ports"][0],
        json!({"name": "http", "port": 8080, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"})
    );
    assert_eq!(world.apply(&web, Some(&state)), state, "the same once more");
    assert_eq!(world.object("Deployment", "a-1"), before);
    world.cluster.calls();

    web.replicas = 1;
    let state = world.apply(&web, Some(&state));
    let after = world.object("Deployment", "a-1");
    assert_eq!(
        (&after["spec"]["replicas"], &after["spec"]["template"]),
        (&json!(1), &before["spec"]["template"])
    );
    assert_eq!(
        world.cluster.names(),
        ["Deployment/a-1", "Service/a-1", "Service/a-1-public"],
        "one replica has no budget"
    );
    let gone = Tracked {
        allocation: "a-1".to_owned(),
        state: write_state(&state).unwrap(),
    };
    world.cluster.linger(true);
    assert_eq!(
        world.provider.remove("a-1", &state).unwrap(),
        Destroyed::Going
    );
    assert_eq!(
        world
            .provider
            .remove("a-1", &read_state(&gone.state).unwrap())
            .unwrap(),
        Destroyed::Gone
    );
    assert_eq!(
        world.provider.remove("a-1", &state).unwrap(),
        Destroyed::Gone,
        "what does not exist is gone"
    );
    assert!(world.cluster.names().is_empty());
}

#[test]
fn a_pod_has_what_the_workload_says() {
    let world = world(
        r#"{"image-pull-secrets":["regcred"],"node-selector":{"pool":"blue"},"accelerators":{"nvidia-l4":{"resource":"nvidia.com/gpu","node-selector":{"gpu":"l4"},"memory":"24Gi"}}}"#,
    );
    let mut web = service("a-1", 1);
    web.offer.labels = vec![
        Entry {
            key: names::ZONE.to_owned(),
            value: "lab-a".to_owned(),
        },
        Entry {
            key: "other".to_owned(),
            value: "x".to_owned(),
        },
    ];
    let workload = &mut web.workload;
    workload.arguments = vec!["--fast".to_owned()];
    workload.user = "1000:2000".to_owned();
    workload.resources = tradewind_plugin_sdk::types::Resources {
        cpu: 250,
        memory: GIB,
        disk: 5,
        accelerators: vec![Accelerator {
            kind: "nvidia-l4".to_owned(),
            count: 2,
            memory: GIB,
        }],
    };
    workload.limits = Some(tradewind_plugin_sdk::types::Resources {
        cpu: 500,
        memory: 2 * GIB,
        disk: 0,
        accelerators: vec![],
    });
    let secret = |key: Option<&str>| SecretRef {
        name: "db".to_owned(),
        key: key.map(str::to_owned),
    };
    workload.env = vec![
        EnvVar {
            name: "PLAIN".to_owned(),
            value: EnvValue::Text("x".to_owned()),
        },
        EnvVar {
            name: "PASSWORD".to_owned(),
            value: EnvValue::Secret(secret(Some("password"))),
        },
    ];
    workload.files = vec![
        ConfigFile {
            path: "/etc/app.toml".to_owned(),
            mode: 0o640,
            content: FileContent::Data(b"a = 1".to_vec()),
        },
        ConfigFile {
            path: "/etc/key".to_owned(),
            mode: 0o400,
            content: FileContent::Secret(secret(None)),
        },
    ];
    workload.volumes = vec![
        Volume {
            path: "/tmp".to_owned(),
            read_only: false,
            source: VolumeSource::Scratch(7),
        },
        Volume {
            path: "/data".to_owned(),
            read_only: true,
            source: VolumeSource::Persistent(PersistentVolume {
                name: "data".to_owned(),
                size: 9,
                class: "fast".to_owned(),
            }),
        },
    ];
    let http = HttpCheck {
        port: "http".to_owned(),
        path: "/health".to_owned(),
        headers: vec![],
        status_min: 200,
        status_max: 399,
    };
    let probe = |check: Check| Probe {
        check,
        initial_delay: 0,
        interval: 1500,
        timeout: 200,
        healthy_after: 2,
        unhealthy_after: 3,
    };
    workload.probes.readiness = Some(probe(Check::Http(http)));
    workload.probes.liveness = Some(probe(Check::Tcp("http".to_owned())));
    world.apply(&web, None);

    let container = world.container("a-1");
    assert_eq!(
        container["resources"]["requests"],
        json!({"cpu": "250m", "memory": GIB.to_string(), "ephemeral-storage": "5", "nvidia.com/gpu": "2"})
    );
    assert_eq!(
        container["resources"]["limits"],
        json!({"cpu": "500m", "memory": (2 * GIB).to_string(), "nvidia.com/gpu": "2"})
    );
    assert_eq!(
        container["securityContext"],
        json!({"runAsUser": 1000, "runAsGroup": 2000})
    );
    assert_eq!(
        container["env"][1]["valueFrom"]["secretKeyRef"],
        json!({"name": "a-1", "key": "env-0"})
    );
    assert_eq!(
        container["env"][2],
        json!({"name": "PORT", "value": "8080"})
    );
    assert_eq!(
        container["env"][3],
        json!({"name": "PORT_HTTP", "value": "8080"})
    );
    assert_eq!(
        (
            &container["readinessProbe"]["periodSeconds"],
            &container["readinessProbe"]["successThreshold"]
        ),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (
            &container["livenessProbe"]["tcpSocket"]["port"],
            &container["livenessProbe"]["successThreshold"]
        ),
        (&json!(8080), &json!(1))
    );
    // Nothing is said of a start: the liveness probe counts from its first success, or after five minutes.
    let startup = |container: &Value| {
        let probe = &container["startupProbe"];
        (
            probe["tcpSocket"]["port"].clone(),
            probe["periodSeconds"].clone(),
            probe["failureThreshold"].clone(),
        )
    };
    assert_eq!(startup(&container), (json!(8080), json!(2), json!(150)));
    let mut slow = service("a-2", 1);
    slow.workload.probes.startup = Some(Probe {
        unhealthy_after: 40,
        ..probe(Check::Command(vec!["up".to_owned()]))
    });
    slow.workload.probes.liveness = Some(probe(Check::Command(vec!["alive".to_owned()])));
    world.apply(&slow, None);
    let container_2 = world.container("a-2");
    assert_eq!(
        container_2["startupProbe"]["exec"]["command"],
        json!(["up"])
    );
    assert_eq!(
        (
            &container_2["startupProbe"]["failureThreshold"],
            &container_2["livenessProbe"]["failureThreshold"]
        ),
        (&json!(40), &json!(3))
    );
    let spec = world.object("Deployment", "a-1")["spec"]["template"]["spec"].clone();
    assert_eq!(
        spec["nodeSelector"],
        json!({"pool": "blue", "gpu": "l4", "topology.kubernetes.io/zone": "lab-a"})
    );
    assert_eq!(
        (
            &spec["imagePullSecrets"],
            &spec["automountServiceAccountToken"]
        ),
        (&json!([{"name": "regcred"}]), &json!(false))
    );
    let mounts: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(mounts, ["/etc/app.toml", "/etc/key", "/tmp", "/data"]);
    let items = world.cluster.secret(NS, "a-1").unwrap();
    assert_eq!(
        items
            .iter()
            .map(|i| (i.key.as_str(), i.source.key.as_deref()))
            .collect::<Vec<_>>(),
        [("env-0", Some("password")), ("file-1", None)]
    );
    assert_eq!(
        world.object("ConfigMap", "a-1")["data"],
        json!({"file-0": "a = 1"})
    );
    let claim = names::claim(&web.namespace, &web.deployment, "data");
    assert_eq!(
        world.object("PersistentVolumeClaim", &claim)["spec"]["storageClassName"],
        "fast"
    );
    assert_eq!(
        items.iter().map(|i| i.variable).collect::<Vec<_>>(),
        [true, false],
        "a variable loses its line end"
    );

    // Other contents, other pods: what is mounted by its path does not follow its source.
    let print = |world: &World| {
        world.object("Deployment", "a-1")["spec"]["template"]["metadata"]["annotations"]
            [names::CONTENT]
            .clone()
    };
    let before = print(&world);
    web.workload.files[0].content = FileContent::Data(b"a = 2".to_vec());
    world.apply(&web, None);
    assert_ne!(print(&world), before);
}

/// An allocation with one named volume.
fn keeping(id: &str, namespace: &str, deployment: &str, volume: &str, size: u64) -> Allocation {
    let mut wanted = service(id, 1);
    (wanted.namespace, wanted.deployment) = (namespace.to_owned(), deployment.to_owned());
    let source = VolumeSource::Persistent(PersistentVolume {
        name: volume.to_owned(),
        size,
        class: String::new(),
    });
    wanted.workload.volumes = vec![Volume {
        path: "/data".to_owned(),
        read_only: false,
        source,
    }];
    wanted
}

impl World {
    /// The claim of an allocation's volume.
    fn claim(&self, id: &str) -> String {
        let volume =
            self.object("Deployment", id)["spec"]["template"]["spec"]["volumes"][0].clone();
        volume["persistentVolumeClaim"]["claimName"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

#[test]
fn volumes_of_two_deployments_never_meet_and_an_earlier_claim_stays_in_use() {
    let world = world("{}");
    for (id, namespace, deployment) in [
        ("a-1", "red", "shop"),
        ("a-2", "blue", "shop"),
        ("a-3", "red", "other"),
    ] {
        world.apply(&keeping(id, namespace, deployment, "data", GIB), None);
    }
    world.apply(&keeping("a-4", "red", "shop", "Web_Data..1", GIB), None);
    let claims: std::collections::BTreeSet<String> = ["a-1", "a-2", "a-3", "a-4"]
        .map(|id| world.claim(id))
        .into();
    assert_eq!(claims.len(), 4, "{claims:?}");
    assert!(
        claims
            .iter()
            .all(|claim| !world.object("PersistentVolumeClaim", claim).is_null())
    );
    world.apply(&keeping("a-5", "red", "shop", "data", GIB), None);
    assert_eq!(
        world.claim("a-5"),
        world.claim("a-1"),
        "the same deployment's next allocation finds it again"
    );

    // As an earlier version has left it, of whoever came last.
    let labels = json!({"tradewind.dev/instance": "under-test", "tradewind.dev/namespace": "red", "tradewind.dev/deployment": "old"});
    let spec = json!({"resources": {"requests": {"storage": "2Gi"}}});
    world.cluster.put(
        "PersistentVolumeClaim",
        NS,
        "early",
        json!({"metadata": {"labels": labels}, "spec": spec}),
    );
    world.apply(&keeping("a-6", "red", "old", "early", GIB), None);
    world.apply(&keeping("a-7", "blue", "old", "early", GIB), None);
    assert_eq!(world.claim("a-6"), "early");
    assert_ne!(world.claim("a-7"), "early");
    let kept =
        world.object("PersistentVolumeClaim", "early")["spec"]["resources"]["requests"]["storage"]
            .clone();
    assert_eq!(
        kept,
        json!((2 * GIB).to_string()),
        "what holds more than it must stays as it is"
    );
    // Somebody else's, which this instance may not even look at.
    world
        .cluster
        .put("PersistentVolumeClaim", NS, "theirs", json!({}));
    world.apply(&keeping("a-8", "red", "old", "theirs", GIB), None);
    assert_ne!(world.claim("a-8"), "theirs");
}

#[test]
fn a_claim_that_does_not_grow_is_told_by_its_volume() {
    let world = world("{}");
    world.apply(&keeping("a-1", "red", "shop", "data", GIB), None);
    let said = format!(
        "the api server does not accept it to apply PersistentVolumeClaim \"{}\" in the namespace \"default\": spec: Forbidden: spec is immutable after creation except …",
        world.claim("a-1")
    );
    world
        .cluster
        .refuse("apply", Error::invalid(said).field("spec"));
    let error = world
        .try_apply(
            &keeping("a-1", "red", "shop", "data", 2 * GIB),
            Some(&State::default()),
        )
        .unwrap_err();
    assert_eq!(
        error.message,
        "the volume \"data\" was made for 1Gi and the cluster does not let it grow to 2Gi"
    );
    assert_eq!(
        error.field.as_deref(),
        Some("workload.volumes[0].source.size")
    );
    assert!(error.remedy.unwrap().contains("size: 1Gi"));
    world
        .cluster
        .refuse("apply", Error::invalid("something else"));
    assert_eq!(
        world
            .try_apply(&keeping("a-1", "red", "shop", "data", GIB), None)
            .unwrap_err()
            .message,
        "something else"
    );
}

#[test]
fn dollars_reach_the_program_as_they_were_written() {
    let world = world("{}");
    let mut web = service("a-1", 1);
    let words = || {
        vec![
            "sh".to_owned(),
            "-c".to_owned(),
            "echo $$ $(WHO) $HOME".to_owned(),
        ]
    };
    let probe = Probe {
        check: Check::Command(words()),
        initial_delay: 0,
        interval: 1000,
        timeout: 1000,
        healthy_after: 1,
        unhealthy_after: 3,
    };
    let workload = &mut web.workload;
    (workload.command, workload.arguments) = (words(), words());
    workload.env = vec![EnvVar {
        name: "P".to_owned(),
        value: EnvValue::Text("a$$b$(WHO)c$".to_owned()),
    }];
    (
        workload.probes.startup,
        workload.probes.readiness,
        workload.probes.liveness,
    ) = (Some(probe.clone()), Some(probe.clone()), Some(probe));
    world.apply(&web, None);
    let container = world.container("a-1");
    let literal = json!(["sh", "-c", "echo $$$ $$(WHO) $HOME"]);
    for given in [
        &container["command"],
        &container["args"],
        &container["startupProbe"]["exec"]["command"],
        &container["readinessProbe"]["exec"]["command"],
        &container["livenessProbe"]["exec"]["command"],
    ] {
        assert_eq!(given, &literal);
    }
    assert_eq!(container["env"][0]["value"], "a$$$b$$(WHO)c$");
    let mut job = web.clone();
    (job.id, job.workload.run, job.workload.probes) = (
        "a-j".to_owned(),
        Run::Job(Job {
            retries: 0,
            deadline: None,
        }),
        service("x", 1).workload.probes,
    );
    world.apply(&job, None);
    assert_eq!(
        world.object("Job", "a-j-0")["spec"]["template"]["spec"]["containers"][0]["command"],
        literal
    );
}

#[test]
fn what_a_tag_named_first_is_told_and_asked_for_and_pods_that_run_it_stay() {
    const FIRST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let world = world("{}");
    let mut web = service("a-1", 2);
    let state = world.apply(&web, None);
    let pod = |name: &str, digest: &str| {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"imageID": format!("docker-pullable://example.com/web@{digest}")}]});
        world.pod(name, "a-1", status, json!({}));
        world.cluster.set(
            "Pod",
            NS,
            name,
            "/spec",
            json!({"containers": [{"image": "example.com/web:1"}]}),
        );
    };
    pod("p1", FIRST);
    pod("p22", FIRST);
    let told = |state: &State| {
        world
            .observe(&web, state)
            .conditions
            .into_iter()
            .find(|c| c.kind == "ImageResolved")
            .map(|c| (c.met, c.message))
    };
    world.cluster.set(
        "Deployment",
        NS,
        "a-1",
        "/status",
        json!({"updatedReplicas": 0, "replicas": 2}),
    );
    world.cluster.set(
        "Deployment",
        NS,
        "a-1",
        "/spec",
        world.object("Deployment", "a-1")["spec"].clone(),
    );
    assert_eq!(told(&state), None, "the pods may be of an earlier version");
    world.cluster.set(
        "Deployment",
        NS,
        "a-1",
        "/status",
        json!({"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}),
    );
    assert_eq!(
        told(&state),
        Some((true, format!("example.com/web:1@{FIRST}")))
    );

    let pinned = format!("example.com/web:1@{FIRST}");
    web.workload.image = Some(pinned.clone());
    let state = world.apply(&web, Some(&state));
    assert_eq!(
        world.container("a-1")["image"],
        "example.com/web:1",
        "another name would make every pod anew"
    );
    let other = format!("sha256:{}", "b".repeat(64));
    pod("p333", &other);
    world.apply(&web, Some(&state));
    assert_eq!(
        world.container("a-1")["image"],
        pinned.as_str(),
        "what differs is made alike"
    );
    // What is made elsewhere begins with it.
    (web.id, web.replicas) = ("a-2".to_owned(), 1);
    world.apply(&web, None);
    assert_eq!(world.container("a-2")["image"], pinned.as_str());
}

#[test]
fn a_job_is_one_object_for_each_replica() {
    let world = world("{}");
    let mut job = service("a-j", 2);
    job.workload.run = Run::Job(Job {
        retries: 3,
        deadline: Some(1500),
    });
    job.workload.ports = Vec::new();
    let state = world.apply(&job, None);
    assert_eq!(world.cluster.names(), ["Job/a-j-0", "Job/a-j-1"]);
    let spec = world.object("Job", "a-j-1")["spec"].clone();
    assert_eq!(
        (
            &spec["backoffLimit"],
            &spec["activeDeadlineSeconds"],
            &spec["template"]["spec"]["restartPolicy"]
        ),
        (&json!(3), &json!(2), &json!("Never"))
    );
    assert_eq!(world.observe(&job, &state).phase, Phase::Starting);
    world.cluster.set(
        "Job",
        NS,
        "a-j-0",
        "/status",
        json!({"conditions": [{"type": "Complete", "status": "True"}]}),
    );
    world.pod(
        "a-j-1-x",
        "a-j",
        json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}),
        json!({"job-name": "a-j-1"}),
    );
    let seen = world.observe(&job, &state);
    assert_eq!(
        (seen.phase, seen.replicas[0].phase, seen.replicas[1].phase),
        (Phase::Starting, Phase::Succeeded, Phase::Starting),
        "it may be started again"
    );
    let failed = json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"});
    world.cluster.set(
        "Job",
        NS,
        "a-j-1",
        "/status",
        json!({"conditions": [failed], "failed": 4}),
    );
    let seen = world.observe(&job, &state);
    assert_eq!(
        (
            seen.phase,
            seen.replicas[1].exit_code,
            seen.replicas[1].restarts
        ),
        (Phase::Failed, Some(3), 3),
        "the last attempt was not tried again"
    );
    assert_eq!(seen.message, "replica 1: BackoffLimitExceeded: too often");
    job.replicas = 1;
    let state = world.apply(&job, Some(&state));
    world.cluster.lose("Pod", NS, "a-j-1-x");
    assert_eq!(
        (world.cluster.names(), world.observe(&job, &state).phase),
        (vec!["Job/a-j-0".to_owned()], Phase::Succeeded)
    );
}

#[test]
fn a_pod_that_the_cluster_took_away_is_no_attempt_of_its_job() {
    let world = world("{}");
    let mut job = service("a-j", 1);
    job.workload.run = Run::Job(Job {
        retries: 0,
        deadline: None,
    });
    job.workload.ports = Vec::new();
    let mut state = world.apply(&job, None);
    let policy = || world.object("Job", "a-j-0")["spec"]["podFailurePolicy"].clone();
    let rule = json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
    assert_eq!(policy(), json!({"rules": [rule]}));
    let died = json!([{"state": {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}}}]);
    let disrupted =
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]);
    let failed = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}], "failed": 1});
    for (status, lost) in [
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory", "containerStatuses": died}),
            true,
        ),
        (json!({"phase": "Failed", "reason": "NodeShutdown"}), true),
        (json!({"phase": "Failed", "reason": "OutOfcpu"}), true),
        (
            json!({"phase": "Failed", "conditions": disrupted, "containerStatuses": died}),
            true,
        ),
        (json!({"phase": "Failed", "containerStatuses": died}), false),
        (
            json!({"phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": died}),
            false,
        ),
    ] {
        world.pod("p", "a-j", status.clone(), json!({"job-name": "a-j-0"}));
        world.cluster.set("Job", NS, "a-j-0", "/status", json!({}));
        let seen = world.observe(&job, &state).replicas.remove(0);
        assert_eq!(
            (seen.phase, seen.ended_at.is_none() || !lost),
            (Phase::Starting, true),
            "its job makes another: {status}"
        );
        // Where the policy can't say so, the job has failed.
        world
            .cluster
            .set("Job", NS, "a-j-0", "/status", failed.clone());
        let seen = world.observe(&job, &state).replicas.remove(0);
        let no_end = seen.started_at.is_none() && seen.exit_code.is_none();
        assert_eq!(
            (seen.phase, no_end, seen.message.starts_with("lost")),
            (Phase::Failed, lost, lost),
            "{status} {seen:?}"
        );
        state = world.apply(&job, Some(&state));
        let kept = world.object("Job", "a-j-0")["status"]["failed"] == 1;
        assert_eq!(kept, !lost, "{status}");
    }
    world
        .cluster
        .refuse("apply", Error::invalid("does not accept it to apply Job \"a-j-0\": .spec.podFailurePolicy: field not declared in schema"));
    world.apply(&job, Some(&state));
}

#[test]
fn observations_tell_phases_addresses_and_causes() {
    let world = world("{}");
    let web = service("a-1", 2);
    let state = world.apply(&web, None);
    assert_eq!(world.observe(&web, &state).phase, Phase::Starting);
    world.pod("p1", "a-1", running(), json!({}));
    let waiting = json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
    world.pod("p2", "a-1", waiting, json!({}));
    let seen = world.observe(&web, &state);
    assert_eq!(
        (seen.phase, seen.message.as_str()),
        (
            Phase::Starting,
            "replica 1: ImagePullBackOff: no such image"
        )
    );
    assert_eq!(
        (
            seen.replicas[0].health,
            seen.replicas[0].restarts,
            seen.replicas[0].endpoints[0].host.as_str()
        ),
        (Health::Unknown, 2, "10.0.0.7"),
        "no probe says that it is well"
    );
    assert!(
        seen.endpoints.is_empty()
            && seen
                .conditions
                .iter()
                .any(|c| c.kind == "LoadBalancerReady" && !c.met),
        "no way in yet"
    );
    world.cluster.set(
        "Service",
        NS,
        "a-1-public",
        "/status",
        json!({"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}),
    );
    let endpoint = world.observe(&web, &state).endpoints.remove(0);
    assert_eq!(
        (endpoint.host.as_str(), endpoint.number),
        ("lb.example.com", 8080)
    );

    let unplaced = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
    world.pod("p2", "a-1", unplaced, json!({}));
    let seen = world.observe(&web, &state);
    assert!(
        seen.conditions
            .iter()
            .any(|c| c.kind == "Scheduled" && !c.met && c.message == "0/3 nodes"),
        "{seen:?}"
    );

    world.cluster.lose("Pod", NS, "p2");
    let quota = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "pods \"x\" is forbidden: exceeded quota: team"});
    world.cluster.set(
        "Deployment",
        NS,
        "a-1",
        "/status",
        json!({"conditions": [quota]}),
    );
    let seen = world.observe(&web, &state);
    assert!(
        seen.message.contains("exceeded quota: team")
            && seen
                .conditions
                .iter()
                .any(|c| c.kind == "WithinQuota" && !c.met),
        "{seen:?}"
    );

    // Where objects tell no reason, events do.
    world
        .cluster
        .set("Deployment", NS, "a-1", "/status", json!({}));
    let event = |name: &str, message: &str| json!({"involvedObject": {"name": name}, "reason": "FailedMount", "message": message, "lastTimestamp": "2026-01-01T00:00:00Z"});
    world
        .cluster
        .put("Event", NS, "e1", event("a-1-abc", "no such volume"));
    world
        .cluster
        .put("Event", NS, "e2", event("a-12", "another's"));
    assert_eq!(
        world.observe(&web, &state).message,
        "FailedMount: no such volume"
    );
    world.cluster.lose("Deployment", NS, "a-1");
    assert_eq!(world.observe(&web, &state).phase, Phase::Gone);
}

#[test]
fn many_allocations_are_looked_at_with_one_list_of_each_kind() {
    let world = world("{}");
    let mut asked = Vec::new();
    for i in 0..50 {
        let web = service(&format!("a-{i}"), 1);
        let state = world.apply(&web, None);
        world.pod(&format!("a-{i}-x"), &web.id, running(), json!({}));
        asked.push(tracked(&web, &write_state(&state).unwrap()));
    }
    world.cluster.calls();
    let seen = world.provider.look_at(&asked).unwrap();
    assert!(seen.len() == 50 && seen.iter().all(|one| one.phase == Phase::Running));
    assert_eq!(
        world.cluster.calls(),
        ["list Deployment", "list Pod", "list Service"]
    );
}

#[test]
fn autoscalers_keep_their_own_count() {
    let world = world("{}");
    let mut web = service("a-1", 2);
    web.workload.scaling = Some(Scaling {
        min: 2,
        max: 5,
        metric: "cpu".to_owned(),
        target: 400.0,
    });
    world.apply(&web, None);
    assert_eq!(
        world.object("Deployment", "a-1")["spec"].get("replicas"),
        None
    );
    let spec = world.object("HorizontalPodAutoscaler", "a-1")["spec"].clone();
    assert_eq!(
        (&spec["minReplicas"], &spec["maxReplicas"]),
        (&json!(2), &json!(5))
    );
    assert_eq!(
        spec["metrics"][0]["resource"]["target"],
        json!({"type": "AverageValue", "averageValue": "400m"})
    );
    web.workload.scaling = None;
    web.workload.extensions = vec![Entry {
        key: "kubernetes".to_owned(),
        value: r#"{"autoscale":{"max":4,"memory":70}}"#.to_owned(),
    }];
    world.apply(&web, None);
    let spec = world.object("HorizontalPodAutoscaler", "a-1")["spec"].clone();
    assert_eq!(
        (
            &spec["minReplicas"],
            &spec["metrics"][0]["resource"]["target"]["averageUtilization"]
        ),
        (&json!(1), &json!(70))
    );
}

#[test]
fn what_can_not_be_had_elsewhere_leaves_nothing_here() {
    let world = world("{}");
    world.cluster.refuse("apply", Error::quota("full"));
    let mut web = service("a-1", 2);
    web.workload.env = vec![EnvVar {
        name: "K".to_owned(),
        value: EnvValue::Secret(SecretRef {
            name: "k".to_owned(),
            key: None,
        }),
    }];
    // The first apply is that of the secret.
    assert_eq!(
        world.try_apply(&web, None).unwrap_err().kind,
        ErrorKind::Quota
    );
    assert!(world.cluster.names().is_empty());
    // What somebody else has made under our name stays.
    world
        .cluster
        .put("Service", NS, "a-1", json!({"mine": true}));
    let error = world.try_apply(&web, None).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("not-ours"));
    assert_eq!(world.cluster.names(), ["Service/a-1"]);
    let error = Error::unavailable("no answer");
    world.cluster.lose("Service", NS, "a-1");
    world.cluster.refuse("delete", error);
    let state = world.apply(&web, None);
    assert!(world.provider.remove("a-1", &state).is_err());
    assert_eq!(
        world.provider.remove("a-1", &state).unwrap(),
        Destroyed::Gone
    );
}

#[test]
fn routes_share_the_traffic_and_go_with_the_last_allocation() {
    let world = world(r#"{"istio": true}"#);
    let mut old = service("a-1", 9);
    old.traffic = Some(900);
    let old_state = world.apply(&old, None);
    let mesh = old_state.mesh.clone().unwrap();
    let routes = || {
        let routes = world.object("VirtualService", &mesh)["spec"]["http"][0]["route"].clone();
        let one = |r: &Value| {
            (
                r["destination"]["subset"].as_str().unwrap().to_owned(),
                r["weight"].as_u64().unwrap(),
            )
        };
        routes
            .as_array()
            .unwrap()
            .iter()
            .map(one)
            .collect::<Vec<_>>()
    };
    assert_eq!(routes(), [("a-1".to_owned(), 100)]);
    let mut new = service("a-2", 1);
    new.traffic = Some(100);
    let new_state = world.apply(&new, None);
    assert_eq!(routes(), [("a-1".to_owned(), 90), ("a-2".to_owned(), 10)]);
    let subsets = world.object("DestinationRule", &mesh)["spec"]["subsets"].clone();
    assert_eq!(
        subsets[1],
        json!({"name": "a-2", "labels": {"tradewind.dev/allocation": "a-2"}})
    );
    assert_eq!(
        world.object("Service", &mesh)["spec"]["selector"]["tradewind.dev/task"],
        "web"
    );
    // Another deployment's are its own.
    let mut other = service("a-3", 1);
    other.deployment = "other".to_owned();
    world.apply(&other, None);
    assert_eq!(routes().len(), 2);

    assert_eq!(
        world.provider.remove("a-1", &old_state).unwrap(),
        Destroyed::Gone
    );
    assert_eq!(routes(), [("a-2".to_owned(), 100)]);
    assert_eq!(
        world.provider.everything().unwrap().len(),
        2,
        "what is shared belongs to nobody while somebody is there"
    );
    world.cluster.lose("Deployment", NS, "a-2");
    let owned = world.provider.everything().unwrap();
    let left: Vec<_> = owned.iter().map(|o| o.allocation.as_str()).collect();
    assert_eq!(left, ["a-2", "a-3"]);
    assert_eq!(
        world
            .provider
            .remove("a-2", &read_state(&owned[0].state).unwrap())
            .unwrap(),
        Destroyed::Gone
    );
    assert_eq!(
        world.provider.remove("a-2", &new_state).unwrap(),
        Destroyed::Gone
    );
    assert!(
        world
            .cluster
            .names()
            .iter()
            .all(|name| !name.contains(&mesh) && !name.contains("a-2")),
        "{:?}",
        world.cluster.names()
    );
}

#[test]
fn everything_is_found_again_and_can_be_removed() {
    let world = world("{}");
    let mut web = service("a-1", 2);
    web.workload.files = vec![ConfigFile {
        path: "/f".to_owned(),
        mode: 0o644,
        content: FileContent::Data(vec![255]),
    }];
    world.apply(&web, None);
    let mut job = service("a-2", 3);
    job.workload.run = Run::Job(Job {
        retries: 0,
        deadline: None,
    });
    world.apply(&job, None);
    // Half of an attempt.
    let lone = service("a-3", 1);
    world.cluster.within(Some(&lone));
    let _ = world
        .provider
        .cluster
        .apply(&[json!({"kind": "Service", "metadata": {"name": "a-3", "namespace": NS}})]);
    world.cluster.within(None);
    let owned = world.provider.everything().unwrap();
    let told: Vec<_> = owned
        .iter()
        .map(|o| (o.allocation.as_str(), o.description.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("a-1", "a service in the namespace default"),
            ("a-2", "3 job(s) in the namespace default"),
            ("a-3", "a service in the namespace default")
        ]
    );
    for one in owned {
        assert_eq!(
            world
                .provider
                .remove(&one.allocation, &read_state(&one.state).unwrap())
                .unwrap(),
            Destroyed::Gone
        );
    }
    assert!(
        world.cluster.names().is_empty(),
        "{:?}",
        world.cluster.names()
    );
}

fn node(name: &str, zone: &str, free_cpu: u64, price: Option<&str>) -> Node {
    let label = |key: &str, value: &str| Entry {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    Node {
        name: name.to_owned(),
        labels: vec![
            label(names::REGION, "eu"),
            label(names::ZONE, zone),
            label(names::SIZE, "m5"),
            label("gpu", "l4"),
        ],
        annotations: price
            .map(|price| label("price", price))
            .into_iter()
            .collect(),
        usable: true,
        cpu: 4000,
        free_cpu,
        memory: 16 * GIB,
        free_memory: 8 * GIB,
        disk: 1 << 40,
        pods: 110,
        free_pods: 100,
        devices: vec![Device {
            resource: "nvidia.com/gpu".to_owned(),
            count: 4,
            free: 3,
        }],
    }
}

#[test]
fn offers_are_what_nodes_of_a_kind_have_left() {
    let everything = OffersQuery {
        regions: vec![],
        shapes: vec![],
        spot: true,
        holding: vec![],
    };
    let world = world(
        r#"{"cpu-price": "0.04", "memory-price": "0.01", "price-annotation": "price", "accelerators": {"l4": {"resource": "nvidia.com/gpu", "node-selector": {"gpu": "l4"}, "memory": "24Gi"}}}"#,
    );
    let mut broken = node("n4", "b", 4000, None);
    broken.usable = false;
    let mut spot = node("n5", "b", 4000, None);
    spot.labels.push(Entry {
        key: "cloud.google.com/gke-spot".to_owned(),
        value: "true".to_owned(),
    });
    world.cluster.nodes_are(vec![
        node("n1", "a", 1000, None),
        node("n2", "a", 2500, None),
        node("n3", "b", 4000, Some("0.64")),
        broken,
        spot,
    ]);
    let offers = world.provider.on_sale(&everything).unwrap();
    let told: Vec<_> = offers
        .iter()
        .map(|o| (o.id.as_str(), o.free_cpu, o.price, o.memory_price, o.spot))
        .collect();
    // 4 × 0.04 + 16 × 0.01 = 0.32: the annotated node costs twice that.
    assert_eq!(
        told,
        [
            ("eu/a/m5", 3500, 40_000, 10_000, false),
            ("eu/b/m5/640000", 4000, 80_000, 20_000, false),
            ("eu/b/m5/spot", 4000, 40_000, 10_000, true)
        ]
    );
    let first = &offers[0];
    assert_eq!(
        (
            first.accelerator.as_str(),
            first.accelerator_count,
            first.capacity,
            first.cpu
        ),
        ("l4", 4, 6, 4000)
    );
    assert!(
        first.shared
            && first
                .labels
                .contains(&(names::ZONE.to_owned(), "a".to_owned()))
    );
    let query = OffersQuery {
        regions: vec!["us".to_owned()],
        ..everything
    };
    assert!(world.provider.on_sale(&query).unwrap().is_empty());
}

#[test]
fn a_node_without_a_price_says_so_and_one_that_can_not_be_read_is_named() {
    let everything = OffersQuery {
        regions: vec![],
        shapes: vec![],
        spot: true,
        holding: vec![],
    };
    let sources = |settings: &str, price: Option<&str>| {
        let world = world(settings);
        world.cluster.nodes_are(vec![
            node("n1", "a", 1000, None),
            node("n2", "a", 1000, price),
        ]);
        world
            .provider
            .on_sale(&everything)
            .unwrap()
            .into_iter()
            .map(|offer| (offer.price, offer.source))
            .collect::<Vec<_>>()
    };
    let none = (0, NO_PRICE.to_owned());
    assert_eq!(sources("{}", None), std::slice::from_ref(&none));
    assert_eq!(
        sources(r#"{"price-annotation": "price"}"#, Some("a lot")),
        std::slice::from_ref(&none)
    );
    assert_eq!(
        sources(r#"{"price-annotation": "price"}"#, Some("0.4")),
        [none, (100_000, "annotation price".to_owned())]
    );
    assert_eq!(
        sources(r#"{"cpu-price": 0}"#, None),
        [(0, "settings".to_owned())]
    );
    let [(price, source)] = &sources(
        r#"{"cpu-price": "0.04", "price-annotation": "price"}"#,
        Some("a lot"),
    )[..] else {
        panic!("one offer")
    };
    assert!(
        *price == 40_000
            && source.starts_with(
                "settings, for the annotation price: \"a lot\" is not an amount of money"
            ),
        "{source}"
    );
}

#[test]
fn logs_of_all_replicas_come_in_the_order_of_time_and_go_on() {
    let world = world("{}");
    let web = service("a-1", 2);
    let state = world.apply(&web, None);
    world.pod("p1", "a-1", running(), json!({}));
    world.pod("p22", "a-1", running(), json!({}));
    let line = |time: u64, text: &str| PodLogLine {
        time: Some(time),
        text: text.to_owned(),
    };
    world.cluster.wrote(
        "p1",
        PodLogPage {
            lines: vec![line(1, "a"), line(3, "c")],
            next: "x".to_owned(),
        },
    );
    world.cluster.wrote(
        "p22",
        PodLogPage {
            lines: vec![line(2, "b")],
            next: "y".to_owned(),
        },
    );
    let query = LogQuery {
        replica: None,
        tail: 2,
        after: None,
    };
    let chunk = world.provider.written("a-1", &state, &query).unwrap();
    let told: Vec<_> = chunk
        .lines
        .iter()
        .map(|l| (l.replica, l.text.as_str()))
        .collect();
    assert_eq!(
        (told, chunk.next.as_deref()),
        (vec![(1, "b"), (0, "c")], Some(r#"{"p1":"x","p22":"y"}"#))
    );
    let one = world
        .provider
        .written(
            "a-1",
            &state,
            &LogQuery {
                replica: Some(1),
                tail: 9,
                after: chunk.next,
            },
        )
        .unwrap();
    assert_eq!(one.lines.len(), 1);
}

#[test]
fn what_a_cluster_can_not_do_is_refused_by_its_field() {
    let world = world("{}");
    type Change = fn(&mut Allocation);
    let cases: [(Change, &str); 7] = [
        (|a| a.workload.image = None, "workload.image"),
        (|a| a.workload.user = "root".to_owned(), "workload.user"),
        (
            |a| a.workload.stop_signal = "INT".to_owned(),
            "workload.stop_signal",
        ),
        (
            |a| {
                a.workload.resources.accelerators = vec![Accelerator {
                    kind: "tpu".to_owned(),
                    count: 1,
                    memory: 0,
                }]
            },
            "workload.resources.accelerators[0]",
        ),
        (
            |a| {
                a.workload.extensions = vec![Entry {
                    key: "kubernetes".to_owned(),
                    value: "{\"nope\":1}".to_owned(),
                }]
            },
            "workload.extensions.kubernetes",
        ),
        (
            |a| {
                a.workload.files = vec![ConfigFile {
                    path: "rel".to_owned(),
                    mode: 0,
                    content: FileContent::Data(vec![]),
                }]
            },
            "workload.files[0].path",
        ),
        (
            |a| {
                a.workload.scaling = Some(Scaling {
                    min: 1,
                    max: 2,
                    metric: "requests".to_owned(),
                    target: 1.0,
                })
            },
            "workload.scaling.metric",
        ),
    ];
    for (change, field) in cases {
        let mut web = service("a-1", 1);
        change(&mut web);
        let error = world.try_apply(&web, None).unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (ErrorKind::Invalid, Some(field)),
            "{error}"
        );
    }
    assert!(world.cluster.names().is_empty());
    let settings = serde_json::from_str(r#"{"public": "node-port"}"#).unwrap();
    assert!(
        super::Kubernetes::on(Cluster::default(), settings)
            .err()
            .unwrap()
            .message
            .contains("name one")
    );
    assert!(testing::provider::<super::Kubernetes<Cluster>>("{\"x\":1}").is_err());
}

#[test]
fn a_container_that_has_ended_does_not_run_and_is_known_to_have_ended() {
    let world = world("{}");
    let web = service("a-1", 1);
    let state = world.apply(&web, None);
    let container = |state: serde_json::Value| json!({"restartCount": 3, "state": state, "lastState": {"terminated": {"exitCode": 3, "finishedAt": "2026-01-01T00:00:09Z"}}});
    let status = |state: serde_json::Value| json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [container(state)]});
    for (now, phase, ended, began) in [
        (
            json!({"running": {"startedAt": "2026-01-01T00:00:10Z"}}),
            Phase::Running,
            false,
            10,
        ),
        (
            json!({"terminated": {"exitCode": 3, "finishedAt": "2026-01-01T00:00:09Z"}}),
            Phase::Starting,
            true,
            0,
        ),
        (
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}),
            Phase::Starting,
            true,
            0,
        ),
    ] {
        world.pod("p1", "a-1", status(now.clone()), json!({}));
        let seen = world.observe(&web, &state).replicas.remove(0);
        let began_at = seen.started_at.map(|at| (at / 1000) % 60);
        assert_eq!(
            (seen.phase, seen.ended_at.is_some(), seen.restarts, began_at),
            (phase, ended, 3, Some(began)),
            "{now}"
        );
    }
}
