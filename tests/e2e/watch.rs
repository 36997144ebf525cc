//! What a client of the API relies on: lists that can be watched, paths that name their namespace, answers that are not sent twice.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tradewind_kit::{Daemon, Events, client};

const CLOUD: &str = "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 64\nmemory = \"256Gi\"\nprice = \"0.10\"\n";

fn simulated() -> Result<Daemon> {
    Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])
}

fn service(name: &str, namespace: &str, app: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}}}, \
         spec: {{services: {{w: {{command: [serve], resources: {{cpu: 1, memory: 64Mi}}}}}}}}}}"
    )
}

/// The next of these events; others are of states on the way.
async fn until(watch: &mut Events, name: &str, of: &str, status: Option<&str>) -> Result<()> {
    loop {
        let (event, data) = watch.named().await?;
        if event == name && data["name"] == of && status.is_none_or(|s| data["status"] == s) {
            return Ok(());
        }
        let unselected = ["other", "x"].iter().any(|name| data["name"] == *name);
        ensure!(!unselected, "{event} before {name} of {of}: {data}");
    }
}

async fn watch(daemon: &Daemon, after: Option<&str>) -> Result<Events> {
    daemon
        .stream("/v1/deployments?watch=true&selector=app%3Dweb", after)
        .await
}

#[tokio::test]
async fn a_watch_tells_what_changes_and_goes_on_where_it_broke_off() -> Result<()> {
    let mut daemon = simulated()?;
    for (name, app) in [("one", "web"), ("other", "cache")] {
        daemon.put(name, &service(name, "default", app)).await?;
        daemon.running(name).await?;
    }

    let mut first = watch(&daemon, None).await?;
    let (event, data) = first.named().await?;
    assert_eq!((event.as_str(), &data["name"]), ("put", &json!("one")));
    assert_eq!(first.place(), None, "a list that is told in part");
    let (event, data) = first.named().await?;
    assert_eq!(event, "bookmark", "{data}");
    assert_eq!(first.place(), Some(data["revision"].to_string().as_str()));

    // What is new, what is not selected, what leaves the selection, what is gone.
    daemon.put("two", &service("two", "default", "web")).await?;
    until(&mut first, "put", "two", Some("running")).await?;
    daemon.put("x", &service("x", "default", "cache")).await?;
    daemon.running("x").await?;
    daemon
        .put("one", &service("one", "default", "cache"))
        .await?;
    until(&mut first, "delete", "one", None).await?;
    daemon
        .put("three", &service("three", "default", "web"))
        .await?;
    until(&mut first, "put", "three", Some("running")).await?;
    daemon.delete("two").await?;
    until(&mut first, "delete", "two", None).await?;
    let place = first.place().context("no place")?.to_owned();
    drop(first);

    // What happens meanwhile is told to who comes back.
    daemon
        .put("four", &service("four", "default", "web"))
        .await?;
    daemon.running("four").await?;
    daemon.delete("three").await?;
    daemon.gone("three").await?;
    let mut second = watch(&daemon, Some(&place)).await?;
    let (mut put, mut deleted) = (false, false);
    while !(put && deleted) {
        let (event, data) = second.named().await?;
        put |= event == "put" && data["name"] == "four" && data["status"] == "running";
        deleted |= event == "delete" && data["name"] == "three";
    }

    // A list says where a watch begins.
    let list = daemon.get("/v1/deployments?limit=1").await?;
    let revision = list["revision"].as_u64().context("no revision")?;
    ensure!(list["next"].is_string(), "{list:#}");
    daemon
        .put("five", &service("five", "default", "web"))
        .await?;
    let path = format!("/v1/deployments?watch=true&after={revision}");
    let mut third = daemon.stream(&path, None).await?;
    until(&mut third, "put", "five", Some("running")).await?;
    let path = format!("/v1/events?follow=true&after={revision}");
    let created = |e: &Value| e["reason"] == "DeploymentCreated" && e["deployment"] == "five";
    let mut events = daemon.stream(&path, None).await?;
    events.until("the creation", created).await?;

    // What was removed before a start is not known after it.
    daemon.stop()?;
    daemon.launch()?;
    let old = daemon.url("/v1/deployments?watch=true&after=1");
    let answer = daemon.http.get(old).send().await?;
    let (status, problem) = (answer.status(), answer.json::<Value>().await?);
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::GONE, &json!("/problems/gone")),
        "{problem:#}"
    );
    ensure!(
        problem["remedy"]
            .as_str()
            .is_some_and(|r| r.contains("list again")),
        "{problem:#}"
    );
    Ok(())
}

