//! `GET /metrics`: that it is what Prometheus reads, and that its numbers are those that the API gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ays_tests::{
    Host, actors,
    actors::{courier, phase, root},
    host::Start,
    redis::RedisServer,
};
use prometheus_parse::{Scrape, Value as Measured};
use regex::Regex;
use serde_json::{Value, json};

/// What `/metrics` says.
struct Read {
    /// Each family's kind.
    kinds: BTreeMap<String, String>,
    samples: Vec<prometheus_parse::Sample>,
}

impl Read {
    /// Reads it, and holds it to the format and to what Prometheus asks of names.
    fn from(host: &Host) -> Self {
        let (status, text) = host.get("/metrics");
        let text = text.as_str().unwrap_or_else(|| panic!("{status}: it is no text: {text}")).to_owned();
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with('\n'), "the last line has an end");
        let help = Regex::new("^# HELP ([a-z_]+) \\S.*$").expect("it is a pattern");
        let kind = Regex::new("^# TYPE ([a-z_]+) (counter|gauge|histogram)$").expect("it is a pattern");
        let label = r#"[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*""#;
        let number = r"[-+]?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|Inf)";
        let sample = Regex::new(&format!("^([a-z_]+)(?:\\{{{label}(?:,{label})*\\}})? {number}$"))
            .expect("it is a pattern");
        let (mut kinds, mut helped) = (BTreeMap::new(), BTreeSet::new());
        let mut now = String::new();
        for line in text.lines() {
            if let Some(found) = help.captures(line) {
                assert!(helped.insert(found[1].to_owned()), "{line}: a second time");
            } else if let Some(found) = kind.captures(line) {
                now = found[1].to_owned();
                assert!(helped.contains(&now), "{line}: without help");
                assert!(kinds.insert(now.clone(), found[2].to_owned()).is_none(), "{line}: a second time");
                assert_eq!(now.ends_with("_total"), &found[2] == "counter", "{line}");
            } else {
                let found =
                    sample.captures(line).unwrap_or_else(|| panic!("this is no line of the format: {line}"));
                let rest = found[1].strip_prefix(now.as_str());
                let of_family = match kinds.get(&now).map(String::as_str) {
                    Some("histogram") => matches!(rest, Some("_bucket" | "_sum" | "_count")),
                    _ => rest == Some(""),
                };
                assert!(of_family, "{line}: under {now}");
            }
        }
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("it can be parsed");
        Self { kinds, samples: scrape.samples }
    }

    /// The samples of a name, by the values of these labels.
    fn by<const N: usize>(&self, name: &str, labels: [&str; N]) -> BTreeMap<[String; N], u64> {
        let of_name = self.samples.iter().filter(|sample| sample.metric == name);
        of_name
            .map(|sample| {
                let value = match &sample.value {
                    Measured::Counter(value) | Measured::Gauge(value) | Measured::Untyped(value) => *value,
                    other => panic!("{name} is {other:?}"),
                };
                (labels.map(|label| sample.labels.get(label).unwrap_or_default().to_owned()), value as u64)
            })
            .filter(|(_, value)| *value > 0)
            .collect()
    }

    fn one(&self, name: &str) -> u64 {
        self.by(name, []).get(&[]).copied().unwrap_or_default()
    }
}

fn texts<const N: usize, const M: usize>(rows: [([&str; N], u64); M]) -> BTreeMap<[String; N], u64> {
    rows.into_iter().map(|(labels, value)| (labels.map(str::to_owned), value)).collect()
}

fn is_final(job: &Value) -> bool {
    ["ok", "error", "cancelled"].contains(&job["state"].as_str().expect("it has a state"))
}

fn run(host: &Host, action: &str, actor: &str, args: &Value) {
    let (status, run) = host.post("/api/v1/run", &json!({"action": action, "actor": actor, "args": args}));
    assert_eq!(status, 202, "{run}");
}

