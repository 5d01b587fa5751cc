//! Runs: which jobs, in which order, and how the run moves on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::collections::{BTreeMap, BTreeSet};

use ays_core::{
    Id, JsonText, ServiceKey, Timestamp,
    job::{Cause, JobState, NewJob},
    run::{NewRun, Run, Target, Task, undoes},
    service::{ActionStatus, Links, Service},
};
use proptest::prelude::*;

const LIFE: [&str; 7] = ["init", "install", "start", "monitor", "stop", "uninstall", "delete"];

fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

fn id(n: u64) -> Id {
    Id::first_at(Timestamp::from_millis(n as i64))
}

fn names(actions: &[&str]) -> BTreeSet<String> {
    actions.iter().map(|action| (*action).to_owned()).collect()
}

/// A service of this key: what it consumes, and which actions are done.
fn service(name: &str, producers: &[&str], done: &[&str]) -> Service {
    let status = |state| ActionStatus { state, job: id(0), at: Timestamp::from_millis(0) };
    let mut producers_by_role: BTreeMap<String, Vec<ServiceKey>> = BTreeMap::new();
    for producer in producers {
        let producer = key(producer);
        producers_by_role.entry(producer.actor().into()).or_default().push(producer);
    }
    Service {
        key: key(name),
        data: JsonText::empty_object(),
        schema: None,
        applied: JsonText::empty_object(),
        links: Links { parent: None, producers: producers_by_role },
        actions: done.iter().map(|action| ((*action).to_owned(), status(JobState::Ok))).collect(),
        kv: Default::default(),
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
    }
}

/// The plan as text: `a.init + b.init | a.install`.
fn plan(action: &str, services: &[(&Service, &BTreeSet<String>)], force: bool) -> String {
    let targets: Vec<_> = services.iter().map(|(service, actions)| Target { service, actions }).collect();
    let run = NewRun::plan(action, &JsonText::empty_list(), &targets, force);
    let step = |tasks: &Vec<Task>| {
        let tasks = tasks.iter().map(|task| format!("{}.{}", task.service.instance(), task.action));
        tasks.collect::<Vec<_>>().join(" + ")
    };
    run.steps.iter().map(step).collect::<Vec<_>>().join(" | ")
}

#[test]
fn an_action_comes_after_those_it_depends_on() {
    for (action, has, done, force, expected) in [
        ("init", &LIFE[..], &[][..], false, "s.init"),
        ("install", &LIFE, &[], false, "s.init | s.install"),
        ("start", &LIFE, &[], false, "s.init | s.install | s.start"),
        ("monitor", &LIFE, &[], false, "s.init | s.install | s.start | s.monitor"),
        ("stop", &LIFE, &[], false, "s.stop"),
        ("uninstall", &LIFE, &[], false, "s.stop | s.uninstall"),
        ("delete", &LIFE, &[], false, "s.stop | s.uninstall | s.delete"),
        // Done already.
        ("install", &LIFE, &["init"], false, "s.install"),
        ("install", &LIFE, &["init", "install"], false, ""),
        ("start", &LIFE, &["init", "install"], false, "s.start"),
        // Forced: the one that was asked for, not all before it.
        ("install", &LIFE, &["init", "install"], true, "s.install"),
        ("start", &LIFE, &["init", "start"], true, "s.install | s.start"),
        // The actor has not all of them.
        ("start", &["init", "start"], &[], false, "s.init | s.start"),
        ("start", &["init"], &[], false, "s.init"),
        ("monitor", &[], &[], true, ""),
        // No action of the life cycle: whenever it is asked for.
        ("check_up", &["init", "check_up"], &["check_up"], false, "s.check_up"),
        ("send_message", &LIFE, &[], true, ""),
    ] {
        let service = service("a__s", &[], done);
        assert_eq!(plan(action, &[(&service, &names(has))], force), expected, "{action} {done:?} {force}");
    }
}

