//! Retries: what becomes of a failed job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::Failure;

/// When a failed job is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often a job is tried in all; 1 means no retry.
    pub attempts: u32,
    /// Delays in seconds, one for each retry; the last one stands for all that follow. Each is shortened at random by up
    /// to a half, as the exponential ones are. Empty: exponential.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delays_s: Vec<u64>,
    /// Exponential: the delay before the second attempt, in milliseconds. It doubles with each further one.
    pub first_ms: u64,
    /// Exponential: the longest delay, in milliseconds.
    pub most_ms: u64,
}

impl Default for RetryPolicy {
    /// Seven attempts: after 10 s, 20 s, 40 s, … up to 30 min, each shortened at random by up to a half.
    fn default() -> Self {
        Self { attempts: 7, delays_s: Vec::new(), first_ms: 10_000, most_ms: 1_800_000 }
    }
}

/// What becomes of a job after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again after this time.
    Retry(Duration),
    /// It goes to the dead-letter list.
    Dead,
}

impl RetryPolicy {
    /// No retry.
    pub fn none() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// What becomes of a job whose attempt number `attempt` (from 1) ended with `failure`.
    ///
    /// `chance` is a random number: the delay is taken evenly from its upper half, so that jobs that failed together
    /// are not tried again together ("equal jitter", AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    pub fn after(&self, attempt: u32, failure: &Failure, chance: u64) -> Verdict {
        if !failure.retry || attempt >= self.attempts {
            return Verdict::Dead;
        }
        let nth = attempt.saturating_sub(1);
        let whole_ms = match self.delays_s.get(nth as usize).or(self.delays_s.last()) {
            Some(seconds) => seconds.saturating_mul(1000),
            None => {
                let factor = 1u64.checked_shl(nth).unwrap_or(u64::MAX);
                self.first_ms.saturating_mul(factor).min(self.most_ms)
            }
        };
        let half = whole_ms / 2;
        Verdict::Retry(Duration::from_millis(whole_ms - half + chance % (half + 1)))
    }
}