async fn token(daemon: &Daemon, namespace: &str) -> Result<reqwest::Client> {
    let request = json!({"name": namespace, "role": "operator", "namespaces": [namespace]});
    let response = daemon
        .http
        .post(daemon.url("/v1/tokens"))
        .json(&request)
        .send()
        .await?;
    let body: Value = response.error_for_status()?.json().await?;
    client(body["secret"].as_str())
}

/// A path that names its namespace means that one alone, and lets in those alone who reach it.
#[tokio::test]
async fn a_path_with_a_namespace_is_of_that_one_alone() -> Result<()> {
    let daemon = simulated()?;
    let (team, own) = (
        token(&daemon, "team").await?,
        "/v1/namespaces/team/deployments",
    );
    let yaml = |request: reqwest::RequestBuilder, text: String| {
        request
            .header("content-type", "application/yaml")
            .body(text)
    };
    let bare = service("app", "team", "web").replace(", namespace: team", "");
    let put = yaml(team.put(daemon.url(&format!("{own}/app"))), bare.clone());
    let answer = put.send().await?;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let place = answer.headers()["location"].to_str()?.to_owned();
    assert_eq!(place, format!("{own}/app"));
    daemon
        .until_at(&place, "running", |d| d["status"] == "running")
        .await?;
    assert_eq!(daemon.get(&place).await?["namespace"], "team");
    daemon.put("app", &service("app", "default", "web")).await?;
    daemon.put("bpp", &service("bpp", "team", "web")).await?;

    let refused = async |request: reqwest::RequestBuilder| -> Result<StatusCode> {
        Ok(request.send().await?.status())
    };
    let theirs = "/v1/namespaces/default/deployments";
    for below in [
        "",
        "/app",
        "/app/events",
        "/app/logs",
        "/app/explain",
        "/app/revisions",
    ] {
        let url = daemon.url(&format!("{theirs}{below}"));
        assert_eq!(
            refused(team.get(&url)).await?,
            StatusCode::FORBIDDEN,
            "{below}"
        );
        let answer = team
            .get(daemon.url(&format!("{own}{below}")))
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{below}: {}", answer.status());
    }
    for (method, below) in [
        (Method::PUT, "/app"),
        (Method::DELETE, "/app"),
        (Method::POST, "/app/plan"),
        (Method::POST, "/app/wake"),
    ] {
        let url = daemon.url(&format!("{theirs}{below}"));
        let request = yaml(team.request(method, url), bare.clone());
        assert_eq!(refused(request).await?, StatusCode::FORBIDDEN, "{below}");
    }
    // Neither the query nor the manifest leads anywhere else.
    let url = daemon.url(&format!("{own}/app?namespace=default"));
    assert_eq!(refused(team.get(url)).await?, StatusCode::BAD_REQUEST);
    let elsewhere = yaml(
        team.put(daemon.url(&format!("{own}/app"))),
        service("app", "default", "web"),
    );
    assert_eq!(refused(elsewhere).await?, StatusCode::UNPROCESSABLE_ENTITY);

    let first = team
        .get(daemon.url(&format!("{own}?limit=1")))
        .send()
        .await?;
    let link = first.headers()["link"].to_str()?.to_owned();
    let body: Value = first.json().await?;
    let next = body["next"].as_str().context("one page")?;
    assert_eq!(link, format!("<{own}?limit=1&cursor={next}>; rel=\"next\""));
    let rest: Value = team
        .get(daemon.url(&format!("{own}?cursor={next}")))
        .send()
        .await?
        .json()
        .await?;
    assert_eq!(rest["items"][0]["name"], "bpp");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_has_not_changed_is_not_sent_again() -> Result<()> {
    let daemon = simulated()?;
    daemon.put("web", &service("web", "default", "web")).await?;
    daemon.running("web").await?;
    let url = daemon.url("/v1/namespaces/default/deployments/web");
    let read = async |known: Option<&str>| -> Result<(StatusCode, String, String)> {
        let mut request = daemon.http.get(&url);
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let answer = request.send().await?;
        let tag = answer.headers()["etag"].to_str()?.to_owned();
        Ok((answer.status(), tag, answer.text().await?))
    };
    // The last of its changes may still be on its way.
    let tag = daemon
        .eventually("it stays as it is", async || {
            let (_, tag, _) = read(None).await?;
            let (status, again, empty) = read(Some(&tag)).await?;
            let same = status == StatusCode::NOT_MODIFIED && again == tag && empty.is_empty();
            Ok(tradewind_kit::when(same, tag))
        })
        .await?;
    ensure!(tag.starts_with("\"1-"), "{tag}");

    // Another status is another tag of the same generation.
    daemon.run(&["scale", "web", "w", "--replicas", "2"])?;
    daemon
        .until("web", "scaled", |d| {
            d["ready"] == 2 && d["status"] == "running"
        })
        .await?;
    let (status, changed, _) = read(Some(&tag)).await?;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(changed, tag);
    let write = async |condition: &str, app: &str| -> Result<StatusCode> {
        let request = daemon
            .http
            .put(&url)
            .header("content-type", "application/yaml")
            .header(header::IF_MATCH, condition)
            .body(service("web", "default", app));
        Ok(request.send().await?.status())
    };
    assert_eq!(
        write("1", "new").await?,
        StatusCode::BAD_REQUEST,
        "no quotes"
    );
    let generation = changed.split('-').next().context("no generation")?;
    let earlier = format!("{generation}-0000000000000000\"");
    assert_eq!(
        write(&earlier, "new").await?,
        StatusCode::ACCEPTED,
        "{earlier}"
    );
    assert_eq!(
        write(&earlier, "newer").await?,
        StatusCode::PRECONDITION_FAILED
    );
    Ok(())
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_reads_that() -> Result<()> {
    let daemon = simulated()?;
    daemon.put("web", &service("web", "default", "web")).await?;
    let get = async |path: &str, codings: &str| -> Result<(Option<String>, Vec<u8>)> {
        let request = daemon.http.get(daemon.url(path));
        let answer = request
            .header(header::ACCEPT_ENCODING, codings)
            .send()
            .await?;
        let coding = answer.headers().get(header::CONTENT_ENCODING);
        let coding = coding.map(|c| c.to_str().map(str::to_owned)).transpose()?;
        Ok((coding, answer.bytes().await?.to_vec()))
    };
    let (none, plain) = get("/openapi.json", "identity").await?;
    assert_eq!(none, None);
    for (coding, magic) in [
        ("gzip", &[0x1f, 0x8b][..]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let (told, packed) = get("/openapi.json", coding).await?;
        assert_eq!(told.as_deref(), Some(coding));
        ensure!(
            packed.starts_with(magic) && packed.len() * 4 < plain.len(),
            "{coding}: {} of {}",
            packed.len(),
            plain.len()
        );
    }
    assert_eq!(get("/v1/whoami", "gzip, zstd").await?.0, None, "short");
    let stream = daemon
        .http
        .get(daemon.url("/v1/deployments?watch=true"))
        .header(header::ACCEPT_ENCODING, "gzip, zstd")
        .send()
        .await?;
    assert_eq!(stream.headers().get(header::CONTENT_ENCODING), None);
    // What is sent to the daemon is never unpacked.
    let packed = daemon
        .http
        .put(daemon.url("/v1/deployments/web"))
        .header(header::CONTENT_ENCODING, "gzip")
        .body(vec![0x1f, 0x8b, 8, 0])
        .send()
        .await?;
    assert_eq!(packed.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    Ok(())
}

/// The type of a problem is an address of the daemon, which tells what it means to anybody.
#[tokio::test]
async fn the_type_of_a_problem_leads_to_what_it_means() -> Result<()> {
    let daemon = simulated()?;
    let problem: Value = daemon
        .http
        .get(daemon.url("/v1/deployments/absent"))
        .send()
        .await?
        .json()
        .await?;
    let kind = problem["type"].as_str().context("no type")?;
    assert_eq!(kind, "/problems/not-found");
    let page = client(None)?.get(daemon.url(kind)).send().await?;
    ensure!(page.status().is_success(), "{}", page.status());
    let text = page.text().await?;
    ensure!(text.starts_with("# not-found\n"), "{text}");
    let nothing = client(None)?
        .get(daemon.url("/problems/absent"))
        .send()
        .await?;
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
    Ok(())
}

/// Plans, namespaces, plugins and regions are followed as deployments are.
#[tokio::test]
async fn other_lists_are_watched_as_deployments_are() -> Result<()> {
    let daemon = simulated()?;
    let list: Value = daemon
        .http
        .get(daemon.url("/v1/plugins"))
        .send()
        .await?
        .json()
        .await?;
    let revision = list["revision"].as_u64().context("no revision")?;

    let mut plans = daemon
        .stream("/v1/plans?watch=true&namespace=default", None)
        .await?;
    let (event, data) = plans.named().await?;
    assert_eq!(event, "bookmark", "{data}");
    let mut plugins = daemon.stream("/v1/plugins?watch=true", None).await?;
    for name in ["cheapest", "cloud"] {
        let (event, data) = plugins.named().await?;
        assert_eq!((event.as_str(), &data["instance"]), ("put", &json!(name)));
        assert_eq!(plugins.place(), None, "a list that is told in part");
    }
    assert_eq!(plugins.named().await?.0, "bookmark");

    // What comes, changes and goes.
    for namespace in ["default", "team"] {
        let made = daemon
            .http
            .post(daemon.url("/v1/plans?name=release"))
            .body(service("web", namespace, "web"))
            .send()
            .await?;
        ensure!(made.status().is_success(), "{}", made.text().await?);
    }
    let (event, data) = plans.named().await?;
    assert_eq!((event.as_str(), &data["id"]), ("put", &json!("release")));
    let place = plans.place().context("no place")?.to_owned();
    drop(plans);
    let gone = daemon
        .http
        .delete(daemon.url("/v1/plans/release"))
        .send()
        .await?;
    ensure!(gone.status().is_success(), "{}", gone.text().await?);
    // Who comes back is told of what went meanwhile, and of nothing else.
    let mut plans = daemon
        .stream("/v1/plans?watch=true&namespace=default", Some(&place))
        .await?;
    let (event, data) = plans.named().await?;
    assert_eq!(
        (event.as_str(), data),
        ("delete", json!({"namespace": "default", "id": "release"}))
    );

    std::fs::remove_file(daemon.plugins().join("cloud.toml"))?;
    loop {
        let (event, data) = plugins.named().await?;
        if event == "delete" || data["state"] == "removed" {
            assert_eq!(data["instance"], "cloud", "{data}");
            break;
        }
    }
    // The list that was read before still leads to it.
    let mut later = daemon
        .stream(&format!("/v1/plugins?watch=true&after={revision}"), None)
        .await?;
    loop {
        let (event, data) = later.named().await?;
        assert_ne!(event, "bookmark", "the change is missing");
        if data["instance"] == "cloud" && (event == "delete" || data["state"] == "removed") {
            break;
        }
    }

    let mut namespaces = daemon.stream("/v1/namespaces?watch=true", None).await?;
    while namespaces.named().await?.0 != "bookmark" {}
    daemon.put("web", &service("web", "fresh", "web")).await?;
    loop {
        let (event, data) = namespaces.named().await?;
        if event == "put" && data["name"] == "fresh" {
            break;
        }
    }
    let early = daemon
        .http
        .get(daemon.url("/v1/regions?watch=true&after=1000000"))
        .send()
        .await?;
    assert_eq!(
        early.status(),
        StatusCode::GONE,
        "a revision that has not been"
    );
    Ok(())
}
