//! What the cases are written with.

use std::{sync::Arc, time::Duration};

use ays_core::{
    EventName, Id, JsonText, ServiceKey, Timestamp,
    changes::{Before, Changes, NewService},
    event::NewEvent,
    filter::EventFilter,
    job::{Cause, Failure, FailureKind, Job, JobState, NewJob},
    turn::Effect,
};

use super::Place;
use crate::{Batch, DeadLetter, DeadQuery, JobQuery, Paging, Settled, Store, Work};

/// How long something may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store to try things on, and a clock that is set by hand.
pub struct Bed {
    place: Box<dyn Place>,
    pub store: Arc<dyn Store>,
    pub now: Timestamp,
}

impl Bed {
    pub async fn new(place: Box<dyn Place>) -> Self {
        let store = place.open().await;
        Self { place, store, now: "2026-03-01T12:00:00.000Z".parse().unwrap() }
    }

    pub async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = self.place.open().await;
    }

    pub fn later(&mut self, ms: u64) -> Timestamp {
        self.now = self.now.after(Duration::from_millis(ms));
        self.now
    }

    pub async fn create(&self, keys: &[&str]) {
        let create = keys.iter().map(|name| new_service(name)).collect();
        self.store.apply(Changes { create, ..Changes::default() }, self.now).await.unwrap();
    }

    pub async fn subscribe(&self, service: &str, event: &str, action: &str) {
        let filters = vec![(key(service), EventFilter::new(name(event), action))];
        self.store.apply(Changes { filters, ..Changes::default() }, self.now).await.unwrap();
    }

    pub async fn emit(&self, event: &str, args: &str) -> (Id, u32) {
        let batch = Batch { events: vec![NewEvent::new(name(event), json(args))], ..Batch::default() };
        self.store.accept(batch, self.now).await.unwrap().events[0]
    }

    /// Asks for jobs by name.
    pub async fn ask(&self, service: &str, actions: &[&str]) -> Vec<Id> {
        let jobs = actions.iter().map(|action| new_job(service, action)).collect();
        self.store.accept(Batch { jobs, ..Batch::default() }, self.now).await.unwrap().jobs
    }

    /// Takes what there is, and there must be something, however slow the machine is.
    pub async fn take(&self, services: usize, jobs: usize) -> Vec<Work> {
        let work = self.take_within(PATIENCE, services, jobs).await;
        assert_ne!(work.len(), 0, "there was nothing to take");
        work
    }

    /// What there is to take now; nothing, if there is nothing.
    pub async fn take_now(&self, services: usize, jobs: usize) -> Vec<Work> {
        self.take_within(Duration::from_millis(200), services, jobs).await
    }

    pub async fn assert_idle(&self) {
        let work = self.take_now(1, 1).await;
        assert_eq!(work.len(), 0, "there was something to take");
    }

    async fn take_within(&self, patience: Duration, services: usize, jobs: usize) -> Vec<Work> {
        let take = self.store.take(services, jobs, self.now);
        tokio::time::timeout(patience, take).await.map_or_else(|_| Vec::new(), Result::unwrap)
    }

    /// Takes one job.
    pub async fn take_one(&self) -> Job {
        self.take(1, 1).await.remove(0).jobs.remove(0)
    }

    /// The actions of everything that can be taken, of which there is something and which is given back.
    pub async fn peek(&self) -> Vec<String> {
        let mut found = Vec::new();
        for work in self.take(100, 100).await {
            found.extend(work.jobs.iter().map(|job| format!("{}/{}", job.service.instance(), job.action)));
            let ids: Vec<_> = work.jobs.iter().map(|job| job.id).collect();
            self.store.release(&work.service, &ids).await.unwrap();
        }
        found
    }

    pub async fn commit(&self, settled: Settled) {
        self.store.commit(vec![settled], self.now).await.unwrap();
    }

    /// Takes everything there is, and lets it succeed.
    pub async fn finish_all(&self) {
        loop {
            let work = self.take_now(100, 100).await;
            if work.is_empty() {
                return;
            }
            let attempts = work.into_iter().flat_map(|work| work.jobs).map(|job| ok(job, self.now)).collect();
            self.store.commit(attempts, self.now).await.unwrap();
        }
    }

    pub async fn jobs(&self) -> Vec<Job> {
        self.store.jobs(JobQuery::default(), all()).await.unwrap().items
    }

    pub async fn dead(&self) -> Vec<DeadLetter> {
        self.store.dead(DeadQuery::default(), all()).await.unwrap().items
    }

    pub async fn state(&self, id: Id) -> JobState {
        self.store.job(id).await.unwrap().expect("the job").state
    }

    pub async fn data(&self, service: &str) -> String {
        self.store.service(&key(service)).await.unwrap().expect("the service").data.to_string()
    }
}

pub(super) fn all() -> Paging {
    Paging { limit: 10_000, cursor: None }
}

pub(super) fn key(service: &str) -> ServiceKey {
    format!("act__{service}").parse().unwrap()
}

pub(super) fn name(event: &str) -> EventName {
    event.parse().unwrap()
}

pub(super) fn json(text: &str) -> JsonText {
    JsonText::parse(text).unwrap()
}

/// What blueprints have said of a [`new_service`].
pub(super) fn before() -> Before {
    Before { applied: JsonText::empty_object(), links: Default::default() }
}

pub(super) fn new_service(name: &str) -> NewService {
    NewService {
        key: key(name),
        data: json("{\"n\":0}"),
        schema: None,
        applied: JsonText::empty_object(),
        links: Default::default(),
        jobs: Vec::new(),
    }
}

pub(super) fn new_job(service: &str, action: &str) -> NewJob {
    NewJob {
        service: key(service),
        action: action.into(),
        args: json("[1]"),
        cause: Cause::Api { door: "http".into() },
        patch: None,
    }
}

fn ended(mut job: Job, state: JobState, now: Timestamp) -> Job {
    job.state = state;
    job.attempt += 1;
    job.retry_at = None;
    job.started_at = Some(now);
    job.finished_at = Some(now);
    job
}

pub(super) fn ok(job: Job, now: Timestamp) -> Settled {
    let job = Job { result: Some(json("null")), error: None, ..ended(job, JobState::Ok, now) };
    Settled { job, data: None, effects: Vec::new(), after: None }
}

pub(super) fn ok_with(job: Job, now: Timestamp, data: &str, effects: Vec<Effect>) -> Settled {
    Settled { data: Some(json(data)), effects, ..ok(job, now) }
}

pub(super) fn failed(job: Job, now: Timestamp) -> Settled {
    let error = Some(Failure::new(FailureKind::App, "it did not work"));
    Settled {
        job: Job { error, ..ended(job, JobState::Error, now) },
        data: None,
        effects: Vec::new(),
        after: None,
    }
}

pub(super) fn retrying(job: Job, now: Timestamp, at: Timestamp, strict: bool) -> Settled {
    let error = Some(Failure::new(FailureKind::App, "it did not work yet"));
    let job = Job { error, retry_at: Some(at), strict, ..ended(job, JobState::Retrying, now) };
    Settled { job, data: None, effects: Vec::new(), after: None }
}
