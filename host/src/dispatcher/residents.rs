//! Instances that are kept warm while their service is idle.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ays_core::ServiceKey;

use super::attempt::Resident;
use crate::clock;

/// Idle instances by service; the one that has been idle longest is dropped first.
pub(super) struct Residents {
    most: usize,
    idle: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_service: HashMap<ServiceKey, (u64, Instant, Resident)>,
    /// Numbers grow with time: the first entry has been idle longest.
    by_number: BTreeMap<u64, ServiceKey>,
    last: u64,
}

impl Residents {
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Self { most, idle, kept: Mutex::default() }
    }

    /// The instance of this service, for its next jobs.
    pub(super) fn take(&self, service: &ServiceKey) -> Option<Resident> {
        let mut kept = self.lock();
        let (number, _, resident) = kept.by_service.remove(service)?;
        kept.by_number.remove(&number);
        Some(resident)
    }

    /// Keeps an instance whose service has become idle, and drops those that were idle for too long or are too many.
    pub(super) fn keep(&self, service: &ServiceKey, resident: Resident) {
        let now = clock::instant();
        let mut dropped = Vec::new();
        let mut kept = self.lock();
        kept.last += 1;
        let number = kept.last;
        if let Some((old, _, resident)) = kept.by_service.insert(service.clone(), (number, now, resident)) {
            kept.by_number.remove(&old);
            dropped.push(resident);
        }
        kept.by_number.insert(number, service.clone());
        dropped.extend(kept.expired(now, self.idle, self.most));
        drop(kept);
        // Instances are torn down here, outside of the lock.
        drop(dropped);
    }

    /// Drops instances that were idle for too long.
    pub(super) fn expire(&self) {
        let dropped = self.lock().expired(clock::instant(), self.idle, self.most);
        drop(dropped);
    }

    /// Drops all.
    pub(super) fn clear(&self) {
        let kept = std::mem::take(&mut *self.lock());
        drop(kept);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change below is whole before anything that could panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn expired(&mut self, now: Instant, idle: Duration, most: usize) -> Vec<Resident> {
        let mut dropped = Vec::new();
        while let Some((number, service)) = self.by_number.first_key_value() {
            let old =
                self.by_service.get(service).is_none_or(|(_, since, _)| now.duration_since(*since) > idle);
            if !old && self.by_service.len() <= most {
                break;
            }
            let (number, service) = (*number, service.clone());
            self.by_number.remove(&number);
            dropped.extend(self.by_service.remove(&service).map(|(_, _, resident)| resident));
        }
        dropped
    }
}
