//! A simulated host: the real store, and what a dispatcher and a scheduler do with it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ays_core::{
    Id, JsonText, Timestamp,
    event::NewEvent,
    filter::EventFilter,
    job::{Cause, Failure, FailureKind, Job, JobState},
    kv,
    schedule::Recurring,
    turn::Effect,
};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};

use super::{
    clock::{self, EPOCH_MS, sleep, sleep_ms},
    gate::Gate,
    ledger::Filtered,
    network::{Line, fnv},
    world::World,
};
use crate::{Settled, Store, Work, redis::Redis};

/// Turns that wait for a commit under way at most.
const BATCH: usize = 4;

pub(super) struct Host {
    pub(super) number: usize,
    pub(super) gate: Arc<Gate>,
    /// How far its clock is off, in ms.
    pub(super) off: AtomicI64,
    pub(super) store: OnceLock<Arc<Redis>>,
    /// It is dead, or about to leave.
    pub(super) gone: AtomicBool,
    pub(super) dead: AtomicBool,
    pub(super) paused: AtomicBool,
    /// Jobs that it was told to stop.
    recalled: Mutex<BTreeSet<Id>>,
    told: Notify,
    /// How many services it executes jobs of.
    busy: AtomicUsize,
}

impl Host {
    /// Starts one.
    pub(super) fn start(world: &Arc<World>, number: usize, line: Arc<Line>, off: i64) -> Arc<Self> {
        let host = Arc::new(Self {
            number,
            gate: Arc::default(),
            off: AtomicI64::new(off),
            store: OnceLock::new(),
            gone: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            recalled: Mutex::default(),
            told: Notify::new(),
            busy: AtomicUsize::new(0),
        });
        let (this, world) = (host.clone(), world.clone());
        host.gate.spawn(async move {
            let store = loop {
                let name = world.chance().next();
                let chance = world.chance().next();
                let keys = world.keys.clone();
                let (options, now) = (world.options.clone(), this.now(&world));
                match Redis::open_by(line.clone(), keys, "sim", options, now, name, chance).await {
                    Ok(store) => break store,
                    Err(_) => sleep_ms(100).await,
                }
            };
            let store = Arc::new(store);
            world.server().note(|| format!("h{} is {}", this.number, store.shared.host));
            let _ = this.store.set(store.clone());
            this.gate.spawn(this.clone().take(world.clone(), store.clone()));
            this.gate.spawn(this.clone().tick(world.clone(), store.clone()));
            this.gate.spawn(this.clone().recall(world, store));
        });
        host
    }

    pub(super) fn is_live(&self) -> bool {
        !self.gone.load(SeqCst)
    }

    /// Whether it can be asked.
    pub(super) fn is_open(&self) -> bool {
        self.is_live() && self.store.get().is_some()
    }

    /// What time it is, as it knows it.
    pub(super) fn now(&self, world: &World) -> Timestamp {
        if let Some(frozen) = *world.frozen.lock().unwrap() {
            return frozen;
        }
        let ms = i64::try_from(clock::micros() / 1000).unwrap();
        Timestamp::from_millis(EPOCH_MS + ms + self.off.load(SeqCst))
    }

