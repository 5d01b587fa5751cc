//! `interface schedules`.

use ays_core::{
    schedule::{self, Period, Recurring},
    turn::Effect,
};

use super::without_secrets;
use crate::{
    bindings::ays::actor::{
        schedules::{Host, Missed},
        types::Error,
    },
    state::{Call, State},
};

impl Host for State {
    fn set(&mut self, action: String, period: String, missed: Missed) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        call.changes()?;
        let texts = action.len() + period.len();
        match read(call, &action, &period, missed) {
            Ok(recurring) => call.push(Effect::SetSchedule { action, recurring }, texts).map(Ok),
            Err(refused) => Ok(Err(refused)),
        }
    }

    fn remove(&mut self, action: String) -> wasmtime::Result<Result<(), Error>> {
        let call = self.call()?;
        call.changes()?;
        let texts = action.len();
        call.push(Effect::RemoveSchedule { action }, texts).map(Ok)
    }
}

fn read(call: &Call, action: &str, period: &str, missed: Missed) -> Result<Recurring, Error> {
    let Some(spec) = call.manifest.action(action) else {
        return Err(Error::Invalid(format!(
            "schedule: {} has no action `{action}`; it has {}",
            call.manifest.name,
            call.manifest.action_names()
        )));
    };
    without_secrets(call, "period", period)?;
    let period: Period =
        period.parse().map_err(|e: schedule::InvalidPeriod| Error::Invalid(e.to_string()))?;
    let missed = match missed {
        Missed::Skip => schedule::Missed::Skip,
        Missed::One => schedule::Missed::One,
        Missed::All => schedule::Missed::All,
    };
    Ok(Recurring { period, missed, log: spec.recurring.as_ref().is_none_or(|recurring| recurring.log) })
}
