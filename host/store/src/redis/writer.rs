//! The writer: one task that has all that changes something decided, and commits it, round by round.
//!
//! It takes what waits, decides it on what is in memory, and calls `commit.lua` once for all of it. What comes in meanwhile
//! is the next round, so under load many requests share a call; it is decided while the call is under way, and, if it does
//! not rest on anything that the round before it changes, called at once when that one is answered. So Redis and the host
//! work at the same time, and yet there is one call at a time. Where the script finds that something has changed since it
//! was read, that is read again and the round is decided anew.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ays_core::{Id, ServiceKey, Timestamp, job::Job};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    args::Args,
    draft::Draft,
    memory::Memory,
    record::stored,
    requests::{After, Decided, Found, Request, answer, fail, size},
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
    inbox: Inbox,
    /// The number of the next call.
    number: u64,
    /// The number of the last one that was committed.
    previous: u64,
    /// How many notices were read and are done with, and are still there.
    acknowledged: usize,
    now: Timestamp,
    generation: u64,
}

/// Once it is closed, nothing can be asked.
pub(super) struct Closed;

/// What waits to be decided, in order.
struct Inbox {
    requests: mpsc::UnboundedReceiver<Request>,
    /// What was taken out of it and is to wait after all.
    held: VecDeque<Request>,
}

impl Inbox {
    async fn next(&mut self) -> Option<Request> {
        match self.held.pop_front() {
            Some(request) => Some(request),
            None => self.requests.recv().await,
        }
    }

    fn next_now(&mut self) -> Option<Request> {
        self.held.pop_front().or_else(|| self.requests.try_recv().ok())
    }

    /// Puts requests back; they come first again.
    fn put_back(&mut self, requests: Vec<Request>) {
        for request in requests.into_iter().rev() {
            self.held.push_front(request);
        }
    }
}

/// Requests, and what was decided for them.
#[derive(Default)]
struct Round {
    requests: Vec<Request>,
    decided: Decided,
}

impl Round {
    /// Whether Redis has to be called for it.
    fn needs_call(&self) -> bool {
        !self.decided.is_nothing() || self.requests.iter().any(|request| matches!(request, Request::Look))
    }
}