#[test]
fn producers_are_built_up_first_and_torn_down_last() {
    let all = names(&LIFE);
    let few = names(&["start"]);
    let (disk, node) = (service("disk__d", &[], &["init"]), service("node__n", &["disk__d"], &["init"]));
    let mut app = service("app__a", &["node__n", "elsewhere__e"], &["init"]);
    let links = |middle| vec![(&app, &all), (&node, middle), (&disk, &all)];
    assert_eq!(plan("install", &links(&all), false), "d.install | n.install | a.install");
    assert_eq!(
        plan("start", &links(&all), false),
        "d.install | d.start + n.install | a.install + n.start | a.start"
    );
    assert_eq!(
        plan("uninstall", &links(&all), false),
        "a.stop | a.uninstall + n.stop | d.stop + n.uninstall | d.uninstall"
    );
    // One between them that has nothing to do does not part them.
    assert_eq!(plan("install", &links(&few), false), "d.install | a.install");
    assert_eq!(plan("stop", &links(&few), false), "a.stop | d.stop");

    app.links = Links { parent: Some(key("disk__d")), producers: BTreeMap::new() };
    assert_eq!(plan("install", &[(&app, &all), (&disk, &all)], false), "d.install | a.install");
    assert_eq!(plan("stop", &[(&app, &all), (&disk, &all)], false), "a.stop | d.stop");
    // Twice the same target is one.
    assert_eq!(plan("stop", &[(&disk, &all), (&disk, &all)], false), "d.stop");
}

