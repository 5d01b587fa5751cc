//! The store on Redis: several hosts share a namespace.
//!
//! The services of a namespace are shared out over 64 [partitions](ays_core::partition). Each partition is owned by one host at
//! a time, under a lease; the *fence*, a number that grows whenever the partition changes hands, keeps a host that was paused
//! from committing what it decided before.
//!
//! A host keeps the services and mailboxes of its partitions in memory, takes decisions on that exactly as the embedded store
//! does, and commits all that waits in one call of one script (`commit.lua`), which first checks that everything it was decided
//! on still holds. Any host accepts events for any service: the script puts the jobs into the mailboxes and tells the owners.
//!
//! `keys` says what is where in Redis. The scripts say what they read, write and promise.

mod args;
mod draft;
mod keys;
mod leases;
mod link;
mod listening;
mod look_up;
mod memory;
mod queries;
mod record;
mod requests;
mod round;
mod running;
mod scripts;
#[cfg(test)]
mod simulation;
mod taking;
mod timer;
mod value;
mod writer;

use std::{
    collections::BTreeMap,
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
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
use ays_redis::{Server, Trouble};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    Accepted, Applied, Batch, DeadLetter, DeadQuery, Error, FilterQuery, JobQuery, Page, Paging, Result,
    RetentionPolicy, ScheduleQuery, ServiceQuery, Settled, Store, StoreStatus, Ticked, Work,
    decide::Attempt,
    record::{from_json, to_json},
};
use args::Args;
use keys::Keys;
use leases::Leases;
use link::{Connections, Link};
use memory::Memory;
use record::stored;
use requests::{Reply, Request};
use taking::Held;
use timer::Instant;
use value::{bytes, number, pairs, text};
use writer::Writer;

/// The format that this version writes.
const FORMAT: u64 = 1;

/// For how long closing waits for commits that were begun.
const CLOSING: Duration = Duration::from_secs(3);

/// How a store on Redis is run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// For how long a host may be silent before its partitions are taken over. It renews its lease every third of that.
    pub lease: Duration,
    /// How much memory records of waiting jobs may take, in bytes; others are read from Redis when they are taken.
    pub job_cache_bytes: usize,
    /// How many finished jobs a piece of the history has at most; history is dropped by the piece.
    pub piece_jobs: u64,
}

impl Default for Options {
    /// A lease of 10 s, 64 MiB for records of jobs, 4,096 jobs in a piece.
    fn default() -> Self {
        Self { lease: Duration::from_secs(10), job_cache_bytes: 64 << 20, piece_jobs: 4096 }
    }
}

/// What is known of the leases of all hosts.
#[derive(Debug)]
struct Lease {
    /// What time it was in Redis, in ms since 1970, when it was read.
    now_ms: u64,
    read_at: Instant,
    hosts: BTreeSet<String>,
}

/// What the writer, takers, readers and the leases share.
struct Shared {
    host: Arc<str>,
    keys: Keys,
    link: Arc<dyn Link>,
    memory: Mutex<Memory>,
    lease: Mutex<Lease>,
    /// Wakes takers, and those who wait for jobs that are recalled.
    ready: Notify,
    /// Wakes who looks after the leases.
    nudge: Notify,
    closing: CancellationToken,
    /// Whether this host is to give its lease back when it closes.
    leaves: AtomicBool,
    /// Nothing is done about the lease any more.
    left: CancellationToken,
    /// Whether Redis could not be used when it was last asked.
    troubled: AtomicBool,
    /// Whether the writer cannot go on: what others can ask does not tell that Redis can be used.
    stuck: AtomicBool,
    changes: AtomicU64,
    commits: AtomicU64,
    piece_jobs: AtomicU64,
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something in memory has changed that others may wait for.
    fn tell(&self, any: bool) {
        if any {
            self.ready.notify_waiters();
        }
    }

    fn count(&self, changes: u64) {
        self.changes.fetch_add(changes, Relaxed);
        self.commits.fetch_add(1, Relaxed);
    }

    fn piece_jobs(&self) -> u64 {
        self.piece_jobs.load(Relaxed)
    }

    /// From now on pieces are small enough that dropping whole ones keeps the number of jobs near the policy's.
    fn retain_jobs(&self, jobs: u64) {
        self.piece_jobs.fetch_min((jobs / 10).max(100), Relaxed);
    }

    /// From here on everything is refused.
    fn close(&self, why: &str) {
        self.memory().closed.get_or_insert_with(|| why.to_owned());
        self.closing.cancel();
        self.tell(true);
    }

