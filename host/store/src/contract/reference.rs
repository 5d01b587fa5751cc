//! A store as simple as can be: lists in memory, searched from the front. What it does is right because it can be seen
//! to be; stores are compared with it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use ays_core::{
    Id, JsonText, ServiceKey, Timestamp,
    changes::{Changes, NewSchedule},
    event::NewEvent,
    filter::EventFilter,
    job::{Cause, Job, JobState, NewJob},
    kv,
    run::{self, NewRun, Run},
    schedule::Schedule,
    turn::Effect,
};

use crate::{Batch, Settled};

/// A job, known by its place in the order of arrival until its id is.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) new: NewJob,
    pub(super) id: Option<Id>,
    pub(super) state: JobState,
    pub(super) attempt: u32,
    pub(super) retry_at: Option<Timestamp>,
    pub(super) strict: bool,
    pub(super) created_at: Timestamp,
    /// Whether a taker has it.
    pub(super) taken: bool,
    pub(super) dead: bool,
}

#[derive(Debug)]
pub(super) struct KnownService {
    pub(super) data: JsonText,
    pub(super) actions: BTreeMap<String, JobState>,
    pub(super) kv: BTreeMap<String, Arc<[u8]>>,
    pub(super) kv_usage: kv::Usage,
}

#[derive(Debug, Default)]
pub(super) struct Reference {
    /// In order of arrival.
    pub(super) jobs: Vec<Known>,
    pub(super) services: BTreeMap<ServiceKey, KnownService>,
    /// In order of registration.
    pub(super) filters: Vec<(ServiceKey, EventFilter)>,
    pub(super) schedules: BTreeMap<(ServiceKey, String), Schedule>,
    pub(super) runs: BTreeMap<Id, Run>,
    pub(super) unmatched: Vec<String>,
    pub(super) dead_entries: usize,
    pub(super) claims: BTreeMap<String, u64>,
}

impl Reference {
    fn push(&mut self, new: NewJob, now: Timestamp) {
        let there = self.services.contains_key(&new.service);
        let cause = new.cause.clone();
        let at = self.jobs.len();
        self.jobs.push(Known {
            new,
            id: None,
            state: if there { JobState::New } else { JobState::Error },
            attempt: 0,
            retry_at: None,
            strict: false,
            created_at: now,
            taken: false,
            dead: !there,
        });
        if let (false, Cause::Run { id, step }) = (there, cause) {
            self.settle_run(id, step, at, now);
        }
    }

    fn settle_run(&mut self, id: Id, step: u32, at: usize, now: Timestamp) {
        let job = &self.jobs[at];
        // A job that has no id yet stands under one that no other has.
        let mut number = [0xff; 16];
        number[8..].copy_from_slice(&(at as u64).to_be_bytes());
        let job_id = job.id.unwrap_or(Id::from_bytes(number));
        let state = job.state;
        let next = self.runs.get_mut(&id).expect("the run").settle(job_id, step, state, now);
        next.into_iter().for_each(|new| self.push(new, now));
    }

    pub(super) fn accept(&mut self, batch: Batch, now: Timestamp) -> bool {
        if let Some(claim) = batch.claim {
            let last = self.claims.entry(claim.door).or_default();
            if claim.after != *last {
                return false;
            }
            *last = claim.last;
        }
        batch.events.iter().for_each(|event| self.route(event, now));
        batch.jobs.into_iter().for_each(|job| self.push(job, now));
        self.dead_entries += batch.dead.len();
        true
    }

    fn route(&mut self, event: &NewEvent, now: Timestamp) {
        let takers: Vec<_> = self.filters.iter().filter(|(_, filter)| filter.takes(event)).cloned().collect();
        if takers.is_empty() {
            self.unmatched.push(event.args.to_string());
        }
        for (service, filter) in takers {
            let id = Id::from_bytes([0; 16]);
            let cause = Cause::Event {
                id,
                event: event.name.as_str().into(),
                depth: event.depth,
                trail: event.trail.clone(),
            };
            self.push(
                NewJob { service, action: filter.action, args: event.args.clone(), cause, patch: None },
                now,
            );
        }
    }

