//! One attempt of one job.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use ays_core::{
    JsonText, ServiceKey,
    filter::FilterSet,
    job::{Cause, Failure, FailureKind, Job, JobState},
    manifest::{ActionSpec, Instancing, Limits, Order, STANDARD_ACTIONS},
    retry::{RetryPolicy, Verdict},
    schema::SchemaId,
    service::Links,
    turn::{Effect, Turn},
};
use ays_engine::{Instance, Invocation, Pairs};
use ays_store::{Paging, ServiceQuery, Settled};
use tracing::{debug, error, warn};

use super::{
    Dispatcher,
    form::{self, Form},
    tell,
};
use crate::{
    actors::Loaded,
    clock,
    metrics::Counted,
    quarantine::{self, Held, Quarantine, Suspicion},
};

/// However often and soon a manifest wants its jobs tried again: a stranger's must not keep the disk busy for ever.
const MOST_ATTEMPTS: u32 = 100;
const SHORTEST_DELAY: Duration = Duration::from_millis(100);

/// An instance that has executed so many jobs is replaced by a new one.
const JOBS_PER_INSTANCE: u64 = 10_000;

/// A resident instance, and the version of the actor it is of.
pub(super) struct Resident {
    pub(super) instance: Instance,
    digest: Arc<str>,
    _counted: Counted,
}

/// What came of an attempt that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It was not made yet.
    PutOff,
    /// It was made.
    Action {
        /// Whether the actor has such an action.
        declared: bool,
    },
}

/// What a job can read beside its service's data.
pub(super) struct Beside<'a> {
    /// The services that its own is linked to.
    pub(super) links: &'a Arc<Links>,
    /// Their data.
    pub(super) linked: &'a Arc<[(ServiceKey, JsonText)]>,
    /// Its service's key-value pairs.
    pub(super) pairs: &'a Pairs,
    /// Its service's event filters.
    pub(super) filters: &'a FilterSet,
}

/// A service's data, as the job before left them.
pub(super) struct Data {
    pub(super) json: JsonText,
    /// The schema that they were written with.
    pub(super) schema: Option<SchemaId>,
}

impl Data {
    /// Takes over what a turn changed. Returns whether it did.
    pub(super) fn take_over(&mut self, settled: &Settled) -> bool {
        for effect in &settled.effects {
            if let Effect::SetSchema(schema) = effect {
                self.schema = Some(schema.clone());
            }
        }
        settled.data.iter().for_each(|new| self.json = new.clone());
        settled.data.is_some()
    }
}

impl Dispatcher {
    /// Executes a job once, and decides what becomes of it.
    pub(super) async fn attempt(
        &self,
        resident: &mut Option<Resident>,
        mut job: Job,
        service: &ServiceKey,
        data: &Data,
        beside: Beside<'_>,
    ) -> (Settled, Tried) {
        let Beside { links, linked, pairs, filters } = beside;
        job.attempt = job.attempt.saturating_add(1);
        job.state = JobState::Running;
        job.retry_at = None;
        job.started_at = Some(clock::now());
        // As they are at this moment: the job ends on the version that it began on, whatever comes meanwhile.
        let actors = self.actors.now();
        let loaded = actors.get(service.actor());
        if let Some(loaded) = loaded
            && let Some(held) = self.actors.quarantine().held(loaded.actor.digest())
        {
            return quarantined(job, &held);
        }
        let spec = loaded.and_then(|loaded| loaded.actor.manifest().action(&job.action));
        let policy = &self.settings.limits;
        let limits = loaded.map_or_else(Limits::default, |loaded| {
            let manifest = loaded.actor.manifest();
            spec.map_or_else(|| policy.of(manifest), |spec| policy.of_action(manifest, spec))
        });
        // Data of another schema come into the form of this version's in the same turn in which they are first used.
        let (form, misfit) = match loaded {
            Some(loaded) if spec.is_some() || job.patch.is_some() => {
                match form::of(loaded, data, job.patch.as_ref(), &limits).await {
                    Ok(form) => (form, None),
                    Err(failure) if failure.kind == FailureKind::Host => {
                        return put_off(job, failure.message);
                    }
                    Err(failure) => (Form::default(), Some(failure)),
                }
            }
            _ => (Form::default(), None),
        };
        let Form { data: changed, schema } = form;
        let data = changed.as_ref().unwrap_or(&data.json);
        let turn = match (loaded, spec) {
            (None, _) => return without_actor(job),
            (Some(loaded), _) if let Some(failure) = misfit => {
                job.digest = Some(loaded.actor.digest().clone());
                let turn = no_turn(Err(failure));
                self.judge(loaded, &job, &turn).await;
                turn
            }
            (Some(_), None) if STANDARD_ACTIONS.contains(&job.action.as_str()) => {
                no_turn(Ok(JsonText::null()))
            }
            (Some(loaded), None) => no_turn(Err(Failure::new(
                FailureKind::App,
                format!(
                    "{} has no action `{}`; it has {}",
                    service.actor(),
                    job.action,
                    loaded.actor.manifest().action_names()
                ),
            )
            .for_good())),
            (Some(loaded), Some(_)) => {
                job.digest = Some(loaded.actor.digest().clone());
                let manifest = loaded.actor.manifest();
                let outside = &*self.granting.outside(&loaded.actor);
                let invocation = Invocation {
                    manifest,
                    job: &job,
                    service,
                    data: data.clone(),
                    links,
                    linked,
                    limits,
                    outside,
                    pairs,
                    filters,
                };
                let turn = self.execute(resident, loaded, invocation, &limits).await;
                let turn = self.within_rate(service, turn, &limits);
                self.judge(loaded, &job, &turn).await;
                turn
            }
        };
        let mut settled = self.settle(job, turn, spec, changed);
        if settled.job.state == JobState::Ok {
            settled.effects.extend(schema.map(Effect::SetSchema));
        }
        let declared = spec.is_some() || STANDARD_ACTIONS.contains(&settled.job.action.as_str());
        (settled, Tried::Action { declared })
    }

