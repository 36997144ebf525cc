//! Stored plans: `plan --out`, `plans`, and `plan show | diff | approve | reject | apply | delete`.

use reqwest::Method;
use tradewind_api::{Accepted, Comment, Page, PlanSummary, PlanView, StoredPlanView};

use super::{
    apply,
    files::{self, Line, Receipt},
    lists, plan, shown,
};
use crate::{
    Context, Error,
    args::{Plan, PlanCommand, PlanReview, Plans},
    client::{Body, Document},
    render,
};

pub(super) async fn run(context: &Context, command: PlanCommand) -> Result<(), Error> {
    match command {
        PlanCommand::List(args) => list(context, args).await,
        PlanCommand::Show { id } => {
            let plan: StoredPlanView = context
                .client
                .get(&["v1", "plans", &id], &context.namespace())
                .await?;
            context
                .output
                .show(&plan, |out| render::plans::one(out, &plan))
        }
        PlanCommand::Diff { from, to } => diff(context, from, &to).await,
        PlanCommand::Approve(args) => review(context, args, "approve").await,
        PlanCommand::Reject(args) => review(context, args, "reject").await,
        PlanCommand::Apply(args) => {
            let accepted = accept(context, &args.id).await?;
            apply::follow(context, (args.id, accepted), args.detach, args.timeout).await
        }
        PlanCommand::Delete { id } => {
            let plan: StoredPlanView = context
                .client
                .send(
                    Method::DELETE,
                    &["v1", "plans", &id],
                    &context.namespace(),
                    Body::Empty,
                )
                .await?;
            context
                .output
                .show(&plan, |_| format!("plan \"{id}\" deleted"))
        }
    }
}

pub(super) async fn list(context: &Context, args: Plans) -> Result<(), Error> {
    let mut query = context.namespace();
    query.extend(args.status.map(|status| ("status", status.to_string())));
    query.extend(
        args.selector
            .map(|selector| ("selector", selector.to_string())),
    );
    let paging = args.shown.paging(&args.paging);
    let mut plans: Page<PlanSummary> =
        lists::read(context, &["v1", "plans"], query, paging).await?;
    let table = shown::arrange(&mut plans.items, &args.shown, &args.paging, |plans| {
        render::plans::table(&context.output, plans)
    })?;
    context.output.list(&plans, &table)
}

/// `plan -f FILE --out`: stores a plan of every file, after a look at all of them.
pub(super) async fn store(context: &Context, args: Plan) -> Result<(), Error> {
    let documents = files::read(context, &args.files.files, &args.files.reading).await?;
    let name = args.out.flatten();
    if let Some(name) = name.as_ref().filter(|_| documents.len() > 1) {
        let rule = "a stored plan is about one manifest: give one file, or leave the name out to have one drawn for each".to_owned();
        return Err(Error::Argument {
            what: "--out",
            value: name.clone(),
            rule,
        });
    }
    let mut query = Vec::new();
    query.extend(name.map(|name| ("name", name)));
    query.extend(
        args.expires
            .map(|expires| ("expiresIn", expires.to_string())),
    );
    query.extend(args.delete.then(|| ("delete", "true".to_owned())));
    files::check(context, &documents, async |document| {
        plan::draft(context, document).await
    })
    .await?;
    let send = async |document: Document| {
        let query = [context.namespace_of(&document), query.clone()].concat();
        context
            .client
            .send(
                Method::POST,
                &["v1", "plans"],
                &query,
                Body::Manifest(document),
            )
            .await
    };
    let plans: Vec<StoredPlanView> = files::carry_out(context, documents, send).await?;
    context.output.show_all(&plans, |out| {
        let mut texts: Vec<String> = plans.iter().map(|p| render::plans::one(out, p)).collect();
        texts.push(render::plan::total(plans.iter().map(|p| &p.plan)));
        texts.join("\n\n")
    })
}

/// Has a plan applied; it runs some time later.
pub(super) async fn accept(context: &Context, id: &str) -> Result<Accepted, Error> {
    Ok(context
        .client
        .send(
            Method::POST,
            &["v1", "plans", id, "apply"],
            &context.namespace(),
            Body::Empty,
        )
        .await?)
}

async fn diff(context: &Context, from: String, to: &str) -> Result<(), Error> {
    let mut query = context.namespace();
    query.push(("against", from));
    let plan: StoredPlanView = context.client.get(&["v1", "plans", to], &query).await?;
    context.output.show(&plan.diff, |_| match &plan.diff {
        Some(diff) if !diff.fields.is_empty() => diff.text.trim_end().to_owned(),
        _ => "the plans do not differ".to_owned(),
    })
}

async fn review(context: &Context, args: PlanReview, action: &str) -> Result<(), Error> {
    let comment = Comment {
        comment: args.message,
    };
    let body = serde_json::to_value(comment).map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })?;
    let path = ["v1", "plans", args.id.as_str(), action];
    let plan: StoredPlanView = context
        .client
        .send(Method::POST, &path, &context.namespace(), Body::Json(body))
        .await?;
    context.output.show(&plan, |_| {
        format!("plan \"{}\" is {}", plan.summary.id, plan.summary.status)
    })
}

impl Receipt for PlanView {
    fn line(&self) -> Line {
        Line {
            outcome: "planned",
            namespace: Some(self.namespace.to_string()),
            name: Some(self.name.to_string()),
            ..Line::default()
        }
    }
}

impl Receipt for StoredPlanView {
    fn line(&self) -> Line {
        let (namespace, status) = (
            self.summary.namespace.to_string(),
            format!("plan {}", self.summary.id),
        );
        let name = self.summary.deployment.to_string();
        Line {
            outcome: "stored",
            namespace: Some(namespace),
            name: Some(name),
            status: Some(status),
            ..Line::default()
        }
    }
}
