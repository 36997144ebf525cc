//! `regions`.

use tradewind_api::RegionsView;

use super::{lists, shown};
use crate::{Context, Error, args, render};

pub(super) async fn list(context: &Context, args: args::Regions) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.status.map(|status| ("status", status.to_string())));
    let paging = args.shown.paging(&args.paging);
    let mut view: RegionsView = lists::read(context, &["v1", "regions"], query, paging).await?;
    let table = shown::arrange(&mut view.items, &args.shown, &args.paging, |regions| {
        render::regions::table(&context.output, regions)
    })?;
    let table = table.note(render::regions::notes(&context.output, &view));
    context.output.list(&view, &table)
}
