//! Worked example E1, through the API and the command line, with real components.

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_tests::Daemon;

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
    offers.iter().find(|o| o["provider"] == provider).expect("one offer of each cloud")
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
        assert_eq!((&row["unitPrice"], &row["hours"]), (&json!(c), &json!(t)), "{provider}: {row:#}");
        assert_eq!((&row["byCpu"]["units"], &row["byCpu"]["cost"]), (&json!(by_cpu.0), &json!(by_cpu.1)), "{provider}");
        assert_eq!((&row["byCpuMemory"]["units"], &row["byCpuMemory"]["cost"]), (&json!(by_product.0), &json!(by_product.1)), "{provider}");
        assert_eq!((&row["units"], &row["cost"]), (&row["byCpu"]["units"], &row["byCpu"]["cost"]), "the offer's own unit is in force");
    }
    assert_eq!(report["tasks"][0]["choice"][0]["provider"], "google");

    let table = daemon.run(&["assess", "-f", &file])?;
    for number in ["aws", "azure", "google", "0.50", "0.30", "0.20", "1.00", "0.60", "4.00", "1.20", "0.40"] {
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
    let (aws, azure, google) = (cloud("us-west-2", "EKS"), cloud("us-east-1", "AKS"), cloud("us-central1", "GKE"));
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("aws", &aws), ("azure", &azure), ("google", &google)])?;
    daemon.run(&["apply", "-f", &daemon.file("three.yaml", include_str!("../manifests/good/three-clouds.yaml"))?])?;
    let listed: Value = serde_json::from_str(&daemon.run(&["-o", "json", "get"])?)?;
    let places = listed[0]["places"].as_array().cloned().unwrap_or_default();
    assert_eq!(places, [json!("aws/us-west-2"), json!("azure/us-east-1"), json!("google/us-central1")], "{listed:#}");
    Ok(())
}
