//! Committing: what a turn's end leads to.

use std::time::Duration;

use ays_core::{
    changes::{Changes, NewSchedule},
    event::{MAX_DEPTH, NewEvent},
    filter::EventFilter,
    job::{Cause, JobState, NewJob, Patch},
    run::{NewRun, Task},
    schedule::{Missed, Recurring},
    schema::Schema,
    turn::Effect,
};

use super::bed::*;
use crate::{Batch, Error, FilterQuery, Paging, ScheduleQuery};

fn every_second() -> Recurring {
    Recurring::every("1s".parse().unwrap())
}

pub async fn a_turn_becomes_visible_whole_and_its_job_leaves_the_mailbox(mut bed: Bed) {
    bed.create(&["a"]).await;
    bed.subscribe("a", "emitted", "on_emitted").await;
    let id = bed.ask("a", &["go"]).await[0];
    let job = bed.take_one().await;
    let effects = vec![
        Effect::Emit(NewEvent::new(name("emitted"), json("[9]"))),
        Effect::SetFilter(EventFilter::new(name("later"), "on_later")),
        Effect::SetSchedule { action: "again".into(), recurring: every_second() },
        Effect::SetSchema(Schema::default().id(2)),
    ];
    bed.later(5);
    bed.commit(ok_with(job, bed.now, "{\"n\":1}", effects)).await;
    for reopened in [false, true] {
        if reopened {
            bed.reopen().await;
        }
        let job = bed.store.job(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempt, job.finished_at), (JobState::Ok, 1, Some(bed.now)));
        let service = bed.store.service(&key("a")).await.unwrap().unwrap();
        assert_eq!((service.data.as_str(), service.updated_at), ("{\"n\":1}", bed.now));
        assert_eq!(service.schema, Some(Schema::default().id(2)));
        assert_eq!(bed.store.filters(FilterQuery::default(), all()).await.unwrap().items.len(), 2);
        assert_eq!(bed.store.schedules(ScheduleQuery::default(), all()).await.unwrap().items.len(), 1);
        assert_eq!(bed.peek().await, ["a/on_emitted"]);
        let status = bed.store.status().await.unwrap();
        assert_eq!((status.pending, status.history), (1, 1));
    }
}

pub async fn a_failed_turn_has_no_effects(bed: Bed) {
    bed.create(&["a"]).await;
    for (n, action) in ["one", "two", "three"].into_iter().enumerate() {
        bed.ask("a", &[action]).await;
        let job = bed.take_one().await;
        let mut settled = match n {
            0 => retrying(job, bed.now, bed.now.after(Duration::from_secs(900)), false),
            1 => failed(job, bed.now),
            _ => ok(job, bed.now),
        };
        if n == 2 {
            settled.job.state = JobState::Cancelled;
        }
        settled.data = Some(json("{\"n\":1}"));
        settled.effects = vec![Effect::Emit(NewEvent::new(name("emitted"), json("[9]")))];
        bed.commit(settled).await;
    }
    assert_eq!(bed.data("a").await, "{\"n\":0}");
    assert!(bed.store.unmatched(Paging::default()).await.unwrap().items.is_empty());
    assert_eq!(bed.store.status().await.unwrap().pending, 1);
}

pub async fn a_void_attempt_changes_nothing(mut bed: Bed) {
    bed.create(&["a"]).await;
    bed.ask("a", &["cancelled", "twice", "given back", "last"]).await;
    let work = bed.take(1, 3).await.remove(0);
    let [cancelled, twice, back] = &work.jobs[..] else { panic!("three jobs") };
    bed.store.cancel(cancelled.id, bed.now).await.unwrap();
    bed.store.release(&key("a"), &[back.id]).await.unwrap();
    let attempts = vec![
        ok_with(cancelled.clone(), bed.now, "{\"n\":1}", Vec::new()),
        ok_with(twice.clone(), bed.now, "{\"n\":2}", Vec::new()),
        ok_with(twice.clone(), bed.now, "{\"n\":3}", Vec::new()),
        ok_with(back.clone(), bed.now, "{\"n\":4}", Vec::new()),
    ];
    bed.store.commit(attempts, bed.now).await.unwrap();
    for reopened in [false, true] {
        if reopened {
            bed.reopen().await;
        }
        assert_eq!(bed.data("a").await, "{\"n\":2}");
        assert_eq!(bed.state(cancelled.id).await, JobState::Cancelled);
        assert_eq!(bed.state(back.id).await, JobState::New);
        assert_eq!(bed.peek().await, ["a/given back", "a/last"]);
        assert_eq!(bed.jobs().await.len(), 4);
    }
}

