//! What workloads write, and what the daemon itself writes: nothing is hidden, every cut is marked, and nobody who stops reading does harm.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tradewind_kit::{
    Daemon, PATIENCE, Signal,
    aws::AwsCloud,
    binary,
    clouds::{azure::Azure, gcp::Gcp},
    component,
    docker::Docker,
    eventually_blocking,
    podman::{IMAGE, Podman},
    when,
};

/// One service or job that runs a script.
fn workload(name: &str, kind: &str, image: &str, script: &str) -> String {
    let image = if image.is_empty() {
        String::new()
    } else {
        format!("      image: {image}\n")
    };
    let script: String = script
        .lines()
        .map(|line| format!("          {line}\n"))
        .collect();
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  {kind}s:\n    w:\n{image}      command:\n        \
         - sh\n        - -c\n        - |\n{script}      resources: {{cpu: 10m, memory: 64Mi}}\n      stop: {{signal: KILL, grace: 1s}}\n"
    )
}

/// A command that goes on, and the lines that it prints.
pub(crate) struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    /// It finds the daemon by its data folder, as a user's shell on the same machine does.
    pub(crate) fn start(daemon: &Daemon, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary());
        command
            .arg("--data")
            .arg(daemon.data())
            .args(arguments)
            .env_remove("TRADEWIND_TOKEN")
            .env_remove("TRADEWIND_SERVER");
        command.env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (send, lines) = channel();
        let out = BufReader::new(child.stdout.take().context("no output")?);
        std::thread::spawn(move || {
            out.lines()
                .map_while(std::io::Result::ok)
                .try_for_each(|line| send.send(line))
        });
        Ok(Self { child, lines })
    }

    pub(crate) fn next(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).context("no further line")
    }

    /// Its exit code and what it printed to standard error.
    pub(crate) fn end(&mut self) -> Result<(Option<i32>, String)> {
        let status = eventually_blocking("it ends", || Ok(self.child.try_wait()?))?;
        let mut told = String::new();
        self.child
            .stderr
            .take()
            .context("no errors")?
            .read_to_string(&mut told)?;
        Ok((status.code(), told))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `logs` prints, once it contains this.
fn logs_with(daemon: &Daemon, arguments: &[&str], wanted: &str) -> Result<String> {
    eventually_blocking(format!("{wanted:?} is printed"), || {
        let seen = daemon.run(&[&["logs"], arguments].concat())?;
        Ok(when(seen.contains(wanted), seen))
    })
}

/// The lines of a replica, put together where they were cut.
fn joined(shown: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in shown.lines() {
        let text = line.split_once("| ").map_or(line, |(_, text)| text);
        let (text, continues) = text
            .strip_prefix('…')
            .map_or((text, false), |rest| (rest, true));
        let (text, partial) = text
            .strip_suffix('…')
            .map_or((text, false), |rest| (rest, true));
        assert_eq!(
            continues,
            open,
            "a cut has two ends: {}",
            line.chars().take(80).collect::<String>()
        );
        match lines.last_mut().filter(|_| continues) {
            Some(last) => last.push_str(text),
            None => lines.push(text.to_owned()),
        }
        open = partial;
    }
    lines
}

#[tokio::test]
async fn an_unfinished_line_is_shown_and_its_rest_follows() -> Result<()> {
    let daemon = Daemon::local()?;
    let gate = daemon.folder.path().join("gate");
    let script = format!(
        "printf 'password: '\nuntil [ -e {} ]; do sleep 0.05; done\necho granted\nexec sleep 600",
        gate.display()
    );
    daemon
        .put("ask", &workload("ask", "service", "", &script))
        .await?;
    ensure!(
        logs_with(&daemon, &["ask"], "password")? == "w/0 | password: \n",
        "as it is"
    );

    let followed = Following::start(&daemon, &["logs", "-f", "ask"])?;
    let json = Following::start(&daemon, &["logs", "-f", "ask", "-o", "json"])?;
    assert_eq!(followed.next()?, "w/0 | password: …");
    let line: Value = serde_json::from_str(&json.next()?)?;
    assert_eq!(
        (&line["text"], &line["partial"], &line["continues"]),
        (&"password: ".into(), &true.into(), &Value::Null)
    );
    std::fs::write(&gate, "")?;
    assert_eq!(followed.next()?, "w/0 | …granted");
    let line: Value = serde_json::from_str(&json.next()?)?;
    assert_eq!(
        (&line["text"], &line["partial"], &line["continues"]),
        (&"granted".into(), &Value::Null, &true.into())
    );
    ensure!(logs_with(&daemon, &["ask"], "granted")? == "w/0 | password: granted\n");
    Ok(())
}

#[tokio::test]
async fn runs_are_parted_and_the_one_before_is_shown_alone() -> Result<()> {
    let daemon = Daemon::local()?;
    let script = "n=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $n >n\n\
                  echo out $n; echo err $n >&2; [ $n -lt 3 ] || exec sleep 600; exit 1";
    let app = workload("app", "service", "", script);
    let quick = "spec:\n  recovery: {firstPause: 100ms, replaceAfter: 0}\n";
    daemon
        .put("app", &app.replacen("spec:\n", quick, 1))
        .await?;
    let shown = logs_with(&daemon, &["app"], "err 3")?;
    // The moments differ.
    let lines: Vec<&str> = shown
        .lines()
        .map(|line| line.split(" at ").next().unwrap_or_default())
        .collect();
    assert_eq!(
        lines,
        [
            "w/0 | out 1",
            "w/0 ! err 1",
            "w/0 ── restarted (2nd run)",
            "w/0 | out 2",
            "w/0 ! err 2",
            "w/0 ── restarted (3rd run)",
            "w/0 | out 3",
            "w/0 ! err 3",
        ],
        "{shown}"
    );
    let before = daemon.run(&["logs", "app", "--previous", "-o", "json"])?;
    let before: Value = serde_json::from_str(&before)?;
    let lines = before["lines"].as_array().context("no lines")?;
    let texts: Vec<&Value> = lines.iter().map(|line| &line["text"]).collect();
    assert_eq!(texts, ["out 2", "err 2"]);
    assert_eq!(lines[0]["restart"]["run"], 2);
    // So it is after a restart of the daemon, too.
    let mut daemon = daemon;
    daemon.stop()?;
    daemon.launch()?;
    let again = daemon.run(&["logs", "app", "-p", "--tail", "1"])?;
    ensure!(again.lines().any(|line| line == "w/0 | out 2"), "{again}");

    let steady = workload("steady", "service", "", "echo once; exec sleep 600");
    daemon.put("steady", &steady).await?;
    logs_with(&daemon, &["steady"], "once")?;
    let none = daemon.cli(&["logs", "steady", "--previous"])?;
    let told = String::from_utf8_lossy(&none.stderr).into_owned();
    ensure!(
        none.status.code() == Some(3) && told.contains("before the present one"),
        "{told}"
    );
    let both = daemon.cli(&["logs", "app", "--previous", "-f"])?;
    ensure!(both.status.code() == Some(64));
    Ok(())
}

#[tokio::test]
async fn who_follows_sees_a_progress_bar_that_never_ends_its_line() -> Result<()> {
    let daemon = Daemon::local()?;
    let gate = daemon.folder.path().join("gate");
    let script = format!(
        "until [ -e {} ]; do sleep 0.05; done\ni=0\nwhile :; do printf '\\r%s%%' $i; i=$((i+1)); sleep 0.1; done",
        gate.display()
    );
    daemon
        .put("bar", &workload("bar", "service", "", &script))
        .await?;
    daemon.running("bar").await?;
    let followed = Following::start(&daemon, &["logs", "-f", "bar"])?;
    std::fs::write(&gate, "")?;
    // How much of it is there at the first look is the machine's affair.
    let first = followed.next()?;
    ensure!(
        first.starts_with("w/0 | \\r0%") && first.ends_with('…'),
        "{first:?}"
    );
    let second = followed.next()?;
    ensure!(
        second.starts_with("w/0 | …") && second.contains('%') && second.ends_with('…'),
        "{second:?}"
    );
    Ok(())
}

#[tokio::test]
async fn lines_of_any_length_come_whole_or_in_marked_pieces() -> Result<()> {
    let daemon = Daemon::local()?;
    // Two bytes of every character, at an odd offset: a careless cut falls inside one.
    let script = "echo before\nprintf x; yes é | head -n 1000000 | tr -d '\\n'; echo\nhead -c 5242880 /dev/zero | tr '\\0' z; echo\nprintf 'FATAL: last words'";
    daemon
        .put("big", &workload("big", "job", "", script))
        .await?;
    daemon
        .until("big", "completed", |d| d["status"] == "completed")
        .await?;
    let expected = [
        "before".to_owned(),
        format!("x{}", "é".repeat(1_000_000)),
        "z".repeat(5 << 20),
        "FATAL: last words".to_owned(),
    ];
    ensure!(
        joined(&daemon.run(&["logs", "big"])?) == expected,
        "all of it"
    );
    let last = joined(&daemon.run(&["logs", "big", "--tail", "2"])?);
    ensure!(
        last == expected[2..],
        "{:?}",
        last.iter().map(String::len).collect::<Vec<_>>()
    );

    let json: Value = serde_json::from_str(&daemon.run(&["logs", "big", "-o", "json"])?)?;
    let lines = json["lines"].as_array().context("lines")?;
    let text: String = lines
        .iter()
        .filter_map(|line| line["text"].as_str())
        .collect();
    ensure!(
        text == expected.concat() && !text.contains('\u{fffd}'),
        "the pieces make up the lines"
    );
    ensure!(
        lines.iter().filter(|line| line["partial"] == true).count()
            == lines
                .iter()
                .filter(|line| line["continues"] == true)
                .count()
    );

    let followed = Following::start(&daemon, &["logs", "-f", "big"])?;
    let mut seen = String::new();
    while !seen.ends_with("last words\n") {
        seen.push_str(&followed.next()?);
        seen.push('\n');
    }
    ensure!(joined(&seen) == expected, "who follows gets the same");
    Ok(())
}

#[tokio::test]
async fn last_words_of_a_run_are_not_glued_to_the_next_ones() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon
        .put(
            "crash",
            &workload(
                "crash",
                "service",
                "",
                "echo begins\nsleep 0.2\nprintf 'FATAL: out of luck'\nexit 3",
            ),
        )
        .await?;
    let seen = daemon.eventually("it has begun again", async || {
        let seen = daemon.run(&["logs", "crash"])?;
        Ok(when(seen.matches("begins").count() > 1, seen))
    });
    let seen = seen.await?;
    let lines: Vec<&str> = seen.lines().filter(|line| !line.contains(" ── ")).collect();
    ensure!(
        lines.starts_with(&["w/0 | begins", "w/0 | FATAL: out of luck", "w/0 | begins"]),
        "{seen}"
    );
    Ok(())
}

