//! Versions of actors that keep trapping are taken out of service.
//!
//! What counts are jobs, not attempts: one that traps each time it is tried is a poison job, and goes to the dead-letter
//! list while the others go on. A version is suspect while different jobs of it, one after the other, are stopped by a trap
//! or a limit, and not one succeeds. What is known here is this host's own, and ends with it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ays_core::{
    Id, ServiceKey, Timestamp,
    job::{Failure, FailureKind},
};
use serde::Serialize;

/// Why and since when a version is out of service.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// Since when.
    pub since: Timestamp,
    /// What its jobs ended with, for people.
    pub why: String,
    /// How many different jobs did.
    pub jobs: usize,
}

/// How far a version is from being taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It stays in service.
    Tolerable,
    /// Enough jobs were stopped, all of them of one service: it stays, unless there is no other service.
    OneService,
    /// Enough jobs of more than one service were stopped.
    Enough,
}

/// Which versions are suspect, and which are out of service.
#[derive(Debug)]
pub struct Quarantine {
    /// So many different jobs; 0: no version is ever taken out of service.
    after: u32,
    versions: Mutex<HashMap<Arc<str>, Version>>,
    /// How many there are in `versions`: nearly always none, and then nobody needs the lock.
    known: AtomicUsize,
    /// How often a version was taken out of service.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Version {
    jobs: HashSet<Id>,
    services: HashSet<ServiceKey>,
    held: Option<Held>,
}

impl Default for Quarantine {
    /// After ten jobs.
    fn default() -> Self {
        Self::after(10)
    }
}

/// Whether a failure of this kind is the guest's being stopped. What it says itself, what it was denied, and what the
/// host could not do are no signs of a broken version.
pub fn is_breach(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Trap
        | FailureKind::Memory
        | FailureKind::Cpu
        | FailureKind::Wall
        | FailureKind::Limit => true,
        FailureKind::App | FailureKind::Denied | FailureKind::Host => false,
    }
}

impl Quarantine {
    /// After so many different jobs without a success; 0: never.
    pub fn after(jobs: u32) -> Self {
        Self {
            after: jobs,
            versions: Mutex::default(),
            known: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
        }
    }

    /// Why this version is out of service, if it is.
    pub fn held(&self, digest: &str) -> Option<Held> {
        if self.known.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.lock().get(digest)?.held.clone()
    }

    /// How often a version was taken out of service since the host started.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// A job of this version succeeded.
    pub fn succeeded(&self, digest: &str) {
        if self.known.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut versions = self.lock();
        // One that had begun before it was taken out of service does not bring it back.
        if versions.get(digest).is_some_and(|version| version.held.is_none()) {
            versions.remove(digest);
            self.known.store(versions.len(), Ordering::Relaxed);
        }
    }

    /// A job of this version was stopped.
    pub fn stopped(&self, digest: &Arc<str>, job: Id, service: &ServiceKey) -> Suspicion {
        if self.after == 0 {
            return Suspicion::Tolerable;
        }
        let mut versions = self.lock();
        let version = versions.entry(digest.clone()).or_default();
        let enough = self.after as usize;
        if version.jobs.len() < enough {
            version.jobs.insert(job);
        }
        if version.services.len() < 2 {
            version.services.insert(service.clone());
        }
        let suspicion = match (version.jobs.len() >= enough, version.services.len()) {
            _ if version.held.is_some() => Suspicion::Tolerable,
            (false, _) => Suspicion::Tolerable,
            (true, 1) => Suspicion::OneService,
            (true, _) => Suspicion::Enough,
        };
        self.known.store(versions.len(), Ordering::Relaxed);
        suspicion
    }

    /// Takes a version out of service, unless it is already.
    pub fn hold(&self, digest: &str, failure: &Failure, now: Timestamp) -> Option<Held> {
        let mut versions = self.lock();
        // A job may have succeeded since.
        let enough = |version: &&mut Version| version.jobs.len() >= self.after as usize;
        let version = versions.get_mut(digest).filter(|version| version.held.is_none()).filter(enough)?;
        let jobs = version.jobs.len();
        let Failure { kind, message, .. } = failure;
        let why = format!("{jobs} jobs in a row were stopped, the last one by ({kind}): {message}");
        let held = Held { since: now, why, jobs };
        version.held = Some(held.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(held)
    }

    /// Puts a version back into service, as if nothing had been. Returns whether it was out of service.
    pub fn forget(&self, digest: &str) -> bool {
        let mut versions = self.lock();
        let was = versions.remove(digest).is_some_and(|version| version.held.is_some());
        self.known.store(versions.len(), Ordering::Relaxed);
        was
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Version>> {
        // Every change is whole before anything that could panic.
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Id {
        Id::from_bytes([n; 16])
    }

    #[test]
    fn a_version_is_taken_out_of_service_by_many_jobs_not_by_many_attempts() {
        let quarantine = Quarantine::after(3);
        let version: Arc<str> = "blake3:1".into();
        let [one, two]: [ServiceKey; 2] =
            ["a__one", "a__two"].map(|key| key.parse().expect("it is a service's key"));
        for _ in 0..10 {
            assert_eq!(quarantine.stopped(&version, id(1), &one), Suspicion::Tolerable);
        }
        assert_eq!(quarantine.stopped(&version, id(2), &one), Suspicion::Tolerable);
        assert_eq!(quarantine.stopped(&version, id(3), &one), Suspicion::OneService);
        assert_eq!(quarantine.stopped(&version, id(4), &two), Suspicion::Enough);
        quarantine.succeeded(&version);
        assert_eq!(quarantine.stopped(&version, id(5), &two), Suspicion::Tolerable, "a success ends it");

        let failure = Failure::new(FailureKind::Trap, "unreachable");
        let now = Timestamp::from_millis(0);
        assert!(quarantine.hold(&version, &failure, now).is_none(), "one job is not enough");
        quarantine.stopped(&version, id(6), &one);
        quarantine.stopped(&version, id(7), &one);
        assert!(quarantine.hold(&version, &failure, now).is_some());
        assert!(quarantine.hold(&version, &failure, now).is_none(), "once");
        quarantine.succeeded(&version);
        assert!(quarantine.held(&version).is_some(), "a job that was running does not bring it back");
        assert!(quarantine.forget(&version) && quarantine.held(&version).is_none());
        assert_eq!(quarantine.count(), 1);
    }
}
