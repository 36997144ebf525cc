//! Through the `containers` provider on a real engine: services and jobs as containers, from the manifest to what the engine then has.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};
use serde_json::Value;
use tradewind_kit::{
    Daemon, LOCAL, endpoints, fetch, pids,
    podman::{IMAGE, Podman},
    web,
};

/// What lets containers live in the machine's own network, where they start fastest: the grant's lines and the settings'.
const HOST: (&str, &str) = ("host-network = true\n", "network = \"host\"\n");

/// A service that answers its greeting, as busybox serves it.
fn page(name: &str, replicas: u32, greeting: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: {name}}}
spec:
  services:
    web:
      image: {IMAGE}
      command: [sh, -c, 'echo "listening on port $PORT"; exec httpd -f -p $PORT -h /srv']
      files:
        - {{path: /srv/index.html, content: "{greeting}"}}
        - {{path: /srv/health, content: ok}}
      ports: {{http: {{protocol: http}}}}
      health: {{http: /health, interval: 200ms}}
      replicas: {replicas}
      resources: {{cpu: 10m, memory: 32Mi}}
      stop: {{signal: KILL, grace: 1s}}
{more}
"#
    )
}

fn job(name: &str, script: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: {name}}}
spec:
  jobs:
    work: {{image: "{IMAGE}", command: [sh, -c, "{script}"], resources: {{cpu: 10m, memory: 32Mi}}, stop: {{signal: KILL, grace: 1s}}{more}}}
"#
    )
}

fn start(engine: &Podman, grants: &str, settings: &str) -> Result<Daemon> {
    Daemon::start(
        &["cheapest", "containers"],
        &[("box", &engine.instance(grants, settings))],
    )
}

fn replica(deployment: &Value) -> &Value {
    &deployment["tasks"][0]["allocations"][0]["replicaStatus"][0]
}

#[tokio::test]
async fn a_service_answers_grows_shrinks_changes_and_goes() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = start(&engine, "", "")?;
    daemon.put("shop", &page("shop", 2, "first", "")).await?;
    let running = daemon.running("shop").await?;
    let before = pids(&running);
    assert_eq!(
        (before.len(), engine.containers()?.len()),
        (2, 2),
        "{running:#}"
    );
    let addresses = endpoints(&running);
    assert_eq!(addresses.len(), 2, "{running:#}");
    for endpoint in &addresses {
        assert_eq!(fetch(&daemon.http, endpoint).await?, "first");
    }

    daemon.put("shop", &page("shop", 3, "first", "")).await?;
    let grown = daemon
        .until("shop", "three replicas", |d| {
            d["status"] == "running" && d["ready"] == 3
        })
        .await?;
    assert!(
        before.iter().all(|id| pids(&grown).contains(id)),
        "growing leaves what runs alone"
    );
    daemon.put("shop", &page("shop", 1, "first", "")).await?;
    daemon
        .until("shop", "one replica", |d| {
            d["status"] == "running" && d["ready"] == 1 && pids(d).len() == 1
        })
        .await?;
    daemon
        .eventually(
            "one container",
            async || Ok(engine.containers()?.len() == 1),
        )
        .await?;

    daemon.put("shop", &page("shop", 1, "second", "")).await?;
    let changed = daemon
        .until("shop", "changed", |d| {
            d["status"] == "running" && d["observedGeneration"] == 4
        })
        .await?;
    assert_eq!(
        fetch(&daemon.http, &endpoints(&changed)[0]).await?,
        "second"
    );
    assert!(
        daemon
            .run(&["logs", "shop"])?
            .contains("listening on port 8080")
    );

    let endpoint = endpoints(&changed).remove(0);
    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    assert!(
        fetch(&daemon.http, &endpoint).await.is_err(),
        "nothing listens any more"
    );
    assert!(engine.containers()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn jobs_run_to_their_end_once_or_fail_and_their_output_is_kept() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let mut daemon = start(&engine, HOST.0, HOST.1)?;
    daemon
        .put(
            "once",
            &job("once", "echo to the log; echo to the other >&2", ""),
        )
        .await?;
    let done = daemon
        .until("once", "completed", |d| d["status"] == "completed")
        .await?;
    assert_eq!(replica(&done)["exitCode"], 0, "{done:#}");
    let logs = daemon.run(&["logs", "once"])?;
    assert!(
        logs.contains("to the log") && logs.contains("to the other"),
        "{logs}"
    );
    let id = pids(&done);
    daemon.kill()?;
    daemon.launch()?;
    let still = daemon
        .until("once", "still completed", |d| d["status"] == "completed")
        .await?;
    assert_eq!(
        (pids(&still), engine.containers()?.len()),
        (id, 1),
        "a restart of the daemon runs nothing again"
    );

    daemon
        .put("bad", &job("bad", "echo try; exit 7", ", retries: 2"))
        .await?;
    let failed = daemon
        .until("bad", "failed", |d| d["status"] == "failed")
        .await?;
    assert_eq!(replica(&failed)["exitCode"], 7, "{failed:#}");
    assert_eq!(
        daemon.run(&["logs", "bad"])?.matches("try").count(),
        3,
        "the first attempt and two retries"
    );

    daemon
        .put("slow", &job("slow", "sleep 600", ", deadline: 1s"))
        .await?;
    let late = daemon
        .until("slow", "failed", |d| d["status"] == "failed")
        .await?;
    assert!(
        replica(&late)["message"]
            .as_str()
            .unwrap_or_default()
            .contains("deadline"),
        "{late:#}"
    );
    daemon
        .eventually("the late job ended", async || {
            Ok(engine.list(&["ps", "--format", "{{.Names}}"])?.is_empty())
        })
        .await
}

