//! Mailboxes: which of a service's jobs can be taken, as ids. 16 bytes a job, so that a long backlog costs little.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use ays_core::{Id, Timestamp};

/// A job that is to be tried again, but not yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Later {
    pub(crate) at: Timestamp,
    pub(crate) strict: bool,
}

/// A job that a taker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// It is being executed. Holds whether it was `retrying` before.
    Live { retried: bool },
    /// Its attempt was settled; the service is the taker's until that is durable.
    Settled,
    /// It was cancelled; the service is the taker's until the void attempt has come in.
    Cancelled,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is committed.
    Counts,
    /// It is void, since its job is not the taker's any more.
    Void,
    /// It is void, since it was made on what a void attempt left; its job is to be done again.
    Back,
}

/// The jobs of one service.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// New ones, in order.
    new: VecDeque<Id>,
    /// Retrying ones that are due.
    due: BTreeSet<Id>,
    /// Retrying ones that are not.
    later: BTreeMap<Id, Later>,
    /// Those of `later` that hold back all that came after them.
    strict: BTreeSet<Id>,
    taken: BTreeMap<Id, Taken>,
    /// Jobs of the present take whose attempts were void: what was made on their data is, too.
    void: BTreeSet<Id>,
    /// Cancelled ones, until that is durable: readers still look for them.
    leaving: Vec<Id>,
    /// Whether the service stands in the queue of those that have something to take.
    pub(crate) queued: bool,
}

impl Mailbox {
    /// Puts a new job at the end. Ids must grow.
    pub(crate) fn push(&mut self, id: Id) {
        self.new.push_back(id);
    }

    /// Puts a new job in that may be older than others.
    pub(crate) fn insert(&mut self, id: Id) {
        match self.new.back() {
            Some(last) if *last >= id => {
                let at = self.new.partition_point(|other| *other < id);
                if self.new.get(at) != Some(&id) {
                    self.new.insert(at, id);
                }
            }
            _ => self.new.push_back(id),
        }
    }

    /// Puts a job in that waits for its next attempt. It may be one that is taken.
    pub(crate) fn put_later(&mut self, id: Id, later: Later) {
        self.later.insert(id, later);
        if later.strict {
            self.strict.insert(id);
        }
    }

    /// A waiting job fell due.
    pub(crate) fn wake(&mut self, id: Id) {
        if self.later.remove(&id).is_some() {
            self.strict.remove(&id);
            self.due.insert(id);
        }
    }

    /// The next job that can be taken: not younger than `durable`, and not behind a strict one.
    fn next(&self, durable: Id) -> Option<Id> {
        let new = self.new.front().copied();
        let due = self.due.first().copied();
        let id = match (new, due) {
            (Some(new), Some(due)) => new.min(due),
            (new, due) => new.or(due)?,
        };
        let held = self.strict.first().is_some_and(|strict| *strict < id);
        (id <= durable && !held).then_some(id)
    }

    /// Whether a taker could have a job now.
    pub(crate) fn can_be_taken(&self, durable: Id) -> bool {
        self.taken.is_empty() && self.next(durable).is_some()
    }

    /// Takes up to `most` jobs, in order.
    pub(crate) fn take(&mut self, most: usize, durable: Id) -> Vec<Id> {
        let mut ids = Vec::new();
        if !self.taken.is_empty() {
            return ids;
        }
        while ids.len() < most
            && let Some(id) = self.next(durable)
        {
            let retried = self.due.remove(&id);
            if !retried {
                self.new.pop_front();
            }
            self.taken.insert(id, Taken::Live { retried });
            ids.push(id);
        }
        ids
    }

    /// Gives a taken job back. It comes first again.
    pub(crate) fn release(&mut self, id: Id) {
        match self.taken.get(&id).copied() {
            Some(Taken::Live { retried: true }) => {
                self.due.insert(id);
            }
            Some(Taken::Live { retried: false }) => {
                let at = self.new.partition_point(|other| *other < id);
                self.new.insert(at, id);
            }
            Some(Taken::Cancelled) => {}
            Some(Taken::Settled) | None => return,
        }
        self.untake(id);
    }

    fn untake(&mut self, id: Id) {
        self.taken.remove(&id);
        if self.taken.is_empty() {
            self.void.clear();
        }
    }

    /// Whether the job is being executed.
    pub(crate) fn is_running(&self, id: Id) -> bool {
        matches!(self.taken.get(&id), Some(Taken::Live { .. }))
    }

    /// An attempt of a taken job has ended; it was made on the data that the one of `after` left. Returns whether it
    /// counts. The service is to be [freed](Self::free) of the job once that is durable.
    pub(crate) fn settle(&mut self, id: Id, after: Option<Id>) -> bool {
        if after.is_some_and(|after| self.void.contains(&after)) && self.is_running(id) {
            self.void.insert(id);
            self.release(id);
            return false;
        }
        let Some(taken) = self.taken.get_mut(&id) else { return false };
        let counts = matches!(std::mem::replace(taken, Taken::Settled), Taken::Live { .. });
        if !counts {
            self.void.insert(id);
        }
        counts
    }

    /// What [`settle`](Self::settle) would say of an attempt, after others of which some were `void` and some `settled`.
    pub(crate) fn judge(
        &self,
        id: Id,
        after: Option<Id>,
        void: &HashSet<Id>,
        settled: &HashSet<Id>,
    ) -> Verdict {
        let on_void = after.is_some_and(|after| self.void.contains(&after) || void.contains(&after));
        match self.is_running(id) && !settled.contains(&id) {
            true if on_void => Verdict::Back,
            true => Verdict::Counts,
            false => Verdict::Void,
        }
    }

    /// Whether a taker has any of the jobs.
    pub(crate) fn is_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// The jobs that a taker has.
    pub(crate) fn taken(&self) -> impl Iterator<Item = Id> {
        self.taken.keys().copied()
    }

    /// Whether the job is known here.
    pub(crate) fn contains(&self, id: Id) -> bool {
        self.taken.contains_key(&id)
            || self.due.contains(&id)
            || self.later.contains_key(&id)
            || self.new.binary_search(&id).is_ok()
    }

    /// Cancels a job. Returns when its next attempt would have been due, if it waited for one.
    pub(crate) fn cancel(&mut self, id: Id) -> Option<Timestamp> {
        if let Some(taken) = self.taken.get_mut(&id) {
            *taken = Taken::Cancelled;
            return None;
        }
        self.leaving.push(id);
        if let Ok(at) = self.new.binary_search(&id) {
            self.new.remove(at);
        }
        self.due.remove(&id);
        self.strict.remove(&id);
        self.later.remove(&id).map(|later| later.at)
    }

    /// What became of the job's attempt is durable: it is no longer the taker's.
    pub(crate) fn free(&mut self, id: Id) {
        if self.taken.get(&id) == Some(&Taken::Settled) {
            self.untake(id);
        }
    }

    /// Cancellations are durable.
    pub(crate) fn forget_leaving(&mut self) {
        self.leaving = Vec::new();
    }

    /// Every job that may be in this mailbox as of what is durable, in no order; some twice.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> {
        let waiting = self.new.iter().chain(&self.due).chain(self.later.keys());
        waiting.chain(self.taken.keys()).chain(&self.leaving).copied()
    }
}
