//! What a host has in memory: the services and mailboxes of the partitions it owns, the event filters, and what was looked
//! up for a decision. All of it is in Redis, too; a commit finds out whether it still is as it was read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ays_core::{
    Id, ServiceKey, Timestamp,
    job::{Job, JobState},
    partition,
    routing::FilterIndex,
    run::Run,
};

use super::{draft::Draft, record::Rebase};
use crate::{
    backlog::{Backlog, Later},
    decide::{Group, Known},
};

/// What a record's version is when there is no record.
pub(super) const ABSENT: &str = "";

/// A partition that this host owns.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    /// Host and fence, as Redis has them.
    pub(super) token: Arc<str>,
    /// It is to be given back as soon as nothing of it is being executed.
    pub(super) leaving: bool,
}

/// A record that was looked up, and its version.
#[derive(Clone, Debug)]
pub(super) struct Versioned<T> {
    pub(super) record: Option<T>,
    pub(super) version: Arc<str>,
}

pub(super) struct Memory {
    pub(super) namespace: Arc<str>,
    pub(super) backlog: Backlog,
    pub(super) owned: BTreeMap<u16, Owned>,
    /// Of the services in the backlog.
    pub(super) versions: HashMap<ServiceKey, Arc<str>>,
    pub(super) filters: Arc<FilterIndex>,
    pub(super) filters_version: Arc<str>,
    /// Services of which it is known that they exist; none ever ceases to.
    pub(super) exists: HashSet<ServiceKey>,
    /// Services of other hosts, looked up for the present round.
    pub(super) foreign: HashMap<ServiceKey, Versioned<Known>>,
    pub(super) runs: HashMap<Id, Versioned<Run>>,
    /// The last claim of each door, as far as it was looked up.
    pub(super) claims: HashMap<String, u64>,
    /// Jobs that were taken, of partitions that are this host's no more. What comes of them is void.
    pub(super) ghosts: HashMap<ServiceKey, HashSet<Id>>,
    /// Jobs whose guests are to be stopped, since they are no longer the taker's.
    pub(super) recalled: Vec<Id>,
    /// Why Redis cannot be used now, if so.
    pub(super) trouble: Option<String>,
    pub(super) closed: Option<String>,
}

impl Memory {
    pub(super) fn new(namespace: &str, cache_bytes: usize) -> Self {
        Self {
            namespace: namespace.into(),
            backlog: Backlog::new(Id::from_bytes([0xff; 16]), cache_bytes),
            owned: BTreeMap::new(),
            versions: HashMap::new(),
            filters: Arc::default(),
            filters_version: "unknown".into(),
            exists: HashSet::new(),
            foreign: HashMap::new(),
            runs: HashMap::new(),
            claims: HashMap::new(),
            ghosts: HashMap::new(),
            recalled: Vec::new(),
            trouble: None,
            closed: None,
        }
    }

    pub(super) fn owns(&self, service: &ServiceKey) -> bool {
        self.owned.contains_key(&partition::of(service))
    }

    /// A service is as it was just read.
    pub(super) fn put(&mut self, key: &ServiceKey, found: Versioned<Known>) {
        if found.record.is_some() {
            self.exists.insert(key.clone());
        }
        if !self.owns(key) {
            self.foreign.insert(key.clone(), found);
        } else if let Some(known) = found.record {
            self.versions.insert(key.clone(), found.version);
            self.backlog.replace(known);
        }
    }

    /// A job came, or was found, in a mailbox of a partition that is owned.
    pub(super) fn arrived(&mut self, job: Job) {
        let (key, id) = (job.service.clone(), job.id);
        let Some(entry) = self.backlog.services.get_mut(&key) else { return };
        if entry.mailbox.contains(id) {
            return;
        }
        if job.state == JobState::Retrying {
            let later = Later { at: job.retry_at.unwrap_or_default(), strict: job.strict };
            self.backlog.put_later(&key, id, later);
        } else {
            entry.mailbox.insert(id);
        }
        self.backlog.cache.insert(&Arc::new(job));
    }

    /// Partitions are this host's no more: what is in them is forgotten, what is being executed is to be stopped.
    pub(super) fn lose(&mut self, lost: &[u16]) {
        if lost.is_empty() {
            return;
        }
        self.owned.retain(|partition, _| !lost.contains(partition));
        for (key, entry) in self.backlog.forget(|key| lost.contains(&partition::of(key))) {
            self.versions.remove(&key);
            let taken: HashSet<Id> = entry.mailbox.taken().collect();
            if !taken.is_empty() {
                self.recalled.extend(&taken);
                self.ghosts.insert(key, taken);
            }
        }
    }