#[tokio::test]
async fn logs_are_followed_over_restarts_of_the_daemon_and_end_with_the_deployment() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon
        .put(
            "tick",
            &workload(
                "tick",
                "service",
                "",
                "i=0\nwhile :; do echo $i; i=$((i+1)); sleep 0.05; done",
            ),
        )
        .await?;
    daemon.running("tick").await?;
    let mut followed = Following::start(&daemon, &["logs", "-f", "tick", "--tail", "1000"])?;
    let json = Following::start(
        &daemon,
        &["logs", "-f", "tick", "--tail", "1000", "-o", "json"],
    )?;
    let number = |line: &str| {
        line.rsplit_once(' ')
            .context("no number")?
            .1
            .parse::<u64>()
            .context("no number")
    };
    let of_json = |line: &str| -> Result<u64> {
        Ok(serde_json::from_str::<Value>(line)?["text"]
            .as_str()
            .context("no text")?
            .parse()?)
    };
    let (mut last, mut last_json) = (number(&followed.next()?)?, of_json(&json.next()?)?);
    for stop in [false, true] {
        if stop {
            daemon.stop()?
        } else {
            daemon.kill()?
        }
        daemon.launch()?;
        let (from, mut newest) = (last, 0);
        // Lines that were written before, while it was away, and after.
        while last < from + 40 {
            newest = number(&followed.next()?)?;
            ensure!(newest == last + 1, "{newest} after {last}");
            last = newest;
        }
        while last_json < newest {
            let next = of_json(&json.next()?)?;
            ensure!(next == last_json + 1, "{next} after {last_json}, as JSON");
            last_json = next;
        }
    }
    daemon.delete("tick").await?;
    let (code, told) = followed.end()?;
    assert_eq!(code, Some(0), "{told}");
    ensure!(
        told.contains("can't be reached") || told.is_empty(),
        "{told}"
    );
    Ok(())
}

