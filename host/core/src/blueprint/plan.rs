//! Plans: what applying blueprints changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    ActionItem, Block, Blueprint, FilterItem, Selector, Step,
    faults::Faults,
    grants,
    lines::Part,
    links::{self, Roles},
    read,
    runs::Runs,
    wanted::{self, Wanted},
};
use crate::{
    JsonText, ServiceKey, Timestamp,
    capability::Granted,
    changes::{Before, Changes, NewSchedule, NewService, ServiceUpdate},
    filter::{EventFilter, Subscription},
    job::{Cause, JobState, NewJob, Patch},
    manifest::{Manifest, STANDARD_ACTIONS},
    problem::{MOST_PROBLEMS, Problem, list, nearest, report},
    run::{NewRun, Run, Task},
    schedule::{Recurring, Schedule},
    schema::Mismatch,
    service::{Links, Service},
};

/// What there is in a namespace before blueprints are applied.
#[derive(Clone, Debug, Default)]
pub struct Current {
    /// Its services.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Their event filters. One that is there already is not set again.
    pub filters: Vec<Subscription>,
    /// Their schedules. One that is as the blueprint says already is not set again.
    pub schedules: Vec<Schedule>,
    /// The runs that are under way. What they do already is not started again.
    pub runs: Vec<Run>,
    /// What blueprints granted, by actor.
    pub granted: BTreeMap<String, Granted>,
}

/// What applying blueprints changes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// For people and programs.
    pub steps: Vec<Step>,
    /// For the store.
    #[serde(skip)]
    pub changes: Changes,
    /// What the blueprints grant, by actor: each in place of what blueprints granted it before.
    #[serde(skip)]
    pub grants: BTreeMap<String, Granted>,
    /// The actors of the services that the blueprints name, and of those that are created for them.
    #[serde(skip)]
    pub actors: BTreeSet<String>,
}

/// The most steps of one plan. A short file can ask for very much, as each of its items may be about each service.
const MOST_STEPS: usize = 500_000;

/// Says what applying these blueprints, in this order, changes. The [module](super) says what their parts mean. Applied
/// again with what it led to in `current`, nothing changes, but for actions that are no life-cycle actions: these run
/// each time.
///
/// # Errors
/// All that is wrong: unknown actors and fields, values that do not fit, links to services that are not there, cycles,
/// items that match nothing. Nothing is planned then.
pub fn plan(
    blueprints: &[Blueprint],
    actors: &BTreeMap<String, Manifest>,
    current: &Current,
) -> Result<Plan, Vec<Problem>> {
    planned(blueprints, actors, current, Vec::new())
}

/// Reads files, each a name and a text, and [plans](plan) what applying them in this order changes.
///
/// # Errors
/// All mistakes of all files, those that can be seen by reading them and those that cannot, but for what only follows from
/// another mistake.
pub fn plan_files<'f>(
    files: impl IntoIterator<Item = (&'f str, &'f str)>,
    actors: &BTreeMap<String, Manifest>,
    current: &Current,
) -> Result<Plan, Vec<Problem>> {
    let (mut blueprints, mut problems) = (Vec::new(), Vec::new());
    for (file, text) in files {
        let (blueprint, found) = read::read_what_can_be(file, text);
        blueprints.push(blueprint);
        problems.extend(found);
    }
    planned(&blueprints, actors, current, problems)
}

/// `problems`: what reading the blueprints has found.
fn planned(
    blueprints: &[Blueprint],
    actors: &BTreeMap<String, Manifest>,
    current: &Current,
    mut problems: Vec<Problem>,
) -> Result<Plan, Vec<Problem>> {
    let mut faults = Faults::default();
    blueprints.iter().for_each(|blueprint| faults.add(&blueprint.faults));
    let wanted = wanted::gather(blueprints, actors, &mut faults, &mut problems);
    let mut planner = Planner {
        actors,
        current,
        world: current.services.clone(),
        actions: actors
            .iter()
            .map(|(name, manifest)| {
                (name.as_str(), manifest.actions.iter().map(|a| a.name.clone()).collect())
            })
            .collect(),
        filters: current
            .filters
            .iter()
            .map(|s| (filter_id(&s.service, &s.filter), s.filter.secret.clone()))
            .collect(),
        schedules: current
            .schedules
            .iter()
            .map(|s| ((&s.service, s.action.as_str()), &s.recurring))
            .collect(),
        set: HashMap::new(),
        plan: Plan::default(),
        knows_all: faults.knows_all(),
        problems,
        full: false,
    };
    planner.plan.grants = grants::plan(blueprints, actors, &mut planner.problems);
    planner.plan.steps.extend(grants::steps(&planner.plan.grants, &current.granted));
    planner.services(wanted, faults);
    planner.items(blueprints);
    if planner.full {
        let file = blueprints.first().map_or("", |blueprint| blueprint.file.as_str());
        let right = "fewer items, or several applications one after the other, would be right";
        planner.problems.push(Problem::new(file, format!("asks for more than {MOST_STEPS} steps"), right));
    }
    if planner.problems.is_empty() {
        return Ok(planner.plan);
    }
    let order = |problem: &Problem| {
        (blueprints.iter().position(|blueprint| blueprint.file == problem.file), problem.line)
    };
    planner.problems.sort_by_key(order);
    planner.problems.truncate(MOST_PROBLEMS);
    Err(planner.problems)
}

