//! SIGHUP: what can change while the daemon runs is read again. The certificate is looked at all the time anyway.

use tradewind_wasm::Handle;

use super::{logging, signals::Reloads};
use tradewind_config::{Config, Effective, Overrides, environment};

/// Runs as long as signals come.
pub(super) async fn follow(
    mut reloads: Reloads,
    overrides: Overrides,
    mut config: Config,
    plugins: Handle,
) {
    while reloads.next().await.is_some() {
        tracing::info!(signal = "SIGHUP", "reading settings and plugins again");
        let overrides = overrides.clone();
        let read =
            tokio::task::spawn_blocking(move || Effective::load(&overrides, environment)).await;
        match read {
            Ok(Ok(fresh)) => take_up(fresh.config, &mut config),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the settings can't be used: those before stay in force"
                );
            }
            Err(error) => tracing::warn!(%error, "the settings can't be read"),
        }
        match plugins.reconcile().await {
            Ok(report) => tracing::info!(
                loaded = report.loaded.len(),
                rejected = report.rejected.len(),
                "plugins were read again"
            ),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "plugins can't be read again"
            ),
        }
    }
}

/// The level of the log changes at once, everything else with the next start.
fn take_up(fresh: Config, config: &mut Config) {
    if fresh.log.level != config.log.level {
        match logging::set_level(&fresh.log.level) {
            Ok(()) => {
                tracing::info!(level = fresh.log.level, "the level of the log was changed");
                config.log.level.clone_from(&fresh.log.level);
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the level of the log stays"
                );
            }
        }
    }
    if (Config {
        log: config.log.clone(),
        ..fresh.clone()
    }) != *config
        || fresh.log.format != config.log.format
        || fresh.log.requests != config.log.requests
    {
        tracing::warn!(
            "settings have changed that need a restart: of these, only log.level is taken up while the daemon runs"
        );
    }
}
