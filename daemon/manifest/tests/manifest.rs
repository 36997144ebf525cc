//! Manifests as users write them: each file of `tests/manifests/good` is accepted, and each of `bad` is refused with exactly the problems in
//! the `.error` file beside it. `TRADEWIND_UPDATE=1` writes those files anew, for review.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use tradewind_core::manifest::{Manifest, json_schema, resolve};
use tradewind_manifest::{Format, Invalid};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/manifests")
        .join(name)
}

/// The manifests of a folder in order; at least one.
fn files(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name))
        .unwrap()
        .map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries.filter(|p| format(p).is_some()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn format(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "yaml" => Some(Format::Yaml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

fn parse(path: &Path) -> Result<Manifest, Invalid> {
    tradewind_manifest::parse(&fs::read(path).unwrap(), format(path).unwrap())
}

fn good(name: &str) -> Manifest {
    parse(&folder("good").join(name)).unwrap()
}

fn told(invalid: &Invalid) -> String {
    let mut out = String::new();
    for p in &invalid.problems {
        if let (Some(line), Some(column)) = (p.line, p.column) {
            out += &format!("{line}:{column}: ");
        }
        if !p.path.is_empty() {
            out += &format!("{}: ", p.path);
        }
        out += &format!("{}\n", p.message);
    }
    out
}

#[test]
fn bad_manifests_are_refused_with_the_field_and_what_would_be_right() {
    let mut wrong = Vec::new();
    for path in files("bad") {
        let expected = PathBuf::from(format!("{}.error", path.display()));
        let told = told(&parse(&path).expect_err(&path.display().to_string()));
        if std::env::var_os("TRADEWIND_UPDATE").is_some() {
            fs::write(&expected, &told).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != told {
            wrong.push(format!("--- {}\n{told}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "not as the .error files say:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn good_manifests_survive_json_and_fit_the_schema() {
    let schema = jsonschema::validator_for(&json_schema()).unwrap();
    for path in files("good") {
        let manifest = parse(&path).unwrap_or_else(|e| panic!("{}:\n{}", path.display(), told(&e)));
        let json = serde_json::to_value(&manifest).unwrap();
        let again = tradewind_manifest::parse(json.to_string().as_bytes(), Format::Json)
            .unwrap_or_else(|e| panic!("{}", told(&e)));
        assert_eq!(again, manifest, "{}", path.display());
        // What the user wrote fits as well as what the daemon writes.
        let written = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for value in [json, written] {
            let problems: Vec<_> = schema
                .iter_errors(&value)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert!(problems.is_empty(), "{}: {problems:?}", path.display());
        }
    }
    for bad in [
        "unknown-field.yaml",
        "wrong-type.yaml",
        "negative.yaml",
        "wrong-kind.yaml",
        "missing.yaml",
        "names.yaml",
    ] {
        let text = fs::read_to_string(folder("bad").join(bad)).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert!(!schema.is_valid(&value), "{bad}");
    }
}

#[test]
fn full_manifest_uses_every_field() {
    let schema = json_schema();
    let full = serde_json::to_string(&good("full.yaml")).unwrap();
    let mut fields = vec![&schema["properties"]];
    fields.extend(
        schema["$defs"]
            .as_object()
            .unwrap()
            .values()
            .map(|d| &d["properties"])
            .filter(|p| p.is_object()),
    );
    for field in fields
        .into_iter()
        .flat_map(|p| p.as_object().unwrap().keys())
    {
        assert!(
            full.contains(&format!("\"{field}\":")),
            "full.yaml lacks \"{field}\""
        );
    }
}

#[test]
fn numbers_in_the_environment_stay_as_they_were_written() {
    let resolved = resolve(&good("full.yaml"));
    let env = &resolved[0].workload.env;
    let text = |name: &str| format!("{:?}", env.iter().find(|e| e.name == name).unwrap().value);
    assert_eq!(text("VERSION"), "Text(\"1.10\")");
    assert_eq!(text("DEBUG"), "Text(\"false\")");
}

/// The text of an environment variable, however its number is written and in whichever notation.
#[test]
fn every_digit_of_a_number_in_the_environment_reaches_the_program() {
    for number in [
        "123456789012345678901",
        "18446744073709551615",
        "18446744073709551616",
        "9007199254740993",
        "1.10",
        "1e3",
        "1E+2",
        "1e400",
        "-0",
        "0.1000",
        "-12345678901234567890123",
    ] {
        let json = format!(
            r#"{{"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {{"name": "n"}},
                "spec": {{"jobs": {{"j": {{"command": ["env"], "env": {{"A": {number} }}}}}}}}}}"#
        );
        let yaml = format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: n}}\nspec: {{jobs: {{j: {{command: [env], env: {{A: {number}}}}}}}}}"
        );
        for (text, format) in [(json, Format::Json), (yaml, Format::Yaml)] {
            let manifest = tradewind_manifest::parse(text.as_bytes(), format)
                .unwrap_or_else(|e| panic!("{text}: {}", told(&e)));
            let env = format!("{:?}", resolve(&manifest)[0].workload.env[0].value);
            assert_eq!(env, format!("Text({number:?})"), "{format:?}");
            assert_eq!(
                tradewind_manifest::name(text.as_bytes(), format).as_deref(),
                Some("n")
            );
        }
    }
    for word in [".inf", "-.inf", ".nan", "012345678901", "0x1F", "1_000"] {
        let text = format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: n}}\nspec: {{jobs: {{j: {{command: [env], env: {{A: {word}}}}}}}}}"
        );
        let manifest = tradewind_manifest::parse(text.as_bytes(), Format::Yaml)
            .unwrap_or_else(|e| panic!("{text}: {}", told(&e)));
        assert_eq!(
            format!("{:?}", resolve(&manifest)[0].workload.env[0].value),
            format!("Text({word:?})")
        );
        assert_eq!(
            tradewind_manifest::name(text.as_bytes(), Format::Yaml).as_deref(),
            Some("n"),
            "{word}"
        );
    }
    assert_eq!(
        tradewind_manifest::name(b"metadata: {name: other}\nspec: [", Format::Yaml),
        None
    );
    assert_eq!(
        tradewind_manifest::name(
            b"kind: [no, manifest]\nmetadata: {name: other}",
            Format::Yaml
        )
        .as_deref(),
        Some("other")
    );
}

/// What the daemon takes, an editor with its schema takes; and the other way round as far as a schema can tell.
#[test]
fn the_schema_accepts_what_the_daemon_accepts() {
    let schema = jsonschema::validator_for(&json_schema()).unwrap();
    let verdicts = |field: &str, value: &str| {
        let (job, service) = match field {
            "deadline" | "duration" | "retries" | "user" => {
                (format!(", \"{field}\": {value}"), String::new())
            }
            "cpu" | "memory" => (
                format!(
                    ", \"resources\": {{\"{field}\": {value}}}, \"limits\": {{\"cpu\": 4096, \"memory\": \"1Ti\"}}"
                ),
                String::new(),
            ),
            "mode" => (
                format!(", \"files\": [{{\"path\": \"a\", \"content\": \"\", \"mode\": {value}}}]"),
                String::new(),
            ),
            "maxPrice" => (
                format!(", \"placement\": {{\"maxPrice\": {value}}}"),
                String::new(),
            ),
            "env" => (format!(", \"env\": {{\"A\": {value}}}"), String::new()),
            "interval" => (
                String::new(),
                format!(", \"startup\": {{\"command\": [\"up\"], \"interval\": {value}}}"),
            ),
            other => panic!("{other}"),
        };
        let text = format!(
            "{{\"apiVersion\": \"tradewind.dev/v1\", \"kind\": \"CloudDeployment\", \"metadata\": {{\"name\": \"n\"}}, \"spec\": {{\
             \"services\": {{\"s\": {{\"command\": [\"x\"]{service}}}}}, \"jobs\": {{\"j\": {{\"command\": [\"x\"]{job}}}}}}}}}"
        );
        let daemon = tradewind_manifest::parse(text.as_bytes(), Format::Json);
        (
            daemon.is_ok(),
            schema.is_valid(&serde_json::from_str(&text).unwrap()),
            text,
        )
    };
    let table: [(&str, &[&str], &[&str]); 10] = [
        (
            "deadline",
            &[
                "1.5h", "0.5s", "90s", "1h 30m", "1h30m", "250ms", "2w", "3 days", " 5 min ",
                "1day 1h", "36500d",
            ],
            &[
                "30M", "1month", "2 years", "1y", "90", "5S", "-5s", "", "1 0s", ".5h", "PT5M",
                "1h 30", "5.s",
            ],
        ),
        (
            "duration",
            &["1.5h", "1500us", "1h 0.5m"],
            &["20M", "1months", "1 year 2h"],
        ),
        ("interval", &["500ms", "0.5s", "2s"], &["1M", "1yr"]),
        (
            "cpu",
            &["2", "0.5", ".5", "500m", "0.250", "0.1250", " 1 "],
            &["01", "010m", "1e3", "+2", "0.0001", "5.", "m", "-1", "1,5"],
        ),
        (
            "memory",
            &[
                "512Mi",
                "1.5Gi",
                "64M",
                "64000k",
                "64000KB",
                "1 GiB",
                "1073741824",
                ".5Gi",
            ],
            &["064Mi", "1ki", "1e9", "5BB", "-1", "Mi", "5."],
        ),
        (
            "maxPrice",
            &["0.25", "$0.25", "0.25 USD", ".5", "1."],
            &["0.1234567", "one", "-1"],
        ),
        (
            "mode",
            &["644", "0644", "0o644", "7", "0o7777"],
            &["888", "00644", "0x1a4", "rw", "", "-1"],
        ),
        ("user", &["1000", "www-data", "1000:1000"], &[]),
        ("env", &["", "x"], &[]),
        ("retries", &[], &["3"]),
    ];
    for (field, good, bad) in table {
        let quoted = |text: &&str| format!("\"{text}\"");
        for value in good.iter().map(quoted) {
            let (daemon, schema, text) = verdicts(field, &value);
            assert!(daemon && schema, "daemon {daemon}, schema {schema}: {text}");
        }
        for value in bad.iter().map(quoted) {
            let (daemon, schema, text) = verdicts(field, &value);
            assert!(
                !daemon && !schema,
                "daemon {daemon}, schema {schema}: {text}"
            );
        }
    }
    // Numbers as numbers. A schema takes some that the daemon refuses; none the other way round.
    for (field, value, daemon, schema) in [
        ("cpu", "2", true, true),
        ("cpu", "0.5", true, true),
        ("memory", "1073741824", true, true),
        ("maxPrice", "0.25", true, true),
        ("user", "1000", true, true),
        ("user", "1.5", false, false),
        ("mode", "420", false, true),
        ("env", "123456789012345678901", true, true),
        ("env", "1.10", true, true),
        ("env", "true", true, true),
        ("retries", "3", true, true),
        ("retries", "3.5", false, false),
        ("deadline", "90", false, false),
    ] {
        let told = verdicts(field, value);
        assert_eq!((told.0, told.1), (daemon, schema), "{}", told.2);
    }
}

/// Modes and users as people write them in YAML.
#[test]
fn octal_modes_and_numeric_users_have_one_meaning() {
    let written = |mode: &str, user: &str| {
        let text = format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: n}}\nspec: {{jobs: {{j: {{image: i, user: {user}, files: [{{path: a, content: x, mode: {mode}}}]}}}}}}"
        );
        let workload = resolve(
            &tradewind_manifest::parse(text.as_bytes(), Format::Yaml)
                .unwrap_or_else(|e| panic!("{text}: {}", told(&e))),
        )[0]
        .workload
        .clone();
        (workload.files[0].mode, workload.user)
    };
    for mode in ["0644", "0o644", "\"644\"", "\"0644\"", "\"0o644\""] {
        assert_eq!(written(mode, "1000"), (0o644, "1000".to_owned()), "{mode}");
    }
    assert_eq!(written("0600", "\"www-data:33\"").1, "www-data:33");
}

