//! Actors that loop, allocate, recurse, trap, flood and pry: their jobs fail with the right kind, and nothing else does.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ays_tests::{Host, actors, courier, host::Start, redis::RedisServer};
use serde_json::{Value, json};

/// Milliseconds from start to end, by the job's own record.
fn took(job: &Value) -> i64 {
    let time = |name: &str| -> i64 {
        let time: ays_core::Timestamp =
            job[name].as_str().expect("it is there").parse().expect("it is RFC 3339");
        time.millis()
    };
    time("finished_at") - time("started_at")
}

struct StopAtDrop<'a>(&'a AtomicBool);

impl Drop for StopAtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn each_breach_fails_its_job_with_its_kind_while_a_neighbour_goes_on() {
    let host = Start::new(actors()).blueprint("probe__bad:\nprobe__good:\n").start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let mut done = 0;
            while !stop.load(Ordering::Relaxed) {
                let job = host.run("probe__good", "count", &json!([]));
                assert_eq!(job["state"], "ok", "{job}");
                done += 1;
                thread::sleep(Duration::from_millis(20));
            }
            done
        });
        // Also when this thread panics, or the scope would wait for the neighbour for ever.
        let _stop = StopAtDrop(&stop);
        let mut problems = Vec::new();
        for (action, args, kind, message) in [
            ("spin_briefly", json!([]), "cpu", "`cpu_ms` is 100"),
            ("eat_memory", json!([]), "memory", "67108864"),
            ("recurse", json!([]), "trap", "call stack is exhausted"),
            ("trap", json!([]), "trap", "unreachable"),
            ("panic", json!([]), "trap", "unreachable"),
            ("sleep_briefly", json!([60_000]), "wall", "`wall_ms` is 200"),
            ("chatty", json!([]), "limit", "log_bytes"),
            ("chatty_stdout", json!([]), "limit", "log_bytes"),
            // Six bytes each in the record.
            ("chatty", json!([1, "\0".repeat(50_000)]), "limit", "log_bytes"),
            ("big_result", json!([2 << 20]), "limit", "data_bytes"),
            ("big_data", json!([2 << 20]), "app", "data_bytes"),
            ("big_event", json!([2 << 20]), "app", "data_bytes"),
            ("set_bad_data", json!({"count": "many"}), "app", "count"),
            ("set_broken_data", json!([]), "app", "JSON"),
            ("emit_many", json!(["never", 1001]), "limit", "emitted 1001 events; its limit `events` is 1000"),
            ("fail_for_good", json!([]), "app", ""),
            ("write_file", json!(["/tmp/probe"]), "app", ""),
            ("read_dir", json!(["/"]), "app", ""),
            ("connect", json!(["127.0.0.1:6379"]), "app", ""),
        ] {
            let job = host.run("probe__bad", action, &args);
            let said = job["error"]["message"].as_str().unwrap_or_default();
            if job["state"] == "ok" || job["error"]["kind"] != kind || !said.contains(message) {
                problems.push(format!("{action}: expected {kind} ({message}): {job}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let done = neighbour.join().expect("the neighbour's jobs all succeed");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        assert!(done > 10, "the neighbour got {done} jobs done meanwhile");
    });

    // What failed left no trace but its record.
    let (_, service) = host.get("/api/v1/services/probe__bad");
    assert_eq!(service["data"], json!({"count": 0, "seen": [], "blob": ""}));
    assert!(host.list("/api/v1/events").is_empty(), "no event of a failed turn was accepted");
    assert!(host.lines_with("panicked at").iter().all(|line| line.text.contains("probe__bad panic")));

    // The trap's frames have the names of the guest's functions; the panic's message is in the log.
    let trap = host.list("/api/v1/jobs?service=probe__bad&action=trap").remove(0);
    let frames = trap["error"]["backtrace"].to_string();
    for name in ["trap_outer", "trap_middle", "trap_inner"] {
        assert!(frames.contains(name), "{name}: {frames}");
    }
    let panic = host.list("/api/v1/jobs?service=probe__bad&action=panic").remove(0);
    assert!(panic["logs"].to_string().contains("panicked as asked"), "{panic}");
    // There is no environment in which to set what the standard library advises to.
    assert!(!panic["logs"].to_string().contains("RUST_BACKTRACE"), "{panic}");
    // A deep recursion does not make a record of a million frames.
    let recursion = host.list("/api/v1/jobs?service=probe__bad&action=recurse").remove(0);
    assert!(recursion["error"]["backtrace"].as_array().expect("it has one").len() < 100);

    // What is not granted is not there.
    let seen = host.run("probe__bad", "read_env", &json!([]));
    assert_eq!(seen["result"], json!({"vars": [], "args": []}));
    assert_eq!(host.run("probe__bad", "read_stdin", &json!([]))["result"], "");
}

#[test]
fn guests_that_compute_without_end_do_not_take_the_host_from_others() {
    // More of them than there are cores; each is stopped at its limit, and the API and another service answer meanwhile.
    let services: String = (0..6).map(|n| format!("probe__spin{n}:\n")).collect();
    let host = Start::new(actors()).blueprint(&format!("{services}probe__good:\n")).start();
    let (status, _) = host.post("/api/v1/run", &json!({"action": "spin", "service": "spin.*"}));
    assert_eq!(status, 202);
    host.until("they spin", |host| {
        (host.list("/api/v1/jobs?state=running&action=spin").len() == 6).then_some(())
    });
    for _ in 0..20 {
        let job = host.run("probe__good", "count", &json!([]));
        assert_eq!(job["state"], "ok");
    }
    let running = host.list("/api/v1/jobs?state=running&action=spin").len();
    assert_eq!(running, 6, "they still spin: each has 10 s of CPU time, and there are six of them");
}

#[test]
fn the_hosts_log_repeats_only_so_much_of_a_jobs_and_the_record_has_it_all() {
    let host = Start::new(actors()).blueprint("probe__p:\n").start();
    let many = host.run("probe__p", "chatty", &json!([200]));
    assert_eq!((&many["state"], many["logs"].as_array().map(Vec::len)), (&json!("ok"), Some(200)));
    let id = many["id"].as_str().expect("it has an id");
    let rest =
        host.wait_for("stops", |line| line.contains(&format!("more lines: `ays-host jobs logs {id}`")));
    let told = host.lines_with(&"x".repeat(1000)).len();
    assert!((20..40).contains(&told), "{told} of 200 lines");
    assert!(rest.text.contains(&format!("… {} more lines", 200 - told - 1)), "{}", rest.text);

    let long = host.run("probe__p", "chatty", &json!([1, "é".repeat(5000)]));
    assert_eq!(long["logs"][0]["message"].as_str().map(str::len), Some(10_000));
    let cut = host.wait_for("cuts it", |line| line.contains("é… "));
    assert!(cut.text.contains("éé… 5904 more bytes: `ays-host jobs logs"), "{}", cut.text);
    assert_eq!(cut.text.matches('é').count(), 2048);
}

#[test]
fn the_operator_sets_defaults_and_ceilings_and_each_breach_says_where_it_is_raised() {
    let host = Start::new(actors())
        .arg("--limit=memory_bytes=8MiB,events=3")
        .arg("--ceiling=log_bytes=64KiB")
        .blueprint("probe__bad:\n")
        .start();
    let (_, actor) = host.get("/api/v1/actors/probe");
    let of = |name: &str| actor["limits"][name].as_u64().expect("it is there");
    assert_eq!((of("memory_bytes"), of("events"), of("log_bytes")), (8 << 20, 3, 64 << 10));
    for (action, args, kind, amount, limit) in [
        ("eat_memory", json!([]), "memory", "8388608", "memory_bytes"),
        ("emit_many", json!(["never", 4]), "limit", "emitted 4 events", "events"),
        ("chatty", json!([]), "limit", "`log_bytes` is 65536", "log_bytes"),
    ] {
        let job = host.run("probe__bad", action, &args);
        let said = job["error"]["message"].as_str().unwrap_or_default();
        let raised = format!("--ceiling {limit}=");
        assert!(job["error"]["kind"] == kind && said.contains(amount) && said.contains(&raised), "{job}");
    }
    for (flag, told) in
        [("--limit=memory=1", "there is no limit `memory`"), ("--limit=cpu_ms=99999999", "above its ceiling")]
    {
        let output = Start::new(actors()).arg(flag).command().output().expect("cannot run ays-host");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(told), "{flag}: {said}");
    }
}

