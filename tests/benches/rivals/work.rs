//! What is to be done, the same for all.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How many services there are; an event is for one of them.
pub(super) const SERVICES: usize = 100;

/// The list that AYS programs push to.
pub(super) const QUEUE: &str = "db:queue:command";

/// Where entries wait until all are ready, to become [`QUEUE`] by a `RENAME`.
pub(super) const WAITING: &str = "rivals:waiting";

/// Where the plain loop counts: a hash with a field for each service.
pub(super) const COUNTS: &str = "rivals:counts";

/// How many events a second are pushed to measure the time until the handler starts.
pub(super) const RATE: usize = 1000;

/// This much of that time is for warming up, and left out.
pub(super) const WARM_UP: Duration = Duration::from_secs(2);

/// No contestant may take longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// What goes wrong here is told to a person, in the contestant's row.
pub(super) type Result<T> = std::result::Result<T, String>;

/// Puts what was tried before what went wrong.
pub(super) fn because<E: std::fmt::Display>(tried: &str) -> impl Fn(E) -> String + '_ {
    move |error| format!("{tried}: {error}")
}

/// An entry that has the service's counter bumped.
pub(super) fn bump(service: usize) -> String {
    format!(
        r#"{{"command":"event","event":"bump{service}","args":["some text that an event carries",12345]}}"#
    )
}

/// An entry that has the service say how long ago it was pushed.
pub(super) fn stamp(service: usize, pushed: u128) -> String {
    format!(r#"{{"command":"event","event":"stamp{service}","args":[{pushed}]}}"#)
}

/// Puts `events` entries where they wait.
pub(super) fn fill(redis: &mut redis::Connection, events: usize) -> Result<()> {
    for first in (0..events).step_by(1000) {
        let entries: Vec<String> = (first..events.min(first + 1000)).map(|n| bump(n % SERVICES)).collect();
        redis::cmd("RPUSH").arg(WAITING).arg(entries).exec(redis).map_err(because("pushing entries"))?;
    }
    Ok(())
}

/// Pushes entries at [`RATE`] until the time is over, each at its own moment, with the time of its push.
pub(super) fn push_stamps(redis: &mut redis::Connection, lasting: Duration) -> Result<usize> {
    let began = Instant::now();
    let events = lasting.as_secs() as usize * RATE;
    for n in 0..events {
        let due = Duration::from_secs(1) * n as u32 / RATE as u32;
        thread::sleep(due.saturating_sub(began.elapsed()));
        let entry = stamp(n % SERVICES, now());
        redis::cmd("RPUSH").arg(QUEUE).arg(entry).exec(redis).map_err(because("pushing an entry"))?;
    }
    Ok(events)
}

/// Nanoseconds since 1970: guests see no other clock that other processes see too.
pub(super) fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos()
}

/// When an event was pushed, by any clock, and how long after that its handler started, both in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    pub(super) pushed: f64,
    pub(super) took: f64,
}
