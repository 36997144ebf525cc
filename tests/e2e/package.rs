//! The packages of a build, as `make dist` makes them: a Debian package in a system of its own, an image on an engine of its own. Making them
//! takes long, so they are tested when `make test-dist` asks for it.

mod booted;
mod system;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tradewind_kit::{
    LOCAL, binary, client, component, docker::Docker, endpoints, eventually_blocking, fetch, hello,
    pids, podman::Podman, web,
};

use booted::Booted;
use system::System;

/// Packages the build under another version, into this folder. Answers the package's file.
fn package(kind: &str, version: &str, out: &Path) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/package/dist.sh");
    let output = Command::new("bash")
        .arg(script)
        .arg(out)
        .arg(kind)
        .env("TRADEWIND_BIN", binary())
        .env(
            "TRADEWIND_PLUGINS",
            component("cheapest").with_file_name(""),
        )
        .env("TRADEWIND_VERSION", version)
        .env("DIST_COMPRESSION", "none")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "dist.sh: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let name = text
        .split_whitespace()
        .last()
        .with_context(|| format!("no {kind} was made"))?;
    Ok(out.join(name))
}

#[tokio::test]
#[ignore = "slow: make test-dist"]
async fn a_debian_package_is_installed_upgraded_while_things_run_and_removed() -> Result<()> {
    let Some(mut system) = System::new()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let old = package("deb", "0.1.0~test1", folder.path())?;
    let new = package("deb", "0.1.0~test2", folder.path())?;

    system.dpkg(&["--install"], Some(&old))?;
    assert_eq!(system.asked()?, ["start tradewind.service"]);
    assert!(system.is_link("etc/systemd/system/multi-user.target.wants/tradewind.service"));
    let user = system.user("tradewind")?.context("no user was made")?;
    for (path, owner, mode) in [
        ("var/lib/tradewind", user, 0o700),
        ("etc/tradewind/plugins", user, 0o755),
        ("etc/tradewind/secrets", 0, 0o750),
        ("etc/tradewind/config.toml", 0, 0o644),
    ] {
        assert_eq!(system.owner_and_mode(path)?, (owner, mode), "{path}");
    }
    for part in [
        "usr/share/man/man1/tradewind-apply.1.gz",
        "usr/share/bash-completion/completions/tradewind",
        "usr/share/zsh/vendor-completions/_tradewind",
        "usr/share/fish/vendor_completions.d/tradewind.fish",
        "usr/share/doc/tradewind/copyright",
    ] {
        assert!(system.path(part).is_file(), "{part}");
    }

    // What an administrator does: another address, an instance file, a program to run.
    let settings = system.path("etc/tradewind/config.toml");
    let text = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, text.replace("127.0.0.1:7180", "127.0.0.1:0"))?;
    std::fs::copy(
        system.path("usr/share/doc/tradewind/examples/process.toml"),
        system.path("etc/tradewind/plugins/local.toml"),
    )?;
    std::fs::copy(hello(), system.path("usr/local/bin/hello"))?;
    let manifest =
        web("web", 2, "packaged").replace(&hello().display().to_string(), "/usr/local/bin/hello");
    std::fs::write(system.path("srv/web.yaml"), manifest)?;

    system.start()?;
    system.run(&["tradewind", "apply", "-f", "/srv/web.yaml"])?;
    let before = system.json(&["tradewind", "-o", "json", "get", "web"])?;
    assert_eq!(before["status"], "running", "{before:#}");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = client(None)?;
    let answer = async |deployment: &Value| -> Result<()> {
        for endpoint in endpoints(deployment) {
            assert_eq!(fetch(&http, &endpoint).await?, "hello, packaged\n");
        }
        Ok(())
    };
    answer(&before).await?;
    // Root would leave files that the daemon's user can't read.
    let refused = system.fails(&["tradewind", "token", "reset-admin"])?;
    assert!(refused.contains("sudo -u tradewind"), "{refused}");

    // Nothing stops before the new version takes over, and what runs has the same processes then.
    system.dpkg(&["--install"], Some(&new))?;
    assert_eq!(
        system.asked()?.last().map(String::as_str),
        Some("restart tradewind.service")
    );
    assert_eq!(
        system.run(&[
            "dpkg-query",
            "--show",
            "--showformat=${Version}",
            "tradewind"
        ])?,
        "0.1.0~test2"
    );
    assert!(
        system.is_running()?,
        "the package has ended the daemon by itself"
    );
    answer(&before).await?;
    assert_eq!(system.stop()?, Some(0));
    answer(&before).await?;
    system.start()?;
    let after = system.json(&["tradewind", "-o", "json", "get", "web"])?;
    assert_eq!(pids(&after), pids(&before));
    assert_eq!(pids(&after).len(), 2, "{after:#}");
    assert!(std::fs::read_to_string(&settings)?.contains("127.0.0.1:0"));
    answer(&after).await?;

    // A backup goes back over the state as its user, and what runs is found again.
    let backup = "/tmp/state.tar";
    system.run_as("tradewind", &["tradewind", "backup", backup])?;
    assert_eq!(system.stop()?, Some(0));
    let words = ["tradewind", "restore", backup, "--force", "--yes"];
    let refused = system.fails(&words)?;
    assert!(refused.contains("sudo -u tradewind"), "{refused}");
    system.run_as("tradewind", &words)?;
    system.start()?;
    let restored = system.json(&["tradewind", "-o", "json", "get", "web"])?;
    assert_eq!(pids(&restored), pids(&before));
    answer(&restored).await?;

    system.run(&["tradewind", "delete", "web"])?;
    system.dpkg(&["--remove", "tradewind"], None)?;
    assert_eq!(
        system.asked()?.last().map(String::as_str),
        Some("stop tradewind.service")
    );
    assert_eq!(system.stop()?, Some(0));
    assert!(!system.path("usr/bin/tradewind").exists());
    assert!(system.path("var/lib/tradewind/state.db").exists());
    assert!(system.path("etc/tradewind/plugins/local.toml").exists());
    assert_eq!(system.user("tradewind")?, Some(user));

    system.dpkg(&["--purge", "tradewind"], None)?;
    for gone in ["var/lib/tradewind", "etc/tradewind", "usr/lib/tradewind"] {
        assert!(!system.path(gone).exists(), "{gone}");
    }
    assert_eq!(system.user("tradewind")?, None);
    assert!(!system.is_link("etc/systemd/system/multi-user.target.wants/tradewind.service"));
    Ok(())
}

