//! How many events each service emits.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use ays_core::{
    ServiceKey,
    job::{Failure, FailureKind},
    limits::beyond,
    manifest::Limits,
};

/// How many seconds' worth may come at once.
const BURST_S: f64 = 10.0;

/// How many services are remembered before those are forgotten that may emit all they may again.
const REMEMBERED: usize = 4096;

/// A bucket of tokens for each service that has emitted events lately, one token for each event.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<ServiceKey, Bucket>>);

struct Bucket {
    tokens: f64,
    at: Instant,
    /// When it is full again.
    full_s: f64,
}

impl Rates {
    /// Takes `events` tokens of this service.
    ///
    /// # Errors
    /// If there are too few, and none is taken: the job that emitted the events fails.
    pub(super) fn take(
        &self,
        service: &ServiceKey,
        events: u64,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Failure> {
        if events == 0 {
            return Ok(());
        }
        let rate = limits.events_per_s as f64;
        // A job that may emit so many must be able to.
        let most = (rate * BURST_S).max(limits.events as f64);
        // Every change is whole before anything that could panic.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| now.duration_since(bucket.at).as_secs_f64() < bucket.full_s);
        }
        let bucket = buckets.entry(service.clone()).or_insert(Bucket { tokens: most, at: now, full_s: 0.0 });
        let there = (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * rate).min(most);
        let left = there - events as f64;
        if left < 0.0 {
            let what = format_args!("emitted {events} events, and its service may emit {there:.0} now");
            return Err(Failure::new(FailureKind::Limit, beyond("events_per_s", what, limits.events_per_s))
                .of_limit("events_per_s"));
        }
        let full_s = if rate > 0.0 { (most - left) / rate } else { f64::INFINITY };
        *bucket = Bucket { tokens: left, at: now, full_s };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_service_emits_ten_seconds_worth_at_once_and_then_its_rate() {
        let rates = Rates::default();
        let limits = Limits { events_per_s: 100, events: 500, ..Limits::default() };
        let (a, b): (ServiceKey, ServiceKey) = ("actor__a".parse().unwrap(), "actor__b".parse().unwrap());
        let start = crate::clock::instant();
        assert!(rates.take(&a, 1000, &limits, start).is_ok());
        let failure = rates.take(&a, 1, &limits, start).unwrap_err();
        assert!(failure.message.contains("`events_per_s`") && failure.retry, "{failure:?}");
        assert!(rates.take(&b, 1000, &limits, start).is_ok(), "each has its own");
        let later = start + Duration::from_secs(1);
        assert!(rates.take(&a, 101, &limits, later).is_err(), "what failed takes nothing");
        assert!(rates.take(&a, 100, &limits, later).is_ok());
        assert!(rates.take(&a, 1, &limits, later).is_err());
    }
}
