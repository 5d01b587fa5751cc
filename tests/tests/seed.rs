//! The seed page's producer and consumer do what the page promises.

use ays_tests::{
    Host, actors,
    actors::{actors_without_init, root},
    host::Start,
};
use serde_json::json;

fn example(name: &str) -> String {
    let file = root().join("plugins/examples").join(name).join("blueprint.yaml");
    std::fs::read_to_string(file).expect("the example is there")
}

/// Waits for so many messages, and checks what the page promises about all lines so far.
fn check(host: &Host, messages: usize, consumer: &str) {
    host.wait_for_nth(messages, "prints messages", |line| {
        line.contains(r#"Got new message:  ["hello prince"]"#)
    });
    let lines = host.lines();
    let position = |text: &str| {
        let found: Vec<_> = (0..lines.len()).filter(|at| lines[*at].text.contains(text)).collect();
        assert_eq!(found.len(), 1, "`{text}` is printed once");
        found[0]
    };
    let done = position("Done installing the producer");
    let first = position(r#"first handler::: was able to install the producer ... yay!!:  [""]"#);
    let second = position(r#"second handler::: was able to install the producer ... yay!!:  [""]"#);
    assert!(done < first && first < second, "{done} {first} {second}");
    assert!(host.lines_with("Sending message hello prince").len() >= messages);

    // By the jobs' own records: occurrences lie exactly five seconds apart, and each led to one event and one job.
    let mut sent = host.list("/api/v1/jobs?service=actproducer__p1&action=send_message&state=ok");
    sent.reverse();
    let due: Vec<i64> = sent.iter().map(|job| millis(&job["cause"]["due_at"])).collect();
    assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 5000), "{due:?}");
    let got = host.list(&format!("/api/v1/jobs?service={consumer}&action=on_new_msg_sent"));
    assert!(
        got.len() + 1 >= sent.len() && got.len() <= sent.len() + 1,
        "{} sent, {} got",
        sent.len(),
        got.len()
    );
    assert!(
        got.iter()
            .all(|job| job["args"] == json!(["hello prince"]) && job["cause"]["event"] == "new_msg_sent")
    );
}

fn millis(time: &serde_json::Value) -> i64 {
    let time: ays_core::Timestamp = time.as_str().expect("it is a time").parse().expect("it is RFC 3339");
    time.millis()
}

#[test]
fn handlers_registered_in_init_get_the_events() {
    let host = Start::new(actors()).blueprint(&example("init")).arg("--run").arg("install").start();
    check(&host, 3, "actconsumer__c1");
}

#[test]
fn handlers_registered_by_the_blueprint_get_the_events() {
    let host = Start::new(actors_without_init())
        .blueprint(&example("eventfilters"))
        .arg("--run")
        .arg("install")
        .start();
    check(&host, 2, "actconsumer__c1");
}

#[test]
fn both_examples_run_side_by_side_under_different_names() {
    let second = example("eventfilters")
        .replace("__p1", "__p2")
        .replace("__c1", "__c2")
        .replace("service: c1", "service: c2");
    let start = Start::new(actors()).blueprint(&example("init"));
    let file = start.path("second.yaml");
    std::fs::write(&file, second).expect("cannot write a blueprint");
    let host = start.arg(file.display().to_string()).start();
    host.cli_ok(&["run", "install", "--wait"]);
    // Each of the two producers is heard once by each of two handlers of each of the two consumers.
    let handled = host.until("all handlers have run", |host| {
        let ok = |action: &str| {
            host.list(&format!("/api/v1/jobs?actor=actconsumer&action={action}&state=ok")).len()
        };
        let done = (ok("on_producer_installed1"), ok("on_producer_installed2"));
        (done.0 + done.1 >= 8).then_some(done)
    });
    assert_eq!(handled, (4, 4));
    assert_eq!(host.lines_with("Done installing the producer").len(), 2);
}

#[test]
fn applying_again_and_restarting_change_nothing() {
    let start = Start::new(actors()).blueprint(&example("init")).arg("--run").arg("install");
    let host = start.start();
    host.wait_for("second handler", |line| line.contains("second handler:::"));
    let file = start.path("blueprint.yaml").display().to_string();
    let again = host.cli_ok(&["apply", &file]);
    assert!(again.lines().all(|line| line.starts_with("unchanged")), "{again}");
    let (status, _) = host.terminate();
    assert!(status.success());

    let host = start.start();
    host.wait_for("message", |line| line.contains("Got new message"));
    assert!(host.lines_with("Done installing").is_empty(), "install ran a second time");
    assert_eq!(host.list("/api/v1/filters").len(), 3);
    assert_eq!(host.list("/api/v1/jobs?action=init").len(), 1);
}
