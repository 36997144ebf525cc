//! Who sends a request. Handlers that write take a `Caller` and name its actor in what they ask of the controller.

use std::convert::Infallible;

use aide::OperationInput;
use axum::{extract::FromRequestParts, http::request::Parts};
use tradewind_core::names::Actor;

/// The sender of the request.
#[derive(Debug, Clone)]
pub struct Caller {
    pub actor: Actor,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;
    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { actor: Actor::USER })
    }
}

impl OperationInput for Caller {}
