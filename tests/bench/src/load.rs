//! Starting the plugin host: with nothing compiled yet, and with everything in the compile cache.

use anyhow::{Result, ensure};
use tradewind_api::PluginState;

use crate::{
    host::Place,
    report::{Report, Unit},
    samples::Samples,
};

/// Two clouds of the plugin `simulated`.
pub(crate) const CLOUDS: [(&str, &str); 2] = [
    (
        "east",
        "component = \"simulated.wasm\"\n[settings.regions.east.sizes.small]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.10\"\n",
    ),
    (
        "west",
        "component = \"simulated.wasm\"\n[settings.regions.west.sizes.large]\ncpu = 8\nmemory = \"32Gi\"\nprice = \"0.90\"\n",
    ),
];

/// One with room for all.
pub(crate) const ROOMY: &str = "component = \"simulated.wasm\"\n[settings.regions.east.sizes.small]\ncpu = 4\nmemory = \"16Gi\"\n\
    price = \"0.10\"\ncapacity = 1000000\n";

async fn start(place: &Place, plugins: usize, samples: &mut Samples) -> Result<()> {
    let since = std::time::Instant::now();
    let host = place.start().await?;
    samples.add(since.elapsed());
    let active = host
        .handle()
        .list()
        .iter()
        .filter(|p| p.state == PluginState::Active)
        .count();
    ensure!(
        active == plugins,
        "{active} of {plugins} plugins are active: {:#?}",
        host.handle().list()
    );
    host.handle().shutdown().await;
    Ok(())
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let mut instances = vec![("local", tradewind_kit::LOCAL)];
    instances.extend(CLOUDS);
    let none = Place::new(&[], &[]).await?;
    let one = Place::new(&["cheapest"], &[]).await?;
    let five = Place::new(&["cheapest", "fastest", "process", "simulated"], &instances).await?;
    for (what, place, plugins) in [
        ("no plugin", none, 0),
        ("one plugin", one, 1),
        ("five plugins of four components", five, 5),
    ] {
        let (mut cold, mut warm) = (Samples::default(), Samples::default());
        for _ in 0..5 {
            place.forget_compiled()?;
            start(&place, plugins, &mut cold).await?;
        }
        for _ in 0..20 {
            start(&place, plugins, &mut warm).await?;
        }
        if plugins > 0 {
            report.time(
                format!("plugin host start, {what}, empty compile cache, median"),
                Unit::Millis,
                cold.median(),
            );
        }
        report.time(
            format!("plugin host start, {what}, all in the compile cache, median"),
            Unit::Millis,
            warm.median(),
        );
        place.close().await;
    }
    Ok(())
}
