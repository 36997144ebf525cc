//! Sessions with replicas, as people have them: commands, terminals, ports, files. On processes and on a real engine.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{
    Daemon, LOCAL, binary,
    cluster::Cluster,
    eventually_blocking,
    podman::{IMAGE, Podman},
    web,
};

use crate::output::Following;

/// `PATH` as tests have it, so that the command finds what it runs.
fn command(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("--data")
        .arg(daemon.data())
        .args(arguments)
        .env_remove("TRADEWIND_TOKEN")
        .env_remove("TRADEWIND_SERVER")
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it with this input: its code, output and errors.
fn with_input(
    daemon: &Daemon,
    arguments: &[&str],
    input: &[u8],
) -> Result<(Option<i32>, Vec<u8>, String)> {
    let mut child = command(daemon, arguments).spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    Ok((
        output.status.code(),
        output.stdout,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

/// A service of one replica that waits, with a variable of its own.
fn waiting(name: &str, further: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  services:\n    w: {{command: [sleep, \"1000\"], \
         env: {{COLOR: teal}}, resources: {{cpu: 10m, memory: 64Mi}}{further}}}\n"
    )
}

#[tokio::test]
async fn a_command_runs_as_its_replica_does_and_ends_with_its_own_code() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("w", &waiting("w", "")).await?;
    daemon.running("w").await?;
    let script = "echo out $COLOR; echo err >&2; pwd; exit 7";
    let (code, out, err) = with_input(&daemon, &["exec", "w", "--", "sh", "-c", script], b"")?;
    let out = String::from_utf8(out)?;
    assert_eq!((code, err.as_str()), (Some(7), "err\n"), "{out}");
    assert!(out.starts_with("out teal\n"), "{out}");
    assert!(out.contains("/processes/"), "in its folder: {out}");

    // More than any buffer, both ways, byte for byte.
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let (code, back, err) = with_input(&daemon, &["exec", "w", "-i", "--", "cat"], &noise)?;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(back == noise, "{} bytes came back", back.len());

    // Without -i nothing is read, so that a loop of a shell keeps its input.
    let (code, out, _) = with_input(&daemon, &["exec", "w", "--", "cat"], b"mine")?;
    assert_eq!((code, out.as_slice()), (Some(0), &b""[..]));

    // What a command leaves goes with it, and so does one whose client has gone.
    let (_, out, _) = with_input(
        &daemon,
        &["exec", "w", "--", "sh", "-c", "sleep 998 & echo $!"],
        b"",
    )?;
    gone(String::from_utf8(out)?.trim())?;
    let mut held = command(
        &daemon,
        &["exec", "w", "--", "sh", "-c", "echo $$; sleep 997"],
    )
    .spawn()?;
    let mut first = [0; 16];
    let read = held
        .stdout
        .as_mut()
        .context("no output")?
        .read(&mut first)?;
    let pid = String::from_utf8_lossy(&first[..read]).trim().to_owned();
    held.kill()?;
    held.wait()?;
    gone(&pid)?;

    // Both the event and the audit log tell who ran what.
    let event = daemon
        .event("SessionOpened", |e| {
            e["message"]
                .as_str()
                .is_some_and(|m| m.contains("sleep 997"))
        })
        .await?;
    assert_eq!(event["actor"], "token:admin", "{event:#}");
    let audit = daemon.run(&["audit", "show", "-o", "json"])?;
    assert!(audit.contains("sleep 997"), "{audit}");
    Ok(())
}

fn gone(pid: &str) -> Result<()> {
    ensure!(!pid.is_empty(), "no process id");
    let at = format!("/proc/{pid}");
    eventually_blocking("the process has gone", || {
        Ok((!std::path::Path::new(&at).exists()).then_some(()))
    })
}

#[tokio::test]
async fn a_terminal_has_a_size_and_its_keys() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("w", &waiting("w", "")).await?;
    daemon.running("w").await?;
    // `script` is the terminal that a person sits at.
    let line = format!(
        "stty rows 31 cols 97; '{}' --data '{}' exec w -- sh",
        binary().display(),
        daemon.data().display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env_remove("TRADEWIND_TOKEN")
        .env_remove("TRADEWIND_SERVER")
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut keys = child.stdin.take().context("no input")?;
    keys.write_all(b"stty size; tty; sleep 996\n")?;
    let mut screen = child.stdout.take().context("no output")?;
    let mut seen = String::new();
    let mut read = |seen: &mut String, until: &dyn Fn(&str) -> bool| -> Result<()> {
        let mut buffer = [0; 1024];
        while !until(seen) {
            let read = screen.read(&mut buffer)?;
            ensure!(read > 0, "it ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        Ok(())
    };
    read(&mut seen, &|s| {
        s.contains("31 97") && s.contains("/dev/pts/")
    })?;
    // Ctrl-C goes to the command, not to this side.
    keys.write_all(b"\x03")?;
    keys.write_all(b"echo still $((40 + 2)); exit 5\n")?;
    read(&mut seen, &|s| s.contains("still 42"))?;
    drop(keys);
    let status = eventually_blocking("it ends", || Ok(child.try_wait()?))?;
    assert_eq!(status.code(), Some(5), "{seen}");
    Ok(())
}

#[tokio::test]
async fn who_may_not_and_what_is_not_there_is_told() -> Result<()> {
    let narrow = LOCAL.replace("[\"*\"]", "[\"sleep\"]") + "secrets = [\"db\"]\n";
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", &narrow)])?;
    daemon.put("w", &waiting("w", "")).await?;
    daemon.running("w").await?;
    // The grant holds for sessions as it does for manifests.
    let (code, _, err) = with_input(&daemon, &["exec", "w", "--", "sh", "-c", "id"], b"")?;
    assert_ne!(code, Some(0));
    assert!(
        err.contains("the program \"sh\" is not granted")
            && err.contains("add \"sh\" to commands in [grants.process]"),
        "{err}"
    );
    // Nor does an archive reach what the replica's folders do not hold.
    let (code, _, err) = with_input(&daemon, &["cp", "w:/etc/passwd", "-"], b"")?;
    assert_ne!(code, Some(0));
    assert!(err.contains("none of the replica's folders"), "{err}");
    // Nor the file of a secret, which no granted program prints.
    std::fs::create_dir_all(daemon.data().join("secrets/db"))?;
    std::fs::write(daemon.data().join("secrets/db/password"), "hush")?;
    let file = ", files: [{path: password, secret: {secret: db, key: password}}]";
    daemon.put("s", &waiting("s", file)).await?;
    daemon.running("s").await?;
    let (code, archive, err) = with_input(&daemon, &["cp", "s:.", "-"], b"")?;
    assert_ne!(code, Some(0));
    assert!(err.contains("has files of secrets"), "{err}");
    assert!(archive.is_empty());
    let (code, _, err) = with_input(
        &daemon,
        &["exec", "w", "--replica", "3", "--", "sleep"],
        b"",
    )?;
    assert_ne!(code, Some(0));
    assert!(err.contains("\"w\" has no replica 3"), "{err}");
    let (code, _, err) = with_input(&daemon, &["exec", "nobody", "--", "sleep"], b"")?;
    assert_eq!(code, Some(3), "{err}");
    let (_, _, err) = with_input(&daemon, &["port-forward", "w", "http"], b"")?;
    assert!(
        err.contains("the workload has no port \"http\": it declares none"),
        "{err}"
    );

    // A viewer looks, and does not touch.
    let token = daemon.run(&[
        "token", "create", "looker", "--role", "viewer", "-o", "json",
    ])?;
    let token: Value = serde_json::from_str(&token)?;
    let secret = token["secret"].as_str().context("no token")?;
    let file = daemon.file("looker", secret)?;
    let arguments = ["--token-file", &file, "exec", "w", "--", "sleep", "0"];
    let (code, _, err) = with_input(&daemon, &arguments, b"")?;
    assert_eq!(code, Some(8), "{err}");
    // Who speaks plain HTTP is told what this is.
    let answer = daemon
        .http
        .get(daemon.url("/v1/namespaces/default/deployments/w/exec"))
        .send()
        .await?;
    assert_eq!(answer.status().as_u16(), 426);
    assert_eq!(answer.headers()["upgrade"], "websocket");
    Ok(())
}

#[tokio::test]
async fn a_port_is_reached_from_here_and_goes_on_over_an_update() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("hello", &web("hello", 1, "first")).await?;
    daemon.running("hello").await?;
    let forward = Following::start(&daemon, &["port-forward", "hello", "0:http"])?;
    let told = forward.next()?;
    let at = told.split(' ').next().context("no address")?.to_owned();
    let ask = || -> Result<String> {
        let mut stream = TcpStream::connect(&at)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    assert!(ask()?.contains("hello, first"), "{told}");
    daemon.put("hello", &web("hello", 1, "second")).await?;
    daemon
        .until("hello", "changed", |d| {
            d["status"] == "running" && d["observedGeneration"] == 2
        })
        .await?;
    assert!(ask()?.contains("hello, second"));
    // One entry for one port, however many connections.
    let events = daemon.run(&["events", "hello", "--reason", "SessionOpened", "-o", "json"])?;
    let events: Value = serde_json::from_str(&events)?;
    let opened = events["items"].as_array().map_or(0, Vec::len);
    assert!((1..=2).contains(&opened), "{events:#}");
    drop(forward);
    Ok(())
}

#[tokio::test]
async fn files_go_there_and_come_back() -> Result<()> {
    let daemon = Daemon::local()?;
    // A variable of the manifest tells the machine's own programs nothing.
    let mark = daemon.shared().join("mark").display().to_string();
    let options = format!("--checkpoint=1 --checkpoint-action=exec=touch\\ {mark}");
    let manifest = waiting("w", "").replace("COLOR: teal", &format!("TAR_OPTIONS: '{options}'"));
    daemon.put("w", &manifest).await?;
    daemon.running("w").await?;
    there_and_back(&daemon, "w", "site")?;
    assert!(!std::path::Path::new(&mark).exists(), "tar ran a program");
    // A link in a replica's folder leads nowhere else.
    daemon.run(&["exec", "w", "--", "ln", "-s", "/etc", "out"])?;
    let (code, _, err) = with_input(&daemon, &["cp", "w:out/passwd", "-"], b"")?;
    assert_ne!(code, Some(0));
    assert!(err.contains("none of the replica's folders"), "{err}");
    let (code, archive, err) = with_input(&daemon, &["cp", "w:.", "-"], b"")?;
    assert_eq!(code, Some(0), "{err}");
    assert!(
        !archive.windows(5).any(|w| w == b"root:"),
        "links are not followed"
    );
    Ok(())
}

#[tokio::test]
async fn a_copy_stays_in_the_folders_of_its_namespace() -> Result<()> {
    // Not below a folder for temporary files, which everybody may read.
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("all/others"))?;
    std::fs::write(at("all/note"), "note")?;
    std::fs::write(at("all/others/secret"), "hush")?;
    let (all, others) = (
        at("all").display().to_string(),
        at("all/others").display().to_string(),
    );
    let grant = format!(
        "{LOCAL}directories = [\"{all}\", {{ name = \"{others}\", namespaces = [\"b\"] }}]\n"
    );
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", &grant)])?;
    daemon.put("w", &waiting("w", "")).await?;
    daemon.running("w").await?;
    let note = format!("w:{all}/note");
    let (code, archive, err) = with_input(&daemon, &["cp", &note, "-"], b"")?;
    assert_eq!(code, Some(0), "{err}");
    assert!(archive.windows(4).any(|w| w == b"note"));
    let secret = format!("w:{others}/secret");
    let (code, archive, err) = with_input(&daemon, &["cp", &secret, "-"], b"")?;
    assert_ne!(code, Some(0));
    assert!(err.contains("none of the replica's folders"), "{err}");
    assert!(archive.is_empty());
    // A folder around one of others can't be listed, by the replica neither: that is told.
    let here = tempfile::tempdir()?;
    let copy = here.path().join("copy").display().to_string();
    let (code, _, err) = with_input(&daemon, &["cp", &format!("w:{all}"), &copy], b"")?;
    assert_ne!(code, Some(0));
    assert!(err.contains("Permission denied"), "{err}");
    let (_, archive, _) = with_input(&daemon, &["cp", &format!("w:{all}"), "-"], b"")?;
    assert!(
        !archive.windows(4).any(|w| w == b"hush"),
        "with the folder around it"
    );
    Ok(())
}

/// A folder with odd names and bytes, into a folder of the replica and back.
fn there_and_back(daemon: &Daemon, name: &str, folder: &str) -> Result<()> {
    let here = tempfile::tempdir()?;
    let source = here.path().join("source");
    std::fs::create_dir_all(source.join("deep/er"))?;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(source.join("deep/er/bytes"), &bytes)?;
    std::fs::write(source.join("with spaces & ümläuts"), "x")?;
    std::fs::write(source.join("empty"), "")?;
    let source = source.display().to_string();
    daemon.run(&["cp", &source, &format!("{name}:{folder}")])?;
    let back = here.path().join("back").display().to_string();
    daemon.run(&["cp", &format!("{name}:{folder}"), &back])?;
    let back = here.path().join("back");
    assert!(std::fs::read(back.join("deep/er/bytes"))? == bytes);
    assert_eq!(
        std::fs::read_to_string(back.join("with spaces & ümläuts"))?,
        "x"
    );
    assert_eq!(std::fs::read_to_string(back.join("empty"))?, "");
    // One file, under another name, and into a folder that is there.
    daemon.run(&[
        "cp",
        &format!("{source}/empty"),
        &format!("{name}:{folder}/other"),
    ])?;
    let into = here.path().display().to_string();
    daemon.run(&["cp", &format!("{name}:{folder}/other"), &into])?;
    assert!(here.path().join("other").is_file());
    let missing = daemon.cli(&["cp", &format!("{name}:nothing"), &into])?;
    assert!(!missing.status.success());
    Ok(())
}

#[tokio::test]
async fn containers_have_sessions_too() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let daemon = Daemon::start(
        &["cheapest", "containers"],
        &[("box", &engine.instance("", ""))],
    )?;
    let manifest = format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: c}}\nspec:\n  services:\n    w:\n      image: {IMAGE}\n      \
         command: [sh, -c, 'mkdir -p /srv; echo page > /srv/index.html; exec httpd -f -p 8080 -h /srv']\n      env: {{COLOR: teal}}\n      \
         ports: {{http: {{protocol: http, port: 8080}}}}\n      health: {{tcp: true, interval: 200ms}}\n      \
         resources: {{cpu: 10m, memory: 32Mi}}\n      stop: {{signal: KILL, grace: 1s}}\n"
    );
    daemon.put("c", &manifest).await?;
    daemon.running("c").await?;
    let script = "echo out $COLOR; echo err >&2; cat; exit 7";
    let arguments = ["exec", "c", "-i", "--", "sh", "-c", script];
    let (code, out, err) = with_input(&daemon, &arguments, b"typed")?;
    assert_eq!(
        (code, String::from_utf8_lossy(&out).as_ref(), err.as_str()),
        (Some(7), "out teal\ntyped", "err\n")
    );
    there_and_back(&daemon, "c", "/srv/site")?;
    let forward = Following::start(&daemon, &["port-forward", "c", "0:8080"])?;
    let told = forward.next()?;
    let at = told.split(' ').next().context("no address")?;
    let mut stream = TcpStream::connect(at)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.contains("page"), "{answer}");
    // A command whose client has gone does not stay.
    let mut held = command(
        &daemon,
        &["exec", "c", "--", "sh", "-c", "echo begun; sleep 995"],
    )
    .spawn()?;
    let mut first = [0; 6];
    held.stdout
        .as_mut()
        .context("no output")?
        .read_exact(&mut first)?;
    held.kill()?;
    held.wait()?;
    let names = || -> Result<String> {
        let (_, out, _) = with_input(&daemon, &["exec", "c", "--", "ps"], b"")?;
        Ok(String::from_utf8(out)?)
    };
    eventually_blocking("the command has gone", || {
        Ok((!names()?.contains("sleep 995")).then_some(()))
    })?;
    Ok(())
}

/// On a real API server. Its node is played: commands run on this machine, by the kubelet's protocol.
#[tokio::test]
async fn pods_have_sessions_too() -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    if !cluster.is_own() {
        return Ok(());
    }
    let daemon = Daemon::start(
        &["cheapest", "kubernetes"],
        &[("k8s", &cluster.instance("", ""))],
    )?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let manifest = format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: pods}}\nspec:\n  services:\n    web: {{image: example.com/web:1, \
         ports: {{http: {{protocol: http, port: {port}}}}}, resources: {{cpu: 100m, memory: 64Mi}}}}\n"
    );
    daemon.put("pods", &manifest).await?;
    daemon.running("pods").await?;
    // The input stays open: a cluster of this age ends the command together with it.
    let script = "echo out; echo err >&2; head -c 5; exit 7";
    let mut child = command(&daemon, &["exec", "pods", "-i", "--", "sh", "-c", script]).spawn()?;
    let mut keys = child.stdin.take().context("no input")?;
    keys.write_all(b"typed")?;
    let output = child.wait_with_output()?;
    drop(keys);
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).as_ref(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        (Some(7), "out\ntyped", "err\n")
    );
    let (code, _, err) = with_input(&daemon, &["exec", "pods", "-i", "--", "cat"], b"typed")?;
    assert_eq!(code, Some(1));
    assert!(err.contains("together with its input"), "{err}");
    let (code, _, err) = with_input(&daemon, &["exec", "pods", "--", "no-such-program"], b"")?;
    assert_ne!(code, Some(0));
    assert!(err.contains("the command can't be started"), "{err}");
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("site"))?;
    let at = folder.path().join("site").display().to_string();
    there_and_back(&daemon, "pods", &at)?;

    let forward = Following::start(&daemon, &["port-forward", "pods", "0:http"])?;
    let told = forward.next()?;
    let at = told.split(' ').next().context("no address")?;
    let mut near = TcpStream::connect(at)?;
    near.write_all(b"ask")?;
    // One came when it was looked whether the port is there.
    let far = loop {
        let (mut far, _) = listener.accept()?;
        let mut asked = [0; 3];
        if far.read_exact(&mut asked).is_ok() {
            assert_eq!(&asked, b"ask");
            break far;
        }
    };
    let mut far = far;
    far.write_all(b"answer")?;
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer)?;
    assert_eq!(answer, "answer");
    Ok(())
}
