//! Checks over the network as those who are asked see them: who asks, that the answer is read, and that the connection ends in order.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tradewind_cloud::probe::Checks;
use tradewind_core::{
    capability::{Listeners, Probed, Prober},
    grant::ProbeGrant,
    units::Millis,
    workload::{Check, Endpoint, Exposure, Protocol},
};

async fn listen() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = listener.local_addr().unwrap().port();
    let host = "127.0.0.1".to_owned();
    (
        listener,
        Endpoint {
            port: "http".to_owned(),
            protocol: Protocol::Http,
            host,
            number,
            exposure: Exposure::Local,
        },
    )
}

/// Whoever answers is whom it was asked for.
struct Trusting;

#[async_trait::async_trait]
impl Listeners for Trusting {
    async fn listens(&self, _: Probed<'_>, _: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

async fn asked(endpoint: &Endpoint, check: Check) -> bool {
    let grant: ProbeGrant = serde_json::from_str(r#"{"hosts": ["127.0.0.1"]}"#).unwrap();
    let of = Probed {
        provider: &"box".parse().unwrap(),
        replica: "r",
    };
    Checks::new(Arc::new(Trusting))
        .probe(of, Some(&grant), endpoint, &check, Millis(5_000))
        .await
        .is_ok()
}

async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_and_the_asker_says_who_it_is() {
    let (listener, endpoint) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        let body = vec![b'x'; 40_000];
        stream
            .write_all(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
            )
            .await
            .unwrap();
        // The verdict stands by now: what is still to come is read all the same.
        for part in body.chunks(1_000) {
            tokio::task::yield_now().await;
            stream.write_all(part).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        // A reset would be an error here.
        (head, stream.read(&mut [0; 1]).await.unwrap())
    };
    let check = Check::Http {
        port: "http".to_owned(),
        path: "/health".to_owned(),
        headers: BTreeMap::new(),
        status_min: 200,
        status_max: 299,
    };
    let ((head, left), well) = tokio::join!(server, asked(&endpoint, check));
    assert!(well && left == 0);
    let agent = head
        .lines()
        .find_map(|line| line.strip_prefix("User-Agent: "))
        .unwrap_or_default();
    assert_eq!(
        agent,
        concat!("tradewind-probe/", env!("CARGO_PKG_VERSION")),
        "{head}"
    );
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
}

#[tokio::test]
async fn a_port_that_greets_is_not_left_with_a_reset() {
    let (listener, endpoint) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The other side has nothing to say.
        let left = stream.read(&mut [0; 1]).await.unwrap();
        stream
            .write_all(b"220 mail.example.com ready\r\n")
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        (left, stream.read(&mut [0; 1]).await.unwrap())
    };
    let (left, well) = tokio::join!(
        server,
        asked(
            &endpoint,
            Check::Tcp {
                port: "http".to_owned()
            }
        )
    );
    assert!(well);
    assert_eq!(left, (0, 0));
}

#[tokio::test]
async fn an_answer_without_end_holds_no_verdict_up() {
    let (listener, endpoint) = listen().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 503 Busy\r\n\r\nevent: ")
            .await
            .unwrap();
        // Kept open: an event stream.
        stream
    };
    let check = Check::Http {
        port: "http".to_owned(),
        path: "/".to_owned(),
        headers: BTreeMap::new(),
        status_min: 200,
        status_max: 299,
    };
    let (stream, well) = tokio::join!(server, asked(&endpoint, check));
    assert!(!well);
    drop(stream);
}
