//! `policy shadow …`: policies on trial.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use tradewind_core::names::InstanceName;

use super::{lists, shown};
use crate::{
    Context, Error,
    args::{Shadow, ShadowName, ShadowStart},
    client::Body,
    render,
};
use tradewind_api::{Page, ShadowPolicy};

pub(super) async fn run(context: &Context, args: Shadow) -> Result<(), Error> {
    match args {
        Shadow::Start(args) => start(context, args).await,
        Shadow::List {
            namespace,
            shown,
            paging,
        } => {
            let namespace: Vec<_> = namespace
                .or_else(|| context.namespace.clone())
                .map(|n| ("namespace", n))
                .into_iter()
                .collect();
            let read = shown.paging(&paging);
            let mut all: Page<ShadowPolicy> =
                lists::read(context, &["v1", "shadows"], namespace, read).await?;
            let table = shown::arrange(&mut all.items, &shown, &paging, |list| {
                render::shadow::table(&context.output, list)
            })?;
            context.output.list(&all, &table)
        }
        Shadow::Report(which) => {
            let policy: ShadowPolicy = context
                .client
                .get(
                    &["v1", "shadows", &which.name],
                    &of(context, which.namespace),
                )
                .await?;
            context
                .output
                .show(&policy, |out| render::shadow::one(out, &policy))
        }
        Shadow::Promote(which) => {
            let policy = act(context, Method::POST, which, &["promote"]).await?;
            let namespace = &policy.shadow.record.namespace;
            context.output.show(&policy, |_| {
                format!(
                    "{} is a plugin now, and the policy of namespace \"{namespace}\"",
                    policy.shadow.record.name
                )
            })
        }
        Shadow::Stop(which) => {
            let policy = act(context, Method::DELETE, which, &[]).await?;
            context.output.show(&policy, |out| {
                format!("{}\nstopped", render::shadow::one(out, &policy))
            })
        }
    }
}

fn of(context: &Context, given: Option<String>) -> Vec<(&'static str, String)> {
    vec![(
        "namespace",
        given.unwrap_or_else(|| context.namespace_or_default()),
    )]
}

async fn act(
    context: &Context,
    method: Method,
    which: ShadowName,
    rest: &[&str],
) -> Result<ShadowPolicy, Error> {
    let path: Vec<&str> = ["v1", "shadows", which.name.as_str()]
        .into_iter()
        .chain(rest.iter().copied())
        .collect();
    Ok(context
        .client
        .send(method, &path, &of(context, which.namespace), Body::Empty)
        .await?)
}

async fn start(context: &Context, args: ShadowStart) -> Result<(), Error> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })
    };
    let given = args
        .name
        .or_else(|| {
            args.file
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        })
        .unwrap_or_default();
    let name = given.parse::<InstanceName>().map_err(|e| Error::Argument {
        what: "the name",
        value: given,
        rule: e.rule.to_owned(),
    })?;
    let component = STANDARD.encode(read(&args.file)?);
    let settings = args
        .settings
        .as_deref()
        .map(read)
        .transpose()?
        .unwrap_or_default();
    let body = tradewind_api::ShadowStart {
        name,
        component,
        settings: String::from_utf8_lossy(&settings).into_owned(),
    };
    let body = serde_json::to_value(body).map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })?;
    let query = of(context, args.namespace);
    let policy: ShadowPolicy = context
        .client
        .send(Method::POST, &["v1", "shadows"], &query, Body::Json(body))
        .await?;
    context
        .output
        .show(&policy, |out| render::shadow::one(out, &policy))
}
