//! New versions of actors while the host runs, and versions that keep trapping.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use ays_core::Timestamp;
use ays_tests::{Host, actors, actors::phase, host::Start, redis::RedisServer};
use serde_json::{Value, json};

/// A folder of actors of the test's own, with `NAME.wasm` from another.
fn folder(start: &Start, from: &Path, name: &str) -> PathBuf {
    let folder = start.path("actors");
    fs::create_dir_all(&folder).expect("cannot make a folder");
    fs::copy(from.join(format!("{name}.wasm")), folder.join(format!("{name}.wasm"))).expect("cannot copy");
    folder
}

/// A component that does the same and has another digest: with a custom section that nobody reads.
fn another(wasm: &[u8], n: u8) -> Vec<u8> {
    // https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md: id 0, size, a name, content.
    [wasm, &[0, 4, 2, b'v', b'n', n]].concat()
}

/// Replaces a file whole, as a person who deploys should.
fn replace(file: &Path, content: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, content).expect("cannot write");
    fs::rename(&new, file).expect("cannot rename");
}

fn actor(host: &Host, name: &str) -> Value {
    let (status, actor) = host.get(&format!("/api/v1/actors/{name}"));
    assert_eq!(status, 200, "{actor}");
    actor
}

/// Waits until another version than this is in service, and returns its digest.
fn upgraded(host: &Host, name: &str, before: &Value) -> Value {
    host.until("a new version is in service", |host| {
        let digest = actor(host, name)["digest"].clone();
        (digest != *before).then_some(digest)
    })
}

/// Waits until a version was refused, and returns why.
fn refused(host: &Host, name: &str, told: &str) -> Value {
    host.until(&format!("refused: {told}"), |host| {
        let refused = actor(host, name)["refused"].clone();
        refused["why"].as_str().is_some_and(|why| why.contains(told)).then_some(refused)
    })
}

fn run(host: &Host, action: &str, service: &str) {
    let ask = json!({"action": action, "service": service, "force": true});
    let (status, run) = host.post("/api/v1/run", &ask);
    assert_eq!(status, 202, "{run}");
}

fn millis(time: &Value) -> i64 {
    time.as_str().and_then(|time| time.parse::<Timestamp>().ok()).expect("it is a time").millis()
}

