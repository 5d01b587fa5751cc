//! The table of hostile components, served by a real host: each comes to the end that the table says, while the host's
//! memory stays within its budget and a neighbour's jobs are all done, in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use ays_core::manifest::Limits;
use ays_hostile::{GRANTS, Hostile, Outcome, corpus};
use ays_tests::{Host, actors, host::Start};
use serde_json::{Value, json};

/// What the host's own memory may come to, in KiB: itself, and 64 MiB for each of two guests at a time.
const BUDGET_KIB: u64 = 512 << 10;

fn resident_kib(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// Has the neighbour count until `stop`; how long each job took, from asking to its record.
fn neighbour(host: &Host, stop: &AtomicBool, counted: &AtomicU64) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Relaxed) {
        let began = Instant::now();
        let number = counted.fetch_add(1, Relaxed);
        let (status, _) = host.post("/api/v1/events", &json!({"event": "hello", "args": [number]}));
        assert_eq!(status, 202);
        host.until("the neighbour has done its job", |host| {
            let (_, service) = host.get("/api/v1/services/probe__good");
            let seen = service["data"]["seen"].as_array().map_or(0, Vec::len);
            (seen as u64 > number).then_some(())
        });
        times.push(began.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    times
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len().saturating_sub(1).min(times.len() * 99 / 100)).copied().unwrap_or_default()
}

/// The job of `go` on this service, once it has been tried.
fn tried(host: &Host, service: &str) -> Value {
    host.until(&format!("{service} has been tried"), |host| {
        let jobs = host.list(&format!("/api/v1/jobs?service={service}&action=go"));
        jobs.into_iter().find(|job| ["ok", "error", "retrying"].iter().any(|state| job["state"] == *state))
    })
}

/// The limit that a breach's message is of, if it says its name, its amount, how much was used, and where it is raised.
fn of_limit(said: &str) -> Option<&'static str> {
    let (used, rest) = said.split_once("; its limit `")?;
    let (name, rest) = rest.split_once("` is ")?;
    let (amount, raised) = rest.split_once("; ")?;
    let number =
        |text: &str| text.split(|c: char| !c.is_ascii_digit()).find_map(|number| number.parse().ok());
    let (used, most): (u64, u64) = (number(used)?, amount.parse().ok()?);
    let raised = raised.contains(&format!("`--ceiling {name}=AMOUNT`"))
        && raised.contains(&format!("`--limit {name}=AMOUNT`"))
        && raised.contains("the actor's manifest can ask");
    // Of a rate, what was used is the events of one job.
    let more = used > most || name == "events_per_s" || (used == most && name.ends_with("_ms"));
    let known = Limits::NAMES.iter().find(|known| **known == name).copied();
    known.filter(|_| raised && more)
}

fn wrong(component: &Hostile, host: &Host, breached: &mut BTreeSet<&str>) -> Option<String> {
    let Hostile { name, outcome, .. } = component;
    let job = || tried(host, &format!("{name}__s"));
    match outcome {
        Outcome::Refused(words) => {
            let lines = host.lines_with(&format!("/{name}.wasm: "));
            let told = lines.len() == 1 && lines[0].text.contains(words);
            (!told).then(|| format!("{name}: expected to be refused ({words}): {lines:?}"))
        }
        Outcome::Harmless => {
            let job = job();
            (job["state"] != "ok").then(|| format!("{name}: expected to do no harm: {job}"))
        }
        Outcome::Buried(words) => {
            let buried = host.until(&format!("something of {name} is buried"), |host| {
                let reasons: Vec<String> =
                    host.list("/api/v1/dead").iter().map(|letter| letter["reason"].to_string()).collect();
                reasons.iter().any(|reason| reason.contains(name)).then_some(reasons)
            });
            let told = buried.iter().any(|reason| reason.contains(words));
            (!told).then(|| format!("{name}: expected to be buried ({words}): {buried:?}"))
        }
        Outcome::Fails(kind, words) => {
            // A storm's first jobs succeed.
            let job = host.until(&format!("{name} has failed"), |host| {
                let path = format!("/api/v1/jobs?service={name}__s&action=go");
                let failed = host.list(&format!("{path}&state=error")).pop();
                failed.or_else(|| {
                    host.list(&path)
                        .into_iter()
                        .find(|job| job["state"] == "ok" && !name.starts_with("storm"))
                })
            });
            let said = job["error"]["message"].as_str().unwrap_or_default();
            let told = job["state"] != "ok" && job["error"]["kind"] == *kind && said.contains(words);
            let limit = of_limit(said);
            breached.extend(limit);
            let explained = limit.is_some() || !["limit", "memory", "cpu", "wall"].contains(kind);
            (!told || !explained).then(|| format!("{name}: expected {kind} ({words}): {job}"))
        }
    }
}

