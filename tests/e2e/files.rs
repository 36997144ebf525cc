//! Manifests out of files: folders, patterns, several documents, URLs, variables, overlays; what they would change field by field; and what
//! has left them.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Output, Stdio},
    thread::JoinHandle,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, binary};

const CLOUD: &str = "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.10\"\n";

fn simulated() -> Result<Daemon> {
    Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])
}

fn app(name: &str, service: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata:\n  name: {name}\n  labels: {{app: shop}}\nspec:\n  services:\n    web: {{{service}}}\n"
    )
}

struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

fn told(output: &Output) -> Told {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Told {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

fn cli(daemon: &Daemon, arguments: &[&str]) -> Result<Told> {
    Ok(told(&daemon.cli(arguments)?))
}

/// With something on standard input, and variables.
fn with(
    daemon: &Daemon,
    arguments: &[&str],
    input: &str,
    variables: &[(&str, &str)],
) -> Result<Told> {
    let mut child = Command::new(binary())
        .args(["--server", &daemon.url("")])
        .arg("--data")
        .arg(daemon.data())
        .args(arguments)
        .env_remove("TRADEWIND_TOKEN")
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(input.as_bytes())?;
    Ok(told(&child.wait_with_output()?))
}

fn names(list: &Value) -> Vec<&str> {
    let items = list.get("items").unwrap_or(list).as_array();
    let items = items.into_iter().flatten();
    items.filter_map(|d| d["name"].as_str()).collect()
}

#[tokio::test]
async fn a_plan_names_each_field_and_what_becomes_of_the_replicas() -> Result<()> {
    let daemon = simulated()?;
    let first = daemon.file("first.yaml", &app("web", "command: [a], env: {MODE: one}"))?;
    let new = cli(&daemon, &["plan", "-f", &first])?;
    ensure!(
        new.out
            .trim_end()
            .ends_with("Plan: 1 to create, 0 to update, 0 to delete; $0.00 → $0.10 per hour"),
        "{}",
        new.out
    );
    assert!(
        new.out.contains("$73.00 per month") && !new.out.contains("estimated"),
        "{}",
        new.out
    );
    daemon.run(&["apply", "-f", &first])?;

    let second = app("web", "command: [b], env: {MODE: two}, replicas: 2");
    let second = daemon.file("second.yaml", &second)?;
    let third = daemon.file("third.yaml", &app("other", "command: [a]"))?;
    let plan = cli(
        &daemon,
        &["plan", "--exit-code", "-f", &second, "-f", &third],
    )?;
    assert_eq!(plan.code, Some(2), "{}{}", plan.out, plan.err);
    for line in [
        "  ~ spec.services.web.command: [\"a\"] → [\"b\"]",
        "  ~ spec.services.web.env.MODE: its value changes, and is not shown",
        "  ~ spec.services.web.replicas: 1 → 2",
        "Plan: 1 to create, 1 to update, 0 to delete; $0.10 → $0.30 per hour",
    ] {
        assert!(plan.out.lines().any(|l| l == line), "{line}:\n{}", plan.out);
    }
    assert!(
        plan.out
            .contains("rolling: new replicas take the place of the old ones"),
        "{}",
        plan.out
    );
    assert!(
        !plan.out.contains("\"one\"") && !plan.out.contains("specification"),
        "{}",
        plan.out
    );

    let stored = daemon.run(&["-o", "json", "plan", "-f", &second, "--out", "p"])?;
    let stored: Value = serde_json::from_str(&stored)?;
    let plan = &stored["plan"];
    assert_eq!(plan["action"], "update", "{plan:#}");
    assert_eq!(plan["changes"][0]["transition"], "rolling", "{plan:#}");
    assert_eq!(
        plan["fields"][0]["path"], "spec.services.web.command",
        "{plan:#}"
    );
    let shown = daemon.run(&["plan", "show", "p"])?;
    assert!(
        shown.contains("command: [\"a\"] → [\"b\"]"),
        "the one who approves sees it:\n{shown}"
    );

    // A label reaches the replicas as they are.
    let labelled = app("web", "command: [a], env: {MODE: one}, labels: {tier: x}");
    let labelled = daemon.file("labelled.yaml", &labelled)?;
    let plan = daemon.run(&["plan", "-f", &labelled])?;
    assert!(
        plan.contains("+ spec.services.web.labels.tier: \"x\"")
            && plan.contains("changed in place"),
        "{plan}"
    );
    let same = cli(&daemon, &["plan", "--exit-code", "-f", &first])?;
    assert_eq!(same.code, Some(0), "{}", same.out);
    let wrong = cli(&daemon, &["plan", "--exit-cod", "-f", &first])?;
    assert_eq!(
        wrong.code,
        Some(64),
        "a typing mistake is no difference: {}",
        wrong.err
    );
    Ok(())
}

#[tokio::test]
async fn a_diff_compares_with_what_runs() -> Result<()> {
    let daemon = simulated()?;
    let first = daemon.file("first.yaml", &app("web", "command: [a]"))?;
    let absent = cli(&daemon, &["diff", "-f", &first])?;
    assert!(
        absent.code == Some(2) && absent.out.contains("+  name: web"),
        "{}",
        absent.out
    );
    daemon.run(&["apply", "-f", &first])?;
    let spelt = app("web", "command: [a], replicas: 1")
        .replace("name: web", "name: web\n  namespace: default");
    let spelt = daemon.file("spelt.yaml", &spelt)?;
    for same in [&first, &spelt] {
        let diff = cli(&daemon, &["diff", "-f", same])?;
        assert_eq!(
            (diff.code, diff.out.as_str()),
            (Some(0), ""),
            "{}",
            diff.err
        );
    }
    let second = daemon.file("second.yaml", &app("web", "command: [b]"))?;
    let diff = cli(&daemon, &["diff", "-f", &second])?;
    assert!(
        diff.code == Some(2)
            && diff.out.starts_with("--- default/web generation 1\n+++ ")
            && diff
                .out
                .lines()
                .filter(|l| l.starts_with(['+', '-']))
                .count()
                == 4,
        "{}",
        diff.out
    );
    daemon.run(&["apply", "-f", &second])?;
    for arguments in [&["--from", "1", "--to", "2"][..], &["--from", "1"], &[]] {
        let diff = cli(
            &daemon,
            &[&["diff", "web", "--exit-code"], arguments].concat(),
        )?;
        assert!(
            diff.code == Some(2) && diff.out.contains("--- revision 1\n+++ revision 2\n"),
            "{arguments:?}: {}{}",
            diff.out,
            diff.err
        );
    }
    assert_eq!(cli(&daemon, &["diff", "web", "--from", "1"])?.code, Some(0));
    assert_eq!(cli(&daemon, &["diff"])?.code, Some(64));
    Ok(())
}

/// Answers once, and tells what was asked.
fn serve_once(body: String) -> Result<(String, JoinHandle<Result<String>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/all.yaml", listener.local_addr()?);
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut head = String::new();
        for line in BufReader::new(stream.try_clone()?).lines() {
            let line = line?;
            if line.is_empty() {
                break;
            }
            head += &(line + "\n");
        }
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )?;
        Ok(head)
    });
    Ok((url, served))
}

