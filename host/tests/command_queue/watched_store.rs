//! A store that notes what it accepts, and that stops or refuses where a test wants it to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
};

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
use ays_store::{
    Accepted, Applied, Batch, DeadLetter, DeadQuery, Error, FilterQuery, JobQuery, Page, Paging, Result,
    RetentionPolicy, ScheduleQuery, ServiceQuery, Settled, Store, StoreStatus, Ticked, Work,
};

/// Where a door stands when it asks the store for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// It asks for the last number, before it claims.
    LastClaim,
    /// It has claimed, and asks the store to accept.
    Accept,
    /// The store has accepted, and the door has not heard of it.
    Accepted,
}

/// See the module.
pub(crate) struct WatchedStore {
    inner: Arc<dyn Store>,
    accepted: Mutex<Vec<(Id, String)>>,
    accepts: AtomicUsize,
    halt_at: Mutex<Option<(At, usize)>>,
    halted: tokio::sync::Notify,
    refusals: AtomicU32,
}

impl WatchedStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            accepted: Mutex::default(),
            accepts: AtomicUsize::new(0),
            halt_at: Mutex::default(),
            halted: tokio::sync::Notify::new(),
            refusals: AtomicU32::new(0),
        })
    }

    /// What was accepted, in order: an event's args and a job's, as JSON, and the raw text of what was not understood.
    pub(crate) fn accepted(&self) -> Vec<String> {
        // By the ids that the store gave them: of two batches under way at once, either may be answered first.
        let mut accepted = self.accepted.lock().unwrap().clone();
        accepted.sort();
        accepted.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Forgets what was accepted so far.
    pub(crate) fn begin_anew(&self) {
        self.accepted.lock().unwrap().clear();
        self.accepts.store(0, SeqCst);
    }

    /// Whoever comes here after this many accepted batches comes no further; none lets all pass.
    pub(crate) fn halt_at(&self, point: Option<(At, usize)>) {
        *self.halt_at.lock().unwrap() = point;
    }

    /// Waits until somebody has come to where [`halt_at`](Self::halt_at) says.
    pub(crate) async fn halted(&self) {
        self.halted.notified().await;
    }

    /// The next batches are refused.
    pub(crate) fn refuse(&self, count: u32) {
        self.refusals.store(count, SeqCst);
    }

    async fn pass(&self, at: At) {
        if *self.halt_at.lock().unwrap() == Some((at, self.accepts.load(SeqCst))) {
            self.halted.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait::async_trait]
impl Store for WatchedStore {
    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted> {
        self.pass(At::Accept).await;
        if self.refusals.load(SeqCst) > 0 {
            self.refusals.fetch_sub(1, SeqCst);
            return Err(Error::Io("no space left on device".into()));
        }
        let events = batch.events.iter().map(|event| event.args.to_string());
        let jobs = batch.jobs.iter().map(|job| job.args.to_string());
        let dead = batch.dead.iter().map(|dead| String::from_utf8_lossy(&dead.raw).into_owned());
        let entries: Vec<_> = events.chain(jobs).chain(dead).collect();
        let accepted = self.inner.accept(batch, now).await?;
        if !accepted.repeated {
            let events = accepted.events.iter().map(|(id, _)| *id);
            let ids = events.chain(accepted.jobs.iter().copied()).chain(accepted.dead.iter().copied());
            self.accepted.lock().unwrap().extend(ids.zip(entries));
            self.accepts.fetch_add(1, SeqCst);
        }
        self.pass(At::Accepted).await;
        Ok(accepted)
    }

    async fn last_claim(&self, door: &str) -> Result<u64> {
        self.pass(At::LastClaim).await;
        self.inner.last_claim(door).await
    }

    async fn grants(&self) -> Result<BTreeMap<String, Granted>> {
        self.inner.grants().await
    }

    async fn grant(&self, grants: BTreeMap<String, Granted>) -> Result<()> {
        self.inner.grant(grants).await
    }

    async fn recalled(&self) -> Vec<Id> {
        self.inner.recalled().await
    }

    fn trouble(&self) -> Option<String> {
        self.inner.trouble()
    }

    fn time(&self) -> Option<Timestamp> {
        self.inner.time()
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }

    async fn apply(&self, changes: Changes, now: Timestamp) -> Result<Applied> {
        self.inner.apply(changes, now).await
    }
    async fn start_run(&self, run: NewRun, now: Timestamp) -> Result<Run> {
        self.inner.start_run(run, now).await
    }
    async fn take(&self, services: usize, jobs: usize, now: Timestamp) -> Result<Vec<Work>> {
        self.inner.take(services, jobs, now).await
    }
    async fn commit(&self, attempts: Vec<Settled>, now: Timestamp) -> Result<()> {
        self.inner.commit(attempts, now).await
    }
    async fn release(&self, service: &ServiceKey, jobs: &[Id]) -> Result<()> {
        self.inner.release(service, jobs).await
    }
    async fn tick(&self, now: Timestamp) -> Result<Ticked> {
        self.inner.tick(now).await
    }
    async fn cancel(&self, job: Id, now: Timestamp) -> Result<Job> {
        self.inner.cancel(job, now).await
    }
    async fn retry_dead(&self, id: Id, now: Timestamp) -> Result<Job> {
        self.inner.retry_dead(id, now).await
    }
    async fn discard_dead(&self, id: Id, now: Timestamp) -> Result<DeadLetter> {
        self.inner.discard_dead(id, now).await
    }
    async fn retain(&self, policy: RetentionPolicy, now: Timestamp) -> Result<()> {
        self.inner.retain(policy, now).await
    }
    async fn services(&self, query: ServiceQuery, paging: Paging) -> Result<Page<Service>> {
        self.inner.services(query, paging).await
    }
    async fn service(&self, key: &ServiceKey) -> Result<Option<Service>> {
        self.inner.service(key).await
    }
    async fn filters(&self, query: FilterQuery, paging: Paging) -> Result<Page<Subscription>> {
        self.inner.filters(query, paging).await
    }
    async fn schedules(&self, query: ScheduleQuery, paging: Paging) -> Result<Page<Schedule>> {
        self.inner.schedules(query, paging).await
    }
    async fn jobs(&self, query: JobQuery, paging: Paging) -> Result<Page<Job>> {
        self.inner.jobs(query, paging).await
    }
    async fn job(&self, id: Id) -> Result<Option<Job>> {
        self.inner.job(id).await
    }
    async fn kv_get(&self, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>> {
        self.inner.kv_get(service, key).await
    }
    async fn kv_keys(
        &self,
        service: &ServiceKey,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.inner.kv_keys(service, prefix, after, limit).await
    }
    async fn run(&self, id: Id) -> Result<Option<Run>> {
        self.inner.run(id).await
    }
    async fn runs_under_way(&self) -> Result<Vec<Run>> {
        self.inner.runs_under_way().await
    }
    async fn dead(&self, query: DeadQuery, paging: Paging) -> Result<Page<DeadLetter>> {
        self.inner.dead(query, paging).await
    }
    async fn dead_letter(&self, id: Id) -> Result<Option<DeadLetter>> {
        self.inner.dead_letter(id).await
    }
    async fn unmatched(&self, paging: Paging) -> Result<Page<EventRecord>> {
        self.inner.unmatched(paging).await
    }
    async fn status(&self) -> Result<StoreStatus> {
        self.inner.status().await
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
