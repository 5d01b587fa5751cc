//! What the API shows of things, where that is more than their record.

use ays_core::{filter::Subscription, job::Job};
use serde::Serialize;

/// A job, with its actor.
#[derive(Debug, Serialize)]
pub struct JobView<J: std::borrow::Borrow<Job> + Serialize> {
    actor: String,
    #[serde(flatten)]
    job: J,
}

impl<J: std::borrow::Borrow<Job> + Serialize> From<J> for JobView<J> {
    fn from(job: J) -> Self {
        Self { actor: job.borrow().service.actor().to_owned(), job }
    }
}

/// An event filter; its secret is not shown.
#[derive(Debug, Serialize)]
pub(super) struct FilterView {
    id: u64,
    service: String,
    event: String,
    action: String,
    channel: String,
    tags: Vec<String>,
    has_secret: bool,
}

impl From<Subscription> for FilterView {
    fn from(subscription: Subscription) -> Self {
        let Subscription { service, seq, filter } = subscription;
        Self {
            id: seq,
            service: service.to_string(),
            event: filter.event.to_string(),
            action: filter.action,
            channel: filter.channel.0,
            tags: filter.tags.into_iter().collect(),
            has_secret: filter.secret.is_some(),
        }
    }
}
