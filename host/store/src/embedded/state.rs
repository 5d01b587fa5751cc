//! The state in memory: what the decisions of the core are taken on. It is ahead of the disk while a group is being
//! written; nothing of that can be taken before it is durable.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ays_core::{
    Id, JsonText, ServiceKey, Timestamp,
    id::IdSource,
    job::{Cause, Failure, FailureKind, Job, JobState, NewJob},
    routing::FilterIndex,
    run::{self, Run},
    schedule::Schedule,
    service::{ActionStatus, Links, Service},
};

use super::{
    cache::Cache,
    disk::to_json,
    group::{Ended, Group},
    mailbox::{Later, Mailbox},
};
use serde_json::Value;

use crate::{DeadLetter, Result, Work};

/// A service and what belongs to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) service: Service,
    /// The same as the service's, to be shared with takers.
    pub(super) links: Arc<Links>,
    pub(super) mailbox: Mailbox,
    /// By action.
    pub(super) schedules: BTreeMap<String, Schedule>,
}

impl Entry {
    pub(super) fn new(service: Service) -> Self {
        let links = Arc::new(service.links.clone());
        Self { service, links, mailbox: Mailbox::default(), schedules: BTreeMap::new() }
    }
}

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
    /// The greatest id that is durable: younger jobs cannot be taken.
    pub(super) durable: Id,
    pub(super) filters: FilterIndex,
    pub(super) services: HashMap<ServiceKey, Entry>,
    pub(super) runs: HashMap<Id, Run>,
    /// When each schedule's next occurrence is due.
    pub(super) due: BTreeSet<(Timestamp, ServiceKey, String)>,
    /// When each waiting retry is due.
    pub(super) retries: BTreeMap<(Timestamp, Id), ServiceKey>,
    /// Services that have something to take, those that have waited longest first. Some may have lost it again.
    ready: VecDeque<ServiceKey>,
    /// The last claim of each door.
    pub(super) claims: HashMap<String, u64>,
    pub(super) cache: Cache,
    pub(super) counts: Counts,
    /// Why nothing can be believed any more, if so.
    pub(super) closed: Option<String>,
}

/// What a taker gets of one service, before the records are read.
pub(super) struct Taken {
    pub(super) work: Work,
    /// Each job, with its record if it was in memory.
    pub(super) ids: Vec<(Id, Option<Arc<Job>>)>,
}

impl State {
    pub(super) fn new(namespace: &str, last_id: Option<Id>, salt: u64, cache_bytes: usize) -> Self {
        let last = last_id.unwrap_or(Id::from_bytes([0; 16]));
        Self {
            namespace: namespace.into(),
            ids: IdSource::new(last_id, salt),
            last_id: last,
            durable: last,
            filters: FilterIndex::default(),
            services: HashMap::new(),
            runs: HashMap::new(),
            due: BTreeSet::new(),
            retries: BTreeMap::new(),
            ready: VecDeque::new(),
            claims: HashMap::new(),
            cache: Cache::new(cache_bytes),
            counts: Counts::default(),
            closed: None,
        }
    }

    pub(super) fn next_id(&mut self, now: Timestamp) -> Id {
        self.last_id = self.ids.next(now);
        self.last_id
    }

    /// Puts a job at the end of its service's mailbox; if there is no such service, it becomes a dead letter.
    pub(super) fn push(&mut self, new: NewJob, now: Timestamp, group: &mut Group) -> Result<Id> {
        let id = self.next_id(now);
        let mut job = Job::accepted(new, id, &self.namespace, now);
        match self.services.get_mut(&job.service) {
            Some(entry) => {
                entry.mailbox.push(id);
                group.touch(&job.service);
                let job = Arc::new(job);
                self.cache.insert(&job);
                group.arrived.push(job);
            }
            None => {
                let reason = format!("there is no service `{}`", job.service);
                job.state = JobState::Error;
                job.finished_at = Some(now);
                job.error = Some(Failure::new(FailureKind::Host, &reason).for_good());
                let record = to_json(&job)?;
                self.move_on(&job, now, group)?;
                group.ended.push(Ended { id, service: job.service.clone(), record });
                group.dead.push(DeadLetter { id, at: now, reason, job: Some(Box::new(job)), entry: None });
            }
        }
        Ok(id)
    }

