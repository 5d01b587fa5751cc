//! Redis itself is killed, or takes no writes for a while, with a host at work on it: nothing that was acknowledged is lost,
//! nothing happens twice, the host stays up and says what is wrong, and goes on by itself when it is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ays_tests::{
    Host, Line, actors,
    chance::{Dice, setting},
    host::{NoAnswer, Start, try_post},
    redis::{Flavour, RedisServer},
    tally::Ledger,
};
use serde_json::{Value, json};

const SERVICES: u64 = 10;
/// Within which time `/readyz` answers, whatever Redis does.
const READY: Duration = Duration::from_secs(5);

fn start(redis: &RedisServer) -> Host {
    let mut services = String::new();
    let mut filters = String::from("eventfilters:\n");
    for n in 0..SERVICES {
        // Long enough for jobs to be under way whenever something happens.
        services += &format!("tally__s{n}:\n  pause_ms: {}\n", n % 3 * 2);
        filters += &format!("  - {{cmd: mark{n}, actor: tally, service: s{n}, action: mark}}\n");
    }
    Start::new(actors())
        .store(redis.url())
        .blueprint(&(services + &filters))
        .arg("--log-level")
        .arg("info,guest=warn")
        .start()
}

fn ready(host: &Host) -> (u16, Value) {
    let asked = Instant::now();
    let answer = host.get("/readyz");
    assert!(asked.elapsed() < READY, "/readyz took {:?}", asked.elapsed());
    answer
}

/// The host's warnings and errors since then, without those of the command queue, which has a connection of its own.
fn complaints(host: &Host, since: Instant) -> Vec<Line> {
    let complains = |text: &str| {
        (text.contains("WARN") || text.contains("ERROR")) && !text.contains("command queue stands still")
    };
    host.lines().into_iter().filter(|line| line.at >= since && complains(&line.text)).collect()
}

/// Waits until the host is not ready for a reason that has one of these words in it, and has said so in its log.
fn wait_until_it_complains(host: &Host, since: Instant, words: &[&str]) {
    let fits = |text: &str| words.iter().any(|word| text.contains(word));
    host.until(&format!("/readyz answers 503 with one of {words:?}"), |host| {
        let (status, answer) = ready(host);
        let reason = answer["store_error"].as_str().unwrap_or_default();
        (status == 503 && answer["ready"] == false && fits(reason)).then_some(())
    });
    host.until(&format!("a warning says one of {words:?}"), |host| {
        complaints(host, since).iter().any(|line| fits(&line.text)).then_some(())
    });
    assert_eq!(host.get("/healthz").0, 200, "the host stays up");
}

fn wait_until_ready(host: &Host) {
    host.until("/readyz answers 200 again", |host| {
        let (status, answer) = ready(host);
        (status == 200 && answer["store_error"].is_null()).then_some(())
    });
}

/// Pushes events to the command queue, in order: what number each service is at is in `numbers`.
fn push(redis: &RedisServer, events: u64, numbers: &mut [u64], ledger: &mut Ledger) {
    let mut lines = String::new();
    let mut sent = Vec::new();
    for event in 0..events {
        let service = event % SERVICES;
        let number = &mut numbers[service as usize];
        lines += &format!(
            r#"RPUSH db:queue:command '{{"command":"event","event":"mark{service}","args":["queue",{number}]}}'"#
        );
        lines.push('\n');
        sent.push((service, *number));
        *number += 1;
    }
    redis.pipe(&lines);
    for (service, number) in sent {
        ledger.sent(&format!("tally__s{service}"), "queue", number);
    }
}