    fn closed(&self) -> Error {
        Error::Closed(self.memory().closed.clone().unwrap_or_else(|| "its writer is gone".into()))
    }

    fn check_open(&self) -> Result<()> {
        match &self.memory().closed {
            Some(why) => Err(Error::Closed(why.clone())),
            None => Ok(()),
        }
    }

    /// Redis cannot be used. Said once.
    fn trouble(&self, trouble: &Trouble) {
        self.troubled_by(trouble.to_string(), trouble.kind());
    }

    fn troubled_by(&self, said: String, kind: &str) {
        let mut memory = self.memory();
        if memory.trouble.as_ref() != Some(&said) {
            tracing::error!(kind, "the store cannot be used: {said}; trying again");
        }
        memory.trouble = Some(said);
        self.troubled.store(true, Relaxed);
    }

    /// Redis can be used.
    fn works(&self) {
        if !self.stuck.load(Relaxed) && self.troubled.swap(false, Relaxed) {
            self.memory().trouble = None;
            tracing::info!("the store can be used again");
        }
    }

    /// Asks Redis, once: who only wants to know does not wait until it comes back.
    async fn ask(&self, commands: &[Args]) -> Result<Vec<redis::Value>> {
        self.check_open()?;
        match self.link.ask(commands).await {
            Ok(values) => Ok(values),
            Err(trouble) => {
                self.check_open()?;
                self.trouble(&trouble);
                Err(Error::Unavailable(trouble.to_string()))
            }
        }
    }

    async fn ask_one(&self, command: Args) -> Result<redis::Value> {
        Ok(self.ask(&[command]).await?.pop().unwrap_or(redis::Value::Nil))
    }

    /// A command on a key of the namespace.
    fn command(&self, name: &str, key: &str) -> Args {
        let mut args = Args::command(name);
        args.push(self.keys.key(key));
        args
    }
}

/// The store on Redis. Dropping it ends what it does in the background; [`close`](Store::close) gives its partitions to the
/// other hosts first.
pub struct Redis {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
    identity: String,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("identity", &self.identity).field("host", &self.shared.host).finish()
    }
}

impl Redis {
    /// Opens the store of a namespace, and takes this host's share of the partitions. Reads the jobs that wait in them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if Redis cannot be used, [`Error::Version`] if a newer version wrote the namespace,
    /// [`Error::Io`] if a record is damaged.
    pub async fn open(
        server: Arc<Server>,
        namespace: &str,
        options: Options,
        now: Timestamp,
    ) -> Result<Self> {
        let keys = Keys::new(namespace);
        let link = Arc::new(Connections::new(server, keys.clone()));
        Self::open_by(link, keys, namespace, options, now, random()?, random()?).await
    }

    async fn open_by(
        link: Arc<dyn Link>,
        keys: Keys,
        namespace: &str,
        options: Options,
        now: Timestamp,
        host: u64,
        chance: u64,
    ) -> Result<Self> {
        let unavailable = |trouble: Trouble| Error::Unavailable(trouble.to_string());
        let mut args = Args::default();
        args.show(FORMAT).show(format_args!("{namespace}-{host:016x}{chance:016x}")).push(salt(chance));
        let answer = link.call(&scripts::OPEN, &args).await.map_err(unavailable)?;
        let mut answer = value::list(answer)?.into_iter();
        let mut next = || answer.next().unwrap_or(redis::Value::Nil);
        let (format, identity) = (number(next())?, text(next())?.unwrap_or_default());
        if format > FORMAT {
            return Err(Error::Version(format!(
                "the namespace `{namespace}` in Redis has format {format}; this version reads formats up to {FORMAT}: start \
                 the version that wrote it or a newer one, or use another namespace"
            )));
        }
        let now_ms = number(next())?;
        let lease = Lease { now_ms, read_at: timer::now(), hosts: BTreeSet::new() };
        let shared = Arc::new(Shared {
            host: format!("h{host:016x}").into(),
            keys,
            link,
            memory: Mutex::new(Memory::new(namespace, options.job_cache_bytes)),
            lease: Mutex::new(lease),
            ready: Notify::new(),
            nudge: Notify::new(),
            closing: CancellationToken::new(),
            leaves: AtomicBool::new(false),
            left: CancellationToken::new(),
            troubled: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            piece_jobs: AtomicU64::new(options.piece_jobs.max(1)),
        });
        let (requests, received) = mpsc::unbounded_channel();
        let this = Self { shared: shared.clone(), requests: requests.clone(), identity };
        timer::spawn(Writer::new(shared.clone(), received, now).run());
        let mut leases = Leases::new(shared.clone(), requests.clone(), options.lease);
        leases.join().await?;
        timer::spawn(leases.run());
        timer::spawn(running::tell(shared.clone()));
        timer::spawn(listening::listen(shared, requests));
        Ok(this)
    }

