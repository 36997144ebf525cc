//! An operator who may run one harmless program, or any program, tries to become the daemon: by variables, files, links, health commands and
//! what the kernel tells of other processes. Each attack is seen to work up to the barrier, or it would prove nothing.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tradewind_kit::{Daemon, Signal, pids, signal_group, target, when};

/// An instance of `process` with these programs and more lines of its grant.
fn granted(commands: &str, more: &str) -> String {
    format!("component = \"process.wasm\"\n[grants.process]\ncommands = [{commands}]\n{more}\n")
}

fn deployment(name: &str, spec: Value) -> String {
    let head = json!({"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": name}, "spec": spec});
    // YAML takes this character escaped alone.
    head.to_string().replace('\u{7f}', "\\u007f")
}

fn job(name: &str, script: &str) -> String {
    deployment(
        name,
        json!({"jobs": {"j": {"command": ["sh", "-c", script]}}}),
    )
}

/// A folder that is not one for temporary files.
fn elsewhere() -> Result<TempDir> {
    fs::create_dir_all(target())?;
    Ok(tempfile::Builder::new()
        .prefix("attack-")
        .tempdir_in(target().canonicalize()?)?)
}

fn executable(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Waits until a job has ended, and answers its output.
async fn output(daemon: &Daemon, name: &str) -> Result<String> {
    daemon
        .until(name, "ended", |d| {
            d["status"] == "completed" || d["status"] == "failed"
        })
        .await?;
    daemon.run(&["logs", name])
}

/// Waits until a deployment says why it does not run.
async fn refused(daemon: &Daemon, name: &str, words: &[&str]) -> Result<()> {
    let seen = daemon
        .until(name, "refused", |d| {
            words.iter().all(|word| d.to_string().contains(word))
        })
        .await?;
    ensure!(
        pids(&seen).iter().all(String::is_empty) && seen["status"] != "running",
        "it runs: {seen:#}"
    );
    Ok(())
}

/// A shared object for x86-64 in which every byte is ASCII, so that it fits a manifest's `content`: its initialiser runs the file `x`.
fn object() -> Result<String> {
    let mut bytes = vec![0u8; 0x300];
    let mut put = |at: usize, part: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
    };
    let words = |all: &[u64]| {
        all.iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[3, 0, 62, 0, 1, 0, 0, 0]);
    put(32, &words(&[64]));
    put(52, &[64, 0, 56, 0, 2, 0]);
    // One segment with everything, writable and executable, and the dynamic section.
    put(64, &[1, 0, 0, 0, 7, 0, 0, 0]);
    put(72, &words(&[0, 0, 0, 0x300, 0x300, 0x1000]));
    put(120, &[2, 0, 0, 0, 6, 0, 0, 0]);
    put(128, &words(&[256, 256, 256, 112, 112, 8]));
    put(
        256,
        &words(&[12, 0x200, 5, 0x240, 6, 0x250, 10, 1, 11, 24, 4, 0x270, 0, 0]),
    );
    // push 0; push "x"; mov rdi, rsp; rsi = rdx = 0; execve
    put(
        0x200,
        b"\x6a\x00\x68\x78\x00\x00\x00\x54\x5f\x6a\x00\x5e\x6a\x00\x5a\x6a\x3b\x58\x0f\x05",
    );
    put(0x270, &[1, 0, 0, 0, 1, 0, 0, 0]);
    Ok(String::from_utf8(bytes)?)
}

fn preload(name: &str) -> Result<String> {
    let script = "#!/bin/sh\n/usr/bin/id; /bin/cat ../../../../../admin.token; /bin/cat ../process.jsonl; exec /bin/sleep 100\n";
    let files = json!([{"path": "a.so", "content": object()?, "mode": "755"}, {"path": "x", "content": script, "mode": "755"}]);
    let service =
        json!({"command": ["sleep", "1000"], "env": {"LD_PRELOAD": "./a.so"}, "files": files});
    Ok(deployment(name, json!({"services": {"w": service}})))
}

