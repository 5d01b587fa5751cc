//! The actors in service: which version of each executes the jobs that begin now. It may change between any two jobs.

use std::sync::{Arc, PoisonError, RwLock};

use crate::{
    actors::{Actors, Loaded},
    quarantine::Quarantine,
};

/// The actors in service. Clones are of the same ones.
#[derive(Clone, Default)]
pub struct Live(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Never changed, only replaced: a job keeps the actors that it began with.
    actors: RwLock<Arc<Actors>>,
    quarantine: Quarantine,
}

impl Live {
    /// These, and when a version of them that keeps trapping is taken out of service.
    pub fn new(actors: Actors, quarantine: Quarantine) -> Self {
        Self(Arc::new(Shared { actors: RwLock::new(Arc::new(actors)), quarantine }))
    }

    /// As they are now.
    pub fn now(&self) -> Arc<Actors> {
        self.0.actors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which of their versions are out of service.
    pub fn quarantine(&self) -> &Quarantine {
        &self.0.quarantine
    }

    /// Puts a version into service, in place of the one before; jobs that run end on that. Returns the one before.
    pub fn put(&self, new: Loaded) -> Option<Loaded> {
        let mut actors = self.0.actors.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Actors::clone(&actors);
        let before = next.put(new);
        *actors = Arc::new(next);
        drop(actors);
        if let Some(before) = &before {
            self.0.quarantine.forget(before.actor.digest());
        }
        before
    }
}
