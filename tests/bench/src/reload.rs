//! From the rename that puts a new version in place until it serves, while callers decide without pause.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tradewind_core::names::Digest;
use tradewind_kit::component;
use tradewind_wasm::Host;

use crate::{
    host::{Place, policy},
    policy::batch,
    report::{Report, Unit},
    samples::Samples,
};

const CALLERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);

/// The same plugin as other bytes: a custom section of our own at its end.
fn marked(component: &[u8], mark: u32) -> Vec<u8> {
    let name = b"bench";
    let mut section = vec![name.len() as u8];
    section.extend_from_slice(name);
    section.extend_from_slice(&mark.to_le_bytes());
    let mut bytes = component.to_vec();
    bytes.extend([0, section.len() as u8]);
    bytes.extend(section);
    bytes
}

/// Puts each version in place, one after the other, and waits until it serves.
fn replace(host: &Host, folder: &Path, versions: impl Iterator<Item = Vec<u8>>) -> Result<Samples> {
    let mut samples = Samples::default();
    for bytes in versions {
        let part = folder.join(".cheapest.wasm.part");
        let wanted = Digest::of(&bytes);
        fs::write(&part, &bytes)?;
        let since = Instant::now();
        fs::rename(&part, folder.join("cheapest.wasm"))?;
        while policy(host, "cheapest")?.identity().component != wanted {
            ensure!(
                since.elapsed() < PATIENCE,
                "a version does not serve after {PATIENCE:?}: {:#?}",
                host.handle().list()
            );
            std::thread::sleep(Duration::from_micros(100));
        }
        samples.add(since.elapsed());
    }
    Ok(samples)
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let place = Place::new(&["cheapest"], &[]).await?;
    let host = place.start().await?;
    let request = Arc::new(batch(1, 1, 100)?);
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (host, request, stop, calls) =
                (host.clone(), request.clone(), stop.clone(), calls.clone());
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    policy(&host, "cheapest")?.place(&request).await?;
                    calls.fetch_add(1, Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();

    let (cheapest, fastest) = (
        fs::read(component("cheapest"))?,
        fs::read(component("fastest"))?,
    );
    let (folder, replacing) = (place.plugins(), host.clone());
    let begun = Instant::now();
    // On a thread of its own, so that the callers don't hold up the clock.
    let replaced = tokio::task::spawn_blocking(move || {
        let unseen = replace(
            &replacing,
            &folder,
            (0..20).map(|i| marked(if i % 2 == 0 { &fastest } else { &cheapest }, i)),
        );
        let known = replace(
            &replacing,
            &folder,
            (0..52).map(|i| {
                if i % 2 == 0 {
                    fastest.clone()
                } else {
                    cheapest.clone()
                }
            }),
        );
        anyhow::Ok((unseen?, known?))
    })
    .await;
    stop.store(true, Relaxed);
    let took = begun.elapsed();
    for caller in callers {
        caller
            .await?
            .context("a call failed while the policy was replaced")?;
    }
    let (unseen, known) = replaced??;
    host.handle().shutdown().await;
    place.close().await;

    let load = format!("{CALLERS} callers");
    report.time(
        format!("reload, file closed → serving, compiled before, {load}, median"),
        Unit::Millis,
        known.median(),
    );
    report.time(
        format!("reload, file closed → serving, compiled before, {load}, p99"),
        Unit::Millis,
        known.p99(),
    );
    report.time(
        format!("reload, file closed → serving, never seen, {load}, median"),
        Unit::Millis,
        unseen.median(),
    );
    report.time(
        format!("reload, file closed → serving, never seen, {load}, p99"),
        Unit::Millis,
        unseen.p99(),
    );
    report.value(
        "decisions meanwhile, none failed",
        calls.load(Relaxed) as f64 / took.as_secs_f64(),
        "1/s",
        None,
    );
    Ok(())
}
