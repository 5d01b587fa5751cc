//! The writer: one thread that takes all decisions that change something, and makes them durable.
//!
//! It takes what waits, lets the state decide each request in turn, writes everything as one batch with one sync, and
//! only then answers. What comes in meanwhile waits for the next round, so under load many requests share a sync.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
};

use ays_core::{Id, Timestamp, capability::Granted, changes::Changes, job::Job, run::NewRun, run::Run};
use fjall::{OwnedWriteBatch, PersistMode};
use tokio::sync::oneshot;

use super::{
    Shared,
    disk::{Disk, GRANT, claim_key, io, kv_key, schedule_key},
    history::{History, job_key, run_key, unmatched_key},
    opening::Belongings,
    state::State,
};
use crate::{
    Accepted, Applied, Batch, DeadLetter, Error, Result, RetentionPolicy, Ticked,
    decide::{Attempt, Decider, Group, has_ended, no_letter},
    record::{from_json, to_json},
};

/// A round takes no further request once it writes this many rows.
const MOST_ROWS: usize = 4096;

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
    Grant(BTreeMap<String, Granted>, Reply<()>),
    Close(Reply<()>),
}

impl Request {
    /// Whether it needs to see on the disk everything that came before it, and touches records by id.
    fn is_alone(&self) -> bool {
        matches!(
            self,
            Self::Cancel(..)
                | Self::RetryDead(..)
                | Self::DiscardDead(..)
                | Self::Retain(..)
                | Self::Grant(..)
                | Self::Close(..)
        )
    }

    fn now(&self) -> Timestamp {
        match self {
            Self::Accept(_, now, _)
            | Self::Apply(_, now, _)
            | Self::StartRun(_, now, _)
            | Self::Commit(_, now, _)
            | Self::Tick(now, _)
            | Self::Cancel(_, now, _)
            | Self::RetryDead(_, now, _)
            | Self::DiscardDead(_, now, _)
            | Self::Retain(_, now, _) => *now,
            Self::Grant(..) | Self::Close(_) => Timestamp::default(),
        }
    }
}

/// An answer that waits until what it says is durable.
type Answer = Box<dyn FnOnce(std::result::Result<(), &str>) + Send>;

/// Called before each write; for tests of what happens when one fails.
pub(super) type BeforeWrite = Box<dyn FnMut() -> Result<()> + Send>;

/// What runs in the writer's thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Disk,
    pub(super) history: History,
    pub(super) requests: mpsc::Receiver<Request>,
    /// None: nothing is synced, as in memory.
    pub(super) sync: Option<PersistMode>,
    /// What goes when the database is closed.
    pub(super) belongings: Belongings,
    pub(super) before_write: Option<BeforeWrite>,
}

