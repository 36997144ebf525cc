//! An operator of one namespace tries for what is another's: its secrets, its places, its volumes, and what there is to know of them.

use std::{fs, os::unix::fs::symlink};

use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon, client, pids,
    podman::{IMAGE, Podman},
};

/// A token of one namespace.
async fn token(daemon: &Daemon, name: &str, role: &str, namespace: &str) -> Result<Client> {
    let request = json!({"name": name, "role": role, "namespaces": [namespace]});
    let answer: Value = daemon
        .http
        .post(daemon.url("/v1/tokens"))
        .json(&request)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    client(Some(answer["secret"].as_str().context("no secret")?))
}

fn manifest(namespace: &str, name: &str, spec: &Value) -> String {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": metadata, "spec": spec}).to_string()
}

/// A job that prints the secret `db-password`.
fn thief(place: &str) -> Value {
    let job = json!({"command": ["printenv", "T"], "env": {"T": {"secret": "db-password"}}});
    json!({"jobs": {"j": job}, "placement": {"providers": [place]}})
}

async fn put(
    daemon: &Daemon,
    who: &Client,
    namespace: &str,
    name: &str,
    spec: &Value,
) -> Result<()> {
    let request = who
        .put(daemon.url(&format!("/v1/deployments/{name}")))
        .header("content-type", "application/yaml");
    let response = request.body(manifest(namespace, name, spec)).send().await?;
    ensure!(
        response.status().is_success(),
        "PUT {namespace}/{name}: {}: {}",
        response.status(),
        response.text().await?
    );
    Ok(())
}

async fn plan(
    daemon: &Daemon,
    who: &Client,
    namespace: &str,
    spec: &Value,
) -> Result<(StatusCode, Value)> {
    let request = who
        .post(daemon.url("/v1/deployments/p/plan"))
        .header("content-type", "application/yaml");
    let response = request.body(manifest(namespace, "p", spec)).send().await?;
    Ok((response.status(), response.json().await?))
}

/// What a job of a namespace has put out by its end.
async fn output(daemon: &Daemon, namespace: &str, name: &str) -> Result<String> {
    let path = format!("/v1/deployments/{name}?namespace={namespace}");
    daemon
        .until_at(&path, "ended", |d| {
            d["status"] == "completed" || d["status"] == "failed"
        })
        .await?;
    daemon.run(&["-n", namespace, "logs", name])
}

/// Waits until a deployment of a namespace says why it does not run.
async fn refused(daemon: &Daemon, namespace: &str, name: &str, words: &[&str]) -> Result<Value> {
    let path = format!("/v1/deployments/{name}?namespace={namespace}");
    let seen = daemon
        .until_at(&path, "refused", |d| {
            words.iter().all(|word| d.to_string().contains(word))
        })
        .await?;
    ensure!(
        pids(&seen).iter().all(String::is_empty) && seen["status"] != "running",
        "it runs: {seen:#}"
    );
    Ok(seen)
}

fn secret(daemon: &Daemon, name: &str, value: &str) -> Result<()> {
    let path = daemon.data().join("secrets").join(name);
    fs::create_dir_all(path.parent().context("no folder")?)?;
    Ok(fs::write(path, value)?)
}

