//! What can be asked of a store.

use ays_core::{
    EventName, ServiceKey, Timestamp,
    job::{Job, JobState},
};
use serde::{Deserialize, Serialize};

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// How many items at most; at least 1.
    pub limit: usize,
    /// Where to go on: the [`next`](Page::next) of the page before.
    pub cursor: Option<String>,
}

impl Default for Paging {
    /// The first hundred.
    fn default() -> Self {
        Self { limit: 100, cursor: None }
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on; none at the end of the list. A query that has to look through much returns what it has
    /// found, even nothing, and a cursor.
    pub next: Option<String>,
}

/// Which services. Empty members take all; so it is with every query here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceQuery {
    /// Of this actor.
    pub actor: Option<String>,
}

/// Which event filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterQuery {
    /// Of this service.
    pub service: Option<ServiceKey>,
    /// On this event.
    pub event: Option<EventName>,
}

/// Which schedules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleQuery {
    /// Of this service.
    pub service: Option<ServiceKey>,
}

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// On this service. Found by an index.
    pub service: Option<ServiceKey>,
    /// Of this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
    /// Of this cause: `event`, `schedule`, `run`, `init` or `api`.
    pub cause: Option<String>,
    /// Created at this time or later.
    pub since: Option<Timestamp>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadQuery {
    /// Jobs on this service.
    pub service: Option<ServiceKey>,
}

/// Whether a query may want jobs that have ended: only these are in the history.
pub(crate) fn wants_history(query: &JobQuery) -> bool {
    query.state.is_none_or(JobState::is_final)
}

/// Whether a query wants this job.
pub(crate) fn wanted(query: &JobQuery, job: &Job) -> bool {
    query.service.as_ref().is_none_or(|key| job.service == *key)
        && query.actor.as_ref().is_none_or(|actor| job.service.actor() == actor)
        && query.action.as_ref().is_none_or(|action| job.action == *action)
        && query.state.is_none_or(|state| job.state == state)
        && query.cause.as_ref().is_none_or(|cause| job.cause.kind() == cause)
        && query.since.is_none_or(|since| job.created_at >= since)
}
