//! The embedded store: a database in a folder of this machine, held by one host.
//!
//! The state that decisions are taken on is in memory; the disk has everything, and is read when the store is opened
//! and for queries. `disk` says what is where, `writer` how it gets there.

mod disk;
mod history;
mod journal;
mod lock;
mod opening;
mod queries;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
use ays_core::{
    Id, ServiceKey, Timestamp,
    capability::Granted,
    changes::Changes,
    event::EventRecord,
    filter::Subscription,
    job::Job,
    run::{NewRun, Run},
    schedule::Schedule,
    service::Service,
};
use tokio::sync::{Notify, oneshot};

use crate::{
    Accepted, Applied, Batch, DeadLetter, DeadQuery, Error, FilterQuery, JobQuery, Page, Paging, Result,
    RetentionPolicy, ScheduleQuery, ServiceQuery, Settled, Store, StoreStatus, Ticked, Work, backlog::Taken,
    decide::Attempt, record::from_json,
};
use disk::{Disk, io};
use history::Pieces;
use state::State;
use writer::{Reply, Request};

/// How an embedded store is run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How much memory records of waiting jobs may take, in bytes; others are read from the disk when they are taken.
    pub job_cache_bytes: usize,
    /// How much memory the database may use to keep what it has read, in bytes.
    pub read_cache_bytes: u64,
    /// How many finished jobs a piece of the history has at most; history is dropped by the piece.
    pub piece_jobs: u64,
}

impl Default for Options {
    /// 64 MiB for records of jobs, 32 MiB for reading, a million jobs in a piece.
    fn default() -> Self {
        Self { job_cache_bytes: 64 << 20, read_cache_bytes: 32 << 20, piece_jobs: 1_000_000 }
    }
}

/// What the writer, takers and readers share.
struct Shared {
    state: Mutex<State>,
    /// Wakes takers.
    ready: Notify,
    changes: AtomicU64,
    syncs: AtomicU64,
    history: AtomicU64,
    /// None once it is closed.
    reading: RwLock<Option<Reading>>,
}

/// What readers need.
#[derive(Clone)]
struct Reading {
    disk: Disk,
    pieces: Pieces,
}