    async fn write<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.shared.check_open()?;
        self.requests.send(request(reply)).map_err(|_| self.shared.closed())?;
        answer.await.map_err(|_| self.shared.closed())?
    }

    /// For what can be asked for again later: refused at once while Redis cannot be used.
    async fn write_now<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        if self.shared.troubled.load(Relaxed)
            && let Some(trouble) = self.shared.memory().trouble.clone()
        {
            return Err(Error::Unavailable(trouble));
        }
        self.write(request).await
    }
}

/// Six characters that make the ids of a namespace its own.
fn salt(chance: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digit =
        |n: u32| DIGITS.get((chance >> (5 * n)) as usize % 32).map_or('0', |digit| char::from(*digit));
    (0..6).map(digit).collect()
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::Io(format!("no random number is to be had: {error}")))?;
    Ok(u64::from_ne_bytes(bytes))
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.shared.close("it was dropped");
    }
}

#[async_trait]
impl Store for Redis {
    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted> {
        self.write_now(|reply| Request::Accept(batch, now, reply)).await
    }

    async fn apply(&self, changes: Changes, now: Timestamp) -> Result<Applied> {
        self.write_now(|reply| Request::Apply(Box::new(changes), now, reply)).await
    }

    async fn start_run(&self, run: NewRun, now: Timestamp) -> Result<Run> {
        self.write_now(|reply| Request::StartRun(run, now, reply)).await
    }

    async fn take(&self, services: usize, jobs: usize, now: Timestamp) -> Result<Vec<Work>> {
        loop {
            let mut ready = std::pin::pin!(self.shared.ready.notified());
            // Before looking, so that nothing that becomes ready after the look is missed.
            ready.as_mut().enable();
            let taken = {
                let mut memory = self.shared.memory();
                if let Some(why) = &memory.closed {
                    return Err(Error::Closed(why.clone()));
                }
                memory.take(services.max(1), jobs.max(1), now)
            };
            if !taken.is_empty() {
                let mut held = Held::new(&self.shared, &taken);
                match self.complete(taken).await {
                    Ok(work) => {
                        held.jobs.clear();
                        if !work.is_empty() {
                            return Ok(work);
                        }
                    }
                    Err(Error::Unavailable(_)) => {
                        drop(held);
                        timer::sleep(Duration::from_millis(100)).await;
                    }
                    Err(error) => return Err(error),
                }
                continue;
            }
            ready.await;
        }
    }

    async fn commit(&self, attempts: Vec<Settled>, now: Timestamp) -> Result<()> {
        let attempts = attempts.into_iter().map(Attempt::new).collect::<Result<_>>()?;
        self.write(|reply| Request::Commit(attempts, now, reply)).await
    }

    async fn release(&self, service: &ServiceKey, jobs: &[Id]) -> Result<()> {
        self.shared.check_open()?;
        let (ready, freed) = {
            let mut memory = self.shared.memory();
            let haunted = !memory.ghosts.is_empty();
            (memory.release(service, jobs), haunted && memory.ghosts.is_empty())
        };
        if freed {
            self.shared.nudge.notify_one();
        }
        self.shared.tell(ready);
        Ok(())
    }

    async fn tick(&self, now: Timestamp) -> Result<Ticked> {
        self.shared.check_open()?;
        let (woken, idle) = {
            let mut memory = self.shared.memory();
            let woken = memory.backlog.wake(now);
            let idle = memory.backlog.due.first().is_none_or(|(at, ..)| *at > now);
            (woken, idle.then(|| Ticked { occurrences: 0, next_due: memory.next_due() }))
        };
        self.shared.tell(woken);
        match idle {
            Some(ticked) => Ok(ticked),
            None => self.write(|reply| Request::Tick(now, reply)).await,
        }
    }

    async fn recalled(&self) -> Vec<Id> {
        loop {
            let mut told = std::pin::pin!(self.shared.ready.notified());
            told.as_mut().enable();
            let recalled = std::mem::take(&mut self.shared.memory().recalled);
            if !recalled.is_empty() {
                return recalled;
            }
            told.await;
        }
    }