#[tokio::test]
async fn folders_documents_patterns_and_urls_are_files_too() -> Result<()> {
    let daemon = simulated()?;
    let root = daemon.folder.path().join("m");
    std::fs::create_dir_all(root.join("deeper"))?;
    let put = |name: &str, text: &str| std::fs::write(root.join(name), text);
    put(
        "b.yaml",
        &format!(
            "{}---\n{}",
            app("two", "command: [a]"),
            app("three", "command: [a]")
        ),
    )?;
    put("a.yml", &app("one", "command: [a]"))?;
    put("notes.txt", "not a manifest")?;
    put(
        "deeper/c.json",
        r#"{"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": "four"}, "spec": {"services": {"web": {"command": ["a"]}}}}"#,
    )?;
    let folder = root.to_string_lossy().into_owned();

    let flat: Value = serde_json::from_str(&daemon.run(&["-o", "json", "plan", "-f", &folder])?)?;
    assert_eq!(
        names(&flat),
        ["one", "two", "three"],
        "in the order of the names"
    );
    let some: Value = serde_json::from_str(&daemon.run(&[
        "-o",
        "json",
        "plan",
        "-f",
        &format!("{folder}/b*.y?ml"),
    ])?)?;
    assert_eq!(names(&some), ["two", "three"]);
    let nothing = cli(&daemon, &["plan", "-f", &format!("{folder}/x*")])?;
    assert!(
        nothing.code == Some(64) && nothing.err.contains("no file"),
        "{}",
        nothing.err
    );
    daemon.run(&["apply", "-R", "-f", &folder])?;
    assert_eq!(
        names(&daemon.get("/v1/deployments").await?),
        ["four", "one", "three", "two"]
    );

    // A mistake in the second document has its place in the file, and stops the first.
    let text = format!(
        "{}---\n{}",
        app("five", "command: [a]"),
        app("six", "comand: [a]")
    );
    let broken = daemon.file("broken.yaml", &text)?;
    let refused = cli(&daemon, &["apply", "-f", &broken])?;
    assert!(
        refused.code == Some(4)
            && refused
                .err
                .contains("broken.yaml:17:11: spec.services.web.comand"),
        "{}",
        refused.err
    );
    assert_eq!(cli(&daemon, &["get", "five"])?.code, Some(3));

    let (url, served) = serve_once(app("far", "command: [a]"))?;
    daemon.run(&["apply", "-f", &url])?;
    let head = served.join().map_err(|_| anyhow::anyhow!("no server"))??;
    assert!(!head.to_lowercase().contains("authorization"), "{head}");
    let refused = cli(
        &daemon,
        &["apply", "-f", "http://me:secret@127.0.0.1:1/a.yaml"],
    )?;
    assert!(
        refused.code == Some(64) && !refused.err.contains("secret"),
        "{}",
        refused.err
    );

    let several = daemon.run(&["get", "one", "far"])?;
    assert!(
        several.contains("one") && several.contains("far") && !several.contains("two"),
        "{several}"
    );
    daemon.run(&["delete", "-R", "-f", &folder])?;
    assert_eq!(names(&daemon.get("/v1/deployments").await?), ["far"]);
    let one = cli(&daemon, &["delete", "far", "nothing"])?;
    assert!(
        one.code == Some(3) && one.out.contains("far") && one.err.contains("nothing"),
        "{}{}",
        one.out,
        one.err
    );
    assert!(
        names(&daemon.get("/v1/deployments").await?).is_empty(),
        "one failure does not keep the others"
    );
    Ok(())
}

