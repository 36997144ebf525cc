//! The cloud on a loopback port, on a thread of its own: it goes on whatever becomes of those who use it. Stopped when dropped.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Response, Uri, header},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::{Answer, Cloud, Config, Reply, Request, sockets::Sockets};

/// How often time alone is given the chance to change something.
const TICK: Duration = Duration::from_millis(5);

/// A running cloud.
pub struct Server {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inner: Mutex<(Cloud, Sockets)>,
    stopped: watch::Receiver<bool>,
}

impl Server {
    /// Starts a cloud on a free port.
    ///
    /// # Errors
    /// No port or no thread is to be had.
    pub fn start(config: Config) -> io::Result<Self> {
        Self::start_on(config, "127.0.0.1:0")
    }

    /// Starts a cloud on this address.
    ///
    /// # Errors
    /// The address is taken, or no thread is to be had.
    pub fn start_on(config: Config, address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = format!("http://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let sockets = Sockets::new(runtime.handle().clone());
        let shared = Arc::new(Shared {
            inner: Mutex::new((Cloud::new(config), sockets)),
            stopped,
        });
        let serving = shared.clone();
        let thread = std::thread::Builder::new()
            .name("fixture-cloud".to_owned())
            .spawn(move || runtime.block_on(serve(listener, serving)))?;
        Ok(Self {
            address,
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// Looks at the cloud, or lets something happen to it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Cloud) -> T) -> T {
        self.shared.with(act)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody listens when the thread has ended by itself.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Cloud, Sockets)> {
        self.inner.lock()
    }

    /// Before and after, what answers is what runs.
    fn with<T>(&self, act: impl FnOnce(&mut Cloud) -> T) -> T {
        let mut inner = self.lock();
        let (cloud, sockets) = &mut *inner;
        cloud.advance(now());
        sockets.follow(cloud);
        let result = act(cloud);
        sockets.follow(cloud);
        result
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut stopped = shared.stopped.clone();
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let router = Router::new().fallback(handle).with_state(shared.clone());
    let ticking = async {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            shared.with(|_| {});
        }
    };
    // Connections that hang would keep a graceful end from coming: everything ends with the runtime.
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => {}
        _ = async { axum::serve(listener, router).await } => {}
        () = ticking => {}
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let request = Request {
        method: method.to_string(),
        target: uri.to_string(),
        authorization,
        body: body.to_vec(),
    };
    let answer = shared.with(|cloud| cloud.answer(now(), &request));
    match answer {
        Answer::Reply(reply) => response(&reply),
        Answer::Late(ms, reply) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            response(&reply)
        }
        Answer::Lost => Response::new(Body::from_stream(futures::stream::once(async {
            Err::<Bytes, _>(io::Error::other("lost"))
        }))),
        Answer::Never => std::future::pending().await,
    }
}

fn response(reply: &Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body.to_string()));
    *response.status_mut() = reply.status.try_into().unwrap_or_default();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    if let Some(ms) = reply.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, ms.div_ceil(1000).into());
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::Fault;

    fn exchange(address: &str, request: &str) -> io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn post(token: &str) -> String {
        let body = format!(r#"{{"token":"{token}","size":"small"}}"#);
        let head = "POST /v1/regions/east/instances HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer let-me-in\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn an_instance_answers_while_it_runs_and_its_region_is_up() {
        let server = Server::start(Config::default()).unwrap();
        assert!(
            exchange(&server.address, &post("t"))
                .unwrap()
                .starts_with("HTTP/1.1 201")
        );
        let port = || server.with(|cloud| cloud.instance("i-000001").and_then(|i| i.port));
        let first = format!("127.0.0.1:{}", port().unwrap());
        let get = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert!(exchange(&first, get).unwrap().ends_with("i-000001"));
        server.with(|cloud| cloud.set_status("i-000001", 503));
        assert!(exchange(&first, get).unwrap().starts_with("HTTP/1.1 503"));
        server.with(|cloud| cloud.set_region("east", false));
        assert!(exchange(&first, get).is_err());
        server.with(|cloud| cloud.set_region("east", true));
        assert_eq!(
            format!("127.0.0.1:{}", port().unwrap()),
            first,
            "it comes back where it was"
        );
        server.with(|cloud| cloud.disappear("i-000001"));
        assert!(port().is_none() && exchange(&first, get).is_err());
    }

    #[test]
    fn a_lost_answer_is_no_answer_but_the_effect_is_there() {
        let server = Server::start(Config::default()).unwrap();
        server.with(|cloud| cloud.add_fault(Fault::new(crate::Kind::LostAfter).times(1)));
        assert!(
            !exchange(&server.address, &post("t"))
                .unwrap_or_default()
                .contains("i-000001")
        );
        assert!(
            exchange(&server.address, &post("t"))
                .unwrap()
                .starts_with("HTTP/1.1 200")
        );
    }
}
