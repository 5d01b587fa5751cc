//! Records of jobs in mailboxes, as far as they fit: the others are read from the disk when they are taken.

use std::collections::HashMap;

use ays_core::{Id, job::Job};
use std::sync::Arc;

/// What a record costs beside its args.
const RECORD_BYTES: usize = 500;

/// Holds records up to a number of bytes. One that does not fit is left out, so what is oldest, and taken first, stays.
#[derive(Debug)]
pub(crate) struct Cache {
    jobs: HashMap<Id, Arc<Job>>,
    bytes: usize,
    most_bytes: usize,
}

impl Cache {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { jobs: HashMap::new(), bytes: 0, most_bytes }
    }

    pub(crate) fn insert(&mut self, job: &Arc<Job>) {
        let bytes = cost(job);
        if self.bytes + bytes <= self.most_bytes {
            self.bytes += bytes;
            if let Some(old) = self.jobs.insert(job.id, job.clone()) {
                self.bytes = self.bytes.saturating_sub(cost(&old));
            }
        }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<Arc<Job>> {
        let job = self.jobs.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(cost(&job));
        Some(job)
    }
}

fn cost(job: &Job) -> usize {
    let logs: usize = job.logs.iter().map(|line| line.message.len() + 40).sum();
    RECORD_BYTES
        + job.args.as_str().len()
        + logs
        + job.patch.as_ref().map_or(0, |patch| patch.values.as_str().len())
}