pub async fn what_was_made_on_the_data_of_a_void_attempt_is_void_and_done_again(bed: Bed) {
    bed.create(&["a"]).await;
    bed.ask("a", &["cancelled", "on it", "on that", "last"]).await;
    let jobs = bed.take(1, 3).await.remove(0).jobs;
    let [cancelled, first, second] = &jobs[..] else { panic!("three jobs") };
    bed.store.cancel(cancelled.id, bed.now).await.unwrap();
    let on = |job: &ays_core::job::Job, data: &str, after: &ays_core::job::Job| {
        let settled = ok_with(job.clone(), bed.now, data, Vec::new());
        crate::Settled { after: Some(after.id), ..settled }
    };
    let attempts =
        vec![ok_with(cancelled.clone(), bed.now, "{\"n\":1}", Vec::new()), on(first, "{\"n\":2}", cancelled)];
    let last = on(second, "{\"n\":3}", first);
    bed.store.commit(attempts, bed.now).await.unwrap();
    bed.store.commit(vec![last], bed.now).await.unwrap();
    assert_eq!(bed.data("a").await, "{\"n\":0}", "nothing of it is seen");
    assert_eq!(bed.state(first.id).await, JobState::New);
    assert_eq!(bed.peek().await, ["a/on it", "a/on that", "a/last"], "in the order in which they came");
    let again = bed.take_one().await;
    assert_eq!((again.id, again.attempt), (first.id, 0));
    bed.commit(on(&again, "{\"n\":2}", cancelled)).await;
    assert_eq!(bed.data("a").await, "{\"n\":2}", "a further take knows nothing of the void one");
}

pub async fn a_failed_job_is_in_the_history_and_the_dead_letter_list_and_can_be_retried(mut bed: Bed) {
    bed.create(&["a"]).await;
    let patch = Some(Patch { values: json("{\"n\":5}"), schema: None });
    let job = NewJob { patch: patch.clone(), ..new_job("a", "go") };
    bed.store.accept(Batch { jobs: vec![job], ..Batch::default() }, bed.now).await.unwrap();
    let first = bed.take_one().await;
    bed.commit(failed(first.clone(), bed.now)).await;
    bed.ask("a", &["before"]).await;
    bed.reopen().await;
    let letter = bed.dead().await.remove(0);
    assert_eq!((letter.id, letter.job.as_ref().unwrap().state), (first.id, JobState::Error));
    assert!(letter.reason.contains("it did not work"), "{}", letter.reason);
    assert_eq!(bed.state(first.id).await, JobState::Error);
    let retried = bed.store.retry_dead(first.id, bed.now).await.unwrap();
    assert!(retried.id > first.id);
    assert_eq!((&retried.action, &retried.args, &retried.patch), (&first.action, &first.args, &patch));
    assert_eq!((retried.cause.kind(), retried.attempt, retried.state), ("api", 0, JobState::New));
    bed.reopen().await;
    assert!(bed.dead().await.is_empty());
    assert_eq!(bed.state(first.id).await, JobState::Error, "the record stays in the history");
    assert_eq!(bed.peek().await, ["a/before", "a/go"]);
}

