//! Which request is being answered: its id goes with the task that answers it, so that logs, problems and events name it without
//! any handler having to hand it on.

use tradewind_core::names::RequestId;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// Runs `future` as part of the request.
pub async fn scope<F: Future>(id: RequestId, future: F) -> F::Output {
    CURRENT.scope(id, future).await
}

/// The request that this task answers, if it answers one.
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(Clone::clone).ok()
}
