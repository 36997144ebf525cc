//! `scale`, `wake` and `metric push`: how many replicas a task has.

use reqwest::Method;
use tradewind_api::{Samples, SamplesAccepted, Scaled};

use crate::{
    Context, Error,
    args::{MetricPush, Scale, Wake},
    client::Body,
    render::replicas,
};

pub(super) async fn scale(context: &Context, args: Scale) -> Result<(), Error> {
    let path = ["v1", "deployments", args.name.as_str(), "scale"];
    let body = serde_json::json!({ "task": args.task, "replicas": args.replicas });
    let scaled: Scaled = context
        .client
        .send(Method::POST, &path, &context.namespace(), Body::Json(body))
        .await?;
    context.output.show(&scaled, |_| told(&scaled))
}

pub(super) async fn wake(context: &Context, args: Wake) -> Result<(), Error> {
    let path = ["v1", "deployments", args.name.as_str(), "wake"];
    let mut query = context.namespace();
    query.extend(args.task.map(|task| ("task", task)));
    let scaled: Scaled = context
        .client
        .send(Method::POST, &path, &query, Body::Empty)
        .await?;
    context.output.show(&scaled, |_| told(&scaled))
}

fn told(scaled: &Scaled) -> String {
    if scaled.tasks.is_empty() {
        return format!(
            "nothing of deployment \"{}\" is without replicas",
            scaled.name
        );
    }
    let lines = scaled.tasks.iter().map(|t| {
        let place = t
            .target
            .as_ref()
            .map(|t| format!(" at {t}"))
            .unwrap_or_default();
        format!("{}{place}: {} → {}", t.task, t.before, replicas(t.after))
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) async fn push(context: &Context, args: MetricPush) -> Result<(), Error> {
    let samples = args.values.into_iter().map(|value| tradewind_api::Sample {
        task: args.task.clone(),
        metric: value.metric,
        value: value.value,
        at: None,
    });
    let body = serde_json::to_value(Samples {
        samples: samples.collect(),
    })
    .map_err(|e| Error::Encode {
        form: "JSON",
        source: e.into(),
    })?;
    let path = ["v1", "deployments", args.name.as_str(), "metrics"];
    let accepted: SamplesAccepted = context
        .client
        .send(Method::POST, &path, &context.namespace(), Body::Json(body))
        .await?;
    context
        .output
        .show(&accepted, |_| format!("{} accepted", accepted.accepted))
}
