//! Worked example E1, through the API and the command line, with real components.

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_kit::Daemon;

/// The three clouds of the example. Azure is half as fast, so that an hour of work takes two.
const CLOUDS: [(&str, &str); 3] = [("aws", E1_AWS), ("azure", E1_AZURE), ("google", E1_GOOGLE)];

const E1_AWS: &str = r#"
component = "simulated.wasm"
[settings.regions.us-west-2.sizes.large]
cpu = 2
memory = "4Gi"
price = "0.5"
price-unit = "cpu"
"#;

const E1_AZURE: &str = r#"
component = "simulated.wasm"
[settings.regions.us-east-1.sizes.small]
cpu = 1
memory = "2Gi"
price = "0.3"
price-unit = "cpu"
performance = 0.5
"#;

const E1_GOOGLE: &str = r#"
component = "simulated.wasm"
[settings.regions.us-central1.sizes.small]
cpu = 1
memory = "2Gi"
price = "0.2"
price-unit = "cpu"
"#;

const MANIFEST: &str = include_str!("../manifests/good/e1.yaml");

fn row<'a>(report: &'a Value, provider: &str) -> &'a Value {
    let offers = report["tasks"][0]["offers"].as_array().expect("offers");
    offers
        .iter()
        .find(|o| o["provider"] == provider)
        .expect("one offer of each cloud")
}

#[tokio::test]
async fn every_number_of_the_example_is_in_the_report() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &CLOUDS)?;
    let file = daemon.file("e1.yaml", MANIFEST)?;
    let report: Value = serde_json::from_str(&daemon.run(&["-o", "json", "assess", "-f", &file])?)?;
    for (provider, c, t, by_cpu, by_product) in [
        ("aws", "0.50", 1.0, (2.0, "1.00"), (8.0, "4.00")),
        ("azure", "0.30", 2.0, (1.0, "0.60"), (2.0, "1.20")),
        ("google", "0.20", 1.0, (1.0, "0.20"), (2.0, "0.40")),
    ] {
        let row = row(&report, provider);
        assert_eq!(
            (&row["unitPrice"], &row["hours"]),
            (&json!(c), &json!(t)),
            "{provider}: {row:#}"
        );
        assert_eq!(
            (&row["byCpu"]["units"], &row["byCpu"]["cost"]),
            (&json!(by_cpu.0), &json!(by_cpu.1)),
            "{provider}"
        );
        assert_eq!(
            (&row["byCpuMemory"]["units"], &row["byCpuMemory"]["cost"]),
            (&json!(by_product.0), &json!(by_product.1)),
            "{provider}"
        );
        assert_eq!(
            (&row["units"], &row["cost"]),
            (&row["byCpu"]["units"], &row["byCpu"]["cost"]),
            "the offer's own unit is in force"
        );
    }
    assert_eq!(report["tasks"][0]["choice"][0]["provider"], "google");

    let table = daemon.run(&["assess", "-f", &file])?;
    for number in [
        "aws", "azure", "google", "0.50", "0.30", "0.20", "1.00", "0.60", "4.00", "1.20", "0.40",
    ] {
        assert!(table.contains(number), "{number} is missing in:\n{table}");
    }
    Ok(())
}