#[test]
fn only_the_action_that_was_asked_for_gets_the_arguments() {
    let (service, actions) = (service("a__s", &[], &[]), names(&LIFE));
    let args = JsonText::parse(r#"{"fast":true}"#).unwrap();
    let run = NewRun::plan("install", &args, &[Target { service: &service, actions: &actions }], false);
    let all: Vec<_> = run.steps.into_iter().flatten().map(|task| task.args).collect();
    assert_eq!(all, [JsonText::empty_list(), args]);
}

#[test]
fn a_cycle_leaves_nothing_undone() {
    let all = names(&LIFE);
    let (a, b) = (service("x__a", &["x__b", "x__a"], &[]), service("x__b", &["x__a"], &[]));
    let run = NewRun::plan(
        "install",
        &JsonText::empty_list(),
        &[Target { service: &a, actions: &all }, Target { service: &b, actions: &all }],
        false,
    );
    assert_eq!(run.steps.iter().map(Vec::len).sum::<usize>(), 4);
    for name in ["x__a", "x__b"] {
        let place = |action: &str| run.steps.iter().position(|step| has(step, name, action)).unwrap();
        assert!(place("init") < place("install"), "{run:?}");
    }
    fn has(step: &[Task], name: &str, action: &str) -> bool {
        step.iter().any(|task| task.service.as_str() == name && task.action == action)
    }
}

#[test]
fn after_uninstall_an_action_is_to_be_run_again() {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for action in ["init", "install", "start", "stop", "uninstall"] {
        for undone in undoes(action) {
            done.remove(undone);
        }
        done.insert(action);
    }
    let done: Vec<_> = done.into_iter().collect();
    let service = service("a__s", &[], &done);
    assert_eq!(plan("start", &[(&service, &names(&LIFE))], false), "s.install | s.start");
    assert_eq!(plan("uninstall", &[(&service, &names(&LIFE))], false), "");
}

#[test]
fn ten_thousand_services_are_planned_at_once() {
    let all = names(&LIFE);
    // Each on one before it, and all on the first.
    let services: Vec<Service> = (0..10_000usize)
        .map(|n| service(&format!("x__{n:05}"), &[&format!("x__{:05}", n / 2), "x__00000"], &[]))
        .collect();
    let targets: Vec<_> = services.iter().map(|service| Target { service, actions: &all }).collect();
    let run = NewRun::plan("start", &JsonText::empty_list(), &targets, false);
    assert_eq!(run.steps.iter().map(Vec::len).sum::<usize>(), 30_000);
    assert_eq!(run.steps.len(), 15 + 2, "the longest way: 9999, 4999, …, 1, 0, and three actions");
    // A chain is as many steps.
    let services: Vec<Service> = (0..10_000usize)
        .map(|n| service(&format!("x__{n:05}"), &[&format!("x__{:05}", n.saturating_sub(1))], &[]))
        .collect();
    let targets: Vec<_> = services.iter().map(|service| Target { service, actions: &all }).collect();
    assert_eq!(NewRun::plan("stop", &JsonText::empty_list(), &targets, false).steps.len(), 10_000);
}

/// A service of a random net: producers and a parent among those before it, actions it has, and those that are done.
type Node = (Vec<prop::sample::Index>, Option<prop::sample::Index>, BTreeSet<String>, BTreeSet<String>);

fn node() -> impl Strategy<Value = Node> {
    let actions =
        || prop::collection::btree_set(prop::sample::select(&LIFE[..]).prop_map(str::to_owned), 0..7);
    (
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        any::<Option<prop::sample::Index>>(),
        actions(),
        actions(),
    )
}

fn net(nodes: Vec<Node>) -> Vec<(Service, BTreeSet<String>)> {
    let total = nodes.len();
    // Numbers are mirrored for every second one, so that order by key is not order by dependency.
    let name = |n: usize| format!("x__{}", if n.is_multiple_of(2) { n } else { 1000 - n });
    assert!(total < 500);
    let build = |(n, (producers, parent, mut has, done)): (usize, Node)| {
        let before = |index: &prop::sample::Index| (n > 0).then(|| name(index.index(n.max(1))));
        let producers: Vec<String> = producers.iter().filter_map(before).collect();
        let producers: Vec<&str> = producers.iter().map(String::as_str).collect();
        let done: Vec<&str> = done.iter().map(String::as_str).collect();
        let mut service = service(&name(n), &producers, &done);
        service.links.parent = parent.as_ref().and_then(before).map(|name| key(&name));
        has.insert("init".into());
        (service, has)
    };
    nodes.into_iter().enumerate().map(build).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_task_comes_once_and_after_all_it_depends_on(
        nodes in prop::collection::vec(node(), 1..30),
        action in prop::sample::select(&LIFE[..]),
        force in any::<bool>(),
    ) {
        let net = net(nodes);
        let targets: Vec<_> = net.iter().map(|(service, actions)| Target { service, actions }).collect();
        let run = NewRun::plan(action, &JsonText::empty_list(), &targets, force);
        let mut step_of: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (step, tasks) in run.steps.iter().enumerate() {
            prop_assert!(!tasks.is_empty());
            for task in tasks {
                let before = step_of.insert((task.service.to_string(), task.action.clone()), step);
                prop_assert_eq!(before, None, "twice");
            }
        }
        let chain: &[&str] = match action {
            "init" => &["init"],
            "install" => &["init", "install"],
            "start" => &["init", "install", "start"],
            "monitor" => &["init", "install", "start", "monitor"],
            "stop" => &["stop"],
            "uninstall" => &["stop", "uninstall"],
            _ => &["stop", "uninstall", "delete"],
        };
        let down = chain[0] == "stop";
        let by_key: BTreeMap<&ServiceKey, &Service> = net.iter().map(|(s, _)| (&s.key, s)).collect();
        let mut expected = 0;
        for (service, has) in &net {
            let wanted: Vec<_> = chain
                .iter()
                .filter(|link| has.contains(**link) && (!service.done(link) || (force && **link == action)))
                .collect();
            expected += wanted.len();
            let step = |service: &ServiceKey, link: &str| step_of.get(&(service.to_string(), link.to_owned()));
            let own: Vec<_> = wanted.iter().filter_map(|link| step(&service.key, link)).collect();
            prop_assert_eq!(own.len(), wanted.len(), "left out");
            prop_assert!(own.is_sorted_by(|a, b| a < b));
            // Everything below it, however far.
            let mut below = BTreeSet::new();
            let mut front = vec![service];
            while let Some(upper) = front.pop() {
                let links = upper.links.parent.iter().chain(upper.links.producers.values().flatten());
                front.extend(links.filter(|key| below.insert((*key).clone())).map(|key| by_key[key]));
            }
            for lower in &below {
                for link in chain {
                    if let (Some(upper), Some(lower)) = (step(&service.key, link), step(lower, link)) {
                        prop_assert!(if down { upper < lower } else { lower < upper }, "{} {}", service.key, link);
                    }
                }
            }
        }
        prop_assert_eq!(step_of.len(), expected);
    }

    #[test]
    fn a_run_executes_every_task_once_or_stops_at_the_step_that_failed(
        sizes in prop::collection::vec(0..5usize, 0..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 30),
        fails in prop::option::of(any::<prop::sample::Index>()),
        failure in prop::sample::select(vec![JobState::Error, JobState::Cancelled]),
        mended in any::<bool>(),
    ) {
        let task = |step: usize, n: usize| Task {
            service: key(&format!("x__{step}-{n}")), action: "go".into(), args: JsonText::empty_list(),
        };
        let steps: Vec<Vec<Task>> =
            sizes.iter().enumerate().map(|(step, size)| (0..*size).map(|n| task(step, n)).collect()).collect();
        let total: usize = sizes.iter().sum();
        let fails = fails.filter(|_| total > 0).map(|index| index.index(total));
        let now = Timestamp::from_millis(1);
        let (mut run, jobs) = Run::start(NewRun { action: "go".into(), steps: steps.clone() }, id(9), now);

        let mut begun: Vec<NewJob> = Vec::new();
        let mut open: Vec<(Id, NewJob)> = Vec::new();
        let mut begin = |jobs: Vec<NewJob>, open: &mut Vec<(Id, NewJob)>| {
            for job in jobs {
                open.push((id(100 + begun.len() as u64), job.clone()));
                begun.push(job);
            }
        };
        begin(jobs, &mut open);
        let mut failed_step = None;
        for (settled, pick) in order.iter().enumerate() {
            if open.is_empty() {
                break;
            }
            prop_assert_eq!(run.state, JobState::Running);
            prop_assert_eq!(run.pending as usize, open.len());
            let (job, new) = open.remove(pick.index(open.len()));
            let Cause::Run { id: of, step } = new.cause else { panic!("{new:?}") };
            prop_assert_eq!((of, step), (run.id, run.step));
            prop_assert!(run.settle(job, step, JobState::Retrying, now).is_empty(), "not final");
            let state = if fails == Some(settled) { failure } else { JobState::Ok };
            let was_last = open.is_empty();
            let next = run.settle(job, step, state, now);
            prop_assert!(next.is_empty() || was_last);
            begin(next, &mut open);
            if state == failure && !was_last {
                prop_assert_eq!(&run.failed, &[job]);
                prop_assert!(run.settle(job, step, failure, now).is_empty(), "counted once");
                if mended {
                    // Tried anew from the dead-letter list while others of the step are under way.
                    prop_assert!(run.settle(job, step, JobState::Ok, now).is_empty());
                    prop_assert!(run.failed.is_empty());
                    continue;
                }
            }
            if state == failure {
                failed_step = Some(step);
            }
        }
        let last = failed_step.map_or(steps.len(), |step| step as usize + 1);
        let expected: Vec<ServiceKey> = steps.iter().take(last).flatten().map(|task| task.service.clone()).collect();
        prop_assert_eq!(begun.into_iter().map(|job| job.service).collect::<Vec<_>>(), expected);
        prop_assert_eq!(run.state, if failed_step.is_some() { JobState::Error } else { JobState::Ok });
        prop_assert_eq!(run.finished_at, Some(now));
        // Nothing that comes late moves it.
        let ended = run.clone();
        prop_assert!(run.settle(id(7), run.step, JobState::Ok, now).is_empty());
        prop_assert_eq!(&run, &ended);
        let json = serde_json::to_string(&run).unwrap();
        prop_assert_eq!(serde_json::from_str::<Run>(&json).unwrap(), run);
    }
}
