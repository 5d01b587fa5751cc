//! Changes: what applying a blueprint does to a namespace, as data that a store commits whole.

use crate::{
    JsonText, ServiceKey, filter::EventFilter, job::NewJob, run::NewRun, schedule::Recurring,
    schema::SchemaId, service::Links,
};

/// Everything one blueprint changes. A store applies it in one commit, in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Services to create. Should one exist by the time of the commit, nothing is changed: that is a conflict.
    pub create: Vec<NewService>,
    /// Services whose blueprint values or links changed.
    pub update: Vec<ServiceUpdate>,
    /// Event filters to set, in order.
    pub filters: Vec<(ServiceKey, EventFilter)>,
    /// Recurring actions to set.
    pub schedules: Vec<NewSchedule>,
    /// Runs to start.
    pub runs: Vec<NewRun>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty()
            && self.update.is_empty()
            && self.filters.is_empty()
            && self.schedules.is_empty()
            && self.runs.is_empty()
    }
}

/// A service to create.
#[derive(Clone, Debug)]
pub struct NewService {
    /// Its key.
    pub key: ServiceKey,
    /// Its data: every field of the schema.
    pub data: JsonText,
    /// Which schema that is.
    pub schema: Option<SchemaId>,
    /// The fields that the blueprint named.
    pub applied: JsonText,
    /// What it is linked to.
    pub links: Links,
    /// The jobs of its creation, in order: `input`, then `init`, as far as the actor has them.
    pub jobs: Vec<NewJob>,
}

/// A service whose blueprint values changed.
#[derive(Clone, Debug)]
pub struct ServiceUpdate {
    /// Which.
    pub key: ServiceKey,
    /// What the change was planned on. Should that have changed by the time of the commit, nothing is changed: that is a
    /// conflict, and the plan has to be made anew.
    pub before: Before,
    /// The fields that blueprints name now.
    pub applied: JsonText,
    /// What it is linked to now.
    pub links: Links,
    /// The job that puts the new values in place, with a [`patch`](NewJob::patch), and calls `processChange`. None if
    /// only links changed.
    pub job: Option<NewJob>,
}

/// What blueprints said of a service before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// The fields that they named.
    pub applied: JsonText,
    /// What it was linked to.
    pub links: Links,
}

/// A recurring action to set.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// On which service.
    pub service: ServiceKey,
    /// Which action.
    pub action: String,
    /// How it recurs.
    pub recurring: Recurring,
    /// Actions that must have ended well on the service before the first occurrence: `init` and `install`, as far
    /// as the actor has them.
    pub waits_for: Vec<String>,
}
