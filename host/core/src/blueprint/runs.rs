//! The run that the items of `actions:` make.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Id, JsonText, ServiceKey, Timestamp,
    changes::Changes,
    job::JobState,
    run::{self, NewRun, Target, Task},
    service::{ActionStatus, Service},
};

/// The steps of the one run that the items make together.
pub(super) struct Runs {
    /// The actions that the items ask for.
    pub(super) asked: Vec<String>,
    pub(super) steps: Vec<Vec<Task>>,
    /// How many tasks they have.
    pub(super) tasks: usize,
    /// The `init` of the services that are created: the first step, if there is any other.
    pub(super) init: Vec<Task>,
}

impl Runs {
    /// No items yet. The services that are created count as set up from here on.
    pub(super) fn of_creation(changes: &Changes, world: &mut BTreeMap<ServiceKey, Service>) -> Self {
        let jobs = changes.create.iter().flat_map(|service| &service.jobs).filter(|job| job.action == "init");
        let init: Vec<Task> = jobs
            .map(|job| Task {
                service: job.service.clone(),
                action: "init".into(),
                args: JsonText::empty_list(),
            })
            .collect();
        let mut runs = Self { asked: Vec::new(), steps: Vec::new(), tasks: 0, init: Vec::new() };
        init.iter().for_each(|task| runs.ends_well(task, world));
        runs.init = init;
        runs
    }

    /// Adds what an item asks for.
    pub(super) fn add(
        &mut self,
        action: &str,
        force: bool,
        keys: &[ServiceKey],
        world: &mut BTreeMap<ServiceKey, Service>,
        actions: &BTreeMap<&str, BTreeSet<String>>,
    ) {
        self.asked.push(action.into());
        let targets: Vec<Target<'_>> = keys
            .iter()
            .filter_map(|key| Some(Target { service: world.get(key)?, actions: actions.get(key.actor())? }))
            .collect();
        let steps = NewRun::plan(action, &JsonText::empty_list(), &targets, force).steps;
        self.tasks += steps.iter().map(Vec::len).sum::<usize>();
        for task in steps.iter().flatten() {
            self.ends_well(task, world);
        }
        self.steps.extend(steps);
    }

    /// What follows is planned as if this had been done.
    fn ends_well(&self, task: &Task, world: &mut BTreeMap<ServiceKey, Service>) {
        if !run::is_life_cycle(&task.action) {
            return;
        }
        let Some(service) = world.get_mut(&task.service) else { return };
        for undone in run::undoes(&task.action) {
            service.actions.remove(*undone);
        }
        let never = Timestamp::from_millis(0);
        let status = ActionStatus { state: JobState::Ok, job: Id::first_at(never), at: never };
        service.actions.insert(task.action.clone(), status);
    }
}
