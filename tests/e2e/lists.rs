//! Lists as programs and people read them: page by page, by status and by label.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tradewind_kit::Daemon;

const CLOUD: &str = "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.10\"\n[settings.regions.q.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.20\"\n";

fn simulated() -> Result<Daemon> {
    Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])
}

/// A service of the simulated cloud.
fn service(name: &str, namespace: &str, app: &str, cpu: u32) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}}}, \
         spec: {{services: {{w: {{command: [serve], resources: {{cpu: {cpu}, memory: 64Mi}}}}}}}}}}"
    )
}

/// A page, and the address of the next one.
async fn page(daemon: &Daemon, path: &str) -> Result<(Value, Option<String>)> {
    let response = daemon.http.get(daemon.url(path)).send().await?;
    let link = response
        .headers()
        .get("link")
        .map(|link| link.to_str().map(str::to_owned))
        .transpose()?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "GET {path}: {status}: {text}");
    let next = match link {
        None => None,
        Some(link) => {
            let target = link
                .strip_prefix('<')
                .and_then(|rest| rest.split_once('>'))
                .context("no link")?;
            ensure!(target.1 == "; rel=\"next\"", "{link}");
            Some(target.0.to_owned())
        }
    };
    Ok((serde_json::from_str(&text)?, next))
}

fn items(body: &Value) -> Vec<Value> {
    body["items"].as_array().cloned().unwrap_or_default()
}

fn names(list: &Value) -> Vec<String> {
    items(list)
        .iter()
        .map(|d| {
            format!(
                "{}/{}",
                d["namespace"].as_str().unwrap_or("?"),
                d["name"].as_str().unwrap_or("?")
            )
        })
        .collect()
}

async fn refused(daemon: &Daemon, path: &str) -> Result<(StatusCode, String)> {
    let response = daemon.http.get(daemon.url(path)).send().await?;
    let status = response.status();
    let problem: Value = response.json().await?;
    Ok((
        status,
        problem["detail"].as_str().unwrap_or_default().to_owned(),
    ))
}

/// Nothing that stays is left out or comes twice, whatever comes and goes, also over a restart.
#[tokio::test]
async fn a_walk_through_the_pages_meets_what_stays_once() -> Result<()> {
    let mut daemon = simulated()?;
    for name in ["b", "d", "f", "h", "j"] {
        daemon
            .put(name, &service(name, "default", "web", 1))
            .await?;
    }
    daemon.put("x", &service("x", "team", "web", 1)).await?;

    let (first, next) = page(&daemon, "/v1/deployments?limit=2").await?;
    assert_eq!(names(&first), ["default/b", "default/d"]);
    // One before the place, one behind it; the item that the cursor is about goes.
    daemon.put("a", &service("a", "default", "web", 1)).await?;
    daemon.put("g", &service("g", "default", "web", 1)).await?;
    daemon.delete("d").await?;
    daemon.gone("d").await?;
    let (second, next) = page(&daemon, &next.context("one page")?).await?;
    assert_eq!(names(&second), ["default/f", "default/g"]);
    daemon.kill()?;
    daemon.launch()?;
    let (third, next) = page(&daemon, &next.context("two pages")?).await?;
    assert_eq!(names(&third), ["default/h", "default/j"]);
    let (last, next) = page(&daemon, &next.context("three pages")?).await?;
    assert_eq!((names(&last), next), (vec!["team/x".to_owned()], None));

    let (exact, next) = page(&daemon, "/v1/deployments?namespace=team&limit=1").await?;
    assert_eq!(
        (names(&exact), next),
        (vec!["team/x".to_owned()], None),
        "a full page may be the last one"
    );
    Ok(())
}

