//! Where ays-host keeps everything: services, event filters, schedules, jobs, runs, dead letters.
//!
//! [`Store`] is the trait, written as the steps of an event's way: [`accept`](Store::accept), [`take`](Store::take),
//! [`commit`](Store::commit), [`tick`](Store::tick). Each step takes a batch and is one commit; when it returns, what
//! it did is durable.

mod backlog;
#[cfg(feature = "contract")]
pub mod contract;
mod decide;
pub mod embedded;
mod page;
mod query;
mod record;
pub mod redis;
mod step;

pub use query::{DeadQuery, FilterQuery, JobQuery, Page, Paging, ScheduleQuery, ServiceQuery};
pub use step::{
    Accepted, Applied, Batch, Claim, DeadLetter, NewDeadLetter, RetentionPolicy, Settled, StoreStatus,
    Ticked, Work,
};

use std::{collections::BTreeMap, sync::Arc};

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

/// Why a store did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing; says what was looked for.
    #[error("{0}")]
    NotFound(String),
    /// It is not possible in the state that things are in; says which.
    #[error("{0}")]
    Conflict(String),
    /// The store is held by another host; says by which.
    #[error("{0}")]
    Held(String),
    /// The store was written by a version that this one does not know; says which.
    #[error("{0}")]
    Version(String),
    /// The store cannot be used now, as when its server is gone; says why. It may be again.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
    /// The store is closed, or failed before and refuses everything since: what is not durable must not be taken
    /// for durable.
    #[error("the store is closed: {0}")]
    Closed(String),
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Io(String),
}

