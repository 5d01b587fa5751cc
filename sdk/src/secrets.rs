//! Secrets, by name: passwords, tokens, keys.
//!
//! The actor asks for them, `#[actor(capabilities = ["secret api_key"])]`, and the operator grants them. The host keeps
//! the values out of what it records: in log lines, results and errors `***` stands in their place, and data and
//! events that hold one are refused.

use crate::{Result, bindings::ays::actor::secrets as host, error::refused};

/// The value of the secret of this name. It is read anew each time.
///
/// # Errors
/// If the actor was not granted it, or the host has none of this name.
pub fn get(name: &str) -> Result<String> {
    host::get(name).map_err(|error| refused(&format!("secret {name}"), error))
}
