//! What `#[actor]` makes of an impl block: the manifest, and the way from a job to an action.

use ays_core::{
    manifest::{Instancing, Manifest, Order},
    retry::RetryPolicy,
    schedule::Missed,
};
use ays_sdk::{Actor, bindings, prelude::*};

/// Without data, so that actions can run without a host.
#[derive(Schema)]
#[schema(parent(field = "host", role = "node", optional), consume(field = "dbs", role = "db", max = 3, list))]
struct Everything;

#[actor(
    name = "everything.test",
    instance = "fresh",
    memory = "16MiB",
    wall = "2m",
    events = 10,
    capabilities = ["events", "http get https://*.Example.org:8443", "secret api_key"]
)]
impl Everything {
    /// Does
    /// nothing.
    ///
    /// Nothing at all.
    #[action]
    fn nothing(&self) {}

    #[action(
        name = "processChange",
        description = "All options.",
        recurring = "30 3 * * *",
        missed = "all",
        log = false,
        retry(attempts = 3, delays = [10, "5m"]),
        order = "strict",
        cpu = "250ms",
        wall = 30,
        memory = 65536,
        log_bytes = "1KiB",
        data_bytes = "2KiB",
        events = 5
    )]
    fn process_change(&mut self, job: &Job) -> Result<u32> {
        Ok(job.attempt)
    }

    #[action(retry(delays = [1, 2]))]
    #[on(event = "Ping", channel = "webservice", tags = ["a", "b"])]
    #[on(event = "pong")]
    fn on_ping(&self, _job: &Job, who: String, times: Option<u8>) -> String {
        who.repeat(times.unwrap_or(1).into())
    }

    #[action(retry(attempts = 5, first = "1s", most = "1m"))]
    #[cfg(not(any()))]
    fn either(&self, _unused: Value) -> Result<(), std::num::ParseIntError> {
        "x".parse::<u8>().map(drop)
    }

    #[action(recurring = "1s")]
    #[on(event = "never")]
    #[cfg(any())]
    fn either(&self) {
        this_is_not_compiled();
    }

    /// The macro's own names are none that a parameter could have.
    #[action]
    fn names(&self, _j: &Job, args: u8, this: u8, job: u8, action: u8) -> Vec<u8> {
        vec![args, this, job, action]
    }

    #[action]
    fn r#move(&self) -> Result<()> {
        self.helper().context("moving").fatal()
    }

    fn helper(&self) -> Result<()> {
        Err(Error::new("stuck"))
    }
}

fn run(action: &str, args: &str) -> Result<String> {
    let job = bindings::Job {
        id: "01J".into(),
        args: args.into(),
        attempt: 2,
        cause: r#"{"kind":"api","door":"http"}"#.into(),
        created_at: 0,
    };
    Everything::run(action, &Job::from(job))
}

fn fails(action: &str, args: &str) -> (String, bool) {
    let error = run(action, args).err().unwrap_or_else(|| Error::fatal("it did not fail"));
    (error.message().to_owned(), error.retries())
}

