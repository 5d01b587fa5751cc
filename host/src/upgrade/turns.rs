//! One version of an actor is examined and put into service at a time, and those of other actors beside it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Lock, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Whose turn it is, by the actor's name.
#[derive(Debug, Default)]
pub(super) struct Turns(Lock<BTreeMap<String, Arc<Mutex<()>>>>);

/// How many versions of an actor may wait while one is under way, when one more asks to. Each that waits has a file.
const WAITING: usize = 1;

/// One that waits, or may.
#[derive(Debug)]
pub(super) struct PlaceInLine(Arc<Mutex<()>>);

impl Turns {
    /// Waits until it is the turn of another version of this actor. The turn ends when what is returned is dropped.
    pub(super) async fn of(&self, actor: &str) -> OwnedMutexGuard<()> {
        let place = PlaceInLine::of(&mut self.lock(), actor);
        place.turn().await
    }

    /// The same, if not too many wait already.
    pub(super) fn queue(&self, actor: &str) -> Option<PlaceInLine> {
        let mut turns = self.lock();
        let place = PlaceInLine::of(&mut turns, actor);
        // Those of the map and of the one under way are two.
        (Arc::strong_count(&place.0) <= 2 + WAITING).then_some(place)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlaceInLine {
    fn of(turns: &mut BTreeMap<String, Arc<Mutex<()>>>, actor: &str) -> Self {
        // Those that nobody has or waits for.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Self(turns.entry(actor.to_owned()).or_default().clone())
    }

    pub(super) async fn turn(self) -> OwnedMutexGuard<()> {
        self.0.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_waits_behind_the_one_under_way_and_no_more() {
        let turns = Turns::default();
        let under_way = turns.of("a").await;
        let waiting = turns.queue("a").expect("one may wait");
        assert!(turns.queue("a").is_none());
        assert!(turns.queue("b").is_some());
        drop(under_way);
        let _turn = waiting.turn().await;
        assert!(turns.queue("a").is_some());
    }
}