    /// Applies changes that are possible. `runs` are the ids that the runs have got.
    pub(super) fn apply(&mut self, changes: Changes, runs: &[Id], now: Timestamp) {
        for new in changes.create {
            if let Entry::Vacant(vacant) = self.services.entry(new.key) {
                let (actions, kv, kv_usage) = Default::default();
                vacant.insert(KnownService { data: new.data, actions, kv, kv_usage });
                new.jobs.into_iter().for_each(|job| self.push(job, now));
            }
        }
        for job in changes.update.into_iter().filter_map(|update| update.job) {
            self.push(job, now);
        }
        for (key, filter) in changes.filters {
            self.set_filter(&key, filter);
        }
        for new in changes.schedules {
            self.set_schedule(new, now);
        }
        for (new, id) in changes.runs.into_iter().zip(runs) {
            self.start_run(new, *id, now);
        }
    }

    pub(super) fn start_run(&mut self, new: NewRun, id: Id, now: Timestamp) {
        let (run, jobs) = Run::start(new, id, now);
        self.runs.insert(id, run);
        jobs.into_iter().for_each(|job| self.push(job, now));
    }

    fn set_filter(&mut self, key: &ServiceKey, filter: EventFilter) {
        match self.filters.iter_mut().find(|(service, known)| service == key && known.same(&filter)) {
            Some((_, known)) => known.secret = filter.secret,
            None => self.filters.push((key.clone(), filter)),
        }
    }

    fn set_schedule(&mut self, new: NewSchedule, now: Timestamp) {
        let done = &self.services[&new.service].actions;
        let mut waits_for = new.waits_for;
        waits_for.retain(|awaited| done.get(awaited) != Some(&JobState::Ok));
        let key = (new.service.clone(), new.action.clone());
        match self.schedules.get_mut(&key) {
            Some(known) => {
                known.change(new.recurring, now);
            }
            None => {
                let schedule = Schedule::new(new.service, new.action, new.recurring, waits_for, now);
                self.schedules.insert(key, schedule);
            }
        }
    }

    /// The jobs of a service that can be taken now, by place.
    pub(super) fn available(&self, key: &ServiceKey, now: Timestamp) -> Vec<usize> {
        let mut found = Vec::new();
        for (at, job) in self.jobs.iter().enumerate().filter(|(_, job)| job.new.service == *key) {
            if job.taken {
                return Vec::new();
            }
            match job.state {
                JobState::New => found.push(at),
                JobState::Retrying if job.retry_at.is_some_and(|due| due <= now) => found.push(at),
                JobState::Retrying if job.strict => return found,
                _ => {}
            }
        }
        found
    }

    pub(super) fn place(&self, id: Id) -> usize {
        self.jobs.iter().position(|job| job.id == Some(id)).expect("a known job")
    }

    pub(super) fn commit(&mut self, settled: Settled, now: Timestamp) {
        let at = self.place(settled.job.id);
        let known = &mut self.jobs[at];
        if !std::mem::take(&mut known.taken) || known.state.is_final() {
            return;
        }
        known.state = settled.job.state;
        known.attempt = settled.job.attempt;
        known.retry_at = settled.job.retry_at;
        known.strict = settled.job.strict;
        known.dead = known.state == JobState::Error;
        if settled.job.state == JobState::Ok {
            if let Some(data) = settled.data {
                self.services.get_mut(&settled.job.service).expect("the service").data = data;
            }
            for effect in settled.effects {
                self.effect(&settled.job, effect, now);
            }
        }
        self.ended(at, now);
    }

