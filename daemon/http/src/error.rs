//! Every way a request can fail, and the one place where that becomes a response.

use std::error::Error as _;

use aide::OperationOutput;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tradewind_controller::{self as controller, request};
use tradewind_core::{
    failure::{Failure, FailureKind},
    identity::Role,
    list::OrderError,
    names::{DecisionId, TaskName, TokenName},
    store,
    units::{Bytes, Millis},
};
use tradewind_manifest::Invalid;
use tradewind_wasm::{CanaryError, RecallError, ReconcileError, RollbackError, ShadowError};

use super::{paging::fields, refusals::Reason};
use crate::identity::{self, Refusal};
use tradewind_api::{
    command,
    problem::{CONTENT_TYPE, Kind, Problem},
};
use tradewind_backup as backup;

/// A request that was not fulfilled.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("there is no {method} {path} in this API")]
    NoRoute { method: String, path: String },
    #[error("{path} does not answer {method}")]
    Method {
        method: String,
        path: String,
        allowed: Vec<Method>,
    },
    #[error(transparent)]
    Manifest(#[from] Invalid),
    #[error("the manifest is named \"{manifest}\" and was sent to \"{path}\": they must agree")]
    NameMismatch { manifest: String, path: String },
    #[error("the parameters are not valid: {message}")]
    Parameters { message: String },
    #[error("the header \"{name}\" can't be \"{value}\": {rule}")]
    Header {
        name: &'static str,
        value: String,
        rule: &'static str,
    },
    #[error("the body is not valid: {message}")]
    Body { message: String },
    #[error("bodies of the type \"{given}\" are not understood: send {wanted}")]
    MediaType { given: String, wanted: &'static str },
    #[error("bodies that are packed (\"{given}\") are not taken: send them as they are")]
    Coding { given: String },
    #[error("the body is larger than the setting \"api.max-body\" allows ({max} bytes)")]
    TooLarge { max: u64 },
    #[error("the manifest has {size} bytes: the setting \"api.max-manifest\" allows {max}")]
    LargeManifest { size: u64, max: Bytes },
    #[error(
        "the body did not arrive within the time that the setting \"api.body-timeout\" allows ({after})"
    )]
    Slow { after: Millis },
    #[error(
        "this is a WebSocket of the protocol \"{}\", and the request does not ask for one",
        tradewind_api::PROTOCOL
    )]
    Upgrade,
    #[error("the body broke off")]
    Broken(#[source] axum::Error),
    #[error(
        "requests to the host \"{host}\" are not answered: this API answers to loopback names and addresses only"
    )]
    Host { host: String },
    #[error("the request names two hosts, \"{host}\" and \"{other}\": send one")]
    Hosts { host: String, other: String },
    #[error("requests from pages of \"{origin}\" are not answered")]
    Origin { origin: String },
    #[error(transparent)]
    Unauthenticated(Refusal),
    #[error("this takes the role \"{needed}\", and your token has the role \"{held}\"")]
    Role { held: Role, needed: Role },
    #[error(
        "the setting \"api.uploads\" lets the role \"admin\" send components, and your token has the role \"{held}\""
    )]
    Upload { held: Role },
    #[error("the token \"{token}\" does not reach the namespace \"{namespace}\"")]
    Namespace { token: TokenName, namespace: String },
    #[error(
        "decision \"{id}\" is about other namespaces too, which the token \"{token}\" does not reach: another policy can't be tried on it"
    )]
    OthersToo { token: TokenName, id: DecisionId },
    #[error("nothing says who may do this, so nobody may: a defect of the daemon")]
    Undeclared,
    #[error("too many requests: the setting \"{setting}\" says how many are answered per second")]
    TooMany {
        setting: &'static str,
        after: Millis,
    },
    #[error("too many requests without a valid token came from this address")]
    Refused { after: Millis },
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("too many requests at once: the setting \"{setting}\" allows {limit}")]
    Busy { setting: &'static str, limit: u32 },
    #[error(
        "too many requests of one token at once: the setting \"{setting}\" allows it {share} of {limit}"
    )]
    Share {
        setting: &'static str,
        share: u32,
        limit: u32,
    },
    #[error("there is no {what} \"{name}\"")]
    NotFound { what: &'static str, name: String },
    #[error("it exists already")]
    Exists,
    #[error("not ready: {reason}")]
    NotReady { reason: crate::readiness::Reason },
    /// Nothing of the request was done.
    #[error("{progress}")]
    Starting { progress: crate::readiness::Reason },
    #[error(transparent)]
    Controller(Box<controller::Error>),
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    #[error(transparent)]
    Recall(#[from] RecallError),
    #[error(transparent)]
    Canary(#[from] CanaryError),
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error(transparent)]
    Backup(Box<backup::Error>),
    #[error("the answer could not be written")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a defect of the daemon stopped this request: its log tells more")]
    Panic,
}

/// What the mapping decides per error.
struct Shape {
    status: StatusCode,
    kind: Kind,
    retry_after: Option<Millis>,
    remedy: Option<String>,
}

impl Shape {
    fn new(status: StatusCode, kind: Kind) -> Self {
        Self {
            status,
            kind,
            retry_after: None,
            remedy: None,
        }
    }

    fn later(kind: Kind) -> Self {
        Self {
            retry_after: Some(Millis::from_secs(1)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, kind)
        }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

// === impl Error ===

impl Error {
    fn shape(&self) -> Shape {
        match self {
            Self::NoRoute { .. } => Shape::new(StatusCode::NOT_FOUND, Kind::NotFound).remedy("GET /openapi.json lists what there is"),
            Self::Method { .. } => Shape::new(StatusCode::METHOD_NOT_ALLOWED, Kind::InvalidRequest),
            Self::Unauthenticated(_) => Shape::new(StatusCode::UNAUTHORIZED, Kind::Unauthenticated)
                .remedy("the first token is in the file admin.token in the daemon's data folder; `tradewind token create` makes others"),
            Self::Role { .. } | Self::Namespace { .. } | Self::OthersToo { .. } | Self::Undeclared => {
                Shape::new(StatusCode::FORBIDDEN, Kind::Forbidden)
            }
            Self::Upload { .. } => Shape::new(StatusCode::FORBIDDEN, Kind::Forbidden).remedy(
                "ask an admin to do it; or, where operators are trusted with what compiling takes, to set api.uploads = \"operator\" in the \
                 daemon's configuration",
            ),
            Self::TooMany { after, .. } | Self::Refused { after } => {
                Shape { retry_after: Some(*after), ..Shape::new(StatusCode::TOO_MANY_REQUESTS, Kind::TooManyRequests) }
            }
            Self::Identity(e) => identity_shape(e),
            Self::Manifest(invalid) => Shape::new(manifest_status(invalid), Kind::InvalidManifest),
            Self::NameMismatch { .. } => Shape::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidManifest),
            Self::Share { .. } => {
                Shape { retry_after: Some(Millis::from_secs(1)), ..Shape::new(StatusCode::TOO_MANY_REQUESTS, Kind::TooManyRequests) }
            }
            Self::Parameters { .. } | Self::Header { .. } | Self::Body { .. } | Self::Broken(_) | Self::Hosts { .. } => {
                Shape::new(StatusCode::BAD_REQUEST, Kind::InvalidRequest)
            }
            Self::Upgrade => Shape::new(StatusCode::UPGRADE_REQUIRED, Kind::InvalidRequest)
                .remedy("`tradewind exec`, `port-forward` and `cp` do; from a program, send the headers Upgrade, Connection and those of RFC 6455"),
            Self::MediaType { .. } | Self::Coding { .. } => Shape::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::InvalidRequest),
            Self::TooLarge { .. } | Self::LargeManifest { .. } => Shape::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::InvalidRequest),
            Self::Slow { .. } => Shape::new(StatusCode::REQUEST_TIMEOUT, Kind::InvalidRequest),
            Self::Host { .. } | Self::Origin { .. } => Shape::new(StatusCode::FORBIDDEN, Kind::Forbidden),
            Self::Busy { .. } | Self::NotReady { .. } => Shape::later(Kind::Unavailable),
            Self::Starting { .. } => Shape::later(Kind::Starting),
            Self::NotFound { .. } => Shape::new(StatusCode::NOT_FOUND, Kind::NotFound),
            Self::Exists => superseded(),
            Self::Controller(e) => controller_shape(e),
            Self::Rollback(e) => rollback_shape(e),
            Self::Recall(e) => recall_shape(e),
            Self::Canary(e) => canary_shape(e),
            Self::Shadow(e) => shadow_shape(e),
            Self::Reconcile(ReconcileError::Folder { .. }) => Shape::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
            Self::Reconcile(ReconcileError::Stopped) => Shape::later(Kind::Unavailable),
            Self::Backup(e) if matches!(e.as_ref(), backup::Error::Busy) => Shape::new(StatusCode::CONFLICT, Kind::Conflict),
            Self::Backup(_) => Shape::later(Kind::Storage),
            Self::Encode(_) | Self::Panic => Shape::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
        }
    }

    /// Under what it is counted and told, where it keeps somebody out.
    fn refusal(&self) -> Option<Reason> {
        Some(match self {
            Self::Unauthenticated(Refusal::Missing) => Reason("token-missing"),
            Self::Unauthenticated(Refusal::Unknown) => Reason("token-unknown"),
            Self::Unauthenticated(Refusal::Expired) => Reason::EXPIRED,
            Self::Unauthenticated(Refusal::Revoked) => Reason::REVOKED,
            Self::Role { .. } | Self::Upload { .. } => Reason::ROLE,
            Self::Namespace { .. } | Self::OthersToo { .. } => Reason::NAMESPACE,
            Self::Identity(identity::Error::Escalation(_)) => Reason::ESCALATION,
            Self::Undeclared => Reason("undeclared"),
            Self::Host { .. } | Self::Hosts { .. } => Reason("host"),
            Self::Origin { .. } => Reason("origin"),
            Self::TooMany { .. } | Self::Refused { .. } => Reason("rate"),
            Self::Share { .. } => Reason("share"),
            Self::Busy { .. } => Reason("busy"),
            _ => return None,
        })
    }

    /// What the status calls for besides.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Unauthenticated(Refusal::Missing) => Some((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tradewind\""),
            )),
            Self::Unauthenticated(_) => {
                let value =
                    HeaderValue::from_static("Bearer realm=\"tradewind\", error=\"invalid_token\"");
                Some((header::WWW_AUTHENTICATE, value))
            }
            Self::Upgrade => Some((header::UPGRADE, HeaderValue::from_static("websocket"))),
            Self::Coding { .. } => Some((
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            )),
            Self::Method { allowed, .. } => {
                let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
                Some((header::ALLOW, HeaderValue::try_from(names.join(", ")).ok()?))
            }
            _ => None,
        }
    }

    fn problems(&self) -> Vec<tradewind_manifest::Problem> {
        let one = |path: &str, message: String| {
            vec![tradewind_manifest::Problem {
                path: path.to_owned(),
                message,
                line: None,
                column: None,
            }]
        };
        match self {
            Self::Manifest(invalid) => invalid.problems.clone(),
            Self::NameMismatch { .. } => one("metadata.name", self.to_string()),
            Self::Controller(e) => match e.as_ref() {
                controller::Error::Invalid { path, message } => one(path, message.clone()),
                controller::Error::Plugin(failure) | controller::Error::Session(failure) => failure
                    .field
                    .as_ref()
                    .map(|field| one(field, failure.message.clone()))
                    .unwrap_or_default(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn causes(&self) -> Vec<String> {
        // A transparent error's source is its inner error's source: the chain starts below the message.
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        if let Self::Controller(e) = self
            && let controller::Error::Plugin(failure) | controller::Error::Session(failure) =
                e.as_ref()
            && let Some(plugin) = &failure.plugin
        {
            causes.push(format!("said by {plugin}"));
        }
        causes
    }
}

/// Text that is no manifest at all has one problem that belongs to no field.
fn manifest_status(invalid: &Invalid) -> StatusCode {
    let no_text = invalid.problems.iter().all(|p| p.path.is_empty());
    if no_text {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}

fn superseded() -> Shape {
    Shape::new(StatusCode::PRECONDITION_FAILED, Kind::GenerationMismatch)
        .remedy("read it again and decide anew")
}

fn controller_shape(error: &controller::Error) -> Shape {
    use controller::Error as C;
    match error {
        C::NotFound { .. } => Shape::new(StatusCode::NOT_FOUND, Kind::NotFound),
        C::Generation { .. } => superseded(),
        C::InUse { .. } => {
            Shape::new(StatusCode::CONFLICT, Kind::Conflict).remedy("delete its deployments first")
        }
        C::Unfollowable { .. } => Shape::new(StatusCode::GONE, Kind::Gone)
            .remedy("list again, and follow after the `revision` of the list"),
        C::InputsGone { .. } => Shape::new(StatusCode::GONE, Kind::Gone).remedy(
            "keep.decision-inputs-age and keep.decision-inputs-size say how long inputs are kept",
        ),
        C::StateQuota { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict)
            .remedy("delete deployments or plans of the namespace, or have its quota raised"),
        C::NotEnded { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict)
            .remedy("wait until it has ended, or name another job of the deployment"),
        C::Deleting { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict)
            .remedy("wait until it is gone, then create it again"),
        C::NoPreviousRun { .. } => Shape::new(StatusCode::NOT_FOUND, Kind::NotFound)
            .remedy("without `--previous`, `tradewind logs` shows the lines of the present run"),
        C::RunsNotKept { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict).remedy(
            "providers of processes (process, simulated-live) and of Kubernetes do: elsewhere, look at all lines that are kept",
        ),
        C::Cursor { .. } => Shape::new(StatusCode::BAD_REQUEST, Kind::InvalidRequest),
        C::Paused { name } => {
            let line = command(&name.namespace, &format!("rollout resume {}", name.name));
            Shape::new(StatusCode::CONFLICT, Kind::Conflict).remedy(format!("{line} lets it go on"))
        }
        C::NoPlace { known, .. } => Shape::new(StatusCode::NOT_FOUND, Kind::NotFound)
            .remedy(format!("the places are {}", known.join(", "))),
        C::CordonedWhole { provider, .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict)
            .remedy(format!("`tradewind uncordon {provider}` lifts that")),
        C::NothingTo { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict),
        C::NoTask { known, .. } => {
            let names: Vec<&str> = known.iter().map(TaskName::as_str).collect();
            Shape::new(StatusCode::NOT_FOUND, Kind::NotFound)
                .remedy(format!("it has {}", names.join(", ")))
        }
        C::Invalid { .. } => Shape::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidRequest),
        C::Plan(e) => plan_shape(e),
        C::Plugin(failure) => plugin_shape(failure),
        C::Session(failure) => session_shape(failure),
        C::Store(e) => store_shape(e),
    }
}

fn plan_shape(error: &controller::PlanError) -> Shape {
    use controller::PlanError as P;
    let conflict = || Shape::new(StatusCode::CONFLICT, Kind::Conflict);
    match error {
        P::Own { .. } => Shape::new(StatusCode::FORBIDDEN, Kind::Forbidden)
            .remedy("somebody else with the role approver has to approve it"),
        P::ApprovalRequired { namespace, change } => conflict().remedy(format!(
            "{}, somebody else says {}, then {} carries it out",
            change.plan(namespace),
            command(namespace, "plan approve NAME"),
            command(namespace, "plan apply NAME")
        )),
        P::Exists { id, namespace } => conflict().remedy(format!(
            "choose another name, or delete that plan with {}",
            command(namespace, &format!("plan delete {id}"))
        )),
        P::TooMany { namespace, .. } => conflict().remedy(format!(
            "delete plans that are not needed with {}",
            command(namespace, "plan delete NAME")
        )),
        P::Moved { .. } | P::Status { .. } | P::Incomplete { .. } => {
            conflict().remedy("plan again")
        }
        P::Unapproved { id, namespace } => conflict().remedy(format!(
            "somebody else has to say {}",
            command(namespace, &format!("plan approve {id}"))
        )),
        P::Stillborn => Shape::new(StatusCode::BAD_REQUEST, Kind::InvalidRequest),
    }
}

fn identity_shape(error: &identity::Error) -> Shape {
    use identity::Error as I;
    match error {
        I::NotFound { .. } => Shape::new(StatusCode::NOT_FOUND, Kind::NotFound),
        I::Exists { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict).remedy("revoke it, or choose another name"),
        I::Last { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict)
            .remedy("make another admin token for all namespaces first, or make this one anew with `tradewind token reset-admin`"),
        I::Stillborn => Shape::new(StatusCode::BAD_REQUEST, Kind::InvalidRequest),
        I::Escalation(_) => Shape::new(StatusCode::FORBIDDEN, Kind::Forbidden),
        I::Store(e) => store_shape(e),
        I::Entropy | I::File { .. } => Shape::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
    }
}

fn plugin_shape(failure: &Failure) -> Shape {
    if failure.code.as_deref() == Some("policy-missing") {
        // No call failed: what the manifest, or its namespace, names is not there.
        return Shape {
            remedy: failure.remedy.clone(),
            ..Shape::new(StatusCode::CONFLICT, Kind::Conflict)
        };
    }
    let status = match failure.kind {
        FailureKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        FailureKind::NotFound => StatusCode::NOT_FOUND,
        FailureKind::OutOfCapacity
        | FailureKind::Quota
        | FailureKind::Throttled
        | FailureKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        FailureKind::Denied | FailureKind::Internal => StatusCode::BAD_GATEWAY,
    };
    Shape {
        status,
        kind: Kind::PluginFailed,
        retry_after: failure.retry_after,
        remedy: failure.remedy.clone(),
    }
}

/// No call of a plugin has failed: the daemon's own part of a capability has said no.
fn session_shape(failure: &Failure) -> Shape {
    let (status, kind) = match failure.kind {
        FailureKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidRequest),
        FailureKind::NotFound => (StatusCode::NOT_FOUND, Kind::NotFound),
        FailureKind::Denied => (StatusCode::FORBIDDEN, Kind::Forbidden),
        FailureKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
        FailureKind::OutOfCapacity
        | FailureKind::Quota
        | FailureKind::Throttled
        | FailureKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable),
    };
    Shape {
        retry_after: failure.retry_after,
        remedy: failure.remedy.clone(),
        ..Shape::new(status, kind)
    }
}

fn store_shape(error: &store::Error) -> Shape {
    match error {
        store::Error::Conflict { .. } => {
            Shape::new(StatusCode::CONFLICT, Kind::Conflict).remedy("try again")
        }
        store::Error::Compacted { .. } => Shape::new(StatusCode::GONE, Kind::Gone)
            .remedy("read the present state, then follow from there"),
        store::Error::Unwritable { trouble, .. } => {
            Shape::later(Kind::Storage).remedy(trouble.remedy())
        }
        store::Error::Closed => Shape::later(Kind::Unavailable),
        store::Error::Backend { .. } | store::Error::Newer { .. } => {
            Shape::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal)
        }
    }
}