/// What both engines must show of the same job and the same service.
async fn an_engine_hides_nothing(daemon: &Daemon, letter: char, unfinished: bool) -> Result<()> {
    let script = "echo first; printf part; sleep 1; printf 'ial\\n'\nbusybox head -c 40001 /dev/zero | busybox tr '\\0' z; echo\n\
                  printf x; busybox yes LETTER | busybox head -n 1500000 | busybox tr -d '\\n'; echo\necho last\nprintf 'FATAL: no newline'";
    daemon
        .put(
            "all",
            &workload(
                "all",
                "job",
                IMAGE,
                &script.replace("LETTER", &letter.to_string()),
            ),
        )
        .await?;
    daemon
        .until("all", "completed", |d| d["status"] == "completed")
        .await?;
    let long = format!("x{}", letter.to_string().repeat(1_500_000));
    let expected = [
        "first".to_owned(),
        "partial".to_owned(),
        "z".repeat(40_001),
        long,
        "last".to_owned(),
        "FATAL: no newline".to_owned(),
    ];
    let shown = joined(&daemon.run(&["logs", "all"])?);
    let lengths = |lines: &[String]| {
        lines
            .iter()
            .map(|l| (l.len(), l.chars().take(20).collect::<String>()))
            .collect::<Vec<_>>()
    };
    ensure!(shown == expected, "{:?}", lengths(&shown));
    for tail in 1..=5 {
        let shown = joined(&daemon.run(&["logs", "all", "--tail", &tail.to_string()])?);
        ensure!(
            shown == expected[6 - tail..],
            "--tail {tail}: {:?}",
            lengths(&shown)
        );
    }
    if !unfinished {
        return Ok(());
    }
    daemon
        .put(
            "ask",
            &workload(
                "ask",
                "service",
                IMAGE,
                "printf 'password: '\nsleep 3\necho granted\nexec sleep 600",
            ),
        )
        .await?;
    daemon.running("ask").await?;
    let followed = Following::start(daemon, &["logs", "-f", "ask"])?;
    assert_eq!(followed.next()?, "w/0 | password: …");
    assert_eq!(followed.next()?, "w/0 | …granted");
    ensure!(daemon.run(&["logs", "ask"])? == "w/0 | password: granted\n");
    Ok(())
}

