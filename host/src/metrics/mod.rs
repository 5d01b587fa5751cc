//! What the host measures, in the text format of Prometheus: `GET /metrics`.
//!
//! Label values come from what is loaded and from short lists of the host's own, never from an event, an error's text or
//! whatever else a stranger can make up. Of each actor only so many actions have series of their own.
//!
//! What a job costs here is a few nanoseconds: a batch of jobs is counted in numbers of its own, which are added to the
//! shared ones once it is durable.

mod book;
mod jobs;
mod scrape;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ays_core::job::{Job, JobState};
use prometheus::{Histogram, IntCounter, IntGauge};

use self::book::{Book, Counters, Histograms};
pub use self::{
    jobs::{Measure, Tally},
    scrape::Seen,
};

/// How many actions of one actor have series of their own. A manifest may name thousands.
const ACTIONS: usize = 100;

/// The `action` of those beyond these, and of those that an actor does not have. No action can have this name.
const OTHER: &str = "(other)";

/// From what a resident instance needs for a job that does little, to what hardly anybody waits for, in seconds.
const TOOK: &[f64] =
    &[0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];
/// From what times of jobs tell, to a night, in seconds.
const WAITED: &[f64] =
    &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0, 36_000.0];
/// From memory to a disk in trouble, in seconds.
const COMMITTED: &[f64] = &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Jobs of one commit.
const BATCHES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A way for events to come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `POST /api/v1/events`.
    Http,
    /// `POST /webhooks/events`.
    Webhook,
    /// The command queue.
    Queue,
    /// Another service.
    Service,
}

impl Door {
    const ALL: [Self; 4] = [Self::Http, Self::Webhook, Self::Queue, Self::Service];

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Webhook => "webhook",
            Self::Queue => "queue",
            Self::Service => "service",
        }
    }
}

/// What became of a version of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took another one's place.
    Upgraded,
    /// It is the first of its actor.
    Added,
    /// It is the one that was in service.
    Unchanged,
    /// It was refused.
    Refused,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Upgraded, Self::Added, Self::Unchanged, Self::Refused];

    fn name(self) -> &'static str {
        match self {
            Self::Upgraded => "upgraded",
            Self::Added => "added",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// What is measured. Clones are of the same numbers.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    book: Book,
    ended: Counters<4>,
    retries: Counters<3>,
    took: Histograms<2>,
    waited: Histograms<2>,
    breaches: Counters<2>,
    denials: Counters<2>,
    accepted: Counters<1>,
    refused: Counters<1>,
    upgrades: Counters<1>,
    instances: IntGauge,
    commits: Histogram,
    commit_jobs: Histogram,
    /// By actor.
    actions: RwLock<HashMap<Box<str>, Actions>>,
}

/// By name.
type Actions = HashMap<Box<str>, Arc<Action>>;

/// An action of an actor, or all the other ones together, and what most of its jobs need.
struct Action {
    actor: Box<str>,
    label: Box<str>,
    ok: IntCounter,
    took: Histogram,
    waited: Histogram,
}

impl Metrics {
    /// None has been counted yet.
    ///
    /// # Errors
    /// If a definition is none, which the tests show not to be.
    pub fn new() -> prometheus::Result<Self> {
        let mut book = Book::default();
        let version = ["version"];
        book.gauges("ays_build_info", "Always 1; says which version of ays-host this is.", version)?
            .of([env!("CARGO_PKG_VERSION")])
            .set(1);
        let ended = book.counters(
            "ays_jobs_ended_total",
            "Jobs that ended on this host, by how: the state, and of those in error the kind of failure.",
            ["actor", "action", "state", "failure"],
        )?;
        let retries = book.counters(
            "ays_job_retries_total",
            "Attempts of jobs that failed and are to be tried again, by the kind of failure.",
            ["actor", "action", "failure"],
        )?;
        let of = ["actor", "action"];
        let took = book.histograms(
            "ays_job_duration_seconds",
            "How long each attempt of a job took, from its start to its end.",
            TOOK,
            of,
        )?;
        let waited = book.histograms(
            "ays_job_wait_seconds",
            "How long jobs waited, from being created to the start of their first attempt.",
            WAITED,
            of,
        )?;
        let breaches = book.counters(
            "ays_limit_breaches_total",
            "Attempts of jobs that were stopped at a limit, by its name.",
            ["actor", "limit"],
        )?;
        let denials = book.counters(
            "ays_denials_total",
            "Attempts of jobs that failed for what they were denied, by the kind of capability.",
            ["actor", "capability"],
        )?;
        let accepted = book.counters(
            "ays_events_accepted_total",
            "Events that were accepted, by the door they came by.",
            ["door"],
        )?;
        let refused = book.counters(
            "ays_entries_refused_total",
            "What came in by a door and was refused, or put into the dead-letter list, for its content.",
            ["door"],
        )?;
        let upgrades = book.counters(
            "ays_upgrades_total",
            "Versions of actors that came while the host ran, by what became of them.",
            ["outcome"],
        )?;
        let instances = book
            .gauges("ays_instances", "Instances of actors that are kept now, busy and idle ones.", [])?
            .of([]);
        let commits = book
            .histograms(
                "ays_store_commit_duration_seconds",
                "How long the store took to make the turns of a batch of jobs durable.",
                COMMITTED,
                [],
            )?
            .of([]);
        let commit_jobs = book
            .histograms("ays_store_commit_jobs", "Jobs whose turns were committed together.", BATCHES, [])?
            .of([]);
        // What has never happened is 0, and not missing: its rate is known then, also the first time it happens.
        for door in Door::ALL {
            accepted.of([door.name()]);
            refused.of([door.name()]);
        }
        for outcome in Outcome::ALL {
            upgrades.of([outcome.name()]);
        }
        Ok(Self(Arc::new(Shared {
            book,
            ended,
            retries,
            took,
            waited,
            breaches,
            denials,
            accepted,
            refused,
            upgrades,
            instances,
            commits,
            commit_jobs,
            actions: RwLock::default(),
        })))
    }

