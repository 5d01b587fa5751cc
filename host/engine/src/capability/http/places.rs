//! So many at a time, of each of many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How many keys are remembered before those are forgotten that nobody uses.
const KEPT: usize = 1024;

/// The same number of places for each key. Who comes when all are taken waits.
pub(super) struct Places {
    each: usize,
    taken: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Places {
    pub(super) fn new(each: usize) -> Self {
        Self { each, taken: Mutex::default() }
    }

    pub(super) async fn take(&self, key: &str) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.of(key).acquire_owned().await
    }

    fn of(&self, key: &str) -> Arc<Semaphore> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = taken.get(key) {
            return places.clone();
        }
        if taken.len() >= KEPT {
            taken.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = Arc::new(Semaphore::new(self.each));
        taken.insert(key.to_owned(), places.clone());
        places
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{future::Future as _, pin::pin, task::Poll};

    use super::*;

    /// A place, if there is one at once.
    async fn at_once(places: &Places, key: &str) -> Option<OwnedSemaphorePermit> {
        let mut taking = pin!(places.take(key));
        std::future::poll_fn(|cx| match taking.as_mut().poll(cx) {
            Poll::Ready(place) => Poll::Ready(Some(place.unwrap())),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn one_that_has_taken_all_of_its_places_takes_none_of_anothers() {
        let places = Places::new(2);
        let greedy = (places.take("greedy").await, places.take("greedy").await);
        assert!(at_once(&places, "greedy").await.is_none());
        assert!(at_once(&places, "modest").await.is_some());
        drop(greedy);
        assert!(at_once(&places, "greedy").await.is_some());
    }

    #[tokio::test]
    async fn those_that_are_forgotten_hold_no_place() {
        let places = Places::new(1);
        let held = places.take("held").await;
        for n in 0..2 * KEPT {
            drop(places.take(&n.to_string()).await.unwrap());
        }
        assert!(places.taken.lock().unwrap().len() <= KEPT);
        assert!(at_once(&places, "held").await.is_none());
        drop(held);
        assert!(at_once(&places, "held").await.is_some());
    }
}
