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

    /// Asks or tells the quarantine of a version; none, and nothing is done, if it is not in service any more. What its last
    /// jobs do must count neither against a version that follows, nor against itself when it comes back.
    pub fn judge<T>(&self, version: &Loaded, tell: impl FnOnce(&Quarantine) -> T) -> Option<T> {
        // Locked until it is told: no other version comes meanwhile.
        let actors = self.0.actors.read().unwrap_or_else(PoisonError::into_inner);
        let now = actors.get(version.name())?;
        (now.actor.digest() == version.actor.digest()).then(|| tell(&self.0.quarantine))
    }

    /// Puts a version into service, in place of the one before; jobs that run end on that. Returns the one before. It begins
    /// with a clean record, unless it is the one before.
    pub fn put(&self, new: Loaded) -> Option<Loaded> {
        let mut actors = self.0.actors.write().unwrap_or_else(PoisonError::into_inner);
        let digest = new.actor.digest().clone();
        let mut next = Actors::clone(&actors);
        let before = next.put(new);
        let replaced = before.as_ref().map(|before| before.actor.digest());
        if replaced != Some(&digest) {
            self.0.quarantine.forget(&digest);
            replaced.into_iter().for_each(|before| {
                self.0.quarantine.forget(before);
            });
        }
        *actors = Arc::new(next);
        before
    }
}