fn recall_shape(error: &RecallError) -> Shape {
    match error {
        RecallError::NotKept { .. } => Shape::new(StatusCode::GONE, Kind::Gone)
            .remedy("`tradewind plugin inspect NAME` shows the versions that are kept; or bring the component along: --policy FILE"),
        RecallError::Load { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict),
        RecallError::Refused { .. } | RecallError::NotAPolicy { .. } => {
            Shape::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidRequest).remedy("`tradewind plugin inspect FILE.wasm` tells more")
        }
    }
}

fn rollback_shape(error: &RollbackError) -> Shape {
    match error {
        RollbackError::UnknownInstance { .. } | RollbackError::UnknownVersion { .. } => {
            Shape::new(StatusCode::NOT_FOUND, Kind::NotFound)
                .remedy("`tradewind plugin inspect NAME` shows the versions that are kept")
        }
        RollbackError::NoEarlier { .. } | RollbackError::Load { .. } => {
            Shape::new(StatusCode::CONFLICT, Kind::Conflict)
        }
        RollbackError::Unreadable { .. } => {
            Shape::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal)
        }
        RollbackError::Stopped => Shape::later(Kind::Unavailable),
    }
}

fn canary_shape(error: &CanaryError) -> Shape {
    use CanaryError as C;
    match error {
        C::UnknownInstance { .. } | C::None { .. } => {
            Shape::new(StatusCode::NOT_FOUND, Kind::NotFound)
        }
        C::Busy { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict)
            .remedy("promote or abort it, and wait until it holds nothing"),
        C::Same | C::Other { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict),
        C::Terms(_) | C::File(_) | C::Load(_) => {
            Shape::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidRequest)
        }
        C::HistoryStore(_) => Shape::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
        C::Stopped => Shape::later(Kind::Unavailable),
    }
}