/// What a service manager makes of the unit and of the package's scripts: not what the test thinks that it would.
#[test]
#[ignore = "slow: make test-dist"]
fn systemd_starts_reloads_restarts_and_upgrades_the_service_and_a_purge_leaves_nothing()
-> Result<()> {
    let Some(system) = Booted::new()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let old = package("deb", "0.1.0~test1", folder.path())?;
    let new = package("deb", "0.1.0~test2", folder.path())?;

    system.install(&old)?;
    let first = system.ready(None)?;
    std::fs::write(system.path("etc/tradewind/plugins/local.toml"), LOCAL)?;
    system.run(&["tradewind", "plugin", "reload"])?;
    std::fs::write(system.path("srv/web.yaml"), ASLEEP)?;
    system.run(&["tradewind", "apply", "-f", "/srv/web.yaml"])?;
    let get = || system.json(&["tradewind", "-o", "json", "get", "web"]);
    let ids = pids(&get()?);
    assert!(ids.len() == 2 && system.are_there(&ids), "{ids:?}");

    system.run(&["systemctl", "reload", "tradewind"])?;
    assert_eq!(system.ready(None)?, first, "a reload is no restart");
    system.install(&new)?;
    let second = system.ready(Some(&first))?;
    assert_eq!(pids(&get()?), ids, "an upgrade leaves what runs");
    // The shell's own: a small system has no other.
    system.run(&["sh", "-c", &format!("kill -KILL {second}")])?;
    let third = system.ready(Some(&second))?;
    assert_eq!(pids(&get()?), ids, "a daemon that dies leaves what runs");
    system.run(&["systemctl", "stop", "tradewind"])?;
    assert!(system.are_there(&ids), "a stopped daemon leaves what runs");
    system.run(&["systemctl", "start", "tradewind"])?;
    system.ready(Some(&third))?;
    assert_eq!(pids(&get()?), ids);

    system.run(&["dpkg", "--remove", "tradewind"])?;
    assert!(system.are_there(&ids), "as the manual says");
    system.run(&["dpkg", "--purge", "tradewind"])?;
    system.are_gone(&ids)?;
    assert!(system.run(&["id", "tradewind"]).is_err());
    assert!(!system.path("var/lib/tradewind").exists());
    Ok(())
}