/// Says that something has ended, also where it panics.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn upgrades_under_load_fail_no_job_lose_none_and_none_waits_for_them() {
    let number = |name: &str, default: u64| -> u64 {
        std::env::var(name).ok().map_or(default, |value| value.parse().expect("it is a number"))
    };
    // 1000 events a second; ten upgrades within the time.
    let (seconds, upgrades, services) = (number("AYS_TEST_SECONDS", 15), 10, 8);
    let redis = RedisServer::start();
    let start = Start::new(actors());
    let folder = folder(&start, actors(), "tally");
    let mut blueprint: String = (0..services).map(|n| format!("tally__s{n}:\n")).collect();
    blueprint += "eventfilters:\n";
    for n in 0..services {
        blueprint += &format!("  - {{cmd: mark{n}, actor: tally, service: s{n}, action: mark}}\n");
    }
    let start = Start::new(&folder)
        .blueprint(&blueprint)
        .arg("--command-queue")
        .arg(redis.unix_url())
        .arg("--log-level")
        .arg("info,guest=warn");
    let host = start.start();
    let file = folder.join("tally.wasm");
    let wasm = fs::read(&file).expect("it is there");
    let mut digest = actor(&host, "tally")["digest"].clone();

    let done = AtomicBool::new(false);
    let (sent, took, versions) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let (began, mut sent) = (Instant::now(), 0_u64);
            // A batch of 50 each 50 ms, for as long as is asked and until the last upgrade is done.
            while began.elapsed() < Duration::from_secs(seconds) || !done.load(Ordering::Relaxed) {
                let entries: String = (sent..sent + 50)
                    .map(|n| {
                        let (service, n) = (n % services, n / services);
                        format!(
                            " '{{\"command\":\"event\",\"event\":\"mark{service}\",\"args\":[\"q\",{n}]}}'"
                        )
                    })
                    .collect();
                redis.pipe(&format!("RPUSH db:queue:command{entries}\n"));
                sent += 50;
                let due = began + Duration::from_millis(sent);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            (sent, began.elapsed())
        });
        let ended = SetAtEnd(&done);
        let mut versions = vec![digest.clone()];
        for n in 0..upgrades {
            thread::sleep(Duration::from_millis(seconds * 1000 / (upgrades + 2) / 2));
            let new = another(&wasm, n as u8);
            // By the folder and by the API in turn.
            if n % 2 == 0 {
                replace(&file, &new);
            } else {
                let path = start.path("new.wasm");
                fs::write(&path, &new).expect("cannot write");
                host.cli_ok(&["actors", "upload", &path.display().to_string()]);
            }
            digest = upgraded(&host, "tally", &digest);
            // However slow the machine is: the next comes, and the events end, when this one has done a job.
            host.until("the new version does jobs", |host| {
                let newest = host.get("/api/v1/jobs?actor=tally&action=mark&state=ok&limit=1").1;
                (newest["items"][0]["digest"] == digest).then_some(())
            });
            versions.push(digest.clone());
        }
        drop(ended);
        let (sent, took) = sender.join().expect("the sender ends");
        (sent, took, versions)
    });

    host.until("all are done", |host| {
        let done = (0..services).map(|n| {
            let (_, service) = host.get(&format!("/api/v1/services/tally__s{n}"));
            service["data"]["count"].as_u64().unwrap_or_default()
        });
        (done.sum::<u64>() >= sent).then_some(())
    });
    let jobs = host.list("/api/v1/jobs?actor=tally&action=mark");
    let bad = jobs.iter().find(|job| job["state"] != "ok" || job["attempt"] != 1);
    assert!(bad.is_none(), "a job failed: {bad:?}");
    assert_eq!(jobs.len() as u64, sent, "each event has led to one job");
    assert!(host.list("/api/v1/dead").is_empty());
    let mut by_service = BTreeMap::<&str, Vec<u64>>::new();
    // The list begins with the youngest.
    for job in jobs.iter().rev() {
        let service = job["service"].as_str().expect("it has one");
        by_service.entry(service).or_default().push(job["args"][1].as_u64().expect("it is a number"));
    }
    for (service, numbers) in &by_service {
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{service}: each once, in order");
    }
    let mut by_version = BTreeMap::<&str, usize>::new();
    for job in &jobs {
        *by_version.entry(job["digest"].as_str().expect("it has one")).or_default() += 1;
    }
    let of = |version: &Value| by_version.get(version.as_str().expect("it is text")).copied().unwrap_or(0);
    assert!(versions.iter().all(|version| of(version) > 0), "{by_version:?}");
    let mut waited: Vec<i64> =
        jobs.iter().map(|job| millis(&job["started_at"]) - millis(&job["created_at"])).collect();
    waited.sort_unstable();
    let at = |share: usize| waited[(waited.len() - 1) * share / 1000];
    println!(
        "{sent} events in {:.1} s ({:.0}/s) and {upgrades} upgrades: 0 failed, 0 lost; from an event's acceptance to its \
         job's start: median {} ms, 99 % {} ms, 99.9 % {} ms, longest {} ms",
        took.as_secs_f64(),
        sent as f64 / took.as_secs_f64(),
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}

#[test]
fn a_version_that_is_refused_changes_nothing_and_says_why() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    let host = Start::new(&folder).blueprint("phase__p:\n  name: Grace Hopper\n").start();
    let file = folder.join("phase.wasm");
    let wasm = fs::read(&file).expect("it is there");
    let before = actor(&host, "phase")["digest"].clone();

    // A file that is written slowly is not whole at first.
    fs::write(&file, &wasm[..wasm.len() / 2]).expect("cannot write");
    refused(&host, "phase", "not a valid component");
    host.wait_for("tells of it", |line| line.contains("not put into service") && line.contains("stays"));
    let whole = another(&wasm, 1);
    fs::write(&file, &whole).expect("cannot write");
    let digest = upgraded(&host, "phase", &before);
    assert_eq!(actor(&host, "phase")["refused"], Value::Null, "what is past is not told of any more");

    // One that asks for more than it is granted waits for the grant.
    fs::copy(phase("greedy").join("phase.wasm"), &file).expect("cannot copy");
    refused(&host, "phase", "secret *");
    run(&host, "count", "phase__p");
    let count = |host: &Host| host.get("/api/v1/services/phase__p").1["data"]["count"].clone();
    host.until("the version before does its jobs", |host| (count(host) == 1).then_some(()));
    assert_eq!(actor(&host, "phase")["digest"], digest);
    let blueprint = start.path("grants.yaml");
    fs::write(&blueprint, "grants:\n  phase: [\"secret *\"]\n").expect("cannot write");
    host.cli_ok(&["apply", &blueprint.display().to_string()]);
    let granted = upgraded(&host, "phase", &digest);

    // By the API: what is refused is not put into the folder.
    let upload = host.cli(&["actors", "upload", &blueprint.display().to_string()]);
    assert!(!upload.status.success());
    assert!(String::from_utf8_lossy(&upload.stderr).contains("not WebAssembly"), "{upload:?}");
    assert_eq!(fs::read_dir(&folder).expect("it can be read").count(), 1);
    assert_eq!(actor(&host, "phase")["digest"], granted);
}

