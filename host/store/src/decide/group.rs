//! A group: what several requests change, to be made durable in one write.
//!
//! No key is put or removed twice in one group: what can change more than once is kept by key here, and requests that
//! touch jobs and dead letters by id, rather than new ones, get a group of their own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ays_core::{Id, ServiceKey, event::EventRecord, filter::Subscription, job::Job, kv, run::Run};
use bytes::Bytes;

use crate::DeadLetter;

/// A finished job's record.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: Id,
    pub(crate) service: ServiceKey,
    /// Its JSON.
    pub(crate) record: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Jobs that came into mailboxes.
    pub(crate) arrived: Vec<Arc<Job>>,
    /// Records of jobs that stay in their mailboxes for another attempt.
    pub(crate) kept: Vec<(Id, ServiceKey, Bytes)>,
    /// Jobs that left their mailboxes.
    pub(crate) left: Vec<(Id, ServiceKey)>,
    /// Records for the history.
    pub(crate) ended: Vec<Ended>,
    /// New dead letters.
    pub(crate) dead: Vec<DeadLetter>,
    /// Dead letters that are removed.
    pub(crate) undead: Vec<Id>,
    /// Events that no filter took.
    pub(crate) unmatched: Vec<EventRecord>,
    /// Services whose record changed.
    pub(crate) services: HashSet<ServiceKey>,
    /// Key-value pairs that changed, by service.
    pub(crate) kv: BTreeMap<ServiceKey, kv::Writes>,
    /// Schedules that changed or are gone.
    pub(crate) schedules: BTreeSet<(ServiceKey, String)>,
    /// Event filters that changed, by number; none: removed.
    pub(crate) filters: BTreeMap<u64, Option<Subscription>>,
    /// Runs that changed.
    pub(crate) runs: BTreeMap<Id, Run>,
    /// Claims, by door.
    pub(crate) claims: HashMap<String, u64>,
    /// Taken jobs that are the taker's no more once this is durable.
    pub(crate) freed: Vec<(ServiceKey, Id)>,
    /// Services that may have something to take once this is durable, in order; some twice.
    pub(crate) touched: Vec<ServiceKey>,
    /// How many changes this is, for the store's status.
    pub(crate) changes: u64,
}

impl Group {
    /// Notes that the service may have something to take.
    pub(crate) fn touch(&mut self, service: &ServiceKey) {
        if self.touched.last() != Some(service) {
            self.touched.push(service.clone());
        }
    }

    /// The services whose record or schedules changed; some twice.
    pub(crate) fn changed_services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.iter().chain(self.schedules.iter().map(|(service, _)| service))
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.arrived.is_empty()
            && self.kept.is_empty()
            && self.left.is_empty()
            && self.ended.is_empty()
            && self.dead.is_empty()
            && self.undead.is_empty()
            && self.unmatched.is_empty()
            && self.services.is_empty()
            && self.kv.is_empty()
            && self.schedules.is_empty()
            && self.filters.is_empty()
            && self.runs.is_empty()
            && self.claims.is_empty()
    }

    /// About how many rows it writes.
    pub(crate) fn size(&self) -> usize {
        let pairs: usize = self.kv.values().map(BTreeMap::len).sum();
        self.arrived.len()
            + self.kept.len()
            + self.ended.len()
            + self.dead.len()
            + self.unmatched.len()
            + pairs
    }
}
