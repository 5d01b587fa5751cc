//! What applying blueprints does.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::collections::BTreeMap;

use ays_core::{
    JsonText, ServiceKey, Timestamp,
    blueprint::{self, Current, Plan},
    changes::Changes,
    filter::Subscription,
    hrd,
    job::JobState,
    manifest::Manifest,
    run::Run,
    schedule::Schedule,
    service::{ActionStatus, Service},
};
use serde_json::{Value, json};

fn manifest(name: &str, schema: &str, rest: Value) -> (String, Manifest) {
    let schema = hrd::parse_schema("schema.hrd", schema).unwrap();
    let mut manifest = json!({"interface": "ays:actor@0.1.0", "name": name, "schema": schema});
    manifest.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    (name.into(), serde_json::from_value(manifest).unwrap())
}

fn actors() -> BTreeMap<String, Manifest> {
    let recurring = json!({"period": "5s"});
    let of = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
    let producer =
        json!({"actions": [{"name": "install"}, {"name": "send_message", "recurring": recurring}]});
    let handlers = of(&["init", "on_producer_installed1", "on_producer_installed2", "on_new_msg_sent"]);
    let app = json!({
        "actions": of(&["input", "init", "install", "start", "stop", "processChange", "ping"]),
        "filters": [{"event": "ping", "action": "ping"}],
    });
    let app_schema = "
        size  = type:int minval:1
        ratio = type:float default:0.5 alias:share
        db    = consume:database:1:2 auto
        zone  = parent:zone optional";
    [
        manifest("actproducer", "msg = type:str default:'hello prince'", producer),
        manifest("actconsumer", "", json!({"actions": handlers})),
        manifest("app", app_schema, app),
        manifest(
            "database.redis",
            "port = type:ipport default:6379",
            json!({"actions": of(&["init", "install", "stop"])}),
        ),
        manifest("zone", "", json!({"actions": of(&["install"])})),
    ]
    .into()
}