fn shadow_shape(error: &ShadowError) -> Shape {
    use ShadowError as S;
    match error {
        S::Unknown { .. } => {
            Shape::new(StatusCode::NOT_FOUND, Kind::NotFound).remedy("`tradewind policy shadow list` shows those there are")
        }
        S::Taken { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict).remedy("choose another with --name"),
        S::TooMany => Shape::new(StatusCode::CONFLICT, Kind::Conflict).remedy("stop one of them first"),
        S::Settings { .. } | S::NotPolicy | S::Load(_) | S::Refused { .. } => {
            Shape::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidRequest)
        }
        S::Folder { .. } => Shape::new(StatusCode::CONFLICT, Kind::Conflict)
            .remedy("put the component into the plugin folder yourself, and name it in the namespace's spec.policy"),
        S::HistoryStore(_) => Shape::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
        S::Stopped => Shape::later(Kind::Unavailable),
    }
}

impl From<fields::Error> for Error {
    fn from(e: fields::Error) -> Self {
        Self::Parameters {
            message: e.to_string(),
        }
    }
}

impl From<OrderError> for Error {
    fn from(e: OrderError) -> Self {
        Self::Parameters {
            message: e.to_string(),
        }
    }
}

impl From<backup::Error> for Error {
    fn from(e: backup::Error) -> Self {
        Self::Backup(Box::new(e))
    }
}

