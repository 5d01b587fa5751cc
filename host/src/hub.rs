//! What happens, for those who watch: the API's stream, and commands that wait.

use std::sync::Arc;

use ays_core::{Id, job::Job};
use tokio::sync::broadcast;

/// How many happenings a watcher may be behind before it misses some.
const BEHIND: usize = 256;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// An attempt of a job has ended and is durable.
    Job(Arc<Job>),
    /// An event was accepted.
    Event {
        /// Its id.
        id: Id,
        /// Its name.
        event: Arc<str>,
        /// How many jobs it led to.
        matched: u32,
    },
}

/// Passes on what happens. Costs nothing while nobody watches.
#[derive(Clone, Debug)]
pub struct Hub(broadcast::Sender<Happening>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }
}

impl Hub {
    /// Begins to watch.
    pub fn watch(&self) -> broadcast::Receiver<Happening> {
        self.0.subscribe()
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Passes something on.
    pub fn tell(&self, happening: Happening) {
        // An error only says that nobody watches.
        let _ = self.0.send(happening);
    }
}
