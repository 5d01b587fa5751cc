//! What is asked of the writer, and what each request decides. A request that fails changes nothing.

use ays_core::{
    Id, JsonText, ServiceKey, Timestamp,
    changes::{Changes, NewSchedule},
    event::{EventRecord, MAX_DEPTH, NewEvent},
    filter::EventFilter,
    job::{Job, JobState},
    routing::Set,
    run::{NewRun, Run},
    schedule::{Recurring, Schedule},
    service::Service,
    turn::Effect,
};
use std::{collections::HashSet, sync::Arc};

use super::{
    disk::to_json,
    group::{Ended, Group},
    mailbox::Later,
    state::{Entry, State},
};
use crate::{Accepted, Applied, Batch, DeadLetter, Error, NewDeadLetter, Result, Settled};

/// An attempt, with the JSON of its job's record, made where the request was.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) settled: Settled,
    pub(super) record: Vec<u8>,
}

impl State {
    pub(super) fn accept(&mut self, batch: Batch, now: Timestamp, group: &mut Group) -> Result<Accepted> {
        if let Some(claim) = &batch.claim {
            let last = self.claims.entry(claim.door.clone()).or_default();
            if claim.number <= *last {
                return Ok(Accepted { repeated: true, ..Accepted::default() });
            }
            *last = claim.number;
            group.claims.insert(claim.door.clone(), claim.number);
        }
        group.changes += (batch.events.len() + batch.jobs.len() + batch.dead.len()) as u64;
        let mut accepted = Accepted::default();
        for event in batch.events {
            accepted.events.push(self.route(&event, now, group)?);
        }
        for job in batch.jobs {
            accepted.jobs.push(self.push(job, now, group)?);
        }
        for entry in batch.dead {
            let reason = entry.reason.clone();
            accepted.dead.push(self.bury(entry, reason, now, group));
        }
        Ok(accepted)
    }

    /// Accepts one event. Returns its id and how many jobs it led to.
    fn route(&mut self, event: &NewEvent, now: Timestamp, group: &mut Group) -> Result<(Id, u32)> {
        let id = self.next_id(now);
        let jobs = self.filters.route(event, id);
        let matched = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        if jobs.is_empty() {
            group.unmatched.push(EventRecord {
                id,
                name: event.name.clone(),
                args: event.args.clone(),
                channel: event.channel.clone(),
                accepted_at: now,
                matched,
            });
        }
        for job in jobs {
            self.push(job, now, group)?;
        }
        Ok((id, matched))
    }

    fn bury(&mut self, entry: NewDeadLetter, reason: String, now: Timestamp, group: &mut Group) -> Id {
        let id = self.next_id(now);
        group.dead.push(DeadLetter { id, at: now, reason, job: None, entry: Some(entry) });
        id
    }

    pub(super) fn apply(&mut self, changes: Changes, now: Timestamp, group: &mut Group) -> Result<Applied> {
        self.check(&changes)?;
        group.changes += 1;
        let mut applied = Applied::default();
        for new in changes.create {
            if self.services.contains_key(&new.key) {
                continue;
            }
            let service = Service {
                key: new.key.clone(),
                data: new.data,
                applied: new.applied,
                links: new.links,
                actions: Default::default(),
                created_at: now,
                updated_at: now,
            };
            self.services.insert(new.key.clone(), Entry::new(service));
            group.services.insert(new.key);
            for job in new.jobs {
                applied.jobs.push(self.push(job, now, group)?);
            }
        }
        for update in changes.update {
            if let Some(entry) = self.services.get_mut(&update.key) {
                entry.service.applied = update.applied;
                entry.links = Arc::new(update.links.clone());
                entry.service.links = update.links;
                group.services.insert(update.key);
            }
            if let Some(job) = update.job {
                applied.jobs.push(self.push(job, now, group)?);
            }
        }
        for (key, filter) in changes.filters {
            self.set_filter(&key, filter, group);
        }
        for new in changes.schedules {
            self.set_schedule(new, now, group);
        }
        for run in changes.runs {
            applied.runs.push(self.start_run(run, now, group)?.id);
        }
        Ok(applied)
    }

