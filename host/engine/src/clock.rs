//! The clock that the engine is handed.

use std::{pin::Pin, time::Duration};

use ays_core::Timestamp;

/// Where the engine has the time from. It reads no clock of its own, but for the CPU time of its threads.
pub trait Clock: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Time since some fixed point, which never goes back.
    fn monotonic(&self) -> Duration;

    /// Ends after this time. Called only for a job that has not ended within one [`EPOCH`](crate::EPOCH), or that
    /// waits in a host call.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