#[tokio::test]
async fn what_has_left_the_files_is_deleted_by_its_labels() -> Result<()> {
    let daemon = simulated()?;
    let both = format!(
        "{}---\n{}",
        app("one", "command: [a]"),
        app("two", "command: [a]")
    );
    let both = daemon.file("both.yaml", &both)?;
    let other = app("other", "command: [a]").replace("shop", "else");
    let other = daemon.file("other.yaml", &other)?;
    daemon.run(&["apply", "-f", &both, "-f", &other])?;

    let one = daemon.file("one.yaml", &app("one", "command: [a]"))?;
    assert_eq!(
        cli(&daemon, &["apply", "-f", &one, "--prune"])?.code,
        Some(64)
    );
    let plan = cli(
        &daemon,
        &[
            "plan",
            "--exit-code",
            "-f",
            &one,
            "--prune",
            "-l",
            "app=shop",
        ],
    )?;
    assert!(
        plan.code == Some(2)
            && plan
                .out
                .contains("deployment \"two\" in \"default\": deleted")
            && plan
                .out
                .contains("Plan: 0 to create, 0 to update, 1 to delete; $0.20 → $0.10 per hour"),
        "{}",
        plan.out
    );
    let twice = cli(&daemon, &["plan", "-f", &one, "-f", &both])?;
    assert!(
        twice.code == Some(64) && twice.err.contains("already"),
        "{}",
        twice.err
    );
    daemon.run(&["apply", "-f", &one, "--prune", "-l", "app=shop"])?;
    assert_eq!(
        names(&daemon.get("/v1/deployments").await?),
        ["one", "other"]
    );

    let unasked = cli(&daemon, &["delete", "-l", "app=shop"])?;
    assert!(
        unasked.code == Some(64) && unasked.err.contains("one") && unasked.err.contains("--yes"),
        "{}",
        unasked.err
    );
    daemon.run(&["delete", "-l", "app=shop", "--yes"])?;
    assert_eq!(names(&daemon.get("/v1/deployments").await?), ["other"]);
    Ok(())
}

