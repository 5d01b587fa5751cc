//! Accepting.

use ays_core::{
    event::NewEvent,
    job::{Cause, JobState},
};

use super::bed::*;
use crate::{Batch, Claim, Error, NewDeadLetter, Paging};

pub async fn an_accepted_event_leads_to_a_job_for_each_filter_in_order_of_registration(mut bed: Bed) {
    bed.create(&["a", "b"]).await;
    for (service, action) in [("a", "second"), ("b", "third"), ("a", "first")] {
        bed.subscribe(service, "Went", action).await;
    }
    let (event, matched) = bed.emit("wENT", "[\"x\"]").await;
    assert_eq!(matched, 3);
    bed.reopen().await;
    let jobs = bed.jobs().await;
    let actions: Vec<_> = jobs.iter().rev().map(|job| job.action.as_str()).collect();
    assert_eq!(actions, ["second", "third", "first"]);
    for job in &jobs {
        assert_eq!(job.args.as_str(), "[\"x\"]");
        assert_eq!(job.cause, Cause::Event { id: event, event: "wENT".into(), depth: 0, trail: Vec::new() });
        assert_eq!((job.state, job.attempt, job.created_at), (JobState::New, 0, bed.now));
    }
    let work = bed.take(10, 10).await;
    let taken: Vec<Vec<_>> =
        work.iter().map(|work| work.jobs.iter().map(|job| job.action.as_str()).collect()).collect();
    assert_eq!(taken, [vec!["second", "first"], vec!["third"]]);
}

pub async fn an_event_that_no_filter_takes_is_recorded(mut bed: Bed) {
    let first = bed.emit("one", "[1]").await;
    let second = bed.emit("two", "[2]").await;
    assert_eq!((first.1, second.1), (0, 0));
    bed.reopen().await;
    let page = bed.store.unmatched(Paging { limit: 1, cursor: None }).await.unwrap();
    assert_eq!(page.items[0].id, second.0);
    let page = bed.store.unmatched(Paging { limit: 1, cursor: page.next }).await.unwrap();
    assert_eq!((page.items[0].id, page.items[0].args.as_str(), page.next), (first.0, "[1]", None));
}

pub async fn a_claim_is_accepted_once(mut bed: Bed) {
    bed.create(&["a"]).await;
    let batch = |door: &str, after, last| Batch {
        jobs: vec![new_job("a", "go")],
        claim: Some(Claim { door: door.into(), after, last }),
        ..Batch::default()
    };
    assert!(!bed.store.accept(batch("queue", 0, 5), bed.now).await.unwrap().repeated);
    bed.reopen().await;
    // Whole, in part, with others that would have been new, and after some that were not accepted.
    for (after, last) in [(0, 5), (3, 4), (4, 7), (6, 7)] {
        let again = bed.store.accept(batch("queue", after, last), bed.now).await.unwrap();
        assert!(again.repeated && again.jobs.is_empty());
    }
    // In the same breath, too.
    let (one, two) = tokio::join!(
        bed.store.accept(batch("queue", 5, 6), bed.now),
        bed.store.accept(batch("queue", 5, 6), bed.now)
    );
    assert!(one.unwrap().repeated != two.unwrap().repeated);
    assert!(!bed.store.accept(batch("other", 0, 1), bed.now).await.unwrap().repeated);
    assert_eq!(bed.jobs().await.len(), 3);
    for (door, last) in [("queue", 6), ("other", 1), ("none", 0)] {
        assert_eq!(bed.store.last_claim(door).await.unwrap(), last);
    }
}

pub async fn a_job_for_a_service_that_is_not_there_becomes_a_dead_letter(mut bed: Bed) {
    bed.create(&["somebody"]).await;
    let jobs = vec![new_job("somebody", "go"), new_job("nobody", "go")];
    let accepted = bed.store.accept(Batch { jobs, ..Batch::default() }, bed.now).await.unwrap();
    assert_eq!(accepted.refused, [(1, "there is no service `act__nobody`".to_owned())]);
    let ids = &accepted.jobs[1..];
    bed.finish_all().await;
    bed.reopen().await;
    let letter = bed.store.dead_letter(ids[0]).await.unwrap().expect("a letter");
    assert!(letter.reason.contains("act__nobody"), "{}", letter.reason);
    assert_eq!(letter.job.expect("its job").state, JobState::Error);
    assert_eq!(bed.state(ids[0]).await, JobState::Error);
    let refused = bed.store.retry_dead(ids[0], bed.now).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    bed.create(&["nobody"]).await;
    bed.store.retry_dead(ids[0], bed.now).await.unwrap();
    assert_eq!(bed.peek().await, ["nobody/go"]);
}

pub async fn an_entry_that_cannot_be_understood_is_kept_as_it_came(mut bed: Bed) {
    let entry = NewDeadLetter { door: "queue".into(), reason: "not JSON".into(), raw: vec![0xff, 0, b'{'] };
    let batch = Batch { dead: vec![entry.clone()], ..Batch::default() };
    let id = bed.store.accept(batch, bed.now).await.unwrap().dead[0];
    bed.reopen().await;
    assert_eq!(bed.store.dead_letter(id).await.unwrap().expect("a letter").entry, Some(entry));
    let refused = bed.store.retry_dead(id, bed.now).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(bed.store.discard_dead(id, bed.now).await.unwrap().reason, "not JSON");
    for gone in
        [bed.store.discard_dead(id, bed.now).await.err(), bed.store.retry_dead(id, bed.now).await.err()]
    {
        assert!(matches!(gone, Some(Error::NotFound(_))), "{gone:?}");
    }
    bed.reopen().await;
    assert!(bed.dead().await.is_empty());
}

pub async fn ids_grow_in_order_of_arrival_also_when_the_clock_is_set_back(mut bed: Bed) {
    bed.create(&["a"]).await;
    let mut last = bed.ask("a", &["x", "y"]).await;
    for ms in [1, 86_400_000, 3_600_000_000] {
        bed.now = ays_core::Timestamp::from_millis(bed.now.millis() - ms);
        bed.reopen().await;
        let events = vec![NewEvent::new(name("nothing"), json("[]"))];
        let batch = Batch { events, jobs: vec![new_job("a", "x")], ..Batch::default() };
        let accepted = bed.store.accept(batch, bed.now).await.unwrap();
        last.extend([accepted.events[0].0, accepted.jobs[0]]);
    }
    assert!(last.is_sorted_by(|a, b| a < b), "{last:?}");
}
