//! Jobs that were cancelled while they may be running: their guests are stopped.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use ays_core::Id;
use tokio::sync::Notify;

/// How many cancellations are remembered. One that no guest ever heard of, since its job had just ended, stays until
/// there are so many; ids are never used again, so it does no harm.
const REMEMBERED: usize = 10_000;

/// Tells the dispatcher of cancelled jobs. The store has cancelled them already: their attempts are void in any case.
#[derive(Clone, Debug, Default)]
pub struct Cancels(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ids: Mutex<HashSet<Id>>,
    told: Notify,
}

impl Cancels {
    /// Has the job's guest stopped, if it runs.
    pub fn tell(&self, job: Id) {
        let mut ids = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= REMEMBERED {
            ids.clear();
        }
        ids.insert(job);
        drop(ids);
        self.0.told.notify_waiters();
    }

    /// Waits until this job is cancelled.
    pub(super) async fn wait(&self, job: Id) {
        loop {
            let told = self.0.told.notified();
            if self.0.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&job) {
                return;
            }
            told.await;
        }
    }
}
