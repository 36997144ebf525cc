//! Who sends a request, and whether they may: the one gate before every handler. Handlers take a `Caller` and name its actor in what
//! they ask of others, and show it nothing beyond its scope.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use aide::OperationInput;
use axum::{
    body::Body,
    extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tradewind_core::{
    identity::{Role, Scope},
    names::{Actor, Namespace},
};

use super::{
    App, Error,
    access::{Needs, Reach, Rule, Table, Verdict},
    extract,
    guard::PATIENCE,
    refusals::Reason,
    server::Pulse,
};
use crate::identity::{Denied, Identity, Patience, Refusal};
use tradewind_config::Uploads;

/// The sender of a request that has passed the gate.
#[derive(Clone)]
pub(crate) struct Caller {
    pub actor: Actor,
    pub identity: Arc<Identity>,
}

impl Caller {
    fn new(identity: Arc<Identity>) -> Self {
        Self {
            actor: identity.actor(),
            identity,
        }
    }

    pub(crate) fn scope(&self) -> &Scope {
        self.identity.scope()
    }

    /// # Errors
    /// The token does not reach it.
    pub(crate) fn check(&self, namespace: &Namespace) -> Result<(), Error> {
        if self.scope().admits(namespace) {
            return Ok(());
        }
        Err(Error::Namespace {
            token: self.identity.name().clone(),
            namespace: namespace.to_string(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(Error::Undeclared)
    }
}

impl OperationInput for Caller {}

/// What the gate works with.
#[derive(Clone)]
pub(crate) struct Gate {
    pub app: App,
    pub table: Arc<Table>,
}

/// Whose token a request came with that was refused. It travels with the response.
#[derive(Clone)]
pub(crate) struct Sender(pub Arc<Identity>);

/// Whose token a request came with. It travels with the response, for the log.
#[derive(Clone)]
pub(crate) struct Asker(pub Arc<Identity>);

/// What a supervisor asks. Nobody's requests count against these, its own included: an answer costs no more than a refusal would.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Lets a request through when its route allows it; counts it against its sender's share.
pub(crate) async fn admit(
    State(gate): State<Gate>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let identities = &gate.app.identities;
    let address = address(&request);
    let path = request.extensions().get::<MatchedPath>();
    let verdict = path.map(|path| gate.table.judge(path.as_str(), request.method()));
    let needs = match verdict {
        Some(Verdict::Rule(Rule::Needs(needs))) => needs,
        Some(Verdict::Undeclared) => return Err(Error::Undeclared),
        Some(Verdict::Rule(Rule::Open))
            if path.is_some_and(|path| PROBES.contains(&path.as_str())) =>
        {
            return Ok(next.run(request).await);
        }
        // What leads nowhere, or needs no token.
        None | Some(Verdict::Rule(Rule::Open) | Verdict::Method(_)) => {
            identities
                .anonymous(address)
                .map_err(|p| too_many("api.rate", p))?;
            return match verdict {
                Some(Verdict::Method(allowed)) => {
                    let (method, path) = (
                        request.method().to_string(),
                        request.uri().path().to_owned(),
                    );
                    Err(Error::Method {
                        method,
                        path,
                        allowed,
                    })
                }
                _ => Ok(next.run(request).await),
            };
        }
    };
    let found = bearer(request.headers())
        .map_err(Denied::from)
        .and_then(|token| identities.authenticate(token));
    let (answer, identity) = match found {
        Ok(identity) => (
            pass(&gate, needs, identity.clone(), request, next).await,
            Some(identity),
        ),
        Err(Denied { refusal, identity }) => {
            let allowed = identities
                .refused(address)
                .map_err(|Patience(after)| Error::Refused { after });
            (allowed.and(Err(Error::Unauthenticated(refusal))), identity)
        }
    };
    let mut answer = answer.into_response();
    if let Some(identity) = &identity {
        answer.extensions_mut().insert(Asker(identity.clone()));
    }
    if let Some(identity) = identity.filter(|_| answer.extensions().get::<Reason>().is_some()) {
        answer.extensions_mut().insert(Sender(identity));
    }
    Ok(answer)
}

/// Lets the request of a known sender through, if it may.
async fn pass(
    gate: &Gate,
    needs: Needs,
    identity: Arc<Identity>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    identity.take_turn().map_err(|p| too_many("api.rate", p))?;
    let request = permit(needs, &Caller::new(identity.clone()), request).await?;
    expected_parameters(&gate.table, &request)?;
    let held = identity.role();
    if extract::is_upload(&request)
        && gate.app.config.api.uploads == Uploads::Admin
        && !held.includes(Role::Admin)
    {
        return Err(Error::Upload { held });
    }
    let share = gate.app.in_flight.take(&identity, PATIENCE).await?;
    // The connection keeps it until its client has taken the answer; what came otherwise, until there is one.
    let _share = match request.extensions().get::<Arc<Pulse>>() {
        Some(pulse) => {
            pulse.hold(share);
            None
        }
        None => Some(share),
    };
    let response = next.run(request).await;
    Ok(bounded(
        response,
        gate.app.identities.clone().ended(identity),
    ))
}

/// A parameter that a route does not know would be ignored, and somebody believe that it counts.
fn expected_parameters(table: &Table, request: &Request) -> Result<(), Error> {
    let (Some(path), Some(query)) = (
        request.extensions().get::<MatchedPath>(),
        request.uri().query(),
    ) else {
        return Ok(());
    };
    let Some((stranger, known)) = table.stranger(path.as_str(), request.method(), query) else {
        return Ok(());
    };
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Err(Error::Parameters {
        message: format!("\"{stranger}\" is not known here: this route takes {known}"),
    })
}

fn too_many(setting: &'static str, Patience(after): Patience) -> Error {
    Error::TooMany { setting, after }
}

/// Requests that came otherwise than over a listener of ours are all counted together.
pub(super) fn address(request: &Request) -> IpAddr {
    request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refusal::Missing);
    };
    let text = value.to_str().map_err(|_| Refusal::Unknown)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Refusal::Missing),
    }
}

