//! The capability on a real engine, without plugins: what the grant refuses, what the engine then has, and what is said when something is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, ensure};
use tradewind_containers::{Engines, Options};
use tradewind_core::{
    capability::{
        Attempt,
        containers::{ContainerKey, ContainerSpec, ContainerStatus, Containers, Pull},
    },
    failure::{Failure, FailureKind},
    grant::ContainersGrant,
    names::InstanceName,
    units::{Bytes, MilliCpu, Millis},
    workload::{
        Check, ConfigFile, EnvValue, EnvVar, Exposure, FileContent, LogQuery, Network, Phase, Port,
        Probe, Protocol, Resources, Run, SecretRef, Volume, VolumeSource,
    },
};
use tradewind_kit::{
    eventually,
    podman::{IMAGE, Podman},
    when,
};

fn owner() -> InstanceName {
    "box".parse().unwrap()
}

fn engines(secrets: &Path) -> Engines {
    Engines::new(Options {
        credentials: Default::default(),
        secrets: secrets.to_owned(),
    })
}

fn grant(socket: &Path, more: &str) -> ContainersGrant {
    let mut grant: serde_json::Value = serde_json::from_str(more).unwrap();
    grant["socket"] = socket.display().to_string().into();
    if grant["images"].is_null() {
        grant["images"] = serde_json::json!(["*"]);
    }
    serde_json::from_value(grant).unwrap()
}

fn key(allocation: &str, replica: u32) -> ContainerKey {
    ContainerKey {
        allocation: allocation.parse().unwrap(),
        replica,
    }
}

fn attempt(allocation: &str, number: u32) -> Attempt {
    let tags = [
        ("allocation", allocation),
        ("namespace", "default"),
        ("deployment", "shop"),
        ("task", "web"),
        ("provider", "box"),
    ];
    let tags: BTreeMap<String, String> = tags
        .iter()
        .map(|(k, v)| (format!("tradewind.dev/{k}"), (*v).to_owned()))
        .collect();
    Attempt {
        allocation: allocation.parse().unwrap(),
        namespace: "default".parse().unwrap(),
        token: format!("{allocation}-{number}"),
        tags,
        resources: Resources::default(),
        startup: None,
    }
}