/// A service that reads its secrets once and then serves what it was given.
fn careful(name: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: {name}}}
spec:
  services:
    db:
      image: {IMAGE}
      command: [sh, -c, 'echo "$(cat /run/key)"; echo "the variable is $TOKEN"; stat -c "%a %u" /run/key; exec httpd -f -p 5000 -h /srv']
      user: "1000"
      env: {{TOKEN: {{secret: token}}}}
      files:
        - {{path: /run/key, secret: {{secret: key, key: pem}}, mode: "400"}}
        - {{path: /srv/index.html, content: from the database}}
      ports: {{db: 5000}}
      resources: {{cpu: 10m, memory: 32Mi}}
      stop: {{signal: KILL, grace: 1s}}
{more}
"#
    )
}

#[tokio::test]
async fn secrets_enter_as_files_and_variables_and_show_nowhere_else() -> Result<()> {
    const VALUES: [&str; 2] = ["canary-4711-of-the-file", "canary-4712-of-the-variable"];
    const GRANTED: &str = "secrets = [\"key\", \"token\"]\n";
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = start(&engine, &format!("{}{GRANTED}", HOST.0), HOST.1)?;
    let secrets = daemon.data().join("secrets");
    std::fs::create_dir_all(secrets.join("key"))?;
    std::fs::write(secrets.join("key/pem"), VALUES[0])?;
    std::fs::write(secrets.join("token"), format!("{}\n", VALUES[1]))?;
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o700))?;
    // In the machine's network the number 5000 is the machine's, which is not granted; in one of its own it is the container's.
    daemon.put("careful", &careful("careful", "")).await?;
    daemon
        .eventually("refused with its remedy", async || {
            let told = daemon.run(&["describe", "careful"])?;
            Ok(told.contains("the port \"5000\" is not granted")
                && told.contains("to ports in [grants.containers]"))
        })
        .await?;
    assert!(
        daemon.get("/v1/plugins/box").await?["degraded"].is_null(),
        "others are not affected"
    );
    daemon.put("free", &page("free", 1, "x", "")).await?;
    daemon.running("free").await?;
    daemon.delete("free").await?;
    let settings = engine.instance(GRANTED, "");
    std::fs::write(daemon.plugins().join("box.toml"), settings)?;
    daemon.put("other", &careful("other", "")).await?;
    daemon.running("other").await?;
    daemon.running("careful").await?;
    let logs = daemon.run(&["logs", "other"])?;
    assert!(
        VALUES.iter().all(|v| logs.contains(v)) && logs.contains("400 1000"),
        "{logs}"
    );

    // The engine takes variables as they are; nothing of ours keeps either.
    let told = format!(
        "{}{}{}{}",
        daemon.get("/v1/deployments/other").await?,
        daemon.list("/v1/events?limit=1000").await?,
        daemon.list("/v1/decisions").await?,
        daemon.log()
    );
    for value in VALUES {
        assert!(!told.contains(value), "{value} shows");
        for entry in std::fs::read_dir(daemon.data())?
            .flatten()
            .filter(|e| e.path().is_file())
        {
            let bytes = std::fs::read(entry.path())?;
            assert!(
                !bytes.windows(value.len()).any(|w| w == value.as_bytes()),
                "{} holds {value}",
                entry.path().display()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn networks_are_made_joined_and_removed_and_volumes_stay() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = start(&engine, "", "")?;
    let manifest = format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: pair}}
spec:
  services:
    db:
      image: {IMAGE}
      command: [sh, -c, 'echo kept >> /data/log; cp /data/log /srv/index.html || cat /data/log > /srv/index.html; exec httpd -f -p 5000 -h /srv']
      networks: [back]
      volumes: [{{path: /data, name: data, size: 1Mi}}, {{path: /scratch, size: 1Mi}}]
      resources: {{cpu: 10m, memory: 32Mi}}
      stop: {{signal: KILL, grace: 1s}}
    web:
      image: {IMAGE}
      command: [sh, -c, 'until wget -q -O /srv/index.html http://db:5000/; do sleep 1; done; exec httpd -f -p $PORT -h /srv']
      networks: [front, back]
      ports: {{http: {{protocol: http}}}}
      health: {{http: /, interval: 200ms}}
      resources: {{cpu: 10m, memory: 32Mi}}
      stop: {{signal: KILL, grace: 1s}}
"#
    );
    daemon.put("pair", &manifest).await?;
    let running = daemon.running("pair").await?;
    assert_eq!(
        fetch(&daemon.http, &endpoints(&running)[0]).await?.trim(),
        "kept",
        "one finds the other by the name of its task"
    );
    let networks = || {
        engine.list(&[
            "network",
            "ls",
            "--format",
            "{{.Name}}",
            "--filter",
            "label=tradewind.dev/instance=box",
        ])
    };
    let mut names = networks()?;
    names.sort();
    assert_eq!(
        names,
        [
            "tradewind.box.default.pair.back",
            "tradewind.box.default.pair.front"
        ]
    );
    daemon.delete("pair").await?;
    daemon.gone("pair").await?;
    daemon
        .eventually("without networks", async || Ok(networks()?.is_empty()))
        .await?;
    let volumes = engine.list(&["volume", "ls", "--format", "{{.Name}}"])?;
    assert_eq!(
        volumes,
        ["tradewind.box.default.pair.data"],
        "the scratch volume goes, the other stays"
    );

    daemon.put("pair", &manifest).await?;
    let again = daemon.running("pair").await?;
    assert_eq!(
        fetch(&daemon.http, &endpoints(&again)[0]).await?.trim(),
        "kept\nkept",
        "its volume is found again"
    );
    Ok(())
}

