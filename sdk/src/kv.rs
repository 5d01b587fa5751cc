//! Key-value pairs of the service's own, beside its data.
//!
//! The data is read and written whole with each job. A pair is read and written by itself, so there may be many: a cache,
//! what was seen before, a counter for each of many things. The actor asks for it, `#[actor(capabilities = ["kv"])]`, and the
//! operator grants it.
//!
//! ```
//! # use ays_sdk::{Result, kv};
//! /// How often it has been seen, this time included.
//! fn seen(name: &str) -> Result<u64> {
//!     let key = format!("seen/{name}");
//!     let times = kv::get::<u64>(&key)?.unwrap_or_default() + 1;
//!     kv::set(&key, &times)?;
//!     Ok(times)
//! }
//! ```
//!
//! What an action sets and deletes is part of its turn: it happens when the action has returned `Ok`, together with all
//! else that it did, or not at all. Reads see what the action itself has set and deleted. One job of a service is executed at
//! a time, so between a read and a write of the same action nothing comes in between.
//!
//! A key is text of 1 to 1024 bytes, a value has at most 1 MiB, a service at most 100 000 pairs, and all its keys and values
//! together at most what the limit `kv_bytes` says, 16 MiB unless the actor wants more.

use std::collections::VecDeque;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result, bindings::ays::actor::kv as host, error::refused};

/// How many keys are asked for at a time.
const PAGE: u32 = 1000;

/// The value of this key, from JSON; none if there is no such pair.
///
/// # Errors
/// If the actor was not granted it, the key is none, or the value is not the JSON of a `T`.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let Some(bytes) = get_bytes(key)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    value
        .map(Some)
        .map_err(|error| Error::fatal(format_args!("the value of the key `{key}` does not fit: {error}")))
}

/// Sets the value of a key, as JSON, whether or not it has one.
///
/// # Errors
/// If the actor was not granted it, the key is none, the value has no JSON form, or it would be more than there may be.
pub fn set(key: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        Error::fatal(format_args!("the value for the key `{key}` has no JSON form: {error}"))
    })?;
    set_bytes(key, &bytes)
}

/// The value of this key, as it is; none if there is no such pair.
///
/// # Errors
/// If the actor was not granted it, or the key is none.
pub fn get_bytes(key: &str) -> Result<Option<Vec<u8>>> {
    host::get(key).map_err(|error| refused(&format!("get the key `{key}`"), error))
}

/// Sets the value of a key to these bytes, whether or not it has one.
///
/// # Errors
/// If the actor was not granted it, the key is none, or it would be more than there may be.
pub fn set_bytes(key: &str, value: &[u8]) -> Result<()> {
    host::set(key, value).map_err(|error| refused(&format!("set the key `{key}`"), error))
}

/// Removes a pair; without one it does nothing.
///
/// # Errors
/// If the actor was not granted it, or the key is none.
pub fn delete(key: &str) -> Result<()> {
    host::delete(key).map_err(|error| refused(&format!("delete the key `{key}`"), error))
}

/// The keys that begin with `prefix`, all with an empty one, in the order of their bytes. They are asked for as they are
/// wanted, a thousand at a time. What is deleted meanwhile does no harm.
pub fn keys(prefix: &str) -> Keys {
    Keys { prefix: prefix.into(), page: VecDeque::new(), last: None, ended: false }
}

/// The keys of a service: see [`keys`].
#[derive(Debug)]
pub struct Keys {
    prefix: String,
    page: VecDeque<String>,
    last: Option<String>,
    ended: bool,
}

impl Iterator for Keys {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.ended {
            match host::keys(&self.prefix, self.last.as_deref(), PAGE) {
                Ok(page) => {
                    self.ended = page.len() < PAGE as usize;
                    self.last = page.last().cloned();
                    self.page = page.into();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(refused(&format!("list keys of `{}`", self.prefix), error)));
                }
            }
        }
        self.page.pop_front().map(Ok)
    }
}
