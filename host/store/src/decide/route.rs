//! Accepting what comes in by doors, and events that actions emit.

use ays_core::{
    Id,
    event::{self, EventRecord, MAX_DEPTH, NewEvent},
    job::Job,
};

use super::{Decider, World};
use crate::{Accepted, Batch, DeadLetter, NewDeadLetter, record::to_json};

/// How many bytes the jobs may have that one event leads to, or all events of one turn together. They are one commit, which
/// must not hold up all others.
pub(super) const MOST_FAN_OUT: usize = 256 << 20;

/// What a job takes beside its args, in bytes. Without it, events without args would lead to any number of jobs.
const JOB: usize = 512;

impl<W: World> Decider<'_, W> {
    /// Accepts a batch.
    pub(crate) fn accept(&mut self, batch: &Batch) -> Result<Accepted, W::Stop> {
        if let Some(claim) = &batch.claim {
            let last = self.world.claim(&claim.door)?;
            if claim.after != *last {
                return Ok(Accepted { repeated: true, ..Accepted::default() });
            }
            *last = claim.last;
            self.group.claims.insert(claim.door.clone(), claim.last);
        }
        self.group.changes += (batch.events.len() + batch.jobs.len() + batch.dead.len()) as u64;
        let mut accepted = Accepted::default();
        for event in &batch.events {
            accepted.events.push(self.route(event, &mut { MOST_FAN_OUT })?);
        }
        for (place, job) in batch.jobs.iter().enumerate() {
            let id = self.push(job.clone())?;
            accepted.jobs.push(id);
            if let Some(letter) = self.group.dead.last().filter(|letter| letter.id == id) {
                accepted.refused.push((place, letter.reason.clone()));
            }
        }
        for entry in &batch.dead {
            let reason = entry.reason.clone();
            accepted.dead.push(self.bury(entry.clone(), reason));
        }
        Ok(accepted)
    }

    /// Accepts one event, whose jobs have `room` bytes. Returns its id and how many jobs it led to.
    fn route(&mut self, event: &NewEvent, room: &mut usize) -> Result<(Id, u32), W::Stop> {
        let id = self.world.next_id(self.now);
        let jobs = self.matching(event, id);
        let bytes = (event.args.as_str().len() + JOB).saturating_mul(jobs.len());
        let Some(left) = room.checked_sub(bytes) else {
            let taken = MOST_FAN_OUT - *room;
            let reason = format!(
                "event `{}` has {} bytes of args and is taken by {} event filters: the jobs would have {bytes} bytes, with \
                 {JOB} for each beside its args, and those of other events of its turn have {taken}; {MOST_FAN_OUT} are \
                 the most that are accepted at once",
                event.name,
                event.args.as_str().len(),
                jobs.len()
            );
            let entry = NewDeadLetter { door: "event".into(), reason: reason.clone(), raw: to_json(event)? };
            self.bury(entry, reason);
            return Ok((id, 0));
        };
        *room = left;
        let matched = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        if jobs.is_empty() {
            self.group.unmatched.push(EventRecord {
                id,
                name: event.name.clone(),
                args: event.args.clone(),
                channel: event.channel.clone(),
                accepted_at: self.now,
                matched,
            });
        }
        for job in jobs {
            self.push(job)?;
        }
        Ok((id, matched))
    }

    fn bury(&mut self, entry: NewDeadLetter, reason: String) -> Id {
        let id = self.world.next_id(self.now);
        self.group.dead.push(DeadLetter { id, at: self.now, reason, job: None, entry: Some(entry) });
        id
    }

    /// An action has emitted an event, and its turn has `room` for jobs.
    pub(super) fn emit(&mut self, job: &Job, event: &NewEvent, room: &mut usize) -> Result<(), W::Stop> {
        let depth = job.cause.depth();
        let event = NewEvent { depth, trail: event::trail(job, &event.name, depth), ..event.clone() };
        if event.depth <= MAX_DEPTH {
            self.route(&event, room)?;
            return Ok(());
        }
        let round = event::round(&event.trail);
        let goes = if round.len() < event.trail.len() { "It goes round" } else { "Its last steps" };
        let reason = format!(
            "action `{}` of `{}` emitted `{}` as the last of a chain of {} events that led to each other; {MAX_DEPTH} are \
             the most, lest a circle of events goes on for ever. {goes}: `{}`; an event filter with other tags, or an \
             action that does not emit every time, ends it",
            job.action,
            job.service,
            event.name,
            event.depth,
            round.join("`, `")
        );
        let entry = NewDeadLetter { door: "service".into(), reason: reason.clone(), raw: to_json(&event)? };
        self.bury(entry, reason);
        Ok(())
    }
}