#[tokio::test]
async fn podman_hides_nothing() -> Result<()> {
    let Some(engine) = Podman::start()? else {
        return Ok(());
    };
    let instance = engine.instance("", "");
    an_engine_hides_nothing(
        &Daemon::start(&["cheapest", "containers"], &[("box", &instance)])?,
        'é',
        true,
    )
    .await
}

#[tokio::test]
async fn dockerd_hides_nothing() -> Result<()> {
    let Some(engine) = Docker::start()? else {
        return Ok(());
    };
    let instance = engine.instance("", "");
    // It keeps an unfinished line to itself until the end, and breaks characters where it breaks lines.
    an_engine_hides_nothing(
        &Daemon::start(&["cheapest", "containers"], &[("box", &instance)])?,
        'y',
        false,
    )
    .await
}

/// A daemon whose log goes where the test says.
struct Bare {
    child: Child,
    folder: tempfile::TempDir,
}

impl Bare {
    fn start(level: &str, log: Stdio) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins)?;
        std::fs::copy(component("cheapest"), plugins.join("cheapest.wasm"))?;
        let mut command = Command::new(binary());
        command
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(["serve", "--listen", "127.0.0.1:0", "--plugins"])
            .arg(&plugins);
        command
            .env("TRADEWIND_CONFIG", folder.path().join("none.toml"))
            .env("TRADEWIND_LOG", level);
        std::fs::write(folder.path().join("none.toml"), "")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { child, folder })
    }

    fn cli(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new(binary());
        command
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .args(arguments)
            .env_remove("TRADEWIND_SERVER")
            .env_remove("TRADEWIND_TOKEN");
        Ok(command
            .env("TRADEWIND_CONFIG", self.folder.path().join("none.toml"))
            .stdin(Stdio::null())
            .output()?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        tradewind_kit::signal(self.child.id(), signal)
    }

    /// Waits until the plugins that are listed satisfy this.
    fn until_listed(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        eventually_blocking(what, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}");
            }
            let output = self.cli(&["plugin", "list"])?;
            let listed = String::from_utf8_lossy(&output.stdout).into_owned();
            let told = format!("{listed}{}", String::from_utf8_lossy(&output.stderr));
            Ok(when(output.status.success() && wanted(&listed), told))
        })
        .map(drop)
    }

    fn exit(&mut self) -> Result<Option<i32>> {
        let status = eventually_blocking("the daemon ends", || Ok(self.child.try_wait()?))?;
        Ok(status.code())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It becomes ready, takes a plugin, says that it is well, and stops when it is told to.
fn does_its_work(mut daemon: Bare) -> Result<()> {
    daemon.until_listed("it becomes ready", |listed| listed.contains("cheapest"))?;
    std::fs::copy(
        component("fastest"),
        daemon.folder.path().join("plugins/fastest.wasm"),
    )?;
    daemon.until_listed("a new plugin is taken", |listed| listed.contains("fastest"))?;
    ensure!(daemon.cli(&["get"])?.status.success(), "it answers");
    daemon.signal(Signal::TERM)?;
    ensure!(daemon.exit()? == Some(0), "it stops in good order");
    Ok(())
}

#[test]
fn a_daemon_whose_log_fails_does_its_work() -> Result<()> {
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    does_its_work(Bare::start("info", full.into())?)
}

#[test]
fn a_daemon_whose_reader_has_gone_does_its_work() -> Result<()> {
    let mut daemon = Bare::start("info", Stdio::piped())?;
    drop(daemon.child.stderr.take());
    does_its_work(daemon)
}

#[test]
fn a_daemon_whose_log_nobody_reads_does_its_work() -> Result<()> {
    let mut daemon = Bare::start("trace", Stdio::piped())?;
    // Held open, and never read: it fills after 64 KiB.
    let _held = daemon.child.stderr.take();
    does_its_work(daemon)
}

#[test]
fn signals_reload_stop_or_do_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut daemon = Bare::start("", std::fs::File::create(&log)?.into())?;
    let told = |what: &str| {
        eventually_blocking(format!("\"{what}\" is logged"), || {
            let seen = std::fs::read_to_string(&log)?;
            Ok(when(seen.contains(what), seen))
        })
        .map(drop)
    };
    daemon.until_listed("it becomes ready", |listed| listed.contains("cheapest"))?;
    daemon.signal(Signal::USR1)?;
    daemon.signal(Signal::USR2)?;
    std::fs::write(
        daemon.folder.path().join("none.toml"),
        "[log]\nlevel = \"debug\"\n",
    )?;
    daemon.signal(Signal::HUP)?;
    told("the level of the log was changed")?;
    told("plugins were read again")?;
    daemon.until_listed("it goes on", |listed| listed.contains("cheapest"))?;
    told("request answered")?;
    daemon.signal(Signal::QUIT)?;
    ensure!(daemon.exit()? == Some(0), "it drains");
    told("SIGQUIT")?;
    told("stopped")
}

