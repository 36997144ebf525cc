//! `token` and `whoami`.

use reqwest::Method;
use tradewind_api::{Page, TokenCreated, TokenRequest, TokenView, WhoAmI};
use tradewind_core::{identity::Scope, names::TokenName};

use super::{lists, shown};
use crate::{
    Context, Error,
    args::{Token, TokenCreate},
    client::Body,
    render,
};

const TOKENS: [&str; 2] = ["v1", "tokens"];

pub(crate) async fn run(context: &Context, args: Token) -> Result<(), Error> {
    match args {
        Token::Create(args) => create(context, args).await,
        Token::List(args) => {
            let mut query = context.namespace();
            query.extend(args.status.map(|status| ("status", status.to_string())));
            let paging = args.shown.paging(&args.paging);
            let mut list: Page<TokenView> = lists::read(context, &TOKENS, query, paging).await?;
            let table = shown::arrange(&mut list.items, &args.shown, &args.paging, |list| {
                render::token::table(&context.output, list)
            })?;
            context.output.list(&list, &table)
        }
        Token::Revoke { name } => {
            let view: TokenView = context
                .client
                .send(Method::DELETE, &["v1", "tokens", &name], &[], Body::Empty)
                .await?;
            context.output.show(&view, |_| {
                format!("token \"{}\" is {}", view.name, view.state.as_str())
            })
        }
        // `cli::run` has done it: it needs no daemon.
        Token::ResetAdmin => Ok(()),
    }
}

async fn create(context: &Context, args: TokenCreate) -> Result<(), Error> {
    let argument = |what, value: &str, rule: String| Error::Argument {
        what,
        value: value.to_owned(),
        rule,
    };
    let name: TokenName = args
        .name
        .parse()
        .map_err(|e: tradewind_core::names::NameError| {
            argument("the name", &args.name, e.rule.to_owned())
        })?;
    let mut reach = args.reach;
    if reach.is_empty() {
        reach.push(
            context
                .globals
                .namespace
                .clone()
                .unwrap_or_else(|| "*".to_owned()),
        );
    }
    let shown = reach.join(", ");
    let namespaces =
        Scope::try_from(reach).map_err(|e| argument("the reach", &shown, e.to_string()))?;
    let request = TokenRequest {
        name,
        role: args.role,
        namespaces,
        expires_in: args.expires,
    };
    let body = serde_json::to_value(request).map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })?;
    let created: TokenCreated = context
        .client
        .send(Method::POST, &TOKENS, &[], Body::Json(body))
        .await?;
    if context.output.is_for_people() {
        // The text alone goes to standard output, so that it can be put into a file.
        eprintln!("{}", render::token::line(&context.output, &created.token));
        eprintln!("keep what follows: it is not shown again");
    }
    context.output.show(&created, |_| created.secret.clone())
}

pub(crate) async fn whoami(context: &Context) -> Result<(), Error> {
    let who: WhoAmI = context.client.get(&["v1", "whoami"], &[]).await?;
    context
        .output
        .show(&who, |out| render::token::who(out, &who))
}
