//! `offers`.

use tradewind_api::OffersView;

use super::{lists, shown};
use crate::{Context, Error, args, render};

pub(super) async fn list(context: &Context, args: args::Offers) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.provider.map(|provider| ("provider", provider)));
    query.extend(
        args.selector
            .map(|selector| ("selector", selector.to_string())),
    );
    let paging = args.shown.paging(&args.paging);
    let mut view: OffersView = lists::read(context, &["v1", "offers"], query, paging).await?;
    let table = shown::arrange(&mut view.items, &args.shown, &args.paging, |offers| {
        render::offers::table(&context.output, offers)
    })?;
    let table = table.note(render::offers::failures(&view.beside.failures).unwrap_or_default());
    context.output.list(&view, &table)
}