/// Whether this plugin is listed, soon.
async fn soon_listed(daemon: &Daemon, name: &str) -> Result<()> {
    let listed = daemon.eventually(format!("{name} is followed"), async || {
        let seen = daemon.run(&["plugin", "list"])?;
        Ok(when(seen.contains(name), seen))
    });
    listed.await.map(drop)
}

#[tokio::test]
async fn a_plugin_folder_that_is_another_one_is_followed_at_once() -> Result<()> {
    let mut daemon = Daemon::start(&["cheapest"], &[])?;
    daemon.stop()?;
    // The timer is out of the game.
    std::fs::write(
        daemon.folder.path().join("config.toml"),
        "[reload]\nrescan = \"1h\"\n",
    )?;
    let at = |name: &str| daemon.folder.path().join(name);
    let (link, first, second) = (daemon.plugins(), at("first"), at("second"));
    std::fs::rename(&link, &first)?;
    std::os::unix::fs::symlink(&first, &link)?;
    std::fs::create_dir(&second)?;
    for name in ["cheapest", "fastest"] {
        std::fs::copy(component(name), second.join(format!("{name}.wasm")))?;
    }
    let fresh = at("fresh-link");
    daemon.launch()?;
    soon_listed(&daemon, "cheapest").await?;

    std::os::unix::fs::symlink(&second, &fresh)?;
    std::fs::rename(&fresh, &link)?;
    soon_listed(&daemon, "fastest").await?;
    std::fs::copy(component("spread"), second.join("spread.wasm"))?;
    soon_listed(&daemon, "spread").await?;

    // Removed and made again: the same name, and perhaps the same number.
    std::fs::remove_dir_all(&second)?;
    std::fs::create_dir(&second)?;
    std::fs::copy(component("weighted"), second.join("weighted.wasm"))?;
    soon_listed(&daemon, "weighted").await?;
    std::fs::copy(component("balanced"), second.join("balanced.wasm"))?;
    soon_listed(&daemon, "balanced").await
}

