//! Applying changes, and forgetting.

use ays_core::{
    JsonText,
    changes::{Before, Changes, NewSchedule, ServiceUpdate},
    filter::EventFilter,
    job::JobState,
    run::{NewRun, Task},
    schedule::Recurring,
    service::Links,
};

use super::bed::*;
use crate::{Error, FilterQuery, Paging, RetentionPolicy, ScheduleQuery, ServiceQuery};

pub async fn applying_creates_updates_and_subscribes_in_one_commit(mut bed: Bed) {
    bed.create(&["old"]).await;
    let mut new = new_service("new");
    new.jobs = vec![new_job("new", "input"), new_job("new", "init")];
    let update = ServiceUpdate {
        key: key("old"),
        before: before(),
        applied: json("{\"n\":1}"),
        links: Default::default(),
        job: Some(new_job("old", "processChange")),
    };
    let task = Task { service: key("new"), action: "install".into(), args: JsonText::empty_list() };
    let changes = Changes {
        create: vec![new],
        update: vec![update],
        filters: vec![(key("new"), EventFilter::new(name("went"), "on_went"))],
        schedules: vec![NewSchedule {
            service: key("new"),
            action: "again".into(),
            recurring: Recurring::every("5s".parse().unwrap()),
            waits_for: vec!["init".into()],
        }],
        runs: vec![NewRun { action: "install".into(), steps: vec![vec![task]] }],
    };
    let applied = bed.store.apply(changes, bed.now).await.unwrap();
    assert_eq!((applied.jobs.len(), applied.runs.len()), (3, 1));
    bed.reopen().await;
    let services = bed.store.services(ServiceQuery::default(), all()).await.unwrap().items;
    let found: Vec<_> =
        services.iter().map(|s| (s.key.instance(), s.data.as_str(), s.applied.as_str())).collect();
    assert_eq!(found, [("new", "{\"n\":0}", "{}"), ("old", "{\"n\":0}", "{\"n\":1}")]);
    assert_eq!(bed.emit("went", "[]").await.1, 1);
    let mut found = bed.peek().await;
    found.sort();
    assert_eq!(found, ["new/init", "new/input", "new/install", "new/on_went", "old/processChange"]);
    let schedule = bed.store.schedules(ScheduleQuery::default(), all()).await.unwrap().items.remove(0);
    assert_eq!((schedule.waits_for.len(), schedule.next_due), (1, None));
    bed.finish_all().await;
    let schedule = bed.store.schedules(ScheduleQuery::default(), all()).await.unwrap().items.remove(0);
    assert!(schedule.waits_for.is_empty() && schedule.next_due.is_some());
    assert_eq!(bed.store.run(applied.runs[0]).await.unwrap().unwrap().state, JobState::Ok);
}

pub async fn what_cannot_be_applied_changes_nothing(bed: Bed) {
    let filter = || EventFilter::new(name("went"), "on_went");
    let update = ServiceUpdate {
        key: key("nobody"),
        before: before(),
        applied: json("{}"),
        links: Default::default(),
        job: None,
    };
    let schedule = NewSchedule {
        service: key("nobody"),
        action: "again".into(),
        recurring: Recurring::every("5s".parse().unwrap()),
        waits_for: Vec::new(),
    };
    for wrong in [
        Changes { filters: vec![(key("a"), filter()), (key("nobody"), filter())], ..Changes::default() },
        Changes { update: vec![update], ..Changes::default() },
        Changes { schedules: vec![schedule], ..Changes::default() },
    ] {
        let refused = bed.store.apply(Changes { create: vec![new_service("a")], ..wrong }, bed.now).await;
        assert!(
            matches!(&refused, Err(Error::NotFound(what)) if what.contains("act__nobody")),
            "{refused:?}"
        );
        assert!(bed.store.service(&key("a")).await.unwrap().is_none());
        assert!(bed.store.filters(FilterQuery::default(), all()).await.unwrap().items.is_empty());
    }
}

