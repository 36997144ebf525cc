//! Offline simulation with the real component, from a published table's format to a chart. No daemon runs.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tradewind_kit::{binary, component};

/// Five tasks in the format of the published table: one without an end, one that asks for half a GPU, one that no offer can hold.
const TABLE: &str = "\
aa11,worker,2.0,Terminated,1000.0,4600.0,400.0,29.296875,100.0,V100
bb22,tensorflow,1.0,Terminated,1600.0,3400.0,100.0,4.0,50.0,V100
cc33,ps,1.0,Running,1700.0,,100.0,4.0,,
dd44,worker,1.0,Failed,2200.0,2800.0,200.0,8.0,,
ee55,worker,1.0,Terminated,2800.0,4600.0,100.0,4.0,1600.0,V100
";

fn offer(id: &str, cpu: &str, gpus: u32, price: &str, capacity: u32) -> Value {
    json!({
        "provider": "cloud", "id": id, "region": "north", "zone": "", "size": id, "cpu": cpu, "memory": "64Gi",
        "accelerator": if gpus > 0 { "nvidia-v100" } else { "" }, "acceleratorCount": gpus,
        "price": price, "priceUnit": "instance", "memoryPrice": "0", "spot": false, "shared": false, "capacity": capacity,
        "performance": 1.0, "source": "recorded", "quotedAt": "2026-01-01T00:00:00Z", "age": "0s", "labels": {},
    })
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn file(&self, name: &str, text: &str) -> Result<String> {
        std::fs::write(self.0.path().join(name), text)?;
        Ok(self.path(name))
    }

    fn cli(&self, arguments: &[&str]) -> Result<Output> {
        Ok(Command::new(binary())
            .env("XDG_CACHE_HOME", self.0.path())
            .args(arguments)
            .output()?)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.cli(arguments)?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
fn a_published_trace_runs_against_recorded_offers() -> Result<()> {
    let folder = Folder::new()?;
    let (table, trace) = (
        folder.file("pai_task_table.csv", TABLE)?,
        folder.path("trace.csv"),
    );
    let done: Value = serde_json::from_str(&folder.run(&[
        "-o",
        "json",
        "simulate",
        "convert",
        "--from",
        "alibaba-gpu-2020",
        &table,
        "--out",
        &trace,
    ])?)?;
    assert_eq!(
        done,
        json!({ "rows": 5, "written": 4, "withoutTimes": 1, "withoutPlan": 0, "roundedUp": 1 })
    );

    let offers = json!({ "offers": [offer("gpu", "8", 1, "3.6", 2), offer("plain", "4", 0, "0.36", 1)], "failures": [] });
    let offers = folder.file("offers.json", &offers.to_string())?;
    let policy = component("cheapest").display().to_string();
    let (csv, svg) = (folder.path("series.csv"), folder.path("chart.svg"));
    let base = [
        "-o", "json", "simulate", "--trace", &trace, "--offers", &offers, "--policy", &policy,
        "--csv", &csv, "--chart", &svg,
    ];
    let first = [base.as_slice(), &["--step", "10m"]].concat();
    let summary: Value = serde_json::from_str(&folder.run(&first)?)?;

    // aa11 holds both GPUs from 0 to 60 min; bb22 (came at 10) waits 50 min for one and runs 30; dd44 runs 10 min where no GPU is paid for.
    assert_eq!(
        summary["tasks"],
        json!({ "total": 4, "ended": 3, "running": 0, "waiting": 0, "impossible": 1, "notArrived": 0 })
    );
    assert_eq!(
        (&summary["cost"], &summary["time"]),
        (&json!("9.06"), &json!("1h 30m")),
        "{summary:#}"
    );
    assert_eq!(
        (&summary["queue"]["waitedLongest"], &summary["preemptions"]),
        (&json!("50m"), &json!(0))
    );
    assert_eq!(summary["impossible"][0]["name"], "ee55-worker");
    assert!(
        summary["impossible"][0]["reason"]
            .as_str()
            .is_some_and(|r| r.contains("16 × nvidia-v100")),
        "{summary:#}"
    );
    // (120 + 30) of 2 × 90 minutes.
    assert!(
        summary["accelerators"]["share"]
            .as_f64()
            .is_some_and(|share| (share - 150.0 / 180.0).abs() < 1e-9),
        "{summary:#}"
    );
    assert_eq!(summary["policy"]["plugin"], "cheapest");
    assert_eq!(summary["decisions"], 3);

    let series = std::fs::read_to_string(&csv)?;
    let rows: Vec<Vec<&str>> = series.lines().map(|l| l.split(',').collect()).collect();
    let column = |name: &str| {
        rows[0]
            .iter()
            .position(|c| *c == name)
            .with_context(|| format!("no column {name}"))
    };
    let (cost, hourly, waiting, end) = (
        column("cumulative_cost_usd")?,
        column("cost_per_hour_usd")?,
        column("tasks_waiting")?,
        column("end_ms")?,
    );
    assert_eq!(rows.len(), 10);
    assert_eq!(
        (rows[1][hourly], rows[1][waiting], rows[3][hourly]),
        ("7.20", "0.0000", "7.56")
    );
    assert_eq!(
        (rows[2][waiting], rows[9][cost], rows[9][end]),
        ("1.0000", "9.06", "5400000")
    );

    let chart = std::fs::read_to_string(&svg)?;
    well_formed(&chart)?;
    for part in [
        "Cost per hour",
        "Cost so far",
        "accelerators",
        "Tasks that wait",
        "prefers-color-scheme",
    ] {
        assert!(chart.contains(part), "{part}");
    }
    // The same bytes once more.
    folder.run(&first)?;
    assert_eq!(
        (
            std::fs::read_to_string(&csv)?,
            std::fs::read_to_string(&svg)?
        ),
        (series, chart)
    );
    let text = folder.run(&[&["-o", "table"], &base[2..]].concat())?;
    assert!(
        text.contains("$9.06") && text.contains("cloud/north"),
        "{text}"
    );
    Ok(())
}

#[test]
fn what_is_wrong_with_an_input_is_named() -> Result<()> {
    let folder = Folder::new()?;
    let trace = folder.file(
        "trace.csv",
        "at,name,kind,cpu,memory,duration\n0,a,job,many,1Gi,1m\n",
    )?;
    let good = folder.file(
        "good.csv",
        "at,name,kind,cpu,memory,duration\n0,a,job,1,1Gi,1m\n",
    )?;
    let offers = folder.file(
        "offers.json",
        &json!({ "offers": [offer("a", "4", 0, "1", 1)] }).to_string(),
    )?;
    let bad_offers = folder.file("bad.json", "{\"offers\": [{\"provider\": \"p\"}]}")?;
    let (policy, provider) = (
        component("cheapest").display().to_string(),
        component("simulated").display().to_string(),
    );
    for (trace, offers, policy, parts) in [
        (
            &trace,
            &offers,
            &policy,
            ["trace.csv", "line 2, column \"cpu\": \"many\""],
        ),
        (&good, &bad_offers, &policy, ["bad.json", "offers[0]"]),
        (
            &good,
            &offers,
            &provider,
            ["simulated.wasm", "can't be used"],
        ),
    ] {
        let output = folder.cli(&[
            "simulate", "--trace", trace, "--offers", offers, "--policy", policy,
        ])?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    Ok(())
}

/// Every tag is closed in order, and every `&` begins an entity.
fn well_formed(xml: &str) -> Result<()> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some((text, after)) = rest.split_once('<') {
        ensure!(
            !text.contains('>') || open.last() == Some(&"style"),
            "a stray > in \"{text}\""
        );
        for entity in text.split('&').skip(1) {
            ensure!(
                ["amp;", "lt;", "gt;", "quot;", "#39;"]
                    .iter()
                    .any(|e| entity.starts_with(e)),
                "a stray & in \"{text}\""
            );
        }
        let (tag, after) = after.split_once('>').context("a tag without an end")?;
        ensure!(
            tag.matches('"').count() % 2 == 0,
            "a quote is open in <{tag}>"
        );
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap_or_default();
        if tag.starts_with('/') {
            ensure!(open.pop() == Some(name), "</{name}> closes nothing");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = after;
    }
    ensure!(
        open.is_empty() && rest.trim().is_empty(),
        "open at the end: {open:?}"
    );
    Ok(())
}
