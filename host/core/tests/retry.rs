//! Retries: what becomes of a failed job.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::time::Duration;

use ays_core::{
    job::{Failure, FailureKind},
    retry::{RetryPolicy, Verdict},
};
use proptest::prelude::*;

fn failure() -> Failure {
    Failure::new(FailureKind::App, "no")
}

fn seconds(delays_s: &[u64]) -> RetryPolicy {
    RetryPolicy { attempts: u32::MAX, delays_s: delays_s.into(), ..RetryPolicy::default() }
}

#[test]
fn delays_follow_the_policy_and_end_with_its_attempts() {
    let default = RetryPolicy::default();
    let ays = seconds(&[10, 30, 60, 300, 600, 1800]);
    let fast = RetryPolicy { attempts: 100, first_ms: 100, most_ms: 1000, delays_s: vec![] };
    let never = RetryPolicy { attempts: 0, ..RetryPolicy::default() };
    for (policy, attempt, whole_ms) in [
        (&default, 1, Some(10_000)),
        (&default, 2, Some(20_000)),
        (&default, 6, Some(320_000)),
        (&default, 7, None),
        (&default, 8, None),
        (&default, u32::MAX, None),
        (&ays, 1, Some(10_000)),
        (&ays, 4, Some(300_000)),
        (&ays, 6, Some(1_800_000)),
        (&ays, 7, Some(1_800_000)),
        (&ays, u32::MAX - 1, Some(1_800_000)),
        (&ays, u32::MAX, None),
        (&fast, 0, Some(100)),
        (&fast, 1, Some(100)),
        (&fast, 4, Some(800)),
        (&fast, 5, Some(1000)),
        (&fast, 99, Some(1000)),
        (&fast, 100, None),
        (&never, 0, None),
        (&never, 1, None),
        (&RetryPolicy::none(), 1, None),
    ] {
        // With the greatest remainder there is, the delay is whole.
        let verdict = whole_ms.map_or(Verdict::Dead, |ms| Verdict::Retry(Duration::from_millis(ms)));
        let chance = whole_ms.unwrap_or(0) / 2;
        assert_eq!(policy.after(attempt, &failure(), chance), verdict, "{policy:?} {attempt}");
        assert_eq!(policy.after(attempt, &failure().for_good(), chance), Verdict::Dead);
    }
}

proptest! {
    #[test]
    fn a_delay_lies_in_the_upper_half_and_never_above_the_longest(
        attempt in prop_oneof![0..100u32, Just(u32::MAX - 1), Just(u32::MAX), any::<u32>()],
        attempts in prop_oneof![0..100u32, Just(u32::MAX), any::<u32>()],
        delays_s in prop::collection::vec(prop_oneof![0..10_000u64, any::<u64>()], 0..4),
        first_ms in prop_oneof![0..10_000u64, any::<u64>()],
        most_ms in prop_oneof![0..10_000_000u64, any::<u64>()],
        chance in any::<u64>(),
    ) {
        let policy = RetryPolicy { attempts, delays_s, first_ms, most_ms };
        if attempt >= attempts {
            prop_assert_eq!(policy.after(attempt, &failure(), chance), Verdict::Dead);
            return Ok(());
        }
        let nth = attempt.saturating_sub(1) as usize;
        let whole = match policy.delays_s.get(nth).or(policy.delays_s.last()) {
            Some(delay) => u128::from(*delay) * 1000,
            None => (u128::from(first_ms) << nth.min(64)).min(most_ms.into()),
        };
        let whole = whole.min(u64::MAX.into());
        let half = (whole / 2) as u64;
        for chance in [chance, 0, half, half + 1] {
            let Verdict::Retry(delay) = policy.after(attempt, &failure(), chance) else {
                panic!("dead at {attempt} of {attempts}")
            };
            prop_assert!(delay.as_millis() <= whole);
            prop_assert!(delay.as_millis() >= whole / 2);
        }
    }
}

#[test]
fn jobs_that_failed_together_are_not_tried_again_together() {
    let policy = RetryPolicy::default();
    let mut tenths = [0; 10];
    for chance in 0..1000u64 {
        let chance = chance.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let Verdict::Retry(delay) = policy.after(1, &failure(), chance) else { panic!("dead") };
        tenths[((delay.as_millis() - 5000) / 501) as usize] += 1;
    }
    assert!(tenths.iter().all(|share| (70..130).contains(share)), "{tenths:?}");
}

#[test]
fn a_policy_says_only_what_differs_and_refuses_what_it_does_not_know() {
    let policy: RetryPolicy = serde_json::from_str(r#"{"attempts": 3}"#).unwrap();
    assert_eq!(policy, RetryPolicy { attempts: 3, ..RetryPolicy::default() });
    let error = serde_json::from_str::<RetryPolicy>(r#"{"atempts": 3}"#).unwrap_err().to_string();
    assert!(error.contains("atempts") && error.contains("`attempts`"), "{error}");
}