#[tokio::test]
async fn lists_are_narrowed_by_status_and_label() -> Result<()> {
    let daemon = simulated()?;
    for (name, app, cpu) in [("one", "web", 1), ("two", "cache", 1), ("big", "web", 64)] {
        daemon
            .put(name, &service(name, "default", app, cpu))
            .await?;
    }
    for name in ["one", "two"] {
        daemon.running(name).await?;
    }
    daemon
        .until("big", "failed", |d| d["status"] == "failed")
        .await?;

    let get = async |query: &str| {
        anyhow::Ok(names(
            &daemon.get(&format!("/v1/deployments{query}")).await?,
        ))
    };
    assert_eq!(get("?status=failed").await?, ["default/big"]);
    assert_eq!(
        get("?status=failed,running&limit=9").await?,
        ["default/big", "default/one", "default/two"]
    );
    assert_eq!(
        get("?selector=app%3Dweb").await?,
        ["default/big", "default/one"]
    );
    assert_eq!(get("?selector=app!%3Dweb").await?, ["default/two"]);
    assert_eq!(
        get("?selector=app,!tier&status=running").await?,
        ["default/one", "default/two"]
    );
    assert!(get("?selector=tier").await?.is_empty());
    let (filtered, next) = page(&daemon, "/v1/deployments?selector=app%3Dweb&limit=1").await?;
    assert_eq!(names(&filtered), ["default/big"]);
    let (filtered, next) = page(&daemon, &next.context("one page")?).await?;
    assert_eq!(
        (names(&filtered), next),
        (vec!["default/one".to_owned()], None),
        "the link keeps the filter"
    );
    assert_eq!(
        items(&daemon.get("/v1/deployments").await?)[0]["labels"]["app"],
        "web"
    );

    let (of_plans, next) = page(&daemon, "/v1/plans?limit=1").await?;
    assert_eq!(
        (&of_plans["items"], next),
        (&Value::Array(Vec::new()), None)
    );
    for (parameter, value, rule) in [
        ("status", "broken", "pending, waiting, progressing, running"),
        ("selector", "app%20in%20(web)", "key=value"),
        ("cursor", "bm9uc2Vuc2U", "Link"),
        ("limit", "0", "use a whole number from 1"),
        ("limit", "many", "use a whole number"),
    ] {
        let (status, detail) =
            refused(&daemon, &format!("/v1/deployments?{parameter}={value}")).await?;
        let value = value.replace("%20", " ");
        assert_eq!(status, StatusCode::BAD_REQUEST, "{detail}");
        assert!(
            detail.contains(parameter) && detail.contains(rule),
            "{parameter}={value}: {detail}"
        );
        assert!(detail.contains(&value), "{parameter}={value}: {detail}");
    }
    let (_, of_offers) = page(&daemon, "/v1/offers?limit=1").await?;
    let of_offers = of_offers
        .context("one offer")?
        .replace("/v1/offers", "/v1/deployments");
    let (status, detail) = refused(&daemon, &of_offers).await?;
    assert!(
        status == StatusCode::BAD_REQUEST && detail.contains("no cursor of this list"),
        "{detail}"
    );

    // The same through the command line.
    let cli = |arguments: &[&str]| -> Result<Vec<String>> {
        let out = daemon.run(&[&["-o", "json", "get"], arguments].concat())?;
        Ok(names(&serde_json::from_str(&out)?))
    };
    assert_eq!(cli(&["-l", "app=web"])?, ["default/big", "default/one"]);
    assert_eq!(cli(&["--status", "failed"])?, ["default/big"]);
    assert_eq!(
        cli(&["--status", "running", "--selector", "app=cache"])?,
        ["default/two"]
    );
    let limited = daemon.cli(&["-o", "json", "get", "--limit", "2"])?;
    assert_eq!(
        names(&serde_json::from_slice(&limited.stdout)?),
        ["default/big", "default/one"]
    );
    let told = String::from_utf8_lossy(&limited.stderr).into_owned();
    let cursor = told
        .trim()
        .strip_prefix("there are more: --cursor ")
        .with_context(|| told.clone())?;
    assert_eq!(cli(&["--limit", "2", "--cursor", cursor])?, ["default/two"]);
    for (arguments, word) in [
        (
            &["get", "--status", "broken"][..],
            "use pending, waiting, progressing, running",
        ),
        (&["get", "-l", "app in (web)"], "key=value"),
        (&["get", "--limit", "0"], "0"),
        (&["get", "one", "--status", "failed"], "cannot be used with"),
        (&["plans", "--status", "running"], "use pending, approved"),
    ] {
        let output = daemon.cli(arguments)?;
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(64) && err.contains(word),
            "{arguments:?}: {err}"
        );
    }
    Ok(())
}

