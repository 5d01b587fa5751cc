//! `POST /webhooks/events`: events as programs for AYS 9 send them.

use std::collections::BTreeSet;

use axum::{Json, extract::State};
use ays_core::{
    EventName, JsonText,
    event::{Channel, NewEvent},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, Body, Context, body, events};
use crate::metrics::Door;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    command: EventName,
    #[serde(default = "JsonText::empty_list")]
    payload: JsonText,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    tags: BTreeSet<String>,
}

/// Takes `{"command", "payload"?, "secret"?, "tags"?}` on the channel `webservice`, and answers `{}`. A filter that has a
/// secret takes only events that carry the same.
pub(super) async fn events(State(context): State<Context>, given: Body) -> Result<Json<Value>, ApiError> {
    events::take(&context, Door::Webhook, read(given)).await?;
    Ok(Json(json!({})))
}

fn read(given: Body) -> Result<NewEvent, ApiError> {
    let Request { command, payload, secret, tags } = serde_json::from_slice(&body(given)?).map_err(|e| {
        ApiError::invalid(format!(
            "{e}; it takes {{\"command\": NAME, \"payload\": ANY, \"secret\": TEXT, \"tags\": [TEXT]}}"
        ))
    })?;
    let channel = Channel("webservice".into());
    Ok(NewEvent { channel, tags, secret, ..NewEvent::new(command, payload) })
}