impl From<controller::Error> for Error {
    fn from(e: controller::Error) -> Self {
        Self::Controller(Box::new(e))
    }
}

impl Error {
    fn problem(&self, shape: &Shape) -> Problem {
        Problem {
            kind: shape.kind,
            title: shape.kind.title().to_owned(),
            status: shape.status.as_u16(),
            detail: self.to_string(),
            instance: None,
            request: request::current(),
            problems: self.problems(),
            causes: self.causes(),
            remedy: shape.remedy.clone(),
        }
    }

    /// As it is told where the response has begun already: in a stream.
    pub fn to_problem(&self) -> Problem {
        self.problem(&self.shape())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let shape = self.shape();
        let problem = self.problem(&shape);
        // Those who wait for a daemon that starts ask often.
        if shape.status.is_server_error() && shape.kind != Kind::Starting {
            tracing::warn!(status = problem.status, causes = ?problem.causes, "{}", problem.detail);
        }
        // A struct of texts and numbers always has a JSON form.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        if let Some(reason) = self.refusal() {
            response.extensions_mut().insert(reason);
        }
        *response.status_mut() = shape.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some((name, value)) = self.header() {
            response.headers_mut().insert(name, value);
        }
        if let Some(after) = shape.retry_after {
            response.headers_mut().insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.0.div_ceil(1000).max(1)),
            );
        }
        response
    }
}