    /// Has the host do something, and answer.
    pub(super) fn ask<T, F>(
        self: &Arc<Self>,
        world: &Arc<World>,
        what: impl FnOnce(Arc<Redis>, Timestamp) -> F + Send + 'static,
    ) -> oneshot::Receiver<T>
    where
        F: Future<Output = T> + Send,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let (this, world) = (self.clone(), world.clone());
        let Some(store) = self.store.get().cloned() else { return answered };
        world.ledger().open.push(self.number);
        self.gate.spawn(async move {
            let done = what(store, this.now(&world)).await;
            let mut ledger = world.ledger();
            if let Some(at) = ledger.open.iter().position(|open| *open == this.number) {
                ledger.open.remove(at);
            }
            drop(ledger);
            let _ = answer.send(done);
        });
        answered
    }

    /// Leaves in good order.
    pub(super) fn leave(self: &Arc<Self>, world: &Arc<World>) {
        self.gone.store(true, SeqCst);
        self.told.notify_waiters();
        let this = self.clone();
        let number = self.number;
        let world_too = world.clone();
        drop(self.ask(world, move |store, _| async move {
            while this.busy.load(SeqCst) > 0 {
                sleep_ms(5).await;
            }
            let _ = store.close().await;
            world_too.server().note(|| format!("h{number} has left"));
        }));
    }

    async fn take(self: Arc<Self>, world: Arc<World>, store: Arc<Redis>) {
        loop {
            let left = async {
                while self.is_live() {
                    self.told.notified().await;
                }
            };
            let (services, jobs) = {
                let mut chance = world.chance();
                (chance.index(4) + 1, chance.index(8) + 1)
            };
            tokio::select! {
                biased;
                () = left => return,
                taken = store.take(services, jobs, self.now(&world)) => {
                    let Ok(works) = taken else { return };
                    for work in works {
                        self.busy.fetch_add(1, SeqCst);
                        let (this, world, store) = (self.clone(), world.clone(), store.clone());
                        self.gate.spawn(async move {
                            this.work(&world, &store, work).await;
                            this.busy.fetch_sub(1, SeqCst);
                        });
                    }
                }
            }
        }
    }

    async fn tick(self: Arc<Self>, world: Arc<World>, store: Arc<Redis>) {
        while self.is_live() {
            if store.tick(self.now(&world)).await.is_err() {
                return;
            }
            let nap = world.chance().between(20, 120);
            sleep_ms(nap).await;
        }
    }

    async fn recall(self: Arc<Self>, world: Arc<World>, store: Arc<Redis>) {
        loop {
            let recalled = store.recalled().await;
            world.server().stats.recalled += recalled.len() as u64;
            self.recalled.lock().unwrap().extend(recalled);
            self.told.notify_waiters();
        }
    }

    async fn is_recalled(&self, job: Id) {
        loop {
            let told = self.told.notified();
            if self.recalled.lock().unwrap().remove(&job) {
                return;
            }
            told.await;
        }
    }

    /// Executes a service's jobs, as a dispatcher does.
    async fn work(self: &Arc<Self>, world: &Arc<World>, store: &Arc<Redis>, work: Work) {
        let Work { service, mut data, jobs, .. } = work;
        let mut commits = Commits { host: self, world, store, batch: Vec::new(), under_way: None };
        let mut rest = jobs.into_iter();
        let mut left = Vec::new();
        let mut after = None;
        // What the turns before this take kept; Redis may be out of reach.
        let reads = world.chance().permille(500);
        let mut read = if reads { store.kv_get(&service, "chain").await.ok() } else { None };
        let began = clock::micros();
        for job in rest.by_ref() {
            if !self.is_live() || clock::micros() - began > 50_000 {
                left.push(job.id);
                break;
            }
            let id = job.id;
            let takes = world.execution();
            let stopped = tokio::select! {
                biased;
                () = self.is_recalled(id) => true,
                () = sleep(takes) => false,
            };
            if stopped {
                left.push(id);
                break;
            }
            let mut settled = self.turn(world, job, &data, read.take());
            settled.after = after;
            if let Some(new) = &settled.data {
                data = new.clone();
                after = Some(id);
            }
            let waits = settled.job.state == JobState::Retrying && settled.job.strict;
            if !commits.push(settled).await {
                return;
            }
            if waits {
                break;
            }
        }
        if !commits.finish().await {
            return;
        }
        left.extend(rest.map(|job| job.id));
        if !left.is_empty() {
            let _ = store.release(&service, &left).await;
        }
    }

    /// What a job does: a chain over all jobs of the service is its data, and so are its key-value pairs. `read` is what it
    /// has read of those.
    fn turn(&self, world: &World, mut job: Job, data: &JsonText, read: Option<Option<Arc<[u8]>>>) -> Settled {
        let now = self.now(world);
        let mut chance = world.chance();
        job.attempt += 1;
        job.retry_at = None;
        job.error = None;
        job.strict = false;
        job.finished_at = Some(now);
        let what = if job.attempt > 3 { 0 } else { chance.below(100) };
        let failed = |mut job: Job, state: JobState| {
            job.state = state;
            job.error = Some(Failure::new(FailureKind::App, "it did not work"));
            Settled { job, data: None, effects: Vec::new(), after: None }
        };
        if (80..92).contains(&what) {
            // In the end the clocks stand still.
            let most = if world.frozen.lock().unwrap().is_some() { 0 } else { 300 };
            job.retry_at = Some(now.after(Duration::from_millis(chance.between(0, most))));
            job.strict = what >= 86;
            if !job.strict {
                world.ledger().aside.insert(job.id);
            }
            return failed(job, JobState::Retrying);
        }
        if what >= 92 && job.action != "step" || what >= 98 {
            return failed(job, JobState::Error);
        }
        let before = data.value();
        let n = before["n"].as_u64().unwrap() + 1;
        let chain = link(before["chain"].as_u64().unwrap(), job.id);
        let mut effects = Vec::new();
        let mut emitted = Vec::new();
        let deep = match &job.cause {
            Cause::Event { depth, .. } => *depth >= 1,
            Cause::Schedule { .. } => true,
            _ => false,
        };
        if !deep && chance.permille(300) {
            for place in 0..chance.between(1, 2) {
                let token = format!("x{}.{place}", job.id);
                let event = chance.index(world.events.len());
                let args = JsonText::of(&json!([token])).unwrap();
                effects.push(Effect::Emit(NewEvent::new(world.events[event].clone(), args)));
                emitted.push(Value::from(token));
            }
        }
        if chance.permille(20) {
            let event = chance.index(world.events.len());
            let action = format!("own{}", chance.below(3));
            effects.push(Effect::SetFilter(EventFilter::new(world.events[event].clone(), &action)));
            let mut ledger = world.ledger();
            let span = ledger.begin();
            ledger.filtered.push(Filtered { service: job.service.clone(), event, action, span });
        }
        if chance.permille(10) {
            let recurring = Recurring::every(chance.of(&["1s", "2s"]).parse().unwrap());
            effects.push(Effect::SetSchedule { action: "recurring".into(), recurring });
        }
        job.state = JobState::Ok;
        let read =
            read.map(|value| value.map_or("0".into(), |value| String::from_utf8(value.to_vec()).unwrap()));
        job.result = Some(JsonText::of(&json!({"n": n, "emits": emitted, "read": read})).unwrap());
        let value = |text: String| Some(text.into_bytes().into());
        let writes = kv::Writes::from([
            ("chain".into(), value(n.to_string())),
            (format!("n{n}"), value(chain.to_string())),
            (format!("n{}", n - 1), None),
        ]);
        effects.push(Effect::Keep(kv::Change { writes, usage: kv::Usage { keys: 2, bytes: n } }));
        let data = JsonText::of(&json!({"n": n, "chain": chain, "last": job.id})).unwrap();
        Settled { job, data: Some(data), effects, after: None }
    }
}

