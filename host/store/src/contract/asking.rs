//! Queries.

use std::collections::{BTreeMap, BTreeSet};

use ays_core::{
    Id,
    capability::Granted,
    job::{Job, JobState},
};

use super::bed::*;
use crate::{Batch, DeadQuery, Error, FilterQuery, JobQuery, Page, Paging, ScheduleQuery, ServiceQuery};

/// Jobs of several services, in every state and of several causes, some of them on another day.
async fn various(bed: &mut Bed) {
    bed.create(&["a", "b"]).await;
    bed.subscribe("a", "went", "on_went").await;
    bed.subscribe("b", "went", "on_went").await;
    bed.emit("went", "[]").await;
    bed.ask("a", &["stop", "fail", "retry", "run", "rest"]).await;
    bed.ask("nobody", &["go"]).await;
    for _ in 0..2 {
        let work = bed.take(1, 1).await.remove(0);
        bed.commit(ok(work.jobs.into_iter().next().unwrap(), bed.now)).await;
        bed.later(86_400_000);
    }
    let stop = bed.jobs().await.into_iter().find(|job| job.action == "stop").unwrap();
    bed.store.cancel(stop.id, bed.now).await.unwrap();
    let job = bed.take_one().await;
    bed.commit(failed(job, bed.now)).await;
    let job = bed.take_one().await;
    bed.commit(retrying(job, bed.now, ays_core::Timestamp::MAX, false)).await;
    bed.emit("went", "[2]").await;
    bed.take_one().await;
}

pub async fn jobs_are_found_by_every_member_of_a_query(mut bed: Bed) {
    various(&mut bed).await;
    let jobs = bed.jobs().await;
    assert!(jobs.is_sorted_by(|a, b| a.id > b.id), "youngest first");
    let states: BTreeSet<_> = jobs.iter().map(|job| format!("{:?}", job.state)).collect();
    assert_eq!(states.len(), 6, "{states:?}");
    let running: Vec<_> = jobs.iter().filter(|job| job.state == JobState::Running).collect();
    assert_eq!((running.len(), running[0].attempt), (1, 1));
    for one in &jobs {
        assert_eq!(bed.store.job(one.id).await.unwrap().as_ref(), Some(one));
    }
    let middle = bed.now;
    type Matches = Box<dyn Fn(&Job) -> bool>;
    let mut queries: Vec<(JobQuery, Matches)> = vec![
        (JobQuery { actor: Some("act".into()), ..JobQuery::default() }, Box::new(|_| true)),
        (JobQuery { actor: Some("ac".into()), ..JobQuery::default() }, Box::new(|_| false)),
        (
            JobQuery { action: Some("on_went".into()), ..JobQuery::default() },
            Box::new(|job| job.action == "on_went"),
        ),
        (
            JobQuery { since: Some(middle), ..JobQuery::default() },
            Box::new(move |job| job.created_at >= middle),
        ),
    ];
    for service in ["a", "b", "nobody", "else"] {
        let query = JobQuery { service: Some(key(service)), ..JobQuery::default() };
        queries.push((query, Box::new(move |job| job.service == key(service))));
    }
    for state in jobs.iter().map(|job| job.state).collect::<std::collections::HashSet<_>>() {
        let query = JobQuery { state: Some(state), service: Some(key("a")), ..JobQuery::default() };
        queries.push((query, Box::new(move |job| job.state == state && job.service == key("a"))));
        queries.push((
            JobQuery { state: Some(state), ..JobQuery::default() },
            Box::new(move |job| job.state == state),
        ));
    }
    for cause in ["event", "api", "run"] {
        let query = JobQuery { cause: Some(cause.into()), ..JobQuery::default() };
        queries.push((query, Box::new(move |job| job.cause.kind() == cause)));
    }
    for (query, matches) in queries {
        let found = bed.store.jobs(query.clone(), all()).await.unwrap().items;
        let wanted: Vec<_> = jobs.iter().filter(|job| matches(job)).cloned().collect();
        assert_eq!(found, wanted, "{query:?}");
    }
}

