//! A host's life: what holds over restarts, drains and second hosts, and the promises about a service's jobs.

use std::{thread, time::Duration};

use ays_tests::{
    Host,
    actors::{actors, phase},
    host::Start,
};
use rustix::process::Signal;
use serde_json::{Value, json};

fn data(host: &Host, service: &str) -> Value {
    host.get(&format!("/api/v1/services/{service}")).1["data"].clone()
}

fn emit(host: &Host, event: &str, args: &Value) {
    let (status, answer) = host.post("/api/v1/events", &json!({"event": event, "args": args}));
    assert_eq!(status, 202, "{answer}");
}

const FILTERS: &str = "
probe__a:
probe__b:
eventfilters:
  - {cmd: slow, actor: probe, action: slow}
  - {cmd: order, actor: probe, service: a, action: order}
  - {cmd: strict, actor: probe, service: a, action: order_strict}
  - {cmd: aside, actor: probe, service: a, action: order_aside}
  - {cmd: effects, actor: probe, service: a, action: all_effects}
  - {cmd: fail, actor: probe, service: a, action: fail_after_effects}
";

#[test]
fn sigterm_lets_running_jobs_end_takes_no_new_ones_and_exits_0() {
    let start = Start::new(actors()).blueprint(FILTERS);
    let host = start.start();
    for _ in 0..3 {
        emit(&host, "slow", &json!([400]));
    }
    host.until("two run", |host| {
        (host.list("/api/v1/jobs?state=running&action=slow").len() == 2).then_some(())
    });
    let (status, lines) = host.terminate();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    let host = start.start();
    host.until("the rest is done after a restart", |host| {
        (data(host, "probe__a")["count"] == 3 && data(host, "probe__b")["count"] == 3).then_some(())
    });
    let jobs = host.list("/api/v1/jobs?action=slow");
    assert_eq!(jobs.len(), 6);
    assert!(
        jobs.iter().all(|job| job["state"] == "ok" && job["attempt"] == 1),
        "none was cut short or repeated"
    );
}

#[test]
fn a_job_that_outlasts_the_drain_is_stopped_and_done_after_the_restart() {
    let start = Start::new(actors()).blueprint(FILTERS);
    let host = start.clone().arg("--drain-timeout").arg("0.3").start();
    emit(&host, "slow", &json!([2000]));
    host.until("two run", |host| {
        (host.list("/api/v1/jobs?state=running&action=slow").len() == 2).then_some(())
    });
    let (status, lines) = host.terminate();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(lines.iter().any(|line| line.text.contains("start over")), "{lines:?}");
    let host = start.start();
    assert_eq!(data(&host, "probe__a")["count"], 0, "what was stopped left no trace");
    host.until("it is done once", |host| (data(host, "probe__a")["count"] == 1).then_some(()));
}

#[test]
fn a_second_host_on_the_store_is_refused_and_told_who_holds_it() {
    let start = Start::new(actors());
    let host = start.start();
    let output = start.command().output().expect("cannot run ays-host");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&host.pid().to_string()), "{told}");
    host.kill9();
    let host = start.start();
    assert_eq!(host.get("/healthz").0, 200, "a dead host's store can be opened at once");
}

#[test]
fn a_schedule_goes_on_after_a_restart_without_an_occurrence_twice() {
    let start = Start::new(actors())
        .blueprint("probe__a:\nactions:\n  - {action: count, actor: probe, service: a, recurring: 1s}\n");
    let host = start.start();
    host.until("two have run", |host| {
        (host.list("/api/v1/jobs?action=count&state=ok").len() >= 2).then_some(())
    });
    host.kill9();
    thread::sleep(Duration::from_millis(2500));
    let host = start.start();
    host.until("more have run", |host| {
        (host.list("/api/v1/jobs?action=count&state=ok").len() >= 5).then_some(())
    });
    let mut due: Vec<i64> = host
        .list("/api/v1/jobs?action=count")
        .iter()
        .map(|job| {
            job["cause"]["due_at"]
                .as_str()
                .expect("it is due")
                .parse::<ays_core::Timestamp>()
                .expect("a time")
                .millis()
        })
        .collect();
    due.sort_unstable();
    assert!(due.windows(2).all(|pair| pair[1] > pair[0]), "none twice: {due:?}");
    assert!(due.iter().all(|time| (time - due[0]) % 1000 == 0), "no drift: {due:?}");
    assert!(due.windows(2).any(|pair| pair[1] - pair[0] >= 2000), "missed ones count as one: {due:?}");
}