#[tokio::test]
async fn variables_and_overlays_make_one_manifest_of_several_places() -> Result<()> {
    let daemon = simulated()?;
    let text = app(
        "web",
        "command: [run, \"${tag}\", \"${mode:-plain}\", \"$${HOME}\", \"$HOME\"]",
    );
    let base = daemon.file("base.yaml", &text)?;
    let command = async || -> Result<Value> {
        let view = daemon.get("/v1/deployments/web").await?;
        Ok(view["manifest"]["spec"]["services"]["web"]["command"].clone())
    };
    daemon.run(&["apply", "-f", &base])?;
    assert_eq!(
        command().await?,
        serde_json::json!(["run", "${tag}", "${mode:-plain}", "$${HOME}", "$HOME"]),
        "nothing changes for who uses no variables"
    );
    let missing = cli(&daemon, &["apply", "-f", &base, "--set", "other=1"])?;
    assert!(
        missing.code == Some(4)
            && missing
                .err
                .contains("base.yaml:8:27: the variable \"tag\" has no value"),
        "{}",
        missing.err
    );
    let values = daemon.file("values.yaml", "tag: 1.10\nmode: file\n")?;
    daemon.run(&[
        "apply", "-f", &base, "--values", &values, "--set", "mode=set",
    ])?;
    let expected = serde_json::json!(["run", "1.10", "set", "${HOME}", "$HOME"]);
    assert_eq!(command().await?, expected);

    let text = app("web", "command: [run, \"${APP_TAG}\"]");
    let named = daemon.file("named.yaml", &text)?;
    let environment = [("APP_TAG", "7")];
    let arguments = ["apply", "-f", &named, "--env-vars", "APP_"];
    let applied = with(&daemon, &arguments, "", &environment)?;
    assert_eq!(applied.code, Some(0), "{}", applied.err);
    assert_eq!(command().await?, serde_json::json!(["run", "7"]));
    let arguments = ["apply", "-f", &named, "--env-vars", "OTHER_"];
    assert_eq!(
        with(&daemon, &arguments, "", &environment)?.code,
        Some(4),
        "only what was named"
    );

    let overlay = daemon.file(
        "prod.yaml",
        "metadata: {name: web, labels: {app: null}}\nspec:\n  services:\n    web: {replicas: 2, command: [b]}\n    side: {command: [c]}\n",
    )?;
    let diff = cli(&daemon, &["diff", "-f", &named, "--overlay", &overlay])?;
    assert_eq!(diff.code, Some(2), "{}", diff.err);
    daemon.run(&["apply", "-f", &named, "--overlay", &overlay])?;
    let spec = daemon.get("/v1/deployments/web").await?["manifest"].clone();
    assert_eq!(
        (
            &spec["spec"]["services"]["web"]["replicas"],
            &spec["spec"]["services"]["side"]["command"][0],
            &spec["metadata"]["labels"]
        ),
        (&2.into(), &"c".into(), &Value::Null),
        "{spec:#}"
    );
    let broken = daemon.file(
        "broken.yaml",
        "spec:\n  services:\n    web:\n      replicas: many\n",
    )?;
    let refused = cli(&daemon, &["plan", "-f", &named, "--overlay", &broken])?;
    assert!(
        refused.code == Some(4)
            && refused
                .err
                .contains("broken.yaml:4:7: spec.services.web.replicas"),
        "{}",
        refused.err
    );
    let stray = daemon.file("stray.yaml", "metadata: {name: nobody}\n")?;
    let refused = cli(&daemon, &["plan", "-f", &named, "--overlay", &stray])?;
    assert!(
        refused.code == Some(64) && refused.err.contains("nobody"),
        "{}",
        refused.err
    );
    Ok(())
}

#[tokio::test]
async fn what_is_read_can_be_applied_again_and_edited() -> Result<()> {
    let daemon = simulated()?;
    let first = daemon.file("first.yaml", &app("web", "command: [a]"))?;
    daemon.run(&["apply", "-f", &first])?;
    for read in [
        &["-o", "yaml", "get", "web"][..],
        &["-o", "json", "get", "web"],
        &["get", "web", "--manifest"],
    ] {
        let text = daemon.run(read)?;
        let again = with(&daemon, &["apply", "-f", "-", "--detach"], &text, &[])?;
        assert!(
            again.code == Some(0) && again.out.contains("unchanged"),
            "{read:?}: {}{}",
            again.out,
            again.err
        );
    }

    let edit = |script: &str| {
        let editor = daemon.file("editor.sh", &format!("#!/bin/sh\n{script}\n"))?;
        with(
            &daemon,
            &["edit", "web"],
            "",
            &[("EDITOR", &format!("sh {editor}"))],
        )
    };
    let nothing = edit("true")?;
    assert!(
        nothing.code == Some(0) && nothing.err.contains("nothing was changed"),
        "{}",
        nothing.err
    );
    let done = edit("sed -i 's/replicas: 1/replicas: 2/' \"$1\"")?;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(daemon.get("/v1/deployments/web").await?["replicas"], 2);

    // Refused, it is opened again with what is wrong; left as it is, the text is kept.
    let refused = edit("grep -q 'unknown field' \"$1\" || sed -i 's/replicas/replcas/' \"$1\"")?;
    assert_eq!(refused.code, Some(4), "{}", refused.err);
    let kept = refused
        .err
        .split("kept in \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let kept = kept.with_context(|| refused.err.clone())?.to_owned();
    let text = std::fs::read_to_string(&kept)?;
    std::fs::remove_file(&kept)?;
    assert!(
        text.starts_with("#| ") && text.contains("replcas: 2"),
        "{text}"
    );
    Ok(())
}
