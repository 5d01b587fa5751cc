//! Routing: which event filters take an event.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    Id, ServiceKey,
    event::NewEvent,
    filter::{EventFilter, FilterSet, Subscription},
    job::{Cause, NewJob},
};

/// All event filters of a namespace, found by the event's name.
#[derive(Clone, Debug, Default)]
pub struct FilterIndex {
    /// By the event's folded name.
    by_event: HashMap<Arc<str>, Subscribers>,
    /// Which filters each service has.
    of_service: HashMap<ServiceKey, FilterSet>,
    last_seq: u64,
}

/// The filters on one event.
#[derive(Clone, Debug, Default)]
struct Subscribers {
    /// By number, which is the order of registration.
    by_seq: BTreeMap<u64, Subscription>,
    /// The numbers of each service's filters by what identifies them, so that thousands of services can subscribe, and one
    /// service with thousands of filters, without a search.
    of_service: HashMap<ServiceKey, HashMap<Arc<str>, u64>>,
}

impl Subscribers {
    fn put(&mut self, identity: Arc<str>, subscription: Subscription) {
        self.of_service.entry(subscription.service.clone()).or_default().insert(identity, subscription.seq);
        self.by_seq.insert(subscription.seq, subscription);
    }

    fn take(&mut self, service: &ServiceKey, identity: &str) -> Option<u64> {
        let seqs = self.of_service.get_mut(service)?;
        let seq = seqs.remove(identity)?;
        if seqs.is_empty() {
            self.of_service.remove(service);
        }
        self.by_seq.remove(&seq);
        Some(seq)
    }

    /// The number of the service's filter of this identity.
    fn find(&self, service: &ServiceKey, identity: &str) -> Option<u64> {
        self.of_service.get(service)?.get(identity).copied()
    }
}

/// What setting a filter changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// It is new and has this number.
    New(u64),
    /// It was there under this number, with another secret.
    Changed(u64),
    /// It was there, all the same.
    Same,
}

impl FilterIndex {
    /// Puts a stored subscription back, with the number it had.
    pub fn restore(&mut self, subscription: Subscription) {
        self.last_seq = self.last_seq.max(subscription.seq);
        self.put(subscription.filter.identity(), subscription);
    }

    fn put(&mut self, identity: Arc<str>, subscription: Subscription) {
        self.of_service.entry(subscription.service.clone()).or_default().put(identity.clone());
        let subscribers = self.by_event.entry(subscription.filter.event.folded().into()).or_default();
        subscribers.put(identity, subscription);
    }

    /// Subscribes a service; an equal filter of the same service is kept, at most its secret changes.
    pub fn set(&mut self, service: &ServiceKey, filter: EventFilter) -> Set {
        let identity = filter.identity();
        let known = self.by_event.get_mut(filter.event.folded()).and_then(|subscribers| {
            let seq = subscribers.find(service, &identity)?;
            subscribers.by_seq.get_mut(&seq)
        });
        if let Some(known) = known {
            if known.filter.secret == filter.secret {
                return Set::Same;
            }
            known.filter.secret = filter.secret;
            return Set::Changed(known.seq);
        }
        self.last_seq += 1;
        self.put(identity, Subscription { service: service.clone(), seq: self.last_seq, filter });
        Set::New(self.last_seq)
    }

    /// Removes a service's filter that is equal to this one, and returns its number.
    pub fn remove(&mut self, service: &ServiceKey, filter: &EventFilter) -> Option<u64> {
        let identity = filter.identity();
        let subscribers = self.by_event.get_mut(filter.event.folded())?;
        let seq = subscribers.take(service, &identity)?;
        if subscribers.by_seq.is_empty() {
            self.by_event.remove(filter.event.folded());
        }
        if let Some(set) = self.of_service.get_mut(service) {
            set.take(&identity);
            if set.is_empty() {
                self.of_service.remove(service);
            }
        }
        Some(seq)
    }

    /// Which filters a service has.
    pub fn of(&self, service: &ServiceKey) -> FilterSet {
        self.of_service.get(service).cloned().unwrap_or_default()
    }

    /// The filters that take the event, in the order in which they were registered.
    pub fn matches<'a>(&'a self, event: &'a NewEvent) -> impl Iterator<Item = &'a Subscription> {
        let subscribers = self.by_event.get(event.name.folded());
        subscribers.into_iter().flat_map(|s| s.by_seq.values()).filter(|s| s.filter.takes(event))
    }

    /// The jobs that an event leads to: one for each filter that takes it, in the order of registration.
    pub fn route(&self, event: &NewEvent, id: Id) -> Vec<NewJob> {
        self.matches(event)
            .map(|subscription| NewJob {
                service: subscription.service.clone(),
                action: subscription.filter.action.clone(),
                args: event.args.clone(),
                cause: Cause::Event {
                    id,
                    event: event.name.as_str().into(),
                    depth: event.depth,
                    trail: event.trail.clone(),
                },
                patch: None,
            })
            .collect()
    }

    /// All filters, by the event's name and then in order of registration.
    pub fn all(&self) -> Vec<&Subscription> {
        let mut names: Vec<_> = self.by_event.keys().collect();
        names.sort();
        names.into_iter().filter_map(|name| self.by_event.get(name)).flat_map(|s| s.by_seq.values()).collect()
    }
}