#[test]
fn a_services_jobs_run_one_at_a_time_in_order_of_arrival() {
    let host = Start::new(actors()).blueprint(FILTERS).start();
    for n in 0..200 {
        emit(&host, "order", &json!([n]));
    }
    let seen = host.until("all have run", |host| {
        let seen = data(host, "probe__a")["seen"].clone();
        (seen.as_array().is_some_and(|seen| seen.len() == 200)).then_some(seen)
    });
    let expected: Vec<Value> = (0..200).map(|n| json!([n])).collect();
    assert_eq!(seen, Value::Array(expected));
}

#[test]
fn a_job_to_be_retried_steps_aside_unless_its_action_is_strict() {
    let host = Start::new(actors()).blueprint(FILTERS).start();
    emit(&host, "aside", &json!(["late", 2]));
    emit(&host, "aside", &json!(["early", 1]));
    host.until("both have run", |host| {
        (data(host, "probe__a")["seen"] == json!(["early", "late"])).then_some(())
    });
    emit(&host, "strict", &json!(["first", 2]));
    emit(&host, "strict", &json!(["second", 1]));
    host.until("both have run", |host| {
        (data(host, "probe__a")["seen"] == json!(["early", "late", "first", "second"])).then_some(())
    });
}

#[test]
fn a_turn_is_all_or_nothing() {
    let host = Start::new(actors()).blueprint(FILTERS).start();
    emit(&host, "fail", &json!([]));
    host.until("it failed", |host| {
        (host.list("/api/v1/jobs?action=fail_after_effects&state=error").len() == 1).then_some(())
    });
    assert_eq!(data(&host, "probe__a")["count"], 0);
    assert!(host.list("/api/v1/events").is_empty());
    assert_eq!(host.list("/api/v1/dead").len(), 1);

    emit(&host, "effects", &json!([]));
    host.until("it succeeded", |host| {
        (host.list("/api/v1/jobs?action=all_effects&state=ok").len() == 1).then_some(())
    });
    assert_ne!(data(&host, "probe__a")["count"], 0);
    assert!(host.list("/api/v1/filters?service=probe__a").iter().any(|filter| filter["event"] == "never"));
    assert_eq!(host.list("/api/v1/schedules").len(), 1);
    let letter = host.list("/api/v1/dead").remove(0);
    let id = letter["id"].as_str().expect("it has an id").to_owned();
    host.cli_ok(&["dead", "retry", &id]);
    host.until("the retried one failed again", |host| {
        (host.list("/api/v1/jobs?action=fail_after_effects&state=error").len() == 2).then_some(())
    });
}

#[test]
fn a_changed_blueprint_changes_the_data_once_and_leaves_alone_what_actions_did() {
    let start = Start::new(actors()).blueprint("probe__a:\n  count: 10\n");
    let host = start.start();
    host.cli_ok(&["run", "count", "--service", "a", "--wait"]);
    assert_eq!(data(&host, "probe__a")["count"], 11);
    let file = start.path("blueprint.yaml");
    host.cli_ok(&["apply", &file.display().to_string()]);
    assert_eq!(data(&host, "probe__a")["count"], 11, "an unchanged blueprint changes nothing");
    std::fs::write(&file, "probe__a:\n  count: 50\n").expect("cannot write");
    let told = host.cli_ok(&["apply", &file.display().to_string()]);
    assert!(told.contains("50"), "{told}");
    // The change is a job in the service's mailbox; applying does not wait for that.
    host.until("the change is made", |host| (data(host, "probe__a")["count"] == 50).then_some(()));
}

#[test]
fn a_cancelled_job_is_stopped_and_leaves_nothing_behind() {
    let host = Start::new(actors()).blueprint(FILTERS).start();
    emit(&host, "slow", &json!([300]));
    emit(&host, "slow", &json!([40_000]));
    emit(&host, "order", &json!(["after"]));
    let long = host.until("the long one runs", |host| {
        let jobs = host.list("/api/v1/jobs?service=probe__a&action=slow&state=running");
        (data(host, "probe__a")["count"] == 1)
            .then(|| jobs.into_iter().find(|job| job["args"] == json!([40_000])))?
    });
    host.cli_ok(&["jobs", "cancel", long["id"].as_str().expect("it has an id")]);
    // Long before 40 s, which is what the guest would have slept.
    host.until("the next one has run", |host| {
        (data(host, "probe__a")["seen"] == json!([["after"]])).then_some(())
    });
    assert_eq!(data(&host, "probe__a")["count"], 1, "nothing of the cancelled job is seen");
    let (_, job) = host.get(&format!("/api/v1/jobs/{}", long["id"].as_str().expect("it has an id")));
    assert_eq!(job["state"], "cancelled");
}

