//! Taking and releasing.

use std::time::Duration;

use ays_core::{changes::Changes, job::JobState, service::Links};

use super::bed::*;

pub async fn a_service_is_one_takers_until_all_its_jobs_are_committed_or_released(bed: Bed) {
    bed.create(&["a"]).await;
    bed.ask("a", &["one", "two", "three"]).await;
    let mut work = bed.take(10, 2).await.remove(0);
    assert_eq!(work.jobs.len(), 2);
    bed.assert_idle().await;
    let (one, two) = (work.jobs.remove(0), work.jobs.remove(0));
    let (one_id, two_id) = (one.id, two.id);
    assert_eq!(bed.state(one_id).await, JobState::Running);
    bed.commit(ok_with(one, bed.now, "{\"n\":1}", Vec::new())).await;
    // The second job is still with its taker.
    bed.assert_idle().await;
    bed.store.release(&key("a"), &[two_id]).await.unwrap();
    assert_eq!(bed.state(two_id).await, JobState::New);
    let work = bed.take(10, 10).await.remove(0);
    assert_eq!(work.data.as_str(), "{\"n\":1}");
    let actions: Vec<_> = work.jobs.iter().map(|job| (job.action.as_str(), job.state, job.attempt)).collect();
    assert_eq!(actions, [("two", JobState::New, 0), ("three", JobState::New, 0)]);
}

pub async fn who_has_waited_longest_comes_first(bed: Bed) {
    bed.create(&["a", "b", "c"]).await;
    for service in ["c", "a", "b", "c"] {
        bed.ask(service, &["go"]).await;
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let job = bed.take_one().await;
        order.push(job.service.instance().to_owned());
        bed.commit(ok(job, bed.now)).await;
    }
    // c's second job waits behind the others, who had none yet.
    assert_eq!(order, ["c", "a", "b", "c"]);
}

pub async fn a_retrying_job_is_passed_over_until_it_is_due(mut bed: Bed) {
    bed.create(&["a"]).await;
    bed.ask("a", &["one", "two", "three"]).await;
    let (one, due) = (bed.take_one().await, bed.now.after(Duration::from_secs(10)));
    let one_id = one.id;
    bed.commit(retrying(one, bed.now, due, false)).await;
    assert_eq!(bed.peek().await, ["a/two", "a/three"]);
    let job = bed.store.job(one_id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt, job.retry_at), (JobState::Retrying, 1, Some(due)));
    bed.reopen().await;
    assert_eq!(bed.store.tick(bed.now).await.unwrap().next_due, Some(due));
    assert_eq!(bed.peek().await, ["a/two", "a/three"]);
    bed.later(9_999);
    assert_eq!(bed.peek().await, ["a/two", "a/three"]);
    bed.later(1);
    assert_eq!(bed.peek().await, ["a/one", "a/two", "a/three"]);
    let job = bed.take_one().await;
    assert_eq!((job.id, job.state, job.attempt), (one_id, JobState::Retrying, 1));
}

pub async fn a_strict_job_holds_back_what_came_after_it(mut bed: Bed) {
    bed.create(&["a", "b"]).await;
    bed.ask("a", &["one", "two", "three"]).await;
    bed.ask("b", &["go"]).await;
    let mut work = bed.take(1, 2).await.remove(0);
    let (one, two) = (work.jobs.remove(0), work.jobs.remove(0));
    let (soon, due) = (bed.now.after(Duration::from_secs(5)), bed.now.after(Duration::from_secs(10)));
    // `one` came before the strict job, so it is not held back.
    bed.commit(retrying(one, bed.now, soon, false)).await;
    bed.commit(retrying(two, bed.now, due, true)).await;
    for reopened in [false, true] {
        if reopened {
            bed.reopen().await;
        }
        assert_eq!(bed.peek().await, ["b/go"]);
    }
    bed.later(5_000);
    assert_eq!(bed.peek().await.len(), 2);
    bed.later(5_000);
    let mut found = bed.peek().await;
    found.retain(|job| job != "b/go");
    assert_eq!(found, ["a/one", "a/two", "a/three"]);
}

