//! `token reset-admin`: makes the first token anew, for who has the data folder in hand.

use tradewind_cli::{Globals, Output, overrides};
use tradewind_cloud::SystemClock;
use tradewind_config::{Effective, environment};
use tradewind_core::capability::Clock;
use tradewind_store::{Database, Options};

use super::Error;
use crate::owner;

/// Makes the admin token anew, without a daemon.
pub fn reset(globals: &Globals) -> Result<(), Error> {
    let data = Effective::load(&overrides(globals, None), environment)?
        .config
        .data;
    owner::check(&data)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(tradewind_cli::Error::Runtime)?;
    let store = Database::open(Options::new(data.join("state.db"))).map_err(Error::Open)?;
    let made = runtime.block_on(async {
        let made = tradewind_http::identity::reset(&store, &data, SystemClock.now()).await;
        store.close().await.map_err(Error::Open)?;
        Ok::<_, Error>(made?)
    });
    Ok(Output::new(globals).text(&format!("the new admin token is in {}", made?.display()))?)
}
