//! The dispatcher: takes jobs from the store, has them executed, commits what they did.
//!
//! ```text
//! store.take ──> one task per service, on the guests' threads ──> store.commit
//!                attempt, attempt, …        (attempt.rs)            (commits.rs)
//! ```
//!
//! A service's jobs are executed one after the other on its resident instance, each on the data that the one before
//! left; while one batch of their turns is being made durable, the next jobs run.

mod attempt;
mod cancels;
mod commits;
mod form;
mod kept;
mod rates;
mod residents;
mod tell;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use ays_core::{Id, filter::FilterSet, job::JobState, manifest::LimitPolicy, turn::Effect};
use ays_engine::{KeyValues, Pairs};
use ays_store::{Store, Work};
use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

pub use self::cancels::Cancels;
use self::{
    attempt::{Beside, Data, Tried},
    commits::Commits,
    kept::Kept,
    rates::Rates,
    residents::Residents,
};
use crate::{
    clock,
    granting::Granting,
    guests::{Guests, Stint},
    hub::Hub,
    live::Live,
    metrics::{Measure, Metrics},
};

/// Jobs of one service that are taken at a time.
const JOBS_AT_A_TIME: usize = 128;
/// Services that are taken at a time.
const SERVICES_AT_A_TIME: usize = 64;
/// After so long, a service's further jobs are put back, to be taken anew: retries that fell due meanwhile come first,
/// and what the jobs read of other services is fresh.
const LONGEST_TAKE: Duration = Duration::from_millis(50);

/// Within which time tasks end whose guests were stopped, unless the store does not answer.
const STOPPED: Duration = Duration::from_secs(3);

/// What limits the dispatcher.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Services whose jobs are executed at the same time. More than there are cores makes sense: guests that compute
    /// share the cores, and those that wait need none.
    pub parallel: usize,
    /// Instances that are kept warm while their service is idle.
    pub residents: usize,
    /// For how long.
    pub idle: Duration,
    /// What jobs may use.
    pub limits: LimitPolicy,
}

impl Default for Settings {
    /// 256 services at a time, 512 instances kept for 30 s.
    fn default() -> Self {
        Self { parallel: 256, residents: 512, idle: Duration::from_secs(30), limits: LimitPolicy::default() }
    }
}

/// How a dispatcher is told to end, and tells that it must.
pub struct Ends {
    /// When cancelled, no further job begins.
    pub stop: CancellationToken,
    /// Cancelled when the store does not keep what it is given.
    pub broken: CancellationToken,
}

/// What a dispatcher works with.
pub struct Context {
    /// Where jobs come from, and what they did goes to.
    pub store: Arc<dyn Store>,
    /// What executes them.
    pub actors: Live,
    /// What it is granted.
    pub granting: Arc<Granting>,
    /// Where what happens is told.
    pub hub: Hub,
    /// Where it is counted.
    pub metrics: Metrics,
    /// Where cancelled jobs are told.
    pub cancels: Cancels,
}

/// Takes jobs from the store, has them executed, commits what they did.
pub struct Dispatcher {
    store: Arc<dyn Store>,
    /// The same, as guests read key-value pairs from it.
    kept: Arc<dyn KeyValues>,
    actors: Live,
    granting: Arc<Granting>,
    hub: Hub,
    metrics: Metrics,
    settings: Settings,
    residents: Residents,
    rates: Rates,
    cancels: Cancels,
    /// When cancelled, no further job begins.
    stop: CancellationToken,
    /// When cancelled, guests are stopped where they are.
    kill: CancellationToken,
    /// When cancelled, the store does not keep what it is given: the host must end.
    broken: CancellationToken,
}

impl Dispatcher {
    /// A dispatcher that goes on until it is told to end.
    pub fn new(context: Context, settings: Settings, ends: Ends) -> Arc<Self> {
        let Context { store, actors, granting, hub, metrics, cancels } = context;
        let Ends { stop, broken } = ends;
        let residents = Residents::new(settings.residents, settings.idle);
        let kill = CancellationToken::new();
        let kept = Arc::new(Kept::new(store.clone()));
        Arc::new(Self {
            store,
            kept,
            actors,
            granting,
            hub,
            metrics,
            settings,
            residents,
            rates: Rates::default(),
            cancels,
            stop,
            kill,
            broken,
        })
    }

