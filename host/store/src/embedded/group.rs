//! A group: what several requests change, to be made durable in one write.
//!
//! No key is put or removed twice in one group: what can change more than once is kept by key here, and requests that
//! touch jobs and dead letters by id, rather than new ones, get a group of their own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ays_core::{Id, ServiceKey, event::EventRecord, filter::Subscription, job::Job, run::Run};

use crate::DeadLetter;

/// A finished job's record.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: Id,
    pub(super) service: ServiceKey,
    /// Its JSON.
    pub(super) record: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    /// Jobs that came into mailboxes.
    pub(super) arrived: Vec<Arc<Job>>,
    /// Records of jobs that stay in their mailboxes for another attempt.
    pub(super) kept: Vec<(Id, Vec<u8>)>,
    /// Jobs that left their mailboxes.
    pub(super) left: Vec<Id>,
    /// Records for the history.
    pub(super) ended: Vec<Ended>,
    /// New dead letters.
    pub(super) dead: Vec<DeadLetter>,
    /// Dead letters that are removed.
    pub(super) undead: Vec<Id>,
    /// Events that no filter took.
    pub(super) unmatched: Vec<EventRecord>,
    /// Services whose record changed.
    pub(super) services: HashSet<ServiceKey>,
    /// Schedules that changed or are gone.
    pub(super) schedules: BTreeSet<(ServiceKey, String)>,
    /// Event filters that changed, by number; none: removed.
    pub(super) filters: BTreeMap<u64, Option<Subscription>>,
    /// Runs that changed.
    pub(super) runs: BTreeMap<Id, Run>,
    /// Claims, by door.
    pub(super) claims: HashMap<String, u64>,
    /// Taken jobs that are the taker's no more once this is durable.
    pub(super) freed: Vec<(ServiceKey, Id)>,
    /// Services that may have something to take once this is durable, in order; some twice.
    pub(super) touched: Vec<ServiceKey>,
    /// How many changes this is, for the store's status.
    pub(super) changes: u64,
}

impl Group {
    /// Notes that the service may have something to take.
    pub(super) fn touch(&mut self, service: &ServiceKey) {
        if self.touched.last() != Some(service) {
            self.touched.push(service.clone());
        }
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_empty()
            && self.kept.is_empty()
            && self.left.is_empty()
            && self.ended.is_empty()
            && self.dead.is_empty()
            && self.undead.is_empty()
            && self.unmatched.is_empty()
            && self.services.is_empty()
            && self.schedules.is_empty()
            && self.filters.is_empty()
            && self.runs.is_empty()
            && self.claims.is_empty()
    }

    /// About how many rows it writes.
    pub(super) fn size(&self) -> usize {
        self.arrived.len() + self.kept.len() + self.ended.len() + self.dead.len() + self.unmatched.len()
    }
}