#[tokio::test]
async fn a_secret_is_read_by_the_namespaces_that_it_is_granted_to() -> Result<()> {
    let grant = r#"
component = "process.wasm"
[grants.process]
commands = ["printenv", "sh"]
secrets = [{ name = "db-password", namespaces = ["default", "shop"] }, { name = "own", namespaces = ["team-*"] },
    { name = "common", namespaces = ["*"] }]
"#;
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", grant)])?;
    for (name, value) in [
        ("db-password", "S3cr3t-of-default"),
        ("shop/db-password", "S3cr3t-of-shop"),
        ("common", "for all"),
    ] {
        secret(&daemon, name, value)?;
    }
    // Whoever fills a namespace's folder reaches no other with it.
    secret(&daemon, "team-a/plain", "x")?;
    symlink(
        "../shop/db-password",
        daemon.data().join("secrets/team-a/own"),
    )?;
    symlink("shop", daemon.data().join("secrets/team-b"))?;
    let team = token(&daemon, "team", "operator", "team-a").await?;
    put(&daemon, &team, "team-a", "steals", &thief("local")).await?;
    let seen = refused(
        &daemon,
        "team-a",
        "steals",
        &[
            "db-password",
            "not granted to namespace \\\"team-a\\\"",
            "instance file",
        ],
    )
    .await?;
    ensure!(
        !seen.to_string().contains("shop"),
        "the refusal tells whose it is: {seen:#}"
    );
    let linked =
        json!({"jobs": {"j": {"command": ["printenv", "T"], "env": {"T": {"secret": "own"}}}}});
    put(&daemon, &team, "team-a", "links", &linked).await?;
    refused(
        &daemon,
        "team-a",
        "links",
        &["a link leads out of its namespace's folder"],
    )
    .await?;
    put(
        &daemon,
        &daemon.http,
        "team-b",
        "links",
        &json!({"jobs": {"j": {"command": ["printenv", "T"], "env": {"T": {"secret": "own"}}}}}),
    )
    .await?;
    refused(
        &daemon,
        "team-b",
        "links",
        &["secret \\\"own\\\" can't be read"],
    )
    .await?;
    // Those who may have it do, each its own, in a variable and in a file.
    put(&daemon, &daemon.http, "default", "reads", &thief("local")).await?;
    ensure!(
        output(&daemon, "default", "reads")
            .await?
            .contains("S3cr3t-of-default")
    );
    let file = json!({"command": ["sh", "-c", "cat db; echo; printenv C"], "files": [{"path": "db", "secret": {"secret": "db-password"}}], "env": {"C": {"secret": "common"}}});
    put(
        &daemon,
        &daemon.http,
        "shop",
        "reads",
        &json!({"jobs": {"j": file}}),
    )
    .await?;
    let seen = output(&daemon, "shop", "reads").await?;
    ensure!(
        seen.contains("S3cr3t-of-shop") && seen.contains("for all"),
        "{seen}"
    );
    Ok(())
}

/// An entry that does not say for whom it is: what lies in the secrets folder itself is for `default` alone.
#[tokio::test]
async fn without_namespaces_a_secret_is_each_namespaces_own() -> Result<()> {
    let grant = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"sleep\", \"printenv\"]\nsecrets = [\"db-password\"]\n";
    let mut daemon = Daemon::start(&["cheapest", "process"], &[("local", grant)])?;
    secret(&daemon, "db-password", "S3cr3t-of-default")?;
    let team = token(&daemon, "team", "operator", "team").await?;
    put(&daemon, &team, "team", "steals", &thief("local")).await?;
    let words = [
        "the secret \\\"db-password\\\" of namespace \\\"team\\\" can't be read",
        "\\\"team/db-password\\\" of the daemon's secrets folder",
        "namespaces = [\\\"team\\\"]",
    ];
    let seen = refused(&daemon, "team", "steals", &words).await?;
    ensure!(
        !daemon
            .run(&["-n", "team", "logs", "steals"])?
            .contains("S3cr3t"),
        "{seen:#}"
    );
    put(&daemon, &daemon.http, "default", "reads", &thief("local")).await?;
    ensure!(
        output(&daemon, "default", "reads")
            .await?
            .contains("S3cr3t-of-default")
    );
    // An operator who has relied on it is told at the start.
    daemon.stop()?;
    daemon.launch()?;
    let told = "namespace \"team\" uses the secrets db-password and does not get what lies in the secrets folder itself";
    daemon.logged(told).await?;
    // Both remedies work.
    secret(&daemon, "team/db-password", "S3cr3t-of-team")?;
    put(&daemon, &daemon.http, "team", "reads", &thief("local")).await?;
    ensure!(
        output(&daemon, "team", "reads")
            .await?
            .contains("S3cr3t-of-team")
    );
    let named = grant.replace(
        "\"db-password\"",
        "{ name = \"db-password\", namespaces = [\"other\"] }",
    );
    fs::write(daemon.plugins().join("local.toml"), named)?;
    daemon.run(&["plugin", "reload"])?;
    put(&daemon, &daemon.http, "other", "reads", &thief("local")).await?;
    ensure!(
        output(&daemon, "other", "reads")
            .await?
            .contains("S3cr3t-of-default")
    );
    Ok(())
}