/// Pages of one item each, put together, are the whole list.
#[tokio::test]
async fn every_list_has_pages() -> Result<()> {
    let daemon = simulated()?;
    let limits = "{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {name: team, labels: {of: us}}, spec: {quota: {replicas: 9}}}";
    daemon.run(&["namespace", "set", "-f", &daemon.file("team.yaml", limits)?])?;
    for name in ["one", "two"] {
        daemon
            .put(name, &service(name, "default", "web", 1))
            .await?;
        daemon.running(name).await?;
    }
    daemon
        .put("one", &service("one", "default", "cache", 2))
        .await?;
    daemon.running("one").await?;
    let file = daemon.file("plan.yaml", &service("two", "default", "web", 2))?;
    for name in ["p", "q"] {
        daemon.run(&["plan", "-f", &file, "--out", name])?;
        daemon.run(&["token", "create", name, "-n", "team"])?;
    }
    for path in [
        "/v1/deployments",
        "/v1/namespaces",
        "/v1/decisions",
        "/v1/plans",
        "/v1/plugins",
        "/v1/tokens",
        "/v1/offers",
        "/v1/regions",
        "/v1/replacements",
        "/v1/deployments/one/revisions",
        "/v1/deployments/one/events",
        "/v1/audit",
        "/v1/audit?after=0",
        "/v1/events?after=0",
    ] {
        let joined =
            |rest: &str| format!("{path}{}{rest}", if path.contains('?') { '&' } else { '?' });
        let whole = items(&daemon.get(&joined("limit=1000")).await?);
        // Where pages lead back into the past, the first holds the last.
        let back = !path.contains('?') && (path.ends_with("/events") || path == "/v1/audit");
        let (mut walked, mut at) = (Vec::new(), Some(joined("limit=1")));
        while let Some(here) = at {
            let (body, next) = page(&daemon, &here).await?;
            let found = items(&body);
            ensure!(found.len() == 1, "{here}: {body:#}");
            walked.extend(found);
            at = next;
        }
        if back {
            walked.reverse();
        }
        let id = |item: &Value| {
            [
                "id",
                "seq",
                "generation",
                "name",
                "instance",
                "provider",
                "region",
                "namespace",
                "deployment",
                "task",
            ]
            .map(|k| item[k].to_string())
            .join(" ")
        };
        let (whole, walked): (Vec<String>, Vec<String>) = (
            whole.iter().map(id).collect(),
            walked.iter().map(id).collect(),
        );
        ensure!(whole.len() > 1, "{path} has too little to tell");
        // What happens meanwhile comes behind.
        ensure!(
            walked.starts_with(&whole) || whole.starts_with(&walked) || walked.ends_with(&whole),
            "{path}: {whole:?}, {walked:?}"
        );
        ensure!(
            walked.iter().collect::<BTreeSet<_>>().len() == walked.len(),
            "{path}: {walked:?}"
        );
        ensure!(walked.len() >= whole.len(), "{path}: {whole:?}, {walked:?}");
    }
    let cases = [
        ("/v1/plans?status=pending&selector=app%3Dweb", 2),
        ("/v1/plans?status=applied,rejected", 0),
        ("/v1/tokens?status=active&namespace=team", 3),
        ("/v1/tokens?status=revoked", 0),
        ("/v1/plugins?status=active", 2),
        ("/v1/plugins?status=rejected&namespace=team", 0),
        ("/v1/regions?status=closed&namespace=default", 2),
        ("/v1/regions?status=open,half-open", 0),
        ("/v1/offers?namespace=team&selector=!nothing", 2),
        ("/v1/offers?selector=nothing", 0),
        ("/v1/namespaces?selector=of%3Dus", 1),
        ("/v1/deployments/one/revisions?status=healthy", 2),
    ];
    for (path, count) in cases {
        let list = daemon.get(path).await?;
        assert_eq!(items(&list).len(), count, "{path}: {list:#}");
    }
    assert!(
        daemon
            .run(&["namespace", "list", "-l", "of=us"])?
            .contains("team")
    );
    assert!(
        !daemon
            .run(&["regions", "--status", "closed"])?
            .contains("half-open")
    );
    assert_eq!(
        daemon
            .run(&[
                "revisions",
                "one",
                "--status",
                "healthy,superseded",
                "-o",
                "json"
            ])?
            .matches("\"generation\"")
            .count(),
        2
    );
    let last: Value =
        serde_json::from_str(&daemon.run(&["-o", "json", "events", "--limit", "1"])?)?;
    assert_eq!(items(&last).len(), 1);
    Ok(())
}