pub async fn emitted_events_are_routed_and_a_chain_ends(bed: Bed) {
    bed.create(&["a"]).await;
    bed.subscribe("a", "again", "on_again").await;
    bed.emit("again", "[]").await;
    let mut deepest = 0;
    while let Some(work) = bed.take_now(1, 1).await.pop() {
        let job = work.jobs.into_iter().next().unwrap();
        let Cause::Event { depth, .. } = job.cause else { panic!("{:?}", job.cause) };
        assert!(depth == 0 || depth == deepest + 1);
        deepest = depth;
        let mut event = NewEvent::new(name("again"), json("[]"));
        event.depth = 3; // what the guest says does not count
        bed.commit(ok_with(job, bed.now, "{}", vec![Effect::Emit(event)])).await;
    }
    assert_eq!(deepest, MAX_DEPTH);
    let letter = bed.dead().await.remove(0);
    assert!(letter.reason.contains("again") && letter.job.is_none(), "{}", letter.reason);
    // It says who goes round, and that it is one step.
    assert!(letter.reason.contains("goes round: `act__a on_again -> again`;"), "{}", letter.reason);
}

pub async fn life_cycle_actions_are_remembered_and_undone(mut bed: Bed) {
    bed.create(&["a"]).await;
    for (action, kept) in [
        ("install", vec!["install"]),
        ("on_event", vec!["install"]),
        ("start", vec!["install", "start"]),
        ("stop", vec!["install", "stop"]),
        ("uninstall", vec!["stop", "uninstall"]),
    ] {
        bed.ask("a", &[action]).await;
        let job = bed.take_one().await;
        bed.commit(ok(job, bed.now)).await;
        let service = bed.store.service(&key("a")).await.unwrap().unwrap();
        assert_eq!(service.actions.keys().collect::<Vec<_>>(), kept, "after {action}");
    }
    bed.ask("a", &["install"]).await;
    let job = bed.take_one().await;
    bed.commit(failed(job, bed.now)).await;
    bed.reopen().await;
    let service = bed.store.service(&key("a")).await.unwrap().unwrap();
    assert_eq!(service.actions["install"].state, JobState::Error);
    assert!(service.done("uninstall"), "what failed undoes nothing");
}

pub async fn setting_a_filter_again_changes_at_most_its_secret(mut bed: Bed) {
    bed.create(&["a"]).await;
    let with = |secret: Option<&str>| EventFilter {
        secret: secret.map(Into::into),
        ..EventFilter::new(name("went"), "on_went")
    };
    let listed = async |bed: &Bed| bed.store.filters(FilterQuery::default(), all()).await.unwrap().items;
    bed.subscribe("a", "other", "on_other").await;
    let steps = [
        vec![Effect::SetFilter(with(None))],
        vec![Effect::SetFilter(with(None)), Effect::SetFilter(with(Some("s")))],
        vec![
            Effect::SetFilter(with(Some("t"))),
            Effect::RemoveFilter(with(None)),
            Effect::SetFilter(with(Some("u"))),
        ],
        vec![Effect::RemoveFilter(with(Some("anything")))],
    ];
    let mut found = Vec::new();
    for effects in steps {
        bed.ask("a", &["go"]).await;
        let job = bed.take_one().await;
        bed.commit(ok_with(job, bed.now, "{}", effects)).await;
        let before = listed(&bed).await;
        bed.reopen().await;
        let after = listed(&bed).await;
        assert_eq!(
            before.iter().map(|s| (s.seq, s.filter.secret.clone())).collect::<Vec<_>>(),
            after.iter().map(|s| (s.seq, s.filter.secret.clone())).collect::<Vec<_>>()
        );
        found.push(after.get(1).map(|s| s.filter.secret.clone()));
    }
    assert_eq!(found, [Some(None), Some(Some("s".into())), Some(Some("u".into())), None]);
    assert_eq!(bed.emit("went", "[]").await.1, 0);
}

