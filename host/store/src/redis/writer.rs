//! The writer: one task that has all that changes something decided, and commits it, round by round.
//!
//! It takes what waits, decides it on what is in memory, and calls `commit.lua` once for all of it. What comes in meanwhile
//! waits for the next round, so under load many requests share a call. Where the script finds that something has changed
//! since it was read, that is read again and the round is decided anew.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ays_core::{Id, ServiceKey, Timestamp, job::Job};
use tokio::sync::mpsc;

use super::{
    Shared,
    args::Args,
    draft::Draft,
    memory::Memory,
    record::stored,
    requests::{After, Decided, Request, answer, fail, size},
    round::{self, Call, Notice, Outcome, Stale},
    scripts, timer,
    value::number,
};
use crate::{Result, RetentionPolicy, decide::Group};

/// A round takes no further request once it writes this many rows: a script must not keep Redis from others for long.
const MOST_ROWS: usize = 1024;
/// How many notices a call reads.
const MOST_NOTICES: usize = 1024;
/// What `commit.lua` says when the namespace is gone, and when a commit was refused in its midst.
const FATAL: [&str; 2] = ["LOST the namespace", "HALF a commit"];
/// How many pieces of the history are dropped in one call.
const DROPPED_AT_ONCE: usize = 4;
/// How long it waits before it tries again when Redis cannot be used: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    requests: mpsc::UnboundedReceiver<Request>,
    /// The number of the next call.
    number: u64,
    /// How many notices were read and are done with, and are still there.
    acknowledged: usize,
    now: Timestamp,
    generation: u64,
}

/// Once it is closed, nothing can be asked.
pub(super) struct Closed;

/// Something that other hosts have put into a mailbox, or taken out of it.
enum Arrival {
    Job(Box<Job>),
    Cancelled(ServiceKey, Id),
}

impl Arrival {
    fn job(&self) -> Option<&Job> {
        match self {
            Self::Job(job) => Some(job),
            Self::Cancelled(..) => None,
        }
    }
}

