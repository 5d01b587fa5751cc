//! What the simulation asked of hosts, and what they answered: what the outcome is judged by.

use std::collections::BTreeSet;

use ays_core::{Id, ServiceKey, run::Run};

/// A point in the order of everything that was asked and answered.
pub(super) type Moment = u64;

/// Something that was asked.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) begun: Moment,
    /// When it was answered well.
    pub(super) done: Option<Moment>,
}

impl Span {
    /// Whether this was over before that began.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.done.is_some_and(|done| done < other.begun)
    }
}

/// An event that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Its argument, which no other has.
    pub(super) token: String,
    pub(super) event: usize,
    pub(super) span: Span,
    /// Its id and how many jobs it led to, as far as somebody was told.
    pub(super) accepted: Option<(Id, u32)>,
    /// Since when the server has forgotten nothing. It is to be counted on what was sent since.
    pub(super) process: u64,
}

/// An event filter that was set, or may have been.
#[derive(Clone, Debug)]
pub(super) struct Filtered {
    pub(super) service: ServiceKey,
    pub(super) event: usize,
    pub(super) action: String,
    pub(super) span: Span,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    moment: Moment,
    pub(super) sent: Vec<Sent>,
    pub(super) filtered: Vec<Filtered>,
    pub(super) cancelled: Vec<Id>,
    pub(super) runs: Vec<Run>,
    /// Jobs that were put in the place of dead letters.
    pub(super) retried: Vec<(Id, Id)>,
    /// Jobs that may have stepped aside until a later attempt.
    pub(super) aside: BTreeSet<Id>,
    /// What was asked and is not answered, by the number of the host that was asked.
    pub(super) open: Vec<usize>,
    pub(super) tokens: u64,
    /// What must not be.
    pub(super) faults: Vec<String>,
}

impl Ledger {
    pub(super) fn moment(&mut self) -> Moment {
        self.moment += 1;
        self.moment
    }

    pub(super) fn begin(&mut self) -> Span {
        Span { begun: self.moment(), done: None }
    }

    pub(super) fn token(&mut self, kind: &str) -> String {
        self.tokens += 1;
        format!("{kind}{}", self.tokens)
    }
}
