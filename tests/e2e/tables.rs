//! What `get` and its like print: forms for programs, order, filters, and a watch that outlives the daemon.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::Daemon;

use crate::output::Following;

const CLOUD: &str = "component = \"simulated.wasm\"\n\
    [settings.regions.r.sizes.small]\ncpu = 1\nmemory = \"4Gi\"\nprice = \"0.20\"\nprice-unit = \"cpu\"\n\
    [settings.regions.q.sizes.large]\ncpu = 8\nmemory = \"16Gi\"\nprice = \"0.10\"\nprice-unit = \"cpu\"\n";

fn service(name: &str, namespace: &str, replicas: u32) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{services: {{w: {{command: [serve], replicas: {replicas}, resources: {{cpu: 1, memory: 64Mi}}}}}}}}}}"
    )
}

async fn several(daemon: &Daemon) -> Result<()> {
    for (name, namespace, replicas) in [
        ("one", "default", 1),
        ("two", "default", 3),
        ("six", "team", 2),
    ] {
        let file = daemon.file(&format!("{name}.yaml"), &service(name, namespace, replicas))?;
        daemon.run(&["apply", "-f", &file])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_list_is_sorted_filtered_and_printed_in_every_form() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])?;
    ensure!(daemon.run(&["get"])? == "no deployments\n");
    several(&daemon).await?;
    for (words, printed) in [
        (
            &["get", "-o", "name"][..],
            "default/one\ndefault/two\nteam/six\n",
        ),
        (&["get", "-n", "team", "-o", "name"], "six\n"),
        (
            &["get", "--sort", "-cost", "-o", "name"],
            "default/two\nteam/six\ndefault/one\n",
        ),
        (
            &["get", "--sort", "cost", "--limit", "1", "-o", "name"],
            "default/one\n",
        ),
        (
            &["get", "--sort", "-cost", "--limit", "2", "-o", "name"],
            "default/two\nteam/six\n",
        ),
        (
            &["get", "--field", "replicas=3", "-o", "name"],
            "default/two\n",
        ),
        (
            &[
                "get",
                "--field",
                "namespace!=team",
                "--field",
                "ready!=1",
                "-o",
                "name",
            ],
            "default/two\n",
        ),
        (&["get", "two", "-o", "jsonpath={.status}"], "running\n"),
        (&["get", "-n", "team", "-o", "jsonpath=$..name"], "six\n"),
        (
            &["offers", "--sort", "price", "-o", "name"],
            "cloud/r/small\ncloud/q/large\n",
        ),
    ] {
        let seen = daemon.run(words)?;
        assert_eq!(seen, printed, "{words:?}");
    }

    let table = daemon.run(&["get"])?;
    ensure!(table.starts_with("NAMESPACE  NAME  STATUS"), "{table}");
    ensure!(!table.contains("GENERATION"), "{table}");
    let own = daemon.run(&["get", "-n", "team"])?;
    ensure!(own.starts_with("NAME  STATUS"), "{own}");
    let wide = daemon.run(&["get", "-n", "team", "-o", "wide", "--utc"])?;
    ensure!(
        wide.starts_with("NAMESPACE  NAME  STATUS") && wide.contains("GENERATION"),
        "{wide}"
    );
    let csv = daemon.run(&["get", "-n", "team", "-o", "csv"])?;
    ensure!(
        csv.starts_with(
            "NAMESPACE,NAME,STATUS,READY,GENERATION,PLACES,COST,AGE,MESSAGE\r\nteam,six,running,2/2,1,"
        ),
        "{csv}"
    );
    let sorted: Value =
        serde_json::from_str(&daemon.run(&["get", "--sort", "name:desc", "-o", "json"])?)?;
    assert_eq!(
        sorted["items"][0]["name"], "two",
        "programs get the order too: {sorted:#}"
    );
    // What grows with time, too: the limit counts what is left, and without an order the newest are.
    let items = |words: &[&str]| -> Result<Vec<Value>> {
        let list: Value = serde_json::from_str(&daemon.run(&[words, &["-o", "json"]].concat())?)?;
        let items = list["items"].as_array().context("no items")?;
        Ok(items.clone())
    };
    let created = "reason=DeploymentCreated";
    let all = items(&["events", "--field", created])?;
    let last = items(&["events", "--field", created, "--limit", "1"])?;
    ensure!(
        all.len() > 1 && last == all[all.len() - 1..],
        "{all:?} {last:?}"
    );
    let first = items(&[
        "events", "--field", created, "--sort", "time", "--limit", "1",
    ])?;
    ensure!(first == all[..1], "{first:?}");
    let entries = items(&["audit", "show", "--sort", "entry", "--limit", "2"])?;
    let latest = items(&["audit", "show", "--sort", "-entry", "--limit", "1"])?;
    ensure!(entries[0]["seq"].as_u64() < entries[1]["seq"].as_u64());
    ensure!(entries[1]["seq"].as_u64() < latest[0]["seq"].as_u64());
    let decisions = items(&["decisions", "--sort", "made"])?;
    let mut reversed = items(&["decisions"])?;
    reversed.reverse();
    ensure!(decisions.len() > 1 && decisions == reversed);
    ensure!(items(&["policy", "shadow", "list", "--field", "name=none"])?.is_empty());

    for (words, told) in [
        (&["get", "-o", "jsonpath=$.items["][..], "column 9"),
        (&["get", "-o", "tabel"], "use one of table, wide"),
        (&["get", "--sort", "prize"], "name, status, ready"),
        (&["describe", "one", "-o", "csv"], "only lists"),
        (&["get", "one", "--sort", "name"], "cannot be used with"),
    ] {
        let refused = daemon.cli(words)?;
        let seen = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(
            refused.status.code() == Some(64) && seen.contains(told),
            "{words:?}: {seen}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_no_place_has_room_for_ends_an_assessment_as_it_ends_a_plan() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])?;
    let fits = daemon.cli(&["assess", "--cpu", "1", "--memory", "1Gi"])?;
    assert_eq!(fits.status.code(), Some(0), "{fits:?}");
    let never = daemon.cli(&["assess", "--cpu", "64", "--memory", "1Gi"])?;
    let seen = String::from_utf8_lossy(&never.stdout).into_owned();
    ensure!(
        never.status.code() == Some(4) && seen.contains("no offer satisfies"),
        "{never:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_watch_prints_what_changes_and_outlives_the_daemon() -> Result<()> {
    let mut daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])?;
    let file = daemon.file("one.yaml", &service("one", "default", 1))?;
    daemon.run(&["apply", "-f", &file])?;
    let all = Following::start(&daemon, &["get", "-w"])?;
    let mut one = Following::start(&daemon, &["get", "one", "-w"])?;
    for followed in [&all, &one] {
        ensure!(followed.next()?.starts_with("NAME  STATUS"));
        let row = followed.next()?;
        ensure!(
            row.starts_with("one   running") && row.contains("1/1"),
            "{row}"
        );
    }
    // Until a row has it, whatever stands before it.
    let until = |followed: &Following, wanted: &str| -> Result<()> {
        while !followed.next()?.contains(wanted) {}
        Ok(())
    };
    daemon.run(&["scale", "one", "w", "--replicas", "2"])?;
    until(&all, "2/2")?;
    until(&one, "2/2")?;
    daemon.stop()?;
    daemon.launch()?;
    let file = daemon.file("two.yaml", &service("two", "default", 1))?;
    daemon.run(&["apply", "-f", &file])?;
    until(&all, "two   running")?;
    daemon.run(&["delete", "one"])?;
    until(&all, "default/one is gone")?;
    until(&one, "deployment \"one\" is gone")?;
    let (code, told) = one.end()?;
    ensure!(
        code == Some(0) && told.matches("goes on as soon as it can").count() <= 1,
        "{code:?}: {told}"
    );
    Ok(())
}
