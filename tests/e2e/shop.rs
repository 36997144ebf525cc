//! The deployment that the tests of REST clouds share: a service with a password, which only the cloud may see.

use anyhow::Result;
use tradewind_kit::Daemon;

pub(crate) const PASSWORD: &str = "canary \"pass\\word\" of the database";

pub(crate) fn manifest(replicas: u32, version: u32) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: shop}}
spec:
  services:
    web:
      image: registry.example.com/shop:{version}
      command: [shop, serve]
      env: {{VERSION: "{version}", PASSWORD: {{secret: db, key: password}}}}
      ports: {{http: {{protocol: http, port: 8080, expose: public}}}}
      replicas: {replicas}
      resources: {{cpu: 500m, memory: 1Gi}}
"#
    )
}

/// A daemon with the plugin, its instance `cloud`, and the password among its secrets.
pub(crate) fn start(plugin: &str, instance: &str) -> Result<Daemon> {
    let daemon = Daemon::start(&["cheapest", plugin], &[("cloud", instance)])?;
    let secrets = daemon.data().join("secrets/db");
    std::fs::create_dir_all(&secrets)?;
    std::fs::write(secrets.join("password"), PASSWORD)?;
    Ok(daemon)
}

/// So many replicas of a version, as `held` tells them.
pub(crate) fn replicas(count: u32, version: u32) -> Vec<(String, String)> {
    (0..count)
        .map(|index| (index.to_string(), version.to_string()))
        .collect()
}