    /// Everything that changes must be there.
    fn check(&self, changes: &Changes) -> Result<()> {
        let created: HashSet<_> = changes.create.iter().map(|new| &new.key).collect();
        let updated = changes.update.iter().map(|update| (&update.key, "to be updated"));
        let filters = changes.filters.iter().map(|(key, _)| (key, "to get an event filter"));
        let schedules = changes.schedules.iter().map(|new| (&new.service, "to get a recurring action"));
        for (key, what) in updated.chain(filters).chain(schedules) {
            if !created.contains(key) && !self.services.contains_key(key) {
                return Err(Error::NotFound(format!("there is no service `{key}`, which is {what}")));
            }
        }
        Ok(())
    }

    fn set_filter(&mut self, key: &ServiceKey, filter: EventFilter, group: &mut Group) {
        let (Set::New(seq) | Set::Changed(seq)) = self.filters.set(key, filter.clone()) else { return };
        let subscription = ays_core::filter::Subscription { service: key.clone(), seq, filter };
        group.filters.insert(seq, Some(subscription));
    }

    fn set_schedule(&mut self, new: NewSchedule, now: Timestamp, group: &mut Group) {
        let NewSchedule { service, action, recurring, mut waits_for } = new;
        let name = action.clone();
        self.reschedule(&service.clone(), &name, group, |old, record| {
            Some(changed(old, recurring, now).unwrap_or_else(|recurring| {
                waits_for.retain(|awaited| !record.done(awaited));
                Schedule::new(service, action, recurring, waits_for, now)
            }))
        });
    }

    pub(super) fn begin_run(&mut self, new: NewRun, now: Timestamp, group: &mut Group) -> Result<Run> {
        group.changes += 1;
        self.start_run(new, now, group)
    }

    pub(super) fn commit(&mut self, attempts: Vec<Attempt>, now: Timestamp, group: &mut Group) -> Result<()> {
        for attempt in attempts {
            self.settle(attempt, now, group)?;
        }
        Ok(())
    }

    fn settle(&mut self, attempt: Attempt, now: Timestamp, group: &mut Group) -> Result<()> {
        let Attempt { settled: Settled { job, data, effects, after }, record } = attempt;
        let Some(entry) = self.services.get_mut(&job.service) else { return Ok(()) };
        group.freed.push((job.service.clone(), job.id));
        group.touch(&job.service);
        if !entry.mailbox.settle(job.id, after) {
            return Ok(());
        }
        group.changes += 1;
        if job.state == JobState::Retrying {
            let later = Later { at: job.retry_at.unwrap_or(now), strict: job.strict };
            self.put_later(&job.service, job.id, later);
            self.attempted(&job, now, group)?;
            group.kept.push((job.id, record));
            self.cache.insert(&Arc::new(job));
            return Ok(());
        }
        if job.state == JobState::Ok {
            if let Some(data) = data {
                entry.service.data = data;
                entry.service.updated_at = now;
                group.services.insert(job.service.clone());
            }
            for effect in effects {
                self.effect(&job, effect, now, group)?;
            }
        }
        self.attempted(&job, now, group)?;
        group.left.push(job.id);
        group.ended.push(Ended { id: job.id, service: job.service.clone(), record });
        if job.state == JobState::Error {
            let reason = match &job.error {
                Some(error) => format!("{}: {}", error.kind, error.message),
                None => "it failed".into(),
            };
            group.dead.push(DeadLetter {
                id: job.id,
                at: now,
                reason,
                job: Some(Box::new(job)),
                entry: None,
            });
        }
        Ok(())
    }