    /// Executes on the resident instance, if it is one of this version, or on a new one.
    async fn execute(
        &self,
        resident: &mut Option<Resident>,
        loaded: &Loaded,
        invocation: Invocation<'_>,
        limits: &Limits,
    ) -> Turn {
        let digest = loaded.actor.digest();
        let mut using = match resident.take().filter(|resident| resident.digest == *digest) {
            Some(resident) => resident,
            None => match loaded.actor.instantiate(limits).await {
                Ok(instance) => {
                    Resident { instance, digest: digest.clone(), _counted: self.metrics.instance() }
                }
                Err(failure) => return no_turn(Err(failure)),
            },
        };
        let turn = using.instance.run(invocation).await;
        // An instance that has grown large is not kept: what it leaks must not add up to a breach.
        let keep = using.instance.is_sound()
            && using.instance.jobs() < JOBS_PER_INSTANCE
            && turn.usage.peak_memory_bytes <= limits.memory_bytes / 2
            && loaded.actor.manifest().instance == Instancing::Resident;
        *resident = keep.then_some(using);
        turn
    }

    /// Keeps how jobs of this version end, and takes it out of service when they keep being stopped. One that is not in
    /// service any more is not judged.
    async fn judge(&self, loaded: &Loaded, job: &Job, turn: &Turn) {
        let digest = loaded.actor.digest();
        let failure = match &turn.outcome {
            Ok(_) => return self.actors.quarantine().succeeded(digest),
            Err(failure) if quarantine::is_breach(failure.kind) => failure,
            Err(_) => return,
        };
        let stopped = |quarantine: &Quarantine| quarantine.stopped(digest, job.id, &job.service);
        let hold = match self.actors.judge(loaded, stopped).unwrap_or(Suspicion::Tolerable) {
            Suspicion::Tolerable => false,
            Suspicion::Enough => true,
            // Its data may be the cause, and the actor's other services must not wait for that.
            Suspicion::OneService => {
                let query = ServiceQuery { actor: Some(loaded.name().into()) };
                let two = Paging { limit: 2, cursor: None };
                self.store.services(query, two).await.is_ok_and(|page| page.items.len() < 2)
            }
        };
        let hold_it = |quarantine: &Quarantine| quarantine.hold(digest, failure, clock::now());
        if hold && let Some(held) = self.actors.judge(loaded, hold_it).flatten() {
            let name = loaded.name();
            error!(
                actor = name,
                "the actor {name} is quarantined ({digest}): {}. Its jobs wait; `ays-host actors release {name}` or a new \
                 version ends it",
                held.why
            );
        }
    }

    /// The turn, or its failure if its events are more than the service may emit now.
    fn within_rate(&self, service: &ServiceKey, turn: Turn, limits: &Limits) -> Turn {
        if turn.outcome.is_err() || turn.effects.is_empty() {
            return turn;
        }
        let events = turn.effects.iter().filter(|effect| matches!(effect, Effect::Emit(_))).count();
        match self.rates.take(service, events as u64, limits, clock::instant()) {
            Ok(()) => turn,
            Err(failure) => Turn { outcome: Err(failure), data: None, effects: Vec::new(), ..turn },
        }
    }

