//! Jobs of a batch, counted before they are committed, and added to the numbers that all see when they are durable.

use std::{sync::Arc, time::Duration};

use ays_core::{
    job::{Failure, Job, JobState},
    turn::Effect,
};
use ays_store::Settled;
use prometheus::local::LocalHistogram;

use super::{Action, Door, Metrics, state};

/// What is measured of an attempt, beside what its record tells.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// How long it took. The times in the record are of whole milliseconds.
    pub took: Duration,
    /// Whether the actor has such an action: what others call one is no name to count by.
    pub declared: bool,
}

/// The attempts of one batch, which are of one service.
pub struct Tally {
    metrics: Metrics,
    jobs: usize,
    emitted: u64,
    /// Few: a batch has as many actions as its service uses.
    actions: Vec<OfAction>,
    failed: Vec<Failed>,
}

/// The attempts of one action.
struct OfAction {
    name: String,
    declared: bool,
    action: Arc<Action>,
    ok: u64,
    took: LocalHistogram,
    waited: LocalHistogram,
}

/// An attempt that did not end well.
struct Failed {
    action: Arc<Action>,
    state: JobState,
    failure: Failure,
}

impl Tally {
    /// Counts the attempts that were made. Of one that was put off there is no measure.
    pub fn new(metrics: &Metrics, batch: &[Settled], measures: &[Option<Measure>]) -> Self {
        let mut tally = Self {
            metrics: metrics.clone(),
            jobs: batch.len(),
            emitted: 0,
            actions: Vec::new(),
            failed: Vec::new(),
        };
        for (settled, measure) in batch.iter().zip(measures) {
            if let Some(measure) = measure {
                tally.add(settled, measure);
            }
        }
        tally
    }

    fn add(&mut self, settled: &Settled, measure: &Measure) {
        let job = &settled.job;
        let same = |of: &&mut OfAction| of.declared == measure.declared && of.name == job.action;
        let of = match self.actions.iter_mut().position(|of| same(&of)) {
            Some(place) => self.actions.get_mut(place),
            None => {
                self.actions.push(OfAction::new(&self.metrics, job, measure.declared));
                self.actions.last_mut()
            }
        };
        let Some(of) = of else { return };
        of.took.observe(measure.took.as_secs_f64());
        if let (1, Some(started)) = (job.attempt, job.started_at) {
            of.waited.observe(started.since(job.created_at).as_secs_f64());
        }
        match (job.state, &job.error) {
            (JobState::Ok, _) => {
                of.ok += 1;
                let emitted = settled.effects.iter().filter(|effect| matches!(effect, Effect::Emit(_)));
                self.emitted += emitted.count() as u64;
            }
            (state, Some(failure)) => {
                // Not its texts, which may be long.
                let failure = Failure {
                    limit: failure.limit.clone(),
                    capability: failure.capability.clone(),
                    ..Failure::new(failure.kind, "")
                };
                self.failed.push(Failed { action: of.action.clone(), state, failure });
            }
            (_, None) => {}
        }
    }

    /// They are durable, which took so long.
    pub fn committed(self, took: Duration) {
        let shared = &self.metrics.0;
        self.metrics.committed(self.jobs, took);
        self.metrics.accepted(Door::Service, self.emitted);
        for of in &self.actions {
            of.action.ok.inc_by(of.ok);
            of.took.flush();
            of.waited.flush();
        }
        for Failed { action, state: ended, failure } in &self.failed {
            let (actor, label, kind) = (&*action.actor, &*action.label, failure.kind.to_string());
            if *ended == JobState::Retrying {
                shared.retries.of([actor, label, &kind]).inc();
            } else {
                shared.ended.of([actor, label, state(*ended), &kind]).inc();
            }
            if let Some(limit) = &failure.limit {
                shared.breaches.of([actor, limit]).inc();
            }
            if let Some(capability) = &failure.capability {
                shared.denials.of([actor, capability]).inc();
            }
        }
    }

    /// They did not become durable: it is as if they had not been.
    pub fn void(self) {
        for of in &self.actions {
            // They would be added when they are dropped.
            of.took.clear();
            of.waited.clear();
        }
    }
}

impl OfAction {
    fn new(metrics: &Metrics, job: &Job, declared: bool) -> Self {
        let action = metrics.action(job.service.actor(), &job.action, declared);
        let (took, waited) = (action.took.local(), action.waited.local());
        Self { name: job.action.clone(), declared, action, ok: 0, took, waited }
    }
}