#[test]
fn a_service_gathers_no_more_event_filters_over_its_jobs_than_its_limit() {
    let start = Start::new(actors()).arg("--limit=filters=25,changes=100").blueprint(
        "probe__a:\nprobe__b:\n\neventfilters:\n  - {cmd: Operators, service: probe__a, action: noop}\n",
    );
    let told = |had: u64| {
        format!(
            "the service would have {had} event filters; its limit `filters` is 25; the actor's manifest can ask for \
             another `filters`, up to the host's ceiling (`--ceiling filters=AMOUNT`)"
        )
    };
    let set = |host: &Host, service: &str| {
        let own = |filter: &&Value| filter["service"] == service;
        host.list("/api/v1/filters").iter().filter(own).count()
    };
    let redis = RedisServer::start();
    for store in [None, Some(redis.url())] {
        let start = start.clone();
        let start = match store {
            Some(url) => start.store(url).arg("--command-queue").arg("none"),
            None => start,
        };
        let host = start.start();
        // From, to: what of it is refused. The blueprint's filter counts.
        let subscribe = |host: &Host, service: &str, from: u64, to: u64| {
            let job = host.run(service, "subscribe", &json!([from, to]));
            job["result"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned()
        };
        assert_eq!(subscribe(&host, "probe__a", 0, 20), "");
        // Those that are there are no new ones, however they are written.
        assert_eq!(subscribe(&host, "probe__a", 0, 20), "");
        let refused = subscribe(&host, "probe__a", 0, 40);
        assert!(refused.contains(&told(26)), "{refused}");
        assert_eq!(set(&host, "probe__a"), 25);
        assert_eq!(subscribe(&host, "probe__b", 0, 25), "", "each service has its own");
        // Jobs that are taken together: each sees what the one before set.
        let ask = |n: u64| json!({"event": "again", "args": [30 + n, 31 + n]});
        assert_eq!(host.run("probe__b", "unsubscribe", &json!([0, 20]))["state"], "ok");
        assert_eq!(host.run("probe__b", "set_filter", &json!(["again", "subscribe"]))["state"], "ok");
        // They come while another one is executed.
        let slow = json!({"action": "slow", "service": "probe__b", "args": [1500], "force": true});
        assert_eq!(host.post("/api/v1/run", &slow).0, 202);
        for n in 0..40 {
            assert_eq!(host.post("/api/v1/events", &ask(n)).0, 202);
        }
        host.until("all have been tried", |host| {
            let jobs = host.list("/api/v1/jobs?service=probe__b&action=subscribe&cause=event");
            (jobs.iter().filter(|job| job["state"] == "ok").count() == 40).then_some(())
        });
        assert_eq!(set(&host, "probe__b"), 25);
        host.terminate();
        let host = start.start();
        let refused = subscribe(&host, "probe__a", 20, 40);
        assert!(refused.contains(&told(26)), "also after a restart: {refused}");
        assert_eq!(host.run("probe__a", "unsubscribe", &json!([0, 1]))["state"], "ok");
        assert_eq!(subscribe(&host, "probe__a", 100, 101), "", "there is room again");
        let long = host.run("probe__a", "set_filter", &json!(["e", "noop", "x".repeat(5000)]));
        let said = long["error"]["message"].as_str().unwrap_or_default();
        assert!(said.contains("bytes of text; 4096 are the most"), "{long}");
    }
}

#[test]
fn an_instance_that_jobs_of_several_actions_share_keeps_to_the_limit_of_each() {
    let start = Start::new(courier()).blueprint("courier__c:\ngrants:\n  courier: [nothing else]\n");
    let host = start.start();
    // The instance is made for the job before each of these, and serves both.
    for (first, second, most) in [("chance", "little_chance", 64), ("little_chance", "chance", 1 << 20)] {
        assert_eq!(host.run("courier__c", first, &json!([64]))["state"], "ok");
        assert_eq!(host.run("courier__c", second, &json!([most]))["result"], most);
        let more = host.run("courier__c", second, &json!([most + 1]));
        let told =
            format!("asked for {} random bytes in one call; its limit `random_bytes` is {most}", most + 1);
        let said = more["error"]["message"].as_str().unwrap_or_default();
        assert!(more["error"]["kind"] == "limit" && said.contains(&told), "{more}");
    }
}

#[test]
fn a_limit_is_kept_to_within_a_few_ticks() {
    let host = Start::new(actors()).blueprint("probe__bad:\n").start();
    host.run("probe__bad", "noop", &json!([]));
    // By the thread's own CPU time, which other load on the machine does not add to.
    let spins = (0..3).map(|_| {
        let spin = host.run("probe__bad", "spin_briefly", &json!([]));
        spin["usage"]["cpu_us"].as_u64().expect("it is a number") / 1000
    });
    let spins: Vec<u64> = spins.collect();
    // What counts the ticks may come late itself on a machine that is busy, but not each time.
    assert!(
        spins.iter().all(|ms| *ms >= 100) && spins.iter().any(|ms| *ms <= 120),
        "used {spins:?} ms of 100"
    );
    let sleep = host.run("probe__bad", "sleep_briefly", &json!([60_000]));
    assert!(took(&sleep) >= 200, "stopped after {} ms of 200", took(&sleep));
}

#[test]
fn a_file_that_is_no_actor_is_told_of_and_the_others_are_loaded() {
    let start = Start::new(actors());
    let folder = start.path("actors");
    std::fs::create_dir(&folder).expect("cannot make a folder");
    std::fs::copy(actors().join("probe.wasm"), folder.join("probe.wasm")).expect("cannot copy");
    std::fs::copy(actors().join("probe.wasm"), folder.join("again.wasm")).expect("cannot copy");
    let probe = std::fs::read(actors().join("probe.wasm")).expect("it is there");
    let files: [(&str, &[u8], &str); 5] = [
        ("empty.wasm", b"", "not WebAssembly"),
        ("text.wasm", b"hello", "not WebAssembly"),
        ("module.wasm", b"\0asm\x01\0\0\0", "core module"),
        ("component.wasm", b"\0asm\x0d\0\x01\0", "does not fit ays:actor"),
        ("truncated.wasm", &probe[..probe.len() / 2], "not a valid component"),
    ];
    for (name, bytes, _) in files {
        std::fs::write(folder.join(name), bytes).expect("cannot write");
    }
    let host = Start::new(&folder).start();
    for (name, _, told) in files {
        let lines = host.lines_with(name);
        assert!(lines.len() == 1 && lines[0].text.contains(told), "{name}: {lines:?}");
    }
    assert!(host.lines_with("loaded from").len() == 1, "two files of one actor");
    assert_eq!(host.list("/api/v1/actors").len(), 1);
}
