//! Several hosts that share one Redis, simulated: the real store and the real scripts, on a model of a server, with time,
//! network and failures that a seed determines.
//!
//! `AYS_TEST_SEEDS` says how many seeds are tried, `AYS_TEST_SEED` which single one, with a trace of what happened.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is a test, which tells by panicking"
)]

mod clock;
mod gate;
mod host;
mod ledger;
mod network;
mod oracle;
mod random;
mod scenario;
mod stats;
mod world;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

pub(super) use gate::gated;
use scenario::Scenario;
use stats::Stats;
use world::World;

/// How a simulation came out.
struct Outcome {
    faults: Vec<String>,
    stats: Stats,
    hash: u64,
    trace: Vec<String>,
}

fn simulate(seed: u64, traced: bool) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        clock::begin();
        let world = World::new(seed, traced);
        let network = tokio::spawn(world.network.clone().run());
        let played = tokio::spawn(Scenario::new(world.clone()).play());
        let died = |error| vec![format!("it panicked: {error}")];
        let mut faults = tokio::select! {
            played = played => played.map_or_else(died, |_| oracle::judge(&world)),
            network = network => network.map_or_else(died, |()| unreachable!("the network goes on")),
        };
        faults.dedup();
        let mut server = world.network.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        server.stats.seeds = 1;
        Outcome {
            faults,
            stats: server.stats.clone(),
            hash: server.hash,
            trace: server.trace.take().unwrap_or_default(),
        }
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is to be a number")))
}

fn check(seed: u64, outcome: &Outcome) {
    assert!(
        outcome.faults.is_empty(),
        "seed {seed}:\n  {}\nAYS_TEST_SEED={seed} cargo test -p ays-store --lib simulation -- --nocapture shows what happened",
        outcome.faults.join("\n  ")
    );
}

#[test]
fn whatever_happens_nothing_accepted_is_lost_and_effects_happen_once_and_in_order() {
    if let Some(seed) = number("AYS_TEST_SEED") {
        let outcome = simulate(seed, true);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        check(seed, &outcome);
        return;
    }
    let seeds = number("AYS_TEST_SEEDS").unwrap_or(10_000);
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let stats = Mutex::new(Stats::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut all = Stats::default();
                loop {
                    let seed = next.fetch_add(1, SeqCst);
                    if seed >= seeds || failed.load(SeqCst) {
                        break;
                    }
                    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                        let outcome = simulate(seed, false);
                        check(seed, &outcome);
                        outcome
                    }));
                    match outcome {
                        Ok(outcome) => all.add(&outcome.stats),
                        Err(panicked) => {
                            failed.store(true, SeqCst);
                            println!("seed {seed} failed");
                            std::panic::resume_unwind(panicked);
                        }
                    }
                }
                stats.lock().unwrap().add(&all);
            });
        }
    });
    let stats = stats.into_inner().unwrap();
    for (name, count) in stats.all() {
        println!("{count:>10} {name}");
        assert!(count > 0 || seeds < 1000, "over {seeds} seeds there were no {name}");
    }
}

#[test]
fn a_seed_says_all_that_happens() {
    for seed in 0..40 {
        assert_eq!(simulate(seed, false).hash, simulate(seed, false).hash, "seed {seed}");
    }
}