#[test]
fn a_new_actor_appears_while_its_jobs_wait_and_is_there_after_a_restart() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    // Opened like a file, it would keep whoever reads it waiting for ever.
    let pipe = folder.join("a_pipe.wasm");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("cannot make a pipe");
    let with_both = Start::new(&folder).blueprint("phase__p:\n  name: Grace Hopper\n");
    let host = with_both.start();
    // Without the file the next host has services without their actor.
    let file = folder.join("phase.wasm");
    let wasm = fs::read(&file).expect("it is there");
    fs::remove_file(&file).expect("cannot remove");
    host.wait_for("tells of it", |line| line.contains("the actor phase stays until the host stops"));
    run(&host, "count", "phase__p");
    let count = |host: &Host| host.get("/api/v1/services/phase__p").1["data"]["count"].as_u64();
    host.until("the actor stays", |host| (count(host) == Some(1)).then_some(()));
    run(&host, "count", "phase__p");
    host.kill9();
    let store = with_both.path("state");
    let bare = Start::new(&folder).store(format!("file:{}", store.display()));
    let host = bare.start();
    assert_eq!(host.get("/api/v1/actors/phase").0, 404);
    let (status, event) = host.post("/api/v1/actors", &json!("no component"));
    assert_eq!(status, 422, "{event}");
    let path = start.path("upload.wasm");
    fs::write(&path, &wasm).expect("cannot write");
    host.cli_ok(&["actors", "upload", &path.display().to_string()]);
    host.until("what waited is done", |host| (count(host) == Some(2)).then_some(()));
    assert_eq!(fs::read(&file).expect("it was put there"), wasm);
    host.kill9();
    assert_eq!(actor(&bare.start(), "phase")["name"], "phase");
}

#[test]
fn a_version_that_keeps_trapping_is_quarantined_until_it_is_released_or_replaced() {
    let start = Start::new(actors());
    let folder = folder(&start, phase("trapping"), "phase");
    let services: String = (0..4).map(|n| format!("phase__p{n}:\n  name: Grace Hopper\n")).collect();
    let host = Start::new(&folder).blueprint(&services).arg("--quarantine-after").arg("4").start();
    let quarantined = |host: &Host| actor(host, "phase")["quarantined"].clone();
    run(&host, "count", ".*");
    let why = host.until("it is quarantined", |host| Some(quarantined(host)).filter(|held| !held.is_null()));
    assert_eq!(why["jobs"], 4, "{why}");
    assert!(why["why"].as_str().is_some_and(|why| why.contains("trap")), "{why}");
    host.wait_for("tells of it", |line| line.contains("ERROR") && line.contains("phase is quarantined"));
    assert_eq!(host.get("/readyz").1["quarantined"], json!(["phase"]));

    // Its jobs wait, and no attempt is counted.
    run(&host, "count", "phase__p0");
    let jobs = |host: &Host| host.list("/api/v1/jobs?actor=phase&action=count");
    host.until("the job waits", |host| {
        jobs(host).into_iter().find(|job| {
            job["error"]["message"].as_str().is_some_and(|message| message.contains("is quarantined"))
        })
    });
    let attempts = |host: &Host| jobs(host).iter().filter_map(|job| job["attempt"].as_u64()).sum::<u64>();
    let before = attempts(&host);
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(attempts(&host), before);

    // Released, it gets as many chances as before.
    host.cli_ok(&["actors", "release", "phase"]);
    host.wait_for_nth(2, "quarantines it again", |line| line.contains("phase is quarantined"));
    assert_eq!(host.get("/readyz").1["quarantines"], 2);

    // The same version again, by the folder and by the API, is no new one.
    let file = folder.join("phase.wasm");
    replace(&file, &fs::read(&file).expect("it is there"));
    host.wait_for("looks at it", |line| line.contains("actor phase is as it was"));
    host.cli_ok(&["actors", "upload", &file.display().to_string()]);
    host.wait_for_nth(2, "looks at it again", |line| line.contains("actor phase is as it was"));
    assert_ne!(quarantined(&host), Value::Null);

    // A version that works does what waited.
    fs::copy(phase("").join("phase.wasm"), &file).expect("cannot copy");
    host.until("all jobs are done", |host| {
        let jobs = jobs(host);
        (jobs.len() == 5 && jobs.iter().all(|job| job["state"] == "ok")).then_some(())
    });
    assert_eq!(quarantined(&host), Value::Null);
}

