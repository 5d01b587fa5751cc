//! Records whose ids are given out when they are written: until then they are numbers from 0.

use ays_core::{
    Id,
    event::EventRecord,
    job::{Cause, Job},
    run::Run,
};
use serde::de::DeserializeOwned;

use crate::{Accepted, Applied, DeadLetter, Error, Result, record::from_json};

/// Below this, an id is a number. Ids that were given out have a time in their upper bits.
const NUMBERS: u128 = 1 << 64;

/// The id that stands for a number.
pub(super) fn numbered(number: u64) -> Id {
    Id::from_bytes(u128::from(number).to_be_bytes())
}

/// The number that an id stands for, if it does.
pub(super) fn number(id: Id) -> Option<u64> {
    let value = u128::from_be_bytes(id.to_bytes());
    (value < NUMBERS).then(|| u64::try_from(value).unwrap_or_default())
}

/// What has ids that may be numbers.
pub(super) trait Rebase {
    /// Puts ids in the numbers' place: `base` is the one that 0 stands for.
    fn rebase(&mut self, base: Id);
}

impl Rebase for Id {
    fn rebase(&mut self, base: Id) {
        if let Some(number) = number(*self) {
            let base = u128::from_be_bytes(base.to_bytes());
            *self = Id::from_bytes((base + u128::from(number)).to_be_bytes());
        }
    }
}

impl<T: Rebase> Rebase for Vec<T> {
    fn rebase(&mut self, base: Id) {
        self.iter_mut().for_each(|item| item.rebase(base));
    }
}

impl Rebase for () {
    fn rebase(&mut self, _: Id) {}
}

impl Rebase for Job {
    fn rebase(&mut self, base: Id) {
        self.id.rebase(base);
        match &mut self.cause {
            Cause::Event { id, .. } | Cause::Run { id, .. } => id.rebase(base),
            Cause::Schedule { .. } | Cause::Init { .. } | Cause::Api { .. } => {}
        }
    }
}

impl Rebase for Run {
    fn rebase(&mut self, base: Id) {
        self.id.rebase(base);
        self.failed.rebase(base);
    }
}

impl Rebase for DeadLetter {
    fn rebase(&mut self, base: Id) {
        self.id.rebase(base);
        if let Some(job) = &mut self.job {
            job.rebase(base);
        }
    }
}

impl Rebase for EventRecord {
    fn rebase(&mut self, base: Id) {
        self.id.rebase(base);
    }
}

impl Rebase for Accepted {
    fn rebase(&mut self, base: Id) {
        self.events.iter_mut().for_each(|(id, _)| id.rebase(base));
        self.jobs.rebase(base);
        self.dead.rebase(base);
    }
}

impl Rebase for Applied {
    fn rebase(&mut self, base: Id) {
        self.jobs.rebase(base);
        self.runs.rebase(base);
    }
}

/// A record as it was stored.
pub(super) fn stored<T: DeserializeOwned + Rebase>(bytes: &[u8]) -> Result<T> {
    match bytes.strip_prefix(b"@") {
        None => from_json(bytes),
        Some(rest) => {
            let (base, json) = rest.split_at_checked(26).unwrap_or((rest, &[]));
            let mut record: T = from_json(json)?;
            record.rebase(id(base)?);
            Ok(record)
        }
    }
}

/// An id as it is written.
pub(super) fn id(text: &[u8]) -> Result<Id> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::Io(format!("`{}` should be an id", String::from_utf8_lossy(text))))
}
