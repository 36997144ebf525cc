//! `audit`: shows, exports and checks the audit log. An export is checked here, without any daemon.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use tradewind_api::{AuditView, Kept};
use tradewind_core::{
    audit::{Bounds, Chain, Fault, Line, Preface, Verdict},
    names::Digest,
};

use super::lists::{self, History, Order};
use crate::{
    Context, Error,
    args::{self, Paging},
    client::Body,
    output::Output,
    render,
};

/// The version of the export's format.
const FORMAT: u32 = 1;
/// Entries that are shown where no number is asked for.
const USUAL: usize = 50;
/// Entries asked for at once.
const PAGE: usize = 2_000;

pub(crate) async fn run(context: &Context, args: args::Audit) -> Result<u8, Error> {
    match args {
        args::Audit::Show {
            after,
            limit,
            cursor,
            shown,
        } => {
            let query = after
                .map(|n| ("after", n.to_string()))
                .into_iter()
                .collect();
            let asked = History {
                order: match after {
                    Some(_) => Order::OldestFirst,
                    None => Order::NewestLast,
                },
                paging: Paging { limit, cursor },
                usual: USUAL,
                shown,
            };
            lists::history::<Line, Kept>(context, &["v1", "audit"], query, asked, |entries| {
                render::audit::table(&context.output, entries)
            })
            .await?;
        }
        args::Audit::Head => {
            let bounds: Bounds = context.client.get(&["v1", "audit", "head"], &[]).await?;
            context.output.show(&bounds, |_| {
                format!("{} {}", bounds.head.seq, bounds.head.hash)
            })?;
        }
        args::Audit::Verify { expect, .. } => {
            let body = Body::Json(json!({ "expect": expect }));
            let verdict: Verdict = context
                .client
                .send(Method::POST, &["v1", "audit", "verify"], &[], body)
                .await?;
            return tell(&context.output, &verdict);
        }
        args::Audit::Export => export(context).await?,
    }
    Ok(0)
}

async fn export(context: &Context) -> Result<(), Error> {
    let bounds: Bounds = context.client.get(&["v1", "audit", "head"], &[]).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    line(
        &mut out,
        &Preface {
            audit: FORMAT,
            bounds,
        },
    )?;
    let mut after = bounds.anchor.seq;
    while after < bounds.head.seq {
        let query = [("after", after.to_string()), ("limit", PAGE.to_string())];
        let page: AuditView = context.client.get(&["v1", "audit"], &query).await?;
        // What was recorded since the export began is for the next one.
        let wanted = page.items.iter().filter(|e| e.seq <= bounds.head.seq);
        for entry in wanted {
            line(&mut out, entry)?;
        }
        match page.items.last() {
            Some(last) if last.seq > after => after = last.seq,
            _ => break,
        }
    }
    Ok(out.flush()?)
}

fn line(out: &mut impl Write, value: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, value).map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })?;
    Ok(out.write_all(b"\n")?)
}

/// Checks an export.
///
/// # Errors
/// It can't be read, or is no export.
pub(crate) fn verify_file(
    output: &Output,
    path: &Path,
    expect: Option<Digest>,
) -> Result<u8, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    let mut lines = reader.lines();
    let refuse = |rule: String| Error::Argument {
        what: "the file",
        value: path.display().to_string(),
        rule,
    };
    let first = lines
        .next()
        .transpose()
        .map_err(failed)?
        .unwrap_or_default();
    let preface: Preface = serde_json::from_str(&first)
        .map_err(|e| refuse(format!("it is no export of an audit log ({e})")))?;
    if preface.audit != FORMAT {
        return Err(refuse(format!(
            "its format is {}, this version reads {FORMAT}",
            preface.audit
        )));
    }
    let mut chain = Chain::behind(preface.bounds.anchor, expect);
    let mut fault = None;
    for text in lines {
        let text = text.map_err(failed)?;
        let entry = serde_json::from_str::<Line>(&text).map_err(|e| e.to_string());
        let entry = entry.and_then(|line| line.entry().ok_or_else(|| "it has no event".to_owned()));
        let followed = match entry {
            Ok(entry) => chain.follow(&entry),
            Err(message) => Err(Fault::Unreadable {
                seq: chain.next_seq(),
                message,
            }),
        };
        if let Err(found) = followed {
            fault = Some(found);
            break;
        }
    }
    tell(output, &chain.conclude(Some(preface.bounds.head), fault))
}

/// 1 when something is wrong.
fn tell(output: &Output, verdict: &Verdict) -> Result<u8, Error> {
    output.show(verdict, |_| render::audit::verdict(verdict))?;
    Ok(u8::from(verdict.fault.is_some()))
}