/// All ids of a list, asked for page by page.
async fn paged<T>(
    limit: usize,
    ask: impl AsyncFn(Paging) -> Page<T>,
    id: impl Fn(&T) -> String,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = ask(Paging { limit, cursor }).await;
        assert!(page.items.len() <= limit);
        found.extend(page.items.iter().map(&id));
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

pub async fn pages_cover_everything_once(mut bed: Bed) {
    various(&mut bed).await;
    bed.emit("unmatched", "[1]").await;
    bed.later(86_400_000);
    bed.emit("unmatched", "[2]").await;
    let store = &bed.store;
    for limit in [1, 2, 3] {
        for service in [None, Some(key("a"))] {
            let ask = async |paging, query: &JobQuery| store.jobs(query.clone(), paging).await.unwrap();
            let query = JobQuery { service, ..JobQuery::default() };
            let whole =
                paged(10_000, async |paging| ask(paging, &query).await, |job| job.id.to_string()).await;
            let parts =
                paged(limit, async |paging| ask(paging, &query).await, |job| job.id.to_string()).await;
            assert_eq!(parts, whole);
        }
        let services = async |paging| store.services(ServiceQuery::default(), paging).await.unwrap();
        assert_eq!(paged(limit, services, |s| s.key.to_string()).await, ["act__a", "act__b"]);
        let filters = async |paging| store.filters(FilterQuery::default(), paging).await.unwrap();
        assert_eq!(paged(limit, filters, |s| s.service.to_string()).await, ["act__a", "act__b"]);
        let dead = async |paging| store.dead(DeadQuery::default(), paging).await.unwrap();
        assert_eq!(paged(limit, dead, |l| l.job.as_ref().unwrap().action.clone()).await, ["go", "fail"]);
        let unmatched = async |paging| store.unmatched(paging).await.unwrap();
        assert_eq!(paged(limit, unmatched, |e| e.args.to_string()).await, ["[2]", "[1]"]);
    }
    let query = FilterQuery { service: Some(key("b")), event: Some(name("WENT")) };
    assert_eq!(store.filters(query, all()).await.unwrap().items.len(), 1);
    let query = DeadQuery { service: Some(key("a")) };
    assert_eq!(store.dead(query, all()).await.unwrap().items.len(), 1);
    let query = ServiceQuery { actor: Some("none".into()) };
    assert!(store.services(query, all()).await.unwrap().items.is_empty());
}

pub async fn a_cursor_that_is_none_is_refused(bed: Bed) {
    let paging = || Paging { limit: 1, cursor: Some("../nonsense\u{fe}".into()) };
    let store = &bed.store;
    for refused in [
        store.jobs(JobQuery::default(), paging()).await.err(),
        store.dead(DeadQuery::default(), paging()).await.err(),
        store.unmatched(paging()).await.err(),
        store.filters(FilterQuery::default(), paging()).await.err(),
        store.schedules(ScheduleQuery::default(), paging()).await.err(),
    ] {
        assert!(matches!(&refused, Some(Error::NotFound(what)) if what.contains("nonsense")), "{refused:?}");
    }
}

pub async fn the_status_counts(mut bed: Bed) {
    various(&mut bed).await;
    let status = bed.store.status().await.unwrap();
    let finished = bed.jobs().await.iter().filter(|job| job.state.is_final()).count() as u64;
    let counts = (status.pending, status.history, status.dead, status.services);
    assert_eq!(counts, (bed.jobs().await.len() as u64 - finished, finished, 2, 2));
    assert!(status.changes > 0);
    bed.reopen().await;
    let status = bed.store.status().await.unwrap();
    assert_eq!((status.pending, status.history, status.dead, status.services), counts);
    assert_eq!((status.changes, status.syncs), (0, 0));
    bed.store
        .accept(Batch { jobs: vec![new_job("a", "x"), new_job("a", "y")], ..Batch::default() }, bed.now)
        .await
        .unwrap();
    assert_eq!(bed.store.status().await.unwrap().changes, 2);
}

pub async fn a_stores_identity_stays(mut bed: Bed) {
    let identity = bed.store.identity();
    assert!(identity.len() > 16);
    bed.reopen().await;
    assert_eq!(bed.store.identity(), identity);
}

pub async fn a_closed_store_refuses_everything(bed: Bed) {
    bed.create(&["a"]).await;
    let waiting = {
        let (store, now) = (bed.store.clone(), bed.now);
        tokio::spawn(async move { store.take(1, 1, now).await.map(|_| ()) })
    };
    bed.assert_idle().await;
    let (store, now) = (&bed.store, bed.now);
    store.close().await.unwrap();
    let id = Id::first_at(now);
    for (what, result) in [
        ("take that waited", waiting.await.unwrap()),
        ("accept", store.accept(Batch::default(), now).await.map(|_| ())),
        ("apply", store.apply(Default::default(), now).await.map(|_| ())),
        ("take", store.take(1, 1, now).await.map(|_| ())),
        ("commit", store.commit(Vec::new(), now).await),
        ("release", store.release(&key("a"), &[]).await),
        ("tick", store.tick(now).await.map(|_| ())),
        ("cancel", store.cancel(id, now).await.map(|_| ())),
        ("retain", store.retain(Default::default(), now).await),
        ("services", store.services(ServiceQuery::default(), all()).await.map(|_| ())),
        ("service", store.service(&key("a")).await.map(|_| ())),
        ("jobs", store.jobs(JobQuery::default(), all()).await.map(|_| ())),
        ("job", store.job(id).await.map(|_| ())),
        ("status", store.status().await.map(|_| ())),
        ("close", store.close().await),
    ] {
        assert!(matches!(result, Err(Error::Closed(_))), "{what}: {result:?}");
    }
}

pub async fn grants_are_kept_by_actor(mut bed: Bed) {
    let granted = |texts: &[&str]| -> Granted {
        let mut granted = Granted::default();
        texts.iter().for_each(|text| granted.read(text).unwrap());
        granted
    };
    let grants = |of: &[(&str, &[&str])]| -> BTreeMap<String, Granted> {
        of.iter().map(|(actor, texts)| ((*actor).to_owned(), granted(texts))).collect()
    };
    assert_eq!(bed.store.grants().await.unwrap(), BTreeMap::new());
    let first = grants(&[("a", &["secret x", "nothing else"]), ("*", &["http https://*.example.com:8443"])]);
    bed.store.grant(first.clone()).await.unwrap();
    assert_eq!(bed.store.grants().await.unwrap(), first);
    bed.store.grant(grants(&[("a", &["emit y"]), ("b", &["listen z"])])).await.unwrap();
    bed.store.grant(grants(&[("*", &[])])).await.unwrap();
    bed.reopen().await;
    let expected = grants(&[("a", &["emit y"]), ("b", &["listen z"])]);
    assert_eq!(bed.store.grants().await.unwrap(), expected);
}
