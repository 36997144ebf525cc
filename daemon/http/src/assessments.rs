//! `/v1/assessments`: what every cloud would cost for a manifest or for a shape, and how it performs.

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_core::{
    assess::{Report, Shape},
    identity::Role,
    names::Namespace,
    units::{Bytes, MilliCpu, Millis},
    workload::Accelerator,
};

use super::{
    App, Error,
    access::{Reach, needs},
    extract::{ManifestBody, Query},
    openapi,
};
use crate::report;

/// The most replicas that are asked about.
const MAX_REPLICAS: u32 = 10_000;
/// A hundred years.
const MAX_HOURS: f64 = 876_600.0;

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    /// One page that needs nothing else.
    Html,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormatQuery {
    /// The namespace of a manifest that names none. Default: `default`. One that names another is refused.
    #[serde(rename = "namespace")]
    _namespace: Option<Namespace>,
    /// Default: what `Accept` asks for, else JSON.
    format: Option<Format>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShapeQuery {
    /// Default "default": whose policy and budgets count.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Cores of one replica: 2, 0.5 or 500m.
    #[schemars(extend("not" = nothing()))]
    cpu: MilliCpu,
    /// Of one replica, such as 4Gi.
    #[schemars(extend("not" = nothing()))]
    memory: Bytes,
    /// The kind of accelerator. Default: any.
    accelerator: Option<String>,
    /// Accelerators of one replica. Default: 1 where a kind is given, else none.
    accelerators: Option<u32>,
    /// Default 1.
    #[schemars(range(min = 1, max = MAX_REPLICAS))]
    replicas: Option<u32>,
    /// How long it is to run. Default: a month of 730 hours.
    #[schemars(range(max = MAX_HOURS), extend("exclusiveMinimum" = 0))]
    hours: Option<f64>,
    /// Whether offers that may be taken back at any time count. Default: no.
    #[serde(default)]
    spot: bool,
    /// What one replica sends out of its region per hour. Default: nothing.
    egress: Option<Bytes>,
    /// Default: what `Accept` asks for, else JSON.
    format: Option<Format>,
}

/// The schema of a quantity that is 0.
fn nothing() -> serde_json::Value {
    serde_json::json!({ "anyOf": [{ "const": 0 }, { "type": "string", "pattern": r"^[\s0.]*[a-zA-Z]*\s*$" }] })
}

impl ShapeQuery {
    fn shape(&self) -> Result<Shape, Error> {
        let require = |met: bool, message: &str| {
            if met {
                Ok(())
            } else {
                Err(Error::Parameters {
                    message: message.to_owned(),
                })
            }
        };
        let (replicas, hours) = (self.replicas.unwrap_or(1), self.hours.unwrap_or(730.0));
        require(
            self.cpu > MilliCpu(0),
            "cpu is 0: write the cores of one replica, such as 0.5",
        )?;
        require(
            self.memory > Bytes(0),
            "memory is 0: write the memory of one replica, such as 512Mi",
        )?;
        require(
            (1..=MAX_REPLICAS).contains(&replicas),
            &format!("replicas is {replicas}: write 1 to {MAX_REPLICAS}"),
        )?;
        require(
            hours > 0.0 && hours <= MAX_HOURS,
            &format!("hours is {hours}: write more than 0, and at most {MAX_HOURS}"),
        )?;
        let count = self
            .accelerators
            .unwrap_or(u32::from(self.accelerator.is_some()));
        let kind = self.accelerator.clone().unwrap_or_default();
        require(
            count > 0 || kind.is_empty(),
            "accelerators is 0 and a kind is given: leave accelerator out",
        )?;
        Ok(Shape {
            cpu: self.cpu,
            memory: self.memory,
            accelerator: (count > 0).then(|| Accelerator {
                kind,
                count,
                ..Accelerator::default()
            }),
            replicas,
            duration: Millis((hours * 3_600_000.0).ceil() as u64),
            spot: self.spot,
            egress: self.egress.unwrap_or_default(),
        })
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    Query(query): Query<FormatQuery>,
    headers: HeaderMap,
    ManifestBody(manifest): ManifestBody,
) -> Result<Response, Error> {
    let title = manifest.metadata.name.to_string();
    Ok(written(
        &title,
        &app.controller.assess(manifest).await?,
        query.format,
        &headers,
    ))
}

pub(crate) async fn of_shape(
    State(app): State<App>,
    Query(query): Query<ShapeQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let report = app
        .controller
        .assess_shape(&query.namespace, &query.shape()?)
        .await?;
    Ok(written("a shape", &report, query.format, &headers))
}

fn written(title: &str, report: &Report, format: Option<Format>, headers: &HeaderMap) -> Response {
    let asked = || {
        headers
            .get(header::ACCEPT)
            .and_then(|a| a.to_str().ok())
            .is_some_and(prefers_html)
    };
    match format {
        Some(Format::Json) => Json(report).into_response(),
        None if !asked() => Json(report).into_response(),
        Some(Format::Html) | None => {
            // It needs no script and loads nothing; a text of a provider that slipped through could do neither.
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (
                    header::CONTENT_SECURITY_POLICY,
                    "default-src 'none'; style-src 'unsafe-inline'",
                ),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, report::html(title, report)).into_response()
        }
    }
}

/// Whether HTML comes before JSON, and before anything.
fn prefers_html(accept: &str) -> bool {
    let mut kinds = accept
        .split(',')
        .filter_map(|part| part.split(';').next())
        .map(str::trim);
    let first = kinds.find(|kind| ["text/html", "application/json", "*/*"].contains(kind));
    first == Some("text/html")
}

const DESCRIPTION: &str = "Shows the terms of C = c·R·T for every candidate, its quality as quoted and as measured, and what the choice and \
                           its alternatives cost. Changes nothing and keeps nothing. With `Accept: text/html` or `format=html`: one page with \
                           charts that needs nothing else.";

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("assess")
        .with(needs(Role::Viewer, Reach::Manifest))
        .tag("placement")
        .summary("Assess all offers for a manifest")
        .description(DESCRIPTION)
        .response::<200, Json<Report>>()
        .with(openapi::or_text(
            "text/html",
            "One page with charts that needs nothing else.",
        ))
}

pub(crate) fn of_shape_docs(op: TransformOperation) -> TransformOperation {
    op.id("assessShape")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("placement")
        .summary("Assess all offers for a shape")
        .description(DESCRIPTION)
        .response::<200, Json<Report>>()
        .with(openapi::or_text(
            "text/html",
            "One page with charts that needs nothing else.",
        ))
}

#[cfg(test)]
mod tests {
    use super::prefers_html;

    #[test]
    fn browsers_get_html_and_programs_get_json() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let cases = [
            (browser, true),
            ("text/html", true),
            ("application/json", false),
            ("*/*", false),
            ("application/json, text/html", false),
        ];
        for (accept, html) in cases {
            assert_eq!(prefers_html(accept), html, "{accept}");
        }
    }
}
