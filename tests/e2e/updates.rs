//! Updates where room is scarce, versions that do not live, recovery by the manifest where a provider starts replicas again by itself, and
//! jobs that their cloud forgets.

use anyhow::{Result, ensure};
use serde_json::Value;
use tradewind_kit::{
    Daemon,
    fixture::{Config, FixtureCloud, Operation},
    when,
};

const SMALL: &str = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\ncpu = 1\n";

/// One region with one place for each strategy.
const SCARCE: &str = r#"
component = "simulated.wasm"
[settings.sizes.small]
cpu = 2
memory = "4Gi"
price = "0.04"
capacity = 1
time-to-ready = "50ms"
[settings.regions.rolling]
[settings.regions.canary]
[settings.regions.blue-green]
"#;

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n{spec}"
    )
}

fn told(deployment: &Value) -> String {
    format!(
        "{} {}",
        deployment["message"].as_str().unwrap_or_default(),
        deployment["tasks"][0]["message"]
            .as_str()
            .unwrap_or_default()
    )
}

fn whole(generation: u64) -> impl Fn(&Value) -> bool {
    move |d| {
        d["status"] == "running"
            && d["generation"] == generation
            && d["rollout"]["status"] == "done"
    }
}

#[tokio::test]
async fn an_update_of_a_full_machine_says_what_would_help_and_comes_back() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", SMALL)])?;
    let version = |update: &str, seconds: u32| {
        let service = format!(
            "  services: {{w: {{command: [sleep, \"{seconds}\"], resources: {{cpu: 600m, memory: 16Mi}}}}}}\n"
        );
        manifest("svc", &format!("  update: {update}\n{service}"))
    };
    let first = version("{deadline: 3s}", 600);
    daemon.put("svc", &first).await?;
    daemon.until("svc", "whole", whole(1)).await?;
    daemon.put("svc", &version("{deadline: 3s}", 601)).await?;
    let stuck = daemon
        .until("svc", "stuck, with a word on what to do", |d| {
            told(d).contains("maxSurge: 0")
        })
        .await?;
    ensure!(
        stuck["ready"] == 1 && told(&stuck).contains("recreate"),
        "{stuck:#}"
    );
    let back = daemon.until("svc", "back", whole(3)).await?;
    let reason = back["rollout"]["reason"].as_str().unwrap_or_default();
    ensure!(
        back["ready"] == 1
            && reason.contains("no progress within 3s")
            && reason.contains("maxSurge: 0"),
        "{back:#}"
    );
    ensure!(
        back["tasks"][0]["allocations"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "{back:#}"
    );
    // The way that it names is one.
    daemon
        .put(
            "svc",
            &version("{maxSurge: 0, maxUnavailable: 1, drain: 0s}", 602),
        )
        .await?;
    daemon.until("svc", "updated", whole(4)).await?;
    Ok(())
}

#[tokio::test]
async fn no_strategy_takes_more_than_there_is() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", SCARCE)])?;
    let update = |strategy: &str| match strategy {
        "canary" => "{strategy: canary, steps: [{weight: 50%}], deadline: 3s}".to_owned(),
        other => format!("{{strategy: {other}, deadline: 3s}}"),
    };
    let version = |strategy: &str, word: &str| {
        let service = format!(
            "  services: {{w: {{command: [{word}], resources: {{cpu: 1}}, placement: {{regions: [{strategy}]}}}}}}\n"
        );
        manifest(
            strategy,
            &format!("  update: {}\n{service}", update(strategy)),
        )
    };
    let strategies = ["rolling", "canary", "blue-green"];
    for strategy in strategies {
        daemon.put(strategy, &version(strategy, "one")).await?;
        daemon.until(strategy, "whole", whole(1)).await?;
    }
    for strategy in strategies {
        daemon.put(strategy, &version(strategy, "two")).await?;
    }
    let mut named = [false; 3];
    let back = daemon.eventually("all three are back", async || {
        let mut back = 0;
        for (strategy, named) in strategies.iter().zip(&mut named) {
            let seen = daemon.get(&format!("/v1/deployments/{strategy}")).await?;
            ensure!(
                seen["hourlyCost"] == "0.04",
                "two at once where there is room for one: {seen:#}"
            );
            *named |= told(&seen).contains("recreate");
            back += u32::from(whole(3)(&seen));
        }
        Ok(when(back == 3, back))
    });
    back.await?;
    ensure!(named == [true; 3], "each says what would help: {named:?}");
    Ok(())
}

