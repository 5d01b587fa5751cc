//! The command line: what it prints, and how it ends.

use std::process::Command;

use ays_tests::{
    Host, actors,
    host::{Start, binary},
};
use serde_json::Value;

const BLUEPRINT: &str = "actproducer__p1:\nactconsumer__c1:\nprobe__x:\n  count: 3\n";

fn host() -> Host {
    let host = Start::new(actors()).blueprint(BLUEPRINT).start();
    host.cli_ok(&["run", "install", "--wait"]);
    host.until("handlers have run", |host| {
        (host.list("/api/v1/jobs?action=on_producer_installed2&state=ok").len() == 1).then_some(())
    });
    host
}

#[test]
fn every_kind_of_thing_is_listed_and_shown_and_json_is_the_apis() {
    let host = host();
    for (kind, id) in [
        ("actors", Some("probe")),
        ("services", Some("actproducer__p1")),
        ("filters", Some("1")),
        ("schedules", Some("actproducer__p1:send_message")),
        ("jobs", None),
        ("dead", None),
        ("events", None),
    ] {
        let table = host.cli_ok(&[kind, "list"]);
        assert!(
            table.lines().next().is_some_and(|heading| heading == heading.to_uppercase()),
            "{kind}: {table}"
        );
        let json: Value = serde_json::from_str(&host.cli_ok(&[kind, "list", "--json"])).expect("it is JSON");
        let items = json["items"].as_array().expect("it has items");
        assert_eq!(table.lines().count(), items.len() + 1, "{kind}");
        if let Some(id) = id {
            let shown: Value = serde_json::from_str(&host.cli_ok(&[kind, "show", id])).expect("it is JSON");
            assert_eq!(shown, host.get(&format!("/api/v1/{kind}/{id}")).1);
        }
    }
    let jobs: Value =
        serde_json::from_str(&host.cli_ok(&["jobs", "list", "--action", "install", "--json"])).expect("JSON");
    let install = &jobs["items"][0];
    let id = install["id"].as_str().expect("it has an id");
    assert_eq!((&install["actor"], &install["namespace"]), (&"actproducer".into(), &"default".into()));
    assert!(install["usage"]["host_calls"].as_u64() >= Some(1));
    assert!(install["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    assert!(host.cli_ok(&["jobs", "logs", id]).contains("INFO  Done installing the producer"));
}

#[test]
fn the_log_of_each_attempt_is_followed_once_until_the_job_ends() {
    let start = Start::new(actors()).blueprint("probe__x:\n");
    let host = start.start();
    let job = host.run("probe__x", "says_and_fails", &serde_json::json!([]));
    let id = job["id"].as_str().expect("it has an id");
    let url = host.url().to_owned();
    let following = Command::new(binary())
        .args(["jobs", "logs", id, "-f", "--host", &url])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("cannot run ays-host");
    host.until("the next attempt has failed", |host| {
        let job = host.get(&format!("/api/v1/jobs/{id}")).1;
        (job["attempt"] == 2 && job["state"] == "retrying").then_some(())
    });
    // It looks five times a second.
    std::thread::sleep(std::time::Duration::from_secs(1));
    host.cli_ok(&["jobs", "cancel", id]);
    let output = following.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let said: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("attempt ")).map(|(_, n)| n).collect();
    assert_eq!(said, ["1", "2"], "{text}");
}

#[test]
fn pages_hold_each_thing_once() {
    let host = host();
    let whole = host.list("/api/v1/jobs");
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let (_, page) = host.get(&format!("/api/v1/jobs?limit=2{cursor}"));
        let items = page["items"].as_array().expect("it has items");
        assert!(items.len() <= 2);
        ids.extend(items.iter().map(|job| job["id"].clone()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    // A job or two of the schedule may have come meanwhile, at the young end.
    let known: Vec<_> = whole.iter().map(|job| job["id"].clone()).collect();
    assert!(ids.ends_with(&known), "{ids:?} {known:?}");
}

#[test]
fn run_waits_and_tells_of_failures_with_exit_1() {
    let host = host();
    let done = host.cli(&["run", "count", "--actor", "probe", "--wait"]);
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains("probe__x count"));
    let failed = host.cli(&["run", "fail_for_good", "--service", "x", "--wait"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("failed for good, as asked"));
}

#[test]
fn mistakes_are_told_with_what_would_be_right() {
    let host = host();
    for (args, code, told) in [
        (vec!["run", "dance"], 1, "on_new_msg_sent"),
        (vec!["run", "count", "--service", "nobody"], 1, "none of the 3 services matches"),
        (vec!["run", "count", "--service", "("], 1, "service"),
        (vec!["run", "count", "--args", "{"], 1, "not JSON"),
        (vec!["emit", ""], 1, "empty"),
        (vec!["emit", "e", "--json", "{"], 1, "not JSON"),
        (vec!["jobs", "show", "nonsense"], 1, "is not an id"),
        (vec!["jobs", "list", "--state", "great"], 1, "great"),
        (vec!["jobs", "list", "--limit", "5000"], 1, "1000"),
        (vec!["jobs", "list", "--since", "yesterday"], 1, "RFC 3339"),
        (vec!["jobs", "list", "--cause", "evnt"], 1, "event, schedule, run, init, api"),
        (vec!["services", "list", "--state", "ok"], 2, "--state"),
        (vec!["services", "show", "probe__y"], 1, "no service `probe__y`"),
        (vec!["services", "show", "probe"], 1, "actor__instance"),
        (vec!["apply", "nowhere.yaml"], 1, "nowhere.yaml"),
        (vec!["inspect", "nowhere.wasm"], 1, "nowhere.wasm"),
        (vec!["build", "/"], 1, "Cargo.toml"),
        (vec!["dance"], 2, "unrecognized subcommand"),
        (vec!["serve", "--store", "etcd://x"], 2, "file:PATH"),
        (vec!["serve", "--command-queue", "http://x"], 2, "redis://"),
        (vec!["serve", "--listen", "8642"], 2, "ADDR:PORT"),
    ] {
        let output = host.cli(&args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}: nothing but data goes to standard output");
    }
    let alone = Command::new(binary())
        .args(["jobs", "list", "--host", "http://127.0.0.1:9"])
        .output()
        .expect("it runs");
    assert_eq!(alone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("ays-host serve"));
}

#[test]
fn an_event_that_nobody_took_is_shown_by_its_id() {
    let host = host();
    let ids: Vec<String> = (0..3)
        .map(|_| {
            let accepted: Value =
                serde_json::from_str(&host.cli_ok(&["emit", "nobody"])).expect("it is JSON");
            accepted["id"].as_str().expect("it has an id").to_owned()
        })
        .collect();
    for id in &ids {
        let shown: Value = serde_json::from_str(&host.cli_ok(&["events", "show", id])).expect("it is JSON");
        assert_eq!((&shown["id"], &shown["event"]), (&id.as_str().into(), &"nobody".into()));
    }
    for (id, status) in [("00000000000000000000000000", 404), ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", 404), ("x", 400)]
    {
        assert_eq!(host.get(&format!("/api/v1/events/{id}")).0, status, "{id}");
    }
}

#[test]
fn a_list_refuses_what_it_does_not_take() {
    let host = host();
    for (path, told) in [
        ("services?state=ok", "`limit`, `cursor`, `actor`"),
        ("filters?action=x", "`limit`, `cursor`, `service`, `event`"),
        ("schedules?actor=x", "`limit`, `cursor`, `service`"),
        ("jobs?event=x", "`since`"),
        ("dead?actor=x", "`limit`, `cursor`, `service`"),
        ("events?event=x", "`limit`, `cursor`"),
        ("actors?actor=x", "`limit`, `cursor`"),
        ("filters?cursor=x", "is not a cursor"),
        ("schedules?cursor=x", "is not a cursor"),
        ("jobs?cursor=x", "is not a cursor"),
        ("dead?cursor=x", "is not a cursor"),
        ("events?cursor=x", "is not a cursor"),
        ("services/%ff", "UTF-8"),
        ("runs/%ff", "UTF-8"),
    ] {
        let (status, answer) = host.get(&format!("/api/v1/{path}"));
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(told), "{path}: {status} {answer}");
        assert_eq!(answer["error"]["code"], "invalid", "{path}");
    }
}

#[test]
fn variables_of_flags_take_what_people_write_for_yes_and_no() {
    let host = host();
    for (value, is_json) in [("1", true), ("yes", true), ("true", true), ("0", false), ("no", false)] {
        let output = Command::new(binary())
            .args(["actors", "list", "--host", host.url()])
            .env("AYS_JSON", value)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{value}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.starts_with(b"{"), is_json, "{value}");
    }
}

#[test]
fn on_a_terminal_each_log_line_has_a_line_of_its_own() {
    let start = Start::new(actors());
    let serve = start.command();
    let mut words = vec![serve.get_program(), serve.get_args().next().expect("serve")];
    words.extend(serve.get_args().skip(1));
    let command: Vec<_> =
        words.iter().map(|word| format!("'{}'", word.to_str().expect("it is UTF-8"))).collect();
    // Of util-linux: runs a command on a terminal.
    let output = Command::new("timeout")
        .args(["-s", "INT", "5", "script", "-qec", &command.join(" "), "/dev/null"])
        .output()
        .expect("it runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("loading actors") && shown.contains("loaded actor probe"), "{shown}");
    for line in shown.split(['\r', '\n']) {
        assert!(!(line.contains("loading actors") && line.contains("INFO")), "{line:?}");
    }
}

#[test]
fn a_broken_blueprint_is_told_of_whole_and_changes_nothing() {
    let host = host();
    let folder = tempfile::tempdir().expect("cannot make a folder");
    let file = folder.path().join("broken.yaml");
    std::fs::write(&file, "probe__x:\n  count: many\nnobody__y:\nprobe__z:\n").expect("cannot write");
    let output = host.cli(&["apply", &file.display().to_string()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("count") && told.contains("nobody") && told.contains("broken.yaml"), "{told}");
    assert_eq!(host.get("/api/v1/services/probe__z").0, 404, "nothing of it was applied");

    let refused = Start::new(actors()).blueprint("nobody__y:\n").command().output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stdout);
    assert!(told.contains("nobody") && told.contains("actproducer"), "{told}");
}

#[test]
fn args_that_no_value_can_hold_are_refused_where_they_come_in() {
    let host = host();
    for args in ["[1e999]".to_owned(), format!("{}{}", "[".repeat(200), "]".repeat(200))] {
        let response = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build())
            .post(format!("{}/api/v1/events", host.url()))
            .send(format!(r#"{{"event":"new_msg_sent","args":{args}}}"#))
            .expect("the host answers");
        assert_eq!(response.status(), 400);
    }
    assert_eq!(host.get("/api/v1/nothing").1["error"]["code"], "not_found");
    assert_eq!(host.get("/api/v1/filters/abc").1["error"]["code"], "invalid");
    assert_eq!(host.post("/api/v1/jobs", &Value::Null).1["error"]["code"], "invalid");
    let webhook = serde_json::json!({"command": "New_Msg_Sent", "payload": ["by webhook"]});
    assert_eq!(host.post("/webhooks/events", &webhook), (200, serde_json::json!({})));
    host.wait_for("handles it", |line| line.contains(r#"Got new message:  ["by webhook"]"#));
}

#[test]
fn json_log_lines_tell_service_action_and_job() {
    let host = Start::new(actors())
        .blueprint(BLUEPRINT)
        .arg("--run")
        .arg("install")
        .arg("--log-format")
        .arg("json")
        .launch();
    let line = host.wait_for("installs", |line| line.contains("Done installing the producer"));
    let line: Value = serde_json::from_str(&line.text).expect("each line is JSON");
    assert_eq!((&line["service"], &line["action"]), (&"actproducer__p1".into(), &"install".into()));
    assert_eq!(line["message"], "Done installing the producer");
    assert_eq!(line["job"].as_str().map(str::len), Some(26));
}

#[test]
fn the_stream_tells_what_happens() {
    use std::io::{BufRead as _, BufReader};
    let host = host();
    let stream = ureq::get(format!("{}/api/v1/stream", host.url())).call().expect("the host answers");
    let lines = BufReader::new(stream.into_body().into_reader()).lines();
    host.cli_ok(&["emit", "new_msg_sent", "streamed"]);
    let mut told = String::new();
    for line in lines.map_while(Result::ok) {
        told += &line;
        if line.contains("on_new_msg_sent") && line.contains("streamed") {
            break;
        }
    }
    assert!(told.contains("event: event") && told.contains("event: job"), "{told}");
}
