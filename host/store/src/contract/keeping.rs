//! Key-value pairs of services.

use std::{collections::BTreeSet, sync::Arc};

use ays_core::{job::Job, kv, turn::Effect};

use super::bed::*;
use crate::Settled;

/// A turn that sets and removes pairs.
fn keeps(job: Job, bed: &Bed, writes: &[(&str, Option<&[u8]>)]) -> Settled {
    let write = |(key, value): &(&str, Option<&[u8]>)| ((*key).to_owned(), value.map(Arc::from));
    let writes: kv::Writes = writes.iter().map(write).collect();
    let usage = kv::Usage { keys: writes.len() as u64, bytes: 7 };
    Settled { effects: vec![Effect::Keep(kv::Change { writes, usage })], ..ok(job, bed.now) }
}

async fn value(bed: &Bed, service: &str, of: &str) -> Option<Vec<u8>> {
    bed.store.kv_get(&key(service), of).await.unwrap().map(|value| value.to_vec())
}

async fn keys(bed: &Bed, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    bed.store.kv_keys(&key("a"), prefix, after, limit).await.unwrap()
}

pub async fn pairs_are_committed_with_their_turn_and_are_their_services_own(mut bed: Bed) {
    // The key of one service begins with that of the other.
    bed.create(&["a", "ab"]).await;
    let bytes: Vec<u8> = (0..=255).collect();
    bed.ask("a", &["go"]).await;
    let job = bed.take_one().await;
    bed.commit(keeps(job, &bed, &[("one", Some(&bytes)), ("empty", Some(b"")), ("b\u{0}x", Some(b"1"))]))
        .await;
    bed.ask("ab", &["go"]).await;
    let job = bed.take_one().await;
    bed.commit(keeps(job, &bed, &[("one", Some(b"other"))])).await;
    for reopened in [false, true] {
        if reopened {
            bed.reopen().await;
        }
        assert_eq!(value(&bed, "a", "one").await, Some(bytes.clone()));
        assert_eq!(value(&bed, "a", "empty").await, Some(Vec::new()));
        assert_eq!(value(&bed, "ab", "one").await, Some(b"other".to_vec()));
        assert_eq!(value(&bed, "ab", "empty").await, None);
        assert_eq!(value(&bed, "nobody", "one").await, None);
        assert_eq!(keys(&bed, "", None, 10).await, ["b\u{0}x", "empty", "one"]);
        let service = bed.store.service(&key("a")).await.unwrap().unwrap();
        assert_eq!(service.kv, kv::Usage { keys: 3, bytes: 7 });
    }
    bed.ask("a", &["go"]).await;
    let work = bed.take(1, 1).await.remove(0);
    assert_eq!(
        work.kv,
        kv::Usage { keys: 3, bytes: 7 },
        "whoever takes the service is told how many there are"
    );
    let job = work.jobs.into_iter().next().unwrap();
    bed.commit(keeps(job, &bed, &[("one", None), ("none", None), ("empty", Some(b"2"))])).await;
    assert_eq!(value(&bed, "a", "one").await, None);
    assert_eq!(value(&bed, "a", "empty").await, Some(b"2".to_vec()));
    assert_eq!(keys(&bed, "", None, 10).await, ["b\u{0}x", "empty"]);
    assert_eq!(value(&bed, "ab", "one").await, Some(b"other".to_vec()));
}

pub async fn a_turn_that_does_not_count_keeps_nothing(bed: Bed) {
    bed.create(&["a"]).await;
    bed.ask("a", &["failed", "retried", "cancelled", "on it", "good", "on that"]).await;
    let jobs = bed.take(1, 6).await.remove(0).jobs;
    let [fails, retries, cancelled, on_it, good, on_that] = &jobs[..] else { panic!("six jobs") };
    bed.store.cancel(cancelled.id, bed.now).await.unwrap();
    let writes = |job: &Job, value: &[u8]| keeps(job.clone(), &bed, &[("k", Some(value))]).effects;
    let attempts = vec![
        Settled { effects: writes(fails, b"1"), ..failed(fails.clone(), bed.now) },
        Settled { effects: writes(retries, b"2"), ..retrying(retries.clone(), bed.now, bed.now, false) },
        Settled { effects: writes(cancelled, b"3"), ..ok(cancelled.clone(), bed.now) },
        Settled { effects: writes(on_it, b"4"), after: Some(cancelled.id), ..ok(on_it.clone(), bed.now) },
    ];
    bed.store.commit(attempts, bed.now).await.unwrap();
    assert_eq!(value(&bed, "a", "k").await, None);
    assert!(keys(&bed, "", None, 10).await.is_empty());
    assert!(bed.store.service(&key("a")).await.unwrap().unwrap().kv.is_empty());
    // Of two turns in one commit the last one counts.
    let attempts = vec![
        keeps(good.clone(), &bed, &[("k", Some(b"5")), ("l", Some(b"6"))]),
        Settled { after: Some(good.id), ..keeps(on_that.clone(), &bed, &[("k", None), ("m", Some(b"7"))]) },
    ];
    bed.store.commit(attempts, bed.now).await.unwrap();
    assert_eq!(keys(&bed, "", None, 10).await, ["l", "m"]);
}

pub async fn keys_come_in_the_order_of_their_bytes_page_by_page(bed: Bed) {
    bed.create(&["a"]).await;
    let mut all: BTreeSet<String> = (0..250).map(|n| format!("n/{n}")).collect();
    let odd = [
        "m",
        "n",
        "n.",
        "n/",
        "n0",
        "N/1",
        "n/\u{0}",
        "n/é",
        "n/\u{10ffff}",
        "\u{10ffff}",
        " ",
        "[",
        "(",
        "+",
        "-",
    ];
    all.extend(odd.map(str::to_owned));
    bed.ask("a", &["go"]).await;
    let job = bed.take_one().await;
    let writes: Vec<(&str, Option<&[u8]>)> = all.iter().map(|key| (key.as_str(), Some(&b"v"[..]))).collect();
    bed.commit(keeps(job, &bed, &writes)).await;
    for prefix in ["", "n", "n/", "n/1", "n/\u{10ffff}", "x", "\u{10ffff}", "-", "("] {
        let expected: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(keys(&bed, prefix, None, 1000).await, expected, "{prefix}");
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = keys(&bed, prefix, found.last().map(String::as_str), 7).await;
            let last = page.len() < 7;
            found.extend(page);
            if last {
                break;
            }
        }
        assert_eq!(found, expected, "{prefix}, by pages");
        // What need not be a key itself: before, among and after those of the prefix.
        for after in ["", "a", "n/15x", "z", "\u{10ffff}\u{10ffff}"] {
            let expected: Vec<_> =
                expected.iter().filter(|key| key.as_str() > after).take(3).cloned().collect();
            assert_eq!(keys(&bed, prefix, Some(after), 3).await, expected, "{prefix} after {after}");
        }
    }
}
