//! `regions`.

use tradewind_core::view::RegionsView;

use crate::cli::{Context, Error, render};

pub async fn list(context: &Context) -> Result<(), Error> {
    let view: RegionsView = context.client.get(&["v1", "regions"], &[]).await?;
    context.output.show(&view, |out| render::regions::regions(out, &view))
}