pub async fn what_was_changed_since_it_was_planned_is_a_conflict_and_changes_nothing(mut bed: Bed) {
    bed.create(&["a", "other"]).await;
    let update = |before: Before, n: u8| ServiceUpdate {
        key: key("a"),
        before,
        applied: json(&format!("{{\"n\":{n}}}")),
        links: Links { parent: Some(key("other")), ..Links::default() },
        job: Some(new_job("a", "processChange")),
    };
    let updated = |update| Changes { update: vec![update], ..Changes::default() };
    // Two blueprints were planned on the same; the first one is there.
    bed.store.apply(updated(update(before(), 1)), bed.now).await.unwrap();
    let first = Before { applied: json("{\"n\":1}"), links: update(before(), 1).links };
    let created = Changes { create: vec![new_service("b"), new_service("a")], ..Changes::default() };
    let half = Before { links: Links::default(), ..first.clone() };
    for late in [updated(update(before(), 2)), updated(update(half, 2)), created] {
        let refused = bed.store.apply(late, bed.now).await;
        assert!(matches!(&refused, Err(Error::Conflict(what)) if what.contains("act__a")), "{refused:?}");
    }
    bed.reopen().await;
    let found = bed.store.service(&key("a")).await.unwrap().unwrap();
    assert_eq!((found.applied.as_str(), &found.links), ("{\"n\":1}", &first.links));
    assert!(bed.store.service(&key("b")).await.unwrap().is_none());
    bed.store.apply(updated(update(first, 3)), bed.now).await.unwrap();
    assert_eq!(bed.peek().await, ["a/processChange", "a/processChange"]);
}

pub async fn retention_keeps_the_number_and_the_age_it_is_told(mut bed: Bed) {
    const DAY_MS: u64 = 86_400_000;
    let policy = |days: u64, jobs| RetentionPolicy { age_s: days * 86_400, jobs };
    bed.create(&["a"]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let new = bed.ask("a", &["go"; 100]).await;
        let mut jobs = bed.take(1, 100).await.remove(0).jobs;
        let last = jobs.pop().unwrap();
        let mut attempts: Vec<_> = jobs.into_iter().map(|job| ok(job, bed.now)).collect();
        attempts.push(failed(last, bed.now));
        bed.store.commit(attempts, bed.now).await.unwrap();
        bed.emit("nothing", "[]").await;
        ids.extend(new);
        bed.later(DAY_MS);
    }
    let waiting = bed.ask("a", &["wait"]).await[0];
    let kept = async |bed: &Bed| {
        let finished: Vec<_> = bed.jobs().await.into_iter().filter(|job| job.state.is_final()).collect();
        assert_eq!(bed.store.status().await.unwrap().history, finished.len() as u64);
        assert_eq!(bed.dead().await.len(), 4, "dead letters are not history");
        assert_eq!(bed.state(waiting).await, JobState::New);
        finished
    };
    bed.store.retain(policy(30, 1000), bed.now).await.unwrap();
    assert_eq!(kept(&bed).await.len(), 400);
    // Those of the first day are gone, those of the second may be.
    bed.store.retain(policy(2, 1000), bed.now).await.unwrap();
    let found = kept(&bed).await;
    assert!((200..=300).contains(&found.len()), "{}", found.len());
    assert!(bed.store.job(ids[0]).await.unwrap().is_none());
    assert!(found.iter().any(|job| job.id == ids[200]) && found.iter().any(|job| job.id == ids[399]));
    // By number, for a piece that had grown under a more generous policy, too.
    for _ in 0..5 {
        bed.store.retain(policy(30, 80), bed.now).await.unwrap();
    }
    let found = kept(&bed).await;
    assert!((80..=100).contains(&found.len()), "{}", found.len());
    assert_eq!(found[0].id, ids[399], "the youngest stay");
    bed.reopen().await;
    assert_eq!(kept(&bed).await.len(), found.len());
    bed.later(31 * DAY_MS);
    bed.store.retain(policy(30, 80), bed.now).await.unwrap();
    assert!(kept(&bed).await.is_empty());
    assert!(bed.store.unmatched(Paging::default()).await.unwrap().items.is_empty());
    bed.finish_all().await;
    assert_eq!(bed.store.status().await.unwrap().history, 1);
}
