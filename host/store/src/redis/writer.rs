//! The writer: one task that has all that changes something decided, and commits it, round by round.
//!
//! It takes what waits, decides it on what is in memory, and calls `commit.lua` once for all of it. What comes in meanwhile
//! waits for the next round, so under load many requests share a call. Where the script finds that something has changed
//! since it was read, that is read again and the round is decided anew.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use ays_core::{
    Id, ServiceKey, Timestamp,
    changes::Changes,
    filter::Subscription,
    job::Job,
    partition,
    routing::FilterIndex,
    run::{NewRun, Run},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared,
    args::Args,
    draft::{Deciding, Draft, Need, Stop},
    memory::{ABSENT, Memory, Owned, Versioned},
    record::{Rebase, stored},
    round::{self, Call, Notice, Outcome, Stale},
    scripts, timer,
    value::{bytes, number, pairs, text},
};
use crate::{
    Accepted, Applied, Batch, DeadLetter, Error, Result, RetentionPolicy, Ticked,
    decide::{Attempt, Decider, Group, Known, has_ended, no_letter},
    record::from_json,
};

/// A round takes no further request once it writes this many rows: a script must not keep Redis from others for long.
const MOST_ROWS: usize = 1024;
/// How many notices a call reads.
const MOST_NOTICES: usize = 1024;
/// How many partitions are read in one go.
const LOADED_AT_ONCE: usize = 8;
/// How many pieces of the history are dropped in one call.
const DROPPED_AT_ONCE: usize = 4;
/// How long it waits before it tries again when Redis cannot be used: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// What is asked of the writer.
pub(super) enum Request {
    Accept(Batch, Timestamp, Reply<Accepted>),
    Apply(Box<Changes>, Timestamp, Reply<Applied>),
    StartRun(NewRun, Timestamp, Reply<Run>),
    Commit(Vec<Attempt>, Timestamp, Reply<()>),
    Tick(Timestamp, Reply<Ticked>),
    Cancel(Id, Timestamp, Reply<Job>),
    RetryDead(Id, Timestamp, Reply<Job>),
    DiscardDead(Id, Timestamp, Reply<DeadLetter>),
    Retain(RetentionPolicy, Timestamp, Reply<()>),
    /// Something has come for this host.
    Look,
    /// Partitions are this host's.
    Own(Vec<(u16, Arc<str>)>, Reply<()>),
    /// Another server, or the same one started anew, is at the other end.
    Forget,
    Close(Reply<()>),
}

impl Request {
    fn now(&self) -> Option<Timestamp> {
        match self {
            Self::Accept(_, now, _)
            | Self::Apply(_, now, _)
            | Self::StartRun(_, now, _)
            | Self::Commit(_, now, _)
            | Self::Tick(now, _)
            | Self::Cancel(_, now, _)
            | Self::RetryDead(_, now, _)
            | Self::DiscardDead(_, now, _)
            | Self::Retain(_, now, _) => Some(*now),
            Self::Look | Self::Own(..) | Self::Forget | Self::Close(_) => None,
        }
    }

    /// Whether it names a job or a letter by its id, which another request of the same round may remove.
    fn is_by_id(&self) -> bool {
        matches!(self, Self::Cancel(..) | Self::RetryDead(..) | Self::DiscardDead(..))
    }

    /// Whether it is not decided together with others.
    fn is_apart(&self) -> bool {
        matches!(self, Self::Retain(..) | Self::Own(..) | Self::Forget | Self::Close(_))
    }
}

/// What a request that names something by its id is about, as it was looked up.
enum Found {
    Nothing,
    Job(Result<Job>),
    Letter(Result<DeadLetter>),
}

/// What answers are made of, once a round is committed.
struct After {
    /// The first id that was given out.
    base: Id,
    next_due: Option<Timestamp>,
}

/// The answer to a request.
type Answer = Box<dyn FnOnce(Request, &After) + Send>;

/// How a round came out.
struct Decided {
    draft: Draft,
    group: Group,
    /// That of what it writes.
    version: Arc<str>,
    answers: Vec<Answer>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    requests: mpsc::UnboundedReceiver<Request>,
    /// The number of the next call.
    number: u64,
    /// How many notices were read and are done with, and are still there.
    acknowledged: usize,
    now: Timestamp,
    generation: u64,
}

