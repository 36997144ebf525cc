//! What handlers take from a request: path, query, conditions, bodies. Everything that is refused here becomes a problem.

mod since;

use std::time::Duration;

use aide::OperationInput;
use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody},
    extract::{
        FromRequest, FromRequestParts, MatchedPath, Request, State, path::ErrorKind,
        rejection::PathRejection,
    },
    http::{Extensions, HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use tradewind_core::{
    manifest::{Manifest, namespace},
    units::Millis,
};
use tradewind_manifest::Format;

pub(crate) use self::since::Since;
use super::{
    App, Error,
    auth::{self, Caller},
    etag, json,
};

/// Path parameters.
#[derive(Debug)]
pub(crate) struct Path<T>(pub T);

/// Query parameters. Unknown ones are refused where the type refuses them.
#[derive(Debug)]
pub(crate) struct Query<T>(pub T);

/// A manifest in YAML or JSON, read and checked, of a namespace that the caller reaches: the one that it names, else that of the parameter
/// `namespace`, else `default`. The query of its route has to declare that parameter.
#[derive(Debug)]
pub(crate) struct ManifestBody(pub Manifest);

/// The document of a namespace in YAML or JSON, read and checked.
#[derive(Debug)]
pub(crate) struct NamespaceBody(pub namespace::Document);

/// A JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub T);

/// A JSON body that carries a plugin's component. Its routes are named in `UPLOADS`.
#[derive(Debug)]
pub(crate) struct Upload<T>(pub T);

/// A JSON body; an empty one counts as absent.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub Option<T>);

/// A WebAssembly component; an empty body counts as absent.
#[derive(Debug)]
pub(crate) struct ComponentBody(pub Option<Bytes>);

/// `If-Match` and `If-None-Match`, reduced to what the controller understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    None,
    /// It must be at this generation; 0: absent.
    Generation(u64),
    /// It must exist.
    Exists,
}

/// Whether the client wants a stream of server-sent events, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Streaming {
    pub accepted: bool,
    pub last_event_id: Option<String>,
}

/// The most bytes that are read of a body that is too large.
const DISCARDED: usize = 64 << 20;
/// Routes whose bodies may be as large as a component.
const UPLOADS: [&str; 3] = [
    "/v1/shadows",
    "/v1/plugins/{name}/canary",
    "/v1/decisions/{id}/replay",
];
/// For what comes with a component.
const BESIDE: u64 = 2 << 20;
const MANIFEST_TYPES: &str = "application/yaml or application/json";

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(e) => Err(Error::Parameters {
                message: about_path(e),
            }),
        }
    }
}

impl<T: JsonSchema> OperationInput for Path<T> {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        axum::extract::Path::<T>::operation_input(ctx, operation);
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(e) => Err(Error::Parameters {
                message: about_query(&e.body_text(), parts.uri.query().unwrap_or_default()),
            }),
        }
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        axum::extract::Query::<T>::operation_input(ctx, operation);
    }
}

/// What is wrong with a path: the name of the part, its value and what would be right, as far as these are known.
fn about_path(error: PathRejection) -> String {
    let PathRejection::FailedToDeserializePathParams(error) = error else {
        return error.body_text();
    };
    match error.into_kind() {
        ErrorKind::ParseErrorAtKey { key, value, .. } => {
            format!("\"{key}\" can't be \"{value}\": use a whole number")
        }
        ErrorKind::DeserializeError { message, .. } | ErrorKind::Message(message) => message,
        other => other.to_string(),
    }
}

/// The same of a query. `told`: what axum says, whose first words are about no field and whose last ones are about Rust's types.
fn about_query(told: &str, query: &str) -> String {
    let told = told
        .split_once("query string: ")
        .map_or(told, |(_, rest)| rest);
    let field = |what: &str| told.strip_prefix(what)?.strip_suffix('`');
    if let Some(name) = field("duplicate field `") {
        return format!("\"{name}\" is given twice");
    }
    if let Some(name) = field("missing field `") {
        return format!("\"{name}\" is missing");
    }
    let Some((name, rest)) = told.split_once(": ") else {
        return told.to_owned();
    };
    let mut given = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    match (wanted(rest), given.next()) {
        (Some(wanted), Some((_, value))) => {
            format!("\"{name}\" can't be \"{value}\": {wanted}")
        }
        _ => format!("{name}: {rest}"),
    }
}