pub async fn take_waits_until_there_is_something(mut bed: Bed) {
    bed.create(&["a"]).await;
    let wait = |bed: &Bed| {
        let (store, now) = (bed.store.clone(), bed.now);
        tokio::spawn(async move { store.take(1, 1, now).await })
    };
    // A job arrives.
    let waiting = wait(&bed);
    bed.assert_idle().await;
    bed.ask("a", &["one", "two"]).await;
    let mut work = waiting.await.unwrap().unwrap();
    // A job is given back.
    let waiting = wait(&bed);
    bed.store.release(&key("a"), &[work[0].jobs[0].id]).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap()[0].jobs[0].id, work[0].jobs[0].id);
    // The service becomes free.
    let waiting = wait(&bed);
    bed.commit(ok(work.remove(0).jobs.remove(0), bed.now)).await;
    let two = waiting.await.unwrap().unwrap().remove(0).jobs.remove(0);
    // A retry falls due.
    let due = bed.now.after(Duration::from_secs(1));
    bed.commit(retrying(two, bed.now, due, false)).await;
    let waiting = wait(&bed);
    bed.assert_idle().await;
    bed.later(1_000);
    bed.store.tick(bed.now).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap()[0].jobs[0].action, "two");
}

pub async fn dropping_a_take_takes_nothing(bed: Bed) {
    bed.create(&["a"]).await;
    for _ in 0..20 {
        let take = bed.store.take(1, 1, bed.now);
        let ask = bed.ask("a", &["go"]);
        // Dropped at any moment after the job has come.
        tokio::select! { biased; taken = take => { let taken = taken.unwrap(); bed.store.release(&key("a"), &[taken[0].jobs[0].id]).await.unwrap(); }, _ = ask => {} }
    }
    // Whatever was asked for and not waited for is there once this is.
    bed.ask("a", &["go"]).await;
    let work = bed.take(10, 100).await;
    assert!(work[0].jobs.len() <= 21);
    let waiting = bed.jobs().await.iter().filter(|job| job.state == JobState::New).count();
    assert_eq!(waiting, 0, "all that came was there to take");
}

pub async fn what_was_taken_and_not_committed_comes_again(mut bed: Bed) {
    bed.create(&["a"]).await;
    let ids = bed.ask("a", &["one", "two", "three"]).await;
    let mut work = bed.take(1, 2).await.remove(0);
    bed.commit(ok(work.jobs.remove(0), bed.now)).await;
    bed.reopen().await;
    assert_eq!(bed.state(ids[1]).await, JobState::New);
    assert_eq!(bed.peek().await, ["a/two", "a/three"]);
}

pub async fn a_taker_sees_the_data_of_the_services_it_is_linked_to(bed: Bed) {
    bed.create(&["parent", "one", "two"]).await;
    let mut child = new_service("child");
    let producers = [("act".to_owned(), vec![key("two"), key("one"), key("missing")])].into();
    child.links = Links { parent: Some(key("parent")), producers };
    let links = child.links.clone();
    bed.store.apply(Changes { create: vec![child], ..Changes::default() }, bed.now).await.unwrap();
    bed.ask("one", &["change"]).await;
    let job = bed.take_one().await;
    bed.commit(ok_with(job, bed.now, "{\"n\":7}", Vec::new())).await;
    bed.ask("child", &["look"]).await;
    let work = bed.take(1, 1).await.remove(0);
    assert_eq!(*work.links, links);
    let mut linked: Vec<_> = work.linked.iter().map(|(key, data)| (key.instance(), data.as_str())).collect();
    linked.sort();
    assert_eq!(linked, [("one", "{\"n\":7}"), ("parent", "{\"n\":0}"), ("two", "{\"n\":0}")]);
}