/// A round that is being committed.
struct Flight {
    round: Round,
    /// That of what it writes.
    version: Arc<str>,
    reply: oneshot::Receiver<std::result::Result<redis::Value, Closed>>,
}

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
        let inbox = Inbox { requests, held: VecDeque::new() };
        Self { shared, inbox, number: 1, previous: 0, acknowledged: 0, now, generation }
    }

    /// Works until it is closed.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.inbox.next().await {
            if first.is_apart() {
                self.see(&first);
                match self.apart(first).await {
                    Ok(true) => continue,
                    Ok(false) | Err(Closed) => break,
                }
            }
            let requests = self.gather(first);
            if self.rounds(requests).await.is_err() {
                break;
            }
        }
        self.shared.close("it was closed");
    }

    /// Time does not go back.
    fn see(&mut self, request: &Request) {
        self.now = request.now().map_or(self.now, |now| now.max(self.now));
    }

    /// What waits and is decided together.
    fn gather(&mut self, first: Request) -> Vec<Request> {
        self.see(&first);
        let mut rows = if first.is_by_id() { MOST_ROWS } else { size(&first) };
        let mut requests = vec![first];
        while rows < MOST_ROWS
            && let Some(request) = self.inbox.next_now()
        {
            if request.is_apart() || request.is_by_id() {
                self.inbox.put_back(vec![request]);
                break;
            }
            self.see(&request);
            rows += size(&request);
            requests.push(request);
        }
        requests
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

    /// Decides and commits, and goes on as long as there is a round that was decided meanwhile.
    async fn rounds(&mut self, requests: Vec<Request>) -> std::result::Result<(), Closed> {
        let mut under_way = self.start(requests).await?;
        while let Some(mut flight) = under_way.take() {
            let (reply, ahead) = self.ahead(&mut flight).await;
            match round::outcome(reply?) {
                Ok(Outcome::Done { base, notices, more, again }) => {
                    self.done();
                    // A call that was made again has read notices that an earlier reply lost; all of them are still there.
                    self.acknowledged = notices.len();
                    let Flight { round: Round { requests, mut decided }, version, .. } = flight;
                    self.shared.count(decided.group.changes);
                    let alone = more || again || self.shared.link.generation() != self.generation;
                    if alone || ahead.decided.draft.rests_on(&decided.draft) || !ahead.needs_call() {
                        self.inbox.put_back(ahead.requests);
                    } else {
                        // Before this round takes effect in memory, so that Redis works meanwhile.
                        under_way = self.begin(ahead);
                    }
                    // What is younger than what this round made must not be taken before it, so all of it arrives at once.
                    let mut arrivals = self.read(notices).await?;
                    if more || again {
                        arrivals.extend(self.drain().await?);
                    }
                    let after = self.publish(&mut decided, &version, base, arrivals);
                    // Waking those who asked, and dropping what was decided, is not for the next round to wait for.
                    tokio::spawn(async move {
                        answer(requests, decided.answers, &after);
                        drop(decided.group);
                    });
                }
                Ok(Outcome::Stale(stale)) => {
                    self.inbox.put_back(ahead.requests);
                    let Round { requests, decided } = flight.round;
                    self.forget_missing(&decided.group, &stale);
                    self.refresh(stale).await?;
                    under_way = self.start(requests).await?;
                }
                Ok(Outcome::Forgot { last }) => {
                    self.inbox.put_back(ahead.requests);
                    tracing::warn!(
                        "Redis has forgotten what this host committed last: it was started anew with older data"
                    );
                    // Numbers are not used twice: what was written with one may be remembered elsewhere.
                    self.number += 1;
                    self.previous = last;
                    self.forget().await?;
                    under_way = self.start(flight.round.requests).await?;
                }
                Err(error) => {
                    tracing::error!("{error}");
                    self.inbox.put_back(ahead.requests);
                    fail(flight.round.requests, &error);
                }
            }
        }
        Ok(())
    }

    /// Decides requests, and begins to commit what comes of it.
    async fn start(&mut self, requests: Vec<Request>) -> std::result::Result<Option<Flight>, Closed> {
        Ok(self.decide(requests).await?.and_then(|round| self.begin(round)))
    }

    /// Decides requests, looking up what that needs. None if there is nothing to commit: then it is done.
    async fn decide(&mut self, requests: Vec<Request>) -> std::result::Result<Option<Round>, Closed> {
        self.meet().await?;
        let found = self.look_up(&requests).await?;
        let decided = loop {
            let decided = {
                let memory = self.shared.memory();
                let mut decided = Decided::default();
                let mut all = requests.iter().zip(&found);
                let result = all
                    .try_for_each(|(request, found)| memory.decide(request, found, self.now, &mut decided));
                result.map(|()| decided)
            };
            match decided {
                Ok(decided) => break decided,
                Err(need) => self.fill(need).await?,
            }
        };
        let mut round = Round { requests, decided };
        if round.needs_call() {
            return Ok(Some(round));
        }
        let version = round::version(&self.shared.host, self.number);
        let after = self.publish(&mut round.decided, &version, Id::from_bytes([0; 16]), Vec::new());
        answer(round.requests, round.decided.answers, &after);
        Ok(None)
    }

    /// Begins to commit a round.
    fn begin(&mut self, round: Round) -> Option<Flight> {
        let version = round::version(&self.shared.host, self.number);
        let args = {
            let Decided { draft, group, .. } = &round.decided;
            round::args(&self.next_call(), &self.shared.memory(), draft, group)
        };
        let args = match args {
            Ok(args) => args,
            Err(error) => {
                fail(round.requests, &error);
                return None;
            }
        };
        let (send, reply) = oneshot::channel();
        let shared = self.shared.clone();
        timer::spawn(async move {
            let _ = send.send(shared.call(&scripts::COMMIT, &args).await);
        });
        Some(Flight { round, version, reply })
    }

    /// Waits for the answer, and meanwhile decides what comes in, on what there is before the round under way takes effect.
    async fn ahead(&mut self, flight: &mut Flight) -> (std::result::Result<redis::Value, Closed>, Round) {
        let mut ahead = Round::default();
        let (mut rows, mut open) = (0, true);
        loop {
            let request = tokio::select! {
                biased;
                reply = &mut flight.reply => return (reply.unwrap_or(Err(Closed)), ahead),
                request = self.inbox.next(), if open => request,
            };
            let Some(request) = request else {
                open = false;
                continue;
            };
            if !request.may_be_ahead() {
                self.inbox.put_back(vec![request]);
                open = false;
                continue;
            }
            self.see(&request);
            rows += size(&request);
            let decided = {
                let memory = self.shared.memory();
                memory.decide(&request, &Found::Nothing, self.now, &mut ahead.decided)
            };
            ahead.requests.push(request);
            if decided.is_err() {
                // What has to be looked up is looked up when it is its turn.
                self.inbox.put_back(std::mem::take(&mut ahead).requests);
            }
            open = decided.is_ok() && rows < MOST_ROWS;
        }
    }

    /// Jobs that another host has cancelled.
    fn forget_missing(&self, group: &Group, stale: &Stale) {
        if stale.missing.is_empty() {
            return;
        }
        let jobs = group.left.iter().map(|(job, service)| (job, service));
        let jobs = jobs.chain(group.kept.iter().map(|(job, service, _)| (job, service)));
        let mut memory = self.shared.memory();
        for (job, service) in jobs.filter(|(job, _)| stale.missing.contains(job)) {
            // That it was cancelled, the notice will say again.
            memory.cancelled(service, *job);
        }
    }

    /// The call was committed.
    fn done(&mut self) {
        self.previous = self.number;
        self.number += 1;
    }

    /// What the next call says of itself.
    fn next_call(&self) -> Call<'_> {
        Call {
            host: &self.shared.host,
            number: self.number,
            previous: self.previous,
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
            let reply = self.shared.call(&scripts::COMMIT, &args).await?;
            let Ok(Outcome::Done { notices, more, again, .. }) = round::outcome(reply) else {
                return Ok(arrivals);
            };
            self.done();
            self.acknowledged = notices.len();
            arrivals.extend(self.read(notices).await?);
            if !more && !again {
                return Ok(arrivals);
            }
        }
    }

    /// What was decided takes effect in memory.
    fn publish(
        &mut self,
        decided: &mut Decided,
        version: &Arc<str>,
        base: Id,
        arrivals: Vec<Arrival>,
    ) -> After {
        let draft = std::mem::take(&mut decided.draft);
        let (any, next_due) = {
            let mut memory = self.shared.memory();
            let (jobs, others): (Vec<_>, Vec<_>) =
                arrivals.into_iter().partition(|arrival| matches!(arrival, Arrival::Job(_)));
            let mut any = memory.receive(jobs);
            any |= memory.publish(draft, &mut decided.group, version, base);
            // Last, since a job of this very round may have been cancelled before its answer came.
            any |= memory.receive(others);
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
            let more = self.shared.call(&scripts::RETAIN, &args).await?;
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

    pub(super) async fn ask(&mut self, commands: &[Args]) -> std::result::Result<Vec<redis::Value>, Closed> {
        let mut pause = PAUSES.0;
        loop {
            match self.shared.link.ask(commands).await {
                Ok(values) => {
                    self.shared.answered();
                    return Ok(values);
                }
                Err(trouble) => self.shared.pause(&trouble, &mut pause).await?,
            }
        }
    }
}

impl Shared {
    /// Calls a script until it is answered.
    async fn call(
        &self,
        script: &'static scripts::Script,
        args: &Args,
    ) -> std::result::Result<redis::Value, Closed> {
        let mut pause = PAUSES.0;
        loop {
            match self.link.call(script, args).await {
                Ok(value) => {
                    self.answered();
                    return Ok(value);
                }
                Err(trouble) => self.pause(&trouble, &mut pause).await?,
            }
        }
    }

    fn answered(&self) {
        self.stuck.store(false, Relaxed);
        self.works();
    }

    async fn pause(
        &self,
        trouble: &ays_redis::Trouble,
        pause: &mut Duration,
    ) -> std::result::Result<(), Closed> {
        if FATAL.iter().any(|fatal| trouble.said().contains(fatal)) {
            // What is in memory is not what is in Redis. Who starts anew begins with what is there.
            let why = format!("{trouble}. Start the host again: it goes on with what is there then");
            tracing::error!("{why}");
            self.close(&why);
            return Err(Closed);
        }
        self.stuck.store(true, Relaxed);
        self.trouble(trouble);
        tokio::select! {
            biased;
            () = self.closing.cancelled() => return Err(Closed),
            () = timer::sleep(*pause) => {}
        }
        *pause = (*pause * 2).min(PAUSES.1);
        Ok(())
    }
}