impl OperationOutput for Error {
    type Inner = Problem;

    fn operation_response(
        ctx: &mut aide::generate::GenContext,
        op: &mut aide::openapi::Operation,
    ) -> Option<aide::openapi::Response> {
        let mut response = axum::Json::<Problem>::operation_response(ctx, op)?;
        response.content = response
            .content
            .into_iter()
            .map(|(_, media)| (CONTENT_TYPE.to_owned(), media))
            .collect();
        Some(response)
    }

    fn inferred_responses(
        ctx: &mut aide::generate::GenContext,
        op: &mut aide::openapi::Operation,
    ) -> Vec<(Option<u16>, aide::openapi::Response)> {
        Self::operation_response(ctx, op)
            .map(|r| (None, r))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use tradewind_core::names::{Namespace, PlanId};

    use super::*;

    async fn render(error: Error) -> (Problem, axum::http::HeaderMap) {
        let response = error.into_response();
        let headers = response.headers().clone();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (serde_json::from_slice(&body).unwrap(), headers)
    }

    #[tokio::test]
    async fn a_bad_manifest_shows_every_problem_with_its_place() {
        let at = |path: &str| tradewind_manifest::Problem {
            path: path.into(),
            message: "m".into(),
            line: Some(3),
            column: Some(7),
        };
        let (problem, headers) = render(Error::Manifest(Invalid {
            problems: vec![at("spec.a"), at("spec.b")],
        }))
        .await;
        assert_eq!((problem.kind, problem.status), (Kind::InvalidManifest, 422));
        assert_eq!(problem.problems, [at("spec.a"), at("spec.b")]);
        assert_eq!(headers[header::CONTENT_TYPE], CONTENT_TYPE);
        let (syntax, _) = render(Error::Manifest(Invalid {
            problems: vec![at("")],
        }))
        .await;
        assert_eq!(syntax.status, 400);
    }

    #[tokio::test]
    async fn the_cause_chain_is_told_once_and_the_plugin_named() {
        let inner = std::io::Error::other("disk full");
        let backend = store::Error::Backend {
            action: "written",
            path: "state.db".into(),
            source: Box::new(inner),
        };
        let (problem, _) = render(controller::Error::Store(backend).into()).await;
        assert_eq!((problem.kind, problem.status), (Kind::Internal, 500));
        assert_eq!(problem.detail, "the state could not be read or written");
        assert_eq!(
            problem.causes,
            ["the state at \"state.db\" can't be written", "disk full"]
        );

        let failure = Failure::new(FailureKind::Throttled, "slow down")
            .retry_after(Some(Millis(2500)))
            .remedy("wait");
        let (problem, headers) = render(controller::Error::Plugin(failure).into()).await;
        assert_eq!(
            (problem.kind, problem.status, problem.remedy.as_deref()),
            (Kind::PluginFailed, 503, Some("wait"))
        );
        assert_eq!(headers[header::RETRY_AFTER], "3");
        assert_eq!(problem.causes, ["slow down"]);

        let missing = Failure::unavailable("there is no policy \"x\"")
            .code("policy-missing")
            .remedy("name another");
        let (problem, _) = render(controller::Error::Plugin(missing).into()).await;
        assert_eq!(
            (problem.kind, problem.status, problem.remedy.as_deref()),
            (Kind::Conflict, 409, Some("name another"))
        );
    }

    #[tokio::test]
    async fn refusals_about_plans_name_commands_that_work_as_they_are() {
        use controller::PlanError as P;
        let (team, id): (Namespace, PlanId) = ("team".parse().unwrap(), "release".parse().unwrap());
        let namespace = || team.clone();
        let cases = [
            (
                P::Unapproved {
                    id: id.clone(),
                    namespace: namespace(),
                },
                vec!["plan approve release"],
            ),
            (
                P::Exists {
                    id,
                    namespace: namespace(),
                },
                vec!["plan delete release"],
            ),
            (
                P::TooMany {
                    namespace: namespace(),
                    most: 1,
                },
                vec!["plan delete NAME"],
            ),
            (
                P::ApprovalRequired {
                    namespace: namespace(),
                    change: controller::ByHand::Delete,
                },
                vec![
                    "plan -f FILE --delete --out NAME",
                    "plan approve NAME",
                    "plan apply NAME",
                ],
            ),
        ];
        for (error, commands) in cases {
            let (problem, _) = render(controller::Error::Plan(error).into()).await;
            let remedy = problem.remedy.unwrap();
            for command in commands {
                let whole = format!("`tradewind -n team {command}`");
                assert!(remedy.contains(&whole), "{remedy}");
            }
        }
    }

    #[tokio::test]
    async fn each_controller_error_has_its_status() {
        use controller::Error as C;
        let cases = [
            (
                C::NotFound {
                    what: "deployment",
                    name: "x".into(),
                },
                404,
                Kind::NotFound,
            ),
            (
                C::Generation {
                    what: "deployment",
                    name: "x".into(),
                    expected: 1,
                    actual: 2,
                },
                412,
                Kind::GenerationMismatch,
            ),
            (C::Deleting { name: "x".into() }, 409, Kind::Conflict),
            (
                C::Invalid {
                    path: "replicas".into(),
                    message: "no".into(),
                },
                422,
                Kind::InvalidRequest,
            ),
            (
                C::NothingTo {
                    action: "promote",
                    name: "x".into(),
                },
                409,
                Kind::Conflict,
            ),
            (
                C::NoTask {
                    name: "x".into(),
                    task: "y".parse().unwrap(),
                    known: vec![],
                },
                404,
                Kind::NotFound,
            ),
            (C::Cursor { given: "x".into() }, 400, Kind::InvalidRequest),
            (
                C::Store(store::Error::Compacted {
                    asked: 1,
                    oldest: 5,
                }),
                410,
                Kind::Gone,
            ),
        ];
        for (error, status, kind) in cases {
            let (problem, _) = render(error.into()).await;
            assert_eq!(
                (problem.status, problem.kind),
                (status, kind),
                "{}",
                problem.detail
            );
        }
    }
}
