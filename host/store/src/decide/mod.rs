//! What each step of a store changes: decided on a [`World`], the same for every store, and told as a [`Group`].
//!
//! A store says what there is by implementing [`World`], has its requests decided by a [`Decider`], and writes the
//! [`Group`] that comes out.

mod apply;
mod attempt;
mod group;
mod route;

use std::{collections::BTreeMap, sync::Arc};

pub(crate) use attempt::{Attempt, has_ended, no_letter};
use ays_core::{
    Id, ServiceKey, Timestamp,
    event::NewEvent,
    job::{Cause, Failure, FailureKind, Job, JobState, NewJob},
    routing::FilterIndex,
    run::{NewRun, Run},
    schedule::Schedule,
    service::{Links, Service},
};
pub(crate) use group::{Ended, Group};

use crate::{DeadLetter, Error, record::to_json};

/// A service, and what belongs to it but its jobs.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) service: Service,
    /// The same as the service's, to be shared with takers.
    pub(crate) links: Arc<Links>,
    /// By action.
    pub(crate) schedules: BTreeMap<String, Schedule>,
}

impl Known {
    pub(crate) fn new(service: Service) -> Self {
        let links = Arc::new(service.links.clone());
        Self { service, links, schedules: BTreeMap::new() }
    }
}

/// What decisions are taken on, and how they change it.
///
/// What is got by `&mut` may be changed; what was changed is in the [`Group`].
pub(crate) trait World {
    /// Why a decision is not possible here and now: an error, or that something has to be looked up first.
    type Stop: From<Error>;

    /// The namespace that jobs are created in.
    fn namespace(&self) -> &str;
    /// An id greater than all before.
    fn next_id(&mut self, now: Timestamp) -> Id;
    /// The number of the door's last claim; 0 if there was none.
    fn claim(&mut self, door: &str) -> Result<&mut u64, Self::Stop>;
    /// A service, if there is such a one.
    fn service(&mut self, key: &ServiceKey) -> Result<Option<&mut Known>, Self::Stop>;
    /// A service comes into being.
    fn create(&mut self, known: Known);
    /// The event filters, to be read.
    fn filters(&self) -> &FilterIndex;
    /// The event filters, to be changed.
    fn filters_mut(&mut self) -> &mut FilterIndex;
    /// A run that is under way.
    fn run(&mut self, id: Id) -> Result<Option<&mut Run>, Self::Stop>;
    /// A run begins.
    fn put_run(&mut self, run: Run);
    /// A run has ended.
    fn end_run(&mut self, id: Id);
    /// A new job comes to the end of its service's mailbox. Says whether there is such a service.
    fn arrive(&mut self, job: &Arc<Job>) -> Result<bool, Self::Stop>;
    /// An attempt of a job has ended; it was made on the data that the one of `after` left. Says whether it counts.
    fn judge(&mut self, service: &ServiceKey, job: Id, after: Option<Id>) -> bool;
    /// A job waits for its next attempt.
    fn wait(&mut self, job: &Job);
    /// A job is cancelled.
    fn cancel(&mut self, job: &Job);
    /// A schedule's next occurrence is due at another time than before.
    fn moved(
        &mut self,
        service: &ServiceKey,
        action: &str,
        before: Option<Timestamp>,
        after: Option<Timestamp>,
    );
    /// The schedules that have an occurrence due by `now`, in order.
    fn due(&self, now: Timestamp) -> Vec<(Timestamp, ServiceKey, String)>;
}

/// Decides requests, one after the other, as of `now`.
pub(crate) struct Decider<'a, W> {
    pub(crate) world: &'a mut W,
    pub(crate) group: &'a mut Group,
    pub(crate) now: Timestamp,
}

impl<W: World> Decider<'_, W> {
    /// Puts a job at the end of its service's mailbox; if there is no such service, it becomes a dead letter.
    fn push(&mut self, new: NewJob) -> Result<Id, W::Stop> {
        let id = self.world.next_id(self.now);
        let job = Arc::new(Job::accepted(new, id, self.world.namespace(), self.now));
        if self.world.arrive(&job)? {
            self.group.touch(&job.service);
            self.group.arrived.push(job);
            return Ok(id);
        }
        let mut job = Arc::unwrap_or_clone(job);
        let reason = format!("there is no service `{}`", job.service);
        job.state = JobState::Error;
        job.finished_at = Some(self.now);
        job.error = Some(Failure::new(FailureKind::Host, &reason).for_good());
        let record = to_json(&job)?.into();
        self.move_on(&job)?;
        self.group.ended.push(Ended { id, service: job.service.clone(), record });
        self.group.dead.push(DeadLetter { id, at: self.now, reason, job: Some(Box::new(job)), entry: None });
        Ok(id)
    }

    /// A job has ended for good: its schedule or run moves on.
    fn move_on(&mut self, job: &Job) -> Result<(), W::Stop> {
        match &job.cause {
            Cause::Schedule { .. } => {
                let known = self.world.service(&job.service)?;
                let Some(schedule) = known.and_then(|known| known.schedules.get_mut(&job.action)) else {
                    return Ok(());
                };
                let owed = schedule.settled();
                self.group.schedules.insert((job.service.clone(), job.action.clone()));
                if let Some(owed) = owed {
                    self.push(owed)?;
                }
            }
            Cause::Run { id, step } => {
                let Some(run) = self.world.run(*id)? else { return Ok(()) };
                let next = run.settle(job.id, *step, job.state, self.now);
                self.run_changed(*id)?;
                for job in next {
                    self.push(job)?;
                }
            }
            Cause::Event { .. } | Cause::Init { .. } | Cause::Api { .. } => {}
        }
        Ok(())
    }

    fn run_changed(&mut self, id: Id) -> Result<(), W::Stop> {
        let Some(run) = self.world.run(id)? else { return Ok(()) };
        let over = run.state.is_final();
        self.group.runs.insert(id, run.clone());
        if over {
            self.world.end_run(id);
        }
        Ok(())
    }

    /// Starts a run.
    pub(crate) fn start_run(&mut self, new: NewRun) -> Result<Run, W::Stop> {
        self.group.changes += 1;
        self.begin_run(new)
    }

    fn begin_run(&mut self, new: NewRun) -> Result<Run, W::Stop> {
        let id = self.world.next_id(self.now);
        let (run, jobs) = Run::start(new, id, self.now);
        self.world.put_run(run);
        self.run_changed(id)?;
        for job in jobs {
            self.push(job)?;
        }
        // Jobs for services that do not exist have settled by now.
        let run = self.group.runs.get(&id).cloned();
        Ok(run.ok_or_else(|| Error::NotFound(format!("there is no run {id}")))?)
    }

    /// Puts the jobs of due occurrences into mailboxes. Returns how many.
    pub(crate) fn fire(&mut self) -> Result<usize, W::Stop> {
        let mut fired = 0;
        for (at, key, action) in self.world.due(self.now) {
            let known = self.world.service(&key)?;
            let Some(schedule) = known.and_then(|known| known.schedules.get_mut(&action)) else {
                self.world.moved(&key, &action, Some(at), None);
                continue;
            };
            let jobs = schedule.due(self.now);
            let next = schedule.next_due;
            self.world.moved(&key, &action, Some(at), next);
            self.group.schedules.insert((key, action));
            fired += jobs.len();
            for job in jobs {
                self.push(job)?;
            }
        }
        self.group.changes += fired as u64;
        Ok(fired)
    }

    /// The jobs that an event leads to.
    fn matching(&self, event: &NewEvent, id: Id) -> Vec<NewJob> {
        self.world.filters().route(event, id)
    }
}
