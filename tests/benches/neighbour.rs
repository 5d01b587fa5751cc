//! What a neighbour notices of each hostile component: how long its events take from being sent until their handler runs,
//! while the component is loaded or its action runs again and again, beside what they take while nothing else happens.
//!
//! Quiet and hostile spells take turns in one run, so that a busy machine troubles both alike; the ratios are what counts.
//! What the machine itself makes of a busy core shows beside two processes that are no guests of anybody's: one computes, the
//! other takes memory and gives it back.
//! `just hostile` runs it (ten minutes). `AYS_BENCH_ONLY` says what a component's name begins with (several with `,`),
//! `AYS_BENCH_MS` how long a spell is (1000).

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ays_hostile::{Hostile, Outcome, corpus};
use ays_tests::{Host, actors, host::Start};
use serde_json::json;

/// From one event of the neighbour's to the next.
const BETWEEN: Duration = Duration::from_millis(4);
/// From one attempt at hostility to the next.
const PAUSE: Duration = Duration::from_millis(20);

/// A process that has nothing to do with the host, and what it does for ever.
const CONTROLS: [(&str, fn()); 2] =
    [("(process that computes)", compute), ("(process that uses memory)", use_memory)];

fn compute() {
    std::hint::spin_loop();
}

fn use_memory() {
    std::hint::black_box(vec![1_u8; 64 << 20]);
}

/// A time in which the neighbour was watched.
struct Spell {
    /// What was hostile meanwhile.
    component: Option<&'static str>,
    /// When its events were sent, in nanoseconds since 1970: each is known by that.
    sent: Vec<u64>,
}

fn main() {
    if let Some((_, act)) = CONTROLS.iter().find(|(name, _)| std::env::args().any(|arg| arg == *name)) {
        loop {
            act();
        }
    }
    let only = std::env::var("AYS_BENCH_ONLY").unwrap_or_default();
    let wanted = |hostile: &Hostile| only.split(',').any(|begin| hostile.name.starts_with(begin));
    // One of them claims to be the neighbour: that would be an upgrade here.
    let corpus: Vec<Hostile> = corpus()
        .into_iter()
        .filter(|hostile| wanted(hostile) && hostile.name != "manifest_of_another_actor")
        .collect();
    let length = std::env::var("AYS_BENCH_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(1000);
    let length = Duration::from_millis(length);

    let start = Start::new(actors());
    let folder = start.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    std::fs::copy(actors().join("probe.wasm"), folder.join("a_probe.wasm")).expect("cannot copy");
    let loads = |hostile: &&Hostile| !matches!(hostile.outcome, Outcome::Refused(_));
    for hostile in corpus.iter().filter(loads) {
        std::fs::write(folder.join(format!("{}.wasm", hostile.name)), &hostile.bytes).expect("cannot write");
    }
    let services: String =
        corpus.iter().filter(loads).map(|hostile| format!("{}__s:\n", hostile.name)).collect();
    let host = Start::new(&folder)
        .arg("--component-size=16MiB")
        .arg("--compile-memory=400MiB")
        .arg("--compile-seconds=2")
        .arg("--quarantine-after=0")
        // So that each ends soon after its spell.
        .arg("--ceiling=cpu_ms=1000")
        .arg("--ceiling=wall_ms=1000")
        .blueprint(&format!(
            "probe__good:\n\n{services}\neventfilters:\n  - cmd: hello\n    service: probe__good\n    action: since\n"
        ))
        .start();

    // The first is to warm up.
    watched(&host, || thread::sleep(length));
    let mut spells = Vec::new();
    for (name, _) in CONTROLS {
        let sent = watched(&host, || thread::sleep(length));
        spells.push(Spell { component: None, sent });
        let this = std::env::current_exe().expect("it has a path");
        let mut control = Command::new(this).arg(name).spawn().expect("cannot run a process");
        let sent = watched(&host, || thread::sleep(length));
        control.kill().and_then(|()| control.wait()).expect("it runs for ever");
        spells.push(Spell { component: Some(name), sent });
    }
    for hostile in &corpus {
        let sent = watched(&host, || thread::sleep(length));
        spells.push(Spell { component: None, sent });
        let until = Instant::now() + length;
        let sent = watched(&host, || {
            while Instant::now() < until {
                if loads(&hostile) {
                    let ask = json!({"action": "go", "service": "s", "actor": hostile.name, "force": true});
                    host.post("/api/v1/run", &ask);
                } else {
                    // Of one that is too large the host does not read all.
                    let _ = host.upload(&hostile.bytes);
                }
                thread::sleep(PAUSE);
            }
        });
        spells.push(Spell { component: Some(hostile.name), sent });
        host.until("nothing runs any more", |host| {
            let waiting = |state: &str| host.list(&format!("/api/v1/jobs?state={state}")).len();
            for job in host.list("/api/v1/jobs?state=new") {
                if job["service"] != "probe__good" {
                    host.post(&format!("/api/v1/jobs/{}/cancel", job["id"].as_str()?), &json!({}));
                }
            }
            (waiting("new") + waiting("running") == 0).then_some(())
        });
    }

    let took: HashMap<u64, u64> = host
        .list("/api/v1/jobs?service=probe__good&action=since&state=ok")
        .iter()
        .filter_map(|job| Some((job["args"][0].as_u64()?, job["result"].as_u64()?)))
        .collect();
    report(&spells, &took);
}

/// Sends events to the neighbour until `meanwhile` has ended. When they were sent.
fn watched(host: &Host, meanwhile: impl FnOnce()) -> Vec<u64> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = Vec::new();
            while !stop.load(Relaxed) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos();
                let now = u64::try_from(now).expect("it is before 2554");
                let (status, answer) = host.post("/api/v1/events", &json!({"event": "hello", "args": [now]}));
                assert_eq!(status, 202, "{answer}");
                sent.push(now);
                thread::sleep(BETWEEN);
            }
            sent
        });
        // Also when it panics.
        let meanwhile = std::panic::catch_unwind(AssertUnwindSafe(meanwhile));
        stop.store(true, Relaxed);
        meanwhile.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        sender.join().expect("the host takes the neighbour's events")
    })
}

