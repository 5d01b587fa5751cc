//! A rehearsal of an upgrade: the data of all of an actor's services, brought into the form that a new version takes.
//! Nothing of it is kept.
//!
//! It runs a stranger's code as often as there are services, so it is held to less than a job is: each call by limits of
//! its own, and all of it by a deadline.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use ays_core::{
    job::Failure,
    manifest::{LimitPolicy, Limits},
};
use ays_store::{Paging, ServiceQuery, Store};
use tokio::{runtime, task::yield_now};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::{FAULTS, PAGE, fit};
use crate::{actors::Loaded, apply, clock};

/// CPU time of one call of `migrate`, in milliseconds, if the actor's jobs may have as much.
const CPU_MS: u64 = 2_000;
/// How long it may take by the clock, in milliseconds: the machine may be busy.
const WALL_MS: u64 = 10_000;

/// How long a rehearsal may take, beside what there is for each service.
const AT_MOST: Duration = Duration::from_secs(60);
/// What is added for each service that was looked at: several times what bringing ordinary data into form takes.
const PER_SERVICE: Duration = Duration::from_millis(20);

/// What a rehearsal needs.
pub(super) struct Rehearsal {
    pub(super) new: Loaded,
    pub(super) limits: LimitPolicy,
    pub(super) store: Arc<dyn Store>,
}

impl Rehearsal {
    /// Rehearses on the guests' threads. Dropping the future ends it.
    ///
    /// # Errors
    /// The first faults, or that it took too long; or if the store fails.
    pub(super) async fn run(self, guests: &runtime::Handle) -> anyhow::Result<()> {
        AbortOnDropHandle::new(guests.spawn(self.all())).await.context("the rehearsal died")?
    }

    /// Page by page, so that many services need no more memory than some.
    async fn all(self) -> anyhow::Result<()> {
        let Self { new, store, .. } = &self;
        let limits = self.limits();
        let query = ServiceQuery { actor: Some(new.name().into()) };
        let began = clock::instant();
        let mut looked_at = 0_u32;
        let mut dropped = BTreeMap::<String, usize>::new();
        let mut faults = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.services(query.clone(), Paging { limit: PAGE, cursor }).await?;
            for service in page.items {
                let (took, most) = (began.elapsed(), time_for(looked_at));
                if took > most {
                    faults.push(format!(
                        "it takes too long to bring the services' data into its form: {} had been looked at after {} s, \
                         and {} s are the most for so many; a `migrate` that takes less would be right",
                        apply::count(looked_at as usize, "service"),
                        took.as_secs(),
                        most.as_secs()
                    ));
                    anyhow::bail!("{}", faults.join("; "));
                }
                match fit(new, &service.data, service.schema.as_ref(), &limits).await {
                    Ok(Some(fitted)) => {
                        fitted.dropped.into_iter().for_each(|name| *dropped.entry(name).or_default() += 1);
                    }
                    Ok(None) => {}
                    Err(failure) => faults.push(format!("{}: {}", service.key, self.told(failure))),
                }
                anyhow::ensure!(faults.len() < FAULTS, "{}", faults.join("; "));
                looked_at = looked_at.saturating_add(1);
                yield_now().await;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        anyhow::ensure!(faults.is_empty(), "{}", faults.join("; "));
        for (field, services) in dropped {
            let services = apply::count(services, "service");
            warn!(actor = new.name(), "`{field}` is no field any more: its values go, of {services}");
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        let own = self.limits.of(self.new.actor.manifest());
        Limits { cpu_ms: own.cpu_ms.min(CPU_MS), wall_ms: own.wall_ms.min(WALL_MS), ..own }
    }

    /// What is said of a failure. Where a limit of the rehearsal's own was met, raising the actor's would not help.
    fn told(&self, failure: Failure) -> String {
        let own = self.limits.of(self.new.actor.manifest());
        let (most, of) = match failure.limit.as_deref() {
            Some("cpu_ms") if own.cpu_ms > CPU_MS => (CPU_MS, " of CPU time"),
            Some("wall_ms") if own.wall_ms > WALL_MS => (WALL_MS, ""),
            _ => return failure.message,
        };
        format!(
            "its `migrate` took more than {most} ms{of}, the most for one service before a version is in service"
        )
    }
}

/// How long it may take until so many services were looked at.
fn time_for(services: u32) -> Duration {
    AT_MOST.saturating_add(PER_SERVICE.saturating_mul(services))
}
