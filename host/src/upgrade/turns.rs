//! One version of an actor is examined and put into service at a time, and those of other actors beside it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Lock, PoisonError},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Whose turn it is, by the actor's name.
#[derive(Debug, Default)]
pub(super) struct Turns(Lock<BTreeMap<String, Arc<Mutex<()>>>>);

impl Turns {
    /// Waits until it is the turn of another version of this actor. The turn ends when what is returned is dropped.
    pub(super) async fn of(&self, actor: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody has or waits for.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(actor.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}
