//! `delete`: asks for it, then waits until everything that ran is gone. Several are deleted side by side, and each is told of.

use std::io::{self, BufRead, IsTerminal, Write};

use futures::future::join_all;
use reqwest::Method;
use tradewind_api::{Accepted, DeploymentSummary};
use tradewind_manifest::Tree;

use super::{
    apply::gone,
    files::{self, Line, Receipt},
    prune,
    wait::{self, Goal},
};
use crate::{
    Context, Error,
    args::Delete,
    client::{self, Body, Document},
    progress::Progress,
    render,
};

/// A deployment to delete.
#[derive(Debug, Clone, PartialEq)]
struct Going {
    /// None: the default namespace.
    namespace: Option<String>,
    name: String,
}

pub(super) async fn run(context: &Context, args: Delete) -> Result<(), Error> {
    let mut all: Vec<Going> = if let Some(selector) = &args.selector {
        let found = prune::labelled(context, context.namespace_or_default(), selector).await?;
        if found.is_empty() {
            eprintln!("no deployment has these labels");
        } else if !agreed(context, &found, args.yes)? {
            eprintln!("nothing was deleted");
            return Ok(());
        }
        let going = |d: DeploymentSummary| Going {
            namespace: Some(d.namespace.to_string()),
            name: d.name.to_string(),
        };
        found.into_iter().map(going).collect()
    } else if args.files.is_empty() {
        let going = |name: &String| Going {
            namespace: context.namespace.clone(),
            name: name.clone(),
        };
        args.names.iter().map(going).collect()
    } else {
        let documents = files::read(context, &args.files, &args.reading).await?;
        documents
            .iter()
            .map(|document| named(context, document))
            .collect::<Result<_, _>>()?
    };
    let mut seen: Vec<Going> = Vec::new();
    all.retain(|one| {
        let is_new = !seen.contains(one);
        seen.push(one.clone());
        is_new
    });
    delete(context, &all, &args).await
}

async fn delete(context: &Context, all: &[Going], args: &Delete) -> Result<(), Error> {
    let mut sent = Vec::new();
    for one in all {
        sent.push(send(context, one).await);
    }
    let several = all.len() > 1;
    let progress = Progress::new(context.output.is_for_people(), several);
    let waits = sent.into_iter().map(async |sent| {
        let accepted = sent?;
        if !args.detach {
            let (namespace, name) = (&accepted.namespace, accepted.name.as_str());
            wait::shown(
                context,
                namespace,
                name,
                Goal::Gone,
                args.timeout,
                &progress,
            )
            .await?;
        }
        Ok(accepted)
    });
    let done: Vec<Result<Accepted, Error>> = join_all(waits).await;
    progress.finish(done.iter().all(Result::is_ok));
    if several && done.iter().any(Result::is_err) {
        return Err(told(context, all, done, args.detach));
    }
    let done = done.into_iter().collect::<Result<Vec<_>, _>>()?;
    let lines = done.iter().map(|accepted| match args.detach {
        true => format!("deployment \"{}\" is being deleted", accepted.name),
        false => gone(accepted),
    });
    context
        .output
        .show_all(&done, |_| lines.collect::<Vec<_>>().join("\n"))
}

async fn send(context: &Context, one: &Going) -> Result<Accepted, Error> {
    let query: Vec<(&str, String)> = one
        .namespace
        .iter()
        .map(|n| ("namespace", n.clone()))
        .collect();
    let path = ["v1", "deployments", one.name.as_str()];
    let sent = context
        .client
        .send(Method::DELETE, &path, &query, Body::Empty);
    sent.await.map_err(client::Error::into)
}

/// Each one's line, when not all are gone.
fn told(
    context: &Context,
    all: &[Going],
    done: Vec<Result<Accepted, Error>>,
    detach: bool,
) -> Error {
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for (one, done) in all.iter().zip(done) {
        let file = one.name.clone();
        match done {
            Ok(accepted) => lines.push(Line {
                file,
                status: (!detach).then(|| "gone".to_owned()),
                ..accepted.line()
            }),
            Err(error) => {
                let line = Line {
                    file,
                    outcome: "failed",
                    ..Line::default()
                };
                lines.push(line.failed(&error));
                errors.push(error);
            }
        }
    }
    files::sheet_of(
        "deployments",
        &context.output,
        &lines,
        errors,
        "the others were carried out",
    )
}

/// The deployment that a manifest is about.
fn named(context: &Context, document: &Document) -> Result<Going, Error> {
    let wrong = |rule: String| Error::Argument {
        what: "--file",
        value: document.origin.to_string(),
        rule,
    };
    let tree = Tree::read(&document.bytes, document.format);
    let (name, own) = match &tree {
        Ok(tree) => (tree.name(), tree.namespace()),
        Err(_) => (None, None),
    };
    let Some(name) = name else {
        return Err(wrong(
            "it names no deployment: give metadata.name".to_owned(),
        ));
    };
    match (&context.namespace, own) {
        (Some(given), Some(own)) if given != own => Err(wrong(format!(
            "it names the namespace \"{own}\", and the command \"{given}\": name one of the two"
        ))),
        (given, own) => Ok(Going {
            namespace: own.map(str::to_owned).or_else(|| given.clone()),
            name: name.to_owned(),
        }),
    }
}

/// Lists what would go, and asks.
fn agreed(context: &Context, found: &[DeploymentSummary], yes: bool) -> Result<bool, Error> {
    eprintln!(
        "{}",
        context
            .output
            .draw(&render::deployment::table(&context.output, found))
    );
    if yes {
        return Ok(true);
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Error::Argument {
            what: "--selector",
            value: format!("{} deployments", found.len()),
            rule: "without a terminal nobody can be asked: read the list, then say it with --yes"
                .to_owned(),
        });
    }
    let what = match found {
        [_] => "this deployment".to_owned(),
        all => format!("these {} deployments", all.len()),
    };
    eprint!("delete {what}? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