/// What a store returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Keeps one namespace: its services, their event filters and schedules, the jobs in their mailboxes, runs, the
/// history of finished jobs, and dead letters.
///
/// # What every implementation promises
///
/// * A method that changes something returns when the change is durable, and its change is one: after a crash all of
///   it is there or none. Changes of concurrent callers may share one write to the disk.
/// * Accepting an event routes it in the same commit: for each event filter that takes it, in order of registration,
///   a job is put at the end of its service's mailbox. An event that no filter takes is recorded as having matched
///   nothing ([`unmatched`](Self::unmatched)).
/// * [`take`](Self::take) gives a service to one taker at a time. Its jobs come in order of arrival (of their ids);
///   a `retrying` job that is not due is passed over, or, if it is [`strict`](Job::strict), holds back all that came
///   after it; when it is due it comes before all that came after it.
/// * A job leaves its mailbox in the same commit in which its turn becomes visible, so its effects happen once,
///   however often it is executed.
/// * Time is what the caller says it is, but for leases: a store that hosts share has a clock that they all go by
///   ([`time`](Self::time)).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Accepts what came in by a door: events are routed, jobs are put into mailboxes, dead letters are recorded.
    /// All of it is one commit, together with the batch's [`Claim`]; if the last entry that was accepted from the same door
    /// is another than that claim says, nothing happens ([`Accepted::repeated`]): some or all were accepted before, and the
    /// door is to ask how far ([`last_claim`](Self::last_claim)).
    ///
    /// A job for a service that does not exist becomes a dead letter.
    async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted>;

    /// Applies a blueprint's changes.
    ///
    /// # Errors
    /// [`Error::NotFound`] if a service that is to be updated, or to get an event filter or a schedule, is neither there
    /// nor created; nothing is changed then.
    async fn apply(&self, changes: Changes, now: Timestamp) -> Result<Applied>;

    /// Starts a run: its first step's jobs are put into their mailboxes; each later step's, in the commit in which
    /// the last job of the step before ends well.
    async fn start_run(&self, run: NewRun, now: Timestamp) -> Result<Run>;

    /// Waits until a service has a job that can be executed, and takes up to `services` of them, each with up to
    /// `jobs` of its jobs, in order. A service is the taker's until it has [`commit`](Self::commit)ted or
    /// [`release`](Self::release)d all of these jobs. Services that have waited longest come first.
    ///
    /// It is for the caller to execute a service's jobs one after the other, each on the data that the one before left.
    ///
    /// `now` decides which `retrying` jobs are due; [`tick`](Self::tick) wakes takers for those that fall due later.
    /// Dropping the future takes nothing.
    async fn take(&self, services: usize, jobs: usize, now: Timestamp) -> Result<Vec<Work>>;

    /// Commits attempts of jobs that were taken: see [`Settled`]. Attempts of one service must come in the order in
    /// which they were executed. A job that was cancelled meanwhile, or that is not the taker's any more, is left as it
    /// is: its attempt is void.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a record is `new` or `running`; nothing is changed then.
    async fn commit(&self, attempts: Vec<Settled>, now: Timestamp) -> Result<()>;

    /// Gives taken jobs back that were not executed.
    async fn release(&self, service: &ServiceKey, jobs: &[Id]) -> Result<()>;

    /// Waits until jobs are no longer the taker's, since another host cancelled them or owns their services now, and says
    /// which: what executes them may stop, for its attempts are void.
    async fn recalled(&self) -> Vec<Id> {
        std::future::pending().await
    }

    /// Puts jobs of occurrences that are due by `now` into their mailboxes, and wakes takers for `retrying` jobs that
    /// fell due. Says when to call again.
    async fn tick(&self, now: Timestamp) -> Result<Ticked>;

    /// Cancels a job that has not ended. One that is being executed may still run to its end, but its turn is void.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it has ended.
    async fn cancel(&self, job: Id, now: Timestamp) -> Result<Job>;

    /// Takes a letter out of the dead-letter list and puts its job at the end of its service's mailbox, as a new job
    /// with the same action, args and patch and a cause that names the API.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it is not a job (a malformed entry cannot be retried), or if its
    /// service is gone.
    async fn retry_dead(&self, id: Id, now: Timestamp) -> Result<Job>;

    /// Removes a letter from the dead-letter list, and returns it. The record of a job stays in the history.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    async fn discard_dead(&self, id: Id, now: Timestamp) -> Result<DeadLetter>;

    /// Drops history that is past what the policy keeps. Mailboxes and dead letters are not history.
    async fn retain(&self, policy: RetentionPolicy, now: Timestamp) -> Result<()>;

    /// The services, by key.
    async fn services(&self, query: ServiceQuery, paging: Paging) -> Result<Page<Service>>;
    /// One service.
    async fn service(&self, key: &ServiceKey) -> Result<Option<Service>>;
    /// The event filters, in order of registration.
    async fn filters(&self, query: FilterQuery, paging: Paging) -> Result<Page<Subscription>>;
    /// The schedules, by service and action.
    async fn schedules(&self, query: ScheduleQuery, paging: Paging) -> Result<Page<Schedule>>;
    /// Jobs, youngest (greatest id) first: those in mailboxes and those in the history.
    async fn jobs(&self, query: JobQuery, paging: Paging) -> Result<Page<Job>>;
    /// One job.
    async fn job(&self, id: Id) -> Result<Option<Job>>;
    /// The value of a service's pair of this key, if there is one. Who takes the service's jobs reads what all turns that
    /// are committed left.
    async fn kv_get(&self, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>>;
    /// Up to `limit` keys of a service's pairs that begin with `prefix` and come after `after`, in the order of their bytes.
    async fn kv_keys(
        &self,
        service: &ServiceKey,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>>;
    /// One run.
    async fn run(&self, id: Id) -> Result<Option<Run>>;
    /// The runs that have not ended, oldest first.
    async fn runs_under_way(&self) -> Result<Vec<Run>>;
    /// The dead-letter list, youngest first.
    async fn dead(&self, query: DeadQuery, paging: Paging) -> Result<Page<DeadLetter>>;
    /// One dead letter.
    async fn dead_letter(&self, id: Id) -> Result<Option<DeadLetter>>;
    /// Events that matched nothing, youngest first.
    async fn unmatched(&self, paging: Paging) -> Result<Page<EventRecord>>;
    /// What blueprints grant, by actor (`*` for all).
    async fn grants(&self) -> Result<BTreeMap<String, Granted>>;
    /// Grants these actors this, in place of what each was granted before; an actor that is granted nothing any more is
    /// forgotten.
    async fn grant(&self, grants: BTreeMap<String, Granted>) -> Result<()>;
    /// The number of the last claim that was accepted from a door; 0 if there was none.
    async fn last_claim(&self, door: &str) -> Result<u64>;
    /// How it is doing.
    async fn status(&self) -> Result<StoreStatus>;

    /// Why the store cannot be used now, if so. It tries again by itself.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What time it is by the store's own clock, if it has one: hosts that share a store go by it, and not by theirs.
    fn time(&self) -> Option<Timestamp> {
        None
    }

    /// A name for this store that stays the same for as long as its content lives, and that no other store has: doors
    /// put it on what they claim.
    fn identity(&self) -> String;

    /// Waits for what was begun, and closes. Everything asked after that is [`Error::Closed`].
    async fn close(&self) -> Result<()>;
}
