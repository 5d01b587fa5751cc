//! A running copy of a component.

use std::{pin::pin, sync::Arc};

use ays_core::{
    JsonText, ServiceKey,
    filter::FilterSet,
    job::{Failure, FailureKind, Job, Usage},
    kv::Change,
    limits::beyond,
    manifest::{Limits, Manifest},
    service::Links,
    turn::{Effect, Turn},
};
use wasmtime::Store;

use crate::{
    Clock, Outside, Pairs,
    bindings::{Actor as Bindings, ActorPre, ays::actor::types},
    breach,
    capability::{Denials, Known},
    meter::Metered,
    state::{Call, State},
};

/// What an instance is to execute: a job, and a snapshot of its service.
#[derive(Clone, Debug)]
pub struct Invocation<'a> {
    /// The actor's manifest.
    pub manifest: &'a Arc<Manifest>,
    /// The job; its `attempt` is that of this attempt.
    pub job: &'a Job,
    /// The service.
    pub service: &'a ServiceKey,
    /// Its data.
    pub data: JsonText,
    /// The services it is linked to.
    pub links: &'a Arc<Links>,
    /// Their data.
    pub linked: &'a Arc<[(ServiceKey, JsonText)]>,
    /// What the job may use.
    pub limits: Limits,
    /// What it may do beyond its own service.
    pub outside: &'a Outside,
    /// The service's key-value pairs.
    pub pairs: &'a Pairs,
    /// The service's event filters.
    pub filters: &'a FilterSet,
}

/// A running copy of a component. It belongs to one service at most, and executes one job at a time.
pub struct Instance {
    store: Store<State>,
    bindings: Bindings,
    /// Whether the guest is where a call left it in good order; after a trap it is not.
    sound: bool,
    jobs: u64,
    /// See [`Options::unlimited`](crate::Options::unlimited).
    limited: bool,
}

/// How many of the host's resources an instance may keep from one job to the next: what those take is in no memory that is
/// counted. The usual toolchains keep fewer than ten, for standard output and its like.
const RESOURCES_KEPT: usize = 64;

impl Instance {
    pub(crate) async fn new(
        pre: &ActorPre<State>,
        clock: &Arc<dyn Clock>,
        limits: &Limits,
        limited: bool,
    ) -> wasmtime::Result<Self> {
        let mut store = new_store(pre, clock, limits, limited);
        let meter = store.data().meter.clone();
        meter.begin(limits);
        let bindings = {
            let future = pin!(pre.instantiate_async(&mut store));
            Metered { future, meter: &meter, timer: None }.await?
        };
        Ok(Self { store, bindings, sound: true, jobs: 0, limited })
    }

    /// Whether it can execute another job. After a trap or a breach of a limit it cannot, nor when it has read many different
    /// secrets, or has kept many of the host's resources.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// How many jobs it has executed.
    pub fn jobs(&self) -> u64 {
        self.jobs
    }

    pub(crate) async fn describe(&mut self, limits: &Limits) -> wasmtime::Result<String> {
        let meter = self.store.data().meter.clone();
        meter.begin(limits);
        self.store.set_epoch_deadline(1);
        let future = pin!(self.bindings.call_describe(&mut self.store));
        Metered { future, meter: &meter, timer: None }.await
    }

