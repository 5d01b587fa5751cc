//! Schedules: recurring actions and when they are due.
//!
//! A [`Period`] says when an action recurs, a [`Schedule`] is one recurring action of one service with its state.

mod occurrence;
mod period;

pub use occurrence::{MAX_AT_ONCE, Schedule};
pub use period::{InvalidPeriod, Period};

use serde::{Deserialize, Serialize};

/// How an action recurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurring {
    /// When.
    pub period: Period,
    /// What happens with occurrences that were missed.
    #[serde(default)]
    pub missed: Missed,
    /// Whether its jobs' log lines go to the host's log, too. They are in the job's record in any case.
    #[serde(default = "yes")]
    pub log: bool,
}

fn yes() -> bool {
    true
}

impl Recurring {
    /// With the default policy.
    pub fn every(period: Period) -> Self {
        Self { period, missed: Missed::One, log: true }
    }
}

/// What happens with occurrences that were missed, because no host ran or the job before took too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// They are left out.
    Skip,
    /// One job stands for all of them: the latest.
    #[default]
    One,
    /// Each gets its job.
    All,
}
