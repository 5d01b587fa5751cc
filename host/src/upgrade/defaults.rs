//! Event filters and recurring actions that are new in a version's manifest, for the services that there are.

use std::{collections::HashSet, fmt, sync::Arc};

use ays_core::{ServiceKey, changes::Changes, manifest::Manifest, upgrade::Upgrade};
use ays_store::{FilterQuery, Paging, ScheduleQuery, ServiceQuery, Store};
use tracing::{error, info};

use super::PAGE;
use crate::{apply::count, clock};

/// How many were set.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    filters: usize,
    schedules: usize,
}

impl Added {
    fn is_none(self) -> bool {
        (self.filters, self.schedules) == (0, 0)
    }
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedules = count(self.schedules, "schedule");
        write!(f, "{} and {schedules}", count(self.filters, "event filter"))
    }
}

/// Sets them for a version that has just been put into service, and tells it.
pub(super) async fn set(before: Option<Arc<Manifest>>, new: Arc<Manifest>, store: Arc<dyn Store>) {
    let name = new.name.as_str();
    match add(&Upgrade { before: before.as_deref(), new: &new }, store.as_ref()).await {
        Ok(added) if added.is_none() => {}
        Ok(added) => info!(actor = name, "the services of {name} get {added}, which are new in its manifest"),
        Err(why) => error!(
            actor = name,
            "event filters and recurring actions that are new in the manifest of {name} are not set for all of its \
             services: {why}; a blueprint sets them"
        ),
    }
}

/// Sets them for each of the actor's services, unless it has them already: with another secret or another period, as a
/// blueprint may have set them.
///
/// # Errors
/// If the store fails.
async fn add(upgrade: &Upgrade<'_>, store: &dyn Store) -> ays_store::Result<Added> {
    let mut added = Added::default();
    if !upgrade.has_new_defaults() {
        return Ok(added);
    }
    let name = upgrade.new.name.as_str();
    let (filters_there, schedules_there) = already(upgrade, store).await?;
    let mut cursor = None;
    loop {
        let query = ServiceQuery { actor: Some(name.into()) };
        let page = store.services(query, Paging { limit: PAGE, cursor }).await?;
        let mut changes = Changes::default();
        for service in &page.items {
            let filters = upgrade.new_filters().enumerate();
            let missing = filters.filter(|(n, _)| !filters_there.contains(&(service.key.clone(), *n)));
            changes.filters.extend(missing.map(|(_, filter)| (service.key.clone(), filter.clone())));
            let schedules = upgrade.new_schedules(service);
            let is_missing = |(service, action): (&ServiceKey, &String)| {
                !schedules_there.contains(&(service.clone(), action.clone()))
            };
            changes.schedules.extend(schedules.filter(|new| is_missing((&new.service, &new.action))));
        }
        added.filters += changes.filters.len();
        added.schedules += changes.schedules.len();
        if !changes.is_empty() {
            store.apply(changes, clock::now()).await?;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(added);
        }
    }
}

/// Which services have which of the new filters, by their place, and which schedules.
type There = (HashSet<(ServiceKey, usize)>, HashSet<(ServiceKey, String)>);

async fn already(upgrade: &Upgrade<'_>, store: &dyn Store) -> ays_store::Result<There> {
    let name = upgrade.new.name.as_str();
    let mut there = There::default();
    let mut cursor = None;
    loop {
        let page = store.filters(FilterQuery::default(), Paging { limit: PAGE, cursor }).await?;
        for known in page.items.iter().filter(|known| known.service.actor() == name) {
            if let Some(n) = upgrade.new_filters().position(|new| new.same(&known.filter)) {
                there.0.insert((known.service.clone(), n));
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    loop {
        let page = store.schedules(ScheduleQuery::default(), Paging { limit: PAGE, cursor }).await?;
        let of_actor = page.items.into_iter().filter(|known| known.service.actor() == name);
        there.1.extend(of_actor.map(|known| (known.service, known.action)));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(there);
        }
    }
}
