//! The Redis command queue, with the real binary and a real Redis.

use std::process::Command;

use ays_tests::{actors, host::Start, redis::RedisServer};
use serde_json::{Value, json};

const BLUEPRINT: &str = "
actproducer__p1:
actconsumer__c1:
probe__counter:
eventfilters:
  - cmd: bump
    actor: probe
    service: counter
    action: count
";

fn redis_cli(redis: &RedisServer, args: &[&str], input: Option<&[u8]>) -> String {
    use std::io::Write as _;
    let mut command = Command::new("redis-cli");
    command.arg("-s").arg(redis.socket());
    if input.is_some() {
        command.arg("-x");
    }
    let mut child = command
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("redis-cli runs");
    child.stdin.take().expect("it is piped").write_all(input.unwrap_or_default()).expect("redis-cli reads");
    let output = child.wait_with_output().expect("redis-cli ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
}

fn push(redis: &RedisServer, entry: &str) {
    redis_cli(redis, &["RPUSH", "db:queue:command", entry], None);
}

#[test]
fn entries_pushed_by_hand_and_as_python_writes_them_reach_their_handlers() {
    let redis = RedisServer::start();
    let host = Start::new(actors()).blueprint(BLUEPRINT).arg("--command-queue").arg(redis.url()).start();
    push(&redis, r#"{"command":"event","event":"NEW_MSG_SENT","args":["by hand"]}"#);
    // json.dumps puts a blank after each separator, and escapes what is not ASCII.
    push(&redis, r#"{"command": "event", "event": "new_msg_sent", "args": ["by Python \u00e9"]}"#);
    push(&redis, r#"{"command":"execute","service_key":"probe__counter","action":"count","args":[]}"#);
    let jobs = host.until("both are handled", |host| {
        let jobs = host.list("/api/v1/jobs?service=actconsumer__c1&action=on_new_msg_sent&state=ok");
        (jobs.len() == 2).then_some(jobs)
    });
    assert_eq!((&jobs[1]["args"], &jobs[0]["args"]), (&json!(["by hand"]), &json!(["by Python é"])));
    host.wait_for("prints it", |line| line.contains(r#"Got new message:  ["by hand"]"#));
    host.until("the job asked for by name has run", |host| {
        (host.get("/api/v1/services/probe__counter").1["data"]["count"] == 1).then_some(())
    });
}

#[test]
fn entries_that_came_while_the_host_was_down_are_handled_once_each() {
    let redis = RedisServer::start();
    let entries = 10_000;
    let lines: String = (0..entries)
        .map(|n| {
            format!("RPUSH db:queue:command '{{\"command\":\"event\",\"event\":\"bump\",\"args\":[{n}]}}'\n")
        })
        .collect();
    redis.pipe(&lines);
    let host = Start::new(actors())
        .blueprint(BLUEPRINT)
        .arg("--command-queue")
        .arg(redis.unix_url())
        .arg("--log-level")
        .arg("info,guest=warn")
        .start();
    host.until("all are handled", |host| {
        (host.get("/api/v1/services/probe__counter").1["data"]["count"] == entries).then_some(())
    });
    let jobs = host.list("/api/v1/jobs?service=probe__counter");
    let mut args: Vec<u64> =
        jobs.iter().rev().map(|job| job["args"][0].as_u64().expect("a number")).collect();
    assert!(jobs.iter().all(|job| job["state"] == "ok" && job["attempt"] == 1));
    assert_eq!(args, (0..entries).collect::<Vec<_>>(), "in order of arrival");
    args.dedup();
    assert_eq!(args.len() as u64, entries);
    assert_eq!(redis_cli(&redis, &["LLEN", "db:queue:command"], None), "0");
}

#[test]
fn a_malformed_entry_is_a_dead_letter_with_its_reason_and_the_next_one_is_handled() {
    let redis = RedisServer::start();
    let host = Start::new(actors()).blueprint(BLUEPRINT).arg("--command-queue").arg(redis.url()).start();
    let big = vec![b'a'; 20 << 20];
    let entries: [(&[u8], &str); 6] = [
        (b"not json", "not JSON"),
        (b"[]", "object"),
        (br#"{"command":"event","event":5}"#, "event"),
        (br#"{"command":"nope"}"#, "nope"),
        (&big, "20971520 bytes"),
        (b"\xff\xfe{}", "UTF-8"),
    ];
    for (n, (entry, reason)) in entries.iter().enumerate() {
        redis_cli(&redis, &["RPUSH", "db:queue:command"], Some(entry));
        push(&redis, r#"{"command":"event","event":"bump"}"#);
        host.until("the good event after it is handled", |host| {
            (host.get("/api/v1/services/probe__counter").1["data"]["count"] == n + 1).then_some(())
        });
        let letters = host.list("/api/v1/dead");
        assert_eq!(letters.len(), n + 1);
        let told = letters[0]["reason"].as_str().expect("it has a reason");
        assert!(told.contains(reason), "{reason}: {told}");
        let (_, whole) =
            host.get(&format!("/api/v1/dead/{}", letters[0]["id"].as_str().expect("it has an id")));
        assert_eq!(whole["entry"]["size_bytes"], entry.len(), "the raw text is kept whole");
        match std::str::from_utf8(entry) {
            Ok(text) => assert_eq!(whole["entry"]["raw"], text),
            Err(_) => assert_eq!(whole["entry"]["raw_hex"], "fffe7b7d"),
        }
    }
    let listed = host.cli_ok(&["dead", "list"]);
    assert_eq!(listed.lines().count(), 7, "{listed}");
}

#[test]
fn the_host_says_that_redis_went_away_and_came_back_and_goes_on() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes"]);
    let host = Start::new(actors()).blueprint(BLUEPRINT).arg("--command-queue").arg(redis.url()).start();
    let ready = |host: &ays_tests::Host| host.get("/readyz").0;
    host.until("it is ready", |host| (ready(host) == 200).then_some(()));
    redis.stop();
    host.until("it is not ready without Redis", |host| (ready(host) == 503).then_some(()));
    host.wait_for("says so", |line| line.contains("WARN"));
    redis.restart();
    host.until("it is ready again", |host| (ready(host) == 200).then_some(()));
    push(&redis, r#"{"command":"event","event":"bump"}"#);
    let counter: Value = host.until("an event is handled again", |host| {
        let counter = host.get("/api/v1/services/probe__counter").1["data"]["count"].clone();
        (counter == 1).then_some(counter)
    });
    assert_eq!(counter, 1);
}
