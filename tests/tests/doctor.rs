//! `ays-host doctor` says what endangers data, with the command that mends it, and fails where no host would run.

use std::process::Command;

use ays_tests::{
    actors,
    host::{Start, binary},
    redis::RedisServer,
};
use serde_json::Value;

fn doctor(store: &str) -> (Option<i32>, Vec<Value>) {
    let output = Command::new(binary())
        .args(["doctor", "--json", "--store", store, "--code-cache", "none", "--actors"])
        .arg(actors())
        .output()
        .expect("it runs");
    let found = serde_json::from_slice(&output.stdout).expect("its output is JSON");
    (output.status.code(), found)
}

fn about<'a>(found: &'a [Value], state: &str) -> Vec<&'a Value> {
    found.iter().filter(|one| one["subject"] == "store" && one["state"] == state).collect()
}

#[test]
fn what_endangers_data_in_redis_is_said_with_the_command_that_mends_it() {
    let redis = RedisServer::start_with(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
    let (code, found) = doctor(&redis.url());
    assert_eq!(code, Some(0), "{found:?}");
    let warnings = about(&found, "warning");
    assert_eq!(warnings.len(), 2, "{found:?}");
    for warning in warnings {
        let fix = warning["fix"].as_str().expect("a command");
        let done = Command::new("sh").args(["-c", fix]).output().expect("a shell runs");
        // The server was started without a file that its configuration could be written to.
        assert!(String::from_utf8_lossy(&done.stdout).contains("OK"), "{fix}: {done:?}");
        let set = fix.split(" && ").filter(|command| command.contains("CONFIG SET"));
        for command in set {
            assert!(Command::new("sh").args(["-c", command]).status().expect("a shell runs").success());
        }
    }
    let (code, found) = doctor(&redis.url());
    assert_eq!((code, about(&found, "warning").len()), (Some(0), 0), "{found:?}");
}

#[test]
fn where_no_host_would_run_it_fails_and_says_why() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    redis.stop();
    let (code, found) = doctor(&url);
    assert_eq!(code, Some(1));
    let errors = about(&found, "error");
    assert!(errors.iter().any(|error| error["what"].to_string().contains("cannot be reached")), "{found:?}");
    let start = Start::new(actors());
    let state = start.path("state");
    let host = start.start();
    let (code, found) = doctor(&format!("file:{}", state.display()));
    let errors = about(&found, "error");
    let holder = format!("is held by process {}", host.pid());
    assert!(code == Some(1) && errors.len() == 1 && errors[0].to_string().contains(&holder), "{found:?}");
    host.kill9();
    let (code, found) = doctor(&format!("file:{}", state.display()));
    assert_eq!((code, about(&found, "ok").len()), (Some(0), 1), "{found:?}");
    let (code, found) = doctor("file:/proc/nothing/state");
    assert_eq!((code, about(&found, "error").len()), (Some(1), 1), "{found:?}");
}
