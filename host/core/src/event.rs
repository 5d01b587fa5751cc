//! Events.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    EventName, Id, JsonText, Timestamp,
    job::{Cause, Job},
};

/// How deep a chain of events that cause events may be, before it is taken for a storm.
pub const MAX_DEPTH: u32 = 64;

/// How many steps of a chain are remembered. That begins only so many steps before its end: other chains cost nothing.
const TRAIL: u32 = 16;

/// What a chain's steps were once `job` has emitted `event`, the `depth`th of it: the last of them, if it is near its end.
pub fn trail(job: &Job, event: &EventName, depth: u32) -> Vec<String> {
    if depth + TRAIL <= MAX_DEPTH {
        return Vec::new();
    }
    let before: &[String] = match &job.cause {
        Cause::Event { trail, .. } => trail,
        _ => &[],
    };
    let step = format!("{} {} -> {event}", job.service, job.action);
    before.iter().cloned().chain([step]).collect()
}

/// The steps that a trail repeats, from its end; all of it where it does not.
pub fn round(trail: &[String]) -> &[String] {
    let length = trail.len();
    let repeats = |period: &usize| {
        let (before, last) = (trail.get(length - 2 * period..length - period), trail.get(length - period..));
        before == last
    };
    let period = (1..=length / 2).find(repeats).unwrap_or(length);
    trail.get(length - period..).unwrap_or(trail)
}

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
    /// The last steps that led to it, if they were many; see [`trail`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<String>,
}

impl NewEvent {
    /// An event from outside without channel, tags and secret.
    pub fn new(name: EventName, args: JsonText) -> Self {
        Self {
            name,
            args,
            channel: Channel::default(),
            tags: BTreeSet::new(),
            secret: None,
            depth: 0,
            trail: Vec::new(),
        }
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
