//! `regions`.

use tradewind_api::RegionsView;

use super::lists;
use crate::{Context, Error, args, render};

pub(super) async fn list(context: &Context, args: args::Regions) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.status.map(|status| ("status", status.to_string())));
    let view: RegionsView = lists::read(context, &["v1", "regions"], query, args.paging).await?;
    context
        .output
        .show(&view, |out| render::regions::regions(out, &view))
}
