//! The service on which the job runs, and those it is linked to.
//!
//! Actions have the service's data in `self`; these functions are for all else.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Result, bindings::ays::actor::service as host, error::refused};

/// A service: the job's own, or one that it is linked to.
#[derive(Clone, Debug)]
pub struct Service {
    key: String,
    /// Of a linked service; the own service's is asked for when it is wanted.
    data: Option<String>,
}

impl Service {
    pub(crate) fn own() -> Self {
        Self { key: key(), data: None }
    }

    /// Its key, `actor__instance`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The name of its actor.
    pub fn actor(&self) -> &str {
        self.key.split_once("__").map_or(&self.key, |(actor, _)| actor)
    }

    /// The name of the instance.
    pub fn instance(&self) -> &str {
        self.key.split_once("__").map_or("", |(_, instance)| instance)
    }

    /// Its data. A linked service's is as it was when the job began; the own service's is as the host has it, without
    /// what the action has changed in `self`.
    ///
    /// # Errors
    /// If it has another form than `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.data_json();
        serde_json::from_str(&text)
            .map_err(|error| Error::fatal(format_args!("the data of {} do not fit: {error}", self.key)))
    }

    /// Its data as JSON text.
    pub fn data_json(&self) -> String {
        self.data.clone().unwrap_or_else(host::data)
    }
}

impl From<host::Linked> for Service {
    fn from(linked: host::Linked) -> Self {
        Self { key: linked.key, data: Some(linked.data) }
    }
}

/// The key of the job's service, `actor__instance`.
pub fn key() -> String {
    host::key()
}

/// Replaces the service's data. An action with `&mut self` need not: what it changes in `self` is written when it
/// returns `Ok`, and then replaces what was set here.
///
/// # Errors
/// If the data have no JSON form, do not fit the actor's schema, or are too large.
pub fn set_data(data: &(impl Serialize + ?Sized)) -> Result<()> {
    let text = serde_json::to_string(data)
        .map_err(|error| Error::fatal(format_args!("the service's data have no JSON form: {error}")))?;
    set_data_json(&text)
}

/// Replaces the service's data by a JSON object.
///
/// # Errors
/// If it is not one, does not fit the actor's schema, or is too large.
pub fn set_data_json(text: &str) -> Result<()> {
    host::set_data(text).map_err(|error| refused("write the service's data", error))
}

/// The service that the schema's `parent` field names, if any.
pub fn parent() -> Option<Service> {
    host::parent().map(Service::from)
}

/// The services that the schema's `consume` field of this role names, in the order of the blueprint.
pub fn producers(role: &str) -> Vec<Service> {
    host::producers(role).into_iter().map(Service::from).collect()
}