const ASLEEP: &str = r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: web}
spec:
  services:
    web: {command: [sleep, "1000"], replicas: 2, resources: {cpu: 10m, memory: 16Mi}}
"#;

/// A cloud out of a table.
const NORTH: &str = r#"
component = "simulated.wasm"
[settings.regions.eu-north-1.sizes.small]
cpu = 2
memory = "4Gi"
price = "0.04"
"#;

const SIMULATED: &str = r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: web}
spec:
  services:
    web: {command: [serve], replicas: 2, resources: {cpu: 100m, memory: 64Mi}}
"#;

#[tokio::test]
#[ignore = "slow: make test-dist"]
async fn an_image_gets_healthy_works_drains_and_gives_way_to_the_next_one() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("north.toml"), NORTH)?;
    std::fs::write(at("web.yaml"), SIMULATED)?;
    for version in ["0.1.0~test1", "0.1.0~test2"] {
        let image = package("image", version, folder.path())?;
        engine.podman(&["load", "--input", &image.display().to_string()])?;
        std::fs::remove_file(image)?;
    }
    let run = |name: &str, version: &str| -> Result<()> {
        let mounted = |file: &str, to: &str| format!("{}:{to}:ro", at(file).display());
        engine.podman(&[
            "run",
            "--detach",
            "--name",
            name,
            "--publish",
            "127.0.0.1::7180",
            "--volume",
            "tradewind-data:/var/lib/tradewind",
            "--volume",
            &mounted("north.toml", "/etc/tradewind/plugins/north.toml"),
            "--volume",
            &mounted("web.yaml", "/web.yaml"),
            &format!("localhost/tradewind:{version}"),
        ])?;
        healthy(&engine, name)
    };
    let get = |name: &str| -> Result<Value> {
        let text = engine.podman(&["exec", name, "tradewind", "-o", "json", "get", "web"])?;
        Ok(serde_json::from_str(&text)?)
    };

    run("first", "0.1.0-test1")?;
    let pid = engine.podman(&["inspect", "--format", "{{.State.Pid}}", "first"])?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    assert!(status.contains("Uid:\t65532\t65532"), "{status}");
    engine.podman(&["exec", "first", "tradewind", "apply", "-f", "/web.yaml"])?;
    let before = get("first")?;
    assert_eq!(before["status"], "running", "{before:#}");

    // From outside, over TLS with the key that it has made.
    for file in ["admin.token", "daemon.json"] {
        let from = format!("first:/var/lib/tradewind/{file}");
        engine.podman(&["cp", &from, &at(file).display().to_string()])?;
    }
    let told: Value = serde_json::from_slice(&std::fs::read(at("daemon.json"))?)?;
    let address = engine.podman(&["port", "first", "7180/tcp"])?;
    let output = Command::new(binary())
        .args(["--server", &format!("https://{address}")])
        .args([
            "--fingerprint",
            told["fingerprint"].as_str().unwrap_or_default(),
        ])
        .arg("--token-file")
        .arg(at("admin.token"))
        .args(["get", "web"])
        .env_remove("TRADEWIND_TOKEN")
        .output()?;
    assert!(output.status.success(), "{output:?}");

    engine.podman(&["stop", "--time", "90", "first"])?;
    let ended = engine.podman(&["inspect", "--format", "{{.State.ExitCode}}", "first"])?;
    assert_eq!(ended, "0", "{}", engine.podman(&["logs", "first"])?);

    run("second", "0.1.0-test2")?;
    let after = get("second")?;
    assert_eq!(after["status"], "running", "{after:#}");
    assert_eq!(after["generation"], before["generation"]);
    assert_eq!(pids(&after), pids(&before));
    engine.podman(&["exec", "second", "tradewind", "delete", "web"])?;
    Ok(())
}

