//! How long to wait before the next try.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

/// Doubles from 20 ms to 2 s. Each wait is shortened by a random part of up to a half, so that hosts that lost the same
/// server do not come back to it all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: SHORTEST }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        // The standard library's hash maps are seeded at random: enough chance for this.
        let chance = RandomState::new().hash_one(0u8) % 1000;
        whole - whole * u32::try_from(chance).unwrap_or(0) / 2000
    }

    /// Begins anew with the shortest wait.
    pub(super) fn reset(&mut self) {
        self.next = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_two_seconds_and_keep_at_least_half_of_their_length() {
        let mut backoff = Backoff::new();
        for whole in [20, 40, 80, 160, 320, 640, 1280, 2000, 2000].map(Duration::from_millis) {
            let wait = backoff.next();
            assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= SHORTEST);
    }
}