    /// Executes a job, and returns everything it did. Nothing of it has happened yet.
    ///
    /// Dropping the future ends the guest where it is; the instance is not sound then.
    pub async fn run(&mut self, invocation: Invocation<'_>) -> Turn {
        let Invocation { manifest, job, service, data, links, linked, limits, outside, pairs, filters } =
            invocation;
        if !self.sound {
            let failure = Failure::new(FailureKind::Host, "the instance was used after it had been stopped");
            return turn(Err(failure), None, Vec::new(), Usage::default());
        }
        let call = Call {
            manifest: manifest.clone(),
            service: service.clone(),
            data,
            changed: false,
            links: links.clone(),
            linked: linked.clone(),
            limits,
            access: outside.access.clone(),
            denials: Denials::default(),
            secrets: outside.secrets.clone(),
            known: Known::default(),
            depth: job.cause.depth(),
            effects: Vec::new(),
            pairs: pairs.clone(),
            kv: Change { usage: pairs.usage(), ..Change::default() },
            filters: filters.clone(),
            events: 0,
            changes: 0,
            bytes: 0,
            host_calls: 0,
        };
        let given = types::Job {
            id: job.id.to_string(),
            args: job.args.as_str().to_owned(),
            attempt: job.attempt,
            cause: serde_json::to_string(&*job.cause.for_guest()).unwrap_or_else(|_| "{}".into()),
            created_at: u64::try_from(job.created_at.millis()).unwrap_or(0),
        };
        self.store.data_mut().begin(call, &outside.http);
        let meter = self.store.data().meter.clone();
        self.sound = false;
        self.jobs += 1;
        let returned = if self.limited {
            allow(&mut self.store, &limits);
            meter.begin(&limits);
            self.store.set_epoch_deadline(1);
            let future = pin!(self.bindings.call_run(&mut self.store, &job.action, &given));
            Metered { future, meter: &meter, timer: None }.await
        } else {
            self.bindings.call_run(&mut self.store, &job.action, &given).await
        };
        let state = self.store.data_mut();
        let mut call = state.end();
        let mut logs = state.log.take();
        let usage = Usage {
            cpu_us: u64::try_from(meter.used().as_micros()).unwrap_or(u64::MAX),
            peak_memory_bytes: state.limiter.memory(),
            host_calls: call.as_ref().map_or(0, |call| call.host_calls),
        };
        self.sound = returned.is_ok();
        let known = call.as_mut().map(|call| std::mem::take(&mut call.known)).unwrap_or_default();
        let mut outcome = match returned {
            Ok(Ok(result)) => read_result(&result, &limits, &known),
            Ok(Err(types::Failure { message, retry })) => {
                let denied = call.as_ref().and_then(|call| call.denials.explain(&message));
                let kind = if denied.is_some() { FailureKind::Denied } else { FailureKind::App };
                let capability = denied.map(str::to_owned);
                Err(Failure { retry, capability, ..Failure::new(kind, message) })
            }
            Err(error) => Err(breach::failure(&error, &limits)),
        };
        if !known.is_empty() {
            // Before anything is cut: of what is cut in two, each half would show.
            logs.iter_mut().for_each(|line| known.hide(&mut line.message));
            if let Err(failure) = &mut outcome {
                known.hide(&mut failure.message);
                failure.backtrace.iter_mut().for_each(|frame| known.hide(frame));
            }
        }
        if let Err(failure) = &mut outcome {
            failure.message = Failure::cut(std::mem::take(&mut failure.message));
        }
        self.sound &= !known.is_crowded() && state.resources() <= RESOURCES_KEPT;
        state.known = known;
        turn(outcome, call, logs, usage)
    }
}

/// A store for one instance, with its limits set.
pub(crate) fn new_store(
    pre: &ActorPre<State>,
    clock: &Arc<dyn Clock>,
    limits: &Limits,
    limited: bool,
) -> Store<State> {
    let mut store = Store::new(pre.engine(), State::new(clock, limits));
    if limited {
        store.limiter(|state| &mut state.limiter);
        allow(&mut store, limits);
        store.epoch_deadline_callback(|store| store.data().meter.epoch());
        store.set_epoch_deadline(1);
    }
    store.data().log.begin(limits);
    store
}

/// Sets the limits that wasmtime keeps.
fn allow(store: &mut Store<State>, limits: &Limits) {
    store.set_hostcall_fuel(usize::try_from(limits.hostcall_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
}

fn read_result(text: &str, limits: &Limits, known: &Known) -> Result<JsonText, Failure> {
    if text.len() as u64 > limits.data_bytes {
        let what = format_args!("returned {} bytes of JSON", text.len());
        return Err(Failure::new(FailureKind::Limit, beyond("data_bytes", what, limits.data_bytes))
            .of_limit("data_bytes"));
    }
    let (json, mut value) = JsonText::parse_value(text)
        .map_err(|e| Failure::new(FailureKind::App, format!("the action's result is not JSON: {e}")))?;
    let had_secrets = !known.is_empty() && known.hide_in(&mut value);
    Ok(if had_secrets { JsonText::from(&value) } else { json })
}

fn turn(
    outcome: Result<JsonText, Failure>,
    call: Option<Call>,
    logs: Vec<ays_core::job::LogLine>,
    usage: Usage,
) -> Turn {
    let (data, effects) = match call.filter(|_| outcome.is_ok()) {
        Some(mut call) => {
            if !call.kv.writes.is_empty() {
                call.effects.push(Effect::Keep(call.kv));
            }
            (call.changed.then_some(call.data), call.effects)
        }
        None => (None, Vec::new()),
    };
    Turn { outcome, data, effects, logs, usage }
}
