//! This service's recurring actions.
//!
//! An action that always recurs says so with `#[action(recurring = "5s")]`; these functions are for what is known only
//! when the actor runs.

use crate::{Result, bindings::ays::actor::schedules as host, error::refused};

/// What happens with occurrences that were missed, because no host ran or the job before took too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// They are left out.
    Skip,
    /// One job stands for all of them.
    #[default]
    One,
    /// Each gets its job.
    All,
}

/// Runs `action` every `period` from now on, or changes its period. One job stands for occurrences that were missed.
///
/// `period` is a number with an optional unit `s`, `m`, `h`, `d` or `w` (`5s`; seconds without one), or a cron
/// expression: `30 3 * * *`, `CRON_TZ=Europe/Brussels 30 3 * * *`.
///
/// # Errors
/// If the actor has no such action, or the period is not one.
pub fn every(period: &str, action: &str) -> Result<()> {
    every_with(period, action, Missed::One)
}

/// The same, with what happens to occurrences that were missed.
///
/// # Errors
/// As [`every`].
pub fn every_with(period: &str, action: &str, missed: Missed) -> Result<()> {
    let missed = match missed {
        Missed::Skip => host::Missed::Skip,
        Missed::One => host::Missed::One,
        Missed::All => host::Missed::All,
    };
    host::set(action, period, missed)
        .map_err(|error| refused(&format!("schedule `{action}` every `{period}`"), error))
}

/// Stops `action` from recurring. Does nothing if it does not recur.
///
/// # Errors
/// If the actor has no such action.
pub fn remove(action: &str) -> Result<()> {
    host::remove(action).map_err(|error| refused(&format!("remove schedule of `{action}`"), error))
}