    fn settle(
        &self,
        mut job: Job,
        turn: Turn,
        spec: Option<&ActionSpec>,
        changed: Option<JsonText>,
    ) -> Settled {
        let now = clock::now();
        job.finished_at = Some(now);
        job.usage = Some(turn.usage);
        if told(&job, spec) {
            tell::log(&job, &turn.logs);
        }
        job.logs = turn.logs;
        match turn.outcome {
            Ok(result) => {
                job.state = JobState::Ok;
                job.error = None;
                job.result = (result.as_str() != "null").then_some(result);
                debug!(service = %job.service, action = job.action, job = %job.id, "ok");
                Settled { job, data: turn.data.or(changed), effects: turn.effects, after: None }
            }
            Err(failure) => {
                match self.verdict(&job, &failure, spec) {
                    Verdict::Retry(after) => {
                        job.state = JobState::Retrying;
                        job.retry_at = Some(now.after(after));
                        // What sets a service up comes before anything else it does.
                        job.strict = spec.is_some_and(|spec| spec.order == Order::Strict)
                            || matches!(job.cause, Cause::Init { .. });
                    }
                    Verdict::Dead => job.state = JobState::Error,
                }
                tell::failure(&job, &failure);
                job.error = Some(failure);
                Settled { job, data: None, effects: Vec::new(), after: None }
            }
        }
    }

    /// An occurrence is not tried again later than the next one is due: a recurring action that fails for a while
    /// works again as soon as it can.
    fn verdict(&self, job: &Job, failure: &Failure, spec: Option<&ActionSpec>) -> Verdict {
        let default = RetryPolicy::default();
        let policy = spec.and_then(|spec| spec.retry.as_ref()).unwrap_or(&default);
        let chance = RandomState::new().build_hasher().finish();
        match (&job.cause, policy.after(job.attempt, failure, chance)) {
            (_, Verdict::Retry(_)) if job.attempt >= MOST_ATTEMPTS => Verdict::Dead,
            (Cause::Schedule { due_at, next_at: Some(next) }, Verdict::Retry(after)) => {
                Verdict::Retry(after.min(next.since(*due_at)).max(SHORTEST_DELAY))
            }
            (_, Verdict::Retry(after)) => Verdict::Retry(after.max(SHORTEST_DELAY)),
            (_, Verdict::Dead) => Verdict::Dead,
        }
    }
}

/// How long a job waits for its actor before the host looks again: a tenth of the time since it was created, within
/// these. A job that waits for days must not keep the disk busy.
const LOOKED_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What becomes of a job whose actor is not loaded.
fn without_actor(job: Job) -> (Settled, Tried) {
    let actor = job.service.actor();
    let message = format!(
        "the actor `{actor}` is not loaded; its jobs run once its component is in the actors' folder"
    );
    warn!(service = %job.service, action = job.action, job = %job.id, "{message}");
    put_off(job, message)
}

/// What becomes of a job whose actor is quarantined.
fn quarantined(job: Job, held: &Held) -> (Settled, Tried) {
    let actor = job.service.actor();
    let message = format!(
        "the actor `{actor}` is quarantined: {}; `ays-host actors release {actor}` or a new version ends it",
        held.why
    );
    debug!(service = %job.service, action = job.action, job = %job.id, "{message}");
    put_off(job, message)
}

/// The job waits, and all after it; no attempt is counted, since none was made.
fn put_off(mut job: Job, message: String) -> (Settled, Tried) {
    let now = clock::now();
    job.attempt = job.attempt.saturating_sub(1);
    job.state = JobState::Retrying;
    let waited = now.since(job.created_at) / 10;
    job.retry_at = Some(now.after(waited.clamp(LOOKED_FOR.0, LOOKED_FOR.1)));
    job.strict = true;
    job.finished_at = Some(now);
    job.error = Some(Failure::new(FailureKind::Host, message));
    (Settled { job, data: None, effects: Vec::new(), after: None }, Tried::PutOff)
}

fn no_turn(outcome: Result<JsonText, Failure>) -> Turn {
    Turn {
        outcome,
        data: None,
        effects: Vec::new(),
        logs: Vec::new(),
        usage: ays_core::job::Usage::default(),
    }
}

/// Whether the host's log tells what a job logs: not of an occurrence whose action does not want that.
fn told(job: &Job, spec: Option<&ActionSpec>) -> bool {
    !matches!(job.cause, Cause::Schedule { .. })
        || spec.and_then(|spec| spec.recurring.as_ref()).is_none_or(|recurring| recurring.log)
}