impl Writer {
    /// Works until it is closed, or nobody can ask any more, or something fails.
    pub(super) fn run(mut self) {
        let end = catch_unwind(AssertUnwindSafe(|| self.work()));
        let (why, reply) = match end {
            Ok(Ok(reply)) => ("it was closed".to_owned(), reply),
            Ok(Err(error)) => (error.to_string(), None),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                (format!("its writer panicked: {}", text.unwrap_or_default()), None)
            }
        };
        if reply.is_none() {
            tracing::error!(reason = %why, "the store closes: what is in memory and not on the disk is not believed any more");
        }
        self.shared.close(&why);
        let Self { shared, disk, history, requests, belongings, .. } = self;
        drop((disk, history, shared));
        drop(belongings);
        if let Some(reply) = reply {
            let _ = reply.send(Ok(()));
        }
        // Those that asked too late are told by the end of their channel.
        drop(requests);
    }

    fn work(&mut self) -> Result<Option<Reply<()>>> {
        let mut next = None;
        loop {
            let Some(first) = next.take().or_else(|| self.requests.recv().ok()) else { return Ok(None) };
            if let Request::Close(reply) = first {
                return Ok(Some(reply));
            }
            let mut round = Round { now: first.now(), ..Round::default() };
            let alone = first.is_alone();
            let mut failed = self.decide(first, &mut round).err();
            while !alone && failed.is_none() && round.group.size() < MOST_ROWS {
                match self.requests.try_recv() {
                    Ok(request) if request.is_alone() => {
                        next = Some(request);
                        break;
                    }
                    Ok(request) => {
                        round.now = round.now.max(request.now());
                        failed = self.decide(request, &mut round).err();
                    }
                    Err(_) => break,
                }
            }
            let written = failed.map_or_else(|| self.write(&mut round), Err);
            if let Err(error) = written {
                let why = error.to_string();
                self.shared.close(&why);
                round.answers.into_iter().for_each(|answer| answer(Err(&why)));
                return Err(error);
            }
            self.publish(&round.group);
            round.answers.into_iter().for_each(|answer| answer(Ok(())));
        }
    }

    /// Lets the state decide a request. An error is one after which the state cannot be believed.
    fn decide(&mut self, request: Request, round: &mut Round) -> Result<()> {
        let shared = self.shared.clone();
        let now = request.now();
        let mut state = shared.state();
        let world: &mut State = &mut state;
        let group = &mut round.group;
        let mut decider = Decider { world, group, now };
        let decided = match request {
            Request::Accept(batch, _, reply) => {
                let result = decider.accept(&batch);
                round.answer(result, reply)
            }
            Request::Apply(changes, _, reply) => {
                let result = decider.apply(&changes);
                round.answer(result, reply)
            }
            Request::StartRun(run, _, reply) => {
                let result = decider.start_run(run);
                round.answer(result, reply)
            }
            Request::Commit(attempts, _, reply) => {
                let result = attempts.iter().try_for_each(|attempt| decider.settle(attempt));
                round.answer(result, reply)
            }
            Request::Tick(_, reply) => {
                let result = decider.fire();
                let result =
                    result.map(|occurrences| Ticked { occurrences, next_due: state.backlog.next_due() });
                round.answer(result, reply)
            }
            Request::Cancel(id, _, reply) => {
                let result = self.waiting(id).and_then(|job| decider.cancel(job));
                round.answer(result, reply)
            }
            Request::RetryDead(id, _, reply) => {
                let result = self.letter(id).and_then(|letter| decider.retry(&letter));
                round.answer(result, reply)
            }
            Request::DiscardDead(id, _, reply) => {
                let result = self.letter(id).inspect(|letter| decider.discard(letter));
                round.answer(result, reply)
            }
            Request::Retain(policy, _, reply) => {
                drop(state);
                let result = self.retain(policy, now);
                round.answer(result, reply)
            }
            Request::Grant(grants, reply) => {
                drop(state);
                let result = self.grant(&grants);
                round.answer(result, reply)
            }
            // Handled where it was taken.
            Request::Close(_) => None,
        };
        decided.map_or(Ok(()), Err)
    }

    fn letter(&self, id: Id) -> Result<DeadLetter> {
        match self.disk.dead.get(id.to_bytes()).map_err(io)? {
            Some(bytes) => from_json(&bytes),
            None => Err(no_letter(id)),
        }
    }

    /// A job that has not ended.
    fn waiting(&self, id: Id) -> Result<Job> {
        if let Some(bytes) = self.disk.pending.get(id.to_bytes()).map_err(io)? {
            return from_json(&bytes);
        }
        for rows in self.history.pieces.youngest_first() {
            if let Some(bytes) = rows.records.get(id.to_bytes()).map_err(io)? {
                return Err(has_ended(&from_json(&bytes)?));
            }
        }
        Err(Error::NotFound(format!("there is no job {id}")))
    }

    fn grant(&mut self, grants: &BTreeMap<String, Granted>) -> Result<()> {
        let mut batch = self.disk.db.batch().durability(self.sync);
        for (actor, granted) in grants {
            let key = format!("{GRANT}{actor}");
            if granted.is_empty() {
                batch.remove(&self.disk.meta, key);
            } else {
                batch.insert(&self.disk.meta, key, to_json(granted)?);
            }
        }
        self.shared.count(1, u64::from(self.sync.is_some()));
        batch.commit().map_err(io)
    }

    fn retain(&mut self, policy: RetentionPolicy, now: Timestamp) -> Result<()> {
        let mut batch = self.disk.db.batch().durability(self.sync);
        self.history.retain(policy, now, &mut batch)?;
        if !batch.is_empty() {
            self.shared.count(0, u64::from(self.sync.is_some()));
            batch.commit().map_err(io)?;
        }
        self.history.drop_pieces()?;
        self.shared.set_history(self.history.jobs());
        Ok(())
    }

    /// Makes the round durable.
    fn write(&mut self, round: &mut Round) -> Result<()> {
        if round.group.is_empty() {
            return Ok(());
        }
        if let Some(before) = &mut self.before_write {
            before()?;
        }
        let mut batch = self.disk.db.batch().durability(self.sync);
        self.fill(&mut batch, round)?;
        batch.commit().map_err(io)?;
        self.shared.count(round.group.changes, u64::from(self.sync.is_some()));
        Ok(())
    }

    fn fill(&mut self, batch: &mut OwnedWriteBatch, round: &Round) -> Result<()> {
        let Round { group, now, .. } = round;
        let disk = &self.disk;
        for job in &group.arrived {
            batch.insert(&disk.pending, job.id.to_bytes(), to_json(job)?);
        }
        for (id, _, record) in &group.kept {
            batch.insert(&disk.pending, id.to_bytes(), record.as_ref());
        }
        for (id, _) in &group.left {
            batch.remove(&disk.pending, id.to_bytes());
        }
        for letter in &group.dead {
            batch.insert(&disk.dead, letter.id.to_bytes(), to_json(letter)?);
        }
        for id in &group.undead {
            batch.remove(&disk.dead, id.to_bytes());
        }
        for (seq, subscription) in &group.filters {
            match subscription {
                Some(subscription) => batch.insert(&disk.filters, seq.to_be_bytes(), to_json(subscription)?),
                None => batch.remove(&disk.filters, seq.to_be_bytes()),
            }
        }
        for (service, writes) in &group.kv {
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(&disk.kv, kv_key(service, key), value.as_ref()),
                    None => batch.remove(&disk.kv, kv_key(service, key)),
                }
            }
        }
        for (door, number) in &group.claims {
            batch.insert(&disk.meta, claim_key(door), number.to_be_bytes());
        }
        let last_id = {
            let state = self.shared.state();
            for key in &group.services {
                if let Some(entry) = state.backlog.services.get(key) {
                    batch.insert(&disk.services, key.as_str(), to_json(&entry.known.service)?);
                }
            }
            for (key, action) in &group.schedules {
                let entry = state.backlog.services.get(key);
                match entry.and_then(|entry| entry.known.schedules.get(action)) {
                    Some(schedule) => {
                        batch.insert(&disk.schedules, schedule_key(key, action), to_json(schedule)?);
                    }
                    None => batch.remove(&disk.schedules, schedule_key(key, action)),
                }
            }
            state.last_id
        };
        batch.insert(&disk.meta, "last-id", last_id.to_bytes());

        let over = |run: &&Run| run.state.is_final();
        let runs_over = group.runs.values().filter(over).count();
        for run in group.runs.values().filter(|run| !over(run)) {
            batch.insert(&disk.runs, run.id.to_bytes(), to_json(run)?);
        }
        let (ended, others) = (group.ended.len(), group.unmatched.len() + runs_over);
        if ended + others > 0 {
            let rows = self.history.grow(ended as u64, others as u64, *now, batch)?;
            for job in &group.ended {
                batch.insert(&rows.records, job.id.to_bytes(), job.record.as_ref());
                batch.insert(&rows.index, job_key(&job.service, job.id), []);
            }
            for event in &group.unmatched {
                batch.insert(&rows.index, unmatched_key(event.id), to_json(event)?);
            }
            for run in group.runs.values().filter(over) {
                batch.remove(&self.disk.runs, run.id.to_bytes());
                batch.insert(&rows.index, run_key(run.id), to_json(run)?);
            }
        }
        Ok(())
    }

    /// What was decided is durable: takers may have it.
    fn publish(&self, group: &Group) {
        let mut state = self.shared.state();
        state.backlog.durable = state.last_id;
        for (key, id) in &group.freed {
            if let Some(entry) = state.backlog.services.get_mut(key) {
                entry.mailbox.free(*id);
            }
        }
        let mut any = false;
        for key in &group.touched {
            if let Some(entry) = state.backlog.services.get_mut(key) {
                entry.mailbox.forget_leaving();
            }
            any |= state.backlog.queue(key);
        }
        let services = state.backlog.services.len() as u64;
        let counts = &mut state.counts;
        counts.pending =
            (counts.pending + group.arrived.len() as u64).saturating_sub(group.left.len() as u64);
        counts.dead = (counts.dead + group.dead.len() as u64).saturating_sub(group.undead.len() as u64);
        counts.services = services;
        drop(state);
        self.shared.set_history(self.history.jobs());
        if any {
            self.shared.wake_takers();
        }
    }
}

/// What is decided before the next write.
#[derive(Default)]
struct Round {
    now: Timestamp,
    group: Group,
    answers: Vec<Answer>,
}

impl Round {
    /// Keeps an answer until the round is durable. Returns an error after which the state cannot be believed; one that
    /// only says that what was asked for is not possible goes to who asked.
    fn answer<T: Send + 'static>(&mut self, result: Result<T>, reply: Reply<T>) -> Option<Error> {
        match result {
            Err(Error::Io(why)) => {
                let _ = reply.send(Err(Error::Io(why.clone())));
                Some(Error::Io(why))
            }
            result => {
                self.answers.push(Box::new(move |durable: std::result::Result<(), &str>| {
                    let result = durable.map_err(|why| Error::Io(why.to_owned())).and(result);
                    let _ = reply.send(result);
                }));
                None
            }
        }
    }
}