#[test]
fn a_blueprints_change_that_was_cancelled_is_made_when_it_is_applied_again() {
    let text = |blob: &str| FILTERS.replacen("probe__a:\n", &format!("probe__a:\n  blob: {blob}\n"), 1);
    let start = Start::new(actors()).blueprint(&text("one"));
    let host = start.start();
    emit(&host, "slow", &json!([1500]));
    host.until("it is busy", |host| {
        (host.list("/api/v1/jobs?service=probe__a&action=slow&state=running").len() == 1).then_some(())
    });
    let file = start.path("blueprint.yaml");
    std::fs::write(&file, text("two")).expect("cannot write");
    host.cli_ok(&["apply", &file.display().to_string()]);
    let change = host.list("/api/v1/jobs?service=probe__a&action=processChange").remove(0);
    host.cli_ok(&["jobs", "cancel", change["id"].as_str().expect("it has an id")]);
    assert_eq!(data(&host, "probe__a")["blob"], "one");
    host.cli_ok(&["apply", &file.display().to_string()]);
    host.until("the change is made", |host| (data(host, "probe__a")["blob"] == "two").then_some(()));
}

#[test]
fn a_turn_is_seen_while_the_next_job_still_runs() {
    let host = Start::new(actors()).blueprint(FILTERS).start();
    emit(&host, "slow", &json!([200]));
    for n in 0..3 {
        emit(&host, "order", &json!([n]));
    }
    emit(&host, "slow", &json!([40_000]));
    host.until("what ran before is seen", |host| {
        (data(host, "probe__a")["seen"] == json!([[0], [1], [2]])).then_some(())
    });
    assert_eq!(host.list("/api/v1/jobs?service=probe__a&action=slow&state=ok").len(), 1);
}

#[test]
fn a_host_whose_log_nobody_reads_goes_on() {
    use std::io::{BufRead as _, BufReader};
    for (closed, what) in [(true, "closed"), (false, "stalled")] {
        let start = Start::new(actors()).blueprint("probe__a:\n");
        let mut child = start
            .command()
            .arg("--log-level")
            .arg("debug")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("cannot run ays-host");
        let mut log = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut read_until = |found: &str| loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("it is text") > 0, "the host ended");
            if line.trim().contains(found) {
                break line.trim().to_owned();
            }
        };
        let url = read_until("listening on ").split("listening on ").nth(1).expect("just found").to_owned();
        read_until("INFO  ready");
        let log = (!closed).then_some(log);
        // More than a pipe holds: 64 KiB.
        for _ in 0..4 {
            let done = std::process::Command::new(ays_tests::host::binary())
                .args(["run", "chatty", "--args", "[150]", "--wait", "--host", &url])
                .output()
                .expect("cannot run ays-host");
            assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).expect("cannot signal the host");
        let until = std::time::Instant::now() + ays_tests::host::PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().expect("cannot wait") {
                break status;
            }
            assert!(std::time::Instant::now() < until, "{what}: the host does not end");
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{what}");
        drop(log);
    }
}

#[test]
fn a_second_signal_ends_the_host_at_once_and_loses_nothing() {
    let start = Start::new(actors()).blueprint(FILTERS);
    let mut host = start.start();
    emit(&host, "slow", &json!([30_000]));
    host.until("they run", |host| {
        (host.list("/api/v1/jobs?state=running&action=slow").len() == 2).then_some(())
    });
    host.signal(Signal::INT);
    host.wait_for("drains", |line| line.contains("stopping"));
    host.signal(Signal::INT);
    assert_eq!(host.wait().code(), Some(130));
    let host = start.start();
    assert_eq!(host.list("/api/v1/jobs?action=slow").len(), 2);
}

#[test]
fn a_host_that_is_stopped_right_after_an_upgrade_has_set_what_is_new_in_the_manifest() {
    const SERVICES: usize = 2000;
    let place = Start::new(actors());
    let folder = place.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    let put = |version| {
        std::fs::copy(phase(version).join("phase.wasm"), folder.join("phase.wasm")).expect("cannot copy");
    };
    put("");
    let services: String = (0..SERVICES).map(|n| format!("phase__s{n}:\n")).collect();
    let start = Start::new(&folder).blueprint(&services);
    let host = start.start();
    put("listening");
    host.wait_for("the upgrade", |line| line.contains("upgraded actor phase"));
    host.terminate();
    let host = start.start();
    assert_eq!(host.list("/api/v1/filters").len(), SERVICES);
    assert_eq!(host.list("/api/v1/schedules").len(), SERVICES);
}