#[tokio::test]
async fn what_dies_comes_back_what_vanishes_is_made_again_and_what_hogs_memory_is_told()
-> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = start(&engine, HOST.0, HOST.1)?;
    daemon.put("phoenix", &page("phoenix", 1, "x", "")).await?;
    let running = daemon.running("phoenix").await?;
    let id = pids(&running).remove(0);
    engine.podman(&["kill", "--signal", "KILL", &id])?;
    let began = replica(&running)["startedAt"].clone();
    let back = daemon
        .until("phoenix", "back", |d| {
            d["status"] == "running" && replica(d)["startedAt"] != began
        })
        .await?;
    assert_eq!(
        back["tasks"][0]["allocations"][0]["recovery"]["failures"], 1,
        "it is counted: {back:#}"
    );
    fetch(&daemon.http, &endpoints(&back)[0]).await?;

    let id = pids(&back).remove(0);
    engine.podman(&["rm", "--force", "--time=0", &id])?;
    daemon
        .until("phoenix", "made again", |d| {
            d["status"] == "running" && !pids(d).is_empty() && pids(d) != [id.clone()]
        })
        .await?;
    assert_eq!(engine.containers()?.len(), 1);

    daemon
        .put("hog", &job("hog", "head -c 200m /dev/zero | tail", ""))
        .await?;
    let failed = daemon
        .until("hog", "failed", |d| d["status"] == "failed")
        .await?;
    assert!(
        !replica(&failed)["message"]
            .as_str()
            .unwrap_or_default()
            .is_empty(),
        "{failed:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_daemon_finds_its_containers_again_and_starts_none_twice() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let mut daemon = start(&engine, HOST.0, HOST.1)?;
    daemon
        .put("stay", &page("stay", 2, "still here", ""))
        .await?;
    let before = daemon.running("stay").await?;
    daemon.kill()?;
    for endpoint in endpoints(&before) {
        assert_eq!(
            fetch(&daemon.http, &endpoint).await?,
            "still here",
            "containers outlive the daemon"
        );
    }
    daemon.launch()?;
    let after = daemon.running("stay").await?;
    assert_eq!(
        (pids(&after), endpoints(&after)),
        (pids(&before), endpoints(&before)),
        "found again, not started twice"
    );

    // In the middle of starting.
    for i in 0..4 {
        daemon
            .put(
                &format!("burst-{i}"),
                &page(&format!("burst-{i}"), 1, "x", ""),
            )
            .await?;
    }
    daemon.kill()?;
    daemon.launch()?;
    for i in 0..4 {
        daemon.running(&format!("burst-{i}")).await?;
    }
    assert_eq!(engine.containers()?.len(), 6, "none is doubled");
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_gone_is_told_with_its_remedy_and_others_go_on() -> Result<()> {
    let Some(mut engine) = Podman::start()? else {
        return Ok(());
    };
    let instances = [
        ("box", engine.instance(HOST.0, HOST.1)),
        ("local", LOCAL.to_owned()),
    ];
    let instances: Vec<(&str, &str)> = instances
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let daemon = Daemon::start(&["cheapest", "containers", "process"], &instances)?;
    daemon.put("shop", &page("shop", 1, "x", "")).await?;
    let running = daemon.running("shop").await?;
    engine.interrupt()?;
    daemon.put("late", &page("late", 1, "x", "")).await?;
    let told = |d: &Value| {
        let text = d.to_string();
        text.contains("does not answer at") && text.contains("start the engine")
    };
    daemon.until("late", "told what is wrong", told).await?;
    let described = daemon.run(&["describe", "late"])?;
    assert!(
        described.contains("does not answer at") && described.contains("start the engine"),
        "{described}"
    );
    daemon
        .put("beside", &web("beside", 1, "other providers go on"))
        .await?;
    daemon.running("beside").await?;
    fetch(&daemon.http, &endpoints(&running)[0]).await?;

    engine.serve()?;
    daemon.running("late").await?;
    daemon
        .until("shop", "as before", |d| {
            d["status"] == "running" && pids(d) == pids(&running)
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_can_not_run_says_why() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = start(&engine, HOST.0, HOST.1)?;
    let manifest = page("nope", 1, "x", "").replace(IMAGE, "localhost/no/such:1");
    daemon.put("nope", &manifest).await?;
    let failed = daemon
        .until("nope", "failed", |d| d["status"] == "failed")
        .await?
        .to_string();
    assert!(
        failed.contains("does not have the image \\\"localhost/no/such:1\\\""),
        "{failed}"
    );

    daemon
        .put(
            "typo",
            &job("typo", "x", "").replace("[sh, -c, \"x\"]", "[/no/program]"),
        )
        .await?;
    let failed = daemon
        .until("typo", "failed", |d| d["status"] == "failed")
        .await?
        .to_string();
    assert!(failed.contains("/no/program"), "{failed}");
    assert!(
        engine.containers()?.is_empty(),
        "what did not start leaves nothing behind"
    );
    Ok(())
}

#[tokio::test]
async fn what_serves_goes_on_when_a_new_version_is_refused() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let narrow = engine
        .instance(HOST.0, HOST.1)
        .replace("images = [\"*\"]", &format!("images = [\"{IMAGE}\"]"));
    let daemon = Daemon::start(&["cheapest", "containers"], &[("box", &narrow)])?;
    daemon.put("shop", &page("shop", 2, "first", "")).await?;
    let before = pids(&daemon.running("shop").await?);
    let second = page("shop", 2, "second", "").replace(IMAGE, "localhost/tradewind/other:1");
    for update in ["rolling", "blue-green"] {
        daemon
            .put(
                "shop",
                &second.replace("spec:", &format!("spec:\n  update: {{strategy: {update}}}")),
            )
            .await?;
        let told = daemon
            .until("shop", "refused with its remedy", |d| {
                d["generation"] == d["observedGeneration"]
                    && d.to_string()
                        .contains("add \\\"localhost/tradewind/other:1\\\" to images")
            })
            .await?;
        assert_eq!(engine.containers()?.len(), 2, "{update}: {told:#}");
        let now = daemon.get("/v1/deployments/shop").await?;
        for endpoint in endpoints(&now) {
            assert_eq!(
                fetch(&daemon.http, &endpoint).await?,
                "first",
                "{update}: {now:#}"
            );
        }
        assert_eq!(pids(&now), before, "{update}: {now:#}");
    }
    assert!(daemon.get("/v1/plugins/box").await?["degraded"].is_null());
    Ok(())
}

#[tokio::test]
async fn containers_of_others_are_left_alone() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    engine.podman(&[
        "run",
        "--detach",
        "--network=host",
        "--name=theirs",
        IMAGE,
        "sleep",
        "1000",
    ])?;
    engine.podman(&[
        "run",
        "--detach",
        "--network=host",
        "--name=labelled",
        "--label=tradewind.dev/instance=other",
        IMAGE,
        "sleep",
        "1000",
    ])?;
    {
        let daemon = start(&engine, HOST.0, HOST.1)?;
        daemon.put("mine", &page("mine", 1, "x", "")).await?;
        daemon.running("mine").await?;
        daemon.delete("mine").await?;
        daemon.gone("mine").await?;
    }
    let mut left = engine.containers()?;
    left.sort();
    assert_eq!(left, ["labelled", "theirs"]);
    Ok(())
}

/// Gives the tag another image: one that says which it is.
fn tag(engine: &Podman, version: &str) -> Result<()> {
    let image = format!("ENV VERSION={version}");
    engine.podman(&["create", &format!("--name=base-{version}"), IMAGE, "true"])?;
    engine.podman(&[
        "commit",
        "--quiet",
        "--change",
        &image,
        &format!("base-{version}"),
        "localhost/tradewind/tagged:1",
    ])?;
    engine.podman(&["rm", &format!("base-{version}")]).map(drop)
}

#[tokio::test]
async fn one_revision_runs_one_image_whatever_its_tag_names_by_then() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let mut daemon = start(&engine, HOST.0, HOST.1)?;
    let tagged = |replicas: u32, mode: &str| {
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: tagged}}\nspec:\n  services:\n    w:\n      \
             image: localhost/tradewind/tagged:1\n      command: [sh, -c, 'echo \"{mode} $VERSION\"; exec sleep 600']\n      replicas: {replicas}\n      \
             resources: {{cpu: 10m, memory: 32Mi}}\n      stop: {{signal: KILL, grace: 1s}}\n"
        )
    };
    let images = || engine.list(&["ps", "--format", "{{.ImageID}}", "--no-trunc"]);
    let alike = |wanted: usize| -> Result<bool> {
        let mut all = images()?;
        let count = all.len();
        all.dedup();
        Ok(count == wanted && all.len() == 1)
    };
    tag(&engine, "v1")?;
    daemon.put("tagged", &tagged(2, "first")).await?;
    daemon.running("tagged").await?;
    let first = images()?.remove(0);
    let known = |d: &Value| {
        !d["tasks"][0]["allocations"][0]["images"]
            .as_array()
            .is_none_or(Vec::is_empty)
    };
    daemon.until("tagged", "known by its image", known).await?;
    let described = daemon.run(&["describe", "tagged"])?;
    assert!(
        described.contains(&format!(
            "localhost/tradewind/tagged:1 (id:{}",
            &first[..12]
        )),
        "{described}"
    );

    tag(&engine, "v2")?;
    let before = pids(&daemon.running("tagged").await?);
    daemon.run(&["scale", "tagged", "w", "--replicas", "3"])?;
    let grown = daemon
        .until("tagged", "three", |d| {
            d["status"] == "running" && d["ready"] == 3
        })
        .await?;
    assert!(
        before.iter().all(|id| pids(&grown).contains(id)),
        "growing leaves what runs alone"
    );
    assert!(alike(3)?, "a later replica: {:?}", images()?);
    // A new daemon knows it still; what vanishes is made again of the same.
    daemon.kill()?;
    daemon.launch()?;
    daemon.until("tagged", "known by its image", known).await?;
    engine.podman(&["rm", "--force", "--time=0", &before[0]])?;
    daemon
        .until("tagged", "whole", |d| {
            d["status"] == "running" && d["ready"] == 3 && !pids(d).contains(&before[0])
        })
        .await?;
    assert!(alike(3)?, "healing: {:?}", images()?);
    assert_eq!(
        daemon.run(&["logs", "tagged"])?.matches("first v2").count(),
        0
    );

    // Another revision finds what the tag names now; the way back finds what it named then.
    daemon.put("tagged", &tagged(3, "second")).await?;
    let second = |d: &Value| {
        d["status"] == "running"
            && d["ready"] == 3
            && d["rollout"]["status"] == "done"
            && d["generation"] == d["observedGeneration"]
    };
    daemon.until("tagged", "the second", second).await?;
    daemon
        .eventually("of the second image alone", async || {
            Ok(alike(3)? && images()?[0] != first)
        })
        .await?;
    daemon.run(&["rollback", "tagged"])?;
    daemon.until("tagged", "the first again", second).await?;
    daemon
        .eventually("of the first image alone", async || {
            Ok(alike(3)? && images()?[0] == first)
        })
        .await
}

