//! Runs that are asked for: by the API, and by `serve --run`.

use ays_core::{
    JsonText,
    manifest::STANDARD_ACTIONS,
    run::{NewRun, Run, Target, Task, is_life_cycle},
    schema::Pattern,
};
use ays_store::Store;
use serde::Deserialize;

use crate::{
    actors::Actors,
    apply::{all_services, count},
    clock,
};

/// What is to be run, and where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ask {
    /// The action.
    pub action: String,
    /// A regular expression that the whole name of the actor matches; empty for any.
    pub actor: String,
    /// A regular expression that the whole name of the instance, or the whole key, matches; empty for any.
    pub service: String,
    /// The action's arguments; `[]` if they are not said.
    pub args: Option<JsonText>,
    /// Whether to run it where it is done already.
    pub force: bool,
}

/// Why a run was not started.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What was asked for makes no sense; says what would.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ays_store::Error),
}

/// Starts a run.
///
/// # Errors
/// If no service matches, or none of those has the action.
pub async fn start(ask: &Ask, store: &dyn Store, actors: &Actors) -> Result<Run, Refused> {
    let invalid = |what: String| Refused::Invalid(what);
    let pattern = |what: &str, text: &str| {
        let whole = if text.is_empty() { ".*" } else { text };
        Pattern::new(whole).map_err(|e| invalid(format!("`{what}`: {e}")))
    };
    let (actor, instance) = (pattern("actor", &ask.actor)?, pattern("service", &ask.service)?);
    if ask.action.is_empty() {
        return Err(invalid("`action` is empty; name one, as `install`".into()));
    }
    let services = all_services(store).await?;
    let matching: Vec<_> = services
        .values()
        .filter(|service| actor.matches(service.key.actor()))
        .filter(|service| instance.matches(service.key.instance()) || instance.matches(service.key.as_str()))
        .collect();
    if matching.is_empty() {
        return Err(invalid(match services.len() {
            0 => "there is no service yet; apply a blueprint first".into(),
            all => format!("none of the {} matches", count(all, "service")),
        }));
    }
    let targets: Vec<_> = matching
        .iter()
        .filter_map(|service| Some(Target { service, actions: &actors.get(service.key.actor())?.actions }))
        .collect();
    let known = targets.iter().any(|target| target.actions.contains(&ask.action));
    if !known && !STANDARD_ACTIONS.contains(&ask.action.as_str()) {
        let mut known: Vec<_> =
            targets.iter().flat_map(|target| target.actions).map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        return Err(invalid(format!(
            "none of the {} that match has the action `{}`; they have {}",
            count(matching.len(), "service"),
            ask.action,
            known.join(", ")
        )));
    }
    let args = ask.args.clone().unwrap_or_else(JsonText::empty_list);
    let mut plan = NewRun::plan(&ask.action, &args, &targets, ask.force);
    // What another run does already is not done twice.
    let under_way = store.runs_under_way().await?;
    let busy = |task: &Task| {
        let same = |other: &&Task| other.service == task.service && other.action == task.action;
        is_life_cycle(&task.action)
            && under_way
                .iter()
                .any(|run| run.steps.iter().skip(run.step as usize).flatten().any(|other| same(&other)))
    };
    let wanted = plan.steps.len();
    plan.steps.iter_mut().for_each(|step| step.retain(|task| !busy(task)));
    plan.steps.retain(|step| !step.is_empty());
    if plan.steps.is_empty()
        && wanted > 0
        && let Some(run) = under_way.into_iter().rev().find(|run| run.action == ask.action)
    {
        return Ok(run);
    }
    Ok(store.start_run(plan, clock::now()).await?)
}

/// A run in one line, for people.
pub fn describe(run: &Run) -> String {
    let jobs = run.steps.iter().map(Vec::len).sum();
    match jobs {
        0 => "done already (--force runs it again)".into(),
        jobs => format!("{} in {}", count(jobs, "job"), count(run.steps.len(), "step")),
    }
}