/// Waits until the image's own check passes.
fn healthy(engine: &Podman, name: &str) -> Result<()> {
    let healthy = eventually_blocking(format!("{name} is healthy"), || {
        Ok(engine.podman(&["healthcheck", "run", name]))
    });
    healthy.map(drop).or_else(|error| {
        let log = engine.podman(&["logs", name])?;
        bail!("{error:#}\n{log}")
    })
}

#[test]
#[ignore = "slow: make test-dist"]
fn the_same_build_makes_the_same_packages() -> Result<()> {
    let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for kind in ["tarball", "deb", "image"] {
        let read = |folder: &Path| -> Result<Vec<u8>> {
            package(kind, "0.1.0", folder)?;
            Ok(std::fs::read(folder.join("SHA256SUMS"))?)
        };
        assert_eq!(read(one.path())?, read(other.path())?, "{kind}");
    }
    let packed = std::fs::read_dir(one.path())?
        .flatten()
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|e| e == "gz"))
        .context("no tarball was made")?;
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(packed)
        .args(["--strip-components", "1", "-C"])
        .arg(other.path())
        .status()?;
    ensure!(unpacked.success(), "the tarball can't be unpacked");
    let version = Command::new(other.path().join("bin/tradewind"))
        .arg("--version")
        .output()?;
    assert!(version.status.success(), "{version:?}");
    for part in [
        "LICENSE",
        "etc/config.toml",
        "lib/tradewind/plugins/aws.wasm",
    ] {
        assert!(other.path().join(part).is_file(), "{part}");
    }
    Ok(())
}

/// The same image on an engine of another make, which reads the archive by rules of its own.
#[test]
#[ignore = "slow: make test-dist"]
fn docker_loads_the_image_too_and_runs_it() -> Result<()> {
    let Some(engine) = Docker::start()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let image = package("image", "0.1.0~test3", folder.path())?;
    engine.docker(&["load", "--input", &image.display().to_string()])?;
    let name = "localhost/tradewind:0.1.0-test3";
    let set = "{{.Config.User}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}}";
    let set = engine.docker(&["image", "inspect", "--format", set, name])?;
    assert_eq!(
        set,
        r#"65532:65532 {"7180/tcp":{}} {"/var/lib/tradewind":{}}"#
    );
    // The engine's containers share the machine's network: the port is to be one that nobody has.
    let run = [
        "run",
        "--detach",
        "--network=host",
        "--env=TRADEWIND_LISTEN=127.0.0.1:0",
        "--name=one",
        name,
    ];
    engine.docker(&run)?;
    let ready = engine.docker(&["exec", "one", "tradewind", "wait-ready"]);
    let ready = ready.and_then(|_| engine.docker(&["exec", "one", "tradewind", "get"]));
    ensure!(
        ready.as_deref().ok() == Some("no deployments"),
        "{ready:?}\n{}",
        engine.docker(&["logs", "one"])?
    );
    engine.docker(&["stop", "--time", "90", "one"])?;
    let ended = engine.docker(&["inspect", "--format", "{{.State.ExitCode}}", "one"])?;
    assert_eq!(ended, "0");
    Ok(())
}
