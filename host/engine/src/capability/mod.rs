//! The host's functions, one file for each interface of `wit/actor.wit`. They read the snapshot of the present job and
//! append to its turn.

mod events;
mod http;
mod kv;
mod log;
mod schedules;
mod secrets;
mod service;

use std::sync::Arc;

use ays_core::{JsonText, capability::Access, limits::beyond};
use serde_json::Value;

use crate::{
    bindings::ays::actor::types,
    state::{Call, State},
};

pub(crate) use http::{Denials, Hooks, bound_requests, context as http_context};
pub use http::{HttpLimits, Outbound};
pub use kv::{KeyValues, Pairs};
pub(crate) use secrets::Known;
pub use secrets::Secrets;

/// What a job may do beyond its own service, and with what.
#[derive(Clone)]
pub struct Outside {
    /// What its actor asks for and is granted.
    pub access: Arc<Access>,
    /// What requests are made with.
    pub http: Arc<Outbound>,
    /// Where secrets are read from.
    pub secrets: Arc<dyn Secrets>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("access", &self.access).finish_non_exhaustive()
    }
}

impl types::Host for State {}

/// JSON text from a guest, checked, and within the limit.
fn json(call: &Call, what: &str, text: &str) -> Result<JsonText, types::Error> {
    within_limit(call, what, text)?;
    // A value must be able to hold it: whoever shows it parses it.
    let (json, value) = JsonText::parse_value(text).map_err(|e| not_json(what, &e))?;
    json_without_secrets(call, what, &value)?;
    Ok(json)
}

/// What is kept and shown must not hold a secret.
fn without_secrets(call: &Call, what: &str, text: &str) -> Result<(), types::Error> {
    if call.known.are_in(text) { Err(with_secret(what)) } else { Ok(()) }
}

/// The same, for JSON.
fn json_without_secrets(call: &Call, what: &str, value: &Value) -> Result<(), types::Error> {
    if call.known.are_in_json(value) { Err(with_secret(what)) } else { Ok(()) }
}

fn with_secret(what: &str) -> types::Error {
    types::Error::Invalid(format!("the {what} would hold the value of a secret; its name would be right"))
}

fn not_json(what: &str, error: &serde_json::Error) -> types::Error {
    types::Error::Invalid(format!("the {what} is not JSON: {error}"))
}

fn within_limit(call: &Call, what: &str, text: &str) -> Result<(), types::Error> {
    if text.len() as u64 > call.limits.data_bytes {
        let what = format_args!("the {what} has {} bytes of JSON", text.len());
        return Err(types::Error::Limit(beyond("data_bytes", what, call.limits.data_bytes)));
    }
    Ok(())
}