    fn effect(&mut self, job: &Job, effect: Effect, now: Timestamp) {
        let service = job.service.clone();
        match effect {
            Effect::Emit(mut event) => {
                event.depth = job.cause.depth();
                self.route(&event, now);
            }
            Effect::SetFilter(filter) => self.set_filter(&service, filter),
            Effect::RemoveFilter(filter) => {
                self.filters.retain(|(key, known)| *key != service || !known.same(&filter));
            }
            Effect::SetSchema(_) => {}
            Effect::SetSchedule { action, recurring } => {
                self.set_schedule(NewSchedule { service, action, recurring, waits_for: Vec::new() }, now);
            }
            Effect::RemoveSchedule { action } => {
                self.schedules.remove(&(service, action));
            }
            Effect::Keep(change) => {
                let known = self.services.get_mut(&service).expect("the service");
                known.kv_usage = change.usage;
                for (key, value) in change.writes {
                    match value {
                        Some(value) => drop(known.kv.insert(key, value)),
                        None => drop(known.kv.remove(&key)),
                    }
                }
            }
        }
    }

    /// An attempt has ended, or the job was cancelled.
    fn ended(&mut self, at: usize, now: Timestamp) {
        let Known { new, state, .. } = &self.jobs[at];
        let (new, state) = (new.clone(), *state);
        let actions = &mut self.services.get_mut(&new.service).expect("the service").actions;
        if run::is_life_cycle(&new.action) || ["init", "run"].contains(&new.cause.kind()) {
            actions.insert(new.action.clone(), state);
            for undone in run::undoes(&new.action).iter().filter(|_| state == JobState::Ok) {
                actions.remove(*undone);
            }
        }
        if state == JobState::Ok {
            let own = self.schedules.values_mut().filter(|schedule| schedule.service == new.service);
            own.for_each(|schedule| {
                schedule.action_done(&new.action, now);
            });
        }
        match new.cause {
            Cause::Schedule { .. } if state.is_final() => {
                let schedule = self.schedules.get_mut(&(new.service, new.action));
                if let Some(owed) = schedule.and_then(|schedule| schedule.settled()) {
                    self.push(owed, now);
                }
            }
            Cause::Run { id, step } if state.is_final() => self.settle_run(id, step, at, now),
            _ => {}
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) -> usize {
        let mut due: Vec<_> = self
            .schedules
            .values()
            .filter_map(|s| Some((s.next_due?, s.service.clone(), s.action.clone())))
            .collect();
        due.retain(|(at, ..)| *at <= now);
        due.sort();
        let mut occurrences = 0;
        for (_, service, action) in due {
            let jobs = self.schedules.get_mut(&(service, action)).expect("the schedule").due(now);
            occurrences += jobs.len();
            jobs.into_iter().for_each(|job| self.push(job, now));
        }
        occurrences
    }

    /// Cancels a job, if it has not ended; says whether.
    pub(super) fn cancel(&mut self, id: Id, now: Timestamp) -> bool {
        let at = self.place(id);
        let known = &mut self.jobs[at];
        if known.state.is_final() {
            return false;
        }
        known.state = JobState::Cancelled;
        self.ended(at, now);
        true
    }

    /// Retries a dead letter; says whether it could.
    pub(super) fn retry(&mut self, id: Id, now: Timestamp) -> bool {
        let at = self.place(id);
        let new = self.jobs[at].new.clone();
        if !self.jobs[at].dead || !self.services.contains_key(&new.service) {
            return false;
        }
        self.jobs[at].dead = false;
        self.push(NewJob { cause: Cause::Api { door: "api".into() }, ..new }, now);
        true
    }

    /// Nobody has taken anything any more.
    pub(super) fn reopen(&mut self) {
        self.jobs.iter_mut().for_each(|job| job.taken = false);
    }

    pub(super) fn dead(&self) -> BTreeSet<Id> {
        self.jobs.iter().filter(|job| job.dead).filter_map(|job| job.id).collect()
    }
}