    /// Works until it is to stop, then waits up to `drain` for jobs that run. Those that take longer are stopped, leave no
    /// trace, and are there again when the store is opened next.
    pub async fn run(self: Arc<Self>, guests: &Guests, drain: Duration) {
        let tasks = TaskTracker::new();
        let places = Arc::new(Semaphore::new(self.settings.parallel.max(1)));
        let expiring = tokio::spawn(self.clone().expire());
        loop {
            let take = async {
                let first = places.clone().acquire_owned().await.ok()?;
                let mut free = vec![first];
                while free.len() < SERVICES_AT_A_TIME
                    && let Ok(place) = places.clone().try_acquire_owned()
                {
                    free.push(place);
                }
                Some((self.store.take(free.len(), JOBS_AT_A_TIME, clock::now()).await, free))
            };
            let taken = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                taken = take => taken,
            };
            let Some((taken, free)) = taken else { break };
            match taken {
                Ok(works) => {
                    for (work, place) in works.into_iter().zip(free) {
                        let this = self.clone();
                        let service = work.service.clone();
                        guests.spawn(&tasks, service.actor(), |stint| async move {
                            this.guarded(work, stint).await;
                            drop(place);
                        });
                    }
                }
                Err(why) => {
                    if !self.stop.is_cancelled() {
                        self.store_failed(&why);
                    }
                    break;
                }
            }
        }
        expiring.abort();
        tasks.close();
        if !tasks.is_empty() {
            tokio::select! {
                () = tasks.wait() => {}
                () = clock::sleep(drain) => {
                    warn!("{} services still have a job running after {} s: stopping them; their jobs start over", tasks.len(), drain.as_secs_f32());
                    self.kill.cancel();
                    tokio::select! {
                        () = tasks.wait() => {}
                        () = clock::sleep(STOPPED) => warn!("what they did cannot be committed now: their jobs start over"),
                    }
                }
            }
        }
        self.residents.clear();
    }

    /// Drops instances that have been idle for too long, also while nothing else happens.
    async fn expire(self: Arc<Self>) {
        loop {
            clock::sleep(self.settings.idle / 2).await;
            self.residents.expire();
        }
    }

    /// A fault of the host's own in one job's task must not take the service out of action.
    async fn guarded(&self, work: Work, stint: Stint) {
        let service = work.service.clone();
        let jobs: Vec<Id> = work.jobs.iter().map(|job| job.id).collect();
        if AssertUnwindSafe(self.work(work, stint)).catch_unwind().await.is_err() {
            self.put_back(&service, &jobs).await;
            error!(service = %service, "the host panicked while it executed jobs of {service}; they were put back");
        }
    }

    async fn work(&self, work: Work, stint: Stint) {
        let Work { service, data, schema, kv, mut filters, links, linked, jobs } = work;
        let mut data = Data { json: data, schema };
        let linked = linked.into();
        let mut pairs = Pairs::new(self.kept.clone(), kv);
        let mut commits = Commits::new(self.store.clone(), self.hub.clone(), self.metrics.clone());
        let mut instance = self.residents.take(&service);
        let mut rest = jobs.into_iter();
        let mut left: Vec<Id> = Vec::new();
        let mut after = None;
        let began = clock::instant();
        for job in rest.by_ref() {
            let started = clock::instant();
            if self.stop.is_cancelled() || started.duration_since(began) > LONGEST_TAKE {
                left.push(job.id);
                break;
            }
            let id = job.id;
            let ended = {
                let beside = Beside { links: &links, linked: &linked, pairs: &pairs, filters: &filters };
                let attempt = self.attempt(&mut instance, job, &service, &data, beside);
                let mut attempt = std::pin::pin!(attempt);
                loop {
                    tokio::select! {
                        // First, since most end at once and need none of the others.
                        biased;
                        settled = &mut attempt => break Some(settled),
                        () = self.kill.cancelled() => break None,
                        () = self.cancels.wait(id) => break None,
                        committed = commits.progress(), if commits.has_gathered() => {
                            if let Err(why) = committed {
                                return self.store_failed(&why);
                            }
                        }
                    }
                }
            };
            let Some((mut settled, tried)) = ended else {
                // Stopped where it was: what the instance's memory holds means nothing.
                instance = None;
                left.push(id);
                break;
            };
            let measure = match tried {
                Tried::PutOff => None,
                Tried::Action { declared } => Some(Measure { took: started.elapsed(), declared }),
            };
            settled.after = after;
            if settled.job.state == JobState::Ok {
                let kept = take_over(&mut pairs, &mut filters, &settled.effects);
                if data.take_over(&settled) || kept {
                    after = Some(id);
                }
            }
            let waits = settled.job.state == JobState::Retrying && settled.job.strict;
            if let Err(why) = commits.push(settled, measure).await {
                return self.store_failed(&why);
            }
            stint.job_ended();
            if waits {
                break;
            }
        }
        if let Err(why) = commits.finish().await {
            return self.store_failed(&why);
        }
        left.extend(rest.map(|job| job.id));
        if let Some(instance) = instance {
            self.residents.keep(&service, instance);
        }
        if !left.is_empty() {
            self.put_back(&service, &left).await;
        }
    }

    async fn put_back(&self, service: &ays_core::ServiceKey, jobs: &[Id]) {
        if let Err(why) = self.store.release(service, jobs).await {
            self.store_failed(&why);
        }
    }

    fn store_failed(&self, why: &ays_store::Error) {
        if !self.broken.is_cancelled() {
            error!(
                "{why}. What was accepted is durable; this host ends, since it cannot keep what it does from now on"
            );
            self.broken.cancel();
        }
    }
}

/// Takes over what a turn changed of the key-value pairs and the event filters. Returns whether it did.
fn take_over(pairs: &mut Pairs, filters: &mut FilterSet, effects: &[Effect]) -> bool {
    let mut changed = false;
    for effect in effects {
        match effect {
            Effect::Keep(change) => pairs.change(change),
            Effect::SetFilter(filter) => filters.insert(filter),
            Effect::RemoveFilter(filter) => filters.remove(filter),
            _ => continue,
        }
        changed = true;
    }
    changed
}