/// What tells the filters of all services apart: service, event, action, channel and tags.
type FilterId = (ServiceKey, String, String, String, BTreeSet<String>);

fn filter_id(key: &ServiceKey, filter: &EventFilter) -> FilterId {
    let channel = if filter.channel.is_any() { String::new() } else { filter.channel.0.to_ascii_lowercase() };
    (key.clone(), filter.event.folded().into(), filter.action.clone(), channel, filter.tags.clone())
}

/// A service, the services that its fields link it to, and the links that these make.
type Linked<'a> = (Wanted<'a>, BTreeMap<String, Vec<ServiceKey>>, Links);

struct Planner<'a> {
    actors: &'a BTreeMap<String, Manifest>,
    current: &'a Current,
    /// The services as they will be.
    world: BTreeMap<ServiceKey, Service>,
    /// By actor.
    actions: BTreeMap<&'a str, BTreeSet<String>>,
    /// The secrets of the filters there are and will be.
    filters: HashMap<FilterId, Option<String>>,
    /// How the schedules recur that there are.
    schedules: HashMap<(&'a ServiceKey, &'a str), &'a Recurring>,
    /// Where the schedules that are to be set stand: among the changes, and among the steps.
    set: HashMap<(ServiceKey, String), (usize, usize)>,
    plan: Plan,
    /// Whether the services are all that the blueprints name.
    knows_all: bool,
    problems: Vec<Problem>,
    /// It was to become larger than a plan may be.
    full: bool,
}

impl<'a> Planner<'a> {
    fn services(&mut self, wanted: Vec<Wanted<'a>>, faults: Faults) {
        let named = wanted.iter().map(|wanted| wanted.key.clone());
        let mut roles = Roles::new(self.current.services.keys().cloned().chain(named), faults);
        let mut queue: std::collections::VecDeque<Wanted<'a>> = wanted.into();
        let mut linked = Vec::new();
        while let Some(wanted) = queue.pop_front() {
            let applied = self.current.services.get(&wanted.key).map(|service| object(&service.applied));
            let resolved =
                links::resolve(&wanted, applied.as_ref(), self.actors, &mut roles, &mut self.problems);
            let links = links::links_of(wanted.manifest, &resolved.fields);
            // What it needs is created before it.
            queue.extend(resolved.created);
            linked.push((wanted, resolved.fields, links));
        }
        self.refuse_cycle(&linked);
        for (wanted, fields, links) in linked {
            self.plan.actors.insert(wanted.key.actor().into());
            match self.current.services.get(&wanted.key) {
                None => self.create(wanted, &fields, links),
                Some(service) => self.update(service, wanted, &fields, links),
            }
        }
    }