impl Memory {
    /// Puts into mailboxes what has come, in order. Returns whether there is something to take, or to stop.
    fn receive(&mut self, arrivals: Vec<Arrival>) -> bool {
        let mut touched = BTreeSet::new();
        for arrival in arrivals {
            match arrival {
                Arrival::Job(job) => {
                    touched.insert(job.service.clone());
                    self.arrived(*job);
                }
                Arrival::Cancelled(service, job) => {
                    self.cancelled(&service, job);
                    touched.insert(service);
                }
            }
        }
        // All of them are put in the queue.
        touched.iter().fold(!self.recalled.is_empty(), |any, service| self.backlog.queue(service) | any)
    }
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        requests: mpsc::UnboundedReceiver<Request>,
        now: Timestamp,
    ) -> Self {
        let generation = shared.link.generation();
        Self { shared, requests, number: 1, acknowledged: 0, now, generation }
    }

    /// Works until it is closed.
    pub(super) async fn run(mut self) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(request) => request,
                None => match self.requests.recv().await {
                    Some(request) => request,
                    None => break,
                },
            };
            self.now = first.now().map_or(self.now, |now| now.max(self.now));
            if first.is_apart() {
                match self.apart(first).await {
                    Ok(true) => continue,
                    Ok(false) | Err(Closed) => break,
                }
            }
            let mut rows = if first.is_by_id() { MOST_ROWS } else { size(&first) };
            let mut requests = vec![first];
            while rows < MOST_ROWS {
                match self.requests.try_recv() {
                    Ok(request) if request.is_apart() || request.is_by_id() => {
                        next = Some(request);
                        break;
                    }
                    Ok(request) => {
                        self.now = request.now().map_or(self.now, |now| now.max(self.now));
                        rows += size(&request);
                        requests.push(request);
                    }
                    Err(_) => break,
                }
            }
            if self.round(requests).await.is_err() {
                break;
            }
        }
        self.shared.close("it was closed");
    }

    /// A request of its own. Says whether to go on.
    async fn apart(&mut self, request: Request) -> std::result::Result<bool, Closed> {
        match request {
            Request::Retain(policy, now, reply) => {
                let _ = reply.send(self.retain(policy, now).await?);
            }
            Request::Own(partitions, reply) => {
                let _ = reply.send(self.own(partitions).await?);
            }
            Request::Forget => self.forget().await?,
            Request::Close(reply) => {
                self.shared.close("it was closed");
                let _ = reply.send(Ok(()));
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    }

    /// Decides and commits.
    async fn round(&mut self, requests: Vec<Request>) -> std::result::Result<(), Closed> {
        let look = requests.iter().any(|request| matches!(request, Request::Look));
        loop {
            self.meet().await?;
            let found = self.look_up(&requests).await?;
            let mut decided = loop {
                let decided = self.shared.decide(&requests, &found, self.now);
                match decided {
                    Ok(decided) => break decided,
                    Err(need) => self.fill(need).await?,
                }
            };
            decided.version = round::version(&self.shared.host, self.number);
            let call = self.next_call();
            let nothing = decided.group.is_empty() && decided.draft.refused == 0 && decided.draft.ids == 0;
            if nothing && !look {
                let base = Id::from_bytes([0; 16]);
                let after = self.publish(&mut decided, base, Vec::new());
                answer(requests, decided.answers, &after);
                return Ok(());
            }
            let args = {
                let memory = self.shared.memory();
                round::args(&call, &memory, &decided.draft, &decided.group)
            };
            let args = match args {
                Ok(args) => args,
                Err(error) => {
                    fail(requests, &error);
                    return Ok(());
                }
            };
            let reply = self.call(&scripts::COMMIT, &args).await?;
            match round::outcome(reply) {
                Ok(Outcome::Done { base, notices, more, again }) => {
                    self.number += 1;
                    // A call that was made again has read notices that an earlier reply lost; all of them are still there.
                    self.acknowledged = notices.len();
                    self.shared.count(decided.group.changes);
                    // What is younger than what this round made must not be taken before it, so all of it arrives at once.
                    let mut arrivals = self.read(notices).await?;
                    if more || again {
                        arrivals.extend(self.drain().await?);
                    }
                    let after = self.publish(&mut decided, base, arrivals);
                    // Waking those who asked, and dropping what was decided, is not for the next round to wait for.
                    tokio::spawn(async move {
                        answer(requests, decided.answers, &after);
                        drop((decided.group, args));
                    });
                    return Ok(());
                }
                Ok(Outcome::Stale(stale)) => {
                    if !stale.missing.is_empty() {
                        let Group { left, kept, .. } = &decided.group;
                        let jobs = left.iter().map(|(job, service)| (job, service));
                        let jobs = jobs.chain(kept.iter().map(|(job, service, _)| (job, service)));
                        let mut memory = self.shared.memory();
                        for (job, service) in jobs.filter(|(job, _)| stale.missing.contains(job)) {
                            // That it was cancelled, the notice will say again.
                            memory.cancelled(service, *job);
                        }
                    }
                    self.refresh(stale).await?;
                }
                Err(error) => {
                    tracing::error!("{error}");
                    fail(requests, &error);
                    return Ok(());
                }
            }
        }
    }

    /// What the next call says of itself.
    fn next_call(&self) -> Call<'_> {
        Call {
            host: &self.shared.host,
            number: self.number,
            now: self.now,
            piece_jobs: self.shared.piece_jobs(),
            most_notices: MOST_NOTICES,
            acknowledged: self.acknowledged,
        }
    }

    /// Reads what else has come.
    async fn drain(&mut self) -> std::result::Result<Vec<Arrival>, Closed> {
        let mut arrivals = Vec::new();
        loop {
            let call = self.next_call();
            let args = round::args(&call, &self.shared.memory(), &Draft::default(), &Group::default());
            let Ok(args) = args else { return Ok(arrivals) };
            let reply = self.call(&scripts::COMMIT, &args).await?;
            let Ok(Outcome::Done { notices, more, again, .. }) = round::outcome(reply) else {
                return Ok(arrivals);
            };
            self.number += 1;
            self.acknowledged = notices.len();
            arrivals.extend(self.read(notices).await?);
            if !more && !again {
                return Ok(arrivals);
            }
        }
    }

    /// What was decided takes effect in memory.
    fn publish(&mut self, decided: &mut Decided, base: Id, arrivals: Vec<Arrival>) -> After {
        let draft = std::mem::take(&mut decided.draft);
        let (any, next_due) = {
            let mut memory = self.shared.memory();
            let mut any = memory.receive(arrivals);
            any |= memory.publish(draft, &mut decided.group, &decided.version, base);
            (any, memory.next_due())
        };
        self.shared.tell(any);
        After { base, next_due }
    }

    /// What has come; reads the services that it is about, where they are not known or have changed.
    async fn read(&mut self, notices: Vec<Notice>) -> std::result::Result<Vec<Arrival>, Closed> {
        let mut arrivals = Vec::new();
        let mut changed = BTreeSet::new();
        for notice in notices {
            match notice {
                Notice::Job(Some(record)) => match stored::<Job>(&record) {
                    Ok(job) => arrivals.push(Arrival::Job(Box::new(job))),
                    Err(error) => tracing::error!("a job cannot be read: {error}"),
                },
                Notice::Job(None) => {}
                Notice::Service(service) => {
                    changed.insert(service);
                }
                Notice::Cancelled(job, service) => {
                    changed.insert(service.clone());
                    arrivals.push(Arrival::Cancelled(service, job));
                }
                Notice::Leases => self.shared.nudge.notify_one(),
            }
        }
        {
            let memory = self.shared.memory();
            let unknown = arrivals
                .iter()
                .filter_map(Arrival::job)
                .map(|job| &job.service)
                .filter(|service| memory.owns(service) && !memory.backlog.services.contains_key(service));
            changed.extend(unknown.cloned());
            changed.retain(|service| memory.owns(service));
        }
        self.load(changed.into_iter().collect()).await?;
        Ok(arrivals)
    }

    /// Reads again what has changed.
    async fn refresh(&mut self, stale: Stale) -> std::result::Result<(), Closed> {
        if !stale.partitions.is_empty() {
            tracing::warn!(
                partitions = stale.partitions.len(),
                "partitions have moved to another host: what was executed of them here is void"
            );
            self.shared.memory().lose(&stale.partitions);
            self.shared.nudge.notify_one();
            self.shared.tell(true);
        }
        if stale.filters {
            self.load_filters().await?;
        }
        self.shared.memory().claims.extend(stale.claims);
        self.load(stale.services).await?;
        for run in stale.runs {
            self.load_run(run).await?;
        }
        Ok(())
    }

    async fn retain(
        &mut self,
        policy: RetentionPolicy,
        now: Timestamp,
    ) -> std::result::Result<Result<()>, Closed> {
        self.shared.retain_jobs(policy.jobs);
        let mut args = Args::default();
        args.show(now.millis()).show(policy.age_s.saturating_mul(1000)).show(policy.jobs);
        args.show(policy.jobs.saturating_add(policy.jobs / 4)).show(DROPPED_AT_ONCE);
        loop {
            let more = self.call(&scripts::RETAIN, &args).await?;
            match number(more) {
                Ok(0) => return Ok(Ok(())),
                Ok(_) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// If another server, or one that was started anew, is at the other end, nothing that is in memory is believed.
    async fn meet(&mut self) -> std::result::Result<(), Closed> {
        if self.shared.link.generation() != self.generation {
            self.forget().await?;
        }
        Ok(())
    }

    /// Forgets what is in memory; it is read again with the partitions.
    async fn forget(&mut self) -> std::result::Result<(), Closed> {
        if self.generation != self.shared.link.generation() {
            self.generation = self.shared.link.generation();
            tracing::info!("Redis was started anew: reading again what this host has in memory");
        }
        {
            let mut memory = self.shared.memory();
            memory.lose_all();
            memory.exists.clear();
            memory.foreign.clear();
            memory.runs.clear();
            memory.claims.clear();
            memory.filters_version = "unknown".into();
        }
        self.acknowledged = 0;
        self.shared.nudge.notify_one();
        self.shared.tell(true);
        Ok(())
    }

    /// Calls a script until it is answered.
    async fn call(
        &mut self,
        script: &'static scripts::Script,
        args: &Args,
    ) -> std::result::Result<redis::Value, Closed> {
        let mut pause = PAUSES.0;
        loop {
            match self.shared.link.call(script, args).await {
                Ok(value) => {
                    self.shared.stuck.store(false, Relaxed);
                    self.shared.works();
                    return Ok(value);
                }
                Err(trouble) => self.pause(&trouble, &mut pause).await?,
            }
        }
    }

    pub(super) async fn ask(&mut self, commands: &[Args]) -> std::result::Result<Vec<redis::Value>, Closed> {
        let mut pause = PAUSES.0;
        loop {
            match self.shared.link.ask(commands).await {
                Ok(values) => {
                    self.shared.stuck.store(false, Relaxed);
                    self.shared.works();
                    return Ok(values);
                }
                Err(trouble) => self.pause(&trouble, &mut pause).await?,
            }
        }
    }

    async fn pause(
        &mut self,
        trouble: &ays_redis::Trouble,
        pause: &mut Duration,
    ) -> std::result::Result<(), Closed> {
        if FATAL.iter().any(|fatal| trouble.said().contains(fatal)) {
            // What is in memory is not what is in Redis. Who starts anew begins with what is there.
            let why = format!("{trouble}. Start the host again: it goes on with what is there then");
            tracing::error!("{why}");
            self.shared.close(&why);
            return Err(Closed);
        }
        self.shared.stuck.store(true, Relaxed);
        self.shared.trouble(trouble);
        tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => return Err(Closed),
            () = timer::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(PAUSES.1);
        Ok(())
    }
}