    /// A job has ended for good: its schedule or run moves on.
    pub(super) fn move_on(&mut self, job: &Job, now: Timestamp, group: &mut Group) -> Result<()> {
        match &job.cause {
            Cause::Schedule { .. } => {
                let key = &job.service;
                let schedule = self.services.get_mut(key).and_then(|e| e.schedules.get_mut(&job.action));
                if let Some(schedule) = schedule {
                    let owed = schedule.settled();
                    group.schedules.insert((key.clone(), job.action.clone()));
                    if let Some(owed) = owed {
                        self.push(owed, now, group)?;
                    }
                }
            }
            Cause::Run { id, step } => {
                let Some(run) = self.runs.get_mut(id) else { return Ok(()) };
                let next = run.settle(job.id, *step, job.state, now);
                self.run_changed(*id, group);
                for job in next {
                    self.push(job, now, group)?;
                }
            }
            Cause::Event { .. } | Cause::Init { .. } | Cause::Api { .. } => {}
        }
        Ok(())
    }

    fn run_changed(&mut self, id: Id, group: &mut Group) {
        let Some(run) = self.runs.get(&id) else { return };
        group.runs.insert(id, run.clone());
        if run.state.is_final() {
            self.runs.remove(&id);
        }
    }

    /// Starts a run.
    pub(super) fn start_run(&mut self, new: run::NewRun, now: Timestamp, group: &mut Group) -> Result<Run> {
        let id = self.next_id(now);
        let (run, jobs) = Run::start(new, id, now);
        self.runs.insert(id, run);
        self.run_changed(id, group);
        for job in jobs {
            self.push(job, now, group)?;
        }
        // Jobs for services that do not exist have settled by now.
        let run = group.runs.get(&id).cloned();
        run.ok_or_else(|| crate::Error::NotFound(format!("there is no run {id}")))
    }

    /// An attempt has ended: keeps how life-cycle actions ended, and tells schedules and the run.
    pub(super) fn attempted(&mut self, job: &Job, now: Timestamp, group: &mut Group) -> Result<()> {
        if let Some(entry) = self.services.get_mut(&job.service) {
            let ok = job.state == JobState::Ok;
            let kept = run::is_life_cycle(&job.action)
                || matches!(job.cause, Cause::Init { .. } | Cause::Run { .. });
            if kept {
                let status = ActionStatus { state: job.state, job: job.id, at: now };
                entry.service.actions.insert(job.action.clone(), status);
                if ok {
                    for undone in run::undoes(&job.action) {
                        entry.service.actions.remove(*undone);
                    }
                }
                group.services.insert(job.service.clone());
            }
            if ok {
                for (action, schedule) in &mut entry.schedules {
                    let before = schedule.next_due;
                    if schedule.action_done(&job.action, now) {
                        moved(&mut self.due, &job.service, action, before, schedule.next_due);
                        group.schedules.insert((job.service.clone(), action.clone()));
                    }
                }
            }
        }
        if !job.state.is_final() {
            return Ok(());
        }
        if job.state != JobState::Ok {
            self.unapply(job, group);
        }
        self.move_on(job, now, group)
    }

    /// A blueprint's change did not happen after all: applying it again is to make it.
    fn unapply(&mut self, job: &Job, group: &mut Group) {
        let Some(patch) = &job.patch else { return };
        let Some(entry) = self.services.get_mut(&job.service) else { return };
        let (Value::Object(mut applied), Value::Object(patch)) =
            (entry.service.applied.value(), patch.value())
        else {
            return;
        };
        applied.retain(|field, value| patch.get(field) != Some(value));
        entry.service.applied = applied.into();
        group.services.insert(job.service.clone());
    }

    /// Changes a service's schedule: `change` gets what is there and says what is to be.
    pub(super) fn reschedule(
        &mut self,
        service: &ServiceKey,
        action: &str,
        group: &mut Group,
        change: impl FnOnce(Option<Schedule>, &Service) -> Option<Schedule>,
    ) {
        let Some(entry) = self.services.get_mut(service) else { return };
        let old = entry.schedules.remove(action);
        let before = old.as_ref().and_then(|schedule| schedule.next_due);
        let new = change(old.clone(), &entry.service);
        let after = new.as_ref().and_then(|schedule| schedule.next_due);
        moved(&mut self.due, service, action, before, after);
        if old != new {
            group.schedules.insert((service.clone(), action.into()));
        }
        if let Some(new) = new {
            entry.schedules.insert(action.into(), new);
        }
    }