#[test]
fn a_poison_job_goes_to_the_dead_letters_and_its_service_goes_on() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    let host = Start::new(&folder)
        .blueprint("phase__p:\n  name: Grace Hopper\n")
        .arg("--quarantine-after")
        .arg("2")
        .start();
    run(&host, "poison", "phase__p");
    let dead = host.until("it is dead", |host| host.list("/api/v1/dead").pop());
    assert_eq!((&dead["job"]["action"], &dead["job"]["attempt"]), (&json!("poison"), &json!(3)), "{dead}");
    assert_eq!(actor(&host, "phase")["quarantined"], Value::Null, "three attempts of one job are one job");
    run(&host, "count", "phase__p");
    host.until("the service goes on", |host| {
        (host.get("/api/v1/services/phase__p").1["data"]["count"] == 1).then_some(())
    });
}

#[test]
fn data_are_migrated_with_the_first_job_or_the_version_is_refused_before() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    let start = Start::new(&folder).blueprint(
        "phase__a:\n  name: Ada Lovelace\nphase__g:\n  name: Grace Hopper\nphase__s:\n  name: Socrates\n",
    );
    let host = start.start();
    let file = folder.join("phase.wasm");
    let first = actor(&host, "phase")["digest"].clone();
    let data = |host: &Host, key: &str| host.get(&format!("/api/v1/services/{key}")).1["data"].clone();
    let counted = |host: &Host, key: &str, n: u64| {
        run(host, "count", key);
        host.until("it counts", |host| (data(host, key)["count"] == n).then_some(()));
    };
    counted(&host, "phase__g", 1);

    // The dry run looks at all services, and says which one it is.
    fs::copy(phase("stuck").join("phase.wasm"), &file).expect("cannot copy");
    let why = refused(&host, "phase", "Ada cannot be migrated")["why"].to_string();
    assert!(why.contains("phase__a: ") && !why.contains("phase__g"), "{why}");
    assert!(why.len() < 20_000, "of what it says of itself only a part is kept");
    counted(&host, "phase__g", 2);
    assert_eq!(actor(&host, "phase")["digest"], first);

    // With the name that no version splits put right, the version is put into service.
    fs::write(start.path("right.yaml"), "phase__s:\n  name: So Crates\n").expect("cannot write");
    host.cli_ok(&["apply", &start.path("right.yaml").display().to_string()]);
    fs::copy(phase("second").join("phase.wasm"), &file).expect("cannot copy");
    upgraded(&host, "phase", &first);
    assert_eq!(
        data(&host, "phase__g")["name"],
        "Grace Hopper",
        "until its first job the data are as they were"
    );
    counted(&host, "phase__g", 3);
    let migrated = json!({"first": "Grace", "last": "Hopper", "friend": "nobody", "count": 3});
    assert_eq!(data(&host, "phase__g"), migrated);
    assert_eq!(host.get("/api/v1/services/phase__g").1["schema"]["version"], 2);
    counted(&host, "phase__g", 4);
    assert_eq!(data(&host, "phase__g")["first"], "Grace", "once");
    counted(&host, "phase__a", 1);
    // A blueprint's change comes on top of what was migrated.
    fs::write(start.path("new.yaml"), "phase__s:\n  last: Prates\n").expect("cannot write");
    host.cli_ok(&["apply", &start.path("new.yaml").display().to_string()]);
    host.until("it is changed", |host| (data(host, "phase__s")["last"] == "Prates").then_some(()));
    let changed = json!({"first": "So", "last": "Prates", "friend": "nobody", "count": 0});
    assert_eq!(data(&host, "phase__s"), changed);

    // Back to the version before: its schema is older than the data.
    fs::copy(phase("").join("phase.wasm"), &file).expect("cannot copy");
    refused(&host, "phase", "phase__a: the service's data are of version 2");
    counted(&host, "phase__g", 5);
}

