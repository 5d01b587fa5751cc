//! How many events a second are drained from the embedded store, every turn durable: at 1, 10 and 100 services.
//!
//! Each event leads to one job of a real actor (`count` of the probe: reads the data, adds one, writes it back) with its
//! full record. Beside it, in the same run, what the disk alone gives: 4 KiB appended and synced, one after the other.

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use ays_core::{JsonText, Timestamp, capability::Grants, event::NewEvent};
use ays_engine::{Engine, Options};
use ays_host::{
    actors::Actors,
    applier::{Applier, Needing},
    apply::Source,
    clock::{self, SystemClock},
    dispatcher::{self, Dispatcher, Ends},
    granting::Granting,
    guests::{Guests, Threads},
    hub::Hub,
    live::Live,
    metrics::Metrics,
    quarantine::Quarantine,
    secrets::Sources,
};
use ays_store::{Batch, Store, embedded::Embedded};
use tokio_util::sync::CancellationToken;

const EVENTS: usize = 60_000;
const ROUNDS: usize = 3;

fn main() {
    let io = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("tokio starts");
    let threads = Threads::start().expect("threads start");
    let guests = threads.guests();
    println!("\n{EVENTS} events, each one job with its record, every turn synced; median of {ROUNDS} rounds");
    println!(
        "{:>9} {:>10} {:>12} {:>16} {:>16}",
        "services", "events/s", "µs/event", "changes/sync", "of lone syncs"
    );
    io.block_on(async {
        for services in [1, 10, 100] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                rounds.push(round(services, &guests).await);
            }
            rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (rate, per_sync, syncs) = rounds[ROUNDS / 2];
            println!(
                "{services:>9} {rate:>10.0} {:>12.1} {per_sync:>16.1} {:>15.1}×",
                1e6 / rate,
                rate / syncs
            );
        }
    });
    threads.shutdown();
}

/// Events per second, changes per sync, and lone syncs per second.
async fn round(services: usize, guests: &Guests) -> (f64, f64, f64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cannot make a folder");
    let syncs = lone_syncs(folder.path());
    let engine = Engine::new(&Options::default(), Arc::new(SystemClock), None).expect("wasmtime starts");
    let (actors, _) = Actors::load(&engine, ays_tests::actors(), None).await.expect("the actors load");
    let store: Arc<dyn Store> = Arc::new(
        Embedded::open(folder.path(), "bench", ays_store::embedded::Options::default(), clock::now())
            .expect("it opens"),
    );
    let mut blueprint = String::new();
    let mut filters = String::from("eventfilters:\n");
    for n in 0..services {
        blueprint += &format!("probe__s{n}:\n");
        filters += &format!("  - {{cmd: bump{n}, actor: probe, service: s{n}, action: count}}\n");
    }
    let source = Source { name: "bench".into(), text: blueprint + &filters };
    let granting = Arc::new(Granting::new(Grants::default(), Sources::default()));
    let applier = Applier::new(store.clone(), granting.clone());
    let done = applier.apply(&[source], &actors, Needing::Named, false).await.expect("no problem");
    applier.until_set_up(&done).await.expect("the store works");
    let args = JsonText::parse(r#"["some text that an event carries", 12345]"#).expect("it is JSON");
    for first in (0..EVENTS).step_by(256) {
        let events = (first..EVENTS.min(first + 256))
            .map(|n| {
                NewEvent::new(format!("bump{}", n % services).parse().expect("it is a name"), args.clone())
            })
            .collect();
        store
            .accept(Batch { events, ..Batch::default() }, Timestamp::from_millis(1))
            .await
            .expect("it accepts");
    }
    let before = store.status().await.expect("it tells");
    assert_eq!(before.pending as usize, EVENTS);
    let (stop, broken) = (CancellationToken::new(), CancellationToken::new());
    let dispatcher = Dispatcher::new(
        dispatcher::Context {
            store: store.clone(),
            actors: Live::new(actors, Quarantine::default()),
            granting,
            hub: Hub::default(),
            metrics: Metrics::new().expect("the definitions are right"),
            cancels: dispatcher::Cancels::default(),
        },
        dispatcher::Settings::default(),
        Ends { stop: stop.clone(), broken: broken.clone() },
    );
    let began = Instant::now();
    let working = {
        let guests = guests.clone();
        tokio::spawn(async move { dispatcher.run(&guests, Duration::from_secs(1)).await })
    };
    let after = loop {
        let status = store.status().await.expect("it tells");
        if status.pending == 0 {
            break status;
        }
        clock::sleep(Duration::from_millis(2)).await;
    };
    let took = began.elapsed().as_secs_f64();
    stop.cancel();
    working.await.expect("the dispatcher ends");
    assert!(!broken.is_cancelled());
    store.close().await.expect("it closes");
    let per_sync = EVENTS as f64 / (after.syncs - before.syncs).max(1) as f64;
    (EVENTS as f64 / took, per_sync, syncs)
}

/// How often 4 KiB can be appended to a file and synced, in a second.
fn lone_syncs(folder: &std::path::Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("lone")).expect("cannot make a file");
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < Duration::from_millis(300) {
        file.write_all(&[7; 4096]).expect("cannot write");
        file.sync_data().expect("cannot sync");
        done += 1;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}
