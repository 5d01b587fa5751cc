//! A turn: everything a job did, as data.

use crate::{
    JsonText,
    event::NewEvent,
    filter::EventFilter,
    job::{Failure, LogLine, Usage},
    kv,
    schedule::Recurring,
    schema::SchemaId,
};

/// What one attempt of a job did. The engine makes it; a store commits it whole or not at all.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The action's result, or why there is none.
    pub outcome: Result<JsonText, Failure>,
    /// The service's new data, if the action changed it.
    pub data: Option<JsonText>,
    /// What else is to happen, in the order in which the action asked for it. Void when the attempt failed.
    pub effects: Vec<Effect>,
    /// What it logged; kept when it failed, too.
    pub logs: Vec<LogLine>,
    /// What it cost.
    pub usage: Usage,
}

/// Something that happens when a turn is committed.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An event is accepted.
    Emit(NewEvent),
    /// The service subscribes.
    SetFilter(EventFilter),
    /// The service gives up the subscription that is equal to this one, but for its secret.
    RemoveFilter(EventFilter),
    /// An action of the service recurs from now on.
    SetSchedule {
        /// Which action.
        action: String,
        /// How.
        recurring: Recurring,
    },
    /// The service's data are written with this schema from now on.
    SetSchema(SchemaId),
    /// An action of the service no longer recurs.
    RemoveSchedule {
        /// Which action.
        action: String,
    },
    /// The service's key-value pairs change. A turn has one such effect at most.
    Keep(kv::Change),
}
