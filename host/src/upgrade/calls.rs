//! What calls actions of an actor's services by their names, and would call nothing on a new version.

use ays_core::{
    job::JobState,
    upgrade::{Call, Upgrade},
};
use ays_store::{FilterQuery, JobQuery, Page, Paging, ScheduleQuery, Store};

use super::FAULTS;

/// Items that are looked at at a time.
const PAGE: usize = 1000;

/// Whether all that event filters, recurring actions, jobs that have not ended and runs under way call is there in the new
/// version. What the version in service has not either is not asked for: that fails already.
///
/// # Errors
/// What calls what is not there; or if the store fails.
pub(super) async fn check(upgrade: &Upgrade<'_>, store: &dyn Store) -> anyhow::Result<()> {
    if !upgrade.loses_any() {
        return Ok(());
    }
    let name = upgrade.new.name.as_str();
    let mut faults = Vec::new();
    each(
        |paging| store.filters(FilterQuery::default(), paging),
        |item| upgrade.fault(Call::Filter(item)).filter(|_| item.service.actor() == name),
        &mut faults,
    )
    .await?;
    each(
        |paging| store.schedules(ScheduleQuery::default(), paging),
        |item| upgrade.fault(Call::Schedule(item)).filter(|_| item.service.actor() == name),
        &mut faults,
    )
    .await?;
    for state in [JobState::New, JobState::Running, JobState::Retrying] {
        let query = JobQuery { actor: Some(name.into()), state: Some(state), ..JobQuery::default() };
        each(|paging| store.jobs(query.clone(), paging), |job| upgrade.fault(Call::Job(job)), &mut faults)
            .await?;
    }
    for run in store.runs_under_way().await? {
        let to_come = run.steps.iter().skip(run.step as usize + 1).flatten();
        let of_actor = to_come.filter(|task| task.service.actor() == name);
        faults.extend(of_actor.filter_map(|task| upgrade.fault(Call::Run(run.id, task))));
    }
    faults.truncate(FAULTS);
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("; "));
    Ok(())
}

/// Looks at everything of a kind for faults, until there are enough.
async fn each<T, F>(
    mut page: impl FnMut(Paging) -> F,
    fault: impl Fn(&T) -> Option<String>,
    faults: &mut Vec<String>,
) -> ays_store::Result<()>
where
    F: Future<Output = ays_store::Result<Page<T>>>,
{
    let mut cursor = None;
    while faults.len() < FAULTS {
        let Page { items, next } = page(Paging { limit: PAGE, cursor }).await?;
        faults.extend(items.iter().filter_map(&fault));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}
