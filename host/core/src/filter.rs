//! Event filters: which events a service wants, and what it does for them.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    EventName, ServiceKey,
    event::{Channel, NewEvent},
};

/// The most bytes that the texts of a filter that an action sets may have together: its event, action, channel, tags and
/// secret.
pub const FILTER_BYTES: usize = 4 << 10;

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

    /// What identifies it: the same text for [the same](Self::same) subscription.
    pub fn identity(&self) -> Arc<str> {
        let channel = if self.channel.is_any() { String::new() } else { self.channel.0.to_ascii_lowercase() };
        let mut identity = String::new();
        // Each with its length before it, for any of them may hold any character.
        let parts = [self.event.folded(), &self.action, &channel].into_iter();
        for part in parts.chain(self.tags.iter().map(String::as_str)) {
            // Writing to a string cannot fail.
            let _ = write!(identity, "{}:{part}", part.len());
        }
        identity.into()
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

/// Which event filters a service has. Copies share what they hold until one of them is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSet(Arc<HashSet<Arc<str>>>);

impl FilterSet {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one that is equal to this one, but for its secret, is there.
    pub fn contains(&self, filter: &EventFilter) -> bool {
        self.0.contains(&*filter.identity())
    }

    /// Adds a filter, unless an equal one is there.
    pub fn insert(&mut self, filter: &EventFilter) {
        self.put(filter.identity());
    }

    /// Removes the filter that is equal to this one.
    pub fn remove(&mut self, filter: &EventFilter) {
        self.take(&filter.identity());
    }

    pub(crate) fn put(&mut self, identity: Arc<str>) {
        if !self.0.contains(&identity) {
            Arc::make_mut(&mut self.0).insert(identity);
        }
    }

    pub(crate) fn take(&mut self, identity: &str) {
        if self.0.contains(identity) {
            Arc::make_mut(&mut self.0).remove(identity);
        }
    }
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
