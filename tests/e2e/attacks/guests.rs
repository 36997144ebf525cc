//! Components that are made to cost: they are refused before they are compiled, or ended when they have cost what they may.

use std::{fs::File, os::unix::fs::OpenOptionsExt, process::Command};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tradewind_kit::{Daemon, PATIENCE, client, component, eventually};

/// As Linux numbers it.
const O_NONBLOCK: i32 = 0o4000;

fn number(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        bytes.push(if n == 0 { low } else { low | 0x80 });
        if n == 0 {
            return bytes;
        }
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &number(content.len()), content].concat()
}

/// A function with loops within one another, so many times, each of which uses locals of the others: what compiling it costs grows with the
/// square of its loops.
fn loops(times: usize, depth: usize) -> Vec<u8> {
    let mut nest = Vec::new();
    for i in 0..depth {
        nest.extend(
            [
                &[0x03, 0x40, 0x20][..],
                &number(i % 500),
                &[0x41, 1, 0x6a, 0x21],
                &number((i * 3 + 1) % 500),
            ]
            .concat(),
        );
    }
    for i in 0..depth {
        nest.extend([&[0x20][..], &number(i * 5 % 500), &[0x0d, 0, 0x0b]].concat());
    }
    let body = [
        &[1][..],
        &number(500),
        &[0x7f],
        &nest.repeat(times),
        &[0x20, 1, 0x0b],
    ]
    .concat();
    [number(body.len()), body].concat()
}

/// A core module of so many functions with so many loops within one another.
fn bomb(functions: usize, depth: usize) -> Vec<u8> {
    of(functions, &loops(1, depth))
}

fn of(functions: usize, function: &[u8]) -> Vec<u8> {
    let types = section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]);
    let declared = section(3, &[number(functions), vec![0; functions]].concat());
    let code = section(
        10,
        &[number(functions), function.repeat(functions)].concat(),
    );
    module(&[types, declared, code])
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

/// A component that is nothing but this core module, so many times instantiated.
fn alone(module: &[u8], instances: usize) -> Vec<u8> {
    let instances = section(
        2,
        &[number(instances), [0, 0, 0].repeat(instances)].concat(),
    );
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, module), instances].concat()
}

/// A policy that does what it should, with this core module in it, which is compiled with it.
fn policy_with(module: &[u8]) -> Result<Vec<u8>> {
    Ok([std::fs::read(component("weighted"))?, section(1, module)].concat())
}

/// A policy within all bounds that takes long to compile.
fn slow() -> Result<Vec<u8>> {
    policy_with(&bomb(1_500, 99))
}

/// A policy with another settings schema.
fn policy_with_schema(schema: &str) -> Result<Vec<u8>> {
    let mut bytes = std::fs::read(component("weighted"))?;
    let marker = b"{\n  \"$schema\": \"https://json-schema.org";
    let start = bytes
        .windows(marker.len())
        .position(|w| w == marker)
        .context("no schema")?;
    let mut own = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<Value>();
    own.next().context("no schema")??;
    let end = start + own.byte_offset();
    ensure!(
        schema.len() <= end - start,
        "the schema is shorter than the other one"
    );
    bytes[start..end].fill(b' ');
    bytes[start..start + schema.len()].copy_from_slice(schema.as_bytes());
    Ok(bytes)
}

fn daemon(settings: &str) -> Result<Daemon> {
    Daemon::configured(&["cheapest"], &[], settings)
}

async fn upload(
    daemon: &Daemon,
    http: &Client,
    name: &str,
    component: &[u8],
    settings: &str,
) -> Result<Response> {
    let body = json!({"name": name, "component": STANDARD.encode(component), "settings": settings});
    Ok(http
        .post(daemon.url("/v1/shadows?namespace=default"))
        .json(&body)
        .send()
        .await?)
}