/// The request with its caller, if the caller may.
async fn permit(needs: Needs, caller: &Caller, request: Request) -> Result<Request, Error> {
    let held = caller.identity.role();
    if !held.includes(needs.role) {
        return Err(Error::Role {
            held,
            needed: needs.role,
        });
    }
    let (mut parts, body) = request.into_parts();
    match needs.reach {
        // A manifest is checked where it is read: no handler gets one that its caller may not send.
        Reach::Any | Reach::Manifest => {}
        Reach::All if caller.scope().is_all() => {}
        Reach::All => {
            return Err(Error::Namespace {
                token: caller.identity.name().clone(),
                namespace: "*".to_owned(),
            });
        }
        Reach::Query => {
            let named = named(&parts.uri)?;
            if named.is_empty() {
                caller.check(&Namespace::default_namespace())?;
            }
            named.iter().try_for_each(|n| caller.check(n))?;
        }
        Reach::Filtered => named(&parts.uri)?
            .iter()
            .try_for_each(|n| caller.check(n))?,
        Reach::Path => {
            let params = RawPathParams::from_request_parts(&mut parts, &()).await;
            let params = params.map_err(|e| Error::Parameters {
                message: e.body_text(),
            })?;
            let part = |wanted: &str| params.iter().find(|(name, _)| *name == wanted);
            let (_, value) = part("namespace")
                .or_else(|| part("name"))
                .ok_or(Error::Undeclared)?;
            caller.check(&namespace(value.to_owned())?)?;
        }
    }
    parts.extensions.insert(caller.clone());
    Ok(Request::from_parts(parts, body))
}

/// Every namespace that the query names: the handler may take any of them.
pub(super) fn named(uri: &Uri) -> Result<Vec<Namespace>, Error> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs
        .filter(|(name, _)| name == "namespace")
        .map(|(_, value)| namespace(value.into_owned()))
        .collect()
}

fn namespace(value: String) -> Result<Namespace, Error> {
    Namespace::try_from(value).map_err(|e| Error::Parameters {
        message: e.to_string(),
    })
}

/// A stream ends with the token that opened it. Other answers are short.
fn bounded(response: Response, ended: impl Future<Output = ()> + Send + 'static) -> Response {
    let stream = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if !stream {
        return response;
    }
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_one_header_of_one_kind() {
        let read = |values: &[&str]| {
            let headers: HeaderMap = values
                .iter()
                .map(|v| (header::AUTHORIZATION, v.parse().unwrap()))
                .collect();
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read(&["Bearer tw_x"]), Ok("tw_x".to_owned()));
        assert_eq!(read(&["bearer  tw_x "]), Ok("tw_x".to_owned()));
        for bad in [
            &[][..],
            &["Basic dTpw"],
            &["tw_x"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(read(bad), Err(Refusal::Missing), "{bad:?}");
        }
    }

    #[test]
    fn every_namespace_of_a_query_counts() {
        let read = |query: &str| {
            named(&format!("/x?{query}").parse().unwrap())
                .map(|n| n.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(read("namespace=a&x=1&namespace=b").unwrap(), ["a", "b"]);
        assert_eq!(read("name%73pace=a").unwrap(), ["a"]);
        assert!(read("").unwrap().is_empty());
        assert!(read("namespace=A_b").is_err());
    }
}