#[tokio::test]
async fn done_means_that_it_lives() -> Result<()> {
    let daemon = Daemon::local()?;
    let version = |script: &str, replicas: u32| {
        let service = format!(
            "{{command: [sh, -c, \"{script}\"], replicas: {replicas}, resources: {{cpu: 10m, memory: 16Mi}}}}"
        );
        format!("  recovery: {{firstPause: 200ms}}\n  services: {{w: {service}}}\n")
    };
    let crash = daemon.file(
        "crash.yaml",
        &manifest("crash", &version("sleep 0.4; exit 3", 2)),
    )?;
    let ended = daemon.cli(&["apply", "-f", &crash, "--timeout", "30s"])?;
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(
        ended.status.code() == Some(1) && text.contains("ends again and again"),
        "{:?}: {text}",
        ended.status
    );

    daemon
        .put("upd", &manifest("upd", &version("exec sleep 600", 4)))
        .await?;
    daemon.until("upd", "whole", whole(1)).await?;
    daemon
        .put("upd", &manifest("upd", &version("sleep 0.4; exit 3", 4)))
        .await?;
    let back = daemon.eventually("it is back", async || {
        let seen = daemon.get("/v1/deployments/upd").await?;
        let allocations = seen["tasks"][0]["allocations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let good: u64 = allocations
            .iter()
            .filter(|a| a["revision"] != 2)
            .filter_map(|a| a["ready"].as_u64())
            .sum();
        ensure!(
            good == 4,
            "a good replica has gone for one that does not live: {seen:#}"
        );
        Ok(when(whole(3)(&seen), seen))
    });
    back.await?;
    let mut events = daemon.events(None).await?;
    for reason in ["RolloutFailed", "RolledBack"] {
        let told = |e: &Value| e["reason"] == reason && e["deployment"] == "upd";
        events.until(reason, told).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_its_provider_starts_again_is_brought_back_as_the_manifest_says() -> Result<()> {
    let cloud = "component = \"simulated.wasm\"\n[settings.sizes.small]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"9\"\n[settings.regions.far]\n";
    let daemon = Daemon::start(
        &["cheapest", "process", "simulated"],
        &[("local", tradewind_kit::LOCAL), ("cloud", cloud)],
    )?;
    let service = |recovery: &str| {
        let task = format!(
            "{{command: [sh, -c, \"exit 3\"], recovery: {recovery}, resources: {{cpu: 10m, memory: 16Mi}}}}"
        );
        format!("  services: {{w: {task}}}\n")
    };
    daemon
        .put(
            "patient",
            &manifest("patient", &service("{firstPause: 20s, replaceAfter: 0}")),
        )
        .await?;
    let waits = |d: &Value| told(d).contains("starts again in 20s");
    let waiting = daemon
        .until("patient", "waiting as long as it shall", waits)
        .await?;
    ensure!(
        waiting["tasks"][0]["allocations"][0]["recovery"]["failures"].as_u64() <= Some(1),
        "{waiting:#}"
    );

    daemon
        .put(
            "mover",
            &manifest("mover", &service("{firstPause: 100ms, replaceAfter: 2}")),
        )
        .await?;
    let there = |d: &Value| {
        d["status"] == "running" && d["tasks"][0]["allocations"][0]["provider"] == "cloud"
    };
    let moved = daemon.until("mover", "running elsewhere", there).await?;
    ensure!(
        moved["tasks"][0]["allocations"][0]["recovery"]["failures"].as_u64() >= Some(2),
        "{moved:#}"
    );
    // The machine serves others as before.
    let task = "{command: [sleep, \"600\"], resources: {cpu: 10m, memory: 16Mi}, placement: {providers: [local]}}";
    daemon
        .put(
            "other",
            &manifest("other", &format!("  services: {{w: {task}}}\n")),
        )
        .await?;
    daemon.running("other").await?;
    let failures = |d: &Value| d["tasks"][0]["allocations"][0]["recovery"]["failures"] == 1;
    daemon.until("patient", "counted", failures).await?;
    Ok(())
}

#[tokio::test]
async fn a_job_that_has_ended_is_not_run_again_because_its_cloud_forgot_it() -> Result<()> {
    let cloud = FixtureCloud::start(Config {
        job_ms: 50,
        ..Config::default()
    })?;
    let mut daemon = Daemon::start(
        &["cheapest", "rest"],
        &[("cloud", &cloud.instance_with("settle = \"1ms\""))],
    )?;
    daemon.kill()?;
    let often =
        "[controller]\nobserve-interval = \"100ms\"\nobserve-interval-changing = \"20ms\"\n";
    std::fs::write(daemon.folder.path().join("config.toml"), often)?;
    daemon.launch()?;
    let tasks = "  services: {web: {image: web, resources: {cpu: 1, memory: 1Gi}}}\n  jobs: {once: {image: once, resources: {cpu: 1, memory: 1Gi}}}\n";
    daemon.put("app", &manifest("app", tasks)).await?;
    let job = |d: &Value| {
        d["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|t| t["kind"] == "job")
            .cloned()
            .unwrap_or_default()
    };
    let done = daemon
        .until("app", "done", |d| {
            job(d)["status"] == "completed" && d["status"] == "running"
        })
        .await?;
    let made = cloud.ledger().len();
    let id = job(&done)["allocations"][0]["replicaStatus"][0]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(cloud.disappear(&id), "there is no \"{id}\": {done:#}");
    for restarted in [false, true] {
        if restarted {
            daemon.kill()?;
            daemon.launch()?;
        }
        // What is looked at all the time is the service beside it.
        let before = cloud.calls(Operation::List);
        let looked = daemon.eventually("five looks at the cloud", async || {
            let looks = cloud.calls(Operation::List) - before;
            Ok(when(looks >= 5, looks))
        });
        looked.await?;
        let seen = daemon
            .until("app", "as it was", |d| d["status"] == "running")
            .await?;
        ensure!(
            job(&seen)["status"] == "completed" && job(&seen)["ready"] == 1,
            "{seen:#}"
        );
        ensure!(
            cloud.ledger().len() == made,
            "it has been run again: {:#?}",
            cloud.ledger()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_hedge_asks_only_where_there_is_room_for_all() -> Result<()> {
    let size = |price: &str, capacity: u32| {
        format!(
            "cpu = 2\nmemory = \"4Gi\"\nprice = \"{price}\"\ncapacity = {capacity}\ntime-to-ready = \"1s\"\n"
        )
    };
    let cloud = format!(
        "component = \"simulated.wasm\"\n[settings.regions.one.sizes.small]\n{}\
         [settings.regions.two.sizes.small]\n{}[settings.regions.three.sizes.small]\n{}",
        size("0.04", 2),
        size("0.05", 1),
        size("0.06", 2)
    );
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", &cloud)])?;
    let task = "  hedge: {offers: 3}\n  services: {w: {command: [one], replicas: 2, resources: {cpu: 1}}}\n";
    daemon.put("svc", &manifest("svc", task)).await?;
    let asked = daemon
        .until("svc", "asked for", |d| {
            d["tasks"][0]["allocations"]
                .as_array()
                .is_some_and(|a| a.len() > 1)
        })
        .await?;
    let regions = asked["tasks"][0]["allocations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|a| a["region"].as_str().unwrap_or_default());
    let mut regions: Vec<&str> = regions.collect();
    regions.sort_unstable();
    ensure!(
        regions == ["one", "three"],
        "where there is room for one, two are asked for: {asked:#}"
    );
    Ok(())
}