/// How many jobs there are, by what `of` says of each.
fn counted<const N: usize>(
    jobs: &[Value],
    of: impl Fn(&Value) -> Option<([String; N], u64)>,
) -> BTreeMap<[String; N], u64> {
    let mut all = BTreeMap::new();
    for (labels, value) in jobs.iter().filter_map(of) {
        *all.entry(labels).or_default() += value;
    }
    all
}

#[test]
fn the_metrics_are_what_prometheus_reads_and_say_what_the_api_says() {
    let redis = RedisServer::start();
    let start = Start::new(actors());
    let folder = start.path("actors");
    fs::create_dir_all(&folder).expect("cannot make a folder");
    for (from, name) in [(actors(), "probe"), (courier(), "courier"), (phase("trapping"), "phase")] {
        fs::copy(from.join(format!("{name}.wasm")), folder.join(format!("{name}.wasm")))
            .expect("cannot copy");
    }
    let phases: String = (0..8).map(|n| format!("phase__p{n}:\n  name: Grace Hopper\n")).collect();
    let filters = "eventfilters:\n  - {cmd: bump, actor: probe, action: count}\n";
    let host = Start::new(&folder)
        .blueprint(&format!("probe__a:\nprobe__b:\ncourier__c:\n{phases}{filters}"))
        .arg("--grant")
        .arg("--quarantine-after")
        .arg("8")
        .arg("--command-queue")
        .arg(redis.unix_url())
        .start();

    // What comes in by each door, and what is refused there.
    for _ in 0..4 {
        assert_eq!(host.post("/api/v1/events", &json!({"event": "bump"})).0, 202);
    }
    assert_eq!(host.post("/api/v1/events", &json!({"event": 5})).0, 400);
    assert_eq!(host.post("/webhooks/events", &json!({"command": "bump"})).0, 200);
    assert_eq!(host.post("/webhooks/events", &json!({"event": "bump"})).0, 400);
    let mut entries = String::new();
    for _ in 0..3 {
        entries += "RPUSH db:queue:command '{\"command\":\"event\",\"event\":\"bump\"}'\n";
    }
    entries += "RPUSH db:queue:command 'not JSON'\n";
    for n in 0..5 {
        let execute =
            format!("{{\"command\":\"execute\",\"service_key\":\"probe__a\",\"action\":\"made_up{n}\"}}");
        entries += &format!("RPUSH db:queue:command '{execute}'\n");
    }
    redis.pipe(&entries);
    // Jobs that end in all the ways there are.
    run(&host, "emit", "probe", &json!(["a name that a stranger made up", ["text"]]));
    run(&host, "flaky", "probe", &json!([2]));
    run(&host, "fail_for_good", "probe", &json!([]));
    run(&host, "trap", "probe", &json!([]));
    run(&host, "eat_memory", "probe", &json!([]));
    run(&host, "spin_briefly", "probe", &json!([]));
    run(&host, "emit", "courier", &json!(["other"]));
    run(&host, "count", "phase", &json!([]));
    host.until("it is quarantined", |host| {
        (!host.get("/api/v1/actors/phase").1["quarantined"].is_null()).then_some(())
    });
    run(&host, "slow", "probe", &json!([40_000]));
    for _ in 0..2 {
        let job = host.until("it is busy", |host| host.list("/api/v1/jobs?action=slow&state=running").pop());
        host.cli_ok(&["jobs", "cancel", job["id"].as_str().expect("it has an id")]);
    }

    let (read, jobs) = host.until("all have ended that can", |host| {
        let before = host.list("/api/v1/jobs");
        let read = Read::from(host);
        let is_quiet = before.iter().all(|job| is_final(job) || job["actor"] == "phase");
        (is_quiet && before.len() == 2 * 8 + 5 + 2 * 6 + 1 + 8 + 2).then_some((read, before))
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let action = |job: &Value| match text(&job["action"]) {
        name if name.starts_with("made_up") => "(other)".to_owned(),
        name => name,
    };
    let ended = counted(&jobs, |job| {
        let failure = if job["state"] == "error" { text(&job["error"]["kind"]) } else { String::new() };
        is_final(job).then(|| ([text(&job["actor"]), action(job), text(&job["state"]), failure], 1))
    });
    assert_eq!(read.by("ays_jobs_ended_total", ["actor", "action", "state", "failure"]), ended);
    assert_eq!(ended[&["probe", "(other)", "error", "app"].map(str::to_owned)], 5, "{ended:?}");
    let attempts = counted(&jobs, |job| {
        let attempts = job["attempt"].as_u64().expect("it has a number");
        (job["state"] != "cancelled").then(|| ([text(&job["actor"]), action(job)], attempts))
    });
    assert_eq!(read.by("ays_job_duration_seconds_count", ["actor", "action"]), attempts);
    let tried =
        counted(&jobs, |job| (job["state"] != "cancelled").then(|| ([text(&job["actor"]), action(job)], 1)));
    assert_eq!(read.by("ays_job_wait_seconds_count", ["actor", "action"]), tried);
    assert_eq!(
        read.by("ays_job_retries_total", ["actor", "action", "failure"]),
        texts([(["probe", "flaky", "app"], 2), (["phase", "count", "trap"], 8)])
    );
    assert_eq!(read.one("ays_jobs_pending"), jobs.iter().filter(|job| !is_final(job)).count() as u64);
    assert_eq!(read.one("ays_dead_letters"), host.list("/api/v1/dead").len() as u64);
    assert_eq!(read.one("ays_services"), 11);
    assert_eq!(read.one("ays_actors_loaded"), 3);
    assert_eq!(read.one("ays_store_up"), 1);
    assert_eq!(
        read.by("ays_events_accepted_total", ["door"]),
        texts([(["http"], 4), (["webhook"], 1), (["queue"], 3), (["service"], 2)])
    );
    assert_eq!(
        read.by("ays_entries_refused_total", ["door"]),
        texts([(["http"], 1), (["webhook"], 1), (["queue"], 1)])
    );
    assert_eq!(
        read.by("ays_limit_breaches_total", ["actor", "limit"]),
        texts([(["probe", "memory_bytes"], 2), (["probe", "cpu_ms"], 2)])
    );
    assert_eq!(read.by("ays_denials_total", ["actor", "capability"]), texts([(["courier", "emit"], 1)]));
    let committed = read.one("ays_store_commit_jobs_sum");
    assert!(committed >= attempts.values().sum::<u64>(), "{committed}");
    assert_eq!(read.one("ays_store_commit_jobs_count"), read.one("ays_store_commit_duration_seconds_count"));

    // A quarantine is there for as long as it lasts.
    let digest = text(&host.get("/api/v1/actors/phase").1["digest"]);
    let held = |read: &Read| read.by("ays_actor_quarantined", ["actor", "digest"]);
    assert_eq!(held(&read), BTreeMap::from([(["phase".to_owned(), digest], 1)]));
    let documented = fs::read_to_string(root().join("docs/metrics.md")).expect("it is there");
    for (name, kind) in &read.kinds {
        assert!(
            documented.contains(&format!("| `{name}` | {kind} |")),
            "{name}, a {kind}, is not documented"
        );
    }
    for row in documented.lines().filter(|line| line.starts_with("| `ays_")) {
        let name = row.split('`').nth(1).expect("a row has a name");
        assert!(read.kinds.contains_key(name), "{name} is documented, and not there");
    }
    // Otherwise they trap again.
    for job in jobs.iter().filter(|job| !is_final(job)) {
        host.cli_ok(&["jobs", "cancel", job["id"].as_str().expect("it has an id")]);
    }
    host.cli_ok(&["actors", "release", "phase"]);
    assert_eq!(held(&Read::from(&host)), BTreeMap::new());

    // Versions, by what becomes of them.
    let path = phase("").join("phase.wasm").display().to_string();
    host.cli_ok(&["actors", "upload", &path]);
    host.cli_ok(&["actors", "upload", &path]);
    assert_eq!(host.post("/api/v1/actors", &json!("no component")).0, 422);
    assert_eq!(
        Read::from(&host).by("ays_upgrades_total", ["outcome"]),
        texts([(["upgraded"], 1), (["unchanged"], 1), (["refused"], 1)])
    );
}