    async fn cancel(&self, job: Id, now: Timestamp) -> Result<Job> {
        self.write_now(|reply| Request::Cancel(job, now, reply)).await
    }

    async fn retry_dead(&self, id: Id, now: Timestamp) -> Result<Job> {
        self.write_now(|reply| Request::RetryDead(id, now, reply)).await
    }

    async fn discard_dead(&self, id: Id, now: Timestamp) -> Result<DeadLetter> {
        self.write_now(|reply| Request::DiscardDead(id, now, reply)).await
    }

    async fn retain(&self, policy: RetentionPolicy, now: Timestamp) -> Result<()> {
        self.write_now(|reply| Request::Retain(policy, now, reply)).await
    }

    async fn services(&self, query: ServiceQuery, paging: Paging) -> Result<Page<Service>> {
        self.shared.services(&query, &paging).await
    }

    async fn service(&self, key: &ServiceKey) -> Result<Option<Service>> {
        self.shared.service(key).await
    }

    async fn filters(&self, query: FilterQuery, paging: Paging) -> Result<Page<Subscription>> {
        self.shared.filters(&query, &paging).await
    }

    async fn schedules(&self, query: ScheduleQuery, paging: Paging) -> Result<Page<Schedule>> {
        self.shared.schedules(&query, &paging).await
    }

    async fn jobs(&self, query: JobQuery, paging: Paging) -> Result<Page<Job>> {
        self.shared.jobs(&query, &paging).await
    }

    async fn job(&self, id: Id) -> Result<Option<Job>> {
        self.shared.job(id).await
    }

    async fn kv_get(&self, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>> {
        self.shared.kv_get(service, key).await
    }

    async fn kv_keys(
        &self,
        service: &ServiceKey,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.shared.kv_keys(service, prefix, after, limit).await
    }

    async fn run(&self, id: Id) -> Result<Option<Run>> {
        self.shared.run(id).await
    }

    async fn runs_under_way(&self) -> Result<Vec<Run>> {
        self.shared.runs_under_way().await
    }

    async fn dead(&self, query: DeadQuery, paging: Paging) -> Result<Page<DeadLetter>> {
        self.shared.dead(&query, &paging).await
    }

    async fn dead_letter(&self, id: Id) -> Result<Option<DeadLetter>> {
        let mut get = self.shared.command("HGET", "dead");
        get.show(id);
        bytes(self.shared.ask_one(get).await?)?.map(|record| stored(&record)).transpose()
    }

    async fn unmatched(&self, paging: Paging) -> Result<Page<EventRecord>> {
        self.shared.unmatched(&paging).await
    }

    async fn grants(&self) -> Result<BTreeMap<String, Granted>> {
        let all = self.shared.command("HGETALL", "grants");
        let grants = pairs(self.shared.ask_one(all).await?)?;
        grants.into_iter().map(|(actor, granted)| Ok((actor, from_json(&granted)?))).collect()
    }

    async fn grant(&self, grants: BTreeMap<String, Granted>) -> Result<()> {
        let change = |(actor, granted): (String, Granted)| {
            let mut change = self.shared.command(if granted.is_empty() { "HDEL" } else { "HSET" }, "grants");
            change.push(actor);
            if !granted.is_empty() {
                change.push(to_json(&granted)?);
            }
            Ok(change)
        };
        let changes: Vec<_> = grants.into_iter().map(change).collect::<Result<_>>()?;
        self.shared.ask(&changes).await?;
        Ok(())
    }

    async fn last_claim(&self, door: &str) -> Result<u64> {
        let mut get = self.shared.command("HGET", "claims");
        get.push(door);
        number(self.shared.ask_one(get).await?)
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.shared.status().await
    }

    fn trouble(&self) -> Option<String> {
        self.shared.memory().trouble.clone()
    }

    fn time(&self) -> Option<Timestamp> {
        let lease = self.shared.lease.lock().unwrap_or_else(PoisonError::into_inner);
        let since = u64::try_from(lease.read_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now_ms = lease.now_ms.saturating_add(since);
        Some(Timestamp::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX)))
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    async fn close(&self) -> Result<()> {
        self.shared.check_open()?;
        self.shared.leaves.store(true, Relaxed);
        // What was begun is committed first, if Redis can be used.
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Close(reply)).map_err(|_| self.shared.closed())?;
        if timer::within(CLOSING, answer).await.is_none() {
            tracing::warn!("what was being committed may not be in Redis: those jobs start over");
            self.shared.close("it was closed");
        }
        self.shared.left.cancelled().await;
        Ok(())
    }
}