    fn refuse_cycle(&mut self, linked: &[Linked<'a>]) {
        let mut all: BTreeMap<&ServiceKey, Vec<&ServiceKey>> = BTreeMap::new();
        let old = self.current.services.iter().map(|(key, service)| (key, &service.links));
        for (key, links) in old.chain(linked.iter().map(|(wanted, _, links)| (&wanted.key, links))) {
            all.insert(key, links.parent.iter().chain(links.producers.values().flatten()).collect());
        }
        let Some(cycle) = links::cycle(&all) else { return };
        let shown = cycle.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(" -> ");
        let right = "links without a way back to where they begin would be right";
        let on_cycle = linked.iter().find(|(wanted, ..)| cycle.contains(&&wanted.key));
        let problem = match on_cycle {
            Some((wanted, fields, _)) => {
                let leads_on = |keys: &Vec<ServiceKey>| keys.iter().any(|key| cycle.contains(&key));
                let field = fields.iter().find(|(_, keys)| leads_on(keys)).map_or("", |(field, _)| field);
                wanted.problem(field, format!("makes a cycle: {shown}"), right)
            }
            // A cycle that was stored before: there is no file to blame.
            None => return,
        };
        self.problems.push(problem);
    }

    fn create(&mut self, wanted: Wanted<'a>, fields: &BTreeMap<String, Vec<ServiceKey>>, links: Links) {
        let data = match wanted.manifest.schema.fill(wanted.given.values.clone()) {
            Ok(data) => JsonText::from(data),
            Err(mismatches) => {
                for Mismatch { field, what, right } in mismatches {
                    if !wanted.faulty.contains(&field) {
                        report(&mut self.problems, || wanted.problem(&field, what, right));
                    }
                }
                // Nothing will be applied; what items say of the service is checked all the same.
                JsonText::from(Map::new())
            }
        };
        let key = &wanted.key;
        let applied = JsonText::from(said(wanted.given.values.clone(), fields));
        let has = |action: &&str| wanted.manifest.action(action).is_some();
        let cause = cause(wanted.file);
        let jobs = ["input", "init"].into_iter().filter(has).map(|action| NewJob {
            service: key.clone(),
            action: action.into(),
            args: JsonText::empty_list(),
            cause: cause.clone(),
            patch: None,
        });
        self.plan.steps.push(Step::Create { service: key.clone() });
        self.plan.steps.extend(link_steps(key, fields));
        self.plan.changes.create.push(NewService {
            key: key.clone(),
            data: data.clone(),
            schema: Some(wanted.manifest.schema_id()),
            applied: applied.clone(),
            links: links.clone(),
            jobs: jobs.collect(),
        });
        let never = Timestamp::from_millis(0);
        let service = Service {
            key: key.clone(),
            data,
            schema: None,
            applied,
            links,
            actions: BTreeMap::new(),
            kv: Default::default(),
            created_at: never,
            updated_at: never,
        };
        self.world.insert(key.clone(), service);
        for filter in &wanted.manifest.filters {
            self.set_filter(key, filter.clone());
        }
        for action in &wanted.manifest.actions {
            if let Some(recurring) = &action.recurring {
                self.set_schedule(key, &action.name, recurring.clone());
            }
        }
    }

    fn update(
        &mut self,
        service: &Service,
        wanted: Wanted<'a>,
        fields: &BTreeMap<String, Vec<ServiceKey>>,
        links: Links,
    ) {
        let key = &wanted.key;
        let (before, live) = (object(&service.applied), object(&service.data));
        let (mut patch, mut changes) = (Map::new(), Map::new());
        for (field, new) in &wanted.given.values {
            let now = live.get(field).unwrap_or(&Value::Null);
            if before.get(field).unwrap_or(now) != new {
                patch.insert(field.clone(), new.clone());
                changes.insert(field.clone(), json!({"old": now, "new": new}));
                self.plan.steps.push(Step::Change {
                    service: key.clone(),
                    field: field.clone(),
                    old: now.clone(),
                    new: new.clone(),
                });
            }
        }
        // What a blueprint no longer says stays as it was.
        let mut applied = before.clone();
        applied.extend(said(wanted.given.values.clone(), fields));
        if links != service.links {
            let moved =
                |(field, keys): &(&String, &Vec<ServiceKey>)| before.get(*field) != Some(&json!(keys));
            let moved: BTreeMap<_, _> =
                fields.iter().filter(moved).map(|(f, k)| (f.clone(), k.clone())).collect();
            self.plan.steps.extend(link_steps(key, &moved));
        } else if applied == before && patch.is_empty() {
            self.plan.steps.push(Step::Unchanged { what: key.to_string() });
            return;
        } else if patch.is_empty() {
            // The blueprint now says what was so already: only that it says so is new.
            self.plan.steps.push(Step::Unchanged { what: key.to_string() });
        }
        let job = (!patch.is_empty()).then(|| NewJob {
            service: key.clone(),
            action: "processChange".into(),
            args: JsonText::from(&json!({"changes": changes})),
            cause: cause(wanted.file),
            patch: Some(Patch { values: JsonText::from(patch), schema: Some(wanted.manifest.schema_id()) }),
        });
        if let Some(service) = self.world.get_mut(key) {
            service.links = links.clone();
        }
        let update = ServiceUpdate {
            key: key.clone(),
            before: Before { applied: service.applied.clone(), links: service.links.clone() },
            applied: JsonText::from(applied),
            links,
            job,
        };
        self.plan.changes.update.push(update);
    }

    fn items(&mut self, blueprints: &[Blueprint]) {
        let mut runs = Runs::of_creation(&self.plan.changes, &mut self.world);
        for blueprint in blueprints {
            for block in &blueprint.blocks {
                match block {
                    Block::Service { .. } | Block::Grants(_) | Block::Actors(_) => {}
                    Block::Filters(items) => {
                        for item in items {
                            self.filter_item(blueprint, item);
                        }
                    }
                    Block::Actions(items) => {
                        for item in items {
                            self.action_item(blueprint, item, &mut runs);
                        }
                    }
                }
            }
        }
        self.start(runs);
    }

    fn filter_item(&mut self, blueprint: &Blueprint, item: &FilterItem) {
        let path = [Part::Key("eventfilters"), Part::Item(item.nth)];
        for action in &item.actions {
            if self.full {
                return;
            }
            for key in self.select(blueprint, &path, &item.select, action, false) {
                let filter = EventFilter {
                    event: item.event.clone(),
                    action: action.clone(),
                    channel: item.channel.clone(),
                    tags: item.tags.clone(),
                    secret: item.secret.clone(),
                };
                self.set_filter(&key, filter);
            }
        }
    }

    fn action_item(&mut self, blueprint: &Blueprint, item: &ActionItem, runs: &mut Runs) {
        let path = [Part::Key("actions"), Part::Item(item.nth)];
        for action in &item.actions {
            if self.full {
                return;
            }
            let keys = self.select(blueprint, &path, &item.select, action, true);
            if let Some(period) = &item.recurring {
                for key in &keys {
                    let spec = self.actors.get(key.actor()).and_then(|manifest| manifest.action(action));
                    let own = spec.and_then(|spec| spec.recurring.clone());
                    let recurring = match own {
                        Some(own) => Recurring { period: period.clone(), ..own },
                        None => Recurring::every(period.clone()),
                    };
                    self.set_schedule(key, action, recurring);
                }
            } else {
                runs.add(action, item.force, &keys, &mut self.world, &self.actions);
                self.full |= runs.tasks > MOST_STEPS;
            }
        }
    }

    /// The services that an item is about and that have the action.
    fn select(
        &mut self,
        blueprint: &Blueprint,
        path: &[Part<'_>],
        select: &Selector,
        action: &str,
        may_lack: bool,
    ) -> Vec<ServiceKey> {
        let matching: Vec<&ServiceKey> = self.world.keys().filter(|key| select.takes(key)).collect();
        if matching.is_empty() {
            if !self.knows_all {
                return Vec::new();
            }
            let there = list(self.world.keys().map(ServiceKey::as_str));
            let right = format!("the services are {there}; a pattern matches a whole name");
            let what = format!("{} is there", select.describe());
            report(&mut self.problems, || blueprint.problem(path, what, right));
            return Vec::new();
        }
        let (having, lacking): (Vec<&ServiceKey>, Vec<&ServiceKey>) = matching
            .iter()
            .partition(|key| self.actions.get(key.actor()).is_some_and(|names| names.contains(action)));
        let standard = may_lack && STANDARD_ACTIONS.contains(&action);
        let told = if select.is_any() { having.is_empty() && self.knows_all } else { true };
        if !lacking.is_empty() && !standard && told {
            // One for each actor: its services are alike.
            let mut actors = HashSet::new();
            for key in lacking.iter().filter(|key| actors.insert(key.actor())) {
                let problem = self.no_action(blueprint, path, key, action);
                report(&mut self.problems, || problem);
            }
            return Vec::new();
        }
        having.into_iter().cloned().collect()
    }

    fn no_action(&self, blueprint: &Blueprint, path: &[Part<'_>], key: &ServiceKey, action: &str) -> Problem {
        let what = format!("{key} has no action `{action}`");
        let right = match self.actors.get(key.actor()) {
            None => "its actor is not loaded".into(),
            Some(manifest) => {
                let names = manifest.actions.iter().map(|action| action.name.as_str());
                match nearest(action, names.clone()) {
                    Some(meant) => format!("did you mean `{meant}`? It has {}", list(names)),
                    None => format!("it has {}", list(names)),
                }
            }
        };
        blueprint.problem(path, what, right)
    }

    fn set_filter(&mut self, key: &ServiceKey, filter: EventFilter) {
        let id = filter_id(key, &filter);
        if self.filters.get(&id).is_some_and(|secret| *secret == filter.secret) || self.is_full() {
            return;
        }
        self.filters.insert(id, filter.secret.clone());
        let (event, action) = (filter.event.clone(), filter.action.clone());
        self.plan.steps.push(Step::Filter { service: key.clone(), event, action });
        self.plan.changes.filters.push((key.clone(), filter));
    }

    fn set_schedule(&mut self, key: &ServiceKey, action: &str, recurring: Recurring) {
        let id = (key.clone(), action.to_owned());
        if let Some((change, step)) = self.set.get(&id) {
            if let Some(planned) = self.plan.changes.schedules.get_mut(*change) {
                planned.recurring = recurring.clone();
            }
            if let Some(Step::Schedule { recurring: shown, .. }) = self.plan.steps.get_mut(*step) {
                *shown = recurring;
            }
            return;
        }
        if self.schedules.get(&(key, action)).is_some_and(|known| **known == recurring) || self.is_full() {
            return;
        }
        self.set.insert(id, (self.plan.changes.schedules.len(), self.plan.steps.len()));
        let has = |awaited: &&str| {
            *awaited != action && self.actions.get(key.actor()).is_some_and(|a| a.contains(*awaited))
        };
        let done =
            |awaited: &&str| self.current.services.get(key).is_some_and(|service| service.done(awaited));
        let waits_for = ["init", "install"].into_iter().filter(has).filter(|awaited| !done(awaited));
        let waits_for: Vec<String> = waits_for.map(str::to_owned).collect();
        let (service, shown) = (key.clone(), recurring.clone());
        self.plan.steps.push(Step::Schedule {
            service,
            action: action.into(),
            recurring: shown,
            waits_for: waits_for.clone(),
        });
        self.plan.changes.schedules.push(NewSchedule {
            service: key.clone(),
            action: action.into(),
            recurring,
            waits_for,
        });
    }

    /// Whether the plan is as large as one may be.
    fn is_full(&mut self) -> bool {
        self.full |= self.plan.steps.len() >= MOST_STEPS;
        self.full
    }

    fn start(&mut self, mut runs: Runs) {
        if runs.asked.is_empty() {
            return;
        }
        let action = runs.asked.join(", ");
        let running = self.current.runs.iter().filter(|run| run.state == JobState::Running);
        let under_way: HashSet<_> = running
            .flat_map(|run| run.steps.iter().flatten())
            .map(|task| (&task.service, &task.action, &task.args))
            .collect();
        let is_under_way = |task: &Task| under_way.contains(&(&task.service, &task.action, &task.args));
        if runs.steps.iter().flatten().all(is_under_way) {
            let why = if runs.steps.is_empty() { "nothing is left to do" } else { "is under way" };
            self.plan.steps.push(Step::Unchanged { what: format!("run {action}: {why}") });
            return;
        }
        if !runs.init.is_empty() {
            runs.steps.insert(0, std::mem::take(&mut runs.init));
            for service in &mut self.plan.changes.create {
                service.jobs.retain(|job| job.action != "init");
            }
        }
        let shown = |tasks: &Vec<Task>| {
            tasks.iter().map(|task| format!("{} on {}", task.action, task.service)).collect()
        };
        self.plan
            .steps
            .push(Step::Run { action: action.clone(), jobs: runs.steps.iter().map(shown).collect() });
        self.plan.changes.runs.push(NewRun { action, steps: runs.steps });
    }
}

/// What a blueprint said of a service: the fields' values, and the services that its links stand for.
fn said(mut values: Map<String, Value>, fields: &BTreeMap<String, Vec<ServiceKey>>) -> Map<String, Value> {
    values.extend(fields.iter().map(|(field, keys)| (field.clone(), json!(keys))));
    values
}

fn link_steps(key: &ServiceKey, fields: &BTreeMap<String, Vec<ServiceKey>>) -> Vec<Step> {
    let step = |(field, to): (&String, &Vec<ServiceKey>)| Step::Link {
        service: key.clone(),
        field: field.clone(),
        to: to.clone(),
    };
    fields.iter().map(step).collect()
}

fn cause(file: Option<&Blueprint>) -> Cause {
    Cause::Init { blueprint: file.map(|file| file.file.clone()) }
}

fn object(text: &JsonText) -> Map<String, Value> {
    match text.value() {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
