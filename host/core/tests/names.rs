//! Names, ids, times, and the JSON of what is stored.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::collections::BTreeMap;

use ays_core::{
    ActorName, EventName, Id, JsonText, ServiceKey, Timestamp,
    event::{Channel, EventRecord, NewEvent},
    filter::{EventFilter, Subscription},
    id::IdSource,
    job::{Cause, Failure, FailureKind, Job, JobState, Level, LogLine, NewJob, Patch, Usage},
    retry::{RetryPolicy, Verdict},
    service::{ActionStatus, Links, Service},
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

#[test]
fn a_name_that_is_not_one_says_why() {
    let long = "x".repeat(129);
    for (name, why) in [
        ("", "the actor name is empty; it takes letters, digits, `-`, `_` and `.`"),
        ("a b", "actor name `a b` has ' ' in it; it takes letters, digits, `-`, `_` and `.`"),
        ("a/../b", "has '/' in it"),
        ("é", "has 'é' in it"),
        ("a\nb", "has '\\n' in it"),
        ("a__b", "actor name `a__b` has `__` in it, which parts actor and instance"),
        ("a_", "actor name `a_` ends with `_`"),
        (".a", "actor name `.a` begins with `.`"),
        ("..", "begins with `.`"),
        (&long, "has 129 characters; 128 are the most"),
    ] {
        let error = name.parse::<ActorName>().unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    for (key, why) in [
        ("actor", "`actor` is not a service's key; it has the form actor__instance"),
        ("actor_x", "is not a service's key"),
        ("__x", "the actor name is empty"),
        ("actor__", "the instance name is empty"),
        ("actor__a b", "instance name `a b` has ' ' in it"),
    ] {
        let error = key.parse::<ServiceKey>().unwrap_err().to_string();
        assert!(error.contains(why), "{key}: {error}");
    }
    for (name, why) in [
        (" ", "name is empty"),
        ("a\tb", "control character '\\t'"),
        (&"é".repeat(257), "has 514 bytes; 512"),
    ] {
        let error = name.parse::<EventName>().unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

#[test]
fn a_key_is_split_at_the_first_double_underscore() {
    for (key, actor, instance) in [
        ("actproducer__p1", "actproducer", "p1"),
        ("a__b__c", "a", "b__c"),
        ("a___b", "a", "_b"),
        ("a____", "a", "__"),
        ("node.zero-os__10.0.0.1", "node.zero-os", "10.0.0.1"),
    ] {
        let parsed: ServiceKey = key.parse().unwrap();
        assert_eq!((parsed.actor(), parsed.instance(), parsed.as_str()), (actor, instance, key));
    }
    assert_eq!("node.zero-os".parse::<ActorName>().unwrap().role(), "node");
    assert_eq!("node".parse::<ActorName>().unwrap().role(), "node");
}

proptest! {
    #[test]
    fn an_actor_and_an_instance_are_found_again_in_their_key(
        actor in "[a-zA-Z0-9._-]{1,12}", instance in "[a-zA-Z0-9._-]{1,12}",
    ) {
        if let Ok(actor) = actor.parse::<ActorName>() {
            let key = ServiceKey::new(&actor, &instance).unwrap();
            prop_assert_eq!((key.actor(), key.instance()), (actor.as_str(), instance.as_str()));
            prop_assert_eq!(key.to_string().parse::<ServiceKey>().unwrap(), key);
        }
    }

    #[test]
    fn names_of_events_are_compared_without_regard_to_case(
        name in prop_oneof!["[a-zA-Z_.]{1,20}", "\\w{1,20}", "[ΑΣας]{1,6}", "[sSßẞ]{1,4}"],
    ) {
        let sent: EventName = name.parse().unwrap();
        prop_assert_eq!(sent.as_str(), &name);
        let folded: EventName = sent.folded().parse().unwrap();
        prop_assert_eq!(folded.folded(), sent.folded());
        for other in [name.to_lowercase(), name.to_uppercase()] {
            let other: EventName = other.parse().unwrap();
            prop_assert_eq!(other.folded(), sent.folded());
            prop_assert_eq!(&other, &sent);
        }
    }

    #[test]
    fn ids_only_ever_grow_whatever_the_clock_does(
        clock in prop::collection::vec(
            prop_oneof![4 => 1_700_000_000_000..1_700_000_000_010i64, 1 => any::<i64>()], 1..200,
        ),
        salt in any::<u64>(),
        last in prop::option::of(1_600_000_000_000..1_800_000_000_000i64),
    ) {
        let last = last.map(|ms| Id::first_at(Timestamp::from_millis(ms)));
        let mut source = IdSource::new(last, salt);
        let mut ids: Vec<Id> = last.into_iter().collect();
        for millis in clock {
            let now = Timestamp::from_millis(millis);
            let next = source.next(now);
            prop_assert!(next.time() >= now.max(Timestamp::from_millis(0)));
            prop_assert!(next >= Id::first_at(now));
            ids.push(next);
        }
        prop_assert!(ids.is_sorted_by(|a, b| a < b));
        let texts: Vec<String> = ids.iter().map(Id::to_string).collect();
        prop_assert!(texts.is_sorted_by(|a, b| a < b));
        prop_assert!(ids.iter().map(|id| id.to_bytes()).is_sorted_by(|a, b| a < b));
        for (id, text) in ids.iter().zip(&texts) {
            prop_assert_eq!(text.parse::<Id>().unwrap(), *id);
            prop_assert_eq!(text.to_lowercase().parse::<Id>().unwrap(), *id);
            prop_assert_eq!(Id::from_bytes(id.to_bytes()), *id);
        }
        // A source that starts after the last one goes on.
        let mut after = IdSource::new(ids.last().copied(), salt.rotate_left(9));
        prop_assert!(after.next(Timestamp::from_millis(0)) > ids[ids.len() - 1]);
    }

    #[test]
    fn ids_of_two_sources_differ(salts in any::<(u64, u64)>(), millis in 0..1_800_000_000_000i64) {
        prop_assume!(salts.0 != salts.1);
        let now = Timestamp::from_millis(millis);
        let ids = |salt| {
            let mut source = IdSource::new(None, salt);
            (0..100).map(move |_| source.next(now))
        };
        prop_assert!(ids(salts.0).all(|id| ids(salts.1).all(|other| id != other)));
    }

    #[test]
    fn any_bytes_are_an_id_with_a_text(bytes in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
        let (id, other) = (Id::from_bytes(bytes), Id::from_bytes(other));
        prop_assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        prop_assert_eq!(id.to_string().cmp(&other.to_string()), bytes.cmp(&other.to_bytes()));
    }

    #[test]
    fn a_time_can_be_written_and_read_back(millis in prop_oneof![any::<i64>(), 0..2_000_000_000_000i64], ms in any::<u64>()) {
        let time = Timestamp::from_millis(millis);
        for time in [time, time.after(std::time::Duration::from_millis(ms))] {
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
            prop_assert!(time.to_string().len() == 24, "{}", time);
        }
    }
}

#[test]
fn a_text_that_is_no_id_is_refused() {
    for text in
        ["", "01JD5QVC2MDAK1XT9PVQ4N7G3", "01JD5QVC2MDAK1XT9PVQ4N7G3U", "80000000000000000000000000", "é"]
    {
        let error = text.parse::<Id>().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{text}` is not an id; it has 26 letters and digits")),
            "{error}"
        );
    }
    assert!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<Id>().is_ok());
}

#[test]
fn times_are_rfc_3339_in_utc_with_milliseconds() {
    for (text, written) in [
        ("2026-03-29T02:30:00+02:00", "2026-03-29T00:30:00.000Z"),
        ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
        ("9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), written);
    }
    assert_eq!("1969-12-31T23:59:59.999Z".parse::<Timestamp>().unwrap().day(), -1);
    assert_eq!("1970-01-02T00:00:00Z".parse::<Timestamp>().unwrap().day(), 1);
    assert!("yesterday".parse::<Timestamp>().is_err());
}

/// Writes and reads it back, and returns the JSON.
fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> String {
    let json = serde_json::to_string(value).unwrap();
    let back: T = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    // Also where the text must be copied, as from a stream.
    let back: T = serde_json::from_reader(json.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
    json
}

fn new_job(cause: Cause) -> NewJob {
    NewJob {
        service: "a__s".parse().unwrap(),
        action: "act".into(),
        // Numbers and texts stay as they were sent; white space between them does not.
        args: JsonText::parse(" [1.0, 12345678901234567890123, \"\\u00e9\\n\", {\"b\": 1, \"a\": 1}] ")
            .unwrap(),
        cause,
        patch: Some(Patch { values: JsonText::empty_object(), schema: None }),
    }
}

#[test]
fn a_job_is_read_back_as_it_was_written() {
    let now: Timestamp = "2026-03-29T02:30:00.007Z".parse().unwrap();
    let id = Id::first_at(now);
    for cause in [
        Cause::Event { id, event: "Ev\"ént".into(), depth: 3, trail: Vec::new() },
        Cause::Schedule { due_at: now, next_at: None },
        Cause::Schedule { due_at: now, next_at: Some(now) },
        Cause::Run { id, step: 2 },
        Cause::Init { blueprint: None },
        Cause::Init { blueprint: Some("1_a.yaml".into()) },
        Cause::Api { door: "queue".into() },
    ] {
        let kind = cause.kind();
        let fresh = Job::accepted(new_job(cause), id, "main", now);
        round_trip(&fresh);
        let json = round_trip(&Job {
            state: JobState::Retrying,
            attempt: 2,
            result: Some(JsonText::null()),
            error: Some(Failure::new(FailureKind::Trap, "unreachable").for_good()),
            logs: vec![LogLine { time: now, level: Level::Warn, message: "é".into() }],
            started_at: Some(now),
            finished_at: Some(now),
            retry_at: Some(now),
            strict: true,
            usage: Some(Usage { cpu_us: 1, peak_memory_bytes: u64::MAX, host_calls: 0 }),
            digest: Some("sha256:00".into()),
            ..fresh
        });
        assert!(json.contains(&format!(r#""cause":{{"kind":"{kind}""#)), "{json}");
        assert!(json.contains(r#""args":[1.0,12345678901234567890123,"\u00e9\n",{"b":1,"a":1}]"#), "{json}");
    }
}

#[test]
fn a_job_that_is_retried_at_the_end_of_time_can_be_read_back() {
    let policy = RetryPolicy { delays_s: vec![u64::MAX], ..RetryPolicy::default() };
    let Verdict::Retry(delay) = policy.after(1, &Failure::new(FailureKind::App, "no"), 1) else {
        panic!("dead")
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut job = Job::accepted(new_job(Cause::Api { door: "http".into() }), Id::first_at(now), "main", now);
    job.retry_at = Some(now.after(delay));
    round_trip(&job);
}

#[test]
fn a_service_an_event_and_a_filter_are_read_back_as_they_were_written() {
    let now: Timestamp = "2026-03-29T02:30:00Z".parse().unwrap();
    let key: ServiceKey = "a__s".parse().unwrap();
    let status = ActionStatus { state: JobState::Ok, job: Id::first_at(now), at: now };
    round_trip(&Service {
        key: key.clone(),
        data: JsonText::parse(r#"{"msg":"hello prince"}"#).unwrap(),
        schema: Some(ays_core::schema::Schema::default().id(2)),
        applied: JsonText::empty_object(),
        links: Links {
            parent: Some(key.clone()),
            producers: BTreeMap::from([("node".into(), vec![key.clone(), "node__n".parse().unwrap()])]),
        },
        actions: BTreeMap::from([("install".into(), status)]),
        kv: Default::default(),
        created_at: now,
        updated_at: now,
    });

    let mut event = NewEvent::new("New_Msg".parse().unwrap(), JsonText::parse("[\"hello prince\"]").unwrap());
    event.channel = Channel("telegram".into());
    event.tags = ["b".to_owned(), "a".to_owned()].into();
    event.depth = 2;
    event.secret = Some("s3cret".into());
    let json = round_trip(&event);
    assert!(!json.contains("s3cret"), "{json}");
    let json = round_trip(&EventRecord {
        id: Id::first_at(now),
        name: event.name.clone(),
        args: event.args.clone(),
        channel: event.channel.clone(),
        accepted_at: now,
        matched: 0,
    });
    assert!(json.contains(r#""event":"New_Msg","args":["hello prince"]"#), "{json}");

    let mut filter = EventFilter::new(event.name, "on_new_msg");
    filter.channel = event.channel;
    filter.tags = event.tags;
    filter.secret = event.secret;
    round_trip(&Subscription { service: key, seq: 7, filter });
}

#[test]
fn json_text_is_checked_once_and_kept() {
    for (text, is_object) in
        [("{}", true), (" {\"a\" : 1}\n", true), ("[]", false), ("null", false), ("\"{\"", false)]
    {
        let json = JsonText::parse(text).unwrap();
        assert_eq!((json.as_str(), json.is_object()), (&*text.replace([' ', '\n'], ""), is_object));
        assert_eq!(json.value(), serde_json::from_str::<serde_json::Value>(text).unwrap());
        assert_eq!(JsonText::from(&json.value()).value(), json.value());
    }
    for text in ["", "{", "[1,]", "{} {}", "nul", "'a'", "NaN"] {
        assert!(JsonText::parse(text).is_err(), "{text}");
    }
    // Deeper than a value may be: kept as text, without exhausting the stack.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let json = JsonText::parse(&deep).unwrap();
    assert_eq!(serde_json::to_string(&json).unwrap(), deep);
    assert!(json.value().is_string());
}
