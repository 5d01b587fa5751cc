//! The host's functions, one file for each interface of `wit/actor.wit`. They read the snapshot of the present job and
//! append to its turn.

mod events;
mod log;
mod schedules;
mod service;

use ays_core::JsonText;

use crate::{
    bindings::ays::actor::types,
    state::{Call, State},
};

impl types::Host for State {}

/// JSON text from a guest, checked, and within the limit.
fn json(call: &Call, what: &str, text: &str) -> Result<JsonText, types::Error> {
    within_limit(call, what, text)?;
    // A value must be able to hold it: whoever shows it parses it.
    JsonText::parse_value(text).map(|(json, _)| json).map_err(|e| not_json(what, &e))
}

fn not_json(what: &str, error: &serde_json::Error) -> types::Error {
    types::Error::Invalid(format!("the {what} is not JSON: {error}"))
}

fn within_limit(call: &Call, what: &str, text: &str) -> Result<(), types::Error> {
    if text.len() as u64 > call.limits.data_bytes {
        return Err(types::Error::Limit(format!(
            "the {what} has {} bytes of JSON; the limit `data_bytes` is {}",
            text.len(),
            call.limits.data_bytes
        )));
    }
    Ok(())
}