fn closed_to_team() -> [(&'static str, &'static str); 3] {
    let shop = "component = \"process.wasm\"\nnamespaces = [\"default\", \"shop-*\"]\n[grants.process]\ncommands = [\"*\"]\n\
                secrets = [{ name = \"db-password\", namespaces = [\"shop-*\"] }]\n";
    let policy = "component = \"cheapest.wasm\"\nnamespaces = [\"default\"]\n";
    [
        ("vault", shop),
        ("frugal", policy),
        ("cheapest", "component = \"cheapest.wasm\"\n"),
    ]
}

#[tokio::test]
async fn an_instance_that_is_closed_to_a_namespace_is_not_there_for_it() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &closed_to_team())?;
    secret(&daemon, "db-password", "S3cr3t-of-default")?;
    let team = token(&daemon, "team", "operator", "team").await?;
    let shop = token(&daemon, "shop", "operator", "shop-1").await?;
    // A plan says that it can't be, with the remedy; so does what is applied.
    for spec in [
        thief("vault"),
        json!({"jobs": {"j": {"command": ["true"]}}}),
    ] {
        let (status, plan) = plan(&daemon, &team, "team", &spec).await?;
        ensure!(
            status == 200 && plan["unplaced"][0]["never"] == true,
            "{plan:#}"
        );
        let told = plan["unplaced"][0]["reason"].as_str().unwrap_or_default();
        ensure!(
            told.contains("open to namespace \"team\"") && told.contains("instance file"),
            "{told}"
        );
    }
    put(&daemon, &team, "team", "steals", &thief("vault")).await?;
    let seen = refused(&daemon, "team", "steals", &["open to namespace"]).await?;
    ensure!(
        !seen.to_string().contains("process.wasm") && seen["tasks"][0]["allocations"] == json!([]),
        "{seen:#}"
    );
    let policy = json!({"policy": "frugal", "jobs": {"j": {"command": ["true"]}}});
    let (status, answer) = plan(&daemon, &team, "team", &policy).await?;
    ensure!(
        !status.is_success()
            && answer
                .to_string()
                .contains("no policy \\\"frugal\\\" for namespace \\\"team\\\""),
        "{answer:#}"
    );
    // Nothing of it is told to who can't use it.
    for path in [
        "/v1/offers",
        "/v1/regions",
        "/v1/plugins",
        "/v1/decisions",
        "/v1/events",
    ] {
        let told = team.get(daemon.url(path)).send().await?.text().await?;
        ensure!(
            !told.contains("\"vault\"")
                || path == "/v1/events" && !told.contains("\"plugin\":\"vault\""),
            "{path}: {told}"
        );
        ensure!(
            !told.contains("\"frugal\"") && !told.contains("process.wasm"),
            "{path}: {told}"
        );
    }
    for path in [
        "/v1/plugins/vault",
        "/v1/plugins/frugal",
        "/v1/plugins/vault/canary",
        "/v1/offers?provider=vault",
    ] {
        ensure!(
            team.get(daemon.url(path)).send().await?.status() == StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    // Who may use it is told what of it, and no more; and it runs.
    let view: Value = shop
        .get(daemon.url("/v1/plugins/vault"))
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    ensure!(
        view["usable"]["process.secrets"] == json!(["db-password"]) && view["kind"] == "provider",
        "{view:#}"
    );
    ensure!(
        view["grants"] == json!([]) && view.get("limits").is_none() && view["history"] == json!([]),
        "{view:#}"
    );
    put(&daemon, &shop, "shop-1", "reads", &thief("vault")).await?;
    ensure!(
        output(&daemon, "shop-1", "reads")
            .await?
            .contains("S3cr3t-of-default")
    );
    let admins = daemon.get("/v1/plugins/vault").await?;
    ensure!(
        admins["grants"] == json!(["process"])
            && admins["namespaces"] == json!(["default", "shop-*"]),
        "{admins:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_runs_at_an_instance_that_is_closed_stays_and_grows_elsewhere() -> Result<()> {
    let open = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\n";
    let daemon = Daemon::start(&["cheapest", "process"], &[("first", open)])?;
    let sleeps = |replicas: u32, argument: &str| json!({"services": {"w": {"command": ["sleep", argument], "replicas": replicas}}});
    put(&daemon, &daemon.http, "team", "web", &sleeps(1, "1000")).await?;
    let path = "/v1/deployments/web?namespace=team";
    let settled =
        |d: &Value| d["status"] == "running" && d["observedGeneration"] == d["generation"];
    let before = daemon.until_at(path, "running", settled).await?;
    let places = |d: &Value| -> Vec<(String, u64)> {
        let all = d["tasks"][0]["allocations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut all: Vec<_> = all
            .iter()
            .map(|a| {
                (
                    a["provider"].as_str().unwrap_or_default().to_owned(),
                    a["ready"].as_u64().unwrap_or(0),
                )
            })
            .collect();
        all.sort();
        all
    };
    let first = (String::from("first"), 1);
    ensure!(places(&before) == std::slice::from_ref(&first));
    fs::write(daemon.plugins().join("second.toml"), open)?;
    fs::write(
        daemon.plugins().join("first.toml"),
        open.replacen('\n', "\nnamespaces = [\"default\"]\n", 1),
    )?;
    daemon.run(&["plugin", "reload"])?;
    let told = |d: &Value| {
        d["tasks"][0]["allocations"][0]["warnings"]
            .to_string()
            .contains("closed to namespace")
    };
    let seen = daemon.until_at(path, "told", told).await?;
    ensure!(
        places(&seen) == [first.clone()],
        "what runs has been moved: {seen:#}"
    );
    daemon.event("PlaceClosed", |_| true).await?;
    put(&daemon, &daemon.http, "team", "web", &sleeps(3, "1000")).await?;
    let grown = |d: &Value| settled(d) && places(d) == [first.clone(), ("second".to_owned(), 2)];
    daemon.until_at(path, "grown elsewhere", grown).await?;
    // Another version is new.
    put(&daemon, &daemon.http, "team", "web", &sleeps(3, "1001")).await?;
    let moved = |d: &Value| settled(d) && places(d) == [("second".to_owned(), 3)];
    daemon.until_at(path, "moved", moved).await?;
    Ok(())
}

#[tokio::test]
async fn programs_ports_and_folders_are_granted_to_namespaces() -> Result<()> {
    let shared = tempfile::Builder::new()
        .prefix("spaces-")
        .tempdir_in(tradewind_kit::target().canonicalize()?)?;
    let folder = shared.path().display();
    let grant = format!(
        "component = \"process.wasm\"\n[grants.process]\ncommands = [\"sleep\", \"cat\", {{ name = \"sh\", namespaces = [\"shop\"] }}]\n\
         directories = [{{ name = \"{folder}\", namespaces = [\"shop\"] }}]\nports = [{{ from = 4700, to = 4709, namespaces = [\"shop\"] }}]\n"
    );
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", &grant)])?;
    let cases = [
        (
            "program",
            json!({"command": ["sh", "-c", "sleep 100"]}),
            "program \\\"sh\\\" is not granted",
        ),
        (
            "folder",
            json!({"command": ["sleep", "100"], "workingDirectory": folder.to_string()}),
            "not inside a granted folder",
        ),
        (
            "port",
            json!({"command": ["sleep", "100"], "ports": {"http": {"port": 4701}}}),
            "port \\\"4701\\\" is not granted",
        ),
        (
            "probe",
            json!({"command": ["sleep", "100"], "health": {"command": ["sh", "-c", "true"]}}),
            "\\\"sh\\\" is not granted",
        ),
    ];
    for (name, service, words) in &cases {
        put(
            &daemon,
            &daemon.http,
            "team",
            name,
            &json!({"services": {"w": service}}),
        )
        .await?;
        refused(&daemon, "team", name, &[words]).await?;
    }
    for (name, service, _) in cases.iter().filter(|(name, ..)| *name != "probe") {
        put(
            &daemon,
            &daemon.http,
            "shop",
            name,
            &json!({"services": {"w": service}}),
        )
        .await?;
        daemon
            .until_at(
                &format!("/v1/deployments/{name}?namespace=shop"),
                "running",
                |d| d["status"] == "running",
            )
            .await?;
    }
    // What lies in the other's folder is not even read.
    fs::write(shared.path().join("note"), "S3cr3t-note")?;
    let reads = json!({"jobs": {"j": {"command": ["cat", format!("{folder}/note")]}}});
    for (namespace, reaches) in [("team", false), ("shop", true)] {
        put(&daemon, &daemon.http, namespace, "reads", &reads).await?;
        ensure!(
            output(&daemon, namespace, "reads")
                .await?
                .contains("S3cr3t-note")
                == reaches,
            "{namespace}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn containers_of_two_namespaces_share_no_volume_network_image_port_or_folder() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("note"), "S3cr3t-note")?;
    let grants = format!(
        "host-network = true\nsecrets = [{{ name = \"db-password\", namespaces = [\"shop\", \"team\"] }}, \"key\"]\nhost-paths = [{{ name = \"{}\", namespaces = [\"shop\"] }}]\n\
         ports = [{{ from = 4710, to = 4719, namespaces = [\"shop\"] }}]\n",
        folder.path().display()
    );
    let instance = engine.instance(&grants, "network = \"host\"\n").replace(
        "images = [\"*\"]",
        &format!("images = [{{ name = \"{IMAGE}\", namespaces = [\"shop\", \"team\"] }}]"),
    );
    let daemon = Daemon::start(&["cheapest", "containers"], &[("box", &instance)])?;
    secret(&daemon, "shop/db-password", "S3cr3t-of-shop")?;
    secret(&daemon, "db-password", "common")?;
    secret(&daemon, "key", "S3cr3t-of-default")?;
    let stop = json!({"signal": "KILL", "grace": "1s"});
    let job = |script: &str, more: Value| {
        let mut job = json!({"image": IMAGE, "command": ["sh", "-c", script], "stop": stop, "env": {"T": {"secret": "db-password"}}});
        more.as_object()
            .into_iter()
            .flatten()
            .for_each(|(key, value)| job[key] = value.clone());
        json!({"jobs": {"j": job}})
    };
    // The same deployment's and volume's names: each namespace has its own.
    let data = json!({"volumes": [{"path": "/data", "name": "web-data", "size": "1Mi"}]});
    put(
        &daemon,
        &daemon.http,
        "shop",
        "same",
        &job("echo $T >/data/mine; cat /data/mine", data.clone()),
    )
    .await?;
    ensure!(
        output(&daemon, "shop", "same")
            .await?
            .contains("S3cr3t-of-shop")
    );
    put(
        &daemon,
        &daemon.http,
        "team",
        "same",
        &job("ls /data; cat /data/*; echo $T; exit 0", data),
    )
    .await?;
    let seen = output(&daemon, "team", "same").await?;
    ensure!(
        seen.contains("common") && !seen.contains("S3cr3t") && !seen.contains("mine\n"),
        "{seen}"
    );
    let volumes = engine.list(&["volume", "ls", "--format", "{{.Name}}"])?;
    ensure!(
        volumes
            == [
                "tradewind.box.shop.same.web-data",
                "tradewind.box.team.same.web-data"
            ],
        "{volumes:?}"
    );
    let mounts = json!({"volumes": [{"path": "/go", "hostPath": folder.path()}]});
    for (name, namespace, more, words) in [
        (
            "image",
            "other",
            json!({}),
            "image \\\"localhost/tradewind/busybox:1\\\" is not granted",
        ),
        (
            "port",
            "team",
            json!({"ports": {"http": {"port": 4711}}}),
            "port \\\"4711\\\" is not granted",
        ),
        (
            "path",
            "team",
            mounts.clone(),
            "of the machine is not granted",
        ),
        (
            "key",
            "team",
            json!({"env": {"T": {"secret": "key"}}}),
            "the secret \\\"key\\\" of namespace \\\"team\\\" can't be read",
        ),
    ] {
        put(
            &daemon,
            &daemon.http,
            namespace,
            name,
            &job("sleep 1", more),
        )
        .await?;
        refused(&daemon, namespace, name, &[words]).await?;
    }
    put(
        &daemon,
        &daemon.http,
        "shop",
        "path",
        &job("cat /go/note", mounts),
    )
    .await?;
    ensure!(
        output(&daemon, "shop", "path")
            .await?
            .contains("S3cr3t-note")
    );
    Ok(())
}