pub async fn an_occurrence_gets_one_job_and_a_missed_one_comes_after(mut bed: Bed) {
    bed.create(&["a"]).await;
    let recurring = Recurring { missed: Missed::One, ..every_second() };
    let new = NewSchedule { service: key("a"), action: "again".into(), recurring, waits_for: Vec::new() };
    bed.store.apply(Changes { schedules: vec![new], ..Changes::default() }, bed.now).await.unwrap();
    bed.later(1_000);
    assert_eq!(bed.store.tick(bed.now).await.unwrap().occurrences, 1);
    assert_eq!(bed.store.tick(bed.now).await.unwrap().occurrences, 0);
    bed.reopen().await;
    let ticked = bed.store.tick(bed.now).await.unwrap();
    assert_eq!(ticked.occurrences, 0, "it was given before");
    let next = ticked.next_due.expect("a next one");
    assert!(next > bed.now && next <= bed.now.after(Duration::from_secs(1)));
    // The next two fall due while the job has not ended: one job stands for both, when it has.
    for _ in 0..2 {
        bed.later(1_000);
        assert_eq!(bed.store.tick(bed.now).await.unwrap().occurrences, 0);
    }
    let job = bed.take_one().await;
    let Cause::Schedule { due_at: first, .. } = job.cause else { panic!("{:?}", job.cause) };
    bed.commit(ok(job, bed.now)).await;
    bed.reopen().await;
    let job = bed.take_one().await;
    assert_eq!(job.cause.kind(), "schedule");
    let Cause::Schedule { due_at, .. } = job.cause else { panic!("{:?}", job.cause) };
    assert_eq!(due_at.since(first), Duration::from_secs(2));
    // Ending badly moves it on as well as ending well, and so does cancelling.
    bed.commit(failed(job, bed.now)).await;
    bed.later(1_000);
    assert_eq!(bed.store.tick(bed.now).await.unwrap().occurrences, 1);
    bed.store.cancel(bed.jobs().await[0].id, bed.now).await.unwrap();
    bed.later(1_000);
    assert_eq!(bed.store.tick(bed.now).await.unwrap().occurrences, 1);
    // A schedule that is removed gives nothing more.
    let job = bed.take_one().await;
    bed.commit(ok_with(job, bed.now, "{}", vec![Effect::RemoveSchedule { action: "again".into() }])).await;
    bed.later(5_000);
    assert_eq!(bed.store.tick(bed.now).await.unwrap(), crate::Ticked::default());
    bed.reopen().await;
    assert_eq!(bed.store.tick(bed.now).await.unwrap(), crate::Ticked::default());
}

pub async fn a_schedule_waits_for_what_must_be_done_before(mut bed: Bed) {
    bed.create(&["a", "b"]).await;
    bed.ask("b", &["install"]).await;
    bed.finish_all().await;
    let schedules = ["a", "b"].map(|service| NewSchedule {
        service: key(service),
        action: "again".into(),
        recurring: every_second(),
        waits_for: vec!["install".into()],
    });
    bed.store.apply(Changes { schedules: schedules.to_vec(), ..Changes::default() }, bed.now).await.unwrap();
    bed.later(2_000);
    assert_eq!(bed.store.tick(bed.now).await.unwrap().occurrences, 1, "b has been installed");
    bed.finish_all().await;
    bed.ask("a", &["install"]).await;
    let job = bed.take_one().await;
    bed.commit(ok(job, bed.now)).await;
    bed.reopen().await;
    bed.later(2_000);
    assert_eq!(bed.store.tick(bed.now).await.unwrap().occurrences, 2);
}

fn run_of(steps: &[&[(&str, &str)]]) -> NewRun {
    let task = |(service, action): &(&str, &str)| Task {
        service: key(service),
        action: (*action).into(),
        args: json("[]"),
    };
    NewRun {
        action: "start".into(),
        steps: steps.iter().map(|step| step.iter().map(task).collect()).collect(),
    }
}

