//! What the jobs of one task use.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use super::weights::{HEAVY, Weights};
use crate::clock;

/// A task's present job: what it has used so far. The task itself says where one job ends and the next begins.
#[derive(Clone)]
pub(crate) struct Stint(Arc<Job>);

struct Job {
    actor: Box<str>,
    weights: Arc<Weights>,
    /// CPU time that it used in polls that have ended, in nanoseconds.
    used_ns: AtomicU64,
    /// The thread's CPU time when the present poll began, or this job in it.
    since_ns: AtomicU64,
}

fn cpu_ns() -> u64 {
    u64::try_from(clock::thread_cpu().as_nanos()).unwrap_or(u64::MAX)
}

impl Stint {
    pub(super) fn new(actor: &str, weights: Arc<Weights>) -> Self {
        let (used_ns, since_ns) = Default::default();
        Self(Arc::new(Job { actor: actor.into(), weights, used_ns, since_ns }))
    }

    /// To be called by the task, in a poll of it: what it uses from now on is another job's.
    pub(crate) fn job_ended(&self) {
        let now = cpu_ns();
        let used = self.0.used_ns.swap(0, Relaxed) + now.saturating_sub(self.0.since_ns.swap(now, Relaxed));
        self.0.weights.count(&self.0.actor, Duration::from_nanos(used));
    }

    /// Whether the present job is heavy already. Then its actor is, from now on: the job may not end for long.
    pub(super) fn is_heavy(&self) -> bool {
        let used = Duration::from_nanos(self.0.used_ns.load(Relaxed));
        let heavy = used >= HEAVY;
        if heavy {
            self.0.weights.count(&self.0.actor, used);
        }
        heavy
    }
}

/// A task whose polls are counted.
pub(super) struct Measured<F> {
    task: Pin<Box<F>>,
    stint: Stint,
}

impl<F> Measured<F> {
    pub(super) fn new(task: F, stint: Stint) -> Self {
        Self { task: Box::pin(task), stint }
    }

    pub(super) fn stint(&self) -> &Stint {
        &self.stint
    }
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let job = self.stint.0.clone();
        job.since_ns.store(cpu_ns(), Relaxed);
        let polled = self.task.as_mut().poll(cx);
        job.used_ns.fetch_add(cpu_ns().saturating_sub(job.since_ns.load(Relaxed)), Relaxed);
        polled
    }
}
