//! Event filters: which events a service wants, and what it does for them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    EventName, ServiceKey,
    event::{Channel, NewEvent},
};

/// A subscription of a service. (event, action, channel, tags) identify it: setting an equal one again changes at
/// most its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventFilter {
    /// Which events.
    pub event: EventName,
    /// The action that handles them.
    pub action: String,
    /// By which channel they must have come.
    #[serde(default, skip_serializing_if = "Channel::is_any")]
    pub channel: Channel,
    /// Tags they must carry, all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The secret they must carry. An empty one is none, as AYS had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl EventFilter {
    /// A filter that takes every event of this name.
    pub fn new(event: EventName, action: impl Into<String>) -> Self {
        Self {
            event,
            action: action.into(),
            channel: Channel::default(),
            tags: BTreeSet::new(),
            secret: None,
        }
    }

    /// Whether the two are the same subscription.
    pub fn same(&self, other: &Self) -> bool {
        self.event == other.event
            && self.action == other.action
            && (self.channel.takes(&other.channel) && other.channel.takes(&self.channel))
            && self.tags == other.tags
    }

    /// Whether it takes the event.
    pub fn takes(&self, event: &NewEvent) -> bool {
        self.event == event.name
            && self.channel.takes(&event.channel)
            && self.tags.is_subset(&event.tags)
            && self.secret.as_deref().filter(|secret| !secret.is_empty()).is_none_or(|secret| {
                event.secret.as_deref().is_some_and(|given| same_secret(secret.as_bytes(), given.as_bytes()))
            })
    }
}

/// Compares in a time that does not depend on where the two differ.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

/// An event filter and whose it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscription {
    /// Whose filter it is.
    pub service: ServiceKey,
    /// Its number: filters match in the order in which they were registered.
    pub seq: u64,
    /// The filter.
    pub filter: EventFilter,
}
