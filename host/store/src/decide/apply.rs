//! Applying a blueprint's changes; event filters and schedules, also those that actions set.

use std::{collections::HashSet, sync::Arc};

use ays_core::{
    ServiceKey, Timestamp,
    changes::{Changes, NewSchedule},
    filter::{EventFilter, Subscription},
    routing::Set,
    schedule::{Recurring, Schedule},
    service::Service,
};

use super::{Decider, Known, World};
use crate::{Applied, Error};

impl<W: World> Decider<'_, W> {
    /// Applies changes. One that is not possible changes nothing.
    pub(crate) fn apply(&mut self, changes: &Changes) -> Result<Applied, W::Stop> {
        self.check(changes)?;
        self.group.changes += 1;
        let mut applied = Applied::default();
        for new in &changes.create {
            // The same twice is one.
            if self.world.service(&new.key)?.is_some() {
                continue;
            }
            self.world.create(Known::new(Service {
                key: new.key.clone(),
                data: new.data.clone(),
                schema: new.schema.clone(),
                applied: new.applied.clone(),
                links: new.links.clone(),
                actions: Default::default(),
                kv: Default::default(),
                created_at: self.now,
                updated_at: self.now,
            }));
            self.group.services.insert(new.key.clone());
            for job in &new.jobs {
                applied.jobs.push(self.push(job.clone())?);
            }
        }
        for update in &changes.update {
            if let Some(known) = self.world.service(&update.key)? {
                known.service.applied = update.applied.clone();
                known.links = Arc::new(update.links.clone());
                known.service.links = update.links.clone();
                self.group.services.insert(update.key.clone());
            }
            if let Some(job) = &update.job {
                applied.jobs.push(self.push(job.clone())?);
            }
        }
        for (key, filter) in &changes.filters {
            self.set_filter(key, filter.clone());
        }
        for new in &changes.schedules {
            self.set_schedule(new.clone())?;
        }
        for run in &changes.runs {
            applied.runs.push(self.begin_run(run.clone())?.id);
        }
        Ok(applied)
    }

    /// Everything that changes must be there, and as it was when the change was planned.
    fn check(&mut self, changes: &Changes) -> Result<(), W::Stop> {
        let meanwhile = |key: &ServiceKey, what| {
            Error::Conflict(format!("the service `{key}` was {what} meanwhile; plan the change anew"))
        };
        for new in &changes.create {
            if self.world.service(&new.key)?.is_some() {
                return Err(meanwhile(&new.key, "created").into());
            }
        }
        for update in &changes.update {
            if let Some(known) = self.world.service(&update.key)?
                && (known.service.applied != update.before.applied
                    || known.service.links != update.before.links)
            {
                return Err(meanwhile(&update.key, "changed by another blueprint").into());
            }
        }
        let created: HashSet<_> = changes.create.iter().map(|new| &new.key).collect();
        let updated = changes.update.iter().map(|update| (&update.key, "to be updated"));
        let filters = changes.filters.iter().map(|(key, _)| (key, "to get an event filter"));
        let schedules = changes.schedules.iter().map(|new| (&new.service, "to get a recurring action"));
        for (key, what) in updated.chain(filters).chain(schedules) {
            if !created.contains(key) && self.world.service(key)?.is_none() {
                return Err(Error::NotFound(format!("there is no service `{key}`, which is {what}")).into());
            }
        }
        Ok(())
    }

    pub(super) fn set_filter(&mut self, key: &ServiceKey, filter: EventFilter) {
        let set = self.world.filters_mut().set(key, filter.clone());
        let (Set::New(seq) | Set::Changed(seq)) = set else { return };
        self.group.filters.insert(seq, Some(Subscription { service: key.clone(), seq, filter }));
    }

    pub(super) fn remove_filter(&mut self, key: &ServiceKey, filter: &EventFilter) {
        if let Some(seq) = self.world.filters_mut().remove(key, filter) {
            self.group.filters.insert(seq, None);
        }
    }

    pub(super) fn set_schedule(&mut self, new: NewSchedule) -> Result<(), W::Stop> {
        let NewSchedule { service, action, recurring, mut waits_for } = new;
        let (name, now) = (action.clone(), self.now);
        self.reschedule(&service.clone(), &name, |old, record| {
            Some(changed(old, recurring, now).unwrap_or_else(|recurring| {
                waits_for.retain(|awaited| !record.done(awaited));
                Schedule::new(service, action, recurring, waits_for, now)
            }))
        })
    }

    /// Changes a service's schedule: `change` gets what is there and says what is to be.
    pub(super) fn reschedule(
        &mut self,
        service: &ServiceKey,
        action: &str,
        change: impl FnOnce(Option<Schedule>, &Service) -> Option<Schedule>,
    ) -> Result<(), W::Stop> {
        let Some(known) = self.world.service(service)? else { return Ok(()) };
        let old = known.schedules.remove(action);
        let before = old.as_ref().and_then(|schedule| schedule.next_due);
        let new = change(old.clone(), &known.service);
        let after = new.as_ref().and_then(|schedule| schedule.next_due);
        if old != new {
            self.group.schedules.insert((service.clone(), action.into()));
        }
        if let Some(new) = new {
            known.schedules.insert(action.into(), new);
        }
        self.world.moved(service, action, before, after);
        Ok(())
    }
}

/// The schedule there was, recurring as is now wanted; the other way round if there was none.
fn changed(old: Option<Schedule>, recurring: Recurring, now: Timestamp) -> Result<Schedule, Recurring> {
    match old {
        Some(mut schedule) => {
            schedule.change(recurring, now);
            Ok(schedule)
        }
        None => Err(recurring),
    }
}