#[tokio::test]
async fn names_at_their_limits_and_what_an_engine_refuses_of_one_workload_keep_nobody_else_away()
-> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let number = taken.local_addr()?.port();
    let grants = format!("pull = true\nports = [{{from = {number}, to = {number}}}]\n");
    let daemon = start(&engine, &grants, "")?;
    let (name, network) = ("n".repeat(63), "w".repeat(128));
    let longest = format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}, namespace: {name}}}\nspec:\n  services:\n    w: {{image: \"{IMAGE}\", \
         command: [sleep, \"600\"], networks: [{network}], volumes: [{{path: /data, name: {network}, size: 1Mi}}], resources: {{cpu: 10m, memory: 16Mi}}, \
         stop: {{signal: KILL, grace: 1s}}}}\n"
    );
    let path = format!("{name}?namespace={name}");
    daemon.put(&path, &longest).await?;
    daemon
        .until(&path, "running", |d| d["status"] == "running")
        .await?;

    // What the engine can't start of this one: a port that a stranger holds, a user that the image has not.
    let small = |name: &str, more: &str| {
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}, namespace: team-of-{name}}}\nspec:\n  services:\n    w: {{image: \"{IMAGE}\", \
             command: [sleep, \"600\"], resources: {{cpu: 10m, memory: 16Mi}}, stop: {{signal: KILL, grace: 1s}}{more}}}\n"
        )
    };
    let at = |name: &str| format!("{name}?namespace=team-of-{name}");
    daemon
        .put(
            &at("rival"),
            &small(
                "rival",
                &format!(", ports: {{http: {{port: 8080, published: {number}}}}}"),
            ),
        )
        .await?;
    daemon
        .put(
            &at("stranger"),
            &small("stranger", ", user: no-such-user-anywhere"),
        )
        .await?;
    // A registry that nobody runs, and a volume of somebody else's.
    daemon
        .put(
            &at("puller"),
            &small("puller", "").replace(IMAGE, "127.0.0.1:9/no/such:1"),
        )
        .await?;
    engine.podman(&["volume", "create", "tradewind.box.team-of-owner.owner.data"])?;
    daemon
        .put(
            &at("owner"),
            &small("owner", ", volumes: [{path: /data, name: data, size: 1Mi}]"),
        )
        .await?;
    for (name, why) in [
        ("rival", "address already in use"),
        ("stranger", "unable to find user"),
        ("puller", "can't be pulled"),
        ("owner", "is not this instance's"),
    ] {
        daemon
            .until(&at(name), why, |d| d.to_string().contains(why))
            .await?;
    }
    daemon
        .put(&at("bystander"), &small("bystander", ""))
        .await?;
    daemon
        .until(&at("bystander"), "running", |d| d["status"] == "running")
        .await?;
    let regions = daemon.get("/v1/regions").await?;
    assert_eq!(regions["items"][0]["circuit"], "closed", "{regions:#}");
    let shown = format!("{regions}{}", daemon.run(&["regions"])?);
    for private in [
        "rival",
        "stranger",
        "no-such",
        "puller",
        "owner",
        name.as_str(),
    ] {
        assert!(!shown.contains(private), "{private} shows in {shown}");
    }
    assert_eq!(
        regions["items"][0]["cooling"],
        serde_json::json!([]),
        "{regions:#}"
    );
    assert!(daemon.get("/v1/plugins/box").await?["degraded"].is_null());
    Ok(())
}

