//! `POST /api/v1/events`: an event comes in.

use std::collections::BTreeSet;

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use ays_core::{
    EventName, JsonText,
    event::{Channel, NewEvent},
};
use ays_store::Batch;
use serde::Deserialize;
use serde_json::json;

use super::{ApiError, Context};
use crate::{clock, hub::Happening};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    event: EventName,
    #[serde(default = "JsonText::empty_list")]
    args: JsonText,
    #[serde(default)]
    tags: BTreeSet<String>,
    #[serde(default)]
    secret: Option<String>,
}

/// Answers 202 once the event is durable, with its id and the number of jobs it led to.
pub(super) async fn accept(
    State(context): State<Context>,
    body: Bytes,
) -> Result<(StatusCode, Json<serde_json::Value>), ApiError> {
    let Request { event, args, tags, secret } = serde_json::from_slice(&body).map_err(|e| {
        ApiError::invalid(format!(
            "{e}; an event is {{\"event\": NAME, \"args\": ANY, \"tags\": [TEXT], \"secret\": TEXT}}"
        ))
    })?;
    let name = event.to_string();
    let event = NewEvent { channel: Channel("http".into()), tags, secret, ..NewEvent::new(event, args) };
    let batch = Batch { events: vec![event], ..Batch::default() };
    let accepted = context.store.accept(batch, clock::now()).await?;
    let Some((id, matched)) = accepted.events.first().copied() else {
        return Err(ApiError::invalid("the event was not accepted"));
    };
    if context.hub.is_watched() {
        context.hub.tell(Happening::Event { id, event: name.into(), matched });
    }
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "matched": matched}))))
}