impl Shared {
    fn new(state: State, reading: Reading, history: u64) -> Self {
        Self {
            state: Mutex::new(state),
            ready: Notify::new(),
            changes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            history: AtomicU64::new(history),
            reading: RwLock::new(Some(reading)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held was the writer's, which then closes the store.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on everything is refused.
    fn close(&self, why: &str) {
        self.state().closed.get_or_insert_with(|| why.to_owned());
        *self.reading.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.wake_takers();
    }

    fn closed(&self) -> Error {
        Error::Closed(self.state().closed.clone().unwrap_or_else(|| "its writer is gone".into()))
    }

    fn reading(&self) -> Result<Reading> {
        let reading = self.reading.read().unwrap_or_else(PoisonError::into_inner).clone();
        reading.ok_or_else(|| self.closed())
    }

    fn wake_takers(&self) {
        self.ready.notify_waiters();
    }

    fn count(&self, changes: u64, syncs: u64) {
        self.changes.fetch_add(changes, Relaxed);
        self.syncs.fetch_add(syncs, Relaxed);
    }

    fn set_history(&self, jobs: u64) {
        self.history.store(jobs, Relaxed);
    }
}

/// The embedded store. Dropping it closes it; [`close`](Store::close) says when that is done.
pub struct Embedded {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    identity: String,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the store of a namespace in a folder, and creates what is missing, readable by its owner alone. `now` is
    /// what others are told who find it held.
    ///
    /// Reads the whole backlog of waiting jobs; a million takes some seconds.
    ///
    /// # Errors
    /// [`Error::Held`] if another host has it open, [`Error::Version`] if a newer version wrote it, [`Error::Io`] if it
    /// cannot be read or is damaged.
    pub fn open(path: &Path, namespace: &str, options: Options, now: Timestamp) -> Result<Self> {
        opening::open(path, namespace, &options, now)
    }

    /// Whether the store of a namespace in a folder could be opened now, as far as others are concerned. Nothing is changed.
    ///
    /// # Errors
    /// [`Error::Held`], which names the holder.
    pub fn look(path: &Path, namespace: &str) -> Result<()> {
        lock::look(&path.join(namespace))
    }

    /// A store that is gone when it is closed, and that syncs nothing: for tests and trials. It is kept in a folder for
    /// temporary files.
    ///
    /// # Errors
    /// [`Error::Io`] if that folder cannot be written to.
    pub fn in_memory(namespace: &str) -> Result<Self> {
        opening::temporary(namespace)
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| self.shared.closed())?;
        answer.await.map_err(|_| self.shared.closed())?
    }

    /// Asks the disk, which may take a while, elsewhere than where futures are polled.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(Reading, &Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        let reading = shared.reading()?;
        let answer = tokio::task::spawn_blocking(move || query(reading, &shared)).await;
        answer.map_err(|error| Error::Io(format!("a query did not end: {error}")))?
    }

    /// Reads the records that were not in memory.
    fn complete(&self, taken: Vec<Taken>) -> Result<Vec<Work>> {
        let reading = self.shared.reading()?;
        let mut all = Vec::with_capacity(taken.len());
        for Taken { mut work, ids } in taken {
            for (id, job) in ids {
                work.jobs.push(match job {
                    Some(job) => Arc::unwrap_or_clone(job),
                    None => match reading.disk.pending.get(id.to_bytes()).map_err(io)? {
                        Some(bytes) => from_json(&bytes)?,
                        None => return Err(Error::Io(format!("the record of job {id} is missing"))),
                    },
                });
            }
            all.push(work);
        }
        Ok(all)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        let _ = self.requests.send(Request::Close(reply));
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for Embedded {
    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted> {
        self.ask(|reply| Request::Accept(batch, now, reply)).await
    }

    async fn apply(&self, changes: Changes, now: Timestamp) -> Result<Applied> {
        self.ask(|reply| Request::Apply(Box::new(changes), now, reply)).await
    }

    async fn start_run(&self, run: NewRun, now: Timestamp) -> Result<Run> {
        self.ask(|reply| Request::StartRun(run, now, reply)).await
    }

    async fn take(&self, services: usize, jobs: usize, now: Timestamp) -> Result<Vec<Work>> {
        loop {
            let mut ready = std::pin::pin!(self.shared.ready.notified());
            // Before looking, so that nothing that becomes ready after the look is missed.
            ready.as_mut().enable();
            let taken = {
                let mut state = self.shared.state();
                if let Some(why) = &state.closed {
                    return Err(Error::Closed(why.clone()));
                }
                let State { backlog, filters, .. } = &mut *state;
                backlog.take(services.max(1), jobs.max(1), now, filters, |_| true)
            };
            if !taken.is_empty() {
                return self.complete(taken);
            }
            ready.await;
        }
    }

    async fn commit(&self, attempts: Vec<Settled>, now: Timestamp) -> Result<()> {
        let attempts = attempts.into_iter().map(Attempt::new).collect::<Result<_>>()?;
        self.ask(|reply| Request::Commit(attempts, now, reply)).await
    }

    async fn release(&self, service: &ServiceKey, jobs: &[Id]) -> Result<()> {
        let ready = {
            let mut state = self.shared.state();
            if let Some(why) = &state.closed {
                return Err(Error::Closed(why.clone()));
            }
            state.backlog.release(service, jobs)
        };
        if ready {
            self.shared.wake_takers();
        }
        Ok(())
    }

    async fn tick(&self, now: Timestamp) -> Result<Ticked> {
        let woken = {
            let mut state = self.shared.state();
            if let Some(why) = &state.closed {
                return Err(Error::Closed(why.clone()));
            }
            let woken = state.backlog.wake(now);
            if state.backlog.due.first().is_none_or(|(at, ..)| *at > now) {
                let ticked = Ticked { occurrences: 0, next_due: state.backlog.next_due() };
                drop(state);
                if woken {
                    self.shared.wake_takers();
                }
                return Ok(ticked);
            }
            woken
        };
        if woken {
            self.shared.wake_takers();
        }
        self.ask(|reply| Request::Tick(now, reply)).await
    }

    async fn cancel(&self, job: Id, now: Timestamp) -> Result<Job> {
        self.ask(|reply| Request::Cancel(job, now, reply)).await
    }

    async fn retry_dead(&self, id: Id, now: Timestamp) -> Result<Job> {
        self.ask(|reply| Request::RetryDead(id, now, reply)).await
    }

    async fn discard_dead(&self, id: Id, now: Timestamp) -> Result<DeadLetter> {
        self.ask(|reply| Request::DiscardDead(id, now, reply)).await
    }

    async fn retain(&self, policy: RetentionPolicy, now: Timestamp) -> Result<()> {
        self.ask(|reply| Request::Retain(policy, now, reply)).await
    }

    async fn services(&self, query: ServiceQuery, paging: Paging) -> Result<Page<Service>> {
        self.read(move |reading, _| queries::services(&reading, &query, &paging)).await
    }

    async fn service(&self, key: &ServiceKey) -> Result<Option<Service>> {
        queries::service(&self.shared.reading()?, key)
    }

    async fn filters(&self, query: FilterQuery, paging: Paging) -> Result<Page<Subscription>> {
        self.read(move |reading, _| queries::filters(&reading, &query, &paging)).await
    }

    async fn schedules(&self, query: ScheduleQuery, paging: Paging) -> Result<Page<Schedule>> {
        self.read(move |reading, _| queries::schedules(&reading, &query, &paging)).await
    }

    async fn jobs(&self, query: JobQuery, paging: Paging) -> Result<Page<Job>> {
        self.read(move |reading, shared| queries::jobs(&reading, shared, &query, &paging)).await
    }

    async fn job(&self, id: Id) -> Result<Option<Job>> {
        queries::job(&self.shared.reading()?, &self.shared, id)
    }

    async fn kv_get(&self, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>> {
        queries::kv_get(&self.shared.reading()?, service, key)
    }

    async fn kv_keys(
        &self,
        service: &ServiceKey,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let (service, prefix, after) = (service.clone(), prefix.to_owned(), after.map(str::to_owned));
        self.read(move |reading, _| queries::kv_keys(&reading, &service, &prefix, after.as_deref(), limit))
            .await
    }

    async fn run(&self, id: Id) -> Result<Option<Run>> {
        queries::run(&self.shared.reading()?, id)
    }

    async fn runs_under_way(&self) -> Result<Vec<Run>> {
        self.read(move |reading, _| queries::runs_under_way(&reading)).await
    }

    async fn dead(&self, query: DeadQuery, paging: Paging) -> Result<Page<DeadLetter>> {
        self.read(move |reading, _| queries::dead(&reading, &query, &paging)).await
    }

    async fn dead_letter(&self, id: Id) -> Result<Option<DeadLetter>> {
        queries::dead_letter(&self.shared.reading()?, id)
    }

    async fn unmatched(&self, paging: Paging) -> Result<Page<EventRecord>> {
        self.read(move |reading, _| queries::unmatched(&reading, &paging)).await
    }

    async fn grants(&self) -> Result<BTreeMap<String, Granted>> {
        queries::grants(&self.shared.reading()?)
    }

    async fn grant(&self, grants: BTreeMap<String, Granted>) -> Result<()> {
        self.ask(|reply| Request::Grant(grants, reply)).await
    }

    async fn last_claim(&self, door: &str) -> Result<u64> {
        queries::last_claim(&self.shared.reading()?, door)
    }

    async fn status(&self) -> Result<StoreStatus> {
        let counts = {
            let state = self.shared.state();
            if let Some(why) = &state.closed {
                return Err(Error::Closed(why.clone()));
            }
            state.counts
        };
        Ok(StoreStatus {
            pending: counts.pending,
            history: self.shared.history.load(Relaxed),
            dead: counts.dead,
            services: counts.services,
            changes: self.shared.changes.load(Relaxed),
            syncs: self.shared.syncs.load(Relaxed),
            hosts: 1,
            takeovers: 0,
            refused_turns: 0,
        })
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    async fn close(&self) -> Result<()> {
        self.ask(Request::Close).await
    }
}