#[test]
fn three_clouds_resolve_to_three_places() {
    let places: Vec<String> = resolve(&good("three-clouds.yaml"))
        .iter()
        .map(|r| r.target.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(
        places,
        [
            "aws/us-west-2 (EKS)",
            "azure/us-east-1 (AKS)",
            "google/us-central1 (GKE)"
        ]
    );
}

/// The list that the refusal of repeated keys shows is the manifest that its author meant.
#[test]
fn shown_list_can_be_pasted() {
    let invalid = parse(&folder("bad").join("several-clouds.yaml")).unwrap_err();
    let list = invalid.problems[0].message.split("\n\n").nth(1).unwrap();
    let head = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: my-model}\nspec:\n  services: {my-model: {image: m}}\n";
    let manifest =
        tradewind_manifest::parse(format!("{head}{list}").as_bytes(), Format::Yaml).unwrap();
    assert_eq!(
        manifest.spec.targets,
        good("three-clouds.yaml").spec.targets
    );
}

#[test]
fn targets_pin_services_with_their_own_counts_and_leave_jobs_to_the_policy() {
    let resolved = resolve(&good("full.yaml"));
    let told: Vec<String> = resolved
        .iter()
        .map(|r| {
            format!(
                "{} x{} {}",
                r.name,
                r.replicas,
                r.target
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "web x3 aws/us-west-2 (EKS)",
            "web x4 google/europe-west1",
            "cache x0 google/europe-west1",
            "tidy x1 ",
            "migrate x1 "
        ]
    );
    let web = &resolved[0];
    assert_eq!(web.workload.stop_signal, "INT");
    assert_eq!(
        web.workload.limits.as_ref().map(|l| l.accelerators.len()),
        Some(1)
    );
    assert_eq!(
        web.constraints.labels.get("platform").map(String::as_str),
        Some("EKS")
    );
    assert_eq!(
        web.constraints
            .regions
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["us-west-2"]
    );
}

proptest::proptest! {
    /// Whatever becomes of a good text, the reader answers, and a refusal says why.
    #[test]
    fn damaged_texts_are_read_or_refused(damage in proptest::collection::vec((0usize..4_000, "[\\[\\]{}:,&*!|>'\"%@`#\\-?\n a1\t]{0,3}", 0usize..6), 1..4)) {
        for (name, format) in [("full.yaml", Format::Yaml), ("hello.json", Format::Json)] {
            let mut text = fs::read_to_string(folder("good").join(name)).unwrap();
            for (at, new, gone) in &damage {
                let at = at % text.len();
                let end = (at + gone).min(text.len());
                text.replace_range(at..end, new);
            }
            if let Err(invalid) = tradewind_manifest::parse(text.as_bytes(), format) {
                assert!(!invalid.problems.is_empty());
            }
        }
    }
}

/// Ten megabytes that try to exhaust the stack or the memory of the reader, or to make it work for hours.
#[test]
fn hostile_texts_are_refused() {
    const SIZE: usize = 10 << 20;
    let repeat = |unit: &str| unit.repeat(SIZE / unit.len());
    let deep: String = (0..4_000)
        .map(|i| format!("{}a:\n", " ".repeat(i)))
        .collect();
    let anchors: String =
        (0..60).map(|i| format!("&a{i} [")).collect::<String>() + &"x,".repeat(100_000);
    let texts = [
        repeat("["),
        repeat("{"),
        repeat("a:\n a:\n"),
        repeat("[[],"),
        repeat("{a: "),
        repeat("- "),
        repeat("- a\n"),
        repeat("? "),
        repeat("&a "),
        repeat("*a "),
        repeat("!!str "),
        repeat("\""),
        repeat("'a"),
        repeat("--- \n"),
        repeat("--- a\n"),
        repeat("#\n"),
        repeat("%"),
        repeat("%a\n"),
        repeat("<<: "),
        repeat("a: |\n"),
        repeat("\0"),
        repeat("a "),
        repeat("\n"),
        repeat("{\"a\":"),
        repeat("[0,"),
        repeat("\"a\","),
        repeat("a,"),
        repeat("]"),
        repeat(": "),
        repeat("a: b: "),
        deep,
        anchors,
        format!("[{}0]", repeat("0,")),
        format!("{{{}\"a\":0}}", repeat("\"a\":0,")),
    ];
    // A thread's usual stack; overflowing it would end the process.
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || {
            for text in texts {
                for format in [Format::Yaml, Format::Json] {
                    let head: String = text.chars().take(12).collect();
                    assert!(
                        tradewind_manifest::parse(text.as_bytes(), format).is_err(),
                        "{head}"
                    );
                }
            }
        })
        .unwrap()
        .join()
        .unwrap();
}