#[test]
fn the_host_reads_in_the_manifest_what_the_attributes_say() {
    let manifest: Manifest = serde_json::from_str(&Everything::describe()).unwrap();
    assert_eq!(manifest.interface, ays_core::manifest::INTERFACE);
    assert_eq!(manifest.name.as_str(), "everything.test");
    assert_eq!(manifest.action_names(), "nothing, processChange, on_ping, either, names, move");
    let asked = ["emit *", "listen *", "http GET https://*.example.org:8443", "secret api_key"];
    assert_eq!(manifest.capabilities.texts(), asked);
    assert!(manifest.capabilities.unknown.is_empty());
    assert_eq!(manifest.instance, Instancing::Fresh);
    let limits = manifest.limits;
    assert_eq!(
        (limits.memory_bytes, limits.wall_ms, limits.events),
        (Some(16 << 20), Some(120_000), Some(10))
    );
    assert_eq!((limits.cpu_ms, limits.log_bytes, limits.data_bytes), (None, None, None));

    let nothing = manifest.action("nothing").unwrap();
    assert_eq!(nothing.description, "Does nothing.");
    assert!(nothing.recurring.is_none() && nothing.retry.is_none() && nothing.order == Order::Aside);

    let all = manifest.action("processChange").unwrap();
    assert_eq!(all.description, "All options.");
    let recurring = all.recurring.clone().unwrap();
    assert_eq!(
        (recurring.period.to_string().as_str(), recurring.missed, recurring.log),
        ("30 3 * * *", Missed::All, false)
    );
    assert_eq!(
        all.retry,
        Some(RetryPolicy { attempts: 3, delays_s: vec![10, 300], ..RetryPolicy::default() })
    );
    assert_eq!(all.order, Order::Strict);
    let limits = all.limits;
    assert_eq!((limits.cpu_ms, limits.wall_ms, limits.memory_bytes), (Some(250), Some(30_000), Some(65_536)));
    assert_eq!((limits.log_bytes, limits.data_bytes, limits.events), (Some(1024), Some(2048), Some(5)));

    let retry = |action| manifest.action(action).unwrap().retry.clone().unwrap();
    assert_eq!((retry("on_ping").attempts, retry("on_ping").delays_s), (3, vec![1, 2]));
    let either = retry("either");
    assert_eq!((either.attempts, either.first_ms, either.most_ms), (5, 1000, 60_000));

    let filters: Vec<_> = manifest
        .filters
        .iter()
        .map(|filter| {
            let tags: Vec<&str> = filter.tags.iter().map(String::as_str).collect();
            (filter.event.as_str(), filter.action.as_str(), filter.channel.0.as_str(), tags.join("+"))
        })
        .collect();
    let wanted =
        [("Ping", "on_ping", "webservice", "a+b".to_owned()), ("pong", "on_ping", "", String::new())];
    assert_eq!(filters, wanted);

    let links: Vec<_> = manifest.schema.fields.iter().map(|field| field.link().unwrap()).collect();
    assert_eq!((links[0].is_parent, links[0].role, links[0].min), (true, "node", 0));
    assert_eq!((links[1].is_parent, links[1].role, links[1].min, links[1].max), (false, "db", 1, 3));
    assert_eq!(manifest.schema.data_fields().count(), 0);
}

#[test]
fn what_is_compiled_out_is_in_neither_manifest_nor_dispatch() {
    let manifest: Manifest = serde_json::from_str(&Everything::describe()).unwrap();
    assert!(manifest.action("either").unwrap().recurring.is_none());
    assert!(manifest.filters.iter().all(|filter| filter.event.as_str() != "never"));
    let (message, retry) = fails("either", r#"{"unused":1}"#);
    assert_eq!((message.as_str(), retry), ("invalid digit found in string", true));
}

#[test]
fn args_reach_parameters_by_position_or_by_name() {
    assert_eq!(run("nothing", "[]").unwrap(), "null");
    assert_eq!(run("processChange", "[]").unwrap(), "2");
    assert_eq!(run("names", "[1,2,3,4]").unwrap(), "[1,2,3,4]");
    assert_eq!(run("on_ping", r#"["ab",2]"#).unwrap(), r#""abab""#);
    assert_eq!(run("on_ping", r#"["ab"]"#).unwrap(), r#""ab""#);
    assert_eq!(run("on_ping", r#"{"times":2,"who":"ab","else":0}"#).unwrap(), r#""abab""#);
    for (wrong, why) in [
        ("[]", "`who` is missing"),
        ("[1]", "`who`: invalid type: integer `1`, expected a string at line 1 column 1"),
        (r#"["ab",2,3]"#, "3 are too many"),
        (r#"{"times":2}"#, "`who` is missing"),
        ("7", "expected a sequence at line 1 column 1"),
    ] {
        let (message, retry) = fails("on_ping", wrong);
        assert!(
            message.starts_with("the job's args do not fit `on_ping(who: String, times: Option<u8>)`: "),
            "{message}"
        );
        assert!(message.ends_with(&format!("{why}; they are {wrong}")), "{message}");
        assert!(!retry);
    }
}

#[test]
fn failures_say_whether_another_attempt_makes_sense() {
    assert_eq!(fails("move", "[]"), ("moving: stuck".into(), false));
    let unknown = "no action `Nothing`; the actor has nothing, processChange, on_ping, either, names, move";
    assert_eq!(fails("Nothing", "[]"), (unknown.into(), false));
}