/// A service in the machine's network that sleeps.
fn spec() -> ContainerSpec {
    ContainerSpec {
        image: IMAGE.to_owned(),
        pull: Pull::Missing,
        run: Run::Service,
        restarts: 0,
        command: ["sleep", "1000"].map(str::to_owned).to_vec(),
        arguments: Vec::new(),
        working_directory: None,
        user: String::new(),
        env: Vec::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        networks: Vec::new(),
        host_network: true,
        files: Vec::new(),
        resources: Resources {
            cpu: MilliCpu(10),
            memory: Bytes(16 << 20),
            ..Resources::default()
        },
        limits: None,
        privileged: false,
        health: None,
        stop_signal: "KILL".to_owned(),
        stop_grace: Millis(1000),
        labels: BTreeMap::new(),
    }
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

async fn ensure_one(
    engines: &Engines,
    grant: &ContainersGrant,
    allocation: &str,
    spec: ContainerSpec,
) -> Result<ContainerStatus, Failure> {
    engines
        .ensure(
            &owner(),
            grant,
            &attempt(allocation, 0),
            key(allocation, 0),
            spec,
        )
        .await
}

async fn status(
    engines: &Engines,
    grant: &ContainersGrant,
    allocation: &str,
) -> Result<Option<ContainerStatus>, Failure> {
    Ok(engines
        .status(&owner(), grant, &[key(allocation, 0)])
        .await?
        .remove(0))
}

async fn until(
    engines: &Engines,
    grant: &ContainersGrant,
    allocation: &str,
    wanted: impl Fn(&ContainerStatus) -> bool,
) -> Result<ContainerStatus> {
    eventually(format!("{allocation} is as wanted"), async || {
        let seen = status(engines, grant, allocation).await?;
        let shown = format!("{seen:?}");
        Ok(seen.filter(&wanted).ok_or(shown))
    })
    .await
}

async fn remove(engines: &Engines, grant: &ContainersGrant, allocation: &str) -> Result<()> {
    while !engines.remove(&owner(), grant, &key(allocation, 0)).await? {}
    Ok(())
}

/// Every refusal comes before the engine is asked: there is none at this socket.
#[tokio::test]
async fn nothing_passes_a_limit_of_the_grant_and_each_refusal_names_what_would_lift_it()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let outside = folder.path().join("outside");
    let inside = folder.path().join("inside");
    std::fs::create_dir_all(&outside)?;
    std::fs::create_dir_all(inside.join("deeper"))?;
    std::os::unix::fs::symlink(&outside, inside.join("way-out"))?;
    let granted = inside.display().to_string();
    let engines = engines(folder.path());
    let narrow = |more: &str| grant(&folder.path().join("none.sock"), more);
    let port = |number: u16, published: Option<u16>, exposure: Exposure| Port {
        name: "http".to_owned(),
        number,
        published,
        protocol: Protocol::Http,
        exposure,
    };
    let secret = || SecretRef {
        name: "key".to_owned(),
        key: None,
    };
    let host_path = |path: &Path| VolumeSource::HostPath {
        path: path.display().to_string(),
    };
    let volume = |source: VolumeSource| {
        vec![Volume {
            path: "/data".to_owned(),
            read_only: false,
            source,
        }]
    };
    let paths = format!(r#"{{"host-network": true, "host-paths": ["{granted}"]}}"#);
    let open = r#"{"host-network": true}"#;

    type Ask<'a> = Box<dyn Fn(&mut ContainerSpec) + 'a>;
    let cases: Vec<(&str, Ask<'_>, &str, &str)> = vec![
        (
            r#"{"host-network": true, "images": ["registry.example.com/team/*"]}"#,
            Box::new(|_| {}),
            "image",
            "images",
        ),
        (
            r#"{"host-network": true, "images": ["localhost/*"]}"#,
            Box::new(|_| {}),
            "image",
            "images",
        ),
        (
            open,
            Box::new(|s| s.pull = Pull::Always),
            "pull",
            "pull = true",
        ),
        (
            "{}",
            Box::new(|_| {}),
            "host-network",
            "host-network = true",
        ),
        (
            open,
            Box::new(|s| s.privileged = true),
            "privileged",
            "privileged = true",
        ),
        (
            open,
            Box::new(|s| {
                s.env = vec![EnvVar {
                    name: "A".to_owned(),
                    value: EnvValue::Secret(secret()),
                }]
            }),
            "env[0]",
            "secrets",
        ),
        (
            open,
            Box::new(|s| {
                s.files = vec![ConfigFile {
                    path: "/k".to_owned(),
                    mode: 0o400,
                    content: FileContent::Secret(secret()),
                }]
            }),
            "files[0]",
            "secrets",
        ),
        (
            r#"{"host-network": true, "ports": [{"from": 8000, "to": 8009}]}"#,
            Box::new(|s| s.ports = vec![port(8010, None, Exposure::Local)]),
            "ports[0].published",
            "ports",
        ),
        (
            r#"{"ports": [{"from": 8000, "to": 8009}]}"#,
            Box::new(|s| {
                (s.host_network, s.ports) = (false, vec![port(80, Some(7999), Exposure::Local)])
            }),
            "ports[0].published",
            "ports",
        ),
        (
            "{}",
            Box::new(|s| {
                (s.host_network, s.ports) = (false, vec![port(80, None, Exposure::Public)])
            }),
            "ports[0].exposure",
            "public-address",
        ),
        (
            open,
            Box::new(|s| s.volumes = volume(host_path(&inside))),
            "volumes[0].source",
            "host-paths",
        ),
        (
            &paths,
            Box::new(|s| s.volumes = volume(host_path(&outside))),
            "volumes[0].source",
            "host-paths",
        ),
        (
            &paths,
            Box::new(|s| s.volumes = volume(host_path(&inside.join("way-out")))),
            "volumes[0].source",
            "host-paths",
        ),
        (
            &paths,
            Box::new(|s| s.volumes = volume(host_path(&inside.join("deeper")))),
            "volumes[0].source",
            "host-paths",
        ),
        (
            &paths,
            Box::new(|s| s.volumes = volume(host_path(Path::new("/")))),
            "volumes[0].source",
            "host-paths",
        ),
    ];
    for (more, ask, field, line) in cases {
        let mut asked = spec();
        ask(&mut asked);
        let failure = ensure_one(&engines, &narrow(more), "a1", asked)
            .await
            .unwrap_err();
        assert_eq!(
            (failure.kind, failure.field.as_deref()),
            (FailureKind::Denied, Some(field)),
            "{failure:?}"
        );
        let remedy = failure.remedy.unwrap_or_default();
        assert!(
            remedy.contains(line) && remedy.contains("[grants.containers]"),
            "{field}: {remedy}"
        );
    }

    let nonsense: Vec<(Ask<'_>, &str)> = vec![
        (Box::new(|s| s.image = "-v".to_owned()), "image"),
        (
            Box::new(|s| s.volumes = volume(host_path(&inside.join("../outside")))),
            "volumes[0].source",
        ),
        (
            Box::new(|s| {
                s.volumes = vec![Volume {
                    path: "/".to_owned(),
                    read_only: false,
                    source: VolumeSource::Scratch { size: Bytes(0) },
                }]
            }),
            "volumes[0].path",
        ),
        (
            Box::new(|s| {
                s.files = vec![ConfigFile {
                    path: "../etc/passwd".to_owned(),
                    mode: 0o400,
                    content: FileContent::Data(vec![]),
                }]
            }),
            "files[0].path",
        ),
        (
            Box::new(|s| {
                s.labels =
                    BTreeMap::from([("tradewind.dev/instance".to_owned(), "other".to_owned())])
            }),
            "labels",
        ),
        (
            Box::new(|s| {
                s.networks = vec![Network {
                    name: "n".to_owned(),
                    internal: false,
                    options: BTreeMap::new(),
                }]
            }),
            "networks",
        ),
        (
            Box::new(|s| {
                let options = BTreeMap::from([("parent".to_owned(), "eth0".to_owned())]);
                (s.host_network, s.networks) = (
                    false,
                    vec![Network {
                        name: "n".to_owned(),
                        internal: false,
                        options,
                    }],
                );
            }),
            "networks[0].options",
        ),
        (
            Box::new(|s| {
                let check = Check::Tcp {
                    port: "http".to_owned(),
                };
                s.health = Some(Probe {
                    check,
                    initial_delay: Millis(0),
                    interval: Millis(1),
                    timeout: Millis(1),
                    healthy_after: 1,
                    unhealthy_after: 1,
                });
            }),
            "health.check",
        ),
    ];
    for (ask, field) in nonsense {
        let mut asked = spec();
        ask(&mut asked);
        let failure = ensure_one(&engines, &narrow(&paths), "a1", asked)
            .await
            .unwrap_err();
        assert_eq!(
            (failure.kind, failure.field.as_deref()),
            (FailureKind::Invalid, Some(field)),
            "{failure:?}"
        );
    }

    // What is granted passes, and finds no engine.
    let mut asked = spec();
    asked.volumes = volume(host_path(&inside));
    let failure = ensure_one(&engines, &narrow(&paths), "a1", asked)
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Unavailable, Some("engine-unreachable")),
        "{failure:?}"
    );
    assert!(failure.remedy.unwrap_or_default().contains("none.sock"));
    Ok(())
}

