//! Routing: which event filters take an event, against a scan over all of them.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::collections::BTreeSet;

use ays_core::{
    EventName, Id, JsonText, ServiceKey,
    event::{Channel, NewEvent},
    filter::{EventFilter, Subscription},
    job::Cause,
    routing::{FilterIndex, Set},
};
use proptest::prelude::*;

fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

fn tags() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set(words(&["a", "A", "b"]), 0..3)
}

fn event_name() -> impl Strategy<Value = EventName> {
    words(&["new_msg_sent", "NEW_msg_sent", "Other", "other", "ΟΔΟΣ", "οδος", "straße", "STRASSE"])
        .prop_map(|name| name.parse().unwrap())
}

fn channel() -> impl Strategy<Value = Channel> {
    words(&["", "all", "ALL", "telegram", "Telegram", "email"]).prop_map(Channel)
}

fn secret() -> impl Strategy<Value = Option<String>> {
    prop::option::of(words(&["", "s3cret", "s3creT", "s3cre"]))
}

prop_compose! {
    fn filter()(
        event in event_name(), action in words(&["on_a", "on_A", "on_b"]), channel in channel(), tags in tags(),
        secret in secret(),
    ) -> EventFilter {
        EventFilter { event, action, channel, tags, secret }
    }
}

prop_compose! {
    fn event()(name in event_name(), channel in channel(), tags in tags(), secret in secret()) -> NewEvent {
        NewEvent { channel, tags, secret, ..NewEvent::new(name, JsonText::null()) }
    }
}

fn service() -> impl Strategy<Value = ServiceKey> {
    words(&["consumer__c1", "consumer__c2", "other__c1"]).prop_map(|key| key.parse().unwrap())
}

#[derive(Clone, Debug)]
enum Step {
    Set(ServiceKey, EventFilter),
    Remove(ServiceKey, EventFilter),
    Event(NewEvent),
    /// The store is closed and opened again; what it has comes back in this order.
    Reopen(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (service(), filter()).prop_map(|(service, filter)| Step::Set(service, filter)),
        2 => (service(), filter()).prop_map(|(service, filter)| Step::Remove(service, filter)),
        4 => event().prop_map(Step::Event),
        1 => any::<u64>().prop_map(Step::Reopen),
    ]
}

/// A filter the way its rules read, all in capitals where case does not count.
type Plain = (String, String, String, BTreeSet<String>);

fn capitals(text: &str) -> String {
    text.to_uppercase()
}

fn plain(filter: &EventFilter) -> Plain {
    let channel = Some(capitals(&filter.channel.0)).filter(|channel| channel != "ALL").unwrap_or_default();
    (capitals(filter.event.as_str()), filter.action.clone(), channel, filter.tags.clone())
}

fn takes((name, _, channel, tags): &Plain, secret: &Option<String>, event: &NewEvent) -> bool {
    *name == capitals(event.name.as_str())
        && (channel.is_empty() || *channel == capitals(&event.channel.0))
        && tags.iter().all(|tag| event.tags.contains(tag))
        && (secret.as_deref().unwrap_or_default().is_empty() || *secret == event.secret)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_index_finds_what_a_scan_over_all_filters_finds_in_order_of_registration(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut index = FilterIndex::default();
        let mut all: Vec<(ServiceKey, u64, Plain, Option<String>)> = Vec::new();
        for step in steps {
            match step {
                Step::Set(service, filter) => {
                    let (key, secret) = (plain(&filter), filter.secret.clone());
                    let outcome = index.set(&service, filter.clone());
                    match all.iter_mut().find(|(s, _, k, _)| *s == service && *k == key) {
                        Some((.., old)) if *old == secret => prop_assert_eq!(outcome, Set::Same),
                        Some((_, seq, _, old)) => {
                            prop_assert_eq!(outcome, Set::Changed(*seq));
                            *old = secret;
                        }
                        None => {
                            let Set::New(seq) = outcome else { panic!("{outcome:?}") };
                            prop_assert!(all.iter().all(|(_, other, ..)| *other < seq));
                            all.push((service.clone(), seq, key, secret));
                        }
                    }
                    prop_assert_eq!(index.set(&service, filter), Set::Same, "setting is idempotent");
                }
                Step::Remove(service, filter) => {
                    let at = all.iter().position(|(s, _, k, _)| *s == service && *k == plain(&filter));
                    prop_assert_eq!(index.remove(&service, &filter), at.map(|at| all.remove(at).1));
                    prop_assert_eq!(index.remove(&service, &filter), None);
                }
                Step::Event(event) => {
                    let found: Vec<u64> = index.matches(&event).map(|s| s.seq).collect();
                    let expected = all.iter().filter(|(_, _, key, secret)| takes(key, secret, &event));
                    prop_assert_eq!(found, expected.map(|(_, seq, ..)| *seq).collect::<Vec<_>>());
                }
                Step::Reopen(order) => {
                    let mut stored: Vec<Subscription> = index.all().into_iter().cloned().collect();
                    stored.sort_by_key(|s| s.seq.wrapping_mul(order | 1).rotate_left(7));
                    index = FilterIndex::default();
                    for subscription in stored {
                        index.restore(subscription.clone());
                        index.restore(subscription);
                    }
                }
            }
            prop_assert_eq!(index.all().len(), all.len());
            let services: BTreeSet<&ServiceKey> = all.iter().map(|(service, ..)| service).collect();
            for service in services {
                let of = index.of(service);
                prop_assert_eq!(of.len(), all.iter().filter(|(s, ..)| s == service).count() as u64);
                for known in index.all() {
                    prop_assert!(known.service != *service || of.contains(&known.filter));
                }
            }
        }
    }
}

#[test]
fn each_filter_on_an_event_gets_its_own_job_with_the_args_as_sent() {
    let consumer: ServiceKey = "actconsumer__c1".parse().unwrap();
    let mut index = FilterIndex::default();
    for action in ["on_producer_installed1", "on_producer_installed2"] {
        index.set(&consumer, EventFilter::new("Producer_Installed".parse().unwrap(), action));
    }
    let args = JsonText::parse(r#"["hello prince"]"#).unwrap();
    let mut event = NewEvent::new("producer_INSTALLED".parse().unwrap(), args.clone());
    event.depth = 3;
    let id = Id::from_bytes([1; 16]);
    let jobs = index.route(&event, id);
    assert_eq!(
        jobs.iter().map(|job| job.action.as_str()).collect::<Vec<_>>(),
        ["on_producer_installed1", "on_producer_installed2"]
    );
    for job in jobs {
        assert_eq!((job.service, job.args), (consumer.clone(), args.clone()));
        assert_eq!(job.cause.depth(), 4);
        assert_eq!(
            job.cause,
            Cause::Event { id, event: "producer_INSTALLED".into(), depth: 3, trail: Vec::new() }
        );
    }
    assert!(index.route(&NewEvent::new("nobody_wants_it".parse().unwrap(), args), id).is_empty());
}

#[test]
fn fifty_thousand_services_may_subscribe_to_one_event() {
    let mut index = FilterIndex::default();
    let filter = EventFilter::new("tick".parse().unwrap(), "on_tick");
    let services: Vec<ServiceKey> = (0..50_000).map(|n| format!("c__{n}").parse().unwrap()).collect();
    for service in services.iter().chain(&services) {
        index.set(service, filter.clone());
    }
    assert_eq!(index.all().len(), services.len());
    for service in &services {
        assert!(index.remove(service, &filter).is_some());
    }
    assert!(index.all().is_empty());
}