/// Once it is closed, nothing can be asked.
struct Closed;

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
            let call = Call {
                host: &self.shared.host,
                number: self.number,
                now: self.now,
                piece_jobs: self.shared.piece_jobs(),
                most_notices: MOST_NOTICES,
                acknowledged: self.acknowledged,
            };
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
                    self.shared.memory().refused = 0;
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

    /// Reads what else has come.
    async fn drain(&mut self) -> std::result::Result<Vec<Arrival>, Closed> {
        let mut arrivals = Vec::new();
        loop {
            let call = Call {
                host: &self.shared.host,
                number: self.number,
                now: self.now,
                piece_jobs: self.shared.piece_jobs(),
                most_notices: MOST_NOTICES,
                acknowledged: self.acknowledged,
            };
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

    /// Looks up what a decision needs.
    async fn fill(&mut self, need: Need) -> std::result::Result<(), Closed> {
        match need {
            Need::Service(key) => self.load(vec![key]).await,
            Need::Run(id) => self.load_run(id).await,
            Need::Claim(door) => {
                let mut get = Args::command("HGET");
                get.push(self.shared.keys.key("claims")).push(&door);
                let last = self.ask(&[get]).await?.pop().map_or(Ok(0), number);
                self.shared.memory().claims.insert(door, last.unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Reads services. The version first: if the record is a younger one, the next commit finds out.
    async fn load(&mut self, services: Vec<ServiceKey>) -> std::result::Result<(), Closed> {
        if services.is_empty() {
            return Ok(());
        }
        let mut asked = Vec::new();
        for service in &services {
            for kind in ['v', 's', 't'] {
                let mut get = Args::command("HGET");
                get.push(self.shared.keys.of(kind, service)).push(service.as_str());
                asked.push(get);
            }
        }
        let mut answers = self.ask(&asked).await?.into_iter();
        for service in &services {
            let mut next = || answers.next().map_or(Ok(None), bytes);
            let read = |version: Option<Vec<u8>>, record: Option<Vec<u8>>, schedules: Option<Vec<u8>>| {
                versioned(version, record, schedules)
            };
            let found = (|| read(next()?, next()?, next()?))();
            match found {
                Ok(found) => self.shared.memory().put(service, found),
                Err(error) => tracing::error!(%service, "the service cannot be read: {error}"),
            }
        }
        Ok(())
    }

    async fn load_run(&mut self, id: Id) -> std::result::Result<(), Closed> {
        let asked = ["v:runs", "runs"].map(|key| {
            let mut get = Args::command("HGET");
            get.push(self.shared.keys.key(key)).show(id);
            get
        });
        let mut answers = self.ask(&asked).await?.into_iter();
        let mut next = || answers.next().map_or(Ok(None), bytes);
        let found = (|| -> Result<Versioned<Run>> {
            let version = next()?.unwrap_or_default();
            let record = next()?.map(|record| stored(&record)).transpose()?;
            Ok(Versioned { record, version: String::from_utf8_lossy(&version).into() })
        })();
        match found {
            Ok(found) => {
                self.shared.memory().runs.insert(id, found);
            }
            Err(error) => tracing::error!(run = %id, "the run cannot be read: {error}"),
        }
        Ok(())
    }

    async fn load_filters(&mut self) -> std::result::Result<(), Closed> {
        let mut version = Args::command("GET");
        version.push(self.shared.keys.key("filters:version"));
        let mut all = Args::command("HGETALL");
        all.push(self.shared.keys.key("filters"));
        let mut answers = self.ask(&[version, all]).await?.into_iter();
        let mut next = || answers.next().unwrap_or(redis::Value::Nil);
        let read = (|| -> Result<_> {
            let version = text(next())?.unwrap_or_else(|| "0".into());
            let mut index = FilterIndex::default();
            for (_, record) in pairs(next())? {
                index.restore(from_json::<Subscription>(&record)?);
            }
            Ok((version, index))
        })();
        match read {
            Ok((version, index)) => {
                let mut memory = self.shared.memory();
                memory.exists.extend(index.all().into_iter().map(|filter| filter.service.clone()));
                memory.filters = Arc::new(index);
                memory.filters_version = version.into();
            }
            Err(error) => tracing::error!("the event filters cannot be read: {error}"),
        }
        Ok(())
    }

    /// Partitions have become this host's: reads what is in them.
    async fn own(&mut self, mut partitions: Vec<(u16, Arc<str>)>) -> std::result::Result<Result<()>, Closed> {
        partitions.retain(|(partition, _)| !self.shared.memory().owned.contains_key(partition));
        // Those that have waited longest come first.
        let mut waiting: Vec<(Id, ServiceKey)> = Vec::new();
        for some in partitions.chunks(LOADED_AT_ONCE) {
            let asked: Vec<_> = some
                .iter()
                .flat_map(|(partition, _)| ['v', 's', 't', 'p'].map(|kind| (kind, *partition)))
                .map(|(kind, partition)| {
                    let mut all = Args::command("HGETALL");
                    all.push(self.shared.keys.at(kind, partition));
                    all
                })
                .collect();
            let mut answers = self.ask(&asked).await?.into_iter();
            for (partition, token) in some {
                let content = match content(&mut answers) {
                    Ok(content) => content,
                    Err(error) => return Ok(Err(error)),
                };
                let mut memory = self.shared.memory();
                memory.owned.insert(*partition, Owned { token: token.clone(), leaving: false });
                for (known, version) in content.services {
                    let key = known.service.key.clone();
                    memory.put(&key, Versioned { record: Some(known), version });
                }
                for job in content.jobs {
                    waiting.push((job.id, job.service.clone()));
                    memory.arrived(job);
                }
            }
        }
        waiting.sort_unstable();
        let mut any = false;
        {
            let mut memory = self.shared.memory();
            for (_, service) in waiting {
                any |= memory.backlog.queue(&service);
            }
        }
        self.shared.tell(any);
        Ok(Ok(()))
    }

    /// Looks up what requests name by id.
    async fn look_up(&mut self, requests: &[Request]) -> std::result::Result<Vec<Found>, Closed> {
        let mut all = Vec::with_capacity(requests.len());
        for request in requests {
            all.push(match request {
                Request::Cancel(id, ..) => Found::Job(self.waiting(*id).await?),
                Request::RetryDead(id, ..) | Request::DiscardDead(id, ..) => {
                    let mut get = Args::command("HGET");
                    get.push(self.shared.keys.key("dead")).show(id);
                    let letter = self.ask(&[get]).await?.pop().map_or(Ok(None), bytes);
                    Found::Letter(letter.and_then(|letter| stored(&letter.ok_or_else(|| no_letter(*id))?)))
                }
                _ => Found::Nothing,
            });
        }
        Ok(all)
    }

    /// A job that has not ended.
    async fn waiting(&mut self, id: Id) -> std::result::Result<Result<Job>, Closed> {
        let asked: Vec<_> = (0..partition::PARTITIONS)
            .map(|partition| {
                let mut get = Args::command("HGET");
                get.push(self.shared.keys.at('p', partition)).show(id);
                get
            })
            .collect();
        for answer in self.ask(&asked).await? {
            match bytes(answer) {
                Ok(None) => {}
                Ok(Some(record)) => return Ok(stored(&record)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(match self.shared.ended_job(id).await {
            Ok(Some(job)) => Err(has_ended(&job)),
            Ok(None) => Err(Error::NotFound(format!("there is no job {id}"))),
            Err(error) => Err(error),
        })
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

    async fn forget(&mut self) -> std::result::Result<(), Closed> {
        self.generation = self.shared.link.generation();
        tracing::info!("Redis was started anew: reading again what this host has in memory");
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
                    self.shared.works();
                    return Ok(value);
                }
                Err(trouble) => self.pause(&trouble, &mut pause).await?,
            }
        }
    }

    async fn ask(&mut self, commands: &[Args]) -> std::result::Result<Vec<redis::Value>, Closed> {
        let mut pause = PAUSES.0;
        loop {
            match self.shared.link.ask(commands).await {
                Ok(values) => {
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

/// About how many rows a request writes.
fn size(request: &Request) -> usize {
    match request {
        Request::Accept(batch, ..) => batch.events.len() + batch.jobs.len() + batch.dead.len(),
        Request::Commit(attempts, ..) => attempts.len(),
        Request::Apply(changes, ..) => changes.create.len() + changes.filters.len() + changes.schedules.len(),
        _ => 1,
    }
}

/// What is in a partition.
struct Content {
    services: Vec<(Known, Arc<str>)>,
    /// In order.
    jobs: Vec<Job>,
}

/// Reads a partition's versions, records, schedules and mailboxes.
fn content(answers: &mut impl Iterator<Item = redis::Value>) -> Result<Content> {
    let mut next = || answers.next().map_or(Ok(Vec::new()), pairs);
    let mut versions: HashMap<String, Vec<u8>> = next()?.into_iter().collect();
    let records = next()?;
    let mut schedules: HashMap<String, Vec<u8>> = next()?.into_iter().collect();
    let mut services = Vec::with_capacity(records.len());
    for (key, record) in records {
        let found = versioned(versions.remove(&key), Some(record), schedules.remove(&key))?;
        services.extend(found.record.map(|known| (known, found.version)));
    }
    let mut jobs = next()?.iter().map(|(_, record)| stored::<Job>(record)).collect::<Result<Vec<_>>>()?;
    jobs.sort_unstable_by_key(|job| job.id);
    Ok(Content { services, jobs })
}

/// A service as it is stored.
fn versioned(
    version: Option<Vec<u8>>,
    record: Option<Vec<u8>>,
    schedules: Option<Vec<u8>>,
) -> Result<Versioned<Known>> {
    let version = version.map_or_else(|| ABSENT.into(), |version| String::from_utf8_lossy(&version).into());
    let Some(record) = record else { return Ok(Versioned { record: None, version }) };
    let mut known = Known::new(from_json(&record)?);
    if let Some(schedules) = schedules {
        known.schedules = from_json(&schedules)?;
    }
    Ok(Versioned { record: Some(known), version })
}

fn answer(requests: Vec<Request>, answers: Vec<Answer>, after: &After) {
    for (request, answer) in requests.into_iter().zip(answers) {
        answer(request, after);
    }
}

/// Sends a result, with the ids that were given out.
fn send<T: Rebase>(reply: Reply<T>, result: Result<T>, base: Id) {
    let _ = reply.send(result.map(|mut value| {
        value.rebase(base);
        value
    }));
}

fn fail(requests: Vec<Request>, error: &Error) {
    let why = || Error::Io(error.to_string());
    for request in requests {
        match request {
            Request::Accept(_, _, reply) => drop(reply.send(Err(why()))),
            Request::Apply(_, _, reply) => drop(reply.send(Err(why()))),
            Request::StartRun(_, _, reply) => drop(reply.send(Err(why()))),
            Request::Tick(_, reply) => drop(reply.send(Err(why()))),
            Request::Cancel(_, _, reply) | Request::RetryDead(_, _, reply) => drop(reply.send(Err(why()))),
            Request::DiscardDead(_, _, reply) => drop(reply.send(Err(why()))),
            Request::Commit(_, _, reply)
            | Request::Retain(_, _, reply)
            | Request::Own(_, reply)
            | Request::Close(reply) => drop(reply.send(Err(why()))),
            Request::Look | Request::Forget => {}
        }
    }
}

impl Shared {
    /// Decides all requests of a round on what is in memory, or says what has to be looked up first.
    fn decide(
        &self,
        requests: &[Request],
        found: &[Found],
        now: Timestamp,
    ) -> std::result::Result<Decided, Need> {
        let memory = self.memory();
        let mut draft = Draft::default();
        let mut group = Group::default();
        let mut answers: Vec<Answer> = Vec::with_capacity(requests.len());
        for (request, found) in requests.iter().zip(found) {
            let mut world = Deciding { memory: &memory, draft: &mut draft };
            let now = request.now().unwrap_or(now);
            let mut decider = Decider { world: &mut world, group: &mut group, now };
            /// What the requester gets, or what has to be looked up.
            fn settled<T>(result: std::result::Result<T, Stop>) -> std::result::Result<Result<T>, Need> {
                match result {
                    Ok(value) => Ok(Ok(value)),
                    Err(Stop::Error(error)) => Ok(Err(error)),
                    Err(Stop::Need(need)) => Err(need),
                }
            }
            macro_rules! answered {
                ($variant:pat => $reply:ident, $result:expr) => {{
                    let result = $result;
                    Box::new(move |request: Request, after: &After| {
                        if let $variant = request {
                            send($reply, result, after.base);
                        }
                    })
                }};
            }
            answers.push(match request {
                Request::Accept(batch, ..) => {
                    answered!(Request::Accept(_, _, reply) => reply, settled(decider.accept(batch))?)
                }
                Request::Apply(changes, ..) => {
                    answered!(Request::Apply(_, _, reply) => reply, settled(decider.apply(changes))?)
                }
                Request::StartRun(run, ..) => {
                    answered!(Request::StartRun(_, _, reply) => reply, settled(decider.start_run(run.clone()))?)
                }
                Request::Commit(attempts, ..) => {
                    let result = attempts.iter().try_for_each(|attempt| decider.settle(attempt));
                    answered!(Request::Commit(_, _, reply) => reply, settled(result)?)
                }
                Request::Tick(..) => {
                    let result = settled(decider.fire())?;
                    Box::new(move |request, after| {
                        if let Request::Tick(_, reply) = request {
                            let next_due = after.next_due;
                            let _ = reply.send(result.map(|occurrences| Ticked { occurrences, next_due }));
                        }
                    })
                }
                Request::Cancel(..) => {
                    let Found::Job(found) = found else { continue };
                    let result = match found {
                        Ok(job) => settled(decider.cancel(job.clone()))?,
                        Err(error) => Err(error.clone()),
                    };
                    answered!(Request::Cancel(_, _, reply) => reply, result)
                }
                Request::RetryDead(..) => {
                    let Found::Letter(found) = found else { continue };
                    let result = match found {
                        Ok(letter) => settled(decider.retry(letter))?,
                        Err(error) => Err(error.clone()),
                    };
                    answered!(Request::RetryDead(_, _, reply) => reply, result)
                }
                Request::DiscardDead(..) => {
                    let Found::Letter(found) = found else { continue };
                    let result = match found {
                        Ok(letter) => {
                            decider.discard(letter);
                            Ok(letter.clone())
                        }
                        Err(error) => Err(error.clone()),
                    };
                    answered!(Request::DiscardDead(_, _, reply) => reply, result)
                }
                _ => Box::new(|_, _| {}),
            });
        }
        Ok(Decided { draft, group, version: Arc::default(), answers })
    }
}