#[tokio::test]
async fn targets_pin_services_to_three_clouds_and_platforms_are_labels() -> Result<()> {
    let cloud = |region: &str, platform: &str| {
        format!(
            "component = \"simulated.wasm\"\n[settings.regions.{region}.sizes.small]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.1\"\nlabels = {{ platform = \"{platform}\" }}\n"
        )
    };
    let (aws, azure, google) = (
        cloud("us-west-2", "EKS"),
        cloud("us-east-1", "AKS"),
        cloud("us-central1", "GKE"),
    );
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("aws", &aws), ("azure", &azure), ("google", &google)],
    )?;
    daemon.run(&[
        "apply",
        "-f",
        &daemon.file(
            "three.yaml",
            include_str!("../manifests/good/three-clouds.yaml"),
        )?,
    ])?;
    let listed: Value = serde_json::from_str(&daemon.run(&["-o", "json", "get"])?)?;
    let places = listed["items"][0]["places"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        places,
        [
            json!("aws/us-west-2"),
            json!("azure/us-east-1"),
            json!("google/us-central1")
        ],
        "{listed:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_shape_is_assessed_without_a_manifest_and_nonsense_is_refused() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &CLOUDS)?;
    let shape = [
        "-o",
        "json",
        "assess",
        "--cpu",
        "1",
        "--memory",
        "2Gi",
        "--replicas",
        "3",
        "--hours",
        "10",
    ];
    let report: Value = serde_json::from_str(&daemon.run(&shape)?)?;
    let google = row(&report, "google");
    assert_eq!(
        (
            &google["hours"],
            &google["cost"],
            &google["total"]["estimate"]
        ),
        (&json!(10.0), &json!("2.00"), &json!("6.00")),
        "{google:#}"
    );
    let benefit = &report["tasks"][0]["benefit"];
    assert_eq!(
        (&benefit["chosen"]["hourly"], &benefit["chosen"]["monthly"]),
        (&json!("0.60"), &json!("438.00")),
        "{benefit:#}"
    );
    assert_eq!(
        (
            &benefit["cheapest"]["provider"],
            &benefit["cheapest"]["more"]["estimate"]
        ),
        (&json!("google"), &json!("0.00")),
        "{benefit:#}"
    );
    let told = daemon.cli(&["assess", "--cpu", "1", "--memory", "2Gi", "--hours", "0"])?;
    assert!(
        !told.status.success() && String::from_utf8_lossy(&told.stderr).contains("hours is 0"),
        "{told:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_report_is_a_page_that_needs_nothing_else() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &CLOUDS)?;
    let file = daemon.file("e1.yaml", MANIFEST)?;
    let page = daemon.run(&["assess", "-f", &file, "-o", "html"])?;
    assert!(
        page.starts_with("<!DOCTYPE html>")
            && page.contains("<svg")
            && page.contains("prefers-color-scheme: dark")
    );
    for cell in [
        "aws/", "azure/", "google/", "$0.50", "$0.30", "$0.20", ">2<", "R 8<", ">1<", "$1.00",
        "$4.00", "$0.60", "$1.20", "$0.40",
    ] {
        assert!(page.contains(cell), "{cell} is missing in:\n{page}");
    }
    assert!(
        !page.contains("<script") && !page.contains("src=") && !page.contains("href="),
        "{page}"
    );
    let asked = daemon
        .http
        .get(daemon.url("/v1/assessments?cpu=1&memory=2Gi"))
        .header("accept", "text/html")
        .send()
        .await?;
    let (kind, policy) = (
        asked.headers()["content-type"].clone(),
        asked.headers()["content-security-policy"].clone(),
    );
    assert_eq!(
        (kind.to_str()?, policy.to_str()?),
        (
            "text/html; charset=utf-8",
            "default-src 'none'; style-src 'unsafe-inline'"
        )
    );
    assert!(
        !daemon.cli(&["-o", "html", "get"])?.status.success(),
        "other commands have no page"
    );
    Ok(())
}

#[tokio::test]
async fn what_was_measured_is_reported_beside_the_quotes_and_survives_a_restart() -> Result<()> {
    let cloud = "component = \"simulated.wasm\"\n[settings.regions.eu.sizes.s]\ncpu = 2\nmemory = \"4Gi\"\nprice = \"0.1\"\n";
    let mut daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[
            ("plain", cloud),
            ("quoted", &format!("{cloud}time-to-ready = \"7s\"\n")),
        ],
    )?;
    let manifest = |name: &str| {
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{placement: {{providers: [{name}]}}, \
             services: {{web: {{command: [web], replicas: 2}}}}}}}}"
        )
    };
    for name in ["plain", "quoted"] {
        daemon.put(name, &manifest(name)).await?;
        daemon.running(name).await?;
    }
    let path = "/v1/assessments?cpu=1&memory=1Gi";
    let measured = |report: &Value, provider: &str, figure: &str| {
        row(report, provider)["quality"][figure]["measured"]["samples"].as_u64()
    };
    let all = |report: &Value| {
        let both = |figure: &str| {
            ["plain", "quoted"]
                .iter()
                .all(|p| measured(report, p, figure).is_some())
        };
        both("timeToReady") && both("failureRate") && both("availability")
    };
    daemon.until_at(path, "measured", all).await?;
    daemon.stop()?;
    daemon.launch()?;
    let report = daemon.until_at(path, "measured", all).await?;
    let (plain, quoted) = (
        &row(&report, "plain")["quality"],
        &row(&report, "quoted")["quality"],
    );
    assert_eq!(
        (
            &plain["timeToReady"]["basis"],
            measured(&report, "plain", "timeToReady")
        ),
        (&json!("measured"), Some(2)),
        "{plain:#}"
    );
    assert_eq!(
        plain["timeToReady"]["value"], plain["timeToReady"]["measured"]["value"],
        "policies see it where nothing is quoted"
    );
    assert_eq!(
        (
            &plain["failureRate"]["value"],
            &plain["availability"]["value"]
        ),
        (&json!(0.0), &json!(1.0)),
        "{plain:#}"
    );
    let ready = &quoted["timeToReady"];
    assert_eq!(
        (&ready["basis"], &ready["value"], &ready["quoted"]["value"]),
        (&json!("quoted"), &json!(7000.0), &json!(7000.0)),
        "{ready:#}"
    );
    assert!(
        ready["measured"]["value"]
            .as_f64()
            .is_some_and(|p| p >= 7000.0),
        "it takes as long as it quotes: {ready:#}"
    );
    let table = daemon.run(&["assess", "--cpu", "1", "--memory", "1Gi"])?;
    assert!(
        table.contains("7 s quoted") && table.contains("measured 2 times"),
        "{table}"
    );
    Ok(())
}