#[tokio::test]
async fn a_variable_makes_no_granted_program_run_another() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "process"],
        &[("local", &granted("\"sleep\", \"bash\"", ""))],
    )?;
    daemon.put("preload", &preload("preload")?).await?;
    refused(&daemon, "preload", &["LD_PRELOAD", "environment = ["]).await?;
    for (name, variable) in [
        ("start", "BASH_ENV"),
        ("path", "PATH"),
        ("python", "PYTHONSTARTUP"),
        ("java", "JDK_JAVA_OPTIONS"),
    ] {
        let files = json!([{"path": "x", "content": "echo got in", "mode": "755"}]);
        let service = json!({"command": ["bash", "-c", "true"], "env": {"PLAIN": "1", variable: "./x"}, "files": files});
        daemon
            .put(name, &deployment(name, json!({"services": {"w": service}})))
            .await?;
        refused(&daemon, name, &[variable, "environment = [", "PLAIN"]).await?;
    }
    // What changes nothing about the program passes.
    daemon
        .put("plain", &deployment("plain", json!({"jobs": {"j": {"command": ["bash", "-c", "echo $PLAIN"], "env": {"PLAIN": "yes"}}}})))
        .await?;
    ensure!(output(&daemon, "plain").await?.contains("yes"));
    Ok(())
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn code_that_is_let_in_does_not_reach_the_daemons_files() -> Result<()> {
    // The operator of the machine has let the variable in: the object is loaded, and by the granted program alone.
    let grant = granted("\"sleep\"", "environment = [\"LD_PRELOAD\"]");
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", &grant)])?;
    daemon.put("preload", &preload("preload")?).await?;
    daemon.running("preload").await?;
    let what = "the object is loaded, and its reads are denied";
    let seen = daemon.eventually(what, async || {
        let seen = daemon.run(&["logs", "preload"])?;
        let denied = seen.contains("uid=") && seen.matches("enied").count() >= 2;
        Ok(when(denied, seen))
    });
    let seen = seen.await?;
    ensure!(
        !seen.contains(&daemon.admin_token()?) && !seen.contains("\"prepared\""),
        "{seen}"
    );
    ensure!(
        seen.matches("uid=").count() == 1,
        "the wrapper has loaded it as well: {seen}"
    );
    Ok(())
}

#[tokio::test]
async fn any_program_is_kept_from_what_is_the_daemons() -> Result<()> {
    let daemon = Daemon::local()?;
    fs::create_dir_all(daemon.data().join("secrets"))?;
    fs::write(daemon.data().join("secrets/key"), "S3cr3t-value")?;
    let token = daemon.admin_token()?;
    let (data, plugins, shared) = (daemon.data(), daemon.plugins(), daemon.shared());
    let (data, plugins, shared) = (data.display(), plugins.display(), shared.display());
    let script = format!(
        "cat {data}/admin.token ../../../../../admin.token {data}/secrets/key {plugins}/local.toml {data}/state.db {data}/../config.toml; \
         ls {data} {plugins}; echo x >{plugins}/evil.toml; cp /bin/sh {plugins}/evil.wasm; ln {data}/admin.token {shared}/linked; \
         mv {data}/admin.token {shared}/moved; rm -f {data}/admin.token; ln -s {data}/admin.token {shared}/way; cat {shared}/way; \
         cat /proc/*/root{data}/admin.token; for f in /proc/[0-9]*/cwd/admin.token; do cat $f; done; \
         echo mine >own; cat own; echo it was tried"
    );
    daemon.put("thief", &job("thief", &script)).await?;
    let seen = output(&daemon, "thief").await?;
    ensure!(
        seen.contains("it was tried") && seen.contains("mine"),
        "its own folder serves: {seen}"
    );
    for secret in [
        token.as_str(),
        "S3cr3t-value",
        "commands = ",
        "SQLite format",
        "state.db\n",
    ] {
        ensure!(!seen.contains(secret), "it has read \"{secret}\": {seen}");
    }
    ensure!(daemon.admin_token()? == token && !daemon.plugins().join("evil.toml").exists());
    ensure!(!daemon.shared().join("linked").exists() && !daemon.shared().join("moved").exists());

    // The same by a health command.
    let check = format!("cat {data}/admin.token >>{shared}/leak; echo checked >>{shared}/checked");
    let service = json!({"command": ["sleep", "600"], "health": {"command": ["sh", "-c", check], "interval": "200ms"}});
    daemon
        .put(
            "checked",
            &deployment("checked", json!({"services": {"w": service}})),
        )
        .await?;
    daemon.running("checked").await?;
    ensure!(fs::read_to_string(daemon.shared().join("checked"))?.contains("checked"));
    ensure!(
        fs::read_to_string(daemon.shared().join("leak"))
            .unwrap_or_default()
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn nobody_reads_the_environment_of_others_or_signals_them() -> Result<()> {
    let daemon = Daemon::local()?;
    let service = json!({"command": ["sleep", "600"], "env": {"TOKEN": "S3cr3t-of-the-shop"}});
    daemon
        .put(
            "victim",
            &deployment("victim", json!({"services": {"w": service}})),
        )
        .await?;
    let victim = daemon.running("victim").await?;
    let pid = pids(&victim).first().cloned().context("no process")?;
    ensure!(
        fs::read_to_string(format!("/proc/{pid}/environ"))?.contains("S3cr3t-of-the-shop"),
        "the secret is there to be read"
    );
    let own = daemon.pid().context("no daemon")?;
    // By the pages of the process too, and a signal to it and to the daemon.
    let script = format!(
        "for p in {pid} {own}; do cat /proc/$p/environ /proc/$p/auxv; ls -l /proc/$p/fd/; head -c 1 /proc/$p/mem; kill -STOP $p && echo hit; done; \
         cat /proc/[0-9]*/environ; echo it was tried"
    );
    let spec = json!({"jobs": {"j": {"command": ["sh", "-c", script]}}});
    let manifest = json!({"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": "spy", "namespace": "team"}, "spec": spec});
    let stored = daemon.file("spy.json", &manifest.to_string())?;
    let _ = daemon.cli(&["-n", "team", "apply", "-f", &stored])?;
    let seen = daemon.run(&["-n", "team", "logs", "spy"])?;
    ensure!(seen.contains("it was tried"), "{seen}");
    ensure!(
        !seen.contains("S3cr3t-of-the-shop"),
        "it has read the environment: {seen}"
    );
    // Where the kernel keeps signals to those that were started together.
    ensure!(
        !signals_are_kept() || !seen.contains("hit"),
        "it has signalled others: {seen}"
    );
    Ok(())
}

/// Whether this kernel is Linux 6.12 or newer.
fn signals_are_kept() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(12))
}