/// What would be right, for the types that say it in Rust's words.
fn wanted(told: &str) -> Option<&'static str> {
    Some(match told {
        "provided string was not `true` or `false`" => "use true or false",
        "invalid float literal" | "cannot parse float from empty string" => "use a number",
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "use a whole number"
        }
        "number too large to fit in target type" => "use a smaller number",
        zero if zero.contains("expected a nonzero") => "use a whole number from 1",
        _ => return None,
    })
}

impl FromRequest<App> for ManifestBody {
    type Rejection = Error;
    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let format = manifest_format(request.headers())?;
        let caller = request
            .extensions()
            .get::<Caller>()
            .cloned()
            .ok_or(Error::Undeclared)?;
        let mut namespaces = auth::named(request.uri())?;
        let namespace = namespaces.pop();
        if let (Some(one), Some(other)) = (namespaces.first(), &namespace) {
            return Err(Error::Parameters {
                message: format!("the namespace is given twice: \"{one}\" and \"{other}\""),
            });
        }
        let bytes = read_manifest(request, app).await?;
        let manifest = match &namespace {
            Some(namespace) => tradewind_manifest::parse_in(&bytes, format, namespace)?,
            None => tradewind_manifest::parse(&bytes, format)?,
        };
        caller.check(&manifest.metadata.namespace)?;
        let mut stored = Counted(0);
        // It only counts.
        let _ = serde_json::to_writer(&mut stored, &manifest);
        fits(stored.0, app)?;
        Ok(Self(manifest))
    }
}

impl FromRequest<App> for NamespaceBody {
    type Rejection = Error;
    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let format = manifest_format(request.headers())?;
        let bytes = read_manifest(request, app).await?;
        Ok(Self(tradewind_manifest::parse_namespace(&bytes, format)?))
    }
}

impl OperationInput for ManifestBody {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        both_notations::<Manifest>(ctx, operation);
    }
}

impl OperationInput for NamespaceBody {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        both_notations::<namespace::Document>(ctx, operation);
    }
}

/// The same schema describes YAML and JSON.
fn both_notations<T: JsonSchema>(
    ctx: &mut aide::generate::GenContext,
    operation: &mut aide::openapi::Operation,
) {
    axum::Json::<T>::operation_input(ctx, operation);
    if let Some(aide::openapi::ReferenceOr::Item(body)) = &mut operation.request_body
        && let Some(json) = body.content.get("application/json").cloned()
    {
        body.content.insert("application/yaml".to_owned(), json);
    }
}

impl<T: DeserializeOwned> FromRequest<App> for OptionalJson<T> {
    type Rejection = Error;
    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let given = media_type(request.headers());
        let bytes = read_body(request, app).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        match given.as_deref() {
            None | Some("application/json") => {}
            Some(other) => {
                return Err(Error::MediaType {
                    given: other.to_owned(),
                    wanted: "application/json",
                });
            }
        }
        json::read(&bytes)
            .map(Some)
            .map(Self)
            .map_err(|e| Error::Body {
                message: e.to_string(),
            })
    }
}

impl FromRequest<App> for ComponentBody {
    type Rejection = Error;
    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let given = media_type(request.headers());
        let bytes = read_body(request, app).await?;
        match given.as_deref() {
            _ if bytes.is_empty() => Ok(Self(None)),
            Some("application/wasm") => Ok(Self(Some(bytes))),
            other => Err(Error::MediaType {
                given: other.unwrap_or("none").to_owned(),
                wanted: "application/wasm",
            }),
        }
    }
}

impl OperationInput for ComponentBody {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        Bytes::operation_input(ctx, operation);
        if let Some(aide::openapi::ReferenceOr::Item(body)) = &mut operation.request_body {
            body.required = false;
            if let Some(plain) = body.content.shift_remove("application/octet-stream") {
                body.content.insert("application/wasm".to_owned(), plain);
            }
        }
    }
}

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Error;
    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let OptionalJson(body) = OptionalJson::from_request(request, app).await?;
        body.map(Self).ok_or_else(|| Error::Body {
            message: "there is none: send JSON".to_owned(),
        })
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Upload<T> {
    type Rejection = Error;
    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        JsonBody::from_request(request, app)
            .await
            .map(|JsonBody(body)| Self(body))
    }
}

impl<T: JsonSchema> OperationInput for Upload<T> {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        axum::Json::<T>::operation_input(ctx, operation);
    }
}