/// The refusal of an upload. It comes before the component has cost what it is made to cost: that would be hours.
async fn refusal(daemon: &Daemon, component: &[u8], settings: &str) -> Result<String> {
    let refused = upload(daemon, &daemon.http, "evil", component, settings);
    let refused = tokio::time::timeout(PATIENCE, refused).await;
    let refused = refused.context("it is not refused")??;
    let status = refused.status();
    let text = refused.text().await?;
    ensure!(
        status == StatusCode::UNPROCESSABLE_ENTITY,
        "{status}: {text}"
    );
    Ok(text)
}

/// The daemon's processes that compile.
fn compilers(daemon: &Daemon) -> Result<Vec<u32>> {
    let own = daemon.pid().context("no daemon")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.parse().ok())
        else {
            continue;
        };
        // One that has ended meanwhile is none.
        let read = |what: &str| std::fs::read_to_string(path.join(what)).unwrap_or_default();
        if read("cmdline").contains("compile-component")
            && read("status").contains(&format!("\nPPid:\t{own}\n"))
        {
            found.push(pid);
        }
    }
    Ok(found)
}

fn left_in_workshops(daemon: &Daemon) -> usize {
    std::fs::read_dir(daemon.data().join("cache/making")).map_or(0, Iterator::count)
}

/// The most memory that the daemon has had, in MiB.
fn peak(daemon: &Daemon) -> Result<u64> {
    let status = std::fs::read_to_string(format!(
        "/proc/{}/status",
        daemon.pid().context("no daemon")?
    ))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no peak")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

async fn token(daemon: &Daemon, name: &str, role: &str) -> Result<Client> {
    let request = json!({"name": name, "role": role, "namespaces": ["default"]});
    let made = daemon
        .http
        .post(daemon.url("/v1/tokens"))
        .json(&request)
        .send()
        .await?
        .error_for_status()?;
    client(made.json::<Value>().await?["secret"].as_str())
}

#[tokio::test]
async fn a_component_that_is_too_large_in_one_way_is_refused_before_it_is_compiled() -> Result<()> {
    let daemon = daemon("")?;
    let before = peak(&daemon)?;
    let none = module(&[]);
    let memory = |flags: u8| module(&[section(5, &[1, flags, 1])]);
    let table =
        |elements: usize| module(&[section(4, &[&[1, 0x70, 0][..], &number(elements)].concat())]);
    for (what, bytes, message) in [
        ("loops", alone(&bomb(1, 1_000), 0), "compile.max-loops"),
        (
            "loops of a policy",
            policy_with(&bomb(1, 1_001))?,
            "compile.max-loops",
        ),
        (
            "no plugin",
            alone(&bomb(400, 99), 0),
            "it is no plugin of contract",
        ),
        (
            "functions",
            alone(&bomb(60_000, 0), 0),
            "compile.max-functions",
        ),
        (
            "64-bit memory",
            policy_with(&memory(4))?,
            "64-bit addresses",
        ),
        (
            "a table",
            policy_with(&table(9_000_000))?,
            "9000000 elements in one table",
        ),
        ("instances", alone(&none, 900), "compile.max-instances"),
    ] {
        let text = refusal(&daemon, &bytes, "").await?;
        assert!(text.contains(message), "{what}: {text}");
    }
    let grown = peak(&daemon)? - before;
    assert!(grown < 100, "the daemon has grown by {grown} MiB");

    let file = daemon.folder.path().join("bomb.wasm");
    std::fs::write(&file, alone(&bomb(1, 1_002), 0))?;
    let inspected = daemon.cli(&["plugin", "inspect", &file.to_string_lossy()])?;
    let said = String::from_utf8_lossy(&inspected.stderr);
    assert!(
        !inspected.status.success() && said.contains("compile.max-loops"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn what_takes_more_than_it_may_to_compile_is_ended() -> Result<()> {
    let slow = slow()?;
    let greedy = policy_with(&of(1, &loops(90, 99)))?;
    for (settings, component, message) in [
        ("[compile]\ndeadline = \"1s\"\n", &slow, "compile.deadline"),
        (
            "[compile]\nprocessor = \"1s\"\n",
            &slow,
            "compile.processor",
        ),
        ("[compile]\nmemory = \"128Mi\"\n", &greedy, "compile.memory"),
    ] {
        let daemon = daemon(settings)?;
        let before = peak(&daemon)?;
        let text = refusal(&daemon, component, "").await?;
        assert!(text.contains(message), "{text}");
        assert_eq!(compilers(&daemon)?, Vec::<u32>::new());
        let grown = peak(&daemon)? - before;
        assert!(grown < 100, "the daemon has grown by {grown} MiB");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_compiler_along_and_has_one_at_a_time() -> Result<()> {
    let daemon = daemon("")?;
    let component = slow()?;
    let own = token(&daemon, "own", "admin").await?;
    {
        let waits = upload(&daemon, &own, "slow", &component, "");
        tokio::pin!(waits);
        tokio::select! {
            seen = eventually("it compiles", async || Ok(!compilers(&daemon)?.is_empty())) => seen?,
            answer = &mut waits => anyhow::bail!("it is answered: {:?}", answer?.text().await?),
        }
        tokio::select! {
            second = upload(&daemon, &own, "second", &component, "") => {
                let second = second?;
                assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS, "{}", second.text().await?);
            }
            answer = &mut waits => anyhow::bail!("it is answered: {:?}", answer?.text().await?),
        }
        // Another token is not kept waiting by it.
        let quick = std::fs::read(tradewind_kit::component("fastest"))?;
        tokio::select! {
            other = upload(&daemon, &daemon.http, "quick", &quick, "") => assert_eq!(other?.status(), StatusCode::CREATED),
            answer = &mut waits => anyhow::bail!("it is answered: {:?}", answer?.text().await?),
        }
        assert_eq!(compilers(&daemon)?.len(), 1);
    }
    daemon
        .eventually("its compiler is gone", async || {
            Ok(compilers(&daemon)?.is_empty())
        })
        .await?;
    daemon
        .eventually("what it has made is gone", async || {
            Ok(left_in_workshops(&daemon) == 0)
        })
        .await
}

#[tokio::test]
async fn a_compiler_ends_with_a_daemon_that_is_killed() -> Result<()> {
    let mut daemon = daemon("")?;
    let body = json!({"name": "slow", "component": STANDARD.encode(slow()?)});
    let waits = tokio::spawn(
        daemon
            .http
            .post(daemon.url("/v1/shadows?namespace=default"))
            .json(&body)
            .send(),
    );
    let mut compiler = 0;
    daemon
        .eventually("it compiles", async || {
            compiler = compilers(&daemon)?.first().copied().unwrap_or_default();
            Ok(compiler != 0)
        })
        .await?;
    assert!(!waits.is_finished());
    daemon.kill()?;
    // Whoever waits for it may be slow to do so: one that has ended has no command any more.
    let command = format!("/proc/{compiler}/cmdline");
    daemon
        .eventually("it has ended", async || {
            Ok(std::fs::read(&command).map_or(true, |command| command.is_empty()))
        })
        .await
}

#[tokio::test]
async fn a_settings_schema_that_doubles_its_work_is_ended() -> Result<()> {
    // Of processor time: what else the machine does counts for none.
    let mut daemon = daemon("[compile]\nprocessor = \"2s\"\n")?;
    let component =
        policy_with_schema(r##"{"additionalProperties":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}"##)?;
    let deep = format!("[settings]\n{} = {{}}\n", vec!["a"; 50].join("."));
    let text = refusal(&daemon, &component, &deep).await?;
    assert!(
        text.contains(
            "comparing its settings with its schema took more processor time than the setting"
        ),
        "{text}"
    );
    assert_eq!(compilers(&daemon)?, Vec::<u32>::new());
    daemon.stop()
}

/// The daemon reads its certificate once a second: here from a pipe that nobody writes to, so that the thread that reads never ends.
#[tokio::test]
async fn a_thread_that_never_ends_does_not_keep_the_daemon() -> Result<()> {
    let mut daemon = daemon("[tls]\nself-signed = true\n")?;
    let certificate = daemon.data().join("tls/certificate.pem");
    ensure!(
        certificate.exists(),
        "no certificate at {}",
        certificate.display()
    );
    let pipe = daemon.folder.path().join("pipe");
    ensure!(
        Command::new("mkfifo").arg(&pipe).status()?.success(),
        "mkfifo"
    );
    std::fs::rename(&pipe, &certificate)?;
    // It can be opened for writing as soon as somebody reads.
    let write = File::options()
        .write(true)
        .custom_flags(O_NONBLOCK)
        .to_owned();
    let mut held = None;
    daemon
        .eventually("the daemon reads the pipe", async || {
            held = write.open(&certificate).ok();
            Ok(held.is_some())
        })
        .await?;
    daemon.stop()?;
    // The next start makes others.
    std::fs::remove_dir_all(daemon.data().join("tls"))?;
    Ok(())
}

#[tokio::test]
async fn operators_send_no_components_unless_they_are_let() -> Result<()> {
    let component = std::fs::read(component("weighted"))?;
    let strict = daemon("")?;
    let operator = token(&strict, "op", "operator").await?;
    let refused = upload(&strict, &operator, "mine", &component, "").await?;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let problem: Value = refused.json().await?;
    assert!(
        problem["remedy"]
            .as_str()
            .is_some_and(|r| r.contains("api.uploads = \"operator\"")),
        "{problem:#}"
    );
    // It is the component that it may not bring: without one it is asked for a decision that there is.
    for (body, status) in [
        (component.clone(), StatusCode::FORBIDDEN),
        (Vec::new(), StatusCode::NOT_FOUND),
    ] {
        let url = strict.url("/v1/decisions/d-absent/replay");
        let sent = operator
            .post(url)
            .header("content-type", "application/wasm")
            .body(body)
            .send()
            .await?;
        assert_eq!(sent.status(), status, "{}", sent.text().await?);
    }

    let open = daemon("[api]\nuploads = \"operator\"\n")?;
    let operator = token(&open, "op", "operator").await?;
    let taken = upload(&open, &operator, "mine", &component, "").await?;
    assert_eq!(
        taken.status(),
        StatusCode::CREATED,
        "{}",
        taken.text().await?
    );
    Ok(())
}

#[tokio::test]
async fn a_bomb_in_the_plugin_folder_keeps_nobody_from_serving() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plugins = folder.path().join("plugins");
    std::fs::create_dir_all(&plugins)?;
    std::fs::create_dir_all(folder.path().join("data"))?;
    std::fs::copy(component("cheapest"), plugins.join("cheapest.wasm"))?;
    std::fs::write(plugins.join("loops.wasm"), alone(&bomb(1, 1_003), 0))?;
    std::fs::write(plugins.join("slow.wasm"), slow()?)?;
    std::fs::write(
        folder.path().join("config.toml"),
        "[compile]\nprocessor = \"4s\"\n",
    )?;
    let daemon = Daemon::on(folder)?;
    assert_eq!(daemon.get("/v1/plugins/cheapest").await?["state"], "active");
    for (name, reason) in [
        ("loops", "compile.max-loops"),
        ("slow", "compile.processor"),
    ] {
        daemon
            .until_at(&format!("/v1/plugins/{name}"), reason, |plugin| {
                plugin.to_string().contains(reason)
            })
            .await?;
    }
    assert_eq!(compilers(&daemon)?, Vec::<u32>::new());
    daemon
        .eventually("what was made is gone", async || {
            Ok(left_in_workshops(&daemon) == 0)
        })
        .await
}
