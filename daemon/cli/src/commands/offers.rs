//! `offers`.

use tradewind_api::OffersView;

use super::lists;
use crate::{Context, Error, args, render};

pub(super) async fn list(context: &Context, args: args::Offers) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.provider.map(|provider| ("provider", provider)));
    query.extend(
        args.selector
            .map(|selector| ("selector", selector.to_string())),
    );
    let view: OffersView = lists::read(context, &["v1", "offers"], query, args.paging).await?;
    context
        .output
        .show(&view, |out| render::offers::offers(out, &view))
}
