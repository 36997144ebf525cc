//! `/problems/{kind}`: what a kind of problem means, where the `type` of a problem leads. The text is the manual's.

use aide::transform::TransformOperation;
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Error, access, extract::Path, openapi::Raw};

const PAGE: &str = include_str!("../../docs/problems.md");
const MARKDOWN: &str = "text/markdown";

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Kind {
    /// The last part of a problem's `type`.
    kind: String,
}

/// The section of the page with this heading.
fn section(kind: &str) -> Option<&'static str> {
    PAGE.split("\n## ")
        .skip(1)
        .find(|section| section.lines().next() == Some(kind))
}

pub(crate) async fn get(Path(Kind { kind }): Path<Kind>) -> Result<Response, Error> {
    let section = section(&kind).ok_or(Error::NotFound {
        what: "kind of problem",
        name: kind,
    })?;
    let text = format!("# {}\n", section.trim_end());
    Ok((
        [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")],
        text,
    )
        .into_response())
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getProblem")
        .with(access::open)
        .tag("meta")
        .summary("What a kind of problem means, and what to do about it")
        .with(Raw::<true>::answer(MARKDOWN, "The section of the manual."))
}

#[cfg(test)]
mod tests {
    use tradewind_api::problem;

    use super::*;

    #[test]
    fn every_type_of_a_problem_leads_to_a_section() {
        let schema = serde_json::to_value(schemars::schema_for!(problem::Kind)).unwrap();
        let words = schema["oneOf"].as_array().unwrap();
        let mut sections = 0;
        for word in words.iter().filter_map(|word| word["const"].as_str()) {
            if word == "about:blank" {
                continue;
            }
            let kind = word.strip_prefix("/problems/").unwrap();
            assert!(section(kind).is_some_and(|text| text.len() > 80), "{word}");
            sections += 1;
        }
        assert_eq!(PAGE.matches("\n## ").count(), sections);
        assert_eq!(section("nothing"), None);
    }
}
