//! Random sequences of operations on a store and on a [`Reference`], which must not come to differ.

use std::{collections::BTreeSet, time::Duration};

use ays_core::{
    Id, ServiceKey,
    changes::{Changes, NewSchedule, ServiceUpdate},
    event::NewEvent,
    filter::{EventFilter, FilterSet},
    job::{Cause, Job, JobState, NewJob},
    kv,
    run::{NewRun, Task},
    schedule::{Missed, Recurring},
    turn::Effect,
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{Place, bed::*, reference::Reference};
use crate::{Batch, Claim, Error, FilterQuery, NewDeadLetter, Paging, ScheduleQuery, ServiceQuery, Settled};

const ACTIONS: [&str; 6] = ["init", "install", "start", "stop", "go", "again"];

/// Services of which the last is never created.
const SERVICES: [&str; 4] = ["a", "b", "c", "nobody"];

#[derive(Clone, Debug)]
enum Op {
    Accept {
        events: Vec<(bool, u8)>,
        jobs: Vec<(usize, &'static str)>,
        dead: bool,
        /// How far off what was accepted last it is, and how many entries more than one it has.
        claim: Option<(i64, u64)>,
    },
    Apply {
        create: Vec<(usize, bool)>,
        update: Option<usize>,
        filter: Option<(usize, NewFilter)>,
        schedule: Option<(usize, Every)>,
        run: bool,
    },
    Run(Vec<Vec<(usize, &'static str)>>),
    Take {
        services: usize,
        jobs: usize,
    },
    Commit {
        held: usize,
        how: Outcome,
    },
    CommitAgain,
    Release {
        held: usize,
    },
    Later {
        ms: u64,
    },
    Cancel {
        job: usize,
    },
    RetryDead {
        letter: usize,
    },
    Discard {
        letter: usize,
    },
    Reopen,
}

#[derive(Clone, Debug)]
enum Outcome {
    Ok { data: Option<u8>, effects: Vec<Eff> },
    Retry { ms: u64, strict: bool },
    Error,
    Cancelled,
}

#[derive(Clone, Debug)]
enum Eff {
    Emit(bool, u8),
    SetFilter(NewFilter),
    RemoveFilter(NewFilter),
    SetSchedule(Every),
    RemoveSchedule,
    /// What becomes of a few keys.
    Keep(Vec<(u8, Option<u8>)>),
}

type NewFilter = (bool, &'static str, Option<u8>);
type Every = (u64, Missed, bool);

fn filter_of((event, action, secret): NewFilter) -> EventFilter {
    let secret = secret.map(|secret| secret.to_string());
    EventFilter { secret, ..EventFilter::new(event_name(event), action) }
}

fn event_name(which: bool) -> ays_core::EventName {
    name(if which { "went" } else { "Came" })
}

fn recurring((seconds, missed, _): Every) -> Recurring {
    Recurring { missed, ..Recurring::every(ays_core::schedule::Period::seconds(seconds).unwrap()) }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let service = 0..SERVICES.len();
    let action = select(&ACTIONS[..]);
    let new_filter = (any::<bool>(), select(&ACTIONS[4..]), proptest::option::weighted(0.2, 0..2u8));
    let every = (1..4u64, select(vec![Missed::Skip, Missed::One, Missed::All]), any::<bool>());
    let effect = prop_oneof![
        3 => (any::<bool>(), any::<u8>()).prop_map(|(event, args)| Eff::Emit(event, args)),
        1 => new_filter.clone().prop_map(Eff::SetFilter),
        1 => new_filter.clone().prop_map(Eff::RemoveFilter),
        1 => every.clone().prop_map(Eff::SetSchedule),
        1 => Just(Eff::RemoveSchedule),
        3 => vec((0..6u8, proptest::option::weighted(0.6, any::<u8>())), 1..4).prop_map(Eff::Keep),
    ];
    let outcome = prop_oneof![
        6 => (proptest::option::of(any::<u8>()), vec(effect, 0..4)).prop_map(|(data, effects)| Outcome::Ok { data, effects }),
        2 => (0..3000u64, any::<bool>()).prop_map(|(ms, strict)| Outcome::Retry { ms, strict }),
        2 => Just(Outcome::Error),
        1 => Just(Outcome::Cancelled),
    ];
    let task = (service.clone(), action.clone());
    let op = prop_oneof![
        6 => (vec((any::<bool>(), any::<u8>()), 0..4), vec(task.clone(), 0..4), prop::bool::weighted(0.1), proptest::option::weighted(0.3, (prop_oneof![4 => Just(0), 1 => -3..3i64], 0..3u64)))
            .prop_map(|(events, jobs, dead, claim)| Op::Accept { events, jobs, dead, claim }),
        3 => (
            vec((service.clone(), any::<bool>()), 0..3),
            proptest::option::weighted(0.3, service.clone()),
            proptest::option::of((service.clone(), new_filter)),
            proptest::option::weighted(0.4, (service.clone(), every)),
            prop::bool::weighted(0.2),
        ).prop_map(|(create, update, filter, schedule, run)| Op::Apply { create, update, filter, schedule, run }),
        2 => vec(vec(task, 0..3), 0..3).prop_map(Op::Run),
        8 => (1..3usize, 1..4usize).prop_map(|(services, jobs)| Op::Take { services, jobs }),
        10 => (any::<usize>(), outcome).prop_map(|(held, how)| Op::Commit { held, how }),
        1 => Just(Op::CommitAgain),
        2 => any::<usize>().prop_map(|held| Op::Release { held }),
        5 => (0..2500u64).prop_map(|ms| Op::Later { ms }),
        2 => any::<usize>().prop_map(|job| Op::Cancel { job }),
        2 => any::<usize>().prop_map(|letter| Op::RetryDead { letter }),
        1 => any::<usize>().prop_map(|letter| Op::Discard { letter }),
        1 => Just(Op::Reopen),
    ];
    vec(op, 1..50)
}

/// Compares the stores that `place` makes with the model. `PROPTEST_CASES` says how often; 48 times without it.
pub fn check(place: impl Fn() -> Box<dyn Place>) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&ops(), |ops| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut both = Both::new(place()).await;
            for op in ops {
                both.step(op).await;
                both.compare().await;
            }
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// The store and the reference.
struct Both {
    bed: Bed,
    reference: Reference,
    /// What was taken and is neither committed nor released.
    held: Vec<Job>,
    /// The attempt that was committed last.
    last: Option<Settled>,
}

impl Both {
    async fn new(place: Box<dyn Place>) -> Self {
        let mut both = Self {
            bed: Bed::new(place).await,
            reference: Reference::default(),
            held: Vec::new(),
            last: None,
        };
        both.apply(Changes { create: vec![new_service("a")], ..Changes::default() }).await;
        both
    }

    async fn apply(&mut self, changes: Changes) {
        let now = self.bed.now;
        let there = |key: &ServiceKey| {
            self.reference.services.contains_key(key) || changes.create.iter().any(|new| new.key == *key)
        };
        let possible = changes.filters.iter().all(|(key, _)| there(key))
            && changes.schedules.iter().all(|new| there(&new.service))
            && changes.update.iter().all(|update| there(&update.key));
        let conflict = changes.create.iter().any(|new| self.reference.services.contains_key(&new.key));
        match self.bed.store.apply(changes.clone(), now).await {
            Ok(applied) => {
                assert!(possible && !conflict);
                self.reference.apply(changes, &applied.runs, now);
            }
            Err(Error::Conflict(why)) => assert!(conflict, "{why}"),
            Err(error) => assert!(!possible && matches!(error, Error::NotFound(_)), "{error}"),
        }
    }

    async fn step(&mut self, op: Op) {
        let now = self.bed.now;
        match op {
            Op::Accept { events, jobs, dead, claim } => {
                let event =
                    |(which, args): (bool, u8)| NewEvent::new(event_name(which), json(&args.to_string()));
                let entry = NewDeadLetter { door: "queue".into(), reason: "no".into(), raw: vec![0xff] };
                let batch = Batch {
                    events: events.into_iter().map(event).collect(),
                    jobs: jobs
                        .into_iter()
                        .map(|(service, action)| new_job(SERVICES[service], action))
                        .collect(),
                    dead: dead.then_some(entry).into_iter().collect(),
                    claim: claim.map(|(off, more)| {
                        let last = self.reference.claims.get("queue").copied().unwrap_or(0);
                        let after = last.saturating_add_signed(off);
                        Claim { door: "queue".into(), after, last: after + 1 + more }
                    }),
                };
                let accepted = self.bed.store.accept(batch.clone(), now).await.unwrap();
                assert_eq!(accepted.repeated, !self.reference.accept(batch, now));
            }
            Op::Apply { create, update, filter, schedule, run } => {
                let mut changes = Changes::default();
                for (service, init) in create.into_iter().filter(|(service, _)| *service < 3) {
                    let mut new = new_service(SERVICES[service]);
                    let cause = Cause::Init { blueprint: None };
                    new.jobs.extend(init.then(|| NewJob { cause, ..new_job(SERVICES[service], "init") }));
                    changes.create.push(new);
                }
                changes.update.extend(update.map(|service| ServiceUpdate {
                    key: key(SERVICES[service]),
                    before: before(),
                    applied: json("{}"),
                    links: Default::default(),
                    job: Some(new_job(SERVICES[service], "go")),
                }));
                changes.filters.extend(filter.map(|(service, new)| (key(SERVICES[service]), filter_of(new))));
                changes.schedules.extend(schedule.map(|(service, every)| NewSchedule {
                    service: key(SERVICES[service]),
                    action: "again".into(),
                    recurring: recurring(every),
                    waits_for: if every.2 { vec!["install".into()] } else { Vec::new() },
                }));
                changes.runs.extend(
                    run.then(|| run_of(vec![vec![(0, "install"), (1, "install")], vec![(0, "start")]])),
                );
                self.apply(changes).await;
            }
            Op::Run(steps) => {
                let run = run_of(steps);
                let id = self.bed.store.start_run(run.clone(), now).await.unwrap().id;
                self.reference.start_run(run, id, now);
            }
            Op::Take { services, jobs } => self.take(services, jobs).await,
            Op::Commit { held, how } => {
                // The first of its service, as attempts come in the order of their execution.
                let Some(service) = pick(&self.held, held).map(|job| job.service.clone()) else { return };
                let at = self.held.iter().position(|job| job.service == service).unwrap();
                let job = self.held.remove(at);
                let settled = settled(job, how, now);
                self.last = Some(settled.clone());
                self.commit(settled).await;
            }
            Op::CommitAgain => {
                let Some(again) = self.last.take() else { return };
                if !self.held.iter().any(|job| job.id == again.job.id) {
                    self.commit(again).await;
                }
            }
            Op::Release { held } => {
                let Some(job) = pick(&self.held, held).cloned() else { return };
                self.held.retain(|other| other.id != job.id);
                self.bed.store.release(&job.service, &[job.id]).await.unwrap();
                let at = self.reference.place(job.id);
                self.reference.jobs[at].taken = false;
            }
            Op::Later { ms } => {
                let now = self.bed.later(ms);
                let ticked = self.bed.store.tick(now).await.unwrap();
                assert_eq!(ticked.occurrences, self.reference.tick(now));
            }
            Op::Cancel { job } => {
                let Some(id) = pick(&self.reference.jobs, job).map(|job| job.id.unwrap()) else { return };
                let cancelled = self.bed.store.cancel(id, now).await;
                let expected = self.reference.cancel(id, now);
                assert!(
                    matches!((&cancelled, expected), (Ok(_), true) | (Err(Error::Conflict(_)), false)),
                    "{cancelled:?}"
                );
            }
            Op::RetryDead { letter } => {
                let Some(id) = pick(&Vec::from_iter(self.reference.dead()), letter).copied() else { return };
                let retried = self.bed.store.retry_dead(id, now).await;
                assert_eq!(retried.is_ok(), self.reference.retry(id, now));
            }
            Op::Discard { letter } => {
                let Some(id) = pick(&Vec::from_iter(self.reference.dead()), letter).copied() else { return };
                self.bed.store.discard_dead(id, now).await.unwrap();
                let at = self.reference.place(id);
                self.reference.jobs[at].dead = false;
            }
            Op::Reopen => {
                self.bed.reopen().await;
                self.reference.reopen();
                self.held.clear();
            }
        }
    }

    async fn commit(&mut self, settled: Settled) {
        let now = self.bed.now;
        self.bed.store.commit(vec![settled.clone()], now).await.unwrap();
        self.reference.commit(settled, now);
    }

    async fn take(&mut self, services: usize, jobs: usize) {
        let now = self.bed.now;
        let keys: Vec<_> = self.reference.services.keys().cloned().collect();
        let ready = keys.iter().filter(|key| !self.reference.available(key, now).is_empty()).count();
        let work = match ready {
            0 => self.bed.take_now(services, jobs).await,
            _ => self.bed.take(services, jobs).await,
        };
        assert_eq!(work.len(), ready.min(services));
        for work in work {
            let mut expected = self.reference.available(&work.service, now);
            expected.truncate(jobs);
            let known = &self.reference.services[&work.service];
            assert_eq!((&work.data, work.kv), (&known.data, known.kv_usage));
            let mut filters = FilterSet::default();
            let own = self.reference.filters.iter().filter(|(key, _)| *key == work.service);
            own.for_each(|(_, filter)| filters.insert(filter));
            assert_eq!(work.filters, filters);
            let places: Vec<_> = work.jobs.iter().map(|job| self.reference.place(job.id)).collect();
            assert_eq!(places, expected);
            expected.into_iter().for_each(|at| self.reference.jobs[at].taken = true);
            self.held.extend(work.jobs);
        }
    }

    async fn compare(&mut self) {
        let (store, reference) = (&self.bed.store, &mut self.reference);
        let mut jobs = self.bed.jobs().await;
        jobs.reverse();
        assert_eq!(jobs.len(), reference.jobs.len());
        for (job, known) in jobs.iter().zip(&mut reference.jobs) {
            assert_eq!(*known.id.get_or_insert(job.id), job.id);
            let running = known.taken && !known.state.is_final();
            let state = if running { JobState::Running } else { known.state };
            let attempt = known.attempt + u32::from(running);
            let retry_at = known.retry_at.filter(|_| state == JobState::Retrying);
            let expected = (
                &known.new.service,
                &known.new.action,
                &known.new.args,
                state,
                attempt,
                known.created_at,
                retry_at,
            );
            let found =
                (&job.service, &job.action, &job.args, job.state, job.attempt, job.created_at, job.retry_at);
            assert_eq!(found, expected);
            assert_eq!(
                (job.cause.kind(), job.cause.depth()),
                (known.new.cause.kind(), known.new.cause.depth())
            );
        }
        let services = store.services(ServiceQuery::default(), all()).await.unwrap().items;
        assert_eq!(services.len(), reference.services.len());
        for (service, (key, known)) in services.iter().zip(&reference.services) {
            assert_eq!((&service.key, &service.data, service.kv), (key, &known.data, known.kv_usage));
            let keys = store.kv_keys(key, "", None, 10).await.unwrap();
            assert!(keys.iter().eq(known.kv.keys()), "{keys:?}");
            for (of, value) in &known.kv {
                assert_eq!(store.kv_get(key, of).await.unwrap().as_ref(), Some(value));
            }
            let actions = service.actions.iter().map(|(action, status)| (action.clone(), status.state));
            assert_eq!(actions.collect::<std::collections::BTreeMap<_, _>>(), known.actions);
        }
        let filters = store.filters(FilterQuery::default(), all()).await.unwrap().items;
        let plain = |service: &ServiceKey, filter: &EventFilter| {
            (service.clone(), filter.event.folded().to_owned(), filter.action.clone(), filter.secret.clone())
        };
        let found: Vec<_> = filters.iter().map(|s| plain(&s.service, &s.filter)).collect();
        let expected: Vec<_> = reference.filters.iter().map(|(key, filter)| plain(key, filter)).collect();
        assert_eq!(found, expected);
        let schedules = store.schedules(ScheduleQuery::default(), all()).await.unwrap().items;
        assert_eq!(schedules, reference.schedules.values().cloned().collect::<Vec<_>>());
        let dead = self.bed.dead().await;
        let (of_jobs, entries): (Vec<_>, Vec<_>) = dead.iter().partition(|letter| letter.job.is_some());
        assert_eq!(of_jobs.iter().map(|letter| letter.id).collect::<BTreeSet<Id>>(), reference.dead());
        assert_eq!(entries.len(), reference.dead_entries);
        let unmatched = store.unmatched(Paging { limit: 10_000, cursor: None }).await.unwrap().items;
        let unmatched: Vec<_> = unmatched.iter().rev().map(|event| event.args.to_string()).collect();
        assert_eq!(unmatched, reference.unmatched);
        for (id, known) in &reference.runs {
            let run = store.run(*id).await.unwrap().expect("the run");
            assert_eq!(
                (run.state, run.step, run.pending, run.failed.len()),
                (known.state, known.step, known.pending, known.failed.len())
            );
        }
        let status = store.status().await.unwrap();
        let finished = jobs.iter().filter(|job| job.state.is_final()).count();
        assert_eq!(
            (status.pending, status.history, status.dead, status.services),
            ((jobs.len() - finished) as u64, finished as u64, dead.len() as u64, services.len() as u64)
        );
    }
}

fn pick<T>(list: &[T], at: usize) -> Option<&T> {
    list.get(at.checked_rem(list.len())?)
}

fn run_of(steps: Vec<Vec<(usize, &'static str)>>) -> NewRun {
    let task = |(service, action): (usize, &str)| Task {
        service: key(SERVICES[service]),
        action: action.into(),
        args: json("[]"),
    };
    NewRun {
        action: "start".into(),
        steps: steps.into_iter().map(|step| step.into_iter().map(task).collect()).collect(),
    }
}

fn settled(job: Job, how: Outcome, now: ays_core::Timestamp) -> Settled {
    match how {
        Outcome::Ok { data, effects } => {
            let effect = |effect| match effect {
                Eff::Emit(event, args) => {
                    Effect::Emit(NewEvent::new(event_name(event), json(&args.to_string())))
                }
                Eff::SetFilter(new) => Effect::SetFilter(filter_of(new)),
                Eff::RemoveFilter(new) => Effect::RemoveFilter(filter_of(new)),
                Eff::SetSchedule(every) => {
                    Effect::SetSchedule { action: "again".into(), recurring: recurring(every) }
                }
                Eff::RemoveSchedule => Effect::RemoveSchedule { action: "again".into() },
                Eff::Keep(writes) => {
                    // What they come to is for the host to know; the store keeps it.
                    let usage = kv::Usage { keys: writes.len() as u64, bytes: writes[0].0.into() };
                    let write = |(key, value): (u8, Option<u8>)| {
                        (format!("k{key}"), value.map(|value| [value].into()))
                    };
                    Effect::Keep(kv::Change { writes: writes.into_iter().map(write).collect(), usage })
                }
            };
            let data = data.map(|n| json(&format!("{{\"n\":{n}}}")));
            Settled { data, effects: effects.into_iter().map(effect).collect(), ..ok(job, now) }
        }
        Outcome::Retry { ms, strict } => retrying(job, now, now.after(Duration::from_millis(ms)), strict),
        Outcome::Error => failed(job, now),
        Outcome::Cancelled => {
            let mut settled = ok(job, now);
            settled.job.state = JobState::Cancelled;
            settled
        }
    }
}
