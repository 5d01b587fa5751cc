//! What a neighbour notices of each hostile component: how long its events take from being sent until their handler runs,
//! while the component is loaded or its action runs again and again, beside what they take while nothing else happens.
//!
//! Quiet and hostile spells take turns in one run, in several rounds, so that a busy machine troubles both alike; the ratios
//! are what counts. Of what a component did in all rounds there is one 99th percentile.
//! What the machine itself makes of a busy core shows beside two processes that are no guests of anybody's: one computes, the
//! other takes memory and gives it back.
//! `just hostile` runs it (half an hour). `AYS_BENCH_ONLY` says what a component's name begins with (several with `,`),
//! `AYS_BENCH_MS` how long a spell is (1000), `AYS_BENCH_ROUNDS` how many rounds there are (3).

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ays_hostile::{GRANTS, Hostile, Outcome, corpus};
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
    of: Option<&'static str>,
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
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |value| value.parse().expect("it is a number"))
    };
    let (length, rounds) =
        (Duration::from_millis(number("AYS_BENCH_MS", 1000)), number("AYS_BENCH_ROUNDS", 3));

    let start = Start::new(actors());
    let folder = start.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    std::fs::copy(actors().join("probe.wasm"), folder.join("a_probe.wasm")).expect("cannot copy");
    for hostile in corpus.iter().filter(|hostile| loads(hostile)) {
        std::fs::write(folder.join(format!("{}.wasm", hostile.name)), &hostile.bytes).expect("cannot write");
    }
    let services: String = corpus
        .iter()
        .filter(|hostile| loads(hostile))
        .map(|hostile| format!("{}__s:\n", hostile.name))
        .collect();
    let grants = start.path("grants.yaml");
    std::fs::write(&grants, GRANTS).expect("cannot write");
    let host = Start::new(&folder)
        .arg("--grants")
        .arg(grants.display().to_string())
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

    let mut groups: Vec<(&str, Vec<&Hostile>)> =
        corpus.iter().map(|hostile| (hostile.name, vec![hostile])).collect();
    // More of them than there are cores.
    let spinning = corpus.iter().filter(|hostile| hostile.name.starts_with("loop_")).collect::<Vec<_>>();
    if spinning.len() > 1 {
        groups.push(("(all loops at once)", spinning));
    }
    // The first is to warm up.
    watched(&host, || thread::sleep(length));
    let mut spells = Vec::new();
    for _ in 0..rounds {
        for (name, _) in CONTROLS {
            spells.push(Spell { of: None, sent: watched(&host, || thread::sleep(length)) });
            let this = std::env::current_exe().expect("it has a path");
            let mut control = Command::new(this).arg(name).spawn().expect("cannot run a process");
            let sent = watched(&host, || thread::sleep(length));
            control.kill().and_then(|()| control.wait()).expect("it runs for ever");
            spells.push(Spell { of: Some(name), sent });
        }
        for (name, group) in &groups {
            spells.push(Spell { of: None, sent: watched(&host, || thread::sleep(length)) });
            spells.push(Spell { of: Some(name), sent: watched(&host, || attack(&host, group, length)) });
            calm(&host);
        }
    }

    let took: HashMap<u64, u64> = host
        .list("/api/v1/jobs?service=probe__good&action=since&state=ok")
        .iter()
        .filter_map(|job| Some((job["args"][0].as_u64()?, job["result"].as_u64()?)))
        .collect();
    report(&spells, &took);
}

/// Loads a component, or runs the actions of some that are loaded, again and again.
fn attack(host: &Host, group: &[&Hostile], length: Duration) {
    let until = Instant::now() + length;
    while Instant::now() < until {
        for hostile in group {
            if loads(hostile) {
                let ask = json!({"action": "go", "service": "s", "actor": hostile.name, "force": true});
                host.post("/api/v1/run", &ask);
            } else {
                // Of one that is too large the host does not read all.
                let _ = host.upload(&hostile.bytes);
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Ends what is left of an attack.
fn calm(host: &Host) {
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

/// Whether its action can be run.
fn loads(hostile: &Hostile) -> bool {
    !matches!(hostile.outcome, Outcome::Refused(_))
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
    let mut quiet = Vec::new();
    let mut by_name = BTreeMap::<&str, Vec<u64>>::new();
    for Spell { of, sent } in spells {
        let times = sent.iter().map(|sent| *took.get(sent).expect("each of the neighbour's jobs succeeded"));
        of.map_or(&mut quiet, |name| by_name.entry(name).or_default()).extend(times);
    }
    let is_control = |name: &str| CONTROLS.iter().any(|(control, _)| *control == name);
    let hostile = by_name.iter().filter(|(name, _)| !is_control(name)).flat_map(|(_, times)| times);
    let (busy, busy_half) = percentiles(hostile.copied().collect());
    let (quiet, quiet_half) = percentiles(quiet);
    let row = |name: &str, times: Vec<u64>| {
        let (events, (p99, half)) = (times.len(), percentiles(times));
        (p99 / quiet, format!("{name:<28} {half:>9.2} {p99:>9.2} {:>7.2}×  ({events} events)", p99 / quiet))
    };
    let mut each: Vec<_> =
        by_name.into_iter().map(|(name, times)| (is_control(name), row(name, times))).collect();
    let controls: Vec<_> = each.extract_if(.., |(is_control, _)| *is_control).collect();
    each.sort_by(|(_, a), (_, b)| b.0.total_cmp(&a.0));
    println!(
        "\nfrom an event's being sent until its handler runs, at a neighbour of {} hostile components",
        each.len()
    );
    println!("{:<28} {:>9} {:>9} {:>8}", "", "p50 ms", "p99 ms", "ratio");
    println!("{:<28} {quiet_half:>9.2} {quiet:>9.2}", "quiet");
    println!("{:<28} {busy_half:>9.2} {busy:>9.2} {:>7.2}×", "hostile, all together", busy / quiet);
    controls.iter().for_each(|(_, (_, row))| println!("{row}"));
    let within = each.iter().filter(|(_, (ratio, _))| *ratio <= 2.0).count();
    println!("{within} of {} have a ratio of at most 2; the worst are", each.len());
    each.iter().take(40).for_each(|(_, (_, row))| println!("{row}"));
}
