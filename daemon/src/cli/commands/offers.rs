//! `offers`.

use tradewind_core::view::OffersView;

use crate::cli::{Context, Error, render};

pub async fn list(context: &Context, provider: Option<String>) -> Result<(), Error> {
    let query: Vec<_> = provider.map(|p| ("provider", p)).into_iter().collect();
    let view: OffersView = context.client.get(&["v1", "offers"], &query).await?;
    context.output.show(&view, |out| render::offers::offers(out, &view))
}
