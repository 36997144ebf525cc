//! `replacement report`.

use tradewind_core::view::ReplacementsView;

use crate::cli::{Context, Error, render};

pub async fn report(context: &Context) -> Result<(), Error> {
    let view: ReplacementsView = context.client.get(&["v1", "replacements"], &context.namespace()).await?;
    context.output.show(&view, |out| render::replacement::report(out, &view))
}
