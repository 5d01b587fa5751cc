//! `GET /metrics`: what the host measures, for Prometheus and whoever else reads its text format.

use axum::{
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::{ApiError, Context};
use crate::metrics::Seen;

pub(super) async fn metrics(State(context): State<Context>) -> Result<Response, ApiError> {
    let actors = context.actors.now();
    let quarantined = context.quarantined(&actors);
    let seen = Seen {
        store: context.store_status().await.ok(),
        actors: actors.iter().count(),
        quarantined: quarantined
            .map(|loaded| (loaded.name().to_owned(), loaded.actor.digest().to_string()))
            .collect(),
    };
    let text = context.metrics.text(&seen).map_err(|why| {
        ApiError::refused(StatusCode::INTERNAL_SERVER_ERROR, format!("what is measured has no text: {why}"))
    })?;
    Ok(([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}
