//! Runs: jobs ordered by dependency.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    Id, JsonText, ServiceKey, Timestamp,
    job::{Cause, JobState, NewJob},
    service::Service,
};

/// What must have ended well on a service before an action is tried there: (action, the one before).
const BEFORE: [(&str, &str); 5] = [
    ("install", "init"),
    ("start", "install"),
    ("monitor", "start"),
    ("uninstall", "stop"),
    ("delete", "uninstall"),
];

/// Actions that take down what others stand on: consumers and children come first.
const DOWN: [&str; 3] = ["stop", "uninstall", "delete"];

/// Whether the action is one of a service's life cycle: how it last ended is remembered, and a run leaves it out where
/// it has ended well.
pub fn is_life_cycle(action: &str) -> bool {
    BEFORE.iter().any(|(after, before)| *after == action || *before == action)
}

/// The actions that are no longer done once this one is: after `uninstall`, `install` is to be run again.
pub fn undoes(action: &str) -> &'static [&'static str] {
    match action {
        "install" => &["uninstall", "delete"],
        "start" => &["stop", "uninstall", "delete"],
        "stop" => &["start", "monitor"],
        "uninstall" => &["install", "start", "monitor"],
        _ => &[],
    }
}

/// One job of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// On which service.
    pub service: ServiceKey,
    /// Which action.
    pub action: String,
    /// Its arguments.
    pub args: JsonText,
}

/// A run that is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// The action that was asked for.
    pub action: String,
    /// The jobs, step by step: those of one step run in parallel, a step begins when the one before has ended well.
    pub steps: Vec<Vec<Task>>,
}

/// What a run is planned from: a service that it is about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The service.
    pub service: &'a Service,
    /// The names of its actor's actions.
    pub actions: &'a BTreeSet<String>,
}

impl NewRun {
    /// Orders `action` and the actions it depends on, over these services. An action that is done already is left out
    /// unless `force` is set; one that an actor does not have is, too.
    pub fn plan(action: &str, args: &JsonText, targets: &[Target<'_>], force: bool) -> Self {
        let mut chain = vec![action];
        while let Some((_, before)) = BEFORE.iter().find(|(after, _)| chain.first() == Some(after)) {
            chain.insert(0, before);
        }
        let mut tasks: BTreeMap<(&ServiceKey, usize), Task> = BTreeMap::new();
        for target in targets {
            for (place, link) in chain.iter().enumerate() {
                let asked = *link == action;
                let done = is_life_cycle(link) && target.service.done(link) && !(force && asked);
                if target.actions.contains(*link) && !done {
                    let args = if asked { args.clone() } else { JsonText::empty_list() };
                    let task = Task { service: target.service.key.clone(), action: (*link).into(), args };
                    tasks.insert((&target.service.key, place), task);
                }
            }
        }
        let links: BTreeMap<&ServiceKey, Vec<&ServiceKey>> = targets
            .iter()
            .map(|t| {
                let links = &t.service.links;
                (&t.service.key, links.parent.iter().chain(links.producers.values().flatten()).collect())
            })
            .collect();
        let is_down = |place: usize| chain.get(place).is_some_and(|link| DOWN.contains(link));
        let waits_for = |(service, place): (&ServiceKey, usize), on: (&ServiceKey, usize)| {
            let needs = |a: &ServiceKey, b: &ServiceKey| links.get(a).is_some_and(|links| links.contains(&b));
            (on.0 == service && on.1 < place)
                || (on.1 == place && if is_down(place) { needs(on.0, service) } else { needs(service, on.0) })
        };
        let mut steps = Vec::new();
        while !tasks.is_empty() {
            let mut free: Vec<_> = tasks
                .keys()
                .copied()
                .filter(|task| !tasks.keys().any(|on| on != task && waits_for(*task, *on)))
                .collect();
            if free.is_empty() {
                // Blueprints with a cycle are refused; should one be there all the same, nothing is left undone.
                free = tasks.keys().copied().collect();
            }
            steps.push(free.iter().filter_map(|key| tasks.remove(key)).collect());
        }
        Self { action: action.into(), steps }
    }
}

/// A run and its whole record. Its JSON is what the API shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: Id,
    /// The action that was asked for.
    pub action: String,
    /// `running`, `ok` or `error`.
    pub state: JobState,
    /// The jobs, step by step.
    pub steps: Vec<Vec<Task>>,
    /// The step that is under way, from 0.
    pub step: u32,
    /// How many jobs of this step have not ended yet.
    pub pending: u32,
    /// The jobs that failed or were cancelled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Id>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

impl Run {
    /// Begins a run, and returns it with the jobs of its first step. A run without steps is `ok` at once.
    pub fn start(new: NewRun, id: Id, now: Timestamp) -> (Self, Vec<NewJob>) {
        let mut run = Self {
            id,
            action: new.action,
            state: JobState::Running,
            steps: new.steps,
            step: 0,
            pending: 0,
            failed: Vec::new(),
            created_at: now,
            finished_at: None,
        };
        let jobs = run.enter(0, now);
        (run, jobs)
    }

    /// A job of the run has ended as `state`, for good. Returns the jobs of the next step if it was the last of its
    /// step. A failed job stops the run at the end of its step.
    pub fn settle(&mut self, job: Id, step: u32, state: JobState, now: Timestamp) -> Vec<NewJob> {
        if step != self.step || self.state != JobState::Running || !state.is_final() {
            return Vec::new();
        }
        if state != JobState::Ok {
            self.failed.push(job);
        }
        self.pending = self.pending.saturating_sub(1);
        if self.pending > 0 {
            return Vec::new();
        }
        if self.failed.is_empty() {
            return self.enter(self.step + 1, now);
        }
        self.state = JobState::Error;
        self.finished_at = Some(now);
        Vec::new()
    }

    fn enter(&mut self, step: u32, now: Timestamp) -> Vec<NewJob> {
        let Some(tasks) = self.steps.get(step as usize) else {
            self.state = JobState::Ok;
            self.finished_at = Some(now);
            return Vec::new();
        };
        self.step = step;
        self.pending = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        tasks
            .iter()
            .map(|task| NewJob {
                service: task.service.clone(),
                action: task.action.clone(),
                args: task.args.clone(),
                cause: Cause::Run { id: self.id, step },
                patch: None,
            })
            .collect()
    }
}