    /// Events were accepted by a door.
    pub fn accepted(&self, door: Door, events: u64) {
        if events > 0 {
            self.0.accepted.of([door.name()]).inc_by(events);
        }
    }

    /// What came by a door was refused for its content.
    pub fn refused(&self, door: Door, entries: u64) {
        if entries > 0 {
            self.0.refused.of([door.name()]).inc_by(entries);
        }
    }

    /// A version of an actor came.
    pub fn upgrade(&self, outcome: Outcome) {
        self.0.upgrades.of([outcome.name()]).inc();
    }

    /// A job was cancelled. `declared` says whether its actor has such an action.
    pub fn cancelled(&self, job: &Job, declared: bool) {
        let action = self.action(job.service.actor(), &job.action, declared);
        self.0.ended.of([&action.actor, &action.label, state(JobState::Cancelled), ""]).inc();
    }

    /// An instance was made; it is counted until what is returned is dropped.
    #[must_use]
    pub fn instance(&self) -> Counted {
        self.0.instances.inc();
        Counted(self.0.instances.clone())
    }

    /// A batch of so many jobs was committed.
    pub fn committed(&self, jobs: usize, took: Duration) {
        self.0.commits.observe(took.as_secs_f64());
        self.0.commit_jobs.observe(jobs as f64);
    }

    /// What an action's jobs are counted in.
    fn action(&self, actor: &str, action: &str, declared: bool) -> Arc<Action> {
        let wanted = if declared { action } else { OTHER };
        {
            let actors = self.0.actions.read().unwrap_or_else(PoisonError::into_inner);
            let known = actors.get(actor);
            let is_full = known.is_some_and(|actions| actions.len() >= ACTIONS);
            let found = known
                .and_then(|actions| actions.get(wanted).or_else(|| actions.get(OTHER).filter(|_| is_full)));
            if let Some(found) = found {
                return found.clone();
            }
        }
        let mut actors = self.0.actions.write().unwrap_or_else(PoisonError::into_inner);
        let actions = actors.entry(actor.into()).or_default();
        let label = if actions.len() < ACTIONS { wanted } else { OTHER };
        let new = || {
            let of = [actor, label];
            Arc::new(Action {
                actor: actor.into(),
                label: label.into(),
                ok: self.0.ended.of([actor, label, state(JobState::Ok), ""]),
                took: self.0.took.of(of),
                waited: self.0.waited.of(of),
            })
        };
        actions.entry(label.into()).or_insert_with(new).clone()
    }
}

/// Something that is counted in a gauge for as long as it is there.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A state's name, as the API has it.
fn state(state: JobState) -> &'static str {
    match state {
        JobState::New => "new",
        JobState::Running => "running",
        JobState::Ok => "ok",
        JobState::Retrying => "retrying",
        JobState::Error => "error",
        JobState::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_with_thousands_of_actions_and_callers_with_invented_ones_make_few_series() {
        let metrics = Metrics::new().expect("the definitions are right");
        for n in 0..5000 {
            metrics.action("greedy", &format!("declared{n}"), true).ok.inc();
            metrics.action("modest", &format!("invented{n}"), false).ok.inc();
        }
        let families = metrics.0.book.gather();
        let ended =
            families.iter().find(|family| family.name() == "ays_jobs_ended_total").expect("it is there");
        // The first hundred, and the others together; and those that there are not, together.
        assert_eq!(ended.get_metric().len(), ACTIONS + 1 + 1);
        let all: f64 = ended.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum();
        assert_eq!(all, 10_000.0, "all are counted");
    }
}