/// A manifest that is sent to a namespace belongs to it, unless it says otherwise: then it is refused where it says so.
#[test]
fn a_manifest_names_its_namespace_or_takes_the_one_it_is_sent_to() {
    let yaml = |metadata: &str| {
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {metadata}\nspec: {{services: {{w: {{command: [a]}}}}}}\n"
        )
    };
    let json = |metadata: &str| {
        format!(
            r#"{{"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {metadata}, "spec": {{"services": {{"w": {{"command": ["a"]}}}}}}}}"#
        )
    };
    let red = "red".parse().unwrap();
    let sent = |text: String, format| tradewind_manifest::parse_in(text.as_bytes(), format, &red);
    for (text, format) in [
        (yaml("{name: x}"), Format::Yaml),
        (yaml("{name: x, namespace: red}"), Format::Yaml),
        (json(r#"{"name": "x"}"#), Format::Json),
    ] {
        assert_eq!(sent(text, format).unwrap().metadata.namespace, red);
    }
    for (text, format) in [
        (yaml("{name: x, namespace: default}"), Format::Yaml),
        (json(r#"{"name": "x", "namespace": "blue"}"#), Format::Json),
    ] {
        let problem = sent(text, format).unwrap_err().problems.remove(0);
        assert_eq!(problem.path, "metadata.namespace");
        assert!(
            problem.message.contains("\"red\"") && problem.line.is_some(),
            "{problem:?}"
        );
    }
    let both = sent(
        yaml("{name: x, namespace: blue}").replace("command: [a]", "replicas: 20000"),
        Format::Yaml,
    )
    .unwrap_err();
    assert!(both.problems.len() > 1, "every problem at once: {both:?}");
}
