//! The benches: measure, print a table, write `results.json` (its path in TRADEWIND_BENCH_RESULTS).
//! What is compared with something is compared in the same run on the same machine, except with other systems, whose figures name
//! their source. `bench NAME…` runs only those parts.

mod client;
mod containers;
mod daemon;
mod failover;
mod host;
mod kubernetes;
mod load;
mod mechanisms;
mod native;
mod optimal;
mod policy;
mod records;
mod reload;
mod report;
mod samples;
mod services;
mod shadow;
mod state;

use anyhow::{Result, ensure};

use report::Report;

const PARTS: [&str; 14] = [
    "policy",
    "mechanisms",
    "optimal",
    "records",
    "load",
    "reload",
    "daemon",
    "services",
    "containers",
    "writes",
    "large",
    "failover",
    "shadow",
    "kubernetes",
];

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let [server] = &asked[..]
        && mechanisms::SERVERS.contains(&server.as_str())
    {
        return tokio::runtime::Runtime::new()?.block_on(mechanisms::serve(server));
    }
    if let Some(unknown) = asked.iter().find(|part| !PARTS.contains(&part.as_str())) {
        anyhow::bail!(
            "there is no part \"{unknown}\"; there are {}",
            PARTS.join(", ")
        );
    }
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|a| a == part);
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a development build; `make bench` measures a release build");
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let mut report = Report::default();
    let measured = runtime.block_on(async {
        if wanted("policy") {
            policy::measure(&mut report).await?;
        }
        if wanted("mechanisms") {
            mechanisms::measure(&mut report).await?;
        }
        if wanted("optimal") {
            optimal::measure(&mut report).await?;
        }
        if wanted("records") {
            records::measure(&mut report).await?;
        }
        if wanted("load") {
            load::measure(&mut report).await?;
        }
        if wanted("reload") {
            reload::measure(&mut report).await?;
        }
        if wanted("daemon") {
            daemon::measure(&mut report)?;
        }
        if wanted("services") {
            services::measure(&mut report).await?;
        }
        if wanted("containers") {
            containers::measure(&mut report).await?;
        }
        if wanted("writes") {
            state::writes(&mut report).await?;
        }
        if wanted("large") {
            state::large(&mut report).await?;
        }
        if wanted("failover") {
            failover::measure(&mut report).await?;
        }
        if wanted("kubernetes") {
            kubernetes::measure(&mut report).await?;
        }
        if wanted("shadow") {
            shadow::measure(&mut report).await?;
        }
        anyhow::Ok(())
    });
    // What has been measured before something failed is told in any case.
    report.finish()?;
    measured?;
    ensure!(!report.is_empty(), "nothing was measured");
    Ok(())
}
