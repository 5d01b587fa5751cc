//! Runs: jobs ordered by dependency.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
        let task = |target: &Target<'_>, link: &str| {
            let asked = link == action;
            let done = is_life_cycle(link) && target.service.done(link) && !(force && asked);
            (target.actions.contains(link) && !done).then(|| Task {
                service: target.service.key.clone(),
                action: link.into(),
                args: if asked { args.clone() } else { JsonText::empty_list() },
            })
        };
        // One node for each link of the chain on each service, also where there is nothing to do, so that what stands
        // behind it is waited for all the same. Nodes of one service follow each other.
        let services: BTreeMap<&ServiceKey, &Target<'_>> =
            targets.iter().map(|target| (&target.service.key, target)).collect();
        let number: HashMap<&ServiceKey, usize> =
            services.keys().enumerate().map(|(n, key)| (*key, n)).collect();
        let mut order = Order::new(services.len() * chain.len());
        for (n, target) in services.values().enumerate() {
            let first = n * chain.len();
            for place in 1..chain.len() {
                order.put(first + place - 1, first + place);
            }
            let links = &target.service.links;
            let linked = links.parent.iter().chain(links.producers.values().flatten());
            for other in linked.filter_map(|key| number.get(key)).filter(|other| **other != n) {
                for (place, link) in chain.iter().enumerate() {
                    let (below, above) = (other * chain.len() + place, first + place);
                    if DOWN.contains(link) { order.put(above, below) } else { order.put(below, above) }
                }
            }
        }
        let mut nodes: Vec<Option<Task>> =
            services.values().flat_map(|target| chain.iter().map(|link| task(target, link))).collect();
        let counts: Vec<bool> = nodes.iter().map(Option::is_some).collect();
        let mut steps: Vec<Vec<Task>> = Vec::new();
        for (node, step) in order.steps(&counts).into_iter().enumerate() {
            let Some(task) = nodes.get_mut(node).and_then(Option::take) else { continue };
            if steps.len() <= step {
                steps.resize_with(step + 1, Vec::new);
            }
            if let Some(tasks) = steps.get_mut(step) {
                tasks.push(task);
            }
        }
        Self { action: action.into(), steps }
    }
}

/// Which of some nodes, named by number, come before which.
struct Order {
    /// For each node: those that wait for it, and for how many it waits itself.
    nodes: Vec<(Vec<usize>, usize)>,
}

impl Order {
    fn new(nodes: usize) -> Self {
        Self { nodes: vec![(Vec::new(), 0); nodes] }
    }

    fn put(&mut self, before: usize, after: usize) {
        if let Some((waiting, _)) = self.nodes.get_mut(before) {
            waiting.push(after);
        }
        if let Some((_, waits_for)) = self.nodes.get_mut(after) {
            *waits_for += 1;
        }
    }

    /// The earliest step of each node: as many as there are nodes that count on the longest way to it (Kahn's
    /// algorithm; Communications of the ACM 5, 1962). Takes time in proportion to nodes and edges.
    fn steps(mut self, counts: &[bool]) -> Vec<usize> {
        let mut steps = vec![0; self.nodes.len()];
        let free = self.nodes.iter().enumerate().filter(|(_, (_, waits_for))| *waits_for == 0);
        let mut free: Vec<usize> = free.map(|(node, _)| node).collect();
        let mut finished = vec![false; self.nodes.len()];
        let mut rest = 0..self.nodes.len();
        loop {
            // Blueprints with a cycle are refused; should one be there all the same, it is entered at its first node,
            // and nothing is left undone.
            let Some(node) = free.pop().or_else(|| rest.find(|node| finished.get(*node) == Some(&false)))
            else {
                return steps;
            };
            if finished.get_mut(node).is_none_or(|finished| std::mem::replace(finished, true)) {
                continue;
            }
            let after = steps.get(node).copied().unwrap_or(0) + usize::from(counts.get(node) == Some(&true));
            let waiting =
                self.nodes.get_mut(node).map(|(waiting, _)| std::mem::take(waiting)).unwrap_or_default();
            for next in waiting {
                if finished.get(next) == Some(&true) {
                    continue;
                }
                if let Some(step) = steps.get_mut(next) {
                    *step = after.max(*step);
                }
                if let Some((_, waits_for)) = self.nodes.get_mut(next) {
                    *waits_for -= 1;
                    if *waits_for == 0 {
                        free.push(next);
                    }
                }
            }
        }
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
    /// step. A failed job stops the run at the end of its step, unless it was tried anew meanwhile and has ended well.
    pub fn settle(&mut self, job: Id, step: u32, state: JobState, now: Timestamp) -> Vec<NewJob> {
        if step != self.step || self.state != JobState::Running || !state.is_final() {
            return Vec::new();
        }
        if let Some(known) = self.failed.iter().position(|failed| *failed == job) {
            // From the dead-letter list, while others of the step are under way: it was counted when it failed.
            if state == JobState::Ok {
                self.failed.remove(known);
            }
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

    /// Enters this step, or the first after it that has jobs.
    fn enter(&mut self, step: u32, now: Timestamp) -> Vec<NewJob> {
        let rest = self.steps.iter().zip(0..).skip(step as usize);
        let Some((tasks, step)) = rest.into_iter().find(|(tasks, _)| !tasks.is_empty()) else {
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
