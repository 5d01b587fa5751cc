//! `kill -9` at random moments: nothing accepted is lost, and nothing happens twice.
//!
//! `AYS_TEST_KILLS` and `AYS_TEST_EVENTS` set how much; `AYS_TEST_SEED` repeats a run's choices.

use std::{collections::BTreeMap, thread, time::Duration};

use ays_tests::{
    actors,
    chance::{Dice, setting},
    host::Start,
    redis::RedisServer,
};

const SERVICES: u64 = 7;

#[test]
fn a_host_killed_at_random_moments_loses_nothing_and_does_nothing_twice() {
    let kills = setting("AYS_TEST_KILLS", 15);
    let events = setting("AYS_TEST_EVENTS", 3000);
    eprintln!("AYS_TEST_KILLS={kills} AYS_TEST_EVENTS={events}");
    let mut dice = Dice::new();

    // Each event goes to one service by its own name, and to a listener that takes all of them. `relay` emits what it
    // gets, so that a turn with effects is among what is killed.
    let mut blueprint = String::from("probe__all:\nprobe__relay:\n");
    let mut filters = String::from("eventfilters:\n");
    for n in 0..SERVICES {
        blueprint += &format!("probe__s{n}:\n");
        filters += &format!("  - {{cmd: bump{n}, actor: probe, service: s{n}, action: count}}\n");
        filters += &format!("  - {{cmd: bump{n}, actor: probe, service: all, action: count}}\n");
    }
    let redis = RedisServer::start();
    let start = Start::new(actors())
        .blueprint(&(blueprint + &filters))
        .arg("--command-queue")
        .arg(redis.unix_url())
        .arg("--log-level")
        .arg("info,guest=warn");
    start.start().kill9();

    let mut pushed = 0;
    for round in 0..kills {
        let host = start.launch();
        let target = events * (round + 1) / kills;
        while pushed < target {
            let until = target.min(pushed + 500);
            let lines: String = (pushed..until)
                .map(|n| {
                    let event = format!("bump{}", n % SERVICES);
                    format!("RPUSH db:queue:command '{{\"command\":\"event\",\"event\":\"{event}\",\"args\":[{n}]}}'\n")
                })
                .collect();
            redis.pipe(&lines);
            pushed = until;
        }
        thread::sleep(Duration::from_micros(dice.roll(120_000)));
        host.kill9();
    }

    let host = start.start();
    host.until("every event is handled", |host| {
        (host.get("/api/v1/services/probe__all").1["data"]["count"] == events).then_some(())
    });
    for n in 0..SERVICES {
        let expected: Vec<u64> = (0..events).filter(|event| event % SERVICES == n).collect();
        let service = format!("probe__s{n}");
        host.until("this service has handled all of its events", |host| {
            let (_, service) = host.get(&format!("/api/v1/services/{service}"));
            (service["data"]["count"] == expected.len()).then_some(())
        });
        assert_eq!(
            handled(&host, &service),
            expected,
            "{service}: one ok job for each event, in order of arrival"
        );
    }
    assert_eq!(handled(&host, "probe__all"), (0..events).collect::<Vec<_>>());
    assert!(host.list("/api/v1/dead").is_empty());
    let (status, _) = host.terminate();
    assert!(status.success());
}

/// The args of a service's `ok` jobs in order of arrival. There must be no others but its `init`.
fn handled(host: &ays_tests::Host, service: &str) -> Vec<u64> {
    let mut states = BTreeMap::<String, usize>::new();
    let mut args = Vec::new();
    for job in host.list(&format!("/api/v1/jobs?service={service}&cause=event")).iter().rev() {
        *states.entry(job["state"].to_string()).or_default() += 1;
        args.push(job["args"][0].as_u64().expect("a number"));
    }
    assert!(states.keys().all(|state| state == "\"ok\""), "{service}: {states:?}");
    args
}