#[tokio::test]
async fn a_variable_loses_one_line_end_of_its_secret_and_a_file_none() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = start(&engine, &format!("{}secrets = [\"db\"]\n", HOST.0), HOST.1)?;
    std::fs::create_dir_all(daemon.data().join("secrets"))?;
    std::fs::write(daemon.data().join("secrets/db"), "s3cret\n\r\n")?;
    let script = "echo begin; echo \\\"<$P>\\\"; echo file; cat /etc/db; echo end";
    let manifest = job(
        "lines",
        script,
        ", env: {P: {secret: db}}, files: [{path: /etc/db, secret: {secret: db}}]",
    );
    daemon.put("lines", &manifest).await?;
    daemon
        .until("lines", "completed", |d| d["status"] == "completed")
        .await?;
    let logs = daemon.run(&["logs", "lines"])?;
    let lines: Vec<&str> = logs
        .lines()
        .map(|l| {
            l.split_once(" | ")
                .map_or(l, |(_, text)| text)
                .trim_end_matches('\r')
        })
        .collect();
    let text = lines.join("\n");
    assert!(
        text.contains("<s3cret\n>") && text.contains("s3cret\n\nend"),
        "{text}"
    );
    Ok(())
}

/// The number in an endpoint's address.
fn port(endpoint: &str) -> u16 {
    endpoint
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or_default()
}

