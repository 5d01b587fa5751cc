//! How many events a second the embedded store takes all the way: accepted and routed, taken, committed with a result
//! and new data. Doors accept batches of 256 while one taker takes and commits; nothing else is done.
//!
//! `cargo bench -p ays-store --bench store [-- EVENTS]`; without a number, 300 000 events.
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "it measures time")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ays_core::{
    EventName, JsonText, ServiceKey, Timestamp,
    changes::{Changes, NewService},
    event::NewEvent,
    filter::EventFilter,
    job::JobState,
};
use ays_store::{
    Batch, Settled, Store,
    embedded::{Embedded, Options},
};

const BATCH: usize = 256;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let events = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(300_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (services, doors) in [(1, 1), (10, 1), (100, 1), (100, 4)] {
        runtime.block_on(measure(services, doors, events))?;
    }
    Ok(())
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn event_of(service: usize) -> EventName {
    format!("event_{service}").parse().expect("a name")
}

async fn measure(services: usize, doors: usize, events: usize) -> Result<(), Failed> {
    // Not in /tmp, which may be in memory.
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let store = Arc::new(Embedded::open(folder.path(), "bench", Options::default(), now())?);
    let mut changes = Changes::default();
    for n in 0..services {
        let key: ServiceKey = format!("actconsumer__c{n}").parse()?;
        changes.create.push(NewService {
            key: key.clone(),
            data: JsonText::parse(&format!("{{\"text\":\"{}\"}}", "d".repeat(250)))?,
            schema: None,
            applied: JsonText::empty_object(),
            links: Default::default(),
            jobs: Vec::new(),
        });
        changes.filters.push((key, EventFilter::new(event_of(n), "on_event")));
    }
    store.apply(changes, now()).await?;
    let before = store.status().await?;

    let start = Instant::now();
    let mut accepting = Vec::new();
    for door in 0..doors {
        let store = store.clone();
        accepting.push(tokio::spawn(async move {
            let args = JsonText::parse("[\"hello prince\",{\"n\":12345}]").expect("JSON");
            for first in (door * BATCH..events).step_by(BATCH * doors) {
                let event = |n: usize| NewEvent::new(event_of(n % services), args.clone());
                let batch = Batch { events: (first..first + BATCH).map(event).collect(), ..Batch::default() };
                store.accept(batch, now()).await.expect("accepted");
            }
        }));
    }
    let all = events.div_ceil(BATCH) * BATCH;
    let mut done = 0;
    let mut commits: Vec<Duration> = Vec::new();
    while done < all {
        let taken = store.take(BATCH, BATCH.div_ceil(services), now()).await?;
        let mut attempts = Vec::new();
        for work in taken {
            for mut job in work.jobs {
                job.state = JobState::Ok;
                job.attempt += 1;
                job.result = Some(JsonText::null());
                job.started_at = Some(now());
                job.finished_at = Some(now());
                attempts.push(Settled {
                    job,
                    data: Some(work.data.clone()),
                    effects: Vec::new(),
                    after: None,
                });
            }
        }
        done += attempts.len();
        let began = Instant::now();
        store.commit(attempts, now()).await?;
        commits.push(began.elapsed());
    }
    let seconds = start.elapsed().as_secs_f64();
    for accepting in accepting {
        accepting.await?;
    }
    let after = store.status().await?;
    let syncs = after.syncs - before.syncs;
    commits.sort();
    let at = |share: usize| commits.get(commits.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{services:3} services, {doors} doors: {:6.0} events/s, {syncs} syncs, {:.0} changes a sync; a commit took {:?}, 99 % {:?}",
        all as f64 / seconds,
        (after.changes - before.changes) as f64 / syncs as f64,
        at(50),
        at(99)
    );
    assert_eq!((after.pending, after.history), (0, all as u64));
    store.close().await?;
    Ok(())
}
