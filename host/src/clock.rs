//! The clock: the one place where the host asks what time it is, and where it waits.
#![allow(clippy::disallowed_methods, reason = "this is the module that the others are sent to")]

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ays_core::Timestamp;

/// How much later it is by the clock that all hosts go by than by this machine's, in milliseconds.
static AHEAD_MS: AtomicI64 = AtomicI64::new(0);

/// What time it is.
pub fn now() -> Timestamp {
    Timestamp::from_millis(local_ms().saturating_add(AHEAD_MS.load(Relaxed)))
}

/// A clock that is off by less is right, in milliseconds: it would only step to and fro.
const RIGHT_MS: u64 = 50;

/// Sets the clock, as hosts do that share a store. The machine's stays as it is.
pub fn set(now: Timestamp) {
    let ahead = now.millis().saturating_sub(local_ms());
    if ahead.abs_diff(AHEAD_MS.load(Relaxed)) >= RIGHT_MS {
        AHEAD_MS.store(ahead, Relaxed);
    }
}

fn local_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A reading of the monotonic clock, for measuring how long something takes.
pub fn instant() -> Instant {
    Instant::now()
}

/// When this process first asked: the zero of its monotonic clock.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// CPU time that this thread has used.
pub fn thread_cpu() -> Duration {
    ays_engine::thread_cpu(BEGAN.elapsed())
}

/// Waits this long.
pub async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

/// The engine's view of this clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl ays_engine::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn monotonic(&self) -> Duration {
        BEGAN.elapsed()
    }

    fn sleep(&self, span: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }
}
