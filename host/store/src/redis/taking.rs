//! Taking jobs: what is in memory, with what has to be read from Redis for it.

use std::{collections::BTreeSet, sync::Arc};

use ays_core::{Id, ServiceKey, Timestamp, service::Service};

use super::{
    Redis, Shared,
    args::Args,
    memory::Memory,
    record::stored,
    value::{self, bytes},
};
use crate::{Result, Work};

impl Redis {
    /// Reads the records of taken jobs that were not in memory, and the data of other hosts' services that they are linked to.
    pub(super) async fn complete(&self, taken: Vec<crate::backlog::Taken>) -> Result<Vec<Work>> {
        let mut asked = Vec::new();
        for taken in &taken {
            let missing: Vec<Id> =
                taken.ids.iter().filter(|(_, job)| job.is_none()).map(|(id, _)| *id).collect();
            if !missing.is_empty() {
                let mut get = Args::command("HMGET");
                get.push(self.shared.keys.of('p', &taken.work.service));
                for id in missing {
                    get.show(id);
                }
                asked.push(get);
            }
            for service in elsewhere(&taken.work) {
                let mut get = Args::command("HGET");
                get.push(self.shared.keys.of('s', service)).push(service.as_str());
                asked.push(get);
            }
        }
        let mut answers = match asked.is_empty() {
            true => Vec::new().into_iter(),
            false => self.shared.ask(&asked).await?.into_iter(),
        };
        let mut all = Vec::with_capacity(taken.len());
        for taken in taken {
            let mut work = taken.work;
            let missing = taken.ids.iter().any(|(_, job)| job.is_none());
            let mut records =
                if missing { value::list(answers.next().unwrap_or(redis::Value::Nil))? } else { Vec::new() }
                    .into_iter();
            let mut gone = Vec::new();
            for (id, job) in taken.ids {
                match job {
                    Some(job) => work.jobs.push(Arc::unwrap_or_clone(job)),
                    None => match bytes(records.next().unwrap_or(redis::Value::Nil))? {
                        Some(record) => work.jobs.push(stored(&record)?),
                        // Another host has cancelled it; the notice is on its way.
                        None => gone.push(id),
                    },
                }
            }
            let others: Vec<ServiceKey> = elsewhere(&work).cloned().collect();
            for service in others {
                if let Some(record) = bytes(answers.next().unwrap_or(redis::Value::Nil))? {
                    let service_found: Service = crate::record::from_json(&record)?;
                    work.linked.push((service, service_found.data));
                }
            }
            if !gone.is_empty() {
                let mut memory = self.shared.memory();
                gone.iter().for_each(|id| memory.cancelled(&work.service, *id));
                memory.release(&work.service, &gone);
            }
            if !work.jobs.is_empty() {
                all.push(work);
            }
        }
        Ok(all)
    }
}

/// Jobs that are being taken; given back if the taker goes away meanwhile.
pub(super) struct Held<'a> {
    shared: &'a Shared,
    pub(super) jobs: Vec<(ServiceKey, Vec<Id>)>,
}

impl<'a> Held<'a> {
    pub(super) fn new(shared: &'a Shared, taken: &[crate::backlog::Taken]) -> Self {
        let jobs = taken.iter().map(|taken| {
            (taken.work.service.clone(), taken.ids.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        });
        Self { shared, jobs: jobs.collect() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut any = false;
        for (service, jobs) in &self.jobs {
            any |= self.shared.memory().release(service, jobs);
        }
        self.shared.tell(any);
    }
}

/// The services that a service is linked to and whose data is not in memory here.
fn elsewhere(work: &Work) -> impl Iterator<Item = &ServiceKey> {
    let known: BTreeSet<&ServiceKey> = work.linked.iter().map(|(key, _)| key).collect();
    let linked: BTreeSet<&ServiceKey> =
        work.links.parent.iter().chain(work.links.producers.values().flatten()).collect();
    linked.into_iter().filter(move |key| !known.contains(key))
}

impl Memory {
    /// Takes services and jobs, as [`Store::take`] says.
    pub(super) fn take(
        &mut self,
        services: usize,
        jobs: usize,
        now: Timestamp,
    ) -> Vec<crate::backlog::Taken> {
        let owned = &self.owned;
        let may =
            |key: &ServiceKey| owned.get(&ays_core::partition::of(key)).is_some_and(|owned| !owned.leaving);
        self.backlog.take(services, jobs, now, &self.filters, may)
    }
}