/// As `page`, with a start that waits for a file of that name on the machine.
fn reluctant(name: &str, go: &std::path::Path) -> String {
    let volume = format!(
        "      volumes: [{{path: /go, hostPath: {}}}]\n",
        go.display()
    );
    page(name, 1, "its own", &volume).replace(
        "exec httpd",
        "until test -f /go/now; do sleep 0.1; done; exec httpd",
    )
}

#[tokio::test]
async fn in_the_machine_s_network_a_stranger_s_answer_makes_nothing_ready() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let go = tempfile::tempdir()?;
    let grants = format!("{}host-paths = [\"{}\"]\n", HOST.0, go.path().display());
    let daemon = start(&engine, &grants, HOST.1)?;
    daemon.put("shop", &reluctant("shop", go.path())).await?;
    let number = |d: &Value| {
        replica(d)["endpoints"][0]["number"]
            .as_u64()
            .and_then(|n| u16::try_from(n).ok())
    };
    let begun = daemon
        .until("shop", "begun", |d| number(d).is_some())
        .await?;
    // Somebody who answers all that is asked of him.
    let stranger =
        tokio::net::TcpListener::bind(("127.0.0.1", number(&begun).unwrap_or_default())).await?;
    let answering = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = stranger.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await;
        }
    });
    let told = format!(
        "answered by something that is not of this replica (pid {})",
        std::process::id()
    );
    let seen = daemon
        .until("shop", "told who answers", |d| {
            d.to_string().contains(&told)
        })
        .await?;
    ensure!(
        seen["ready"] == 0 && seen["status"] != "running",
        "{seen:#}"
    );
    answering.abort();
    let _ = answering.await;
    std::fs::write(go.path().join("now"), "")?;
    let running = daemon.running("shop").await?;
    ensure!(
        fetch(&daemon.http, &endpoints(&running)[0]).await? == "its own",
        "{running:#}"
    );
    Ok(())
}

