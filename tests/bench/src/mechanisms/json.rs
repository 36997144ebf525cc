//! Another process over HTTP with JSON, one connection kept open.

use anyhow::Result;
use axum::{Json, Router, extract::DefaultBodyLimit, http::StatusCode, routing::post};
use tokio::net::TcpListener;
use tradewind_plugin_sdk::bindings::policy::exports::tradewind::plugin::scheduling_policy::{
    PlaceAnswer, PlaceRequest,
};

use super::wire::{Place, Placed};

pub(super) const SERVER: &str = "serve-json";

pub(super) async fn serve() -> Result<()> {
    let decide = async |Json(place): Json<Place>| {
        place
            .decide()
            .map(Json)
            .map_err(|e| (StatusCode::BAD_REQUEST, format!("{e:#}")))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/place", listener.local_addr()?);
    Ok(axum::serve(
        listener,
        Router::new()
            .route("/place", post(decide))
            .layer(DefaultBodyLimit::disable()),
    )
    .await?)
}

pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().tcp_nodelay(true).build()?,
            url: url.to_owned(),
        })
    }

    pub(super) async fn place(&self, request: PlaceRequest) -> Result<PlaceAnswer> {
        let answer = self
            .http
            .post(&self.url)
            .json(&Place::from(request))
            .send()
            .await?
            .error_for_status()?;
        Ok(answer.json::<Placed>().await?.into())
    }
}
