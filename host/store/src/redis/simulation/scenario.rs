//! What happens in a simulation: things are asked of hosts, and hosts, the network and the server fail. Then everything
//! works again, and all that was begun must end.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use ays_core::{
    Id, JsonText, Timestamp,
    changes::{Before, Changes, NewSchedule, NewService, ServiceUpdate},
    event::NewEvent,
    filter::EventFilter,
    run::{NewRun, Task},
    schedule::{Missed, Recurring},
    service::Links,
};
use serde_json::json;

use super::{
    clock::{self, EPOCH_MS, sleep_ms},
    host::Host,
    ledger::{Filtered, Sent},
    network::{Weather, texts},
    world::World,
};
use crate::{Batch, Claim, JobQuery, Paging, RetentionPolicy, ScheduleQuery, ServiceQuery, Store};

/// How long after the last trouble everything must have ended, beside the life of a lease: connections that are found broken
/// late, wake-ups that were lost with them.
const GRACE_MS: u64 = 9_000;

pub(super) struct Scenario {
    world: Arc<World>,
    hosts: Vec<Arc<Host>>,
}

impl Scenario {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world, hosts: Vec::new() }
    }

    /// Everything, from the first host to the last job.
    pub(super) async fn play(mut self) -> Vec<Arc<Host>> {
        self.join();
        while !self.hosts[0].is_open() {
            sleep_ms(2).await;
        }
        self.found().await;
        for _ in 1..self.world.plan.hosts {
            self.join();
        }
        self.world.server().weather = self.world.plan.weather.clone();
        self.world.server().note(|| "trouble may begin".into());
        let claims = self.claims();
        let actions = self.world.plan.actions;
        let mut times: Vec<u64> = {
            let mut chance = self.world.chance();
            (0..actions).map(|_| chance.below(self.world.plan.active)).collect()
        };
        times.sort_unstable();
        let began = clock::micros() / 1000;
        for time in times {
            sleep_ms((began + time).saturating_sub(clock::micros() / 1000)).await;
            self.something().await;
        }
        self.settle(claims).await;
        self.hosts
    }

    fn join(&mut self) {
        let (number, line) = self.world.network.way();
        let off = match self.world.plan.steps {
            true => self.world.chance().below(240_000) as i64 - 120_000,
            false => self.world.chance().below(200) as i64 - 100,
        };
        self.world.most_off.fetch_max(off, SeqCst);
        self.hosts.push(Host::start(&self.world, number, line, off));
    }

    /// Services, event filters and schedules.
    async fn found(&self) {
        let world = &self.world;
        let mut changes = Changes::default();
        {
            let mut chance = world.chance();
            let mut ledger = world.ledger();
            for (n, key) in world.services.iter().enumerate() {
                let parent = (n > 0 && chance.permille(300)).then(|| world.services[0].clone());
                changes.create.push(NewService {
                    key: key.clone(),
                    data: JsonText::of(&json!({"n": 0, "chain": 0})).unwrap(),
                    schema: None,
                    applied: JsonText::empty_object(),
                    links: Links { parent, ..Links::default() },
                    jobs: Vec::new(),
                });
                for n in 0..chance.between(1, 2) {
                    let event = chance.index(world.events.len());
                    let action = format!("on{n}");
                    let filter = EventFilter::new(world.events[event].clone(), &action);
                    changes.filters.push((key.clone(), filter));
                    let mut span = ledger.begin();
                    span.done = Some(span.begun);
                    ledger.filtered.push(Filtered { service: key.clone(), event, action, span });
                }
                if chance.permille(250) {
                    let mut recurring = Recurring::every("1s".parse().unwrap());
                    // Clocks that are minutes apart would have it make up for hundreds.
                    let last = if world.plan.steps { Missed::One } else { Missed::All };
                    recurring.missed = chance.of(&[Missed::One, Missed::Skip, last]);
                    let action = "recurring".into();
                    changes.schedules.push(NewSchedule {
                        service: key.clone(),
                        action,
                        recurring,
                        waits_for: Vec::new(),
                    });
                }
            }
        }
        let done = self.hosts[0].ask(world, |store, now| async move { store.apply(changes, now).await });
        done.await.unwrap().unwrap();
    }

    fn any(&self, which: impl Fn(&Host) -> bool) -> Option<Arc<Host>> {
        let some: Vec<_> = self.hosts.iter().filter(|host| which(host)).cloned().collect();
        if some.is_empty() {
            return None;
        }
        Some(some[self.world.chance().index(some.len())].clone())
    }

    async fn something(&mut self) {
        let what = self.world.chance().below(100);
        match what {
            0..45 => self.send(),
            45..50 => self.cancel(),
            50..54 => self.filter(),
            54..58 => self.run(),
            58..62 => self.retry_dead(),
            62..66 => self.query(),
            66..69 => self.retain(),
            69..72 => self.update(),
            72..78 => self.pause(),
            78..84 => self.crash_or_leave(),
            84..89 => self.join_another(),
            89..93 => self.cut(),
            93..96 => self.restart(),
            96..98 => self.step(),
            _ => self.hiccup(),
        }
    }

    fn send(&self) {
        let Some(host) = self.any(Host::is_open) else { return };
        let world = self.world.clone();
        let mut batch = Batch::default();
        let mut sent = Vec::new();
        {
            let (mut chance, mut ledger) = (world.chance(), world.ledger());
            let span = ledger.begin();
            for _ in 0..chance.between(1, 3) {
                let (token, event) = (ledger.token("e"), chance.index(world.events.len()));
                batch.events.push(new_event(&world, event, &token));
                sent.push(ledger.sent.len());
                let process = world.server().process();
                ledger.sent.push(Sent { token, event, span: span.clone(), accepted: None, process });
            }
        }
        let asked = world.clone();
        drop(host.ask(&world, move |store, now| async move {
            let accepted = store.accept(batch, now).await;
            let mut ledger = asked.ledger();
            let moment = ledger.moment();
            if let Ok(accepted) = accepted {
                for (at, event) in sent.into_iter().zip(accepted.events) {
                    ledger.sent[at].span.done = Some(moment);
                    ledger.sent[at].accepted = Some(event);
                }
            }
        }));
    }

    /// A door with a queue: it claims one entry after the other, each until it is accepted, by whatever host.
    fn claims(&self) -> tokio::task::JoinHandle<()> {
        let (world, hosts) = (self.world.clone(), self.hosts.clone());
        tokio::spawn(async move {
            for number in 1..=world.plan.claims {
                let at = {
                    let (mut chance, mut ledger) = (world.chance(), world.ledger());
                    let (token, event) = (ledger.token("c"), chance.index(world.events.len()));
                    let span = ledger.begin();
                    let process = world.server().process();
                    ledger.sent.push(Sent { token, event, span, accepted: None, process });
                    ledger.sent.len() - 1
                };
                // What the store had accepted before; a server that forgot some of what it had forgot that, too.
                let mut after = number - 1;
                loop {
                    let open: Vec<_> = hosts.iter().filter(|host| host.is_open()).cloned().collect();
                    let (places, patience) = {
                        let mut chance = world.chance();
                        let places = if chance.permille(200) { 2 } else { 1 };
                        (places, chance.of(&[50, 200, 1000, 3000]))
                    };
                    if open.is_empty() {
                        if hosts.iter().all(|host| !host.is_live()) {
                            return;
                        }
                        sleep_ms(50).await;
                        continue;
                    }
                    let mut answers = Vec::new();
                    for _ in 0..places {
                        let host = open[world.chance().index(open.len())].clone();
                        let sent = world.ledger().sent[at].clone();
                        let batch = Batch {
                            events: vec![new_event(&world, sent.event, &sent.token)],
                            claim: Some(Claim { door: "door".into(), after, last: number }),
                            ..Batch::default()
                        };
                        answers.push(host.ask(&world, move |store, now| async move {
                            let accepted = store.accept(batch, now).await?;
                            let known =
                                if accepted.repeated { store.last_claim("door").await? } else { number };
                            Ok::<_, crate::Error>((accepted, known))
                        }));
                    }
                    let mut done = false;
                    for answer in answers {
                        let answer = tokio::time::timeout(Duration::from_millis(patience), answer).await;
                        if let Ok(Ok(Ok((accepted, known)))) = answer {
                            if known < number {
                                after = known;
                                continue;
                            }
                            done = true;
                            let mut ledger = world.ledger();
                            let moment = ledger.moment();
                            let sent = &mut ledger.sent[at];
                            sent.span.done.get_or_insert(moment);
                            match accepted.events.first() {
                                Some(event) => sent.accepted = Some(*event),
                                None => world.server().stats.repeated += 1,
                            }
                        }
                    }
                    if done {
                        break;
                    }
                    sleep_ms(10).await;
                }
                let nap = world.chance().between(1, 200);
                sleep_ms(nap).await;
            }
        })
    }

    fn cancel(&self) {
        let Some(host) = self.any(Host::is_open) else { return };
        let world = self.world.clone();
        let mut waiting = Vec::new();
        for service in &world.services {
            let partition = ays_core::partition::of(service);
            waiting.extend(texts(&world.server().look(&["HKEYS", &format!("p:{partition}")])));
        }
        if waiting.is_empty() {
            return;
        }
        let job: Id = waiting[world.chance().index(waiting.len())].parse().unwrap();
        let asked = world.clone();
        drop(host.ask(&world, move |store, now| async move {
            if let Ok(job) = store.cancel(job, now).await {
                asked.ledger().cancelled.push(job.id);
            }
        }));
    }

    fn filter(&self) {
        let Some(host) = self.any(Host::is_open) else { return };
        let world = self.world.clone();
        let (service, event, action) = {
            let mut chance = world.chance();
            let service = world.services[chance.index(world.services.len())].clone();
            (service, chance.index(world.events.len()), format!("new{}", chance.below(3)))
        };
        let filter = EventFilter::new(world.events[event].clone(), &action);
        let changes = Changes { filters: vec![(service.clone(), filter)], ..Changes::default() };
        let at = {
            let mut ledger = world.ledger();
            let span = ledger.begin();
            ledger.filtered.push(Filtered { service, event, action, span });
            ledger.filtered.len() - 1
        };
        let asked = world.clone();
        drop(host.ask(&world, move |store, now| async move {
            if store.apply(changes, now).await.is_ok() {
                let mut ledger = asked.ledger();
                let moment = ledger.moment();
                ledger.filtered[at].span.done = Some(moment);
            }
        }));
    }

    fn update(&self) {
        let Some(host) = self.any(Host::is_open) else { return };
        let world = &self.world;
        let key = world.services[world.chance().index(world.services.len())].clone();
        drop(host.ask(world, |store, now| async move {
            let Ok(Some(service)) = store.service(&key).await else { return false };
            let before = Before { applied: service.applied.clone(), links: service.links.clone() };
            let update =
                ServiceUpdate { key, before, applied: service.applied, links: service.links, job: None };
            store.apply(Changes { update: vec![update], ..Changes::default() }, now).await.is_ok()
        }));
    }

    fn run(&self) {
        let Some(host) = self.any(Host::is_open) else { return };
        let world = self.world.clone();
        let steps = {
            let mut chance = world.chance();
            let mut task = || Task {
                service: world.services[chance.index(world.services.len())].clone(),
                action: "step".into(),
                args: JsonText::empty_list(),
            };
            vec![vec![task(), task()], vec![task()], vec![task(), task(), task()]]
        };
        let asked = world.clone();
        drop(host.ask(&world, move |store, now| async move {
            let run = NewRun { action: "step".into(), steps };
            if let Ok(run) = store.start_run(run, now).await {
                asked.ledger().runs.push(run);
            }
        }));
    }

    fn retry_dead(&self) {
        let Some(host) = self.any(Host::is_open) else { return };
        let world = self.world.clone();
        let dead = texts(&world.server().look(&["HKEYS", "dead"]));
        if dead.is_empty() {
            return;
        }
        let (letter, discard): (Id, bool) = {
            let mut chance = world.chance();
            (dead[chance.index(dead.len())].parse().unwrap(), chance.permille(200))
        };
        let asked = world.clone();
        drop(host.ask(&world, move |store, now| async move {
            if discard {
                let _ = store.discard_dead(letter, now).await;
            } else if let Ok(job) = store.retry_dead(letter, now).await {
                asked.ledger().retried.push((letter, job.id));
            }
        }));
    }

    fn query(&self) {
        let Some(host) = self.any(Host::is_open) else { return };
        let world = self.world.clone();
        let asked = world.clone();
        drop(host.ask(&world, move |store, _| async move {
            let all = || Paging { limit: 7, cursor: None };
            let answers = [
                store.jobs(JobQuery::default(), all()).await.err(),
                store.services(ServiceQuery::default(), all()).await.err(),
                store.schedules(ScheduleQuery::default(), all()).await.err(),
                store.runs_under_way().await.err(),
                store.status().await.err(),
                store.unmatched(all()).await.err(),
            ];
            for error in answers.into_iter().flatten() {
                if !matches!(error, crate::Error::Unavailable(_) | crate::Error::Closed(_)) {
                    asked.ledger().faults.push(format!("a query failed: {error}"));
                }
            }
        }));
    }

    fn retain(&self) {
        if !self.world.plan.retains {
            return;
        }
        let Some(host) = self.any(Host::is_open) else { return };
        let jobs = self.world.chance().between(1, 30);
        drop(host.ask(&self.world, move |store, now| async move {
            store.retain(RetentionPolicy { age_s: 86_400, jobs }, now).await.is_ok()
        }));
    }

    fn pause(&self) {
        if !self.world.plan.pauses {
            return;
        }
        let Some(host) = self.any(|host| host.is_live() && !host.paused.load(SeqCst)) else { return };
        let world = self.world.clone();
        let lease = u64::try_from(world.options.lease.as_millis()).unwrap();
        let span = world.chance().between(lease / 5, 2 * lease);
        world.server().note(|| format!("h{} is paused for {span} ms", host.number));
        world.server().stats.pauses += 1;
        host.paused.store(true, SeqCst);
        host.gate.close();
        tokio::spawn(async move {
            sleep_ms(span).await;
            resume(&world, &host);
        });
    }

    fn crash_or_leave(&self) {
        if !self.world.plan.crashes {
            return;
        }
        let Some(host) = self.any(Host::is_live) else { return };
        let others = self.hosts.iter().any(|other| other.is_open() && other.number != host.number);
        if host.is_open() && self.world.chance().permille(400) {
            self.world.server().note(|| format!("h{} leaves", host.number));
            host.leave(&self.world);
            return;
        }
        let name = host.store.get().map(|store| store.shared.host.clone());
        let world = self.world.clone();
        world.server().note(|| format!("h{} crashes", host.number));
        world.server().stats.crashes += 1;
        host.gone.store(true, SeqCst);
        host.dead.store(true, SeqCst);
        host.gate.close();
        {
            let mut server = world.server();
            server.break_line(host.number, 0);
            server.break_line(host.number, 1);
        }
        world.ledger().open.retain(|open| *open != host.number);
        if let Some(name) = name
            && others
            && world.plan.is_calm()
        {
            let survivors: Vec<_> = self.hosts.iter().filter(|host| host.is_open()).cloned().collect();
            tokio::spawn(async move {
                sleep_ms(u64::try_from(world.options.lease.as_millis()).unwrap() + 1000).await;
                if survivors.iter().all(|host| !host.is_live()) {
                    return;
                }
                let owners = texts(&world.server().look(&["HVALS", "owners"]));
                let left = owners.iter().filter(|owner| owner.starts_with(&*name)).count();
                if left > 0 {
                    let fault = format!("{left} partitions of the dead host {name} are not taken over");
                    world.ledger().faults.push(fault);
                }
            });
        }
    }

    fn join_another(&mut self) {
        if self.hosts.iter().filter(|host| host.is_live()).count() < 4 {
            self.join();
        }
    }

    fn cut(&self) {
        if !self.world.plan.cuts {
            return;
        }
        let Some(host) = self.any(|host| host.is_live()) else { return };
        let world = self.world.clone();
        let lease = u64::try_from(world.options.lease.as_millis()).unwrap();
        let span = world.chance().between(20, 2 * lease);
        world.server().cut(host.number, true);
        tokio::spawn(async move {
            sleep_ms(span).await;
            world.server().cut(host.number, false);
        });
    }

    fn restart(&self) {
        if !self.world.plan.restarts || self.world.restarting.swap(true, SeqCst) {
            return;
        }
        let world = self.world.clone();
        let before = world.plan.forgets.then(|| world.server().model.clone());
        let (ago, down) = {
            let mut chance = world.chance();
            (if before.is_some() { chance.between(1, 200) } else { 0 }, chance.between(1, 400))
        };
        world.server().stats.restarts += 1;
        tokio::spawn(async move {
            sleep_ms(ago).await;
            world.server().stop();
            sleep_ms(down).await;
            world.server().start(before);
            world.restarting.store(false, SeqCst);
        });
    }

    fn step(&self) {
        let Some(host) = self.any(|host| host.is_live()).filter(|_| self.world.plan.steps) else { return };
        let off = self.world.chance().below(120_000) as i64 - 60_000;
        let before = host.off.fetch_add(off, SeqCst);
        self.world.most_off.fetch_max(before + off, SeqCst);
    }

    fn hiccup(&self) {
        if self.world.plan.is_calm() {
            return;
        }
        let Some(host) = self.any(|host| host.is_live()) else { return };
        let line = self.world.chance().index(2);
        self.world.server().break_line(host.number, line);
    }

    /// All troubles end, and everything that was begun.
    async fn settle(&mut self, claims: tokio::task::JoinHandle<()>) {
        // A server that is about to go down does so before.
        sleep_ms(if self.world.plan.restarts { 700 } else { 0 }).await;
        let world = self.world.clone();
        world.server().note(|| "all trouble ends".into());
        world.server().weather = Weather::default();
        if !self.hosts.iter().any(|host| host.is_live()) {
            self.join();
        }
        for host in &self.hosts {
            world.server().cut(host.number, false);
            resume(&world, host);
        }
        let latest = world.most_off.load(SeqCst);
        let ms = i64::try_from(clock::micros() / 1000).unwrap();
        *world.frozen.lock().unwrap() = Some(Timestamp::from_millis(EPOCH_MS + ms + latest + 2000));
        let lease = u64::try_from(world.options.lease.as_millis()).unwrap();
        let end = clock::micros() / 1000 + lease + GRACE_MS;
        loop {
            let rest = self.rest(&claims);
            if rest.is_empty() && !world.server().has_late() {
                break;
            }
            if clock::micros() / 1000 > end && !rest.is_empty() {
                world.ledger().faults.push(format!("left over: {}", rest.join("; ")));
                break;
            }
            sleep_ms(20).await;
        }
        world.server().note(|| "the end".into());
    }

    /// What has not ended.
    fn rest(&self, claims: &tokio::task::JoinHandle<()>) -> Vec<String> {
        let mut rest = Vec::new();
        let mut server = self.world.server();
        for service in &self.world.services {
            let key = format!("p:{}", ays_core::partition::of(service));
            let ids = texts(&server.look(&["HKEYS", &key]));
            if !ids.is_empty() {
                rest.push(format!("{key} has {}", ids.join(" ")));
            }
        }
        let runs = texts(&server.look(&["HKEYS", "runs"]));
        if !runs.is_empty() {
            rest.push(format!("runs {}", runs.join(" ")));
        }
        drop(server);
        let live = |number: &usize| !self.hosts[*number].dead.load(SeqCst);
        let open: Vec<_> = self.world.ledger().open.iter().copied().filter(live).collect();
        if !open.is_empty() {
            rest.push(format!("requests to hosts {open:?} are not answered"));
        }
        if !claims.is_finished() {
            rest.push("a claim is not accepted".into());
        }
        rest
    }
}

fn resume(world: &Arc<World>, host: &Host) {
    if host.paused.swap(false, SeqCst) && !host.dead.load(SeqCst) {
        world.server().note(|| format!("h{} goes on", host.number));
        host.gate.open(&mut world.chance());
    }
}

fn new_event(world: &World, event: usize, token: &str) -> NewEvent {
    NewEvent::new(world.events[event].clone(), JsonText::of(&json!([token])).unwrap())
}
