//! From one version of an actor to another: what calls an action that the new one does not have, and what its manifest says
//! of event filters and recurring actions that the one before did not.

use crate::{
    Id,
    changes::NewSchedule,
    filter::{EventFilter, Subscription},
    job::{Cause, Job},
    manifest::{Manifest, STANDARD_ACTIONS},
    run::Task,
    schedule::Schedule,
    service::Service,
};

/// The step from the version in service to a new one.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'a> {
    /// What is in service, if anything is.
    pub before: Option<&'a Manifest>,
    /// What is to be.
    pub new: &'a Manifest,
}

/// Something of a service that calls an action, by its name, whichever version is in service then.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// An event filter.
    Filter(&'a Subscription),
    /// A recurring action.
    Schedule(&'a Schedule),
    /// A job that has not ended.
    Job(&'a Job),
    /// A job of a run that is to come.
    Run(Id, &'a Task),
}

impl Upgrade<'_> {
    /// Whether jobs of this action would fail from now on, and did not before. Where no version is in service, they wait.
    pub fn loses(&self, action: &str) -> bool {
        self.new.action(action).is_none()
            && !STANDARD_ACTIONS.contains(&action)
            && self.before.is_none_or(|before| before.action(action).is_some())
    }

    /// Whether there can be an action that it loses: where nothing is in service, only what calls them tells.
    pub fn loses_any(&self) -> bool {
        self.before.is_none_or(|before| before.actions.iter().any(|action| self.loses(&action.name)))
    }

    /// What is wrong with a call of an action that would be lost, and what would be right.
    pub fn fault(&self, call: Call<'_>) -> Option<String> {
        let (service, action, what, right) = match call {
            Call::Filter(Subscription { service, filter: EventFilter { event, action, .. }, .. }) => (
                service,
                action,
                format!("event filter on `{event}` calls"),
                "or have the version in service remove the filter first".into(),
            ),
            Call::Schedule(Schedule { service, action, recurring, .. }) => (
                service,
                action,
                format!("schedule ({}) calls", recurring.period),
                "or have the version in service remove the schedule first".into(),
            ),
            // Where no version is in service, nobody knows whether the actor ever had what was asked for by name: a slip of
            // the pen must not keep it out.
            Call::Job(Job { cause: Cause::Api { .. }, .. }) if self.before.is_none() => return None,
            Call::Job(Job { id, service, action, .. }) => (
                service,
                action,
                format!("job {id} waits for"),
                format!("or let the job end first (`ays-host jobs cancel {id}` cancels it)"),
            ),
            Call::Run(id, Task { service, action, .. }) => {
                (service, action, format!("run {id} comes to"), "or let the run end first".into())
            }
        };
        self.loses(action).then(|| {
            format!(
                "{service}: its {what} the action `{action}`, which this version does not have; it has {}. Keep the \
                 action, {right}",
                self.new.action_names()
            )
        })
    }

    /// The event filters of the new version's manifest that are not in that of the one before.
    pub fn new_filters(&self) -> impl Iterator<Item = &EventFilter> {
        let before = self.before.map(|before| before.filters.as_slice());
        let is_new = move |filter: &&EventFilter| {
            before.is_some_and(|before| !before.iter().any(|known| known.same(filter)))
        };
        self.new.filters.iter().filter(is_new)
    }

    /// The actions that recur by the new version's manifest, and not by that of the one before, for a service that has
    /// none of these schedules.
    pub fn new_schedules(&self, service: &Service) -> impl Iterator<Item = NewSchedule> {
        self.new.actions.iter().filter_map(move |action| {
            let recurring = action.recurring.clone()?;
            let known = self.before?.action(&action.name).is_some_and(|known| known.recurring.is_some());
            let awaited = |awaited: &&str| {
                *awaited != action.name && self.new.action(awaited).is_some() && !service.done(awaited)
            };
            (!known).then(|| NewSchedule {
                service: service.key.clone(),
                action: action.name.clone(),
                recurring,
                waits_for: ["init", "install"].into_iter().filter(awaited).map(str::to_owned).collect(),
            })
        })
    }

    /// Whether the new version's manifest says of event filters or recurring actions what that of the one before did not.
    pub fn has_new_defaults(&self) -> bool {
        let recurs = |manifest: &Manifest, name: &str| {
            manifest.action(name).is_some_and(|action| action.recurring.is_some())
        };
        self.new_filters().next().is_some()
            || self.before.is_some_and(|before| {
                self.new
                    .actions
                    .iter()
                    .any(|action| action.recurring.is_some() && !recurs(before, &action.name))
            })
    }
}