impl<T: JsonSchema> OperationInput for JsonBody<T> {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        axum::Json::<T>::operation_input(ctx, operation);
    }
}

impl<T: JsonSchema> OperationInput for OptionalJson<T> {
    fn operation_input(
        ctx: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        axum::Json::<T>::operation_input(ctx, operation);
        if let Some(aide::openapi::ReferenceOr::Item(body)) = &mut operation.request_body {
            body.required = false;
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Condition {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::from_headers(&parts.headers)
    }
}

impl OperationInput for Condition {
    fn operation_input(
        _: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        let text = "The `ETag` that it had: its generation must still be the same, whatever has become of its status. Or a generation in \
                    quotes; `*`: it must exist.";
        describe_header(
            operation,
            "If-Match",
            text,
            r#"^(\*|"[1-9][0-9]{0,18}"|"[0-9]{1,19}-[0-9a-f]{16}(\.[a-z]+)?")$"#,
        );
        describe_header(
            operation,
            "If-None-Match",
            "`*`: it must not exist yet.",
            r"^\*$",
        );
    }
}

/// A header that may be sent, and what it may hold: without a pattern anything.
pub(crate) fn describe_header(
    operation: &mut aide::openapi::Operation,
    name: &str,
    description: &str,
    pattern: &str,
) {
    use aide::openapi::{
        HeaderStyle, Parameter, ParameterData, ParameterSchemaOrContent, ReferenceOr, SchemaObject,
    };
    let schema = match pattern {
        "" => schemars::json_schema!({ "type": "string" }),
        _ => schemars::json_schema!({ "type": "string", "pattern": pattern }),
    };
    let schema = SchemaObject {
        json_schema: schema,
        external_docs: None,
        example: None,
    };
    let parameter_data = ParameterData {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: false,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(schema),
        example: None,
        examples: Default::default(),
        explode: None,
        extensions: Default::default(),
    };
    operation
        .parameters
        .push(ReferenceOr::Item(Parameter::Header {
            parameter_data,
            style: HeaderStyle::Simple,
        }));
}

impl Condition {
    fn from_headers(headers: &HeaderMap) -> Result<Self, Error> {
        let text = |name| {
            headers
                .get(name)
                .map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned())
        };
        // It is looked at whatever else there is: what nobody understands is not passed over.
        let matched = text(header::IF_MATCH).map(Self::from_match).transpose()?;
        if let Some(value) = text(header::IF_NONE_MATCH) {
            let rule = "only * is understood: the deployment must not exist yet";
            return if value == "*" {
                Ok(Self::Generation(0))
            } else {
                Err(Error::Header {
                    name: "If-None-Match",
                    value,
                    rule,
                })
            };
        }
        Ok(matched.unwrap_or(Self::None))
    }

    fn from_match(value: String) -> Result<Self, Error> {
        if value == "*" {
            return Ok(Self::Exists);
        }
        match etag::generation(&value) {
            Some(generation) => Ok(Self::Generation(generation)),
            None => Err(Error::Header {
                name: "If-Match",
                value,
                rule: "send the ETag as it came, or a generation in quotes, such as \"3\", or *",
            }),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Streaming {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let accept = parts
            .headers
            .get(header::ACCEPT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let accepted = accept.split(',').any(|part| {
            part.split(';')
                .next()
                .is_some_and(|t| t.trim() == "text/event-stream")
        });
        let last_event_id = parts
            .headers
            .get("last-event-id")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        Ok(Self {
            accepted,
            last_event_id,
        })
    }
}

impl OperationInput for Streaming {
    fn operation_input(
        _: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        let text = "The id of the last event of a stream that broke off: it goes on behind it.";
        describe_header(operation, "Last-Event-ID", text, "^[-_A-Za-z0-9]+$");
    }
}

/// The content type without its parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let text = String::from_utf8_lossy(value.as_bytes());
    Some(
        text.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
    )
}

/// Without a content type: YAML, of which JSON is a part.
fn manifest_format(headers: &HeaderMap) -> Result<Format, Error> {
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(Format::Json),
        None | Some("application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml") => {
            Ok(Format::Yaml)
        }
        Some(other) => Err(Error::MediaType {
            given: other.to_owned(),
            wanted: MANIFEST_TYPES,
        }),
    }
}

/// Refuses what says that it is too large, or that it is packed, on every route; what does not say is cut off where it is read. Only what a known sender sends is
/// read for that.
pub(crate) async fn limit_size(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let max = most(request.extensions(), &app);
    if declared_size(request.headers()).is_some_and(|n| n > max) {
        if request.extensions().get::<Caller>().is_some() {
            // Reading it refuses it.
            read_body(request, &app).await?;
        }
        return Err(Error::TooLarge { max });
    }
    // Nothing here unpacks a body: it would have a second size, which nobody has looked at.
    let codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if let Some(coding) = codings
        .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
        .find(|v| !v.eq_ignore_ascii_case("identity"))
    {
        return Err(Error::Coding { given: coding });
    }
    Ok(next.run(request).await)
}

/// The request with its whole body.
///
/// # Errors
/// It is too large, or does not come in time.
pub(crate) async fn arrived(request: Request, app: &App) -> Result<Request, Error> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.extensions, &parts.headers, body, app).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A component out of its text in base64.
///
/// # Errors
/// It is none, or larger than the daemon takes.
pub(crate) async fn component(app: &App, text: String) -> Result<Vec<u8>, Error> {
    // Some millions of letters: nothing for an async thread.
    let decoded = tokio::task::spawn_blocking(move || STANDARD.decode(text))
        .await
        .map_err(|_| Error::Panic)?;
    let bytes = decoded.map_err(|e| Error::Body {
        message: format!("component is no base64: {e}"),
    })?;
    let max = app.config.reload.max_size;
    if bytes.len() as u64 > max.0 {
        let message = format!(
            "component has {} bytes: the setting \"reload.max-size\" allows {max}",
            bytes.len()
        );
        return Err(Error::Body { message });
    }
    Ok(bytes)
}

/// Whether a request brings a component along.
pub(crate) fn is_upload(request: &Request) -> bool {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(MatchedPath::as_str);
    *request.method() == Method::POST
        && route.is_some_and(|r| UPLOADS.contains(&r))
        && !request.body().is_end_stream()
}

/// The largest body of a route: a component's bytes are text in it, a third longer.
fn most(extensions: &Extensions, app: &App) -> u64 {
    let route = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let limit = app.config.api.max_body.0;
    let upload = app
        .config
        .reload
        .max_size
        .0
        .div_ceil(3)
        .saturating_mul(4)
        .saturating_add(BESIDE);
    if route.is_some_and(|r| UPLOADS.contains(&r)) {
        limit.max(upload)
    } else {
        limit
    }
}

fn declared_size(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The whole body, within the limits of size and time.
async fn read_body(request: Request, app: &App) -> Result<Bytes, Error> {
    let (parts, body) = request.into_parts();
    read(&parts.extensions, &parts.headers, body, app).await
}

async fn read_manifest(request: Request, app: &App) -> Result<Bytes, Error> {
    let bytes = read_body(request, app).await?;
    fits(bytes.len() as u64, app)?;
    Ok(bytes)
}

fn fits(size: u64, app: &App) -> Result<(), Error> {
    let max = app.config.api.max_manifest;
    if size > max.0 {
        Err(Error::LargeManifest { size, max })
    } else {
        Ok(())
    }
}

/// How much was written.
struct Counted(u64);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn read(
    extensions: &Extensions,
    headers: &HeaderMap,
    body: Body,
    app: &App,
) -> Result<Bytes, Error> {
    let limits = &app.config.api;
    let max = most(extensions, app);
    let declared = declared_size(headers);
    let time = Duration::from_millis(limits.body_timeout.0);
    let mut body = body.into_data_stream();
    let read = tokio::time::timeout(time, async {
        let read = if declared.is_some_and(|n| n > max) {
            Err(Error::TooLarge { max })
        } else {
            collect(&mut body, max).await
        };
        if matches!(read, Err(Error::TooLarge { .. })) {
            discard(&mut body).await;
        }
        read
    });
    match read.await {
        Ok(body) => body,
        Err(_) => Err(Error::Slow {
            after: Millis::from(time),
        }),
    }
}

/// Who is cut off while still sending sees a broken connection instead of the answer, so some more is read and forgotten.
async fn discard(body: &mut BodyDataStream) {
    let mut left = DISCARDED;
    while let Some(Ok(chunk)) = body.next().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

async fn collect(stream: &mut BodyDataStream, max: u64) -> Result<Bytes, Error> {
    // Most bodies are one frame, which needs no copy.
    let Some(first) = stream.next().await.transpose().map_err(Error::Broken)? else {
        return Ok(Bytes::new());
    };
    if first.len() as u64 > max {
        return Err(Error::TooLarge { max });
    }
    let Some(second) = stream.next().await.transpose().map_err(Error::Broken)? else {
        return Ok(first);
    };
    let mut all = Vec::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if (all.len() + chunk.len()) as u64 > max {
            return Err(Error::TooLarge { max });
        }
        all.extend_from_slice(&chunk);
        next = stream.next().await.transpose().map_err(Error::Broken)?;
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn conditions_are_read_as_generations() {
        let read = |name, value| Condition::from_headers(&headers(&[(name, value)]));
        assert_eq!(read("if-match", "\"3\"").unwrap(), Condition::Generation(3));
        assert_eq!(read("if-match", "*").unwrap(), Condition::Exists);
        assert_eq!(
            read("if-none-match", "*").unwrap(),
            Condition::Generation(0)
        );
        assert_eq!(
            Condition::from_headers(&HeaderMap::new()).unwrap(),
            Condition::None
        );
        for (name, value) in [
            ("if-match", "3"),
            ("if-match", "\"0\""),
            ("if-match", "W/\"3\""),
            ("if-match", "abc"),
            ("if-match", "\"3"),
            ("if-none-match", "\"3\""),
        ] {
            assert!(read(name, value).is_err(), "{name}: {value}");
        }
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Wanted {
        limit: Option<std::num::NonZeroU32>,
        tail: Option<u16>,
        #[serde(default)]
        follow: bool,
        hours: Option<f64>,
        role: Option<tradewind_core::identity::Role>,
        name: String,
    }

    #[tokio::test]
    async fn a_bad_parameter_is_named_with_what_would_be_right() {
        for (query, told) in [
            (
                "name=x&limit=abc",
                r#""limit" can't be "abc": use a whole number"#,
            ),
            (
                "name=x&limit=0",
                r#""limit" can't be "0": use a whole number from 1"#,
            ),
            (
                "name=x&tail=-1",
                r#""tail" can't be "-1": use a whole number"#,
            ),
            (
                "name=x&tail=99999",
                r#""tail" can't be "99999": use a smaller number"#,
            ),
            (
                "name=x&follow=maybe",
                r#""follow" can't be "maybe": use true or false"#,
            ),
            (
                "name=x&hours=a%20b",
                r#""hours" can't be "a b": use a number"#,
            ),
            ("limit=1", r#""name" is missing"#),
            ("name=x&name=y", r#""name" is given twice"#),
        ] {
            let request = Request::builder().uri(format!("/v1/x?{query}"));
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            let refused = Query::<Wanted>::from_request_parts(&mut parts, &()).await;
            let error = refused.unwrap_err().to_string();
            assert_eq!(error, format!("the parameters are not valid: {told}"));
        }
        let request = Request::builder().uri("/v1/x?name=x&role=king");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let refused = Query::<Wanted>::from_request_parts(&mut parts, &()).await;
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("role: ") && error.contains("operator"),
            "{error}"
        );
    }

    #[test]
    fn the_content_type_names_the_notation() {
        let read = |value| manifest_format(&headers(&[("content-type", value)]));
        assert!(matches!(
            read("application/json; charset=utf-8"),
            Ok(Format::Json)
        ));
        assert!(matches!(read("Application/YAML"), Ok(Format::Yaml)));
        assert!(matches!(
            manifest_format(&HeaderMap::new()),
            Ok(Format::Yaml)
        ));
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            assert!(
                matches!(read(other), Err(Error::MediaType { .. })),
                "{other}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_is_cut_off_at_its_limit() {
        let chunk = |_| Ok::<_, std::io::Error>(Bytes::from_static(b"12345678"));
        let chunks = |n: usize| {
            Body::from_stream(futures::stream::iter((0..n).map(chunk))).into_data_stream()
        };
        assert_eq!(collect(&mut chunks(4), 32).await.unwrap().len(), 32);
        assert!(matches!(
            collect(&mut chunks(5), 32).await,
            Err(Error::TooLarge { max: 32 })
        ));
        assert!(
            collect(&mut Body::empty().into_data_stream(), 32)
                .await
                .unwrap()
                .is_empty()
        );
    }
}
