//! `namespace list|show|set|delete`: limits, usage and spending.

use reqwest::Method;
use tradewind_core::view::{NamespaceOutcome, NamespaceSummary, NamespaceView};

use super::{about, read};
use crate::{
    cli::{Context, Error, args::NamespaceCommand, render},
    client::Body,
};

pub async fn run(context: &Context, command: NamespaceCommand) -> Result<(), Error> {
    let client = &context.client;
    match command {
        NamespaceCommand::List => {
            let list: Vec<NamespaceSummary> = client.get(&["v1", "namespaces"], &[]).await?;
            context.output.show(&list, |out| render::namespace::list(out, &list))
        }
        NamespaceCommand::Show { name } => {
            let view: NamespaceView = client.get(&["v1", "namespaces", &name], &[]).await?;
            context.output.show(&view, |out| render::namespace::one(out, &view))
        }
        NamespaceCommand::Set(files) => {
            let mut outcomes: Vec<NamespaceOutcome> = Vec::new();
            for document in read(&files.files)? {
                let (file, name) = (document.file.clone(), document.name());
                let path = ["v1", "namespaces", name.as_str()];
                outcomes.push(client.send(Method::PUT, &path, &[], Body::Manifest(document)).await.map_err(about(file))?);
            }
            context.output.show_all(&outcomes, |_| outcomes.iter().map(render::namespace::outcome).collect::<Vec<_>>().join("\n"))
        }
        NamespaceCommand::Delete { name } => {
            let outcome: NamespaceOutcome = client.send(Method::DELETE, &["v1", "namespaces", &name], &[], Body::Empty).await?;
            context.output.show(&outcome, |_| format!("namespace \"{name}\" has no limits any more"))
        }
    }
}
