//! `POST /api/v1/run`, `GET /api/v1/runs/ID`.

use axum::{Json, extract::State, http::StatusCode};
use ays_core::{Id, run::Run};

use super::{ApiError, Body, Context, ask::Named, body};
use crate::runs::{self, Ask, Refused};

/// Answers 202 with the run; its jobs are in their mailboxes.
pub(super) async fn start(
    State(context): State<Context>,
    body: Body,
) -> Result<(StatusCode, Json<Run>), ApiError> {
    let ask: Ask = serde_json::from_slice(&self::body(body)?).map_err(|e| {
        ApiError::invalid(format!(
            "{e}; a run is {{\"action\": NAME, \"actor\": REGEX, \"service\": REGEX, \"args\": ANY, \"force\": BOOL}}"
        ))
    })?;
    match runs::start(&ask, context.store.as_ref(), &context.actors.now()).await {
        Ok(run) => Ok((StatusCode::ACCEPTED, Json(run))),
        Err(Refused::Invalid(what)) => Err(ApiError::invalid(what)),
        Err(Refused::Store(error)) => Err(error.into()),
    }
}

pub(super) async fn show(State(context): State<Context>, Named(text): Named) -> Result<Json<Run>, ApiError> {
    let id: Id = text
        .parse()
        .map_err(|_| ApiError::invalid(format!("`{text}` is not an id; an id has 26 letters and digits")))?;
    let run = context.store.run(id).await?;
    run.map(Json).ok_or_else(|| ApiError::not_found(format!("there is no run {text}")))
}
