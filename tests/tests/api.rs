//! The HTTP API, where several ask at once, or somebody who should not.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Barrier,
    thread,
    time::Duration,
};

use ays_tests::{Host, actors, courier, host::Start, redis::RedisServer};
use serde_json::{Value, json};

fn apply(host: &Host, text: &str) {
    let (status, answer) =
        host.post("/api/v1/blueprints", &json!({"blueprints": [{"name": "b.yaml", "text": text}]}));
    assert_eq!(status, 200, "{answer}");
}

/// Does both at the same time.
fn at_once(one: impl FnOnce() + Send, other: impl FnOnce() + Send) {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            barrier.wait();
            one();
        });
        barrier.wait();
        other();
    });
}

#[test]
fn blueprints_that_are_applied_at_once_lose_nothing_of_each_other() {
    let redis = RedisServer::start();
    let start = Start::new(actors()).blueprint("probe__x:\nprobe__y:\n");
    let shared = || start.clone().store(redis.url());
    let (alone, first, second) = (start.start(), shared().start(), shared().start());
    for (one, other) in [(&alone, &alone), (&first, &second)] {
        for round in 1..=20 {
            at_once(
                || apply(one, &format!("probe__x:\n  count: {round}\n")),
                || apply(other, &format!("probe__x:\n  blob: b{round}\nprobe__z{round}:\n")),
            );
            let service = one.until("both changes are there", |host| {
                let (_, service) = host.get("/api/v1/services/probe__x");
                let data = &service["data"];
                (data["count"] == round && data["blob"] == format!("b{round}")).then_some(service)
            });
            let applied = &service["applied"];
            assert_eq!((&applied["count"], &applied["blob"]), (&json!(round), &json!(format!("b{round}"))));
            assert_eq!(other.get(&format!("/api/v1/services/probe__z{round}")).0, 200);
        }
    }
}

#[test]
fn what_is_revoked_stays_revoked_when_something_else_is_granted_at_the_same_time() {
    let start = Start::new(courier());
    let folder = start.path("actors");
    fs::create_dir(&folder).expect("cannot make a folder");
    for (from, name) in [(courier(), "courier"), (actors(), "probe")] {
        fs::copy(from.join(format!("{name}.wasm")), folder.join(format!("{name}.wasm")))
            .expect("cannot copy");
    }
    let host = Start::new(&folder).start();
    let granted = |name: &str| host.get(&format!("/api/v1/actors/{name}")).1["granted"].clone();
    for round in 0..20 {
        apply(&host, "grants:\n  courier: ['secret *']\n");
        assert_eq!(granted("courier"), json!(["secret *"]));
        at_once(
            || apply(&host, "grants:\n  courier: ['secret other']\n"),
            || apply(&host, &format!("grants:\n  probe: ['secret x{round}']\n")),
        );
        assert_ne!(granted("courier"), json!(["secret *"]), "in round {round}");
    }
}

/// The status and the body of what a host answers to these bytes; the connection is closed then.
fn ask(host: &Host, request: &str) -> (u16, String) {
    let address = host.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the host listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
    stream.write_all(request.as_bytes()).expect("the host reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the host answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it is HTTP");
    (status, answer)
}

#[test]
fn a_web_page_of_another_origin_can_neither_change_nor_read_anything() {
    let start = Start::new(actors()).arg("--allow-host=ays.example");
    let host = start.start();
    let here = host.url().trim_start_matches("http://");
    let body = "probe__evil:\n";
    let post = |headers: &str| {
        let length = body.len();
        ask(
            &host,
            &format!(
                "POST /api/v1/blueprints HTTP/1.1\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: \
                 {length}\r\n{headers}\r\n{body}"
            ),
        )
    };
    for headers in [
        format!("Host: {here}\r\nOrigin: https://evil.example\r\n"),
        format!("Host: {here}\r\nOrigin: null\r\n"),
        format!("Host: {here}\r\nSec-Fetch-Site: cross-site\r\n"),
        "Host: evil.example\r\nOrigin: http://evil.example\r\n".into(),
    ] {
        let (status, answer) = post(&headers);
        assert_eq!(status, 403, "{answer}");
    }
    let get = |host_name: &str| {
        ask(&host, &format!("GET /api/v1/actors HTTP/1.1\r\nConnection: close\r\nHost: {host_name}\r\n\r\n"))
    };
    assert_eq!(get("evil.example").0, 403);
    assert_eq!(host.get("/api/v1/services/probe__evil").0, 404);
    // What is its own page's, a proxy's, or no browser's is served.
    for host_name in [here, "localhost", "ays.example:443"] {
        assert_eq!(get(host_name).0, 200, "{host_name}");
    }
    let (status, answer) =
        post(&format!("Host: {here}\r\nOrigin: http://{here}\r\nSec-Fetch-Site: same-origin\r\n"));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn an_upload_is_refused_before_it_takes_memory() {
    let peak_kib = |host: &Host| -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").parse().expect("it is a number")
    };
    let start = Start::new(actors());
    let folder = start.path("actors");
    fs::create_dir(&folder).expect("cannot make a folder");
    let key = start.path("key.pub");
    fs::write(&key, "untrusted comment: a key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n")
        .expect("cannot write");
    let trusting = Start::new(&folder).arg(format!("--trust={}", key.display())).start();
    let small = Start::new(&folder).arg("--component-size=1MiB").start();
    let component = vec![0u8; 96 << 20];
    for (host, status, told) in [(&trusting, 422, "--trust"), (&small, 413, "--component-size")] {
        let before = peak_kib(host);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
                    let url = format!("{}/api/v1/actors", host.url());
                    let answer = agent.post(url).send(&component[..]);
                    let mut answer = answer.expect("who sends it all is answered, too");
                    let text = answer.body_mut().read_to_string().expect("the answer is whole");
                    assert_eq!(answer.status().as_u16(), status, "{text}");
                    assert!(text.contains(told), "{text}");
                });
            }
        });
        let file = start.path("large.wasm");
        fs::write(&file, &component).expect("cannot write");
        let uploading = host.cli(&["actors", "upload", &file.display().to_string()]);
        let said = String::from_utf8_lossy(&uploading.stderr);
        assert!(!uploading.status.success() && said.contains(told), "{said}");
        let after = peak_kib(host);
        assert!(after < before + (64 << 10), "{told}: from {before} to {after} KiB");
        assert_eq!(host.get("/healthz").1, Value::from("ok\n"));
    }
}
