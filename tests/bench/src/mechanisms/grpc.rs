//! Another process over gRPC on a Unix socket, one connection kept open. The service is written by hand: its one method needs no generator.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use anyhow::{Result, anyhow};
use futures::{future::BoxFuture, stream};
use http::uri::PathAndQuery;
use tokio::net::{UnixListener, UnixStream};
use tonic::{
    Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tradewind_plugin_sdk::bindings::policy::exports::tradewind::plugin::scheduling_policy::{
    PlaceAnswer, PlaceRequest,
};

use super::wire::{Place, Placed};

pub(super) const SERVER: &str = "serve-grpc";
/// Bytes of a message.
const LARGEST: usize = 256 << 20;

#[derive(Clone)]
struct Policy;

impl NamedService for Policy {
    const NAME: &'static str = "tradewind.Policy";
}

impl Service<http::Request<Body>> for Policy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async {
            let codec = ProstCodec::<Placed, Place>::default();
            Ok(Grpc::new(codec)
                .apply_max_message_size_config(Some(LARGEST), Some(LARGEST))
                .unary(Decide, request)
                .await)
        })
    }
}

struct Decide;

impl UnaryService<Place> for Decide {
    type Response = Placed;
    type Future = Ready<Result<Response<Placed>, Status>>;

    fn call(&mut self, place: tonic::Request<Place>) -> Self::Future {
        ready(
            place
                .into_inner()
                .decide()
                .map(Response::new)
                .map_err(|e| Status::invalid_argument(format!("{e:#}"))),
        )
    }
}

pub(super) async fn serve() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("policy.sock");
    let listener = UnixListener::bind(&socket)?;
    println!("{}", socket.display());
    let incoming = stream::unfold(listener, async |listener| {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    Ok(Server::builder()
        .add_service(Policy)
        .serve_with_incoming(Box::pin(incoming))
        .await?)
}

pub(super) struct Client(tonic::client::Grpc<Channel>);

impl Client {
    pub(super) async fn connect(socket: &str) -> Result<Self> {
        let socket = socket.to_owned();
        let connector = service_fn(move |_| {
            let socket = socket.clone();
            async move {
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(
                    UnixStream::connect(socket).await?,
                ))
            }
        });
        // The address is not used: the connector knows the socket.
        let channel = Endpoint::from_static("http://policy")
            .connect_with_connector(connector)
            .await?;
        Ok(Self(
            tonic::client::Grpc::new(channel)
                .max_decoding_message_size(LARGEST)
                .max_encoding_message_size(LARGEST),
        ))
    }

    pub(super) async fn place(&mut self, request: PlaceRequest) -> Result<PlaceAnswer> {
        self.0.ready().await.map_err(|e| anyhow!(e))?;
        let (path, codec) = (
            PathAndQuery::from_static("/tradewind.Policy/Place"),
            ProstCodec::<Place, Placed>::default(),
        );
        Ok(self
            .0
            .unary(tonic::Request::new(Place::from(request)), path, codec)
            .await?
            .into_inner()
            .into())
    }
}
