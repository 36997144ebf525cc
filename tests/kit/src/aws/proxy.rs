//! Stands before moto and adds what moto lacks: client tokens that mean something, lists that are behind, targets that are not always healthy,
//! credentials that expire, refusals on request. It counts the calls of each action.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State as Shared},
    response::Response,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::xml;

/// Something that goes wrong with an action.
#[derive(Debug, Clone)]
pub struct Rule {
    action: String,
    /// Parameters that the request must have.
    with: Vec<(String, String)>,
    region: Option<String>,
    after: u32,
    times: u32,
    trouble: Trouble,
}

#[derive(Debug, Clone)]
enum Trouble {
    /// An error of AWS instead of the effect.
    Refuse {
        status: u16,
        code: String,
        message: String,
    },
    /// The effect, and no answer.
    Lose,
    /// Neither.
    Hang,
}

/// What the proxy knows, for a test to change.
#[derive(Default)]
pub(super) struct State {
    moto: String,
    pub(super) rules: Vec<Rule>,
    pub(super) expired: Vec<String>,
    pub(super) lag: Duration,
    pub(super) health: HashMap<String, String>,
    pub(super) consoles: HashMap<String, String>,
    /// Why instances have gone.
    pub(super) reasons: HashMap<String, String>,
    /// How long a job works until it ends well by itself. None: until a test says how it ends.
    pub(super) work: Option<Duration>,
    /// When jobs end by themselves, by instance, and in which region.
    ending: HashMap<String, (Instant, String)>,
    pub(super) calls: BTreeMap<String, u64>,
    /// By client token: the parameters, and the answer.
    tokens: HashMap<String, (Vec<(String, String)>, Bytes)>,
    /// Instances that no list shows before this.
    hidden: HashMap<String, Instant>,
}

/// Stopped when dropped.
pub struct Proxy {
    pub address: String,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rule {
    /// Every call of this action, until something narrows it. Say what goes wrong last.
    pub fn on(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            with: Vec::new(),
            region: None,
            after: 0,
            times: u32::MAX,
            trouble: Trouble::Hang,
        }
    }

