//! Simulated time.
#![allow(clippy::disallowed_methods, reason = "what time it is here, the simulation says")]

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// What time it is in the simulated server when a simulation begins, in ms since 1970.
pub(super) const EPOCH_MS: i64 = 1_780_000_000_000;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A simulation begins on this thread.
pub(super) fn begin() {
    BEGAN.set(Some(Instant::now()));
}

/// How long the simulation has been going on, in simulated µs.
pub(super) fn micros() -> u64 {
    let began = BEGAN.get().expect("a simulation was begun");
    u64::try_from(began.elapsed().as_micros()).unwrap()
}

pub(super) fn server_micros() -> u64 {
    u64::try_from(EPOCH_MS).unwrap() * 1000 + micros()
}

pub(super) async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

pub(super) async fn sleep_ms(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}
