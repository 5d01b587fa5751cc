//! Blueprints: read from files, planned against the store, applied.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use ays_core::{
    Id, ServiceKey,
    blueprint::{self, Current, Plan},
    job::{Cause, Job, JobState},
    problem::Problem,
    service::Service,
};
use ays_store::{FilterQuery, JobQuery, Page, Paging, ScheduleQuery, ServiceQuery, Store};

use crate::{actors::Actors, clock, granting::Granting};

/// A blueprint's text and the name it goes by.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name in messages: the path as it was given.
    pub name: String,
    /// YAML.
    pub text: String,
}

impl Source {
    /// Reads blueprint files in the order in which they are named; for a folder, its `*.yaml` and `*.yml` files in order
    /// of name. Files whose name begins with `_` are disabled.
    ///
    /// # Errors
    /// If one cannot be read, or is not UTF-8.
    pub fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                files.extend(folder(path)?);
            } else {
                files.push(path.clone());
            }
        }
        let enabled = files.iter().filter(|file| !blueprint::is_disabled(&file.to_string_lossy()));
        enabled.map(|file| Self::read(file)).collect()
    }

    /// Reads one file.
    ///
    /// # Errors
    /// If it cannot be read, or is not UTF-8.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self { name: file.display().to_string(), text })
    }
}

fn folder(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    anyhow::ensure!(!files.is_empty(), "there is no blueprint (*.yaml) in {}", path.display());
    files.sort();
    Ok(files)
}

/// Everything of a kind, page by page.
async fn whole<T, F>(mut page: impl FnMut(Paging) -> F) -> ays_store::Result<Vec<T>>
where
    F: Future<Output = ays_store::Result<Page<T>>>,
{
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = page(Paging { limit: 1000, cursor }).await?;
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(items);
        }
    }
}

/// All services there are.
///
/// # Errors
/// If the store fails.
pub async fn all_services(store: &dyn Store) -> ays_store::Result<BTreeMap<ServiceKey, Service>> {
    let services = whole(|paging| store.services(ServiceQuery::default(), paging)).await?;
    Ok(services.into_iter().map(|service| (service.key.clone(), service)).collect())
}

/// Plans what blueprints change: either a plan, or all of their faults.
///
/// # Errors
/// If the store fails.
pub async fn plan(
    sources: &[Source],
    store: &dyn Store,
    actors: &Actors,
    granting: &Granting,
) -> ays_store::Result<Result<Plan, Vec<Problem>>> {
    let current = Current {
        services: all_services(store).await?,
        filters: whole(|paging| store.filters(FilterQuery::default(), paging)).await?,
        schedules: whole(|paging| store.schedules(ScheduleQuery::default(), paging)).await?,
        runs: store.runs_under_way().await?,
        granted: granting.kept(),
    };
    Ok(plan_with(sources, &current, actors))
}

/// The same, against this.
///
/// # Errors
/// All faults of all sources.
pub fn plan_with(sources: &[Source], current: &Current, actors: &Actors) -> Result<Plan, Vec<Problem>> {
    let planned = blueprint::plan_files(files(sources), &actors.manifests(), current);
    let (mut problems, pins) = match (planned, check_pins(sources, actors)) {
        (Ok(plan), Ok(())) => return Ok(plan),
        (planned, pins) => (planned.err().unwrap_or_default(), pins.err().unwrap_or_default()),
    };
    // What cannot be read at all, both have told.
    problems.extend(pins.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
    let place = |problem: &Problem| sources.iter().position(|source| source.name == problem.file);
    problems.sort_by_key(|problem| (place(problem), problem.line));
    Err(problems)
}

/// Whether the sources can be read, and the actors are those versions that they pin.
///
/// # Errors
/// What cannot be read, and the pins that do not hold.
pub fn check_pins(sources: &[Source], actors: &Actors) -> Result<(), Vec<Problem>> {
    blueprint::check_pins(files(sources), &actors.digests())
}

fn files(sources: &[Source]) -> impl Iterator<Item = (&str, &str)> {
    sources.iter().map(|source| (source.name.as_str(), source.text.as_str()))
}

/// Waits until each of these jobs has been tried once.
///
/// # Errors
/// If the store fails.
pub async fn until_tried(store: &dyn Store, jobs: impl Iterator<Item = &Id>) -> ays_store::Result<()> {
    for job in jobs {
        let mut nap = Nap::default();
        while store.job(*job).await?.is_some_and(|job| is_untried(job.state)) {
            nap.take().await;
        }
    }
    Ok(())
}

/// Waits until each job of a run's first step has been tried once.
///
/// # Errors
/// If the store fails.
pub async fn until_run_tried(store: &dyn Store, run: Id) -> ays_store::Result<()> {
    let mut nap = Nap::default();
    while is_untried_run(store, run).await? {
        nap.take().await;
    }
    Ok(())
}

fn is_untried(state: JobState) -> bool {
    matches!(state, JobState::New | JobState::Running)
}

/// Whether a job of the run's first step has yet to be tried. One that waits for its next attempt must not keep the host
/// from coming up.
async fn is_untried_run(store: &dyn Store, id: Id) -> ays_store::Result<bool> {
    let Some(run) = store.run(id).await?.filter(|run| run.step == 0 && !run.state.is_final()) else {
        return Ok(false);
    };
    for task in run.steps.first().into_iter().flatten() {
        let query = JobQuery { service: Some(task.service.clone()), ..JobQuery::default() };
        let jobs = store.jobs(query, Paging::default()).await?.items;
        let of_this = |job: &&Job| matches!(job.cause, Cause::Run { id: of, .. } if of == id);
        if jobs.iter().find(of_this).is_some_and(|job| is_untried(job.state)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits between two looks at something: 1 ms at first, then longer, up to 50 ms.
#[derive(Default)]
pub(crate) struct Nap(u32);

impl Nap {
    pub(crate) async fn take(&mut self) {
        clock::sleep(Duration::from_millis(1 << self.0).min(Duration::from_millis(50))).await;
        self.0 = (self.0 + 1).min(6);
    }
}

/// `1 problem`, `2 problems`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