/// The next value of a service's chain.
pub(super) fn link(before: u64, job: Id) -> u64 {
    fnv(before ^ 0x5bd1_e995, &job.to_bytes())
}

/// One service's turns on their way into the store: while one batch is being committed, the next one gathers.
struct Commits<'a> {
    host: &'a Arc<Host>,
    world: &'a Arc<World>,
    store: &'a Arc<Redis>,
    batch: Vec<Settled>,
    under_way: Option<oneshot::Receiver<bool>>,
}

impl Commits<'_> {
    async fn push(&mut self, settled: Settled) -> bool {
        self.batch.push(settled);
        match self.under_way.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Err(oneshot::error::TryRecvError::Empty)) if self.batch.len() < BATCH => return true,
            Some(Ok(false)) => return false,
            Some(Ok(true)) => self.under_way = None,
            _ => {}
        }
        if !self.wait().await {
            return false;
        }
        self.begin();
        true
    }

    fn begin(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let (answer, answered) = oneshot::channel();
        let (store, now) = (self.store.clone(), self.host.now(self.world));
        self.host.gate.spawn(async move {
            let _ = answer.send(store.commit(batch, now).await.is_ok());
        });
        self.under_way = Some(answered);
    }

    async fn wait(&mut self) -> bool {
        match self.under_way.take() {
            Some(commit) => commit.await.unwrap_or(false),
            None => true,
        }
    }

    async fn finish(&mut self) -> bool {
        if !self.wait().await {
            return false;
        }
        if !self.batch.is_empty() {
            self.begin();
        }
        self.wait().await
    }
}
