//! Events.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{EventName, Id, JsonText, Timestamp};

/// How deep a chain of events that cause events may be, before it is taken for a storm.
pub const MAX_DEPTH: u32 = 64;

/// By which way an event came in. A filter may ask for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Channel(pub String);

impl Channel {
    /// The channels by which events come in: over HTTP, by the command queue, from another service, by a webhook.
    pub const KNOWN: [&str; 4] = ["http", "queue", "service", "webservice"];

    /// Whether events come in by it. A filter on another one would never match.
    pub fn is_known(&self) -> bool {
        Self::KNOWN.iter().any(|known| self.0.eq_ignore_ascii_case(known))
    }

    /// Whether a filter on this channel takes an event that came by `event`. Empty and `all` take any; case does not
    /// count.
    pub fn takes(&self, event: &Channel) -> bool {
        self.is_any() || self.0.eq_ignore_ascii_case(&event.0)
    }

    /// Whether it names no channel in particular.
    pub fn is_any(&self) -> bool {
        self.0.is_empty() || self.0.eq_ignore_ascii_case("all")
    }
}

/// An event as it came in, before it has an id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// Its name.
    pub name: EventName,
    /// Its args, any JSON.
    pub args: JsonText,
    /// The way it came: `queue`, `http`, `webservice`, `service`, …
    #[serde(default, skip_serializing_if = "Channel::is_any")]
    pub channel: Channel,
    /// Tags it carries.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The secret it carries. Never stored.
    #[serde(skip)]
    pub secret: Option<String>,
    /// How many events led to this one: 0 for an event from outside.
    #[serde(default)]
    pub depth: u32,
}

impl NewEvent {
    /// An event from outside without channel, tags and secret.
    pub fn new(name: EventName, args: JsonText) -> Self {
        Self { name, args, channel: Channel::default(), tags: BTreeSet::new(), secret: None, depth: 0 }
    }
}

/// An event that was accepted, as it is recorded when no event filter matched it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Its id.
    pub id: Id,
    /// What came in.
    #[serde(rename = "event")]
    pub name: EventName,
    /// Its args.
    pub args: JsonText,
    /// By which channel.
    #[serde(default, skip_serializing_if = "Channel::is_any")]
    pub channel: Channel,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// How many jobs it led to.
    pub matched: u32,
}
