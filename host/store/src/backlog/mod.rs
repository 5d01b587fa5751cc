//! Services and the jobs that wait for them, in memory: who can be taken next, and when something is due.

mod cache;
mod mailbox;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ays_core::{Id, JsonText, ServiceKey, Timestamp, job::Job, routing::FilterIndex, service::Links};

use crate::{Work, decide::Known};
use cache::Cache;
pub(crate) use mailbox::{Later, Mailbox, Verdict};

/// A service and its mailbox.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) known: Known,
    pub(crate) mailbox: Mailbox,
}

/// What a taker gets of one service, before the records are read.
pub(crate) struct Taken {
    pub(crate) work: Work,
    /// Each job, with its record if it was in memory.
    pub(crate) ids: Vec<(Id, Option<Arc<Job>>)>,
}

#[derive(Debug)]
pub(crate) struct Backlog {
    pub(crate) services: HashMap<ServiceKey, Entry>,
    /// When each schedule's next occurrence is due.
    pub(crate) due: BTreeSet<(Timestamp, ServiceKey, String)>,
    /// When each waiting retry is due.
    pub(crate) retries: BTreeMap<(Timestamp, Id), ServiceKey>,
    /// Services that have something to take, those that have waited longest first. Some may have lost it again.
    ready: VecDeque<ServiceKey>,
    /// The greatest id that is durable: younger jobs cannot be taken.
    pub(crate) durable: Id,
    pub(crate) cache: Cache,
}

impl Backlog {
    pub(crate) fn new(durable: Id, cache_bytes: usize) -> Self {
        Self {
            services: HashMap::new(),
            due: BTreeSet::new(),
            retries: BTreeMap::new(),
            ready: VecDeque::new(),
            durable,
            cache: Cache::new(cache_bytes),
        }
    }

    /// What is known of a service has changed.
    pub(crate) fn replace(&mut self, known: Known) {
        let key = known.service.key.clone();
        let Some(entry) = self.services.get_mut(&key) else { return self.insert(known) };
        let before = std::mem::replace(&mut entry.known, known);
        let after = &entry.known.schedules;
        for (action, schedule) in &before.schedules {
            let next = after.get(action).and_then(|schedule| schedule.next_due);
            moved(&mut self.due, &key, action, schedule.next_due, next);
        }
        for (action, schedule) in after.iter().filter(|(action, _)| !before.schedules.contains_key(*action)) {
            moved(&mut self.due, &key, action, None, schedule.next_due);
        }
    }

    /// Forgets the services that `gone` names, and returns them.
    pub(crate) fn forget(&mut self, gone: impl Fn(&ServiceKey) -> bool) -> Vec<(ServiceKey, Entry)> {
        self.due.retain(|(_, key, _)| !gone(key));
        self.retries.retain(|_, key| !gone(key));
        self.ready.retain(|key| !gone(key));
        let forgotten: Vec<_> = self.services.extract_if(|key, _| gone(key)).collect();
        for id in forgotten.iter().flat_map(|(_, entry)| entry.mailbox.ids()) {
            self.cache.remove(id);
        }
        forgotten
    }

    /// A service that was not there before, without jobs.
    pub(crate) fn insert(&mut self, known: Known) {
        let key = known.service.key.clone();
        for (action, schedule) in &known.schedules {
            moved(&mut self.due, &key, action, None, schedule.next_due);
        }
        self.services.insert(key, Entry { known, mailbox: Mailbox::default() });
    }