#[tokio::test]
async fn a_container_is_made_once_replaced_when_it_changes_and_removed() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (engines, grant) = (
        engines(folder.path()),
        grant(&engine.socket(), r#"{"host-network": true}"#),
    );
    let first = ensure_one(&engines, &grant, "a1", spec()).await?;
    assert_eq!((first.phase, first.restarts), (Phase::Running, 0));
    let again = engines
        .ensure(&owner(), &grant, &attempt("a1", 9), key("a1", 0), spec())
        .await?;
    assert_eq!(
        again.id, first.id,
        "the same spec is the same container, whatever the attempt"
    );
    let other = Engines::new(Options {
        credentials: Default::default(),
        secrets: folder.path().to_owned(),
    });
    assert_eq!(
        ensure_one(&other, &grant, "a1", spec()).await?.id,
        first.id,
        "nothing need be remembered"
    );

    let mut changed = spec();
    changed.env = vec![EnvVar {
        name: "A".to_owned(),
        value: EnvValue::Text("1".to_owned()),
    }];
    let second = ensure_one(&engines, &grant, "a1", changed).await?;
    assert_ne!(second.id, first.id);
    assert_eq!(engine.containers()?, ["tradewind.box.a1.0"]);
    assert_eq!(engines.owned(&owner(), &grant).await?, [key("a1", 0)]);
    assert!(engines.owned(&"other".parse()?, &grant).await?.is_empty());
    assert!(
        engines
            .remove(&"other".parse()?, &grant, &key("a1", 0))
            .await?,
        "nothing of theirs is there"
    );
    assert_eq!(engine.containers()?.len(), 1);

    // Stopped by somebody, it is started again, not made anew.
    engine.podman(&["stop", "--time=0", &second.id])?;
    let seen = until(&engines, &grant, "a1", |s| s.phase == Phase::Failed).await?;
    assert!(seen.message.contains("ended with"), "{seen:?}");
    let mut same = spec();
    same.env = vec![EnvVar {
        name: "A".to_owned(),
        value: EnvValue::Text("1".to_owned()),
    }];
    let back = ensure_one(&engines, &grant, "a1", same).await?;
    assert_eq!((back.id, back.phase), (second.id, Phase::Running));

    remove(&engines, &grant, "a1").await?;
    assert!(engine.containers()?.is_empty() && status(&engines, &grant, "a1").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn jobs_end_as_they_end_and_are_run_again_only_by_a_new_attempt() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (engines, grant) = (
        engines(folder.path()),
        grant(&engine.socket(), r#"{"host-network": true}"#),
    );
    let job = |script: &str, retries, deadline| ContainerSpec {
        run: Run::Job { retries, deadline },
        command: shell(script),
        ..spec()
    };
    let over = |s: &ContainerStatus| matches!(s.phase, Phase::Succeeded | Phase::Failed);
    ensure_one(&engines, &grant, "good", job("echo done", 0, None)).await?;
    let good = until(&engines, &grant, "good", over).await?;
    assert_eq!((good.phase, good.exit_code), (Phase::Succeeded, Some(0)));
    let again = engines
        .ensure(
            &owner(),
            &grant,
            &attempt("good", 1),
            key("good", 0),
            job("echo done", 0, None),
        )
        .await?;
    assert_eq!(
        (again.id, again.phase),
        (good.id, Phase::Succeeded),
        "what has succeeded is not run again"
    );

    ensure_one(&engines, &grant, "bad", job("exit 3", 0, None)).await?;
    let bad = until(&engines, &grant, "bad", over).await?;
    assert_eq!((bad.phase, bad.exit_code), (Phase::Failed, Some(3)));
    assert_eq!(
        ensure_one(&engines, &grant, "bad", job("exit 3", 0, None))
            .await?
            .id,
        bad.id,
        "the same attempt"
    );
    let retried = engines
        .ensure(
            &owner(),
            &grant,
            &attempt("bad", 1),
            key("bad", 0),
            job("exit 3", 0, None),
        )
        .await?;
    assert_ne!(retried.id, bad.id, "a new attempt");

    ensure_one(
        &engines,
        &grant,
        "late",
        job("sleep 600", 5, Some(Millis(500))),
    )
    .await?;
    let late = until(&engines, &grant, "late", |s| {
        s.phase == Phase::Failed && s.ended_at.is_some()
    })
    .await?;
    assert!(late.message.contains("deadline"), "{late:?}");
    Ok(())
}

#[tokio::test]
async fn secrets_and_files_are_written_before_it_starts_and_output_is_read_in_pieces() -> Result<()>
{
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir()?;
    std::fs::write(folder.path().join("key"), "from the file\n")?;
    std::fs::write(folder.path().join("token"), "from the variable\n")?;
    let (engines, grant) = (
        engines(folder.path()),
        grant(
            &engine.socket(),
            r#"{"host-network": true, "secrets": ["key", "token"]}"#,
        ),
    );
    let grant = grant.for_namespace(Some(&"default".parse()?));
    let secret = |name: &str| SecretRef {
        name: name.to_owned(),
        key: None,
    };
    let file = |path: &str, content| ConfigFile {
        path: path.to_owned(),
        mode: 0o400,
        content,
    };
    let asked = ContainerSpec {
        command: shell(
            "cat /deep/er/key plain; echo $TOKEN; stat -c %a:%u:%g /deep/er/key; echo err >&2; while sleep 0.1; do echo more; done",
        ),
        working_directory: Some("/srv".to_owned()),
        user: "1000:1000".to_owned(),
        env: vec![EnvVar {
            name: "TOKEN".to_owned(),
            value: EnvValue::Secret(secret("token")),
        }],
        files: vec![
            file("/deep/er/key", FileContent::Secret(secret("key"))),
            file("plain", FileContent::Data(b"beside it\n".to_vec())),
        ],
        ..spec()
    };
    ensure_one(&engines, &grant, "a1", asked).await?;
    let allocation = "a1".parse()?;
    let mut texts: Vec<String> = Vec::new();
    let mut query = LogQuery {
        tail: 1000,
        ..LogQuery::default()
    };
    let told = eventually("twenty lines of \"more\"", async || {
        let chunk = engines.logs(&owner(), &grant, &allocation, &query).await?;
        texts.extend(chunk.lines.into_iter().map(|l| l.text));
        query = LogQuery {
            after: chunk.next,
            ..LogQuery::default()
        };
        let lines = texts.iter().filter(|t| *t == "more").count();
        Ok(when(lines >= 20, lines))
    });
    told.await?;
    for line in [
        "from the file",
        "beside it",
        "from the variable",
        "400:1000:1000",
        "err",
    ] {
        assert_eq!(
            texts.iter().filter(|t| *t == line).count(),
            1,
            "{line}: {texts:?}"
        );
    }
    let whole = engines
        .logs(
            &owner(),
            &grant,
            &allocation,
            &LogQuery {
                tail: 3,
                ..LogQuery::default()
            },
        )
        .await?;
    assert_eq!(whole.lines.len(), 3);
    Ok(())
}

#[tokio::test]
async fn no_more_is_promised_than_granted_and_what_can_not_start_leaves_nothing() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    engine.podman(&["create", "--name=tradewind.box.taken.0", IMAGE, "true"])?;
    let folder = tempfile::tempdir()?;
    let engines = engines(folder.path());
    let full = grant(
        &engine.socket(),
        r#"{"host-network": true, "cpu": "25m", "memory": "1Gi", "containers": 3}"#,
    );
    ensure_one(&engines, &full, "a1", spec()).await?;
    ensure_one(&engines, &full, "a2", spec()).await?;
    let refused = ensure_one(&engines, &full, "a3", spec()).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::OutOfCapacity, "{refused:?}");
    assert!(
        refused
            .message
            .contains("10 millicores do not fit: 5 are left"),
        "{refused}"
    );
    let info = engines.info(&owner(), &full).await?;
    assert_eq!(
        (info.name.as_str(), info.cpu, info.free_cpu),
        ("podman", 25, 5)
    );
    let few = grant(
        &engine.socket(),
        r#"{"host-network": true, "containers": 2}"#,
    );
    assert!(
        ensure_one(&engines, &few, "a3", spec())
            .await
            .unwrap_err()
            .message
            .contains("containers")
    );

    let open = grant(&engine.socket(), r#"{"host-network": true}"#);
    let program = ensure_one(
        &engines,
        &open,
        "a3",
        ContainerSpec {
            command: vec!["/no/program".to_owned()],
            ..spec()
        },
    )
    .await
    .unwrap_err();
    assert_eq!(
        (program.kind, program.field.as_deref()),
        (FailureKind::Invalid, Some("command")),
        "{program:?}"
    );
    let image = ensure_one(
        &engines,
        &open,
        "a3",
        ContainerSpec {
            image: "localhost/no/such:1".to_owned(),
            ..spec()
        },
    )
    .await
    .unwrap_err();
    assert_eq!(
        (image.kind, image.code.as_deref()),
        (FailureKind::Invalid, Some("no-such-image")),
        "{image:?}"
    );
    assert!(image.remedy.unwrap_or_default().contains("pull = true"));
    let taken = ensure_one(&engines, &open, "taken", spec())
        .await
        .unwrap_err();
    assert_eq!(
        (taken.kind, taken.code.as_deref()),
        (FailureKind::Denied, Some("not-ours")),
        "{taken:?}"
    );
    assert!(engines.remove(&owner(), &open, &key("taken", 0)).await?);
    let mut left = engine.containers()?;
    left.sort();
    assert_eq!(
        left,
        [
            "tradewind.box.a1.0",
            "tradewind.box.a2.0",
            "tradewind.box.taken.0"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn containers_meet_in_their_networks_answer_on_published_ports_and_keep_their_volumes()
-> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (engines, grant) = (engines(folder.path()), grant(&engine.socket(), "{}"));
    let of_task = |allocation: &str, task: &str| {
        let mut attempt = attempt(allocation, 0);
        attempt
            .tags
            .insert("tradewind.dev/task".to_owned(), task.to_owned());
        attempt
    };
    let network = |name: &str| Network {
        name: name.to_owned(),
        internal: false,
        options: BTreeMap::new(),
    };
    let persistent = VolumeSource::Persistent {
        name: "data".to_owned(),
        size: Bytes(1 << 20),
        class: String::new(),
    };
    let volume = |path: &str, source| Volume {
        path: path.to_owned(),
        read_only: false,
        source,
    };
    let db = ContainerSpec {
        command: shell("echo kept >> /data/log; exec httpd -f -p 5000 -h /data"),
        host_network: false,
        networks: vec![network("back")],
        volumes: vec![
            volume("/data", persistent),
            volume("/scratch", VolumeSource::Scratch { size: Bytes(0) }),
        ],
        ..spec()
    };
    let web = ContainerSpec {
        command: shell(
            "until wget -q -O /srv/index.html http://db:5000/log; do sleep 0.2; done; exec httpd -f -p $PORT -h /srv",
        ),
        host_network: false,
        networks: vec![network("front"), network("back")],
        ports: vec![Port {
            name: "http".to_owned(),
            number: 0,
            published: None,
            protocol: Protocol::Http,
            exposure: Exposure::Internal,
        }],
        ..spec()
    };
    for round in 1..=2 {
        engines
            .ensure(
                &owner(),
                &grant,
                &of_task("a1", "db"),
                key("a1", 0),
                db.clone(),
            )
            .await?;
        engines
            .ensure(
                &owner(),
                &grant,
                &of_task("a2", "web"),
                key("a2", 0),
                web.clone(),
            )
            .await?;
        let seen = until(&engines, &grant, "a2", |s| {
            s.phase == Phase::Running && !s.endpoints.is_empty()
        })
        .await?;
        let endpoint = &seen.endpoints[0];
        assert_eq!(
            (endpoint.port.as_str(), endpoint.host.as_str()),
            ("http", "127.0.0.1")
        );
        let answered = eventually("it answers", async || {
            Ok(get(&endpoint.host, endpoint.number))
        });
        let body = answered.await?;
        assert_eq!(body.matches("kept").count(), round, "{body}");
        let list = |kind: &str| {
            engine.list(&[
                kind,
                "ls",
                "--format",
                "{{.Name}}",
                "--filter",
                "label=tradewind.dev/instance=box",
            ])
        };
        let mut networks = list("network")?;
        networks.sort();
        assert_eq!(
            networks,
            [
                "tradewind.box.default.shop.back",
                "tradewind.box.default.shop.front"
            ]
        );
        remove(&engines, &grant, "a1").await?;
        remove(&engines, &grant, "a2").await?;
        assert!(
            list("network")?.is_empty(),
            "networks go with the last container in them"
        );
        assert_eq!(
            engine.list(&["volume", "ls", "--format", "{{.Name}}"])?,
            ["tradewind.box.default.shop.data"]
        );
    }
    Ok(())
}

fn get(host: &str, number: u16) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((host, number))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(
        answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
        "{answer:?}"
    );
    Ok(answer)
}

/// The kernel's "no space left on device" while gigabytes are free: the service lives in a mount namespace that is full.
#[tokio::test]
async fn a_start_that_fails_at_the_mount_limit_is_explained() -> Result<()> {
    let Some(mut engine) = Podman::start()? else {
        return Ok(());
    };
    engine.serve_without_room_for_mounts()?;
    let folder = tempfile::tempdir()?;
    let (engines, grant) = (
        engines(folder.path()),
        grant(&engine.socket(), r#"{"host-network": true}"#),
    );
    let failure = ensure_one(&engines, &grant, "a1", spec())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::OutOfCapacity, Some("mount-limit")),
        "{failure:?}"
    );
    assert!(
        failure
            .message
            .contains("disks and inodes are free, but the limit on mounts is reached"),
        "{failure}"
    );
    assert!(failure.remedy.unwrap_or_default().contains("fs.mount-max="));
    Ok(())
}

#[tokio::test]
async fn an_engine_that_comes_back_is_used_again() -> Result<()> {
    let Some(mut engine) = Podman::start()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (engines, grant) = (
        engines(folder.path()),
        grant(&engine.socket(), r#"{"host-network": true}"#),
    );
    let first = ensure_one(&engines, &grant, "a1", spec()).await?;
    engine.interrupt()?;
    let failure = status(&engines, &grant, "a1").await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Unavailable, Some("engine-unreachable")),
        "{failure:?}"
    );
    engine.serve()?;
    assert_eq!(
        status(&engines, &grant, "a1").await?.map(|s| s.id),
        Some(first.id)
    );
    Ok(())
}
