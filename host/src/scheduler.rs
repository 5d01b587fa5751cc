//! The scheduler: has the store put what is due into mailboxes.

use std::{sync::Arc, time::Duration};

use ays_store::Store;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock;

/// How long it sleeps at most, so that it sees what became due earlier than it was told.
const NAP: Duration = Duration::from_millis(100);

/// Ticks until it is to stop; cancels `broken` when the store fails.
pub async fn run(store: Arc<dyn Store>, stop: CancellationToken, broken: CancellationToken) {
    while !stop.is_cancelled() {
        // A store that cannot be used now may not answer for long.
        let ticked = tokio::select! {
            ticked = store.tick(clock::now()) => ticked,
            () = stop.cancelled() => return,
        };
        let nap = match ticked {
            Ok(ticked) => ticked.next_due.map_or(NAP, |due| due.since(clock::now()).min(NAP)),
            Err(why) => {
                if !stop.is_cancelled() {
                    error!("cannot tell what is due: {why}");
                    broken.cancel();
                }
                return;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock::sleep(nap) => {}
        }
    }
}
