//! Processes as their users see them: whose answer counts, who has a port, what memory is, what leaves its group, and whose data folder it is.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, Signal, binary, endpoints, fetch, hello, pids, signal_group, web};

const HEAD: &str = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\n";

fn manifest(name: &str, spec: &str) -> String {
    format!("{HEAD}metadata: {{name: {name}}}\nspec:\n  {spec}\n")
}

/// `process` with these fixed ports.
fn ports(from: u16, to: u16) -> String {
    format!(
        "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\nports = [{{from = {from}, to = {to}}}]\n"
    )
}

fn alive(pid: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Ids that processes have written down, one a line.
fn noted(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_strangers_port_is_refused_by_name_and_a_strangers_answer_makes_nothing_ready()
-> Result<()> {
    // Answers every request, as somebody else's web server does.
    let stranger = TcpListener::bind("127.0.0.1:0")?;
    let number = stranger.local_addr()?.port();
    let daemon = Daemon::start(
        &["cheapest", "process"],
        &[("local", &ports(number, number))],
    )?;
    let spec = format!(
        "services: {{web: {{command: [\"{}\"], ports: {{http: {{port: {number}, protocol: http}}}}, health: {{http: /health, interval: 200ms}}}}}}",
        hello().display()
    );
    daemon.put("fixed", &manifest("fixed", &spec)).await?;
    let told = format!(
        "port {number} is taken by something that Tradewind did not start (pid {})",
        std::process::id()
    );
    let seen = daemon
        .until("fixed", "refused by name", |d| {
            d.to_string().contains(&told)
        })
        .await?;
    assert_ne!(seen["status"], "running", "{seen:#}");
    let log = daemon.log();
    ensure!(!log.contains("stays behind"), "{log}");
    drop(stranger);

    // A number that was chosen, and a program that never listens on it: this test does.
    let given = daemon.shared().join("port");
    let script = format!("echo $PORT >{}; exec sleep 600", given.display());
    let silent = format!(
        "services: {{web: {{command: [sh, -c, \"{script}\"], ports: {{http: {{protocol: http}}}}, health: {{tcp: true, interval: 200ms}}}}}}"
    );
    daemon.put("silent", &manifest("silent", &silent)).await?;
    daemon
        .eventually(
            "it is told its port",
            async || Ok(!noted(&given).is_empty()),
        )
        .await?;
    let number: u16 = noted(&given)[0].parse()?;
    let _stranger = TcpListener::bind(("127.0.0.1", number))?;
    let seen = daemon
        .until("silent", "told", |d| {
            d.to_string().contains("is not of this replica (pid")
        })
        .await?;
    assert_ne!(seen["status"], "running", "{seen:#}");
    Ok(())
}

#[tokio::test]
async fn a_chosen_port_that_is_gone_after_a_reboot_is_chosen_anew() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("dyn", &web("dyn", 1, "there")).await?;
    let before = daemon.running("dyn").await?;
    let old = endpoints(&before).remove(0);
    let number: u16 = old.rsplit(':').next().context("no number")?.parse()?;
    daemon.stop()?;
    for pid in pids(&before) {
        signal_group(pid, Signal::KILL)?;
    }
    let mut stranger = None;
    daemon
        .eventually("the number is free", async || {
            stranger = TcpListener::bind(("127.0.0.1", number)).ok();
            Ok(stranger.is_some())
        })
        .await?;
    daemon.launch()?;
    let after = daemon
        .until("dyn", "somewhere else", |d| {
            d["status"] == "running" && !endpoints(d).contains(&old) && !endpoints(d).is_empty()
        })
        .await?;
    assert_eq!(
        fetch(&daemon.http, &endpoints(&after)[0]).await?,
        "hello, there\n"
    );
    let taken = format!("{number} was taken by");
    let told = |e: &Value| e.to_string().contains(&taken);
    daemon.event("PortMoved", told).await?;
    Ok(())
}

#[tokio::test]
async fn threads_are_no_memory_and_all_processes_of_a_replica_count() -> Result<()> {
    let daemon = Daemon::local()?;
    // Every connection is a thread of its own, whose stack is reserved and not filled: 150 of them are some 300 MiB.
    daemon.put("threads", &web("threads", 1, "x")).await?;
    let running = daemon.running("threads").await?;
    let address = endpoints(&running)[0]
        .trim_start_matches("http://")
        .to_owned();
    let open: Vec<_> = (0..150)
        .map(|_| std::net::TcpStream::connect(&address))
        .collect::<std::io::Result<_>>()?;
    assert_eq!(
        fetch(&daemon.http, &endpoints(&running)[0]).await?,
        "hello, x\n"
    );
    drop(open);
    let still = daemon.get("/v1/deployments/threads").await?;
    assert_eq!(pids(&still), pids(&running), "{still:#}");

    // Three processes of one replica: each is small enough, together they are not.
    let hello = hello().display().to_string();
    let script =
        format!("PORT=$PORT_A {hello} & PORT=$PORT_B {hello} & PORT=$PORT_C {hello} & wait");
    let spec = format!(
        "services: {{w: {{command: [sh, -c, \"{script}\"], resources: {{cpu: 10m, memory: 64Mi}}, \
         ports: {{a: {{protocol: http}}, b: {{protocol: http}}, c: {{protocol: http}}}}, health: {{http: /health, port: c, interval: 200ms}}}}}}"
    );
    daemon.put("three", &manifest("three", &spec)).await?;
    let running = daemon.running("three").await?;
    for (i, endpoint) in endpoints(&running).iter().enumerate() {
        daemon
            .eventually("it listens", async || {
                Ok(std::net::TcpStream::connect(endpoint.trim_start_matches("http://")).is_ok())
            })
            .await?;
        let answer = fetch(&daemon.http, &format!("{endpoint}/keep/26")).await;
        ensure!(i == 2 || answer.is_ok(), "{answer:?}");
    }
    let told = daemon
        .until("three", "ended", |d| {
            d.to_string()
                .contains("outgrew its memory limit of 64Mi: it filled")
        })
        .await?;
    assert!(
        told.to_string().contains("raise resources.memory"),
        "{told:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_calls_setsid_ends_with_its_replica() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let at = |name: &str| daemon.shared().join(name);
    let escape = |name: &str| {
        format!(
            "setsid -f sh -c 'echo $$ >>{0}; exec sleep 601'; until [ -s {0} ]; do sleep 0.05; done; ",
            at(name).display()
        )
    };
    let (service, job) = (at("service"), at("job"));
    let spec = format!(
        "services: {{w: {{command: [sh, -c, \"{}sleep 0.5; exit 3\"]}}}}",
        escape("service")
    );
    daemon
        .put("daemonises", &manifest("daemonises", &spec))
        .await?;
    let spec = format!(
        "jobs: {{j: {{command: [sh, -c, \"{}exit 0\"]}}}}",
        escape("job")
    );
    daemon.put("done", &manifest("done", &spec)).await?;
    let done = daemon
        .until("done", "completed", |d| d["status"] == "completed")
        .await?;
    let of_job = noted(&job);
    let [left] = &of_job[..] else {
        anyhow::bail!("not one: {of_job:?}")
    };
    assert!(!alive(left), "a job that has ended has ended");
    assert!(
        done.to_string()
            .contains("a process that it left running was ended"),
        "{done:#}"
    );
    // Every restart ends what the run before has left.
    daemon
        .eventually("it starts three times", async || {
            Ok(noted(&service).len() >= 3)
        })
        .await?;
    let all = noted(&service);
    daemon
        .eventually("the first two are gone", async || {
            Ok(!all[..2].iter().any(|pid| alive(pid)))
        })
        .await?;
    // The next daemon ends it as well, and a deletion leaves nothing.
    daemon.kill()?;
    daemon.launch()?;
    daemon.delete("daemonises").await?;
    daemon.gone("daemonises").await?;
    let all = noted(&service);
    assert!(!all.iter().any(|pid| alive(pid)), "{all:?}");
    Ok(())
}

/// Starts a daemon on a folder that it does not take, and answers what it says.
fn refused(daemon: &Daemon, data: &Path, more: &[&str]) -> Result<String> {
    let mut command = Command::new(binary());
    command
        .arg("--data")
        .arg(data)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(more)
        .arg("--plugins")
        .arg(daemon.plugins());
    let output = command
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .stdin(Stdio::null())
        .output()?;
    ensure!(!output.status.success(), "it started: {output:?}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_copy_beside_its_living_original_is_stopped_and_a_moved_folder_is_taken_over_when_told()
-> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("stay", &web("stay", 2, "here")).await?;
    let before = daemon.running("stay").await?;
    let (data, copy, moved) = (
        daemon.data(),
        daemon.folder.path().join("copy"),
        daemon.folder.path().join("moved"),
    );
    let status = Command::new("cp")
        .arg("-a")
        .arg(&data)
        .arg(&copy)
        .status()?;
    assert!(status.success());
    let living = format!(
        "process {} with the data folder \"{}\"",
        daemon.pid().context("no pid")?,
        data.display()
    );
    for more in [&[][..], &["--moved"]] {
        let said = refused(&daemon, &copy, more)?;
        assert!(
            said.contains("another daemon works with the same state") && said.contains(&living),
            "{said}"
        );
    }
    // A restored copy has the same state.
    let backup = daemon
        .folder
        .path()
        .join("state.backup")
        .display()
        .to_string();
    daemon.run(&["backup", &backup])?;
    let restored = daemon.folder.path().join("restored");
    let mut restore = Command::new(binary());
    restore
        .arg("--data")
        .arg(&restored)
        .args(["restore", &backup, "--yes"])
        .env("TRADEWIND_PLUGINS", daemon.plugins());
    // Whether it is refused here or at the start: it never acts.
    if restore
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .output()?
        .status
        .success()
    {
        refused(&daemon, &restored, &[])?;
    }

    daemon.stop()?;
    std::fs::rename(&data, &moved)?;
    let said = refused(&daemon, &moved, &[])?;
    for part in ["was at", "2 replicas of it run", "--moved"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for pid in pids(&before) {
        assert!(alive(&pid), "nothing is ended");
    }
    // Told once, it adopts what runs; from then on the folder is at home there.
    let mut takes_over = Command::new(binary())
        .arg("--data")
        .arg(&moved)
        .args(["serve", "--moved", "--listen", "127.0.0.1:0", "--plugins"])
        .arg(daemon.plugins())
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ready = daemon
        .eventually("it is ready", async || {
            Ok(moved.join("daemon.json").exists())
        })
        .await;
    takes_over.kill()?;
    takes_over.wait()?;
    ready?;
    // Back again, for the rest of the test.
    std::fs::rename(&moved, &data)?;
    let said = refused(&daemon, &data, &[])?;
    assert!(said.contains("/moved\" when it was used last"), "{said}");
    let mut back = Command::new(binary())
        .arg("--data")
        .arg(&data)
        .args(["serve", "--moved", "--listen", "127.0.0.1:0", "--plugins"])
        .arg(daemon.plugins())
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = back.id().to_string();
    let ready = daemon
        .eventually("it is ready", async || {
            Ok(std::fs::read_to_string(data.join("daemon.json")).is_ok_and(|t| t.contains(&pid)))
        })
        .await;
    back.kill()?;
    back.wait()?;
    ready?;
    daemon.launch()?;
    let after = daemon.running("stay").await?;
    assert_eq!(
        (pids(&after), endpoints(&after)),
        (pids(&before), endpoints(&before)),
        "neither ended nor started twice"
    );
    Ok(())
}

#[tokio::test]
async fn as_the_first_process_the_daemon_collects_what_has_lost_its_parent() -> Result<()> {
    let unshare = [
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ];
    if !Command::new("unshare")
        .args(unshare)
        .arg("true")
        .output()
        .is_ok_and(|o| o.status.success())
    {
        eprintln!("skipped: this machine lets nobody make namespaces");
        return Ok(());
    }
    // Prepared by a daemon of the usual kind, which then makes room.
    let mut daemon = Daemon::local()?;
    daemon.stop()?;
    let mut first = Command::new("unshare")
        .args(unshare)
        .arg(binary())
        .arg("--data")
        .arg(daemon.data())
        .args(["serve", "--listen", "127.0.0.1:0", "--plugins"])
        .arg(daemon.plugins())
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let result = collects(&mut daemon, first.id()).await;
    first.kill()?;
    first.wait()?;
    result
}

async fn collects(daemon: &mut Daemon, unshare: u32) -> Result<()> {
    let told = || -> Option<Value> {
        serde_json::from_slice(&std::fs::read(daemon.data().join("daemon.json")).ok()?).ok()
    };
    daemon
        .eventually("it is ready", async || {
            Ok(told().is_some_and(|t| t["pid"] == 1))
        })
        .await?;
    daemon.address = told()
        .and_then(|t| Some(t["address"].as_str()?.to_owned()))
        .context("no address")?;
    daemon.http = tradewind_kit::client(Some(&daemon.admin_token()?))?;
    let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"))?;
    let init = children.trim().to_owned();
    // Orphans while the replica runs, and a job whose child outlives its parent.
    let over = daemon.shared().join("over");
    let spec = format!(
        "services: {{s: {{command: [sh, -c, \"for i in 1 2 3; do (sleep 0.1 & exec sleep 0.2) & done; \
         (setsid -f sh -c 'sleep 0.3; echo >{}'); sleep 600\"]}}}}",
        over.display()
    );
    daemon.put("orphans", &manifest("orphans", &spec)).await?;
    daemon
        .put(
            "done",
            &manifest(
                "done",
                "jobs: {j: {command: [sh, -c, \"(sleep 0.2; true) & exit 7\"]}}",
            ),
        )
        .await?;
    daemon.running("orphans").await?;
    let done = daemon
        .until("done", "failed", |d| d["status"] == "failed")
        .await?;
    assert!(done.to_string().contains("\"exitCode\":7"), "{done:#}");
    daemon
        .eventually("the last orphan ends", async || Ok(over.exists()))
        .await?;
    let zombies = || {
        let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children"))
            .unwrap_or_default();
        let stat =
            |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        children
            .split_whitespace()
            .filter(|pid| {
                stat(pid)
                    .rsplit(')')
                    .next()
                    .is_some_and(|s| s.trim_start().starts_with('Z'))
            })
            .count()
    };
    daemon
        .eventually("no zombie is left", async || Ok(zombies() == 0))
        .await?;
    assert!(alive(&init));
    Ok(())
}

#[tokio::test]
async fn out_of_descriptors_is_the_daemons_trouble_and_nobody_elses() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("stay", &web("stay", 1, "x")).await?;
    let before = daemon.running("stay").await?;
    let pid = daemon.pid().context("no pid")?.to_string();
    // As many as are open now, and none more.
    let descriptors = || std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let open = descriptors();
    let limit = |n: String| {
        Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={n}:")])
            .status()
    };
    if !limit((open + 2).to_string()).is_ok_and(|s| s.success()) {
        eprintln!("skipped: there is no prlimit here");
        return Ok(());
    }
    let address = daemon.address.trim_start_matches("http://").to_owned();
    let crowd: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(&address))
        .collect();
    daemon
        .eventually("none is left", async || Ok(descriptors() >= open + 2))
        .await?;
    for pid in pids(&before) {
        signal_group(pid, Signal::KILL)?;
    }
    let replaced = || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let children = threads.map(|thread| {
            std::fs::read_to_string(thread.path().join("children")).unwrap_or_default()
        });
        children
            .flat_map(|ids| {
                ids.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .any(|id| !pids(&before).contains(&id))
    };
    daemon
        .eventually(
            "it is started again, or the daemon says what it lacks",
            async || Ok(daemon.log().contains("too many files open") || replaced()),
        )
        .await?;
    drop(crowd);
    assert!(limit("1024".to_owned())?.success());
    let after = daemon
        .until("stay", "running again", |d| {
            d["status"] == "running" && !pids(d).is_empty() && pids(d) != pids(&before)
        })
        .await?;
    let (was, is) = (
        &before["tasks"][0]["allocations"][0]["id"],
        &after["tasks"][0]["allocations"][0]["id"],
    );
    assert_eq!(was, is, "the same place, the same allocation: {after:#}");
    let reasons = daemon.reasons("/v1/deployments/stay/events").await?;
    // That it was killed may count; that it could not be started for a while does not.
    for bad in ["AllocationReplaced", "DestroyFailed", "CircuitOpened"] {
        assert!(!reasons.iter().any(|r| r == bad), "{reasons:?}");
    }
    let offers = daemon.get("/v1/offers").await?.to_string();
    assert!(!offers.contains("\"memory\":0,"), "{offers}");
    daemon.stop()?;
    Ok(())
}