    /// Puts the jobs of due occurrences into mailboxes. Returns how many.
    pub(super) fn fire(&mut self, now: Timestamp, group: &mut Group) -> Result<usize> {
        let mut fired = 0;
        let due: Vec<_> = self.due.iter().take_while(|(at, ..)| *at <= now).cloned().collect();
        for (at, key, action) in due {
            let Some(schedule) = self.services.get_mut(&key).and_then(|e| e.schedules.get_mut(&action))
            else {
                self.due.remove(&(at, key, action));
                continue;
            };
            let jobs = schedule.due(now);
            moved(&mut self.due, &key, &action, Some(at), schedule.next_due);
            group.schedules.insert((key, action));
            fired += jobs.len();
            for job in jobs {
                self.push(job, now, group)?;
            }
        }
        Ok(fired)
    }

    /// Wakes jobs that are to be tried again by `now`. Returns whether there were any.
    pub(super) fn wake(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        while let Some(first) = self.retries.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, id), key) = first.remove_entry();
            if let Some(entry) = self.services.get_mut(&key) {
                entry.mailbox.wake(id);
            }
            any |= self.queue(&key);
        }
        any
    }

    /// Lets a job wait for its next attempt.
    pub(super) fn put_later(&mut self, service: &ServiceKey, id: Id, later: Later) {
        if let Some(entry) = self.services.get_mut(service) {
            entry.mailbox.put_later(id, later);
            self.retries.insert((later.at, id), service.clone());
        }
    }

    /// Puts a service that has something to take in the queue. Returns whether it has.
    pub(super) fn queue(&mut self, key: &ServiceKey) -> bool {
        let Some(entry) = self.services.get_mut(key) else { return false };
        if !entry.mailbox.can_be_taken(self.durable) {
            return false;
        }
        if !entry.mailbox.queued {
            entry.mailbox.queued = true;
            self.ready.push_back(key.clone());
        }
        true
    }

    /// Takes up to `services` services with up to `jobs` jobs each.
    pub(super) fn take(&mut self, services: usize, jobs: usize, now: Timestamp) -> Vec<Taken> {
        self.wake(now);
        let mut taken = Vec::new();
        while taken.len() < services
            && let Some(key) = self.ready.pop_front()
        {
            let Some(entry) = self.services.get_mut(&key) else { continue };
            entry.mailbox.queued = false;
            let ids = entry.mailbox.take(jobs, self.durable);
            if ids.is_empty() {
                continue;
            }
            let ids = ids.into_iter().map(|id| (id, self.cache.remove(id))).collect();
            let (data, links) = (entry.service.data.clone(), entry.links.clone());
            let linked = self.linked(&links);
            taken.push(Taken { work: Work { service: key, data, links, linked, jobs: Vec::new() }, ids });
        }
        taken
    }

    fn linked(&self, links: &Links) -> Vec<(ServiceKey, JsonText)> {
        let keys: BTreeSet<_> = links.parent.iter().chain(links.producers.values().flatten()).collect();
        let known = |key: &ServiceKey| Some((key.clone(), self.services.get(key)?.service.data.clone()));
        keys.into_iter().filter_map(known).collect()
    }

    /// When the next occurrence or retry is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let occurrence = self.due.first().map(|(at, ..)| *at);
        let retry = self.retries.first_key_value().map(|((at, _), _)| *at);
        occurrence.into_iter().chain(retry).min()
    }
}

/// Keeps `due` in step with a schedule.
pub(super) fn moved(
    due: &mut BTreeSet<(Timestamp, ServiceKey, String)>,
    service: &ServiceKey,
    action: &str,
    before: Option<Timestamp>,
    after: Option<Timestamp>,
) {
    if before != after {
        if let Some(before) = before {
            due.remove(&(before, service.clone(), action.into()));
        }
        if let Some(after) = after {
            due.insert((after, service.clone(), action.into()));
        }
    }
}
