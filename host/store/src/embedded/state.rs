//! The state in memory: what the decisions are taken on. It is ahead of the disk while a group is being written;
//! nothing of that can be taken before it is durable.

use std::{collections::HashMap, sync::Arc};

use ays_core::{Id, ServiceKey, Timestamp, id::IdSource, job::Job, routing::FilterIndex, run::Run};

use crate::{
    Error,
    backlog::{Backlog, Later},
    decide::{Known, World},
};

/// How many there are of what; as of what is durable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) pending: u64,
    pub(super) dead: u64,
    pub(super) services: u64,
}

#[derive(Debug)]
pub(super) struct State {
    namespace: Arc<str>,
    pub(super) ids: IdSource,
    /// The greatest id given out.
    pub(super) last_id: Id,
    pub(super) filters: FilterIndex,
    pub(super) backlog: Backlog,
    pub(super) runs: HashMap<Id, Run>,
    /// The last claim of each door.
    pub(super) claims: HashMap<String, u64>,
    pub(super) counts: Counts,
    /// Why nothing can be believed any more, if so.
    pub(super) closed: Option<String>,
}

impl State {
    pub(super) fn new(namespace: &str, last_id: Option<Id>, salt: u64, cache_bytes: usize) -> Self {
        let last = last_id.unwrap_or(Id::from_bytes([0; 16]));
        Self {
            namespace: namespace.into(),
            ids: IdSource::new(last_id, salt),
            last_id: last,
            filters: FilterIndex::default(),
            backlog: Backlog::new(last, cache_bytes),
            runs: HashMap::new(),
            claims: HashMap::new(),
            counts: Counts::default(),
            closed: None,
        }
    }
}

/// Everything is here: no decision has to wait. Changes take effect at once, and are durable later.
impl World for State {
    type Stop = Error;

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn next_id(&mut self, now: Timestamp) -> Id {
        self.last_id = self.ids.next(now);
        self.last_id
    }

    fn claim(&mut self, door: &str) -> Result<&mut u64, Error> {
        Ok(self.claims.entry(door.into()).or_default())
    }

    fn service(&mut self, key: &ServiceKey) -> Result<Option<&mut Known>, Error> {
        Ok(self.backlog.services.get_mut(key).map(|entry| &mut entry.known))
    }

    fn create(&mut self, known: Known) {
        self.backlog.insert(known);
    }

    fn filters(&self) -> &FilterIndex {
        &self.filters
    }

    fn filters_mut(&mut self) -> &mut FilterIndex {
        &mut self.filters
    }

    fn run(&mut self, id: Id) -> Result<Option<&mut Run>, Error> {
        Ok(self.runs.get_mut(&id))
    }

    fn put_run(&mut self, run: Run) {
        self.runs.insert(run.id, run);
    }

    fn end_run(&mut self, id: Id) {
        self.runs.remove(&id);
    }

    fn arrive(&mut self, job: &Arc<Job>) -> Result<bool, Error> {
        let Some(entry) = self.backlog.services.get_mut(&job.service) else { return Ok(false) };
        entry.mailbox.push(job.id);
        self.backlog.cache.insert(job);
        Ok(true)
    }

    fn judge(&mut self, service: &ServiceKey, job: Id, after: Option<Id>) -> bool {
        let entry = self.backlog.services.get_mut(service);
        entry.is_some_and(|entry| entry.mailbox.settle(job, after))
    }

    fn wait(&mut self, job: &Job) {
        let later = Later { at: job.retry_at.unwrap_or_default(), strict: job.strict };
        self.backlog.put_later(&job.service, job.id, later);
        self.backlog.cache.insert(&Arc::new(job.clone()));
    }

    fn cancel(&mut self, job: &Job) {
        self.backlog.cancel(&job.service, job.id);
    }

    fn moved(
        &mut self,
        service: &ServiceKey,
        action: &str,
        before: Option<Timestamp>,
        after: Option<Timestamp>,
    ) {
        self.backlog.moved(service, action, before, after);
    }

    fn due(&self, now: Timestamp) -> Vec<(Timestamp, ServiceKey, String)> {
        self.backlog.due(now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use ays_core::{
        JsonText,
        event::NewEvent,
        filter::EventFilter,
        job::{Cause, JobState, NewJob},
        service::Service,
        turn::Effect,
    };

    use super::*;
    use crate::{
        Settled,
        decide::{Attempt, Decider, Group},
    };

    /// Otherwise a job with its thousand events, to a thousand filters each, would hold up all others and fill the memory.
    #[test]
    fn the_events_of_one_turn_lead_to_no_more_jobs_than_one_commit_may_have() {
        let now = Timestamp::from_millis(1);
        let key: ServiceKey = "act__a".parse().unwrap();
        let mut state = State::new("ns", None, 1, 0);
        state.create(Known::new(Service {
            key: key.clone(),
            data: JsonText::empty_object(),
            schema: None,
            applied: JsonText::empty_object(),
            links: Default::default(),
            actions: Default::default(),
            kv: Default::default(),
            created_at: now,
            updated_at: now,
        }));
        for n in 0..100 {
            state.filters.set(&key, EventFilter::new("went".parse().unwrap(), format!("on_{n}")));
        }
        let args = JsonText::parse(&format!("\"{}\"", "x".repeat(1 << 20))).unwrap();
        for (args, events, accepted) in [(args, 4, 2), (JsonText::null(), 8000, 5202)] {
            let id = state.next_id(now);
            let cause = Cause::Api { door: "api".into() };
            let action = "go".into();
            let new = NewJob { service: key.clone(), action, args: JsonText::null(), cause, patch: None };
            let mut job = Job::accepted(new, id, "ns", now);
            state.arrive(&Arc::new(job.clone())).unwrap();
            state.backlog.durable = id;
            state.backlog.queue(&key);
            let State { backlog, filters, .. } = &mut state;
            assert_eq!(backlog.take(1, 1, now, filters, |_| true).len(), 1);
            job.state = JobState::Ok;
            let emit = Effect::Emit(NewEvent::new("went".parse().unwrap(), args));
            let effects = vec![emit; events];
            let attempt = Attempt::new(Settled { job, data: None, effects, after: None }).unwrap();
            let mut group = Group::default();
            Decider { world: &mut state, group: &mut group, now }.settle(&attempt).unwrap();
            assert_eq!((group.arrived.len(), group.dead.len()), (accepted * 100, events - accepted));
            // As if they were done: they are not what is looked at.
            state.backlog.services.get_mut(&key).unwrap().mailbox = Default::default();
        }
    }
}