fn bomb() -> Vec<u8> {
    corpus().into_iter().find(|hostile| hostile.name == "bomb_large_functions").expect("it is there").bytes
}

/// Waits until a host's compiler runs, and stops it there, so that it cannot end by itself.
fn stopped_compiler(host: &Host) -> String {
    // Children are listed by the thread that started them. One that is only about to become the compiler is the host yet, by
    // its arguments and its environment.
    let child = host.until("the compiler runs", |host| {
        let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).ok()?;
        let children =
            threads.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let child = children.collect::<String>().split_whitespace().next().map(str::to_owned)?;
        let arguments = std::fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?;
        arguments.starts_with("ays-host\0").then_some(child)
    });
    let pid = child.parse().ok().and_then(rustix::process::Pid::from_raw).expect("it is a process");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it runs yet");
    child
}

/// Waits until there is no such process.
fn gone(child: &str) {
    let until = Instant::now() + ays_tests::host::PATIENCE;
    while std::path::Path::new(&format!("/proc/{child}")).exists() {
        assert!(Instant::now() < until, "the compiler {child} outlived its host");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_compiler_dies_with_its_host() {
    let start = Start::new(actors());
    let folder = start.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    std::fs::write(folder.join("bomb.wasm"), bomb()).expect("cannot write");
    let host = Start::new(&folder).spawn();
    let child = stopped_compiler(&host);
    let environment = std::fs::read_to_string(format!("/proc/{child}/environ")).expect("it runs yet");
    assert!(
        environment.starts_with("RAYON_NUM_THREADS=") && environment.matches('=').count() == 1,
        "{environment}"
    );
    host.kill9();
    gone(&child);
}

#[test]
fn a_host_that_stops_gives_up_what_it_compiles() {
    let start = Start::new(actors());
    let folder = start.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    let host = Start::new(&folder).start();
    let url = format!("{}/api/v1/actors", host.url());
    let uploading = thread::spawn(move || ureq::post(url).send(&bomb()).map(drop));
    let child = stopped_compiler(&host);
    let (status, lines) = host.terminate();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    gone(&child);
    assert!(!lines.iter().any(|line| line.text.contains("panicked")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.text.contains("not put into service: the host is stopping")),
        "{lines:?}"
    );
    assert!(uploading.join().expect("it ends").is_err());
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 0);
}

/// A host with one actor beside the probe, with so many services of it.
fn host_with(start: &Start, name: &str, bytes: &[u8], services: usize) -> Host {
    let folder = start.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    std::fs::copy(actors().join("probe.wasm"), folder.join("probe.wasm")).expect("cannot copy");
    std::fs::write(folder.join(format!("{name}.wasm")), bytes).expect("cannot write");
    let grants = start.path("grants.yaml");
    std::fs::write(&grants, GRANTS).expect("cannot write");
    let services: String = (0..services).map(|n| format!("{name}__s{n}:\n")).collect();
    Start::new(&folder)
        .arg("--parallel=16")
        .arg("--grants")
        .arg(grants.display().to_string())
        .blueprint(&format!("probe__good:\n{services}"))
        .start()
}

#[test]
fn idle_instances_of_one_actor_leave_room_for_others() {
    let mut greedy = ays_hostile::Guest::new("greedy", "");
    greedy.lowered = format!("(core module $x (memory 1)) {}", "(core instance (instantiate $x))".repeat(3));
    let start = Start::new(actors());
    // With 112 instances in all. Each of these has four memories, and stays for a while.
    let host = host_with(&start, "greedy", &greedy.bytes(), 60);
    let (status, run) = host.post("/api/v1/run", &json!({"action": "go", "actor": "greedy", "force": true}));
    assert_eq!(status, 202, "{run}");
    host.until("all have run", |host| {
        (host.list("/api/v1/jobs?actor=greedy&action=go&state=ok").len() == 60).then_some(())
    });
    for _ in 0..3 {
        let job = host.run("probe__good", "count", &json!([]));
        assert_eq!((&job["state"], &job["attempt"]), (&json!("ok"), &json!(1)), "{job}");
    }
}

#[test]
fn an_instance_that_keeps_the_hosts_resources_is_replaced() {
    let start = Start::new(actors());
    let host = host_with(&start, "keeps", &ays_hostile::keeping_resources(), 1);
    for n in 0..9 {
        let job = host.run("keeps__s0", "go", &json!([]));
        assert_eq!(job["state"], "ok", "{n}: {job}");
    }
}

#[test]
fn look_ups_of_names_that_nobody_waits_for_are_as_few_as_requests() {
    let start = Start::new(actors());
    let host = host_with(&start, "looks_up", &ays_hostile::looking_up(), 1);
    let (status, run) =
        host.post("/api/v1/run", &json!({"action": "go", "actor": "looks_up", "force": true}));
    assert_eq!(status, 202, "{run}");
    let job = tried(&host, "looks_up__s0");
    assert_eq!(job["state"], "ok", "{job}");
    // Threads that look names up stay for ten seconds.
    let threads = std::fs::read_dir(format!("/proc/{}/task", host.pid())).expect("it runs").count();
    println!("{threads} threads");
    assert!(threads < 100, "the host has {threads} threads");
}

#[test]
fn each_hostile_component_ends_as_the_table_says_and_nothing_else_notices() {
    let corpus = corpus();
    assert!(corpus.len() >= 40, "{}", corpus.len());
    let names: BTreeMap<_, _> = corpus.iter().map(|hostile| (hostile.name, ())).collect();
    assert_eq!(names.len(), corpus.len(), "each has a name of its own");

    let start = Start::new(actors());
    let folder = start.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    // Before all others by its name: one of them claims to be it.
    std::fs::copy(actors().join("probe.wasm"), folder.join("a_probe.wasm")).expect("cannot copy");
    for hostile in &corpus {
        std::fs::write(folder.join(format!("{}.wasm", hostile.name)), &hostile.bytes).expect("cannot write");
    }
    let grants = start.path("grants.yaml");
    std::fs::write(&grants, GRANTS).expect("cannot write");
    let host = Start::new(&folder)
        .arg("--component-size=16MiB")
        .arg("--compile-memory=400MiB")
        .arg("--compile-seconds=2")
        .arg("--grants")
        .arg(grants.display().to_string())
        .blueprint(
            "probe__good:\n\neventfilters:\n  - cmd: hello\n    service: probe__good\n    action: order\n",
        )
        .start();
    let loaded = resident_kib(&host);

    // Those that are loaded get a service each.
    let (_, known) = host.get("/api/v1/actors?limit=1000");
    let known: Vec<&str> = known["items"]
        .as_array()
        .expect("a page")
        .iter()
        .filter_map(|actor| actor["name"].as_str())
        .collect();
    let running: Vec<&Hostile> = corpus
        .iter()
        .filter(|hostile| !matches!(hostile.outcome, Outcome::Refused(_)) && known.contains(&hostile.name))
        .collect();
    let services: String = running.iter().map(|hostile| format!("{}__s:\n", hostile.name)).collect();
    let (status, applied) =
        host.post("/api/v1/blueprints", &json!({"blueprints": [{"name": "hostile.yaml", "text": services}]}));
    assert_eq!(status, 200, "{applied}");

    let counted = AtomicU64::new(0);
    let mut breached = BTreeSet::new();
    let mut measure = |hostile: bool| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let times = scope.spawn(|| neighbour(&host, &stop, &counted));
            let problems: Vec<String> = if hostile {
                for hostile in &running {
                    let ask = json!({"action": "go", "service": "s", "actor": hostile.name, "force": true});
                    let (status, run) = host.post("/api/v1/run", &ask);
                    if status != 202 {
                        stop.store(true, Relaxed);
                        panic!("{}: {run}", hostile.name);
                    }
                }
                corpus.iter().filter_map(|hostile| wrong(hostile, &host, &mut breached)).collect()
            } else {
                thread::sleep(Duration::from_secs(2));
                Vec::new()
            };
            stop.store(true, Relaxed);
            (times.join().expect("the neighbour's jobs all succeed"), problems)
        })
    };
    let (quiet, _) = measure(false);
    let (busy, problems) = measure(true);
    let most = resident_kib(&host);
    println!(
        "{} components, {} of them ran; the host's memory: {} MiB when they were loaded, {} MiB at most",
        corpus.len(),
        running.len(),
        loaded >> 10,
        most >> 10
    );
    let (jobs, quiet, busy) = (busy.len(), p99(quiet), p99(busy));
    println!(
        "the neighbour: {jobs} jobs meanwhile, 99 % within {busy:.1?}; {:.1} times the {quiet:.1?} of the quiet host",
        busy.as_secs_f64() / quiet.as_secs_f64().max(1e-9)
    );
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), corpus.len(), problems.join("\n"));
    // A guest is told of these two, and goes on.
    let refused = ["kv_bytes", "filters"];
    let untried: Vec<_> = Limits::NAMES.iter().filter(|name| !breached.contains(*name)).collect();
    assert_eq!(untried, refused.iter().collect::<Vec<_>>(), "each limit is breached by one of the table");
    assert!(most < BUDGET_KIB, "the host's memory came to {most} KiB");
    assert!(host.lines_with("panicked at").is_empty(), "{:?}", host.lines_with("panicked at"));
    let (_, good) = host.get("/api/v1/services/probe__good");
    let expected: Vec<Value> = (0..counted.load(Relaxed)).map(|n| json!([n])).collect();
    assert_eq!(good["data"]["seen"], json!(expected), "each of the neighbour's jobs once, in order");
}
