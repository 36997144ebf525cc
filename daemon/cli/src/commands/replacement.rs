//! `replacement report`.

use tradewind_api::ReplacementsView;

use super::lists;
use crate::{Context, Error, args::Paging, render};

pub(super) async fn report(context: &Context, paging: Paging) -> Result<(), Error> {
    let view: ReplacementsView = lists::read(
        context,
        &["v1", "replacements"],
        context.namespace(),
        paging,
    )
    .await?;
    let table = render::replacement::table(&context.output, &view);
    context.output.list(&view, &table)
}
