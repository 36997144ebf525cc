//! `plugin list|inspect|reload|rollback`: what the daemon has loaded.

use reqwest::Method;
use tradewind_api::{PluginView, Plugins, ReloadReport, Rollback};
use tradewind_core::names::Digest;

use super::{lists, shown};
use crate::{Context, Error, args::Plugin, client::Body, render};

pub(super) async fn run(context: &Context, args: Plugin) -> Result<(), Error> {
    match args {
        Plugin::List(args) => {
            let mut query = context.namespace();
            query.extend(args.status.map(|status| ("status", status.to_string())));
            let paging = args.shown.paging(&args.paging);
            let mut list: Plugins = lists::read(context, &["v1", "plugins"], query, paging).await?;
            let table = shown::arrange(&mut list.items, &args.shown, &args.paging, |plugins| {
                render::plugin::table(&context.output, plugins)
            })?;
            let table = table.note(render::plugin::problems(&list.beside.problems));
            context.output.list(&list, &table)
        }
        Plugin::Inspect { what } => {
            let view: tradewind_api::Plugin =
                context.client.get(&["v1", "plugins", &what], &[]).await?;
            context
                .output
                .show(&view, |out| render::plugin::inspected(out, &view))
        }
        Plugin::Reload => {
            let report: ReloadReport = context
                .client
                .send(Method::POST, &["v1", "plugins", "reload"], &[], Body::Empty)
                .await?;
            context
                .output
                .show(&report, |_| render::plugin::report(&report))
        }
        Plugin::Rollback { name, to } => {
            let digest = to.map(|value| {
                value.parse::<Digest>().map_err(|e| Error::Argument {
                    what: "the digest",
                    value,
                    rule: e.rule.to_owned(),
                })
            });
            let body = serde_json::to_value(Rollback {
                digest: digest.transpose()?,
            });
            let body = body.map_err(|e| Error::Encode {
                form: "JSON",
                source: e.into(),
            })?;
            let path = ["v1", "plugins", name.as_str(), "rollback"];
            let view: PluginView = context
                .client
                .send(Method::POST, &path, &[], Body::Json(body))
                .await?;
            context
                .output
                .show(&view, |out| render::plugin::one(out, &view))
        }
        Plugin::Canary(args) => super::canary::run(context, args).await,
        // `author::run` has done these: they need no daemon.
        Plugin::Build { .. } | Plugin::New { .. } | Plugin::Test(_) => Ok(()),
    }
}