/// The engine keeps the number that it has picked: a stranger who has it by now would keep the container down for ever.
#[tokio::test]
async fn a_chosen_port_that_is_gone_at_a_later_start_is_chosen_anew() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let mut daemon = start(&engine, "", "")?;
    daemon.put("shop", &page("shop", 1, "moved", "")).await?;
    let before = daemon.running("shop").await?;
    let (id, endpoint) = (pids(&before).remove(0), endpoints(&before).remove(0));
    daemon.kill()?;
    engine.podman(&["stop", "--time=0", &id])?;
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", port(&endpoint)))?;
    daemon.launch()?;
    let elsewhere = |d: &Value| {
        d["status"] == "running" && endpoints(d).first().is_some_and(|e| *e != endpoint)
    };
    let after = daemon.until("shop", "running elsewhere", elsewhere).await?;
    ensure!(
        fetch(&daemon.http, &endpoints(&after)[0]).await? == "moved",
        "{after:#}"
    );
    let chosen = |e: &Value| e.to_string().contains("another port is chosen");
    daemon.event("PortMoved", chosen).await?;
    ensure!(engine.containers()?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_lost_with_its_machine_is_run_again_with_all_its_retries() -> Result<()> {
    let Some(mut engine) = Podman::start()? else {
        return Ok(());
    };
    let go = tempfile::tempdir()?;
    let grants = format!("{}host-paths = [\"{}\"]\n", HOST.0, go.path().display());
    let daemon = start(&engine, &grants, HOST.1)?;
    let volume = format!(
        ", volumes: [{{path: /go, hostPath: {}}}]",
        go.path().display()
    );
    daemon
        .put(
            "work",
            &job("work", "until test -f /go/now; do sleep 0.1; done", &volume),
        )
        .await?;
    daemon.put("shop", &page("shop", 1, "back", "")).await?;
    let running = daemon
        .until("work", "running", |d| replica(d)["phase"] == "running")
        .await?;
    daemon.running("shop").await?;
    engine.reboot()?;
    let again = |d: &Value| replica(d)["phase"] == "running" && pids(d) != pids(&running);
    daemon.until("work", "run again", again).await?;
    std::fs::write(go.path().join("now"), "")?;
    let done = daemon
        .until("work", "completed", |d| d["status"] == "completed")
        .await?;
    ensure!(replica(&done)["exitCode"] == 0, "{done:#}");
    let lost = |e: &Value| {
        e.to_string()
            .contains("lost: the machine or the engine was restarted")
    };
    daemon.events(None).await?.until("lost", lost).await?;
    let back = daemon.running("shop").await?;
    ensure!(
        fetch(&daemon.http, &endpoints(&back)[0]).await? == "back",
        "{back:#}"
    );
    Ok(())
}

/// The engine starts a job again by itself: its deadline is of all attempts together.
#[tokio::test]
async fn a_deadline_is_of_all_attempts_together() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = start(&engine, HOST.0, HOST.1)?;
    daemon
        .put(
            "slow",
            &job(
                "slow",
                "echo try; sleep 0.5; exit 3",
                ", retries: 1000, deadline: 2s",
            ),
        )
        .await?;
    let failed = daemon
        .until("slow", "failed", |d| d["status"] == "failed")
        .await?;
    let message = replica(&failed)["message"].as_str().unwrap_or_default();
    ensure!(message.contains("deadline of 2s"), "{failed:#}");
    ensure!(
        daemon.run(&["logs", "slow"])?.matches("try").count() > 1,
        "it was tried again meanwhile"
    );
    Ok(())
}

#[tokio::test]
async fn a_published_port_that_a_stranger_has_is_one_task_s_trouble() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let stranger = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = stranger.local_addr()?.port();
    let daemon = start(
        &engine,
        &format!("ports = [{{from = {port}, to = {port}}}]\n"),
        "",
    )?;
    let published = format!("ports: {{http: {{published: {port}, protocol: http}}}}");
    daemon
        .put(
            "shut",
            &page("shut", 1, "hello", "").replace("ports: {http: {protocol: http}}", &published),
        )
        .await?;
    let refused = |d: &Value| {
        d["message"]
            .as_str()
            .is_some_and(|m| m.contains("provider \"box\" refuses it"))
    };
    daemon.until("shut", "refused", refused).await?;
    daemon.put("open", &page("open", 1, "hello", "")).await?;
    daemon.running("open").await?;
    let regions = daemon.get("/v1/regions").await?;
    ensure!(
        regions["items"][0]["cooling"] == serde_json::json!([]),
        "{regions:#}"
    );

    // It is tried again after a pause of its own.
    drop(stranger);
    daemon.running("shut").await?;
    Ok(())
}