/// What a blueprint changes waits in a mailbox like anything else, and the schema can be another one when its turn comes.
#[test]
fn a_blueprint_that_waited_for_an_upgrade_changes_the_data_by_its_own_schema_or_not_at_all() {
    let start = Start::new(actors());
    let folder = folder(&start, phase("trapping"), "phase");
    let blueprint = |name: &str| -> String {
        ["held", "patched", "late"].map(|service| format!("phase__{service}:\n  name: {name}\n")).concat()
    };
    let host =
        Start::new(&folder).blueprint(&blueprint("Ada Lovelace")).arg("--quarantine-after").arg("2").start();
    let apply = |name: &str| {
        let sources = json!([{"name": "b.yaml", "text": blueprint(name)}]);
        let (status, answer) = host.post("/api/v1/blueprints", &json!({"blueprints": sources}));
        assert_eq!(status, 200, "{answer}");
    };
    let data = |service: &str| host.get(&format!("/api/v1/services/phase__{service}")).1["data"].clone();
    for service in ["held", "late"] {
        run(&host, "count", &format!("phase__{service}"));
    }
    host.wait_for("quarantines it", |line| line.contains("phase is quarantined"));
    // Of one service, an event's handler comes between the upgrade and the change.
    run(&host, "count", "phase__late");
    host.until("the jobs wait", |host| {
        let waiting = host.list("/api/v1/jobs?service=phase__late&state=retrying");
        waiting.iter().any(|job| job["strict"] == true).then_some(())
    });
    apply("Grace Hopper");
    host.until("the changes wait", |host| {
        let jobs = host.list("/api/v1/jobs?action=processChange");
        (jobs.len() == 3).then_some(())
    });

    fs::copy(phase("second").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    host.until("all that waited is over", |host| {
        let jobs = host.list("/api/v1/jobs?actor=phase");
        jobs.iter().all(|job| job["state"] == "ok" || job["state"] == "error").then_some(())
    });
    let patched = data("patched");
    assert_eq!((&patched["first"], &patched["last"]), (&json!("Grace"), &json!("Hopper")), "{patched}");
    let late = data("late");
    assert_eq!((&late["first"], &late["name"]), (&json!("Ada"), &Value::Null), "{late}");
    let dead = host.list("/api/v1/dead");
    let told = |letter: &&Value| {
        letter["job"]["service"] == "phase__late"
            && letter["reason"].as_str().is_some_and(|reason| reason.contains("apply the blueprint again"))
    };
    assert!(dead.iter().any(|letter| told(&letter)), "{dead:?}");
    // Nothing has come into the data that the schema does not have.
    for service in ["held", "patched", "late"] {
        let (status, run) =
            host.post("/api/v1/run", &json!({"action": "count", "service": service, "force": true}));
        assert_eq!(status, 202, "{run}");
        host.until(&format!("{service} goes on"), |host| {
            let jobs = host.list(&format!("/api/v1/jobs?service=phase__{service}&action=count"));
            jobs.iter().any(|job| job["cause"]["id"] == run["id"] && job["state"] == "ok").then_some(())
        });
    }
}

#[test]
fn a_version_without_an_action_that_is_called_is_refused_until_nothing_calls_it() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    let host = Start::new(&folder)
        .blueprint(
            "phase__p:\n  name: Grace Hopper\nphase__q:\n  name: Grace Hopper\neventfilters:\n  - {cmd: asked, actor: phase, \
             service: p, action: count}\nactions:\n  - {action: count, actor: phase, service: q, recurring: 1h}\n",
        )
        .start();
    let file = folder.join("phase.wasm");
    let first = actor(&host, "phase")["digest"].clone();
    fs::copy(phase("bare").join("phase.wasm"), &file).expect("cannot copy");
    let why =
        refused(&host, "phase", "action `count`, which this version does not have; it has poison")["why"]
            .to_string();
    for told in
        ["phase__p: its event filter on `asked`", "phase__q: its schedule (1h)", "remove the filter first"]
    {
        assert!(why.contains(told), "{told}: {why}");
    }
    // By the API, too; and what comes meanwhile is done.
    let upload = host.cli(&["actors", "upload", &phase("bare").join("phase.wasm").display().to_string()]);
    assert!(!upload.status.success());
    assert!(String::from_utf8_lossy(&upload.stderr).contains("`count`"), "{upload:?}");
    assert_eq!(host.post("/api/v1/events", &json!({"event": "asked"})).0, 202);
    host.until("it is done", |host| {
        (host.get("/api/v1/services/phase__p").1["data"]["count"] == 1).then_some(())
    });
    assert_eq!(actor(&host, "phase")["digest"], first);

    // A job that waits for the action, and nothing else.
    let start = Start::new(actors());
    let folder = self::folder(&start, phase("trapping"), "phase");
    let host = Start::new(&folder).blueprint("phase__p:\n  name: Grace Hopper\n").start();
    let first = actor(&host, "phase")["digest"].clone();
    run(&host, "count", "phase__p");
    let job = host.until("it waits", |host| host.list("/api/v1/jobs?action=count&state=retrying").pop());
    let id = job["id"].as_str().expect("it has an id");
    fs::copy(phase("bare").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    refused(&host, "phase", &format!("phase__p: its job {id} waits for the action `count`"));
    assert_eq!(actor(&host, "phase")["digest"], first);
    host.cli_ok(&["jobs", "cancel", id]);
    upgraded(&host, "phase", &first);
}

#[test]
fn event_filters_and_recurring_actions_that_are_new_reach_the_services_that_there_are() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    let host = Start::new(&folder)
        .blueprint("phase__p:\n  name: Grace Hopper\nphase__q:\n  name: Ada Lovelace\n")
        .start();
    let first = actor(&host, "phase")["digest"].clone();
    assert!(host.list("/api/v1/filters").is_empty() && host.list("/api/v1/schedules").is_empty());
    fs::copy(phase("listening").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    let second = upgraded(&host, "phase", &first);
    let of = |host: &Host, path: &str| {
        let items = host.list(path);
        let mut services: Vec<_> =
            items.iter().filter_map(|item| item["service"].as_str()).map(str::to_owned).collect();
        services.sort();
        services
    };
    let both = ["phase__p", "phase__q"];
    host.until("they are set", |host| {
        (of(host, "/api/v1/filters") == both && of(host, "/api/v1/schedules") == both).then_some(())
    });
    assert_eq!(host.post("/api/v1/events", &json!({"event": "phase_asked"})).1["matched"], 2);
    host.until("they do what they are for", |host| {
        let by = |cause: &str| host.list(&format!("/api/v1/jobs?action=asked&state=ok&cause={cause}")).len();
        (by("event") == 2 && by("schedule") >= 2).then_some(())
    });

    // Again, they are as they were.
    let wasm = fs::read(folder.join("phase.wasm")).expect("it is there");
    replace(&folder.join("phase.wasm"), &another(&wasm, 1));
    upgraded(&host, "phase", &second);
    assert_eq!((of(&host, "/api/v1/filters").len(), of(&host, "/api/v1/schedules").len()), (2, 2));
    // And one that does not have what is called is refused.
    fs::copy(phase("").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    refused(&host, "phase", "its event filter on `phase_asked` calls the action `asked`");
}

#[test]
fn an_upload_never_takes_the_place_of_another_actors_file() {
    let start = Start::new(actors());
    let folder = folder(&start, actors(), "tally");
    // The actor `tally` is in the file that one of the name `phase` would get.
    let (file, wasm) = (folder.join("phase.wasm"), fs::read(folder.join("tally.wasm")).expect("it is there"));
    fs::rename(folder.join("tally.wasm"), &file).expect("cannot rename");
    let host = Start::new(&folder).start();
    let upload = |component: &Path| host.cli(&["actors", "upload", &component.display().to_string()]);
    let conflicts = |component: &Path, told: &str| {
        let upload = upload(component);
        let said = String::from_utf8_lossy(&upload.stderr).into_owned();
        assert!(!upload.status.success() && said.contains(told) && said.contains("phase.wasm"), "{said}");
    };
    let phase = phase("").join("phase.wasm");
    conflicts(&phase, "the file of the actor `tally`");
    assert_eq!(fs::read(&file).expect("it is there"), wasm);
    assert_eq!(fs::read_dir(&folder).expect("it can be read").count(), 1);

    // A file that this host would not load is somebody's, too.
    fs::rename(&file, folder.join("tally.wasm")).expect("cannot rename");
    host.wait_for("moves", |line| line.contains("actor tally is as it was"));
    fs::write(&file, "no component").expect("cannot write");
    host.wait_for("tells of it", |line| line.contains("phase.wasm is not put into service"));
    conflicts(&phase, "is no actor");

    // One of another actor in its place: the file before has gone, and its actor is loaded from wherever it comes next.
    fs::copy(&phase, folder.join("tally.wasm")).expect("cannot copy");
    host.wait_for("tells of it", |line| line.contains("that of the actor tally has gone"));
    let first = actor(&host, "tally")["digest"].clone();
    fs::write(folder.join("again.wasm"), another(&wasm, 1)).expect("cannot write");
    upgraded(&host, "tally", &first);
    host.until("both are in service", |host| (host.list("/api/v1/actors").len() == 2).then_some(()));
}

#[test]
fn what_an_upload_left_that_a_host_did_not_live_to_place_is_removed_at_a_start() {
    let start = Start::new(actors());
    let folder = folder(&start, actors(), "tally");
    let names = [".upload-old", ".upload-new", ".uploaded", "notes.txt"];
    let hours_ago = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    for name in names {
        let file = fs::File::create(folder.join(name)).expect("cannot write");
        file.set_modified(hours_ago).expect("cannot set its time");
    }
    // That may be a host's that shares the folder.
    fs::write(folder.join(".upload-new"), "new").expect("cannot write");
    let host = Start::new(&folder).start();
    let left = names.map(|name| folder.join(name).exists());
    assert_eq!(left, [false, true, true, true], "{:?}", host.lines());
}

#[test]
fn a_migration_that_is_slow_keeps_no_other_actor_waiting_and_is_held_to_limits() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    fs::copy(actors().join("tally.wasm"), folder.join("tally.wasm")).expect("cannot copy");
    let host = Start::new(&folder).blueprint("phase__a:\n  name: Ada Lovelace\n").start();
    let first = actor(&host, "phase")["digest"].clone();
    fs::copy(phase("slow").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    refused(&host, "phase", "phase__a: its `migrate` took more than 2000 ms of CPU time");

    // All of them together would take two minutes.
    let mut services = "phase__a:\n  name: Augusta Ada\n".to_owned();
    services.extend((0..120).map(|n| format!("phase__s{n}:\n  name: Grace Hopper\n")));
    fs::write(start.path("many.yaml"), services).expect("cannot write");
    host.cli_ok(&["apply", &start.path("many.yaml").display().to_string()]);
    let slow = fs::read(folder.join("phase.wasm")).expect("it is there");
    replace(&folder.join("phase.wasm"), &another(&slow, 1));
    let tally = actor(&host, "tally")["digest"].clone();
    let wasm = fs::read(folder.join("tally.wasm")).expect("it is there");
    thread::sleep(Duration::from_secs(1));
    replace(&folder.join("tally.wasm"), &another(&wasm, 1));
    upgraded(&host, "tally", &tally);
    let now = actor(&host, "phase");
    assert_eq!((&now["digest"], &now["refused"]), (&first, &Value::Null), "its data are looked at yet");

    // The file changes: nobody waits for the rest.
    fs::copy(phase("second").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    let second = upgraded(&host, "phase", &first);
    host.wait_for("tells of it", |line| line.contains("upgraded actor phase"));
    assert_eq!(host.lines_with("upgraded actor phase").len(), 1, "{second}");
}

#[test]
fn a_version_whose_data_do_not_fit_is_granted_nothing() {
    let start = Start::new(actors());
    let folder = folder(&start, phase(""), "phase");
    let host = Start::new(&folder).blueprint("phase__a:\n  name: Ada Lovelace\n").arg("--grant").start();
    let first = actor(&host, "phase")["digest"].clone();
    fs::copy(phase("greedy,stuck").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    refused(&host, "phase", "Ada cannot be migrated");
    assert!(host.lines_with("granting what was not").is_empty());
    fs::copy(phase("greedy").join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    upgraded(&host, "phase", &first);
    assert_eq!(host.lines_with("granting what was not").len(), 1);
}
