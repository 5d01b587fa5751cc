//! `GET /api/v1/stream`: what happens, as server-sent events.

use std::convert::Infallible;

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, stream};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{Context, JobView};
use crate::hub::Happening;

/// Events named `job` (an attempt has ended; its data is the job) and `event` (an event was accepted). A client that is
/// too slow gets `missed` with the number of those it did not get.
pub(super) async fn stream(
    State(context): State<Context>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let happenings = stream::unfold(context.hub.watch(), |mut watch| async move {
        let event = match watch.recv().await {
            Ok(Happening::Job(job)) => Event::default().event("job").json_data(JobView::from(job)),
            Ok(Happening::Event { id, event, matched }) => Event::default()
                .event("event")
                .json_data(json!({"id": id, "event": &*event, "matched": matched})),
            Err(RecvError::Lagged(missed)) => Event::default().event("missed").json_data(missed),
            Err(RecvError::Closed) => return None,
        };
        let event = event.unwrap_or_else(|e| Event::default().comment(e.to_string()));
        Some((Ok(event), watch))
    });
    Sse::new(happenings).keep_alive(KeepAlive::default())
}
