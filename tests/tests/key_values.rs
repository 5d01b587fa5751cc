//! The key-value pairs of an actor: kept with its turns, granted, and limited.

use ays_tests::{
    Host,
    courier::{granted, run},
    redis::RedisServer,
};
use serde_json::{Value, json};

/// What the steps of `pairs` gave, on a job that has ended well.
fn pairs(host: &Host, steps: &Value) -> Vec<Value> {
    let ended = run(host, "pairs", &json!([steps]));
    assert_eq!(ended["state"], "ok", "{ended}");
    ended["result"].as_array().expect("a list").clone()
}

#[test]
fn key_value_pairs_are_kept_with_the_turn_and_over_a_kill() {
    let start = granted(&["kv".into(), "emit courier_*".into()]);
    let host = start.start();
    let gave = pairs(
        &host,
        &json!([
            ["get", "a/1"],
            ["set", "a/1", {"n": 1}],
            ["set", "a/2", "two"],
            ["set", "b", 3],
            ["get", "a/1"],
            ["delete", "b"],
            ["get", "b"],
            ["keys", "a/"],
            ["keys", ""]
        ]),
    );
    let both = json!(["a/1", "a/2"]);
    assert_eq!(
        gave,
        [
            json!(null),
            json!(null),
            json!(null),
            json!(null),
            json!({"n": 1}),
            json!(null),
            json!(null),
            both.clone(),
            both
        ]
    );

    // A job that fails keeps nothing, though it reads what it has set.
    let failed = run(&host, "pairs", &json!([[["set", "a/1", "failed"], ["delete", "a/2"], ["fail"]]]));
    assert_eq!(
        (&failed["state"], &failed["error"]["message"]),
        (&json!("error"), &json!("told to fail")),
        "{failed}"
    );
    let gave =
        pairs(&host, &json!([["get", "a/1"], ["get", "a/2"], ["set", "a/3", null], ["delete", "a/1"]]));
    assert_eq!(gave[..2], [json!({"n": 1}), json!("two")]);

    // Many at once: each job is executed on what those before it left, durable or not.
    let runs: Vec<String> = (1..=40)
        .map(|n| {
            let ask =
                json!({"action": "count", "service": "courier__c", "args": ["counted", n], "force": true});
            let (status, run) = host.post("/api/v1/run", &ask);
            assert_eq!(status, 202, "{run}");
            run["id"].as_str().expect("a run has an id").to_owned()
        })
        .collect();
    host.until("all have counted", |host| {
        let jobs = host.list("/api/v1/jobs?action=count&state=ok");
        (jobs.len() == runs.len()).then_some(())
    });
    let usage = host.get("/api/v1/services/courier__c").1["kv"].clone();
    assert_eq!(usage, json!({"keys": 3, "bytes": "a/2".len() + 5 + "a/3".len() + 4 + "counted".len() + 3}));
    host.kill9();

    let host = start.start();
    let gave = pairs(&host, &json!([["get", "counted"], ["keys", ""], ["get", "a/2"]]));
    assert_eq!(gave, [json!(820), json!(["a/2", "a/3", "counted"]), json!("two")]);
    host.terminate();
}

#[test]
fn key_value_pairs_need_a_grant_and_have_limits() {
    const VALUE: &str = "a-secret-of-some-length";
    let host = granted(&["http http://127.0.0.1:1".into()]).start();
    let denied = run(&host, "count", &json!(["k", 1]));
    let message = denied["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(denied["error"]["kind"], "denied", "{denied}");
    assert!(
        message.contains("courier is not granted `kv`") && message.ends_with("courier: [\"kv\"]"),
        "{message}"
    );
    let gave = pairs(&host, &json!([["get", "k"], ["delete", "k"], ["keys", ""]]));
    assert!(
        gave.iter().all(|gave| gave.as_str().is_some_and(|gave| gave.starts_with("Denied: "))),
        "{gave:?}"
    );
    host.terminate();

    let start = granted(&["kv".into(), "secret api_*".into()]).variable("KV_API_KEY", VALUE);
    let host = start.arg("--secrets").arg("env:KV_").start();
    let (most, long, longer) = (1 << 20, "k".repeat(1024), "k".repeat(1025));
    let gave = pairs(
        &host,
        &json!([
            ["fill", long, 1],
            ["fill", longer, 1],
            ["fill", "", 1],
            ["fill", "a", most],
            ["fill", "b", most + 1],
            ["fill", "b", most],
            ["fill", "c", most],
            ["fill", "a", most - 1024],
            ["fill", "c", 100],
            ["delete", "b"],
            ["fill", "c", most],
            ["length", "c"],
            ["secret", "API_KEY"]
        ]),
    );
    let told = |at: usize| gave[at].as_str().unwrap_or_default().to_owned();
    for (at, gave) in gave.iter().enumerate().filter(|(at, _)| ![1, 2, 4, 6, 11, 12].contains(at)) {
        assert_eq!(*gave, json!(null), "step {at}");
    }
    assert!(
        told(1).starts_with("Limit: ") && told(1).ends_with("the key has 1025 bytes; a key has at most 1024"),
        "{gave:?}"
    );
    assert!(told(2).starts_with("Invalid: "), "{gave:?}");
    assert!(told(4).ends_with("the value has 1048577 bytes; a value has at most 1048576"), "{gave:?}");
    let bytes = 1024 + 1 + 3 * (most + 1);
    let text = format!("would have {bytes} bytes; its limit `kv_bytes` is {}; ", 3 * most);
    let raised = "(`--ceiling kv_bytes=AMOUNT`); `--limit kv_bytes=AMOUNT` is for actors that ask for none";
    assert!(
        told(6).starts_with("Limit: ") && told(6).contains(&text) && told(6).ends_with(raised),
        "{gave:?}"
    );
    assert_eq!(gave[11], most);
    assert!(
        told(12).starts_with("Invalid: ") && told(12).contains("would hold the value of a secret"),
        "{gave:?}"
    );
    host.terminate();
}

#[test]
fn a_host_that_takes_a_service_over_goes_on_with_its_pairs() {
    let redis = RedisServer::start();
    let start = granted(&["kv".into()]);
    let start = start.store(redis.url()).arg("--command-queue").arg("none").arg("--lease").arg("1");
    let first = start.start();
    assert_eq!(run(&first, "count", &json!(["k", 5]))["result"], 5);
    assert_eq!(run(&first, "count", &json!(["k", 2]))["result"], 7);
    first.kill9();
    let second = start.start();
    assert_eq!(run(&second, "count", &json!(["k", 1]))["result"], 8);
    assert_eq!(
        pairs(&second, &json!([["keys", ""], ["delete", "k"], ["keys", ""]])),
        [json!(["k"]), json!(null), json!([])]
    );
}
