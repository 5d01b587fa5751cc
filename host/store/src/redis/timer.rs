//! Waiting, and measuring how long something takes. What time it is, callers say, or Redis.
#![allow(clippy::disallowed_methods, reason = "this is the module that the others are sent to")]

use std::time::Duration;

pub(super) use tokio::time::Instant;

pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Waits for this long at most.
pub(super) async fn within<F: Future>(span: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(span, future).await.ok()
}

/// Has something done in the background.
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    // A simulated host stops and goes on with all its tasks.
    #[cfg(test)]
    let task = super::simulation::gated(task);
    tokio::spawn(task);
}
