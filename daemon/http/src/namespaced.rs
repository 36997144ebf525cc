//! The canonical paths of deployments, `/v1/namespaces/{namespace}/deployments/{name}` and below, beside `/v1/deployments/{name}?namespace=`.
//! The same handlers answer both: the namespace of a path is moved into the query once the gate has checked it. Proxies, logs and metrics see
//! which namespace a request is about. It must not know what the handlers do.

use aide::{
    axum::{ApiRouter, routing::ApiMethodRouter},
    openapi::{
        Parameter, ParameterData, ParameterSchemaOrContent, PathItem, PathStyle, ReferenceOr,
        SchemaObject,
    },
    transform::TransformPathItem,
};
use axum::{
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request},
    http::{Uri, uri::PathAndQuery},
    middleware::Next,
    response::Response,
};
use schemars::json_schema;
use tradewind_core::names::Namespace;

use super::{App, Error, access};

const BELOW: &str = "/v1/namespaces/{namespace}/deployments";

/// The parameter of a query that the path holds.
pub(crate) const NAMESPACE: &str = "namespace";

/// The address as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked(pub Uri);

/// Where a deployment is read.
pub(crate) fn address(namespace: &Namespace, name: impl std::fmt::Display) -> String {
    format!("/v1/namespaces/{namespace}/deployments/{name}")
}

/// The route of deployments with this end, in both forms.
pub(crate) fn both(
    router: ApiRouter<App>,
    end: &str,
    methods: impl Fn() -> ApiMethodRouter<App>,
) -> ApiRouter<App> {
    router
        .api_route(&format!("/v1/deployments{end}"), methods())
        .api_route_with(&format!("{BELOW}{end}"), methods(), described)
}

/// The document of a route whose namespace is in its path.
fn described(mut item: TransformPathItem) -> TransformPathItem {
    let PathItem {
        get,
        put,
        post,
        delete,
        ..
    } = item.inner_mut();
    for operation in [get, put, post, delete].into_iter().flatten() {
        if let Some(id) = &mut operation.operation_id {
            id.push_str("InNamespace");
        }
        operation
            .parameters
            .retain(|parameter| !is_namespace(parameter));
        operation.parameters.insert(0, in_path());
        access::in_path(operation);
    }
    item
}

fn is_namespace(parameter: &ReferenceOr<Parameter>) -> bool {
    matches!(
        parameter.as_item(),
        Some(Parameter::Query { parameter_data, .. }) if parameter_data.name == NAMESPACE
    )
}

fn in_path() -> ReferenceOr<Parameter> {
    // Other routes have put it into the document; the generator is in use here.
    let json_schema = json_schema!({ "$ref": "#/components/schemas/Namespace" });
    ReferenceOr::Item(Parameter::Path {
        parameter_data: ParameterData {
            name: NAMESPACE.to_owned(),
            description: Some("The namespace of the deployment.".to_owned()),
            required: true,
            deprecated: None,
            format: ParameterSchemaOrContent::Schema(SchemaObject {
                json_schema,
                external_docs: None,
                example: None,
            }),
            example: None,
            examples: Default::default(),
            explode: None,
            extensions: Default::default(),
        },
        style: PathStyle::Simple,
    })
}

/// Moves the namespace of a path into the query, where the handlers look for it. The gate has refused a query that names one beside the path.
pub(crate) async fn into_query(request: Request, next: Next) -> Result<Response, Error> {
    let below = |path: &MatchedPath| path.as_str().starts_with(BELOW);
    if !request.extensions().get().is_some_and(below) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let bad = |message: String| Error::Parameters { message };
    let params = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|e| bad(e.body_text()))?;
    let named = params.iter().find(|(name, _)| *name == NAMESPACE);
    let (_, value) = named.ok_or(Error::Undeclared)?;
    let namespace = Namespace::try_from(value.to_owned()).map_err(|e| bad(e.to_string()))?;
    let uri = with_namespace(&parts.uri, &namespace).map_err(|e| bad(e.to_string()))?;
    let asked = std::mem::replace(&mut parts.uri, uri);
    parts.extensions.insert(Asked(asked));
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Names of namespaces need no escape.
fn with_namespace(uri: &Uri, namespace: &Namespace) -> Result<Uri, axum::http::Error> {
    let query = match uri.query() {
        Some(query) if !query.is_empty() => format!("{query}&"),
        _ => String::new(),
    };
    let path = format!("{}?{query}{NAMESPACE}={namespace}", uri.path());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path)?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_a_path_joins_the_query() {
        let team: Namespace = "team".parse().unwrap();
        let moved = |uri: &str| {
            with_namespace(&uri.parse().unwrap(), &team)
                .unwrap()
                .to_string()
        };
        assert_eq!(moved("/a/b"), "/a/b?namespace=team");
        assert_eq!(moved("/a/b?"), "/a/b?namespace=team");
        assert_eq!(moved("/a?x=%26&y"), "/a?x=%26&y&namespace=team");
        assert_eq!(moved("http://h:1/a"), "http://h:1/a?namespace=team");
    }
}
