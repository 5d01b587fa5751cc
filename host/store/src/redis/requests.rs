//! What is asked of the writer, and how a round of it is decided.

use std::sync::Arc;

use ays_core::{
    Id, Timestamp,
    changes::Changes,
    job::Job,
    run::{NewRun, Run},
    turn::Effect,
};
use tokio::sync::oneshot;

use super::{
    draft::{Deciding, Draft, Need, Stop},
    memory::Memory,
    record::Rebase,
};
use crate::{
    Accepted, Applied, Batch, DeadLetter, Error, Result, RetentionPolicy, Ticked,
    decide::{Attempt, Decider, Group},
};

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
    pub(super) fn now(&self) -> Option<Timestamp> {
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
    pub(super) fn is_by_id(&self) -> bool {
        matches!(self, Self::Cancel(..) | Self::RetryDead(..) | Self::DiscardDead(..))
    }

    /// Whether it can be decided while the round before it is in Redis: most of what comes under load, and nothing that
    /// needs looking up.
    pub(super) fn may_be_ahead(&self) -> bool {
        matches!(self, Self::Accept(..) | Self::Commit(..) | Self::Look)
    }

    /// Whether it is not decided together with others.
    pub(super) fn is_apart(&self) -> bool {
        matches!(self, Self::Retain(..) | Self::Own(..) | Self::Forget | Self::Close(_))
    }
}

/// What a request that names something by its id is about, as it was looked up.
pub(super) enum Found {
    Nothing,
    Job(Result<Box<Job>>),
    Letter(Result<Box<DeadLetter>>),
}

/// What answers are made of, once a round is committed.
pub(super) struct After {
    /// The first id that was given out.
    pub(super) base: Id,
    pub(super) next_due: Option<Timestamp>,
}

/// The answer to a request.
pub(super) type Answer = Box<dyn FnOnce(Request, &After) + Send>;

/// What was decided for the requests of a round.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) draft: Draft,
    pub(super) group: Group,
    pub(super) answers: Vec<Answer>,
}

impl Decided {
    /// Whether there is nothing to write or to be refused, and nothing that Redis knows better.
    pub(super) fn is_nothing(&self) -> bool {
        let Draft { refused, ids, claims, .. } = &self.draft;
        self.group.is_empty() && *refused == 0 && *ids == 0 && claims.is_empty()
    }
}

/// A row that is longer counts as several.
const ROW_BYTES: usize = 16 << 10;

/// About how many rows a request writes.
pub(super) fn size(request: &Request) -> usize {
    let (rows, bytes) = match request {
        Request::Accept(batch, ..) => {
            let args = batch.events.iter().map(|event| event.args.as_str().len());
            let args = args.chain(batch.jobs.iter().map(|job| job.args.as_str().len()));
            let raw = batch.dead.iter().map(|entry| entry.raw.len());
            (batch.events.len() + batch.jobs.len() + batch.dead.len(), args.chain(raw).sum())
        }
        Request::Commit(attempts, ..) => {
            let bytes = |attempt: &Attempt| attempt.record.len() + kv_bytes(&attempt.settled.effects);
            (attempts.len(), attempts.iter().map(bytes).sum())
        }
        Request::Apply(changes, ..) => {
            (changes.create.len() + changes.filters.len() + changes.schedules.len(), 0)
        }
        _ => (1, 0),
    };
    rows + bytes / ROW_BYTES
}

/// About how many bytes of key-value pairs a turn writes.
fn kv_bytes(effects: &[Effect]) -> usize {
    let change = effects.iter().find_map(|effect| match effect {
        Effect::Keep(change) => Some(change),
        _ => None,
    });
    let writes = change.into_iter().flat_map(|change| &change.writes);
    writes.map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len())).sum()
}

pub(super) fn answer(requests: Vec<Request>, answers: Vec<Answer>, after: &After) {
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

pub(super) fn fail(requests: Vec<Request>, error: &Error) {
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

impl Memory {
    /// Decides one more request of a round on what is in memory, or says what has to be looked up first; then what was
    /// decided of the round is void.
    pub(super) fn decide(
        &self,
        request: &Request,
        found: &Found,
        now: Timestamp,
        decided: &mut Decided,
    ) -> std::result::Result<(), Need> {
        let Decided { draft, group, answers } = decided;
        let mut world = Deciding { memory: self, draft };
        let now = request.now().unwrap_or(now);
        let mut decider = Decider { world: &mut world, group, now };
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
        let nothing_found = || Error::Io("it was not looked up".into());
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
                let result = match found {
                    Found::Job(Ok(job)) => settled(decider.cancel(Job::clone(job)))?,
                    Found::Job(Err(error)) => Err(error.clone()),
                    _ => Err(nothing_found()),
                };
                answered!(Request::Cancel(_, _, reply) => reply, result)
            }
            Request::RetryDead(..) => {
                let result = match found {
                    Found::Letter(Ok(letter)) => settled(decider.retry(letter))?,
                    Found::Letter(Err(error)) => Err(error.clone()),
                    _ => Err(nothing_found()),
                };
                answered!(Request::RetryDead(_, _, reply) => reply, result)
            }
            Request::DiscardDead(..) => {
                let result = match found {
                    Found::Letter(Ok(letter)) => {
                        decider.discard(letter);
                        Ok(DeadLetter::clone(letter))
                    }
                    Found::Letter(Err(error)) => Err(error.clone()),
                    _ => Err(nothing_found()),
                };
                answered!(Request::DiscardDead(_, _, reply) => reply, result)
            }
            _ => Box::new(|_, _| {}),
        });
        Ok(())
    }
}