/// The 99th and the 50th percentile, in milliseconds.
fn percentiles(mut times: Vec<u64>) -> (f64, f64) {
    times.sort_unstable();
    let at =
        |share: usize| times.get(times.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
    (at(99) as f64 / 1e6, at(50) as f64 / 1e6)
}

fn report(spells: &[Spell], took: &HashMap<u64, u64>) {
    let times = |spell: &Spell| -> Vec<u64> {
        let time = |sent| *took.get(sent).expect("each of the neighbour's jobs succeeded");
        spell.sent.iter().map(time).collect()
    };
    let is_control = |name: &str| CONTROLS.iter().any(|(control, _)| *control == name);
    let all = |hostile: bool| {
        let of = |spell: &&Spell| match spell.component {
            Some(name) => hostile && !is_control(name),
            None => !hostile,
        };
        percentiles(spells.iter().filter(of).flat_map(times).collect())
    };
    let ((quiet, quiet_half), (busy, busy_half)) = (all(false), all(true));
    let mut each: Vec<_> = spells
        .iter()
        .filter_map(|spell| {
            let (p99, _) = percentiles(times(spell));
            Some((p99 / quiet, p99, spell.component?, spell.sent.len()))
        })
        .collect();
    let controls = each.extract_if(.., |each| is_control(each.2)).collect::<Vec<_>>();
    each.sort_by(|a, b| b.0.total_cmp(&a.0));
    let within = each.iter().filter(|each| each.0 <= 2.0).count();
    println!(
        "\nfrom an event's being sent until its handler runs, at a neighbour of {} hostile components",
        each.len()
    );
    println!("{:<28} {:>9} {:>9} {:>8}", "", "p50 ms", "p99 ms", "ratio");
    println!("{:<28} {quiet_half:>9.2} {quiet:>9.2}", "quiet");
    println!("{:<28} {busy_half:>9.2} {busy:>9.2} {:>7.2}×", "hostile, all together", busy / quiet);
    for (ratio, p99, name, events) in controls {
        println!("{name:<28} {:>9} {p99:>9.2} {ratio:>7.2}×  ({events} events)", "");
    }
    println!("{within} of {} have a ratio of at most 2; the worst are", each.len());
    for (ratio, p99, component, events) in each.iter().take(20) {
        println!("{component:<28} {:>9} {p99:>9.2} {ratio:>7.2}×  ({events} events)", "");
    }
}
