//! How the door is doing, for those who ask while it runs.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// How the command queue is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Which queue: URL and key, without user and password.
    pub queue: String,
    /// Whether entries can be taken from it at present.
    pub connected: bool,
    /// Why not; none while they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Entries that were accepted as events or jobs, since the host started.
    pub accepted: u64,
    /// Entries that could not be understood and are in the dead-letter list, since the host started.
    pub dead: u64,
    /// Claims of other stores that were left behind on this queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stranded: Vec<Stranded>,
}

/// A claim that another store has left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stranded {
    /// Its key.
    pub key: String,
    /// How many entries it holds.
    pub entries: u64,
}

/// Reads the status of a [`CommandQueue`](super::CommandQueue), also while that runs.
#[derive(Clone, Debug)]
pub struct StatusReader(Arc<Mutex<Status>>);

impl StatusReader {
    /// As it is now.
    pub fn get(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn new(queue: String) -> Self {
        Self(Arc::new(Mutex::new(Status { queue, ..Status::default() })))
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