    pub(super) fn lose_all(&mut self) {
        let all: Vec<u16> = self.owned.keys().copied().collect();
        self.lose(&all);
    }

    /// Partitions of which jobs are still being executed though they are this host's no more.
    pub(super) fn haunted(&self) -> HashSet<u16> {
        self.ghosts.keys().map(partition::of).collect()
    }

    /// Partitions that are to be given back, and of which nothing is being executed.
    pub(super) fn idle_leaving(&self) -> Vec<u16> {
        let mut leaving: BTreeSet<u16> =
            self.owned.iter().filter(|(_, owned)| owned.leaving).map(|(partition, _)| *partition).collect();
        if !leaving.is_empty() {
            for (key, _) in self.backlog.services.iter().filter(|(_, entry)| entry.mailbox.is_taken()) {
                leaving.remove(&partition::of(key));
            }
        }
        leaving.into_iter().collect()
    }

    /// Partitions are not to be given back after all.
    pub(super) fn queue_all(&mut self, partitions: &[u16]) {
        if partitions.is_empty() {
            return;
        }
        let keys: BTreeSet<_> = self.backlog.services.keys().cloned().collect();
        for key in keys.iter().filter(|key| partitions.contains(&partition::of(key))) {
            self.backlog.queue(key);
        }
    }

    /// Jobs that were taken are back. Returns whether there is something to take now.
    pub(super) fn release(&mut self, service: &ServiceKey, jobs: &[Id]) -> bool {
        for job in jobs {
            self.lay(service, *job);
        }
        self.backlog.release(service, jobs)
    }

    /// A ghost is heard of no more.
    fn lay(&mut self, service: &ServiceKey, job: Id) {
        if let Some(ghosts) = self.ghosts.get_mut(service) {
            ghosts.remove(&job);
            if ghosts.is_empty() {
                self.ghosts.remove(service);
            }
        }
    }

    /// What was decided is in Redis: it takes effect here. `version` is that of all records that were written, `base` the
    /// first id that was given out. Returns whether there is something to take.
    pub(super) fn publish(&mut self, draft: Draft, group: &mut Group, version: &Arc<str>, base: Id) -> bool {
        for (service, job, after) in &draft.verdicts {
            if let Some(entry) = self.backlog.services.get_mut(service) {
                entry.mailbox.settle(*job, *after);
            }
        }
        for (service, job) in &group.freed {
            self.lay(service, *job);
            if let Some(entry) = self.backlog.services.get_mut(service) {
                entry.mailbox.free(*job);
            }
        }
        let changed: HashSet<ServiceKey> = group.changed_services().cloned().collect();
        for (key, known) in draft.services {
            if !changed.contains(&key) {
                continue;
            }
            self.put(&key, Versioned { record: Some(known), version: version.clone() });
        }
        for job in draft.waits {
            let later = Later { at: job.retry_at.unwrap_or_default(), strict: job.strict };
            self.backlog.put_later(&job.service, job.id, later);
            self.backlog.cache.insert(&Arc::new(job));
        }
        for (service, job) in &draft.cancelled {
            self.cancelled(service, *job);
        }
        if let Some(filters) = draft.filters {
            self.exists.extend(filters.all().into_iter().map(|filter| filter.service.clone()));
            self.filters = Arc::new(filters);
            self.filters_version = version.clone();
        }
        for (door, (_, number)) in draft.claims {
            self.claims.insert(door, number);
        }
        for (id, mut run) in std::mem::take(&mut group.runs) {
            let mut id = id;
            id.rebase(base);
            run.rebase(base);
            if run.state.is_final() {
                self.runs.remove(&id);
            } else {
                self.runs.insert(id, Versioned { record: Some(run), version: version.clone() });
            }
        }
        for job in std::mem::take(&mut group.arrived) {
            let mut job = Arc::unwrap_or_clone(job);
            if self.owns(&job.service) {
                job.rebase(base);
                self.arrived(job);
            }
        }
        self.foreign.clear();
        let mut any = false;
        for service in &group.touched {
            if let Some(entry) = self.backlog.services.get_mut(service) {
                entry.mailbox.forget_leaving();
            }
            any |= self.backlog.queue(service);
        }
        any
    }

    /// A job was cancelled.
    pub(super) fn cancelled(&mut self, service: &ServiceKey, job: Id) {
        let running = self.backlog.services.get(service).is_some_and(|entry| entry.mailbox.is_running(job));
        if running {
            self.recalled.push(job);
        }
        self.backlog.cancel(service, job);
    }

    /// When the next occurrence or retry is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.backlog.next_due()
    }
}
