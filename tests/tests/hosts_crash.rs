//! Three hosts on one Redis, of which one is killed or paused every second: nothing accepted is lost, nothing happens
//! twice, and a service has one job at a time, in order of arrival, over all hosts together.
//!
//! `AYS_TEST_ROUNDS` and `AYS_TEST_EVENTS` set how much, `AYS_TEST_ROUND_MS` how fast; `AYS_TEST_SEED` repeats a run's
//! choices. `just hosts-crash` sends five times as many events as is usual here.

use std::{
    sync::{Arc, PoisonError, RwLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ays_tests::{
    Host, actors,
    chance::{Dice, setting},
    host::{NoAnswer, Start, try_post},
    redis::RedisServer,
    tally::Ledger,
};
use rustix::process::Signal;
use serde_json::json;

const HOSTS: usize = 3;
/// How long a host has its partitions for without saying that it lives.
const LEASE: Duration = Duration::from_secs(2);
const SERVICES: u64 = 100;
/// Every so many services, one takes its time, so that a host nearly always has a job running when it is paused.
const SLOW: u64 = 10;
/// Every so many services, one has its events handled by the next service, too.
const SHARED: u64 = 10;
/// Every so many events, one comes by HTTP; the others come by the command queue.
const BY_HTTP: u64 = 10;
/// How many send by HTTP at the same time.
const SENDERS: u64 = 8;
/// Paused hosts at a time. The third goes on, or there would be nothing to disturb.
const MOST_PAUSED: usize = 2;

/// `pause_ms` is how long the slow services take for an event.
fn blueprint(pause_ms: u64) -> String {
    let mut services = String::new();
    let mut filters = String::from("eventfilters:\n");
    for n in 0..SERVICES {
        services += &format!("tally__s{n}:\n");
        if n % SLOW == SLOW / 2 {
            services += &format!("  pause_ms: {pause_ms}\n");
        }
        for service in handlers(n) {
            filters += &format!("  - {{cmd: mark{n}, actor: tally, service: s{service}, action: mark}}\n");
        }
    }
    services + &filters
}

/// The services that handle the event of service `n`.
fn handlers(n: u64) -> impl Iterator<Item = u64> {
    [n, n + 1].into_iter().take(if n.is_multiple_of(SHARED) { 2 } else { 1 })
}

fn note(n: u64, mut note: impl FnMut(&str)) {
    handlers(n).for_each(|service| note(&format!("tally__s{service}")));
}

/// A host, or what became of it.
struct Slot {
    host: Host,
    paused_until: Option<Instant>,
}

/// What was done to the hosts.
#[derive(Debug, Default)]
struct Done {
    kills: u64,
    kills_while_paused: u64,
    pauses: u64,
}

struct Hosts {
    start: Start,
    slots: Vec<Slot>,
    /// The addresses of those that listen, for whoever sends events.
    addresses: Arc<RwLock<Vec<Option<String>>>>,
    done: Done,
}

impl Hosts {
    fn start(start: Start) -> Self {
        // The first applies the blueprint to an empty store; the others find it done.
        let slots = (0..HOSTS).map(|_| Slot { host: start.start(), paused_until: None }).collect();
        let hosts = Self { start, slots, addresses: Arc::default(), done: Done::default() };
        hosts.tell_addresses();
        hosts
    }

    fn tell_addresses(&self) {
        let address = |slot: &Slot| Some(slot.host.url().to_owned()).filter(|url| !url.is_empty());
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) =
            self.slots.iter().map(address).collect();
    }

    /// Lets those go on whose pause is over, and looks after the rest.
    fn look_after(&mut self) {
        for (n, slot) in self.slots.iter_mut().enumerate() {
            if slot.paused_until.is_some_and(|until| Instant::now() >= until) {
                slot.paused_until = None;
                slot.host.signal(Signal::CONT);
            }
            slot.host.listens();
            if let Some(status) = slot.host.ended() {
                // What it has written is read by then.
                slot.host.wait();
                let lines: Vec<_> = slot.host.lines().into_iter().map(|line| line.text).collect();
                panic!("host {n} ended by itself ({status}):\n{}", lines.join("\n"));
            }
        }
        self.tell_addresses();
    }

    /// Kills a host, which is started again at once, or pauses it for longer than twice the lease.
    fn disturb(&mut self, dice: &mut Dice) {
        let (paused, running): (Vec<_>, Vec<_>) =
            (0..HOSTS).partition(|n| self.slots[*n].paused_until.is_some());
        let pauses = match paused.len() {
            0 => self.done.pauses == 0 || dice.roll(2) == 0,
            1..MOST_PAUSED => dice.roll(8) == 0,
            _ => false,
        };
        // Now and then also one that is paused.
        let among = if !pauses && !paused.is_empty() && dice.roll(10) == 0 { &paused } else { &running };
        let n = among[dice.roll(among.len() as u64) as usize];
        if pauses {
            let pause = 2 * LEASE + Duration::from_millis(200 + dice.roll(1500));
            self.slots[n].host.signal(Signal::STOP);
            self.slots[n].paused_until = Some(Instant::now() + pause);
            self.done.pauses += 1;
        } else {
            let killed = self.slots.remove(n);
            self.done.kills_while_paused += u64::from(killed.paused_until.is_some());
            killed.host.kill9();
            self.slots.insert(n, Slot { host: self.start.spawn(), paused_until: None });
            self.done.kills += 1;
        }
    }

    /// Lets all of them go on, and waits until they are ready.
    fn settle(&mut self) {
        while self.slots.iter().any(|slot| slot.paused_until.is_some()) {
            self.look_after();
            thread::sleep(Duration::from_millis(20));
        }
        for slot in &mut self.slots {
            slot.host.wait_for("is ready", |line| line.ends_with("ready"));
            slot.host.listens();
        }
        self.tell_addresses();
    }
}

/// How far events should be by now, of `all`: evenly over the time that the disturbances take.
fn due(all: u64, since: Instant, span: Duration) -> u64 {
    (all as f64 * (since.elapsed().as_secs_f64() / span.as_secs_f64()).min(1.0)) as u64
}

/// Pushes events to the command queue, in order.
fn push(redis: &RedisServer, events: u64, since: Instant, span: Duration) -> Ledger {
    let mut ledger = Ledger::default();
    let mut pushed = 0;
    while pushed < events {
        let until = due(events, since, span).min(pushed + 500);
        if until == pushed {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        let entry = |event: u64| {
            let (service, number) = (event % SERVICES, event / SERVICES);
            format!(
                r#"RPUSH db:queue:command '{{"command":"event","event":"mark{service}","args":["queue{service}",{number}]}}'"#
            ) + "\n"
        };
        redis.pipe(&(pushed..until).map(entry).collect::<String>());
        for event in pushed..until {
            let (service, number) = (event % SERVICES, event / SERVICES);
            note(service, |handler| ledger.sent(handler, &format!("queue{service}"), number));
        }
        pushed = until;
    }
    ledger
}

/// Posts events to hosts at random, each after the answer to the one before.
fn post(
    sender: u64,
    events: u64,
    since: Instant,
    span: Duration,
    addresses: &RwLock<Vec<Option<String>>>,
    mut dice: Dice,
) -> Ledger {
    let mut ledger = Ledger::default();
    let mut numbers = [0; SERVICES as usize];
    // As somebody who balances load does: a host that did not answer is left alone for a while.
    let mut avoided = [since; HOSTS];
    for event in 0..events {
        while due(events, since, span) <= event {
            thread::sleep(Duration::from_millis(2));
        }
        let service = dice.roll(SERVICES);
        let number = numbers[service as usize];
        numbers[service as usize] += 1;
        let stream = format!("http{sender}.{service}");
        let body = json!({"event": format!("mark{service}"), "args": [stream, number]});
        loop {
            let known = addresses.read().unwrap_or_else(PoisonError::into_inner).clone();
            let able: Vec<_> = known
                .iter()
                .enumerate()
                .filter_map(|(n, url)| Some((n, url.as_deref().filter(|_| avoided[n] <= Instant::now())?)))
                .collect();
            if able.is_empty() {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            let (host, url) = able[dice.roll(able.len() as u64) as usize];
            // Now and then, long enough for a paused host to answer when it goes on.
            let within = if dice.roll(4) == 0 { LEASE * 10 } else { LEASE / 2 };
            match try_post(url, "/api/v1/events", &body, within) {
                Ok((202, _)) => {
                    note(service, |handler| ledger.sent(handler, &stream, number));
                    break;
                }
                // It has not looked at it.
                Ok((503, answer)) if answer["error"]["code"] == "starting" => {
                    avoided[host] = Instant::now() + Duration::from_millis(50);
                }
                Err(NoAnswer::Unsent) => avoided[host] = Instant::now() + Duration::from_millis(50),
                Ok((status, answer)) if status < 500 => panic!("{status}: {answer}"),
                Ok(_) | Err(NoAnswer::Unsure(_)) => {
                    note(service, |handler| ledger.unsure(handler, &stream, number));
                    avoided[host] = Instant::now() + LEASE;
                    break;
                }
            }
        }
    }
    ledger
}

#[test]
fn hosts_killed_and_paused_at_random_lose_nothing_do_nothing_twice_and_keep_the_order() {
    let rounds = setting("AYS_TEST_ROUNDS", 50);
    let events = setting("AYS_TEST_EVENTS", 100_000);
    let round = Duration::from_millis(setting("AYS_TEST_ROUND_MS", 1000));
    eprintln!("AYS_TEST_ROUNDS={rounds} AYS_TEST_EVENTS={events} AYS_TEST_ROUND_MS={}", round.as_millis());
    let mut dice = Dice::new();

    let span = round * u32::try_from(rounds).expect("not that many");
    // Slow services are at work half of the time, and the more so the longer they had to wait for a host.
    let pause_ms = (span.as_millis() as u64 * SERVICES / events / 2).clamp(1, 1000);
    // Redis itself goes on in this test.
    let redis = Arc::new(RedisServer::start_with(&["--appendfsync", "everysec"]));
    let start = Start::new(actors())
        .store(redis.url())
        .blueprint(&blueprint(pause_ms))
        .arg("--lease")
        .arg(LEASE.as_secs().to_string())
        .arg("--log-level")
        .arg("info,guest=warn");
    let mut hosts = Hosts::start(start);

    let since = Instant::now();
    let mut sending: Vec<JoinHandle<Ledger>> = (0..SENDERS)
        .map(|sender| {
            let addresses = hosts.addresses.clone();
            let dice = dice.fork();
            let events = events / BY_HTTP / SENDERS;
            thread::spawn(move || post(sender, events, since, span, &addresses, dice))
        })
        .collect();
    let by_queue = events - events / BY_HTTP / SENDERS * SENDERS;
    let to = redis.clone();
    sending.push(thread::spawn(move || push(&to, by_queue, since, span)));

    for n in 1..=rounds {
        // At any moment of the round, not in step with anything.
        let at = since + round * u32::try_from(n).expect("not that many")
            - Duration::from_micros(dice.roll(round.as_micros() as u64));
        while Instant::now() < at {
            hosts.look_after();
            thread::sleep(Duration::from_millis(10));
        }
        hosts.disturb(&mut dice);
    }
    hosts.settle();
    let mut ledger = Ledger::default();
    for sender in sending {
        ledger.add(sender.join().expect("a sender panicked"));
    }
    let sent = since.elapsed();
    let host = &hosts.slots[dice.roll(HOSTS as u64) as usize].host;
    ledger.wait_until_done(host, || redis.cli(&["LLEN", "db:queue:command"]).parse().expect("a number"));
    let drained = since.elapsed();
    ledger.check(host);

    let (_, ready) = host.get("/readyz");
    let Done { kills, kills_while_paused, pauses } = hosts.done;
    let (takeovers, refused) = (&ready["store"]["takeovers"], &ready["store"]["refused_turns"]);
    eprintln!(
        "{} jobs acknowledged and {} not, sent within {sent:.1?} and done after {drained:.1?}; {kills} kills, \
         {kills_while_paused} of them of paused hosts; {pauses} pauses; {takeovers} takeovers; {refused} refused turns",
        ledger.acknowledged(),
        ledger.unacknowledged(),
    );
    assert!(takeovers.as_u64().is_some_and(|count| count > 0), "no partition was taken over: {ready}");
    assert!(
        pauses == kills_while_paused || refused.as_u64().is_some_and(|count| count > 0),
        "no paused host was caught with a job: {ready}"
    );
    for slot in hosts.slots {
        let (status, lines) = slot.host.terminate();
        assert!(status.success(), "{status}: {lines:?}");
    }
}