/// Posts events one after the other, until it is told to stop.
fn post(url: String, name: String, stop: Arc<AtomicBool>, mut dice: Dice) -> JoinHandle<Ledger> {
    thread::spawn(move || {
        let mut ledger = Ledger::default();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let service = dice.roll(SERVICES);
            let key = format!("tally__s{service}");
            let body = json!({"event": format!("mark{service}"), "args": [name, number]});
            match try_post(&url, "/api/v1/events", &body, 2 * READY) {
                Ok((202, _)) => {
                    ledger.sent(&key, &name, number);
                    thread::sleep(Duration::from_millis(dice.roll(10)));
                }
                Ok((status, answer)) if status < 500 => panic!("{status}: {answer}"),
                Err(NoAnswer::Unsent) => panic!("the host is gone"),
                Ok(_) | Err(NoAnswer::Unsure(_)) => {
                    ledger.unsure(&key, &name, number);
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
        ledger
    })
}

fn queued(redis: &RedisServer) -> u64 {
    redis.cli(&["LLEN", "db:queue:command"]).parse().expect("a number")
}

#[test]
fn a_redis_killed_at_random_moments_costs_nothing_that_was_acknowledged() {
    let kills = setting("AYS_TEST_KILLS", 10);
    let events = setting("AYS_TEST_EVENTS", 5000);
    let mut dice = Dice::new();
    // It writes every change to its disk before it answers.
    let mut redis = RedisServer::start();
    let mut host = start(&redis);
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> =
        (0..2).map(|n| post(host.url().to_owned(), format!("http{n}"), stop.clone(), dice.fork())).collect();
    let mut ledger = Ledger::default();
    let mut numbers = vec![0; SERVICES as usize];
    for kill in 0..kills {
        push(&redis, events / kills, &mut numbers, &mut ledger);
        thread::sleep(Duration::from_micros(dice.roll(150_000)));
        let killed = Instant::now();
        redis.kill9();
        // Every other time it is back before anybody has looked.
        if kill % 2 == 0 {
            wait_until_it_complains(&host, killed, &["cannot be reached", "closed the connection"]);
            thread::sleep(Duration::from_millis(dice.roll(1000)));
            redis.restart();
            wait_until_ready(&host);
        } else {
            redis.restart();
        }
        assert!(host.ended().is_none(), "the host stays up");
    }
    wait_until_ready(&host);
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        ledger.add(sender.join().expect("a sender panicked"));
    }
    ledger.wait_until_done(&host, || queued(&redis));
    ledger.check(&host);
    eprintln!(
        "{} events acknowledged and {} not; {kills} kills",
        ledger.acknowledged(),
        ledger.unacknowledged()
    );
    let (status, lines) = host.terminate();
    assert!(status.success(), "{status}: {lines:?}");
}

/// What an operator may do to a Redis, and undo.
struct Trouble {
    begin: &'static [&'static [&'static str]],
    end: &'static [&'static [&'static str]],
    /// What the host says about it; nothing if it does not mind.
    words: &'static [&'static str],
}

const TROUBLES: [Trouble; 5] = [
    Trouble { begin: &[&["SCRIPT", "FLUSH"]], end: &[], words: &[] },
    Trouble { begin: &[&["CLIENT", "KILL", "TYPE", "normal"]], end: &[], words: &[] },
    Trouble {
        begin: &[&["CONFIG", "SET", "maxmemory", "1"]],
        end: &[&["CONFIG", "SET", "maxmemory", "0"]],
        words: &["out of memory"],
    },
    Trouble {
        // Nobody listens there, so its data stay as they are.
        begin: &[&["REPLICAOF", "127.0.0.1", "1"]],
        end: &[&["REPLICAOF", "NO", "ONE"]],
        words: &["replica"],
    },
    Trouble {
        // Who has a connection keeps it.
        begin: &[
            &["CONFIG", "SET", "requirepass", "secret"],
            &["-a", "secret", "--no-auth-warning", "CLIENT", "KILL", "TYPE", "normal"],
        ],
        end: &[&["-a", "secret", "--no-auth-warning", "CONFIG", "SET", "requirepass", ""]],
        words: &["password"],
    },
];

fn run(redis: &RedisServer, commands: &[&[&str]]) {
    for command in commands {
        let answer = redis.cli(command);
        let good = answer == "OK" || answer.parse::<u64>().is_ok();
        assert!(good, "{command:?}: {answer}");
    }
}

#[test]
fn what_stops_redis_from_writing_is_said_clearly_and_work_goes_on_when_it_is_over() {
    let mut dice = Dice::new();
    for flavour in [Flavour::Installed, Flavour::Newer] {
        let redis = RedisServer::start_flavour(flavour, &[]);
        let mut host = start(&redis);
        let stop = Arc::new(AtomicBool::new(false));
        let sender = post(host.url().to_owned(), "http".into(), stop.clone(), dice.fork());
        let mut ledger = Ledger::default();
        let mut numbers = vec![0; SERVICES as usize];
        for Trouble { begin, end, words } in TROUBLES {
            push(&redis, 300, &mut numbers, &mut ledger);
            thread::sleep(Duration::from_micros(dice.roll(50_000)));
            let began = Instant::now();
            run(&redis, begin);
            if !words.is_empty() {
                wait_until_it_complains(&host, began, words);
            }
            run(&redis, end);
            wait_until_ready(&host);
            push(&redis, SERVICES, &mut numbers, &mut ledger);
            host.until(&format!("work goes on after {begin:?}"), |host| {
                let done = |n: u64| -> Option<u64> {
                    let jobs = host
                        .get(&format!("/api/v1/jobs?service=tally__s{n}&action=mark&state=ok&limit=1000"))
                        .1;
                    let queue = jobs["items"].as_array()?.iter().filter(|job| job["args"][0] == "queue");
                    queue.filter_map(|job| job["args"][1].as_u64()).max()
                };
                (0..SERVICES).all(|n| done(n) == Some(numbers[n as usize] - 1)).then_some(())
            });
            assert!(host.ended().is_none(), "the host stays up");
        }
        stop.store(true, Ordering::Relaxed);
        ledger.add(sender.join().expect("the sender panicked"));
        ledger.wait_until_done(&host, || queued(&redis));
        ledger.check(&host);
        let (status, lines) = host.terminate();
        assert!(status.success(), "{status}: {lines:?}");
    }
}
