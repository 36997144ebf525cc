//! Opens sessions with replicas: a request that goes on as a WebSocket, over the same connection and by the same trust as every other.

use reqwest::{
    Method, StatusCode, Upgraded,
    header::{self, HeaderValue},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};
use tradewind_api::PROTOCOL;

use super::{Client, Error};

/// An open session.
pub(crate) type Socket = WebSocketStream<Upgraded>;

impl Client {
    /// Opens a session.
    pub(crate) async fn session(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Socket, Error> {
        let key = generate_key();
        let request = self
            .about(Method::GET, path, query)
            .header(header::CONNECTION, HeaderValue::from_static("upgrade"))
            .header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .header(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            )
            .header(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(PROTOCOL),
            )
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let response = self.answer(request).await?;
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let expected = derive_accept_key(key.as_bytes());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted.is_none_or(|accepted| *accepted != *expected)
        {
            return Err(self.nonsense("it did not open a session"));
        }
        let stream = response.upgrade().await.map_err(|e| self.unreachable(e))?;
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }
}
