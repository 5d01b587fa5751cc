//! Queries. They read a snapshot of the disk, so they see what is durable and wait for no write; only which jobs are
//! being executed is asked of the state in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use ays_core::{
    Id, ServiceKey,
    capability::Granted,
    event::EventRecord,
    filter::Subscription,
    job::{Job, JobState},
    run::Run,
    schedule::Schedule,
    service::Service,
};
use fjall::{Guard, Keyspace, Readable, Snapshot};
use serde::de::DeserializeOwned;

use super::{
    Reading, Shared,
    disk::{GRANT, claim_key, entry, id_at_end, io, kv_key, schedule_key},
    history::{Rows, job_key, run_key, service_prefix, unmatched_key},
};
use crate::{
    DeadLetter, DeadQuery, Error, FilterQuery, JobQuery, Page, Paging, Result, ScheduleQuery, ServiceQuery,
    page::{id_cursor, no_cursor, page},
    query::{wanted, wants_history},
    record::from_json,
};

/// How many rows a page looks at before it is returned with what was found.
const MOST_ROWS: usize = 10_000;

/// The rows after a key.
fn after(key: Option<Vec<u8>>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

/// The rows before an id, in keys of nothing but an id.
fn before(id: Option<Id>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    (Bound::Unbounded, id.map_or(Bound::Unbounded, |id| Bound::Excluded(id.to_bytes().to_vec())))
}

fn get<T: DeserializeOwned>(snapshot: &Snapshot, keyspace: &Keyspace, key: &[u8]) -> Result<Option<T>> {
    snapshot.get(keyspace, key).map_err(io)?.map(|bytes| from_json(&bytes)).transpose()
}

pub(super) fn services(reading: &Reading, query: &ServiceQuery, paging: &Paging) -> Result<Page<Service>> {
    let from = paging.cursor.clone().map(String::into_bytes);
    let rows = reading.disk.snapshot().range(&reading.disk.services, after(from)).map(|guard| {
        let service: Service = entry(guard)?;
        let wanted = query.actor.as_ref().is_none_or(|actor| service.key.actor() == actor);
        Ok((service.key.to_string(), wanted.then_some(service)))
    });
    page(rows, paging, MOST_ROWS)
}

pub(super) fn service(reading: &Reading, key: &ServiceKey) -> Result<Option<Service>> {
    get(&reading.disk.snapshot(), &reading.disk.services, key.as_str().as_bytes())
}

pub(super) fn kv_get(reading: &Reading, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>> {
    let found = reading.disk.kv.get(kv_key(service, key)).map_err(io)?;
    Ok(found.map(|bytes| bytes.as_ref().into()))
}

pub(super) fn kv_keys(
    reading: &Reading,
    service: &ServiceKey,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>> {
    let own = kv_key(service, "").len();
    let prefix = kv_key(service, prefix);
    let from = match after {
        Some(after) if kv_key(service, after) >= prefix => Bound::Excluded(kv_key(service, after)),
        _ => Bound::Included(prefix.clone()),
    };
    let rows = reading.disk.snapshot().range(&reading.disk.kv, (from, Bound::Unbounded));
    let keys = rows.map(|guard| guard.key().map_err(io));
    // What cannot be read is told.
    let of_prefix = keys.take_while(|key| key.as_ref().map_or(true, |key| key.starts_with(&prefix)));
    let text = |key: &[u8]| String::from_utf8_lossy(key.get(own..).unwrap_or_default()).into_owned();
    of_prefix.take(limit).map(|key| key.map(|key| text(&key))).collect()
}

pub(super) fn filters(reading: &Reading, query: &FilterQuery, paging: &Paging) -> Result<Page<Subscription>> {
    let parse = |cursor: &String| cursor.parse::<u64>().map_err(|_| no_cursor(cursor));
    let from = paging.cursor.as_ref().map(parse).transpose()?;
    let range = after(from.map(|seq| seq.to_be_bytes().to_vec()));
    let rows = reading.disk.snapshot().range(&reading.disk.filters, range).map(|guard| {
        let subscription: Subscription = entry(guard)?;
        let wanted = query.service.as_ref().is_none_or(|key| subscription.service == *key)
            && query.event.as_ref().is_none_or(|event| subscription.filter.event == *event);
        Ok((subscription.seq.to_string(), wanted.then_some(subscription)))
    });
    page(rows, paging, MOST_ROWS)
}

pub(super) fn schedules(reading: &Reading, query: &ScheduleQuery, paging: &Paging) -> Result<Page<Schedule>> {
    let from = match &paging.cursor {
        Some(cursor) => {
            let (service, action) = cursor.split_once('/').ok_or_else(|| no_cursor(cursor))?;
            let service = service.parse().map_err(|_| no_cursor(cursor))?;
            Some(schedule_key(&service, action))
        }
        None => None,
    };
    let rows = reading.disk.snapshot().range(&reading.disk.schedules, after(from)).map(|guard| {
        let schedule: Schedule = entry(guard)?;
        let wanted = query.service.as_ref().is_none_or(|key| schedule.service == *key);
        Ok((format!("{}/{}", schedule.service, schedule.action), wanted.then_some(schedule)))
    });
    page(rows, paging, MOST_ROWS)
}

pub(super) fn dead(reading: &Reading, query: &DeadQuery, paging: &Paging) -> Result<Page<DeadLetter>> {
    let range = before(id_cursor(paging)?);
    let rows = reading.disk.snapshot().range(&reading.disk.dead, range).rev().map(|guard| {
        let letter: DeadLetter = entry(guard)?;
        let wanted = query
            .service
            .as_ref()
            .is_none_or(|key| letter.job.as_ref().is_some_and(|job| job.service == *key));
        Ok((letter.id.to_string(), wanted.then_some(letter)))
    });
    page(rows, paging, MOST_ROWS)
}

pub(super) fn dead_letter(reading: &Reading, id: Id) -> Result<Option<DeadLetter>> {
    get(&reading.disk.snapshot(), &reading.disk.dead, &id.to_bytes())
}

pub(super) fn unmatched(reading: &Reading, paging: &Paging) -> Result<Page<EventRecord>> {
    let to = id_cursor(paging)?.map_or(vec![1], |id| unmatched_key(id).to_vec());
    let snapshot = reading.disk.snapshot();
    let pieces = reading.pieces.youngest_first();
    // The pieces follow each other in time, and events are in them as they were accepted.
    let rows = pieces.iter().flat_map(|piece| snapshot.range(&piece.index, vec![0]..to.clone()).rev()).map(
        |guard| {
            let event: EventRecord = entry(guard)?;
            Ok((event.id.to_string(), Some(event)))
        },
    );
    page(rows, paging, MOST_ROWS)
}

pub(super) fn run(reading: &Reading, id: Id) -> Result<Option<Run>> {
    let snapshot = reading.disk.snapshot();
    if let Some(run) = get(&snapshot, &reading.disk.runs, &id.to_bytes())? {
        return Ok(Some(run));
    }
    for piece in reading.pieces.youngest_first() {
        if let Some(run) = get(&snapshot, &piece.index, &run_key(id))? {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

pub(super) fn runs_under_way(reading: &Reading) -> Result<Vec<Run>> {
    reading.disk.snapshot().iter(&reading.disk.runs).map(entry).collect()
}

pub(super) fn grants(reading: &Reading) -> Result<BTreeMap<String, Granted>> {
    let rows = reading.disk.snapshot().prefix(&reading.disk.meta, GRANT);
    let grants = rows.map(|guard| {
        let (key, value) = guard.into_inner().map_err(io)?;
        let actor = String::from_utf8_lossy(key.get(GRANT.len()..).unwrap_or_default()).into_owned();
        Ok((actor, from_json(&value)?))
    });
    grants.collect()
}

pub(super) fn last_claim(reading: &Reading, door: &str) -> Result<u64> {
    let found = reading.disk.snapshot().get(&reading.disk.meta, claim_key(door)).map_err(io)?;
    found.map_or(Ok(0), |bytes| super::opening::number(&bytes))
}

/// A job of a mailbox, as it is now.
fn waiting(shared: &Shared, mut job: Job) -> Job {
    let running = {
        let state = shared.state();
        state.backlog.services.get(&job.service).is_some_and(|entry| entry.mailbox.is_running(job.id))
    };
    if running {
        job.state = JobState::Running;
        job.attempt = job.attempt.saturating_add(1);
        job.retry_at = None;
    }
    job
}

pub(super) fn job(reading: &Reading, shared: &Shared, id: Id) -> Result<Option<Job>> {
    let snapshot = reading.disk.snapshot();
    if let Some(job) = get(&snapshot, &reading.disk.pending, &id.to_bytes())? {
        return Ok(Some(waiting(shared, job)));
    }
    for piece in reading.pieces.youngest_first() {
        if let Some(job) = get(&snapshot, &piece.records, &id.to_bytes())? {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// Jobs from one place, youngest first.
type Source<'a> = Box<dyn Iterator<Item = Result<(Id, Job)>> + 'a>;

pub(super) fn jobs(
    reading: &Reading,
    shared: &Shared,
    query: &JobQuery,
    paging: &Paging,
) -> Result<Page<Job>> {
    let cursor = id_cursor(paging)?;
    // A job is never older than its id says, so below this there is nothing to be found.
    let least = query.since.map(Id::first_at);
    // Together, so that a job is in one of the two also when it is just being settled.
    let (ids, snapshot) = {
        let state = shared.state();
        let entry = query.service.as_ref().and_then(|key| state.backlog.services.get(key));
        let ids: BTreeSet<Id> = entry.into_iter().flat_map(|entry| entry.mailbox.ids()).collect();
        (ids, reading.disk.snapshot())
    };
    let pieces = reading.pieces.youngest_first();
    let mut sources: Vec<Source<'_>> = Vec::new();
    match &query.service {
        Some(_) => sources.push(mailbox(reading, &snapshot, ids, cursor, shared)),
        None => {
            let rows = snapshot.range(&reading.disk.pending, before(cursor)).rev();
            sources.push(Box::new(rows.map(|guard| row(guard).map(|(id, job)| (id, waiting(shared, job))))));
        }
    }
    for piece in pieces.iter().filter(|_| wants_history(query)) {
        sources.push(match &query.service {
            Some(key) => by_service(&snapshot, piece, key, cursor),
            None => Box::new(snapshot.range(&piece.records, before(cursor)).rev().map(row)),
        });
    }
    let rows = Merged::new(sources).take_while(|row| match (row, least) {
        (Ok((id, _)), Some(least)) => *id >= least,
        _ => true,
    });
    page(
        rows.map(|row| row.map(|(id, job)| (id.to_string(), wanted(query, &job).then_some(job)))),
        paging,
        MOST_ROWS,
    )
}

fn row(guard: Guard) -> Result<(Id, Job)> {
    let job: Job = entry(guard)?;
    Ok((job.id, job))
}

fn mailbox<'a>(
    reading: &'a Reading,
    snapshot: &'a Snapshot,
    ids: BTreeSet<Id>,
    cursor: Option<Id>,
    shared: &'a Shared,
) -> Source<'a> {
    let ids = ids.into_iter().rev().filter(move |id| cursor.is_none_or(|cursor| *id < cursor));
    Box::new(ids.filter_map(move |id| match get::<Job>(snapshot, &reading.disk.pending, &id.to_bytes()) {
        Ok(job) => job.map(|job| Ok((id, waiting(shared, job)))),
        Err(error) => Some(Err(error)),
    }))
}

fn by_service<'a>(
    snapshot: &'a Snapshot,
    piece: &'a Rows,
    key: &ServiceKey,
    cursor: Option<Id>,
) -> Source<'a> {
    let from = service_prefix(key);
    let to = cursor.map_or_else(|| [key.as_str().as_bytes(), &[1]].concat(), |id| job_key(key, id));
    Box::new(snapshot.range(&piece.index, from..to).rev().map(|guard| {
        let id = id_at_end(&guard.key().map_err(io)?)?;
        let job = get::<Job>(snapshot, &piece.records, &id.to_bytes())?;
        job.map(|job| (id, job)).ok_or_else(|| Error::Io(format!("the record of job {id} is missing")))
    }))
}

/// Several places as one, youngest first.
struct Merged<'a> {
    /// Each with its first job.
    sources: Vec<(Result<(Id, Job)>, Source<'a>)>,
}

impl<'a> Merged<'a> {
    fn new(sources: Vec<Source<'a>>) -> Self {
        let first = |mut source: Source<'a>| Some((source.next()?, source));
        Self { sources: sources.into_iter().filter_map(first).collect() }
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<(Id, Job)>;

    fn next(&mut self) -> Option<Self::Item> {
        // An error comes before any job.
        let key = |first: &Result<(Id, Job)>| first.as_ref().ok().map(|(id, _)| std::cmp::Reverse(*id));
        let (at, (first, source)) =
            self.sources.iter_mut().enumerate().min_by_key(|(_, (first, _))| key(first))?;
        match source.next() {
            Some(next) => Some(std::mem::replace(first, next)),
            None => Some(self.sources.swap_remove(at).0),
        }
    }
}