    #[must_use]
    pub fn with(mut self, parameter: &str, value: &str) -> Self {
        self.with.push((parameter.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn within(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Not the first so many calls.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.after = calls;
        self
    }

    #[must_use]
    pub fn times(mut self, calls: u32) -> Self {
        self.times = calls;
        self
    }

    /// With the status that AWS sends this code with.
    #[must_use]
    pub fn refuse(self, code: &str) -> Self {
        let status = match code {
            "InsufficientInstanceCapacity" | "InternalError" => 500,
            "RequestLimitExceeded" | "Unavailable" => 503,
            "AuthFailure" => 401,
            "UnauthorizedOperation" => 403,
            _ => 400,
        };
        self.refuse_saying(status, code, &format!("the tests want {code}"))
    }

    #[must_use]
    pub fn refuse_saying(mut self, status: u16, code: &str, message: &str) -> Self {
        self.trouble = Trouble::Refuse {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        self
    }

    #[must_use]
    pub fn lose_the_answer(mut self) -> Self {
        self.trouble = Trouble::Lose;
        self
    }

    #[must_use]
    pub fn hang(mut self) -> Self {
        self.trouble = Trouble::Hang;
        self
    }

    /// Whether it is about this call, which then counts.
    fn takes(&mut self, call: &Call) -> bool {
        let about = self.action == call.action
            && self
                .region
                .as_ref()
                .is_none_or(|region| *region == call.region)
            && self
                .with
                .iter()
                .all(|wanted| call.parameters.contains(wanted));
        if !about {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        let takes = self.times > 0;
        self.times = self.times.saturating_sub(1);
        takes
    }
}

impl Proxy {
    pub(super) fn start(moto: &str) -> Result<Self> {
        let state = Arc::new(Mutex::new(State {
            moto: moto.to_owned(),
            ..State::default()
        }));
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, address) = std::sync::mpsc::channel::<std::io::Result<SocketAddr>>();
        let shared = (
            state.clone(),
            reqwest::Client::builder().no_proxy().build()?,
        );
        // A runtime of its own: tests block theirs while they wait for the daemon.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = match tokio::net::TcpListener::bind("127.0.0.1:0").await {
                    Ok(listener) => listener,
                    Err(error) => return drop(told.send(Err(error))),
                };
                let _ = told.send(listener.local_addr());
                let app = Router::new().fallback(answer).with_state(shared);
                tokio::select! {
                    _ = stopped => {}
                    _ = axum::serve(listener, app).into_future() => {}
                }
            });
        });
        let address = format!("http://{}", address.recv()??);
        Ok(Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A request of the query protocol.
struct Call {
    action: String,
    region: String,
    service: String,
    key_id: String,
    authorization: String,
    parameters: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    async fn read(request: Request) -> Result<Self> {
        let authorization = request
            .headers()
            .get("authorization")
            .context("not signed")?
            .to_str()?
            .to_owned();
        let scope = authorization
            .split("Credential=")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .context("no scope")?;
        let scope: Vec<String> = scope.split('/').map(str::to_owned).collect();
        let part = |position: usize| scope.get(position).cloned().unwrap_or_default();
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await?;
        let form = reqwest::Url::parse(&format!("http://form/?{}", std::str::from_utf8(&body)?))?;
        let mut parameters: Vec<(String, String)> = form.query_pairs().into_owned().collect();
        parameters.sort();
        let action = parameters
            .iter()
            .find(|(key, _)| key == "Action")
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        Ok(Self {
            action,
            region: part(2),
            service: part(3),
            key_id: part(0),
            authorization,
            parameters,
            body,
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn refused(&self, status: u16, code: &str, message: &str) -> Response {
        let error = format!("<Code>{code}</Code><Message>{message}</Message>");
        let body = match self.service.as_str() {
            "ec2" => format!(
                "<Response><Errors><Error>{error}</Error></Errors><RequestID>1</RequestID></Response>"
            ),
            _ => format!(
                "<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>1</RequestId></ErrorResponse>"
            ),
        };
        reply(status, body.into())
    }
}

fn reply(status: u16, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("text/xml"));
    response
}

async fn answer(
    Shared((state, client)): Shared<(Arc<Mutex<State>>, reqwest::Client)>,
    request: Request,
) -> Response {
    let call = match Call::read(request).await {
        Ok(call) => call,
        Err(error) => return reply(400, error.to_string().into()),
    };
    let (trouble, expired) = {
        let mut state = state.lock();
        *state.calls.entry(call.action.clone()).or_default() += 1;
        let trouble = state
            .rules
            .iter_mut()
            .find_map(|rule| rule.takes(&call).then(|| rule.trouble.clone()));
        (trouble, state.expired.contains(&call.key_id))
    };
    if expired {
        let code = if call.service == "ec2" {
            "RequestExpired"
        } else {
            "ExpiredToken"
        };
        return call.refused(
            400,
            code,
            "The security token included in the request is expired.",
        );
    }
    match trouble {
        None => effect(&state, &client, &call).await,
        Some(Trouble::Refuse {
            status,
            code,
            message,
        }) => call.refused(status, &code, &message),
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Lose) => {
            effect(&state, &client, &call).await;
            let broken = futures::stream::once(async {
                Err::<Bytes, _>(std::io::Error::other("the answer is lost"))
            });
            Response::new(Body::from_stream(broken))
        }
    }
}

async fn effect(state: &Mutex<State>, client: &reqwest::Client, call: &Call) -> Response {
    match effect_of(state, client, call).await {
        Ok(response) => response,
        Err(error) => reply(502, format!("{error:#}").into()),
    }
}

async fn effect_of(
    state: &Mutex<State>,
    client: &reqwest::Client,
    call: &Call,
) -> Result<Response> {
    if let Some(token) = call
        .parameter("ClientToken")
        .filter(|_| call.action == "RunInstances")
    {
        let known = state.lock().tokens.get(token).cloned();
        if let Some((parameters, answered)) = known {
            if parameters != call.parameters {
                let message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
                return Ok(call.refused(400, "IdempotentParameterMismatch", message));
            }
            return Ok(reply(
                200,
                replayed(state, client, call, &answered).await?.into(),
            ));
        }
    }
    if call.action == "CreateLoadBalancer"
        && let Some(response) = same_name(state, client, call).await?
    {
        return Ok(response);
    }
    if call.action == "TerminateInstances" {
        let hidden = call
            .parameters
            .iter()
            .find(|(key, id)| key.starts_with("InstanceId.") && is_hidden(state, id));
        if let Some((_, id)) = hidden {
            return Ok(call.refused(
                400,
                "InvalidInstanceID.NotFound",
                &format!("The instance ID '{id}' does not exist"),
            ));
        }
    }
    if call.action == "DescribeInstances" {
        end_jobs(state, client, call).await?;
    }
    let (status, body) = forward(state, client, call).await?;
    if status != 200 {
        return Ok(reply(status, body));
    }
    let text = String::from_utf8(body.to_vec())?;
    let text = match call.action.as_str() {
        "RunInstances" => {
            let mut state = state.lock();
            let shown_at = Instant::now() + state.lag;
            let is_job = call.parameter("InstanceInitiatedShutdownBehavior") == Some("terminate");
            for instance in xml::items(&text, "instancesSet") {
                if let Some(work) = state.work.filter(|_| is_job) {
                    state.ending.insert(
                        xml::text(&instance, "instanceId"),
                        (Instant::now() + work, call.region.clone()),
                    );
                }
                state
                    .hidden
                    .insert(xml::text(&instance, "instanceId"), shown_at);
            }
            if let Some(token) = call.parameter("ClientToken") {
                state
                    .tokens
                    .insert(token.to_owned(), (call.parameters.clone(), body));
            }
            text
        }
        "CreateLoadBalancer" => {
            state
                .lock()
                .tokens
                .insert(name_of(call), (call.parameters.clone(), body));
            text
        }
        "DescribeInstances" => listed(state, &text),
        "DescribeTargetHealth" => healthy(state, &text),
        "GetConsoleOutput" => console(state, call, &text),
        _ => text,
    };
    Ok(reply(200, text.into()))
}

async fn forward(
    state: &Mutex<State>,
    client: &reqwest::Client,
    call: &Call,
) -> Result<(u16, Bytes)> {
    let moto = state.lock().moto.clone();
    let request = client
        .post(moto)
        .header("authorization", &call.authorization);
    let response = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(call.body.clone())
        .send()
        .await?;
    Ok((response.status().as_u16(), response.bytes().await?))
}

/// What a load balancer's name stands for among the tokens.
fn name_of(call: &Call) -> String {
    format!(
        "{} {}",
        call.region,
        call.parameter("Name").unwrap_or_default()
    )
}

/// The answer for one that exists already: the same again, or a refusal when it shall be another.
async fn same_name(
    state: &Mutex<State>,
    client: &reqwest::Client,
    call: &Call,
) -> Result<Option<Response>> {
    let Some((parameters, answered)) = state.lock().tokens.get(&name_of(call)).cloned() else {
        return Ok(None);
    };
    let body = format!(
        "Action=DescribeLoadBalancers&Version=2015-12-01&Names.member.1={}",
        call.parameter("Name").unwrap_or_default()
    );
    let (status, _) = forward(
        state,
        client,
        &Call {
            body: body.into(),
            ..duplicate(call)
        },
    )
    .await?;
    Ok(match (status, parameters == call.parameters) {
        (200, true) => Some(reply(200, answered)),
        (200, false) => Some(call.refused(
            400,
            "DuplicateLoadBalancerName",
            "A load balancer with the same name already exists",
        )),
        _ => None,
    })
}

/// The answer that a token has had, with what has become of its instance since.
async fn replayed(
    state: &Mutex<State>,
    client: &reqwest::Client,
    call: &Call,
    answered: &Bytes,
) -> Result<String> {
    let text = String::from_utf8(answered.to_vec())?;
    let id = xml::text(&text, "instanceId");
    let body = format!("Action=DescribeInstances&Version=2016-11-15&InstanceId.1={id}");
    let look = Call {
        action: "DescribeInstances".to_owned(),
        parameters: Vec::new(),
        body: body.into(),
        ..duplicate(call)
    };
    let (_, now) = forward(state, client, &look).await?;
    let now = xml::inside(&String::from_utf8(now.to_vec())?, "instanceState");
    let before = xml::inside(&text, "instanceState");
    Ok(text.replace(&before, if now.is_empty() { &before } else { &now }))
}

/// Ends those that have worked long enough as their script does: it tells the status, and turns the instance off.
async fn end_jobs(state: &Mutex<State>, client: &reqwest::Client, call: &Call) -> Result<()> {
    let due = {
        let (mut state, now) = (state.lock(), Instant::now());
        let due: Vec<String> = state
            .ending
            .extract_if(|_, (at, region)| *at <= now && *region == call.region)
            .map(|(id, _)| id)
            .collect();
        for id in &due {
            state
                .consoles
                .insert(id.clone(), "tradewind.dev/exit=0\n".to_owned());
            state
                .reasons
                .insert(id.clone(), "Client.InstanceInitiatedShutdown".to_owned());
        }
        due
    };
    for id in due {
        let body = format!("Action=TerminateInstances&Version=2016-11-15&InstanceId.1={id}");
        forward(
            state,
            client,
            &Call {
                body: body.into(),
                ..duplicate(call)
            },
        )
        .await?;
    }
    Ok(())
}

fn duplicate(call: &Call) -> Call {
    Call {
        action: String::new(),
        region: call.region.clone(),
        service: call.service.clone(),
        key_id: call.key_id.clone(),
        authorization: call.authorization.clone(),
        parameters: Vec::new(),
        body: Bytes::new(),
    }
}

fn is_hidden(state: &Mutex<State>, id: &str) -> bool {
    state
        .lock()
        .hidden
        .get(id)
        .is_some_and(|at| *at > Instant::now())
}

/// Without what is not to be seen yet, and with the reasons why things went.
fn listed(state: &Mutex<State>, text: &str) -> String {
    xml::edit(text, "reservationSet", "item", |reservation| {
        let id = xml::text(&xml::inside(reservation, "instancesSet"), "instanceId");
        if let Some(reason) = state.lock().reasons.get(&id) {
            *reservation = reservation.replace("Client.UserInitiatedShutdown", reason);
        }
        !is_hidden(state, &id)
    })
}

fn healthy(state: &Mutex<State>, text: &str) -> String {
    xml::edit(text, "TargetHealthDescriptions", "member", |target| {
        let state = state.lock();
        let wanted = state
            .health
            .get(&xml::text(target, "Id"))
            .or_else(|| state.health.get(""));
        if let Some(wanted) = wanted {
            *target = target.replace(
                "<State>healthy</State>",
                &format!("<State>{wanted}</State>"),
            );
        }
        true
    })
}

fn console(state: &Mutex<State>, call: &Call, text: &str) -> String {
    let known = call
        .parameter("InstanceId")
        .and_then(|id| state.lock().consoles.get(id).cloned())
        .unwrap_or_default();
    let before = format!("<output>{}</output>", xml::inside(text, "output"));
    text.replace(
        &before,
        &format!("<output>{}</output>", encode(known.as_bytes())),
    )
}

/// Base64.
fn encode(data: &[u8]) -> String {
    use std::fmt::Write as _;
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in data.chunks(3) {
        let bits = three
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for position in 0..=three.len() {
            let digit = DIGITS
                .get(bits >> (18 - 6 * position) & 63)
                .copied()
                .unwrap_or(b'=');
            let _ = write!(text, "{}", char::from(digit));
        }
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    text
}

/// One request of a test itself: moto looks at the scope of a signature, not at the signature.
pub(super) fn ask(
    address: &str,
    region: &str,
    service: &str,
    parameters: &[(&str, &str)],
) -> Result<String> {
    let version = if service == "ec2" {
        "2016-11-15"
    } else {
        "2015-12-01"
    };
    let mut form = reqwest::Url::parse("http://form/")?;
    form.query_pairs_mut()
        .extend_pairs(parameters)
        .append_pair("Version", version);
    let body = form.query().unwrap_or_default().to_owned();
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=TEST/20250101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    );
    let address = address.to_owned();
    // Tests have a runtime, which must not be entered again from within it.
    let asked = std::thread::spawn(move || -> Result<(u16, String)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build()?;
            let request = client.post(address).header("authorization", scope);
            let response = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body)
                .send()
                .await?;
            Ok((response.status().as_u16(), response.text().await?))
        })
    });
    let (status, text) = asked
        .join()
        .map_err(|_| anyhow::anyhow!("asking moto broke off"))??;
    ensure!(status == 200, "moto answers {status}: {text}");
    Ok(text)
}