    fn effect(&mut self, job: &Job, effect: Effect, now: Timestamp, group: &mut Group) -> Result<()> {
        let service = &job.service;
        match effect {
            Effect::Emit(event) => self.emit(job, event, now, group)?,
            Effect::SetFilter(filter) => self.set_filter(service, filter, group),
            Effect::RemoveFilter(filter) => {
                if let Some(seq) = self.filters.remove(service, &filter) {
                    group.filters.insert(seq, None);
                }
            }
            Effect::SetSchedule { action, recurring } => {
                let waits_for = Vec::new();
                let new = NewSchedule { service: service.clone(), action, recurring, waits_for };
                self.set_schedule(new, now, group);
            }
            Effect::RemoveSchedule { action } => self.reschedule(service, &action, group, |_, _| None),
        }
        Ok(())
    }

    fn emit(&mut self, job: &Job, mut event: NewEvent, now: Timestamp, group: &mut Group) -> Result<()> {
        event.depth = job.cause.depth();
        if event.depth <= MAX_DEPTH {
            self.route(&event, now, group)?;
            return Ok(());
        }
        let reason = format!(
            "action `{}` of `{}` emitted `{}` as the last of a chain of {} events that led to each other; {MAX_DEPTH} are \
             the most, lest a circle of events goes on for ever",
            job.action, job.service, event.name, event.depth
        );
        let entry = NewDeadLetter { door: "service".into(), reason: reason.clone(), raw: to_json(&event)? };
        self.bury(entry, reason, now, group);
        Ok(())
    }

    /// Takes a job that has not ended out of its mailbox. The record is the one to be kept.
    pub(super) fn cancel(&mut self, job: &mut Job, now: Timestamp, group: &mut Group) -> Result<()> {
        group.changes += 1;
        if let Some(entry) = self.services.get_mut(&job.service) {
            if let Some(at) = entry.mailbox.cancel(job.id) {
                self.retries.remove(&(at, job.id));
            }
            group.touch(&job.service);
        }
        self.cache.remove(job.id);
        job.state = JobState::Cancelled;
        job.retry_at = None;
        job.finished_at = Some(now);
        self.attempted(job, now, group)?;
        group.left.push(job.id);
        group.ended.push(Ended { id: job.id, service: job.service.clone(), record: to_json(job)? });
        Ok(())
    }

    /// The job that stands for a dead letter's, once more.
    pub(super) fn retry(&mut self, letter: DeadLetter, now: Timestamp, group: &mut Group) -> Result<Job> {
        let id = letter.id;
        let Some(job) = letter.job else {
            return Err(Error::Conflict(format!(
                "dead letter {id} is not a job but an entry that could not be understood: send it again, put right"
            )));
        };
        if !self.services.contains_key(&job.service) {
            return Err(Error::Conflict(format!(
                "dead letter {id} cannot be retried: there is no service `{}`",
                job.service
            )));
        }
        group.changes += 1;
        let new = ays_core::job::NewJob {
            service: job.service,
            action: job.action,
            args: job.args,
            cause: ays_core::job::Cause::Api { door: "api".into() },
            patch: job.patch,
        };
        self.push(new, now, group)?;
        group.undead.push(id);
        match group.arrived.last() {
            Some(job) => Ok(Job::clone(job)),
            None => Err(Error::NotFound(format!("there is no dead letter {id}"))),
        }
    }
}

/// The schedule there was, recurring as is now wanted; the other way round if there was none.
fn changed(
    old: Option<Schedule>,
    recurring: Recurring,
    now: Timestamp,
) -> std::result::Result<Schedule, Recurring> {
    match old {
        Some(mut schedule) => {
            schedule.change(recurring, now);
            Ok(schedule)
        }
        None => Err(recurring),
    }
}

/// What an attempt's job may be settled as.
pub(super) fn check_settled(job: &Job) -> Result<()> {
    match job.state {
        JobState::New | JobState::Running => Err(Error::Conflict(format!(
            "job {} cannot be committed as `{}`; an attempt ends as ok, retrying, error or cancelled",
            job.id,
            JsonText::of(&job.state).map(|s| s.to_string()).unwrap_or_default().trim_matches('"')
        ))),
        _ => Ok(()),
    }
}
