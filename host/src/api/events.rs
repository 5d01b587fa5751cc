//! `POST /api/v1/events`: an event comes in.

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode};
use ays_core::{
    EventName, Id, JsonText,
    command::DEFAULT_LIMIT_BYTES,
    event::{Channel, NewEvent},
};
use ays_store::Batch;
use serde::Deserialize;
use serde_json::json;

use super::{ApiError, Body, Context, body};
use crate::{clock, hub::Happening, metrics::Door};

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
    body: Body,
) -> Result<(StatusCode, Json<serde_json::Value>), ApiError> {
    let (id, matched) = take(&context, Door::Http, read(body)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "matched": matched}))))
}

fn read(given: Body) -> Result<NewEvent, ApiError> {
    let Request { event, args, tags, secret } = serde_json::from_slice(&body(given)?).map_err(|e| {
        ApiError::invalid(format!(
            "{e}; an event is {{\"event\": NAME, \"args\": ANY, \"tags\": [TEXT], \"secret\": TEXT}}"
        ))
    })?;
    Ok(NewEvent { channel: Channel("http".into()), tags, secret, ..NewEvent::new(event, args) })
}

/// Accepts an event, if it is one, by whichever way of HTTP it came, and returns its id and how many jobs it led to.
pub(super) async fn take(
    context: &Context,
    door: Door,
    event: Result<NewEvent, ApiError>,
) -> Result<(Id, u32), ApiError> {
    let taken = match event {
        Ok(event) => accept_one(context, event).await,
        Err(wrong) => Err(wrong),
    };
    match &taken {
        Ok(_) => context.metrics.accepted(door, 1),
        Err(wrong) if wrong.is_for_content() => context.metrics.refused(door, 1),
        Err(_) => {}
    }
    taken
}

async fn accept_one(context: &Context, event: NewEvent) -> Result<(Id, u32), ApiError> {
    if !*context.ready.borrow() {
        // An event must find the filters that blueprints and `init` set.
        return Err(ApiError::starting());
    }
    let size = event.args.as_str().len();
    if size > DEFAULT_LIMIT_BYTES {
        let message = format!("the args have {size} bytes of JSON; {DEFAULT_LIMIT_BYTES} are the most");
        return Err(ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    if let Err(e) = serde_json::from_str::<serde_json::Value>(event.args.as_str()) {
        return Err(ApiError::invalid(format!("the args cannot be handled: {e}")));
    }
    let name = event.name.to_string();
    let batch = Batch { events: vec![event], ..Batch::default() };
    let accepted = context.store.accept(batch, clock::now()).await?;
    let Some((id, matched)) = accepted.events.first().copied() else {
        return Err(ApiError::invalid("the event was not accepted"));
    };
    if context.hub.is_watched() {
        context.hub.tell(Happening::Event { id, event: name.into(), matched });
    }
    Ok((id, matched))
}