/// By a field that is asked for, page by page, also while others come and go; and no more of an item than is wanted.
#[tokio::test]
async fn lists_come_in_the_order_and_with_the_fields_that_are_asked_for() -> Result<()> {
    let daemon = simulated()?;
    for (name, replicas) in [("a", 1), ("b", 3), ("c", 2), ("d", 3), ("e", 1)] {
        let text = service(name, "default", "web", 1)
            .replace("command", &format!("replicas: {replicas}, command"));
        daemon.put(name, &text).await?;
    }
    let wanted = "/v1/deployments?sort=-replicas,name&fields=name,replicas,labels.app&limit=2";
    let (first, next) = page(&daemon, wanted).await?;
    let item = |name: &str, replicas: u32| serde_json::json!({"name": name, "replicas": replicas, "labels": {"app": "web"}});
    assert_eq!(items(&first), [item("b", 3), item("d", 3)]);
    assert!(first["revision"].is_u64(), "{first}");
    // One before the place, one behind it; the item that the cursor is about goes.
    daemon
        .put(
            "z",
            &service("z", "default", "web", 1).replace("command", "replicas: 4, command"),
        )
        .await?;
    daemon
        .put(
            "f",
            &service("f", "default", "web", 1).replace("command", "replicas: 2, command"),
        )
        .await?;
    daemon.delete("d").await?;
    daemon.gone("d").await?;
    let (second, next) = page(&daemon, &next.context("one page")?).await?;
    assert_eq!(items(&second), [item("c", 2), item("f", 2)]);
    let (last, end) = page(&daemon, next.as_deref().context("two pages")?).await?;
    assert_eq!(
        (items(&last), end),
        (vec![item("a", 1), item("e", 1)], None)
    );

    // A cursor goes with its order.
    let cursor = second["next"].as_str().context("no cursor")?;
    for other in ["", "&sort=name", "&sort=replicas,name"] {
        let (status, text) =
            refused(&daemon, &format!("/v1/deployments?cursor={cursor}{other}")).await?;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(
            text.contains("is of the list with sort=-replicas,name"),
            "{text}"
        );
    }
    for (query, wanted) in [
        (
            "sort=size",
            "can't be sorted by \"size\": its fields for that are namespace, name, status,",
        ),
        (
            "fields=name,phase",
            "there is no field \"phase\": an item has createdAt, generation, hourlyCost,",
        ),
        ("watch=true&fields=name", "sort and fields are of pages"),
    ] {
        let (status, text) = refused(&daemon, &format!("/v1/deployments?{query}")).await?;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains(wanted), "{query}: {text}");
    }

    let (offers, _) = page(&daemon, "/v1/offers?sort=-price&fields=region,price").await?;
    assert_eq!(
        items(&offers),
        [("q", "0.20"), ("r", "0.10")]
            .map(|(region, price)| serde_json::json!({"region": region, "price": price}))
    );
    assert_eq!(offers["failures"], serde_json::json!([]));
    let (plugins, _) = page(
        &daemon,
        "/v1/plugins?sort=-instance&fields=instance,identity.version",
    )
    .await?;
    assert_eq!(items(&plugins)[0]["instance"], "cloud", "{plugins}");
    assert!(
        items(&plugins)[0]["identity"]["version"].is_string(),
        "{plugins}"
    );
    let (events, _) = page(&daemon, "/v1/events?deployment=a&fields=reason&limit=1").await?;
    assert_eq!(
        items(&events)[0].as_object().map(serde_json::Map::len),
        Some(1),
        "{events}"
    );
    Ok(())
}
