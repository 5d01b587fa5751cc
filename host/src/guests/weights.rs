//! Which actors' jobs were heavy lately.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use ays_engine::EPOCH;

/// A job that uses as much CPU time as this is heavy.
pub(super) const HEAVY: Duration = EPOCH.saturating_mul(2);

/// After so many light jobs without a heavy one among them, an actor counts as light again.
pub(super) const FORGIVEN_AFTER: u32 = 16;

/// The actors whose jobs were heavy lately, each with how many light ones in a row it is forgiven after.
#[derive(Debug, Default)]
pub(super) struct Weights {
    heavy: Mutex<HashMap<Box<str>, u32>>,
    /// How many there are: mostly none, and then nobody needs to look.
    len: AtomicUsize,
}

impl Weights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, u32>> {
        // Each change is one insertion or removal.
        self.heavy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this actor's next job is to begin among the heavy ones.
    pub(super) fn is_heavy(&self, actor: &str) -> bool {
        self.len.load(Relaxed) > 0 && self.lock().contains_key(actor)
    }

    /// Counts what a job of this actor used.
    pub(super) fn count(&self, actor: &str, used: Duration) {
        let heavy = used >= HEAVY;
        if !heavy && self.len.load(Relaxed) == 0 {
            return;
        }
        let mut actors = self.lock();
        if heavy {
            actors.insert(actor.into(), FORGIVEN_AFTER);
        } else if let Some(left) = actors.get_mut(actor) {
            *left -= 1;
            if *left == 0 {
                actors.remove(actor);
            }
        }
        self.len.store(actors.len(), Relaxed);
    }
}