#[tokio::test]
async fn compiled_code_that_was_damaged_or_mixed_up_is_never_run() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let served = |daemon: &Daemon| -> Result<Vec<(String, String)>> {
        let listed: Value = serde_json::from_str(&daemon.run(&["plugin", "list", "-o", "json"])?)?;
        let all = listed["items"]
            .as_array()
            .or(listed.as_array())
            .context("plugins")?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        Ok(all
            .iter()
            .map(|p| (text(&p["instance"]), text(&p["identity"]["plugin"])))
            .collect())
    };
    let right = served(&daemon)?;
    ensure!(
        right
            == [("cheapest", "cheapest"), ("local", "process")]
                .map(|(a, b)| (a.to_owned(), b.to_owned())),
        "{right:?}"
    );
    daemon.stop()?;
    let entries = |daemon: &Daemon| -> Result<Vec<std::path::PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![daemon.data().join("cache/code")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_none() {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    };
    let whole = entries(&daemon)?;
    ensure!(whole.len() == 2, "{whole:?}");

    // A byte of each, wherever it lies.
    for place in [3, 7] {
        for path in &whole {
            let mut bytes = std::fs::read(path)?;
            let at = bytes.len() * place / 10;
            bytes[at] ^= 0xff;
            std::fs::write(path, bytes)?;
        }
        daemon.launch()?;
        assert_eq!(served(&daemon)?, right);
        daemon.stop()?;
    }
    assert_eq!(
        daemon.log().matches("is damaged").count(),
        4,
        "each was noticed: {}",
        daemon.log()
    );
    assert_eq!(entries(&daemon)?, whole, "and made anew");

    // Both are whole, but each bears the other's name.
    let aside = daemon.folder.path().join("aside");
    std::fs::rename(&whole[0], &aside)?;
    std::fs::rename(&whole[1], &whole[0])?;
    std::fs::rename(&aside, &whole[1])?;
    daemon.launch()?;
    assert_eq!(served(&daemon)?, right);
    assert_eq!(daemon.log().matches("is damaged").count(), 6);
    daemon.stop()?;

    // What nobody vouches for is not used either.
    std::fs::remove_dir_all(daemon.data().join("cache/entries"))?;
    daemon.launch()?;
    assert_eq!(served(&daemon)?, right);
    daemon.stop()?;
    let before = std::fs::metadata(&whole[0])?.modified()?;
    daemon.launch()?;
    assert_eq!(
        (served(&daemon)?, std::fs::metadata(&whole[0])?.modified()?),
        (right, before),
        "what is sound is used as it is"
    );
    Ok(())
}

/// Follows what the only replica of `shop` writes.
fn shop_of(daemon: &Daemon) -> Result<Following> {
    Following::start(daemon, &["logs", "-f", "shop"])
}

