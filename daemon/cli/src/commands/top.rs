//! `top`: what deployments and replicas use.

use tradewind_api::{Page, ReplicaUsage};

use super::lists;
use crate::{
    Context, Error,
    args::{Paging, Top},
    render,
};

pub(super) async fn run(context: &Context, args: Top) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.name.clone().map(|name| ("deployment", name)));
    let list: Page<ReplicaUsage> =
        lists::read(context, &["v1", "usage"], query, Paging::default()).await?;
    context.output.show(&list, |out| match args.name {
        Some(_) => render::top::replicas(out, &list.items, args.sort),
        None => render::top::deployments(out, &list.items, args.sort),
    })
}
