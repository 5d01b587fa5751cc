//! Attempts of jobs that have ended, jobs that are cancelled, dead letters that are retried.

use ays_core::{
    JsonText, ServiceKey,
    changes::NewSchedule,
    job::{Cause, Job, JobState, NewJob},
    kv, run,
    service::ActionStatus,
    turn::Effect,
};
use bytes::Bytes;
use serde_json::Value;

use super::{Decider, Ended, World, route::MOST_FAN_OUT};
use crate::{DeadLetter, Error, Settled, record::to_json};

/// An attempt, with the JSON of its job's record, made where the request was.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) settled: Settled,
    pub(crate) record: Bytes,
}

impl Attempt {
    /// # Errors
    /// [`Error::Conflict`] if no attempt can end so.
    pub(crate) fn new(settled: Settled) -> Result<Self, Error> {
        check_settled(&settled.job)?;
        Ok(Self { record: to_json(&settled.job)?.into(), settled })
    }
}

impl<W: World> Decider<'_, W> {
    /// Commits an attempt.
    pub(crate) fn settle(&mut self, attempt: &Attempt) -> Result<(), W::Stop> {
        let Attempt { settled: Settled { job, data, effects, after }, record } = attempt;
        self.group.freed.push((job.service.clone(), job.id));
        self.group.touch(&job.service);
        if !self.world.judge(&job.service, job.id, *after) {
            return Ok(());
        }
        self.group.changes += 1;
        if job.state == JobState::Retrying {
            self.attempted(job)?;
            self.group.kept.push((job.id, job.service.clone(), record.clone()));
            self.world.wait(job);
            return Ok(());
        }
        if job.state == JobState::Ok {
            if let Some(data) = data
                && let Some(known) = self.world.service(&job.service)?
            {
                known.service.data = data.clone();
                known.service.updated_at = self.now;
                self.group.services.insert(job.service.clone());
            }
            let mut room = MOST_FAN_OUT;
            for effect in effects {
                self.effect(job, effect, &mut room)?;
            }
        }
        self.attempted(job)?;
        self.leave(job, record.clone());
        if job.state == JobState::Error {
            let reason = match &job.error {
                Some(error) => format!("{}: {}", error.kind, error.message),
                None => "it failed".into(),
            };
            self.group.dead.push(DeadLetter {
                id: job.id,
                at: self.now,
                reason,
                job: Some(Box::new(job.clone())),
                entry: None,
            });
        }
        Ok(())
    }

    /// A job leaves its mailbox for the history.
    fn leave(&mut self, job: &Job, record: Bytes) {
        self.group.left.push((job.id, job.service.clone()));
        self.group.ended.push(Ended { id: job.id, service: job.service.clone(), record });
    }

    fn effect(&mut self, job: &Job, effect: &Effect, room: &mut usize) -> Result<(), W::Stop> {
        let service = &job.service;
        match effect {
            Effect::Emit(event) => self.emit(job, event, room),
            Effect::SetFilter(filter) => {
                self.set_filter(service, filter.clone());
                Ok(())
            }
            Effect::RemoveFilter(filter) => {
                self.remove_filter(service, filter);
                Ok(())
            }
            Effect::SetSchedule { action, recurring } => {
                let (action, recurring) = (action.clone(), recurring.clone());
                let waits_for = Vec::new();
                self.set_schedule(NewSchedule { service: service.clone(), action, recurring, waits_for })
            }
            Effect::SetSchema(schema) => {
                if let Some(known) = self.world.service(service)? {
                    known.service.schema = Some(schema.clone());
                    self.group.services.insert(service.clone());
                }
                Ok(())
            }
            Effect::RemoveSchedule { action } => self.reschedule(service, action, |_, _| None),
            Effect::Keep(change) => self.keep(service, change),
        }
    }

    /// The service's key-value pairs change.
    fn keep(&mut self, service: &ServiceKey, change: &kv::Change) -> Result<(), W::Stop> {
        let Some(known) = self.world.service(service)? else { return Ok(()) };
        if known.service.kv != change.usage {
            known.service.kv = change.usage;
            self.group.services.insert(service.clone());
        }
        self.group.kv.entry(service.clone()).or_default().extend(change.writes.clone());
        Ok(())
    }

    /// An attempt has ended: keeps how life-cycle actions ended, and tells schedules and the run.
    fn attempted(&mut self, job: &Job) -> Result<(), W::Stop> {
        let ok = job.state == JobState::Ok;
        let kept =
            run::is_life_cycle(&job.action) || matches!(job.cause, Cause::Init { .. } | Cause::Run { .. });
        let mut moved = Vec::new();
        if let Some(known) = self.world.service(&job.service)? {
            if kept {
                let status = ActionStatus { state: job.state, job: job.id, at: self.now };
                known.service.actions.insert(job.action.clone(), status);
                if ok {
                    for undone in run::undoes(&job.action) {
                        known.service.actions.remove(*undone);
                    }
                }
                self.group.services.insert(job.service.clone());
            }
            if ok {
                for (action, schedule) in &mut known.schedules {
                    let before = schedule.next_due;
                    if schedule.action_done(&job.action, self.now) {
                        moved.push((action.clone(), before, schedule.next_due));
                    }
                }
            }
        }
        for (action, before, after) in moved {
            self.world.moved(&job.service, &action, before, after);
            self.group.schedules.insert((job.service.clone(), action));
        }
        if !job.state.is_final() {
            return Ok(());
        }
        if job.state != JobState::Ok {
            self.unapply(job)?;
        }
        self.move_on(job)
    }

    /// A blueprint's change did not happen after all: applying it again is to make it.
    fn unapply(&mut self, job: &Job) -> Result<(), W::Stop> {
        let Some(patch) = &job.patch else { return Ok(()) };
        let Some(known) = self.world.service(&job.service)? else { return Ok(()) };
        let (Value::Object(mut applied), Value::Object(patch)) =
            (known.service.applied.value(), patch.values.value())
        else {
            return Ok(());
        };
        applied.retain(|field, value| patch.get(field) != Some(value));
        known.service.applied = applied.into();
        self.group.services.insert(job.service.clone());
        Ok(())
    }

    /// Takes a job that has not ended out of its mailbox. Returns the record that is to be kept.
    pub(crate) fn cancel(&mut self, mut job: Job) -> Result<Job, W::Stop> {
        self.group.changes += 1;
        self.group.touch(&job.service);
        self.world.cancel(&job);
        job.state = JobState::Cancelled;
        job.retry_at = None;
        job.finished_at = Some(self.now);
        self.attempted(&job)?;
        let record = to_json(&job)?.into();
        self.leave(&job, record);
        Ok(job)
    }

    /// The job that stands for a dead letter's, once more.
    pub(crate) fn retry(&mut self, letter: &DeadLetter) -> Result<Job, W::Stop> {
        let id = letter.id;
        let conflict = |what: String| W::Stop::from(Error::Conflict(what));
        let Some(job) = letter.job.as_deref() else {
            return Err(conflict(format!(
                "dead letter {id} is not a job but an entry that could not be understood: send it again, put right"
            )));
        };
        if self.world.service(&job.service)?.is_none() {
            return Err(conflict(format!(
                "dead letter {id} cannot be retried: there is no service `{}`",
                job.service
            )));
        }
        self.group.changes += 1;
        self.push(NewJob {
            service: job.service.clone(),
            action: job.action.clone(),
            args: job.args.clone(),
            cause: Cause::Api { door: "api".into() },
            patch: job.patch.clone(),
        })?;
        self.group.undead.push(id);
        let new = self.group.arrived.last().map(|job| Job::clone(job));
        Ok(new.ok_or_else(|| no_letter(id))?)
    }

    /// Removes a dead letter.
    pub(crate) fn discard(&mut self, letter: &DeadLetter) {
        self.group.undead.push(letter.id);
        self.group.changes += 1;
    }
}

/// What is said of a dead letter that is not there.
pub(crate) fn no_letter(id: ays_core::Id) -> Error {
    Error::NotFound(format!("there is no dead letter {id}"))
}

/// What is said of a job that cannot be cancelled any more.
pub(crate) fn has_ended(job: &Job) -> Error {
    let state = JsonText::of(&job.state).map(|state| state.to_string()).unwrap_or_default();
    let state = state.trim_matches('"');
    Error::Conflict(format!("job {} cannot be cancelled: it has ended as `{state}`", job.id))
}

/// What an attempt's job may be settled as.
fn check_settled(job: &Job) -> Result<(), Error> {
    match job.state {
        JobState::New | JobState::Running => Err(Error::Conflict(format!(
            "job {} cannot be committed as `{}`; an attempt ends as ok, retrying, error or cancelled",
            job.id,
            JsonText::of(&job.state).map(|s| s.to_string()).unwrap_or_default().trim_matches('"')
        ))),
        _ => Ok(()),
    }
}