pub async fn a_run_goes_step_by_step_and_a_failure_stops_it(mut bed: Bed) {
    bed.create(&["a", "b"]).await;
    let steps = run_of(&[&[("a", "install"), ("b", "install")], &[("a", "start")]]);
    let id = bed.store.start_run(steps.clone(), bed.now).await.unwrap().id;
    assert_eq!(bed.peek().await, ["a/install", "b/install"]);
    for (action, state) in
        [("install", JobState::Running), ("install", JobState::Running), ("start", JobState::Ok)]
    {
        bed.reopen().await;
        assert_eq!(bed.store.runs_under_way().await.unwrap().len(), 1);
        let job = bed.take_one().await;
        assert_eq!((job.action.as_str(), job.cause.kind()), (action, "run"));
        bed.commit(ok(job, bed.now)).await;
        assert_eq!(bed.store.run(id).await.unwrap().unwrap().state, state);
    }
    bed.reopen().await;
    let run = bed.store.run(id).await.unwrap().unwrap();
    assert_eq!((run.state, run.finished_at), (JobState::Ok, Some(bed.now)));
    assert!(bed.store.runs_under_way().await.unwrap().is_empty());
    // A job that fails, is cancelled, or has no service stops the run at the end of its step.
    for how in ["fail", "cancel", "nobody"] {
        let steps =
            if how == "nobody" { run_of(&[&[("nobody", "go")], &[("a", "start")]]) } else { steps.clone() };
        let id = bed.store.start_run(steps, bed.now).await.unwrap().id;
        if how == "fail" {
            let job = bed.take_one().await;
            bed.commit(failed(job, bed.now)).await;
            assert_eq!(bed.store.run(id).await.unwrap().unwrap().state, JobState::Running);
        } else if how == "cancel" {
            let job = bed.jobs().await.remove(0);
            bed.store.cancel(job.id, bed.now).await.unwrap();
        }
        bed.finish_all().await;
        let run = bed.store.run(id).await.unwrap().unwrap();
        assert_eq!((run.state, run.failed.len()), (JobState::Error, 1), "{how}");
        bed.assert_idle().await;
    }
    assert_eq!(bed.store.start_run(run_of(&[]), bed.now).await.unwrap().state, JobState::Ok);
}

pub async fn a_job_that_has_not_ended_can_be_cancelled(mut bed: Bed) {
    bed.create(&["a"]).await;
    let ids = bed.ask("a", &["retrying", "running", "new", "last"]).await;
    let mut work = bed.take(1, 2).await.remove(0);
    let due = bed.now.after(Duration::from_secs(10));
    bed.commit(retrying(work.jobs.remove(0), bed.now, due, true)).await;
    for (id, states) in ids.iter().zip([JobState::Retrying, JobState::Running, JobState::New]) {
        assert_eq!(bed.state(*id).await, states);
        let job = bed.store.cancel(*id, bed.now).await.unwrap();
        assert_eq!((job.id, job.state, job.finished_at), (*id, JobState::Cancelled, Some(bed.now)));
        assert_eq!(bed.state(*id).await, JobState::Cancelled);
        let again = bed.store.cancel(*id, bed.now).await;
        assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
    }
    // The service is its taker's until the void attempt has come in.
    bed.assert_idle().await;
    bed.commit(ok_with(work.jobs.remove(0), bed.now, "{\"n\":1}", Vec::new())).await;
    assert_eq!(bed.peek().await, ["a/last"]);
    bed.reopen().await;
    assert_eq!(bed.peek().await, ["a/last"]);
    assert_eq!(bed.data("a").await, "{\"n\":0}");
    let unknown = bed.store.cancel(ays_core::Id::first_at(bed.now), bed.now).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");
    assert!(bed.dead().await.is_empty());
}

pub async fn an_attempt_cannot_end_as_running(bed: Bed) {
    bed.create(&["a"]).await;
    bed.ask("a", &["go"]).await;
    let mut settled = ok(bed.take_one().await, bed.now);
    settled.job.state = JobState::Running;
    let refused = bed.store.commit(vec![settled.clone()], bed.now).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    settled.job.state = JobState::Ok;
    bed.commit(settled).await;
    assert_eq!(bed.store.status().await.unwrap().history, 1);
}