#[tokio::test]
async fn a_link_leads_to_no_program_that_is_not_granted() -> Result<()> {
    let folder = elsewhere()?;
    let at = |name: &str| folder.path().join(name);
    executable(&at("good"), "#!/bin/sh\necho good runs\n")?;
    symlink("/bin/sh", at("link"))?;
    symlink(at("good"), at("alias"))?;
    let grant = granted(&format!("\"{}/*\"", folder.path().display()), "");
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", &grant)])?;
    let of = |name: &str, program: &Path| {
        deployment(
            name,
            json!({"jobs": {"j": {"command": [program, "-c", "echo got in"]}}}),
        )
    };
    daemon.put("link", &of("link", &at("link"))).await?;
    refused(
        &daemon,
        "link",
        &["is a link to", "commands in [grants.process]"],
    )
    .await?;
    for name in ["good", "alias"] {
        daemon.put(name, &of(name, &at(name))).await?;
        ensure!(output(&daemon, name).await?.contains("good runs"));
    }
    // The same as a health command.
    let service =
        json!({"command": [at("good")], "health": {"command": [at("link"), "-c", "true"]}});
    daemon
        .put(
            "health",
            &deployment("health", json!({"services": {"w": service}})),
        )
        .await?;
    refused(&daemon, "health", &["is a link to", "health"]).await
}

