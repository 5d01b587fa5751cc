//! A round of decisions that is not in Redis yet: it may turn out to be decided on what is no longer so, and be decided
//! anew.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ays_core::{Id, ServiceKey, Timestamp, job::Job, routing::FilterIndex, run::Run};

use super::{
    memory::{ABSENT, Memory},
    record::numbered,
};
use crate::{
    Error,
    backlog::Verdict,
    decide::{Known, World},
};

/// Something that has to be looked up before a decision is possible.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Need {
    Service(ServiceKey),
    Run(Id),
    Claim(String),
}

/// Why a decision was not taken.
#[derive(Debug)]
pub(super) enum Stop {
    Need(Need),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What a round changes, and what it was decided on.
#[derive(Default)]
pub(super) struct Draft {
    /// How many ids it needs.
    pub(super) ids: u64,
    /// Services that were read, as they are now to be.
    pub(super) services: HashMap<ServiceKey, Known>,
    /// Services whose version must be what it was; also those that must not be there.
    pub(super) read: BTreeSet<ServiceKey>,
    /// The event filters, if they are changed.
    pub(super) filters: Option<FilterIndex>,
    /// Whether the event filters were looked at.
    pub(super) routed: Cell<bool>,
    pub(super) runs: HashMap<Id, Run>,
    pub(super) runs_read: BTreeSet<Id>,
    runs_ended: HashSet<Id>,
    /// Each door's last claim as it was, and as it is to be.
    pub(super) claims: BTreeMap<String, (u64, u64)>,
    /// Attempts of jobs that are this host's, in order.
    pub(super) verdicts: Vec<(ServiceKey, Id, Option<Id>)>,
    void: HashSet<Id>,
    settled: HashSet<Id>,
    /// How many attempts are refused since their partition has moved.
    pub(super) refused: u64,
    pub(super) waits: Vec<Job>,
    pub(super) cancelled: Vec<(ServiceKey, Id)>,
}

impl Draft {
    /// Whether this was decided on something that `before` changes.
    pub(super) fn rests_on(&self, before: &Self) -> bool {
        !self.read.is_disjoint(&before.read)
            || (self.routed.get() && before.filters.is_some())
            || self.claims.keys().any(|door| before.claims.contains_key(door))
            || self.runs_read.iter().any(|run| before.runs.contains_key(run))
    }
}

/// A round being decided.
pub(super) struct Deciding<'a> {
    pub(super) memory: &'a Memory,
    pub(super) draft: &'a mut Draft,
}

impl Deciding<'_> {
    /// Whether there is such a service; what is not known has to be looked up.
    fn exists(&mut self, key: &ServiceKey) -> Result<bool, Stop> {
        let Deciding { memory, draft } = self;
        if memory.exists.contains(key) || draft.services.contains_key(key) {
            return Ok(true);
        }
        if memory.owns(key) || memory.foreign.contains_key(key) {
            draft.read.insert(key.clone());
            return Ok(memory.foreign.get(key).is_some_and(|found| found.record.is_some()));
        }
        Err(Stop::Need(Need::Service(key.clone())))
    }
}

impl World for Deciding<'_> {
    type Stop = Stop;

    fn namespace(&self) -> &str {
        &self.memory.namespace
    }

    fn next_id(&mut self, _: Timestamp) -> Id {
        let id = numbered(self.draft.ids);
        self.draft.ids += 1;
        id
    }

    fn claim(&mut self, door: &str) -> Result<&mut u64, Stop> {
        if !self.draft.claims.contains_key(door) {
            let Some(last) = self.memory.claims.get(door) else {
                return Err(Stop::Need(Need::Claim(door.into())));
            };
            self.draft.claims.insert(door.into(), (*last, *last));
        }
        Ok(&mut self.draft.claims.entry(door.into()).or_default().1)
    }

    fn service(&mut self, key: &ServiceKey) -> Result<Option<&mut Known>, Stop> {
        let Deciding { memory, draft } = self;
        if !draft.services.contains_key(key) {
            draft.read.insert(key.clone());
            let known = match memory.backlog.services.get(key) {
                Some(entry) => Some(&entry.known),
                None if memory.owns(key) => None,
                None => match memory.foreign.get(key) {
                    Some(found) => found.record.as_ref(),
                    None => return Err(Stop::Need(Need::Service(key.clone()))),
                },
            };
            let Some(known) = known else { return Ok(None) };
            draft.services.insert(key.clone(), known.clone());
        }
        Ok(draft.services.get_mut(key))
    }

    fn create(&mut self, known: Known) {
        let key = known.service.key.clone();
        self.draft.read.insert(key.clone());
        self.draft.services.insert(key, known);
    }

    fn filters(&self) -> &FilterIndex {
        self.draft.routed.set(true);
        self.draft.filters.as_ref().unwrap_or(&self.memory.filters)
    }

    fn filters_mut(&mut self) -> &mut FilterIndex {
        self.draft.routed.set(true);
        self.draft.filters.get_or_insert_with(|| FilterIndex::clone(&self.memory.filters))
    }

    fn run(&mut self, id: Id) -> Result<Option<&mut Run>, Stop> {
        let Deciding { memory, draft } = self;
        if !draft.runs.contains_key(&id) {
            let Some(found) = memory.runs.get(&id) else { return Err(Stop::Need(Need::Run(id))) };
            draft.runs_read.insert(id);
            let Some(run) = &found.record else { return Ok(None) };
            draft.runs.insert(id, run.clone());
        }
        let ended = draft.runs_ended.contains(&id);
        Ok(draft.runs.get_mut(&id).filter(|_| !ended))
    }

    fn put_run(&mut self, run: Run) {
        self.draft.runs.insert(run.id, run);
    }

    fn end_run(&mut self, id: Id) {
        self.draft.runs_ended.insert(id);
    }

    fn arrive(&mut self, job: &Arc<Job>) -> Result<bool, Stop> {
        self.exists(&job.service)
    }

    fn judge(&mut self, service: &ServiceKey, job: Id, after: Option<Id>) -> bool {
        let Deciding { memory, draft } = self;
        if !memory.owns(service) {
            draft.refused += 1;
            return false;
        }
        let Some(entry) = memory.backlog.services.get(service) else { return false };
        draft.read.insert(service.clone());
        draft.verdicts.push((service.clone(), job, after));
        match entry.mailbox.judge(job, after, &draft.void, &draft.settled) {
            Verdict::Counts => {
                draft.settled.insert(job);
                true
            }
            Verdict::Void | Verdict::Back => {
                draft.void.insert(job);
                draft.settled.insert(job);
                false
            }
        }
    }

    fn wait(&mut self, job: &Job) {
        self.draft.waits.push(job.clone());
    }

    fn cancel(&mut self, job: &Job) {
        self.draft.cancelled.push((job.service.clone(), job.id));
    }

    fn moved(&mut self, _: &ServiceKey, _: &str, _: Option<Timestamp>, _: Option<Timestamp>) {}

    fn due(&self, now: Timestamp) -> Vec<(Timestamp, ServiceKey, String)> {
        self.memory.backlog.due(now)
    }
}

impl Memory {
    /// The version that a service's record has, as far as is known here.
    pub(super) fn version(&self, key: &ServiceKey) -> &str {
        if self.owns(key) {
            return self.versions.get(key).map_or(ABSENT, |version| version);
        }
        self.foreign.get(key).map_or(ABSENT, |found| &found.version)
    }
}
