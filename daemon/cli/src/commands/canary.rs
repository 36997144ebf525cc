//! `plugin canary …`.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use tradewind_core::canary::Terms;

use crate::{
    Context, Error,
    args::{Canary, CanaryStart},
    client::Body,
    render,
};

pub(super) async fn run(context: &Context, args: Canary) -> Result<(), Error> {
    let canary: tradewind_api::Canary = match args {
        Canary::Start(args) => {
            let name = args.name.clone();
            let body = serde_json::to_value(request(args)?).map_err(|e| Error::Encode {
                form: "JSON",
                source: e.into(),
            })?;
            context
                .client
                .send(
                    Method::POST,
                    &["v1", "plugins", &name, "canary"],
                    &[],
                    Body::Json(body),
                )
                .await?
        }
        Canary::Status { name } => {
            context
                .client
                .get(&["v1", "plugins", &name, "canary"], &[])
                .await?
        }
        Canary::Promote { name } => {
            context
                .client
                .send(
                    Method::POST,
                    &["v1", "plugins", &name, "canary", "promote"],
                    &[],
                    Body::Empty,
                )
                .await?
        }
        Canary::Abort { name } => {
            context
                .client
                .send(
                    Method::DELETE,
                    &["v1", "plugins", &name, "canary"],
                    &[],
                    Body::Empty,
                )
                .await?
        }
    };
    context
        .output
        .show(&canary, |out| render::canary::one(out, &canary))
}

fn request(args: CanaryStart) -> Result<tradewind_api::CanaryStart, Error> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })
    };
    let usual = Terms::new(args.share);
    let terms = Terms {
        share: args.share,
        lasts: args.lasts.unwrap_or(usual.lasts),
        max_error_rate: args.max_error_rate.unwrap_or(usual.max_error_rate),
        max_slowdown: args.max_slowdown.unwrap_or(usual.max_slowdown),
        min_calls: args.min_calls.unwrap_or(usual.min_calls),
    };
    let instance_file = args
        .instance_file
        .as_deref()
        .map(read)
        .transpose()?
        .map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(tradewind_api::CanaryStart {
        component: STANDARD.encode(read(&args.file)?),
        instance_file,
        terms,
    })
}
