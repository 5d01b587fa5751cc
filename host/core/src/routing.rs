//! Routing: which event filters take an event.

use std::collections::HashMap;

use crate::{
    Id, JsonText, ServiceKey,
    event::NewEvent,
    filter::{EventFilter, Subscription},
    job::{Cause, NewJob},
};

/// All event filters of a namespace, found by the event's name.
#[derive(Debug, Default)]
pub struct FilterIndex {
    /// By the event's folded name, in order of registration.
    by_event: HashMap<std::sync::Arc<str>, Vec<Subscription>>,
    last_seq: u64,
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
        let list = self.by_event.entry(subscription.filter.event.folded().into()).or_default();
        let at = list.partition_point(|other| other.seq < subscription.seq);
        list.insert(at, subscription);
    }

    /// Subscribes a service; an equal filter of the same service is kept, at most its secret changes.
    pub fn set(&mut self, service: &ServiceKey, filter: EventFilter) -> Set {
        let list = self.by_event.entry(filter.event.folded().into()).or_default();
        if let Some(known) = list.iter_mut().find(|s| s.service == *service && s.filter.same(&filter)) {
            if known.filter.secret == filter.secret {
                return Set::Same;
            }
            known.filter.secret = filter.secret;
            return Set::Changed(known.seq);
        }
        self.last_seq += 1;
        list.push(Subscription { service: service.clone(), seq: self.last_seq, filter });
        Set::New(self.last_seq)
    }

    /// Removes a service's filter that is equal to this one, and returns its number.
    pub fn remove(&mut self, service: &ServiceKey, filter: &EventFilter) -> Option<u64> {
        let list = self.by_event.get_mut(filter.event.folded())?;
        let at = list.iter().position(|s| s.service == *service && s.filter.same(filter))?;
        let seq = list.remove(at).seq;
        if list.is_empty() {
            self.by_event.remove(filter.event.folded());
        }
        Some(seq)
    }

    /// The filters that take the event, in the order in which they were registered.
    pub fn matches<'a>(&'a self, event: &'a NewEvent) -> impl Iterator<Item = &'a Subscription> {
        self.by_event.get(event.name.folded()).into_iter().flatten().filter(|s| s.filter.takes(event))
    }

    /// The jobs that an event leads to: one for each filter that takes it, in the order of registration.
    pub fn route(&self, event: &NewEvent, id: Id) -> Vec<NewJob> {
        self.matches(event)
            .map(|subscription| NewJob {
                service: subscription.service.clone(),
                action: subscription.filter.action.clone(),
                args: JsonText::clone(&event.args),
                cause: Cause::Event { id, event: event.name.as_str().into(), depth: event.depth },
                patch: None,
            })
            .collect()
    }

    /// All filters, by the event's name and then in order of registration.
    pub fn all(&self) -> Vec<&Subscription> {
        let mut names: Vec<_> = self.by_event.keys().collect();
        names.sort();
        names.into_iter().filter_map(|name| self.by_event.get(name)).flatten().collect()
    }
}