fn plan(text: &str, current: &Current) -> Plan {
    try_plan(&[("b.yaml", text)], current).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn try_plan(files: &[(&str, &str)], current: &Current) -> Result<Plan, Vec<String>> {
    let texts =
        |problems: Vec<ays_core::problem::Problem>| problems.iter().map(ToString::to_string).collect();
    blueprint::plan_files(files.iter().copied(), &actors(), current).map_err(texts)
}

/// What a store makes of changes, as far as a plan sees it.
fn apply(changes: Changes, current: &mut Current) {
    let now = Timestamp::from_millis(1_000);
    for new in changes.create {
        let key = new.key.clone();
        let service = Service {
            key: new.key,
            data: new.data,
            schema: new.schema,
            applied: new.applied,
            links: new.links,
            actions: BTreeMap::new(),
            kv: Default::default(),
            created_at: now,
            updated_at: now,
        };
        current.services.insert(key, service);
    }
    for update in changes.update {
        let service = current.services.get_mut(&update.key).unwrap();
        (service.applied, service.links) = (update.applied, update.links);
        if let Some(patch) = update.job.and_then(|job| job.patch) {
            let mut data = service.data.value();
            data.as_object_mut().unwrap().extend(patch.values.value().as_object().unwrap().clone());
            service.data = JsonText::from(&data);
        }
    }
    for (service, filter) in changes.filters {
        let seq = current.filters.len() as u64;
        current.filters.retain(|s| !(s.service == service && s.filter.same(&filter)));
        current.filters.push(Subscription { service, seq, filter });
    }
    for new in changes.schedules {
        current.schedules.retain(|s| !(s.service == new.service && s.action == new.action));
        current.schedules.push(Schedule::new(new.service, new.action, new.recurring, new.waits_for, now));
    }
    for (nth, new) in changes.runs.into_iter().enumerate() {
        current.runs.push(Run::start(new, ays_core::Id::from_bytes([nth as u8; 16]), now).0);
    }
}

fn done(current: &mut Current, service: &str, action: &str) {
    let at = Timestamp::from_millis(2_000);
    let status = ActionStatus { state: JobState::Ok, job: ays_core::Id::first_at(at), at };
    current.services.get_mut(&key(service)).unwrap().actions.insert(action.into(), status);
}

fn key(key: &str) -> ServiceKey {
    key.parse().unwrap()
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

const SEED: &str = "
actproducer__p1:

actconsumer__c1:

eventfilters:
  - cmd: producer_installed
    actor: actconsumer
    service: c1
    action: on_producer_installed1
  - cmd: producer_installed
    actor: actconsumer
    service: c1
    action: on_producer_installed2
  - cmd: new_msg_sent
    actor: actconsumer
    service: c1
    action: on_new_msg_sent
";

#[test]
fn the_seeds_blueprint_creates_its_services_filters_and_schedule() {
    let plan = plan(SEED, &Current::default());
    assert_eq!(
        steps(&plan),
        [
            "create actproducer__p1",
            "schedule actproducer__p1.send_message every 5s, once install has ended well",
            "create actconsumer__c1",
            "filter producer_installed -> actconsumer__c1.on_producer_installed1",
            "filter producer_installed -> actconsumer__c1.on_producer_installed2",
            "filter new_msg_sent -> actconsumer__c1.on_new_msg_sent",
        ]
    );
    let [producer, consumer] = plan.changes.create.as_slice() else { panic!() };
    assert_eq!((producer.data.as_str(), producer.applied.as_str()), (r#"{"msg":"hello prince"}"#, "{}"));
    assert!(producer.jobs.is_empty(), "it has neither input nor init");
    let [init] = consumer.jobs.as_slice() else { panic!() };
    assert_eq!((init.action.as_str(), init.args.as_str()), ("init", "[]"));
    assert_eq!(serde_json::to_value(&init.cause).unwrap(), json!({"kind": "init", "blueprint": "b.yaml"}));
    assert_eq!(plan.changes.schedules[0].waits_for, ["install"]);
}

#[test]
fn applying_again_changes_nothing() {
    let text = format!(
        "{SEED}
actions:
  - action: install
  - {{action: send_message, recurring: 1m}}
app__a: {{size: 5, share: 1, zone: z1}}
zone__z1:
"
    );
    let mut current = Current::default();
    let first = plan(&text, &current);
    assert!(!first.changes.is_empty());
    apply(first.changes, &mut current);
    // While the run is under way, and when it has ended.
    assert!(plan(&text, &current).changes.is_empty(), "{:#?}", plan(&text, &current));
    current.runs.clear();
    let lifes: Vec<String> = current.services.keys().map(ToString::to_string).collect();
    for service in lifes {
        done(&mut current, &service, "init");
        done(&mut current, &service, "install");
    }
    let again = plan(&text, &current);
    assert!(again.changes.is_empty(), "{again:#?}");
    assert!(steps(&again).iter().all(|step| step.starts_with("unchanged: ")), "{:?}", steps(&again));
}

#[test]
fn a_value_counts_as_changed_against_the_blueprint_not_against_the_live_data() {
    let mut current = Current::default();
    apply(plan("actproducer__p1: {msg: a}", &current).changes, &mut current);
    // An action writes meanwhile.
    current.services.get_mut(&key("actproducer__p1")).unwrap().data =
        JsonText::parse(r#"{"msg":"live"}"#).unwrap();
    assert!(plan("actproducer__p1: {msg: a}", &current).changes.is_empty());
    assert!(plan("actproducer__p1:", &current).changes.is_empty(), "what is taken out stays");

    let changed = plan("actproducer__p1: {msg: b}", &current);
    assert_eq!(steps(&changed), [r#"change actproducer__p1.msg "live" -> "b""#]);
    let job = changed.changes.update[0].job.clone().unwrap();
    assert_eq!(job.action, "processChange");
    assert_eq!(job.args.value(), json!({"changes": {"msg": {"old": "live", "new": "b"}}}));
    assert_eq!(job.patch.unwrap().values.as_str(), r#"{"msg":"b"}"#);
    apply(changed.changes, &mut current);
    assert!(plan("actproducer__p1: {msg: b}", &current).changes.is_empty());
}

#[test]
fn saying_what_is_so_already_makes_no_job_but_is_remembered() {
    let mut current = Current::default();
    apply(plan("actproducer__p1:", &current).changes, &mut current);
    let said = plan("actproducer__p1: {msg: hello prince}", &current);
    assert_eq!(steps(&said), ["unchanged: actproducer__p1"]);
    assert!(said.changes.update[0].job.is_none());
    apply(said.changes, &mut current);
    current.services.get_mut(&key("actproducer__p1")).unwrap().data =
        JsonText::parse(r#"{"msg":"live"}"#).unwrap();
    assert!(plan("actproducer__p1: {msg: hello prince}", &current).changes.is_empty());
}

#[test]
fn a_pattern_matches_whole_names_only() {
    let services = "actproducer__p1:\nactproducer__p10:\nactproducer__xp1:\n";
    for (pattern, expected) in [
        ("service: p1", vec!["p1"]),
        ("service: p.*", vec!["p1", "p10"]),
        ("service: actproducer__p1", vec!["p1"]),
        ("service: p1|p10", vec!["p1", "p10"]),
        ("actor: actproducer", vec!["p1", "p10", "xp1"]),
        ("service: ''", vec!["p1", "p10", "xp1"]),
    ] {
        let text = format!("{services}eventfilters: [{{cmd: x, action: install, {pattern}}}]");
        let plan = plan(&text, &Current::default());
        let found: Vec<_> = plan.changes.filters.iter().map(|(key, _)| key.instance()).collect();
        assert_eq!(found, expected, "{pattern}");
    }
    let actor = "actproducer__p1:\neventfilters: [{cmd: x, action: install, actor: producer}]";
    assert!(try_plan(&[("b.yaml", actor)], &Current::default()).is_err());
}

#[test]
fn a_run_begins_with_the_init_of_what_is_created_and_does_nothing_twice() {
    let text = "
app__a: {size: 1}
actconsumer__c1:
actions:
  - action: install, start
  - action: start
    service: a
  - action: ping";
    let plan = plan(text, &Current::default());
    let jobs = |action: &str, services: &[&str]| {
        services.iter().map(|s| format!("{action} on {s}")).collect::<Vec<_>>()
    };
    let run = &plan.changes.runs[0];
    assert_eq!((plan.changes.runs.len(), run.action.as_str()), (1, "install, start, start, ping"));
    let shown: Vec<Vec<String>> = run
        .steps
        .iter()
        .map(|step| step.iter().map(|task| format!("{} on {}", task.action, task.service)).collect())
        .collect();
    assert_eq!(
        shown,
        [
            jobs("init", &["app__a", "actconsumer__c1", "database.redis__auto"]),
            jobs("install", &["database.redis__auto"]),
            jobs("install", &["app__a"]),
            jobs("start", &["app__a"]),
            jobs("ping", &["app__a"]),
        ]
    );
    let of_creation: Vec<_> =
        plan.changes.create.iter().flat_map(|new| &new.jobs).map(|job| job.action.as_str()).collect();
    assert_eq!(of_creation, ["input"], "init is part of the run, and not done twice");
}

#[test]
fn force_runs_again_what_is_done() {
    let mut current = Current::default();
    apply(plan("actproducer__p1:", &current).changes, &mut current);
    done(&mut current, "actproducer__p1", "install");
    assert!(plan("actions: [{action: install}]", &current).changes.is_empty());
    assert_eq!(plan("actions: [{action: install, force: true}]", &current).changes.runs.len(), 1);
}

#[test]
fn recurring_keeps_what_the_manifest_says_beside_the_period_and_waits_for_install() {
    let mut current = Current::default();
    let text = "actproducer__p1:\nactions: [{action: send_message, recurring: 1m}]";
    let first = plan(text, &current);
    assert_eq!(
        steps(&first),
        [
            "create actproducer__p1",
            "schedule actproducer__p1.send_message every 1m, once install has ended well"
        ]
    );
    assert_eq!(first.changes.schedules.len(), 1, "not the manifest's and then the blueprint's");
    apply(first.changes, &mut current);
    assert!(plan(text, &current).changes.is_empty());
    done(&mut current, "actproducer__p1", "install");
    let moved = plan("actions: [{action: send_message, recurring: 90}]", &current);
    assert!(moved.changes.schedules[0].waits_for.is_empty());
    assert!(moved.changes.runs.is_empty());
}

#[test]
fn links_are_named_picked_or_created_but_never_guessed() {
    // Created, since there is none; then picked, since there is one.
    let mut current = Current::default();
    let created = plan("app__a: {size: 1}", &current);
    assert_eq!(
        steps(&created),
        [
            "create app__a",
            "link app__a.db -> database.redis__auto",
            "filter ping -> app__a.ping",
            "create database.redis__auto"
        ]
    );
    apply(created.changes, &mut current);
    apply(plan("app__b: {size: 1}", &current).changes, &mut current);
    let producers =
        |current: &Current, app: &str| current.services[&key(app)].links.producers["database"].clone();
    assert_eq!(producers(&current, "app__b"), [key("database.redis__auto")]);

    // With two there is a choice, which is the author's.
    apply(plan("database.redis__main:", &current).changes, &mut current);
    let problems = try_plan(&[("b.yaml", "app__c: {size: 1}")], &current).unwrap_err();
    assert!(
        problems[0].contains("app__c.db: is missing, and there are more services of role `database`"),
        "{problems:?}"
    );
    assert!(plan("app__b: {size: 1}", &current).changes.is_empty(), "what is linked stays linked");

    // An instance or a whole key; a change of links alone makes no job.
    let linked = plan("app__b: {db: [main, database.redis__auto]}", &current);
    assert_eq!(steps(&linked), ["link app__b.db -> database.redis__main, database.redis__auto"]);
    assert!(linked.changes.update[0].job.is_none());
    apply(linked.changes, &mut current);
    assert_eq!(producers(&current, "app__b"), [key("database.redis__main"), key("database.redis__auto")]);
    assert!(plan("app__b: {db: [main, auto]}", &current).changes.is_empty());
}

#[test]
fn what_must_be_given_is_asked_for() {
    let problems = try_plan(&[("b.yaml", "app__a:\n  ratio: 2\n")], &Current::default()).unwrap_err();
    assert_eq!(problems, ["b.yaml:1: app__a.size: is missing, and has no default; 1 or more would be right"]);
}

#[test]
fn files_may_add_to_a_service_but_not_contradict_each_other() {
    let files = [("1.yaml", "app__a: {size: 1}"), ("2.yaml", "app__a: {size: 1, ratio: 2}\nzone__z:")];
    let plan = try_plan(&files, &Current::default()).unwrap();
    assert_eq!(plan.changes.create[0].data.value(), json!({"size": 1, "ratio": 2.0}));
    let files = [("1.yaml", "app__a: {size: 1}"), ("2.yaml", "app__a:\n  size: 2")];
    assert_eq!(
        try_plan(&files, &Current::default()).unwrap_err(),
        [
            "2.yaml:2: app__a.size: is 2, but 1.yaml gives it another value; the same value in both files, or the field in \
          one of them, would be right"
        ]
    );
}

#[test]
fn a_cycle_through_services_that_were_there_before_is_shown() {
    let mut actors = actors();
    actors.extend([manifest("zone", "over = parent:zone optional", json!({"actions": []}))]);
    let mut current = Current::default();
    let plan = |text: &str, current: &Current| {
        blueprint::plan(&[blueprint::read("b.yaml", text).unwrap()], &actors, current)
    };
    apply(plan("zone__a:\nzone__b: {over: a}\nzone__c: {over: b}", &current).unwrap().changes, &mut current);
    let problems = plan("zone__a:\n  over: c", &current).unwrap_err();
    assert!(
        problems[0]
            .to_string()
            .starts_with("b.yaml:2: zone__a.over: makes a cycle: zone__a -> zone__c -> zone__b -> zone__a"),
        "{}",
        problems[0]
    );
}

#[test]
fn merge_keys_and_anchors_are_read_as_yaml_1_1_did() {
    let text = "
app__a: &base {size: 3, ratio: 1}
app__b:
  <<: *base
  size: 4
app__c: *base";
    let plan = plan(text, &Current::default());
    let data = |nth: usize| plan.changes.create[nth].data.value();
    assert_eq!((data(1), data(2)), (json!({"size": 4, "ratio": 1.0}), json!({"size": 3, "ratio": 1.0})));
}

#[test]
fn both_spellings_of_a_filter_are_read() {
    let text = "
actconsumer__c1:
eventfilters:
  - command: ping
    actions: [on_producer_installed1, on_producer_installed2]
    channel: webservice
    secret: s3
    tags: a, b";
    let plan = plan(text, &Current::default());
    let filters: Vec<Value> =
        plan.changes.filters.iter().map(|(_, f)| serde_json::to_value(f).unwrap()).collect();
    let filter = |action: &str| json!({"event": "ping", "action": action, "channel": "webservice", "tags": ["a", "b"], "secret": "s3"});
    assert_eq!(filters, [filter("on_producer_installed1"), filter("on_producer_installed2")]);
    assert!(!format!("{:?}", steps(&plan)).contains("s3"), "a secret is not shown");
}

#[test]
fn a_file_without_content_is_a_blueprint_that_says_nothing() {
    for text in ["", "\n", "# nothing yet\n", "---\n", "--- # nothing\n...\n", "\u{feff}", "~\n"] {
        assert!(plan(text, &Current::default()).steps.is_empty(), "{text:?}");
    }
}

#[test]
fn disabled_files_are_told_by_their_names() {
    assert!(blueprint::is_disabled("_off.yaml") && blueprint::is_disabled("dir/_off.yaml"));
    assert!(!blueprint::is_disabled("_dir/on.yaml") && !blueprint::is_disabled("on_.yaml"));
}