#[tokio::test]
async fn what_one_workload_writes_is_no_granted_program_of_another() -> Result<()> {
    let folder = elsewhere()?;
    let shown = folder.path().display();
    let directories = format!("directories = [\"{shown}\"]");
    let overlapping = granted(&format!("\"{shown}/*\""), &directories);
    // A folder by another name, and one for temporary files: what the text alone does not show.
    let other = elsewhere()?;
    symlink(folder.path(), other.path().join("bin"))?;
    let hidden = granted(
        &format!("\"{}/bin/*\", \"/tmp/*\"", other.path().display()),
        &directories,
    );
    let daemon = Daemon::start(
        &["cheapest", "process"],
        &[("local", &hidden), ("overlap", &overlapping)],
    )?;
    let view = daemon.get("/v1/plugins/overlap").await?;
    let reason = view["lastRejection"]["reason"].to_string();
    ensure!(
        reason.contains("grants.process.directories") && reason.contains(&shown.to_string()),
        "{view:#}"
    );

    executable(&folder.path().join("evil"), "#!/bin/sh\necho got in\n")?;
    let temporary = tempfile::Builder::new()
        .prefix("evil-")
        .tempfile_in("/tmp")?;
    executable(temporary.path(), "#!/bin/sh\necho got in\n")?;
    for (name, program) in [
        ("linked", other.path().join("bin/evil")),
        ("temporary", temporary.path().to_owned()),
    ] {
        daemon
            .put(
                name,
                &deployment(name, json!({"jobs": {"j": {"command": [program]}}})),
            )
            .await?;
        refused(&daemon, name, &["lies in a folder that workloads write to"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn processes_of_a_user_of_their_own_keep_their_folder_and_reach_no_other() -> Result<()> {
    let root = fs::metadata("/proc/self")?.uid() == 0;
    // Without Landlock, so that the user alone is what keeps them apart.
    let fixed = granted("\"*\"", "user = \"65534\"\nunconfined = true");
    let each = granted(
        "\"*\"",
        "users = {from = 231000, to = 231001}\nunconfined = true",
    );
    let mut daemon = Daemon::start(
        &["cheapest", "process"],
        &[("fixed", &fixed), ("each", &each)],
    )?;
    fs::set_permissions(daemon.folder.path(), fs::Permissions::from_mode(0o711))?;
    fs::create_dir_all(daemon.data().join("secrets"))?;
    fs::write(daemon.data().join("secrets/key"), "S3cr3t-value")?;
    let data = daemon.data().display().to_string();
    let placed = |provider: &str, mut service: Value| {
        service["placement"] = json!({"providers": [provider]});
        service
    };
    let script = format!(
        "id -u; id -G; cat conf/greeting; echo mine >own; cat own; cat {data}/admin.token {data}/secrets/key; ls {data}; echo to my output >>/dev/stdout; \
         kill -0 1 && echo hit; echo it was tried"
    );
    let files = json!([{"path": "conf/greeting", "content": "hello\n", "mode": "600"}]);
    let spec = json!({"jobs": {"j": placed("fixed", json!({"command": ["sh", "-c", script], "files": files}))}});
    daemon.put("fixed", &deployment("fixed", spec)).await?;
    if !root {
        return refused(&daemon, "fixed", &["not root", "[grants.process]"]).await;
    }
    let seen = output(&daemon, "fixed").await?;
    for word in ["65534", "hello", "mine", "to my output", "it was tried"] {
        ensure!(seen.contains(word), "\"{word}\": {seen}");
    }
    ensure!(
        !seen.contains(&daemon.admin_token()?)
            && !seen.contains("S3cr3t-value")
            && !seen.contains("state.db")
            && !seen.contains("hit"),
        "{seen}"
    );

    // Two replicas are two users, and stay what they are when they start again.
    let check =
        json!({"command": ["sh", "-c", "id -u >checked; test -f own"], "interval": "200ms"});
    let command = json!(["sh", "-c", "id -u >>own; exec sleep 600"]);
    let spec = json!({"services": {"w": placed("each", json!({"command": command, "replicas": 2, "health": check}))}});
    daemon.put("each", &deployment("each", spec)).await?;
    let running = daemon.running("each").await?;
    let user = |pid: &String| fs::metadata(format!("/proc/{pid}")).map(|m| m.uid());
    let mut users = pids(&running)
        .iter()
        .map(user)
        .collect::<std::io::Result<Vec<_>>>()?;
    users.sort_unstable();
    ensure!(users == [231_000, 231_001], "{users:?}");
    daemon.stop()?;
    daemon.launch()?;
    let before = pids(&running);
    for pid in &before {
        signal_group(pid, Signal::KILL)?;
    }
    let fresh = |d: &Value| {
        d["status"] == "running"
            && pids(d).len() == 2
            && pids(d)
                .iter()
                .all(|pid| !pid.is_empty() && !before.contains(pid))
    };
    let again = daemon.until("each", "started again", fresh).await?;
    let mut after = pids(&again)
        .iter()
        .map(user)
        .collect::<std::io::Result<Vec<_>>>()?;
    after.sort_unstable();
    ensure!(after == users, "{after:?}");
    // A third one finds none left.
    let scaled = daemon
        .http
        .post(daemon.url("/v1/deployments/each/scale"))
        .json(&json!({"task": "w", "replicas": 3}))
        .send()
        .await?;
    ensure!(scaled.status().is_success(), "{}", scaled.text().await?);
    daemon
        .until("each", "told", |d| {
            d.to_string().contains("231000 to 231001")
        })
        .await?;
    Ok(())
}