fn sees(followed: &Following, wanted: &[&str]) -> Result<()> {
    wanted.iter().try_for_each(|text| {
        let line = followed.next()?;
        ensure!(
            line == format!("web/0 | {text}"),
            "{line:?} instead of {text:?}"
        );
        Ok(())
    })
}

const MISSING: &str = "…output is missing here…";

#[tokio::test]
async fn a_console_is_followed_though_it_is_a_snapshot_each_time() -> Result<()> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(());
    };
    let daemon = Daemon::start(
        &["cheapest", "aws"],
        &[("cloud", &cloud.instance(&["us-east-1"], "")?)],
    )?;
    let web = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: shop}\nspec:\n  services:\n    \
               web: {image: shop/web:1, resources: {cpu: 1, memory: 1Gi}}\n";
    daemon.put("shop", web).await?;
    daemon.running("shop").await?;
    let machine = cloud.live("us-east-1")?.remove(0);
    let mut console = String::from("booting\r\nopen\r\n");
    cloud.console(&machine.id, &console);
    let mut followed = shop_of(&daemon)?;
    sees(&followed, &["booting", "open"])?;
    for more in ["open\r\n", "asked", " once\r\n"] {
        console += more;
        cloud.console(&machine.id, &console);
        match more {
            "open\r\n" => sees(&followed, &["open"])?,
            "asked" => sees(&followed, &["asked…"])?,
            _ => sees(&followed, &["… once"])?,
        }
    }
    // The console keeps 64 KiB: first a part of what was seen is still there, then nothing of it.
    for (from, count) in [(0, 3_000), (3_000, 6_000)] {
        (from..from + count).for_each(|n| console += &format!("line {n} of many\r\n"));
        console.drain(..console.len().saturating_sub(64 << 10));
        cloud.console(&machine.id, &console);
        if from == 0 {
            sees(&followed, &["line 0 of many"])?;
        } else {
            sees(&followed, &[MISSING])?;
            ensure!(
                followed.next()?.starts_with("web/0 | …"),
                "the first line is cut"
            );
        }
        while followed.next()? != format!("web/0 | line {} of many", from + count - 1) {}
    }
    console += "last\r\n";
    cloud.console(&machine.id, &console);
    sees(&followed, &["last"])?;
    daemon.delete("shop").await?;
    let (code, told) = followed.end()?;
    ensure!(code == Some(0), "{code:?}: {told}");
    Ok(())
}

#[tokio::test]
async fn what_a_cloud_has_not_kept_of_followed_logs_is_marked() -> Result<()> {
    let cloud = Gcp::start()?;
    let daemon = crate::shop::start("gcp", &cloud.instance(&["db"]))?;
    daemon.put("shop", &crate::shop::manifest(1, 1)).await?;
    daemon.running("shop").await?;
    let writes = |text: &str, forgotten: usize| {
        cloud.served.with(|compute| {
            compute.machines.values_mut().for_each(|machine| {
                machine.serial += text;
                machine.forgotten = forgotten;
            });
        });
    };
    writes("open\r\n", 0);
    let followed = shop_of(&daemon)?;
    sees(&followed, &["open"])?;
    writes("first\r\nsecond\r\n", 15);
    sees(&followed, &[MISSING, "…cond"])?;
    writes("third\r\n", 15);
    sees(&followed, &["third"])?;

    let cloud = Azure::start()?;
    let daemon = crate::shop::start("azure", &cloud.instance(&["db"]))?;
    daemon.put("shop", &crate::shop::manifest(1, 1)).await?;
    daemon.running("shop").await?;
    let keeps = |logs: &[(&str, &str)]| {
        let logs: Vec<_> = logs
            .iter()
            .map(|(time, text)| (format!("2026-01-01T00:00:0{time}Z"), (*text).to_owned()))
            .collect();
        cloud.served.with(|arm| {
            arm.groups
                .values_mut()
                .for_each(|group| group.logs.clone_from(&logs))
        });
    };
    keeps(&[("1", "open")]);
    let followed = shop_of(&daemon)?;
    sees(&followed, &["open"])?;
    keeps(&[("1", "open"), ("1", "first")]);
    sees(&followed, &["first"])?;
    keeps(&[("3", "third")]);
    sees(&followed, &[MISSING, "third"])
}