    /// Wakes jobs that are to be tried again by `now`. Returns whether there were any.
    pub(crate) fn wake(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        while let Some(first) = self.retries.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, id), key) = first.remove_entry();
            if let Some(entry) = self.services.get_mut(&key) {
                entry.mailbox.wake(id);
            }
            any |= self.queue(&key);
        }
        any
    }

    /// Lets a job wait for its next attempt.
    pub(crate) fn put_later(&mut self, service: &ServiceKey, id: Id, later: Later) {
        if let Some(entry) = self.services.get_mut(service) {
            entry.mailbox.put_later(id, later);
            self.retries.insert((later.at, id), service.clone());
        }
    }

    /// Takes a cancelled job out of its mailbox.
    pub(crate) fn cancel(&mut self, service: &ServiceKey, id: Id) {
        if let Some(entry) = self.services.get_mut(service)
            && let Some(at) = entry.mailbox.cancel(id)
        {
            self.retries.remove(&(at, id));
        }
        self.cache.remove(id);
    }

    /// Gives taken jobs back. Returns whether there is something to take now.
    pub(crate) fn release(&mut self, service: &ServiceKey, jobs: &[Id]) -> bool {
        if let Some(entry) = self.services.get_mut(service) {
            jobs.iter().for_each(|job| entry.mailbox.release(*job));
        }
        self.queue(service)
    }

    /// Puts a service that has something to take in the queue. Returns whether it has.
    pub(crate) fn queue(&mut self, key: &ServiceKey) -> bool {
        let Some(entry) = self.services.get_mut(key) else { return false };
        if !entry.mailbox.can_be_taken(self.durable) {
            return false;
        }
        if !entry.mailbox.queued {
            entry.mailbox.queued = true;
            self.ready.push_back(key.clone());
        }
        true
    }

    /// Takes up to `services` services with up to `jobs` jobs each, of those that `may` be taken; the others leave the
    /// queue.
    pub(crate) fn take(
        &mut self,
        services: usize,
        jobs: usize,
        now: Timestamp,
        filters: &FilterIndex,
        may: impl Fn(&ServiceKey) -> bool,
    ) -> Vec<Taken> {
        self.wake(now);
        let mut taken = Vec::new();
        while taken.len() < services
            && let Some(key) = self.ready.pop_front()
        {
            let Some(entry) = self.services.get_mut(&key) else { continue };
            entry.mailbox.queued = false;
            if !may(&key) {
                continue;
            }
            let ids = entry.mailbox.take(jobs, self.durable);
            if ids.is_empty() {
                continue;
            }
            let ids = ids.into_iter().map(|id| (id, self.cache.remove(id))).collect();
            let (service, links) = (&entry.known.service, entry.known.links.clone());
            let (data, schema, kv) = (service.data.clone(), service.schema.clone(), service.kv);
            let linked = self.linked(&links);
            let filters = filters.of(&key);
            let work = Work { service: key, data, schema, kv, filters, links, linked, jobs: Vec::new() };
            taken.push(Taken { work, ids });
        }
        taken
    }

    fn linked(&self, links: &Links) -> Vec<(ServiceKey, JsonText)> {
        let keys: BTreeSet<_> = links.parent.iter().chain(links.producers.values().flatten()).collect();
        let known =
            |key: &ServiceKey| Some((key.clone(), self.services.get(key)?.known.service.data.clone()));
        keys.into_iter().filter_map(known).collect()
    }

    /// A schedule's next occurrence is due at another time than before.
    pub(crate) fn moved(
        &mut self,
        service: &ServiceKey,
        action: &str,
        before: Option<Timestamp>,
        after: Option<Timestamp>,
    ) {
        moved(&mut self.due, service, action, before, after);
    }

    /// The schedules that have an occurrence due by `now`, in order.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<(Timestamp, ServiceKey, String)> {
        self.due.iter().take_while(|(at, ..)| *at <= now).cloned().collect()
    }

    /// When the next occurrence or retry is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let occurrence = self.due.first().map(|(at, ..)| *at);
        let retry = self.retries.first_key_value().map(|((at, _), _)| *at);
        occurrence.into_iter().chain(retry).min()
    }
}

/// Keeps `due` in step with a schedule.
fn moved(
    due: &mut BTreeSet<(Timestamp, ServiceKey, String)>,
    service: &ServiceKey,
    action: &str,
    before: Option<Timestamp>,
    after: Option<Timestamp>,
) {
    if before != after {
        if let Some(before) = before {
            due.remove(&(before, service.clone(), action.into()));
        }
        if let Some(after) = after {
            due.insert((after, service.clone(), action.into()));
        }
    }
}
