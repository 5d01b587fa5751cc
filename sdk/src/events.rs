//! Events, and the service's subscriptions to them.
//!
//! ```no_run
//! # use ays_sdk::{Result, events::{self, Filter}};
//! # fn f() -> Result<()> {
//! events::emit("new_msg_sent", ["hello prince"])?;
//! events::set_filter(("new_msg_sent", "on_new_msg_sent"))?;
//! events::set_filter(Filter::new("push", "on_push").channel("webservice").tag("main").secret("s3cret"))?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;

use crate::{Error, Result, bindings::ays::actor::events as host, error::refused};

/// Emits an event. It reaches its handlers when this turn is committed.
///
/// `args` is anything that has a JSON form; by custom a list.
///
/// # Errors
/// If the name is not one, the actor was not granted this event, or the job emitted too much.
pub fn emit(event: impl AsRef<str>, args: impl Serialize) -> Result<()> {
    let event = event.as_ref();
    let args = serde_json::to_string(&args)
        .map_err(|error| Error::fatal(format_args!("emit `{event}`: the args have no JSON form: {error}")))?;
    host::emit(event, &args).map_err(|error| refused(&format!("emit `{event}`"), error))
}

/// Subscribes this service: the filter's action runs for each event that it takes. Does nothing if the service has the
/// filter already.
///
/// # Errors
/// If the actor has no such action, or a name or the number of filters is over its limit.
pub fn set_filter(filter: impl Into<Filter>) -> Result<()> {
    let Filter { filter, secret } = filter.into();
    host::set_filter(&filter, secret.as_deref()).map_err(|error| refused(&call("set", &filter), error))
}

/// Removes a subscription: the one with the same event, action, channel and tags. Does nothing if there is none.
///
/// # Errors
/// If a name is not one.
pub fn remove_filter(filter: impl Into<Filter>) -> Result<()> {
    let Filter { filter, .. } = filter.into();
    host::remove_filter(&filter).map_err(|error| refused(&call("remove", &filter), error))
}

fn call(verb: &str, filter: &host::Filter) -> String {
    format!("{verb} filter `{}` → `{}`", filter.event, filter.action)
}

/// A subscription: for which events which action runs. `("event", "action")` is one, too.
#[derive(Clone, Debug)]
pub struct Filter {
    filter: host::Filter,
    secret: Option<String>,
}

impl Filter {
    /// Runs `action` for each event of the name `event`, whose case does not count.
    pub fn new(event: impl Into<String>, action: impl Into<String>) -> Self {
        let filter = host::Filter {
            event: event.into(),
            action: action.into(),
            channel: String::new(),
            tags: Vec::new(),
        };
        Self { filter, secret: None }
    }

    /// Only events that came by this channel.
    #[must_use]
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.filter.channel = channel.into();
        self
    }

    /// Only events that carry this tag, beside those asked for before.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.filter.tags.push(tag.into());
        self
    }

    /// Only events that carry this secret.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }
}

impl<E: Into<String>, A: Into<String>> From<(E, A)> for Filter {
    fn from((event, action): (E, A)) -> Self {
        Self::new(event, action)
    }
}
