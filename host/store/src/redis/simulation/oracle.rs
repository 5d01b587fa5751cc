//! What must hold once everything has ended, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use ays_core::{
    Id,
    event::EventRecord,
    job::{Cause, Job, JobState},
    run::Run,
    service::Service,
};
use ays_redis_model::Reply;

use super::{
    host::link,
    ledger::{Ledger, Sent},
    network::{Server, bulks, texts},
    world::World,
};
use crate::{record::from_json, redis::record::stored};

/// What the server knows in the end.
struct Known {
    jobs: BTreeMap<Id, Job>,
    services: Vec<Service>,
    /// Events that matched nothing, by their token.
    unmatched: BTreeMap<String, Vec<Id>>,
    runs: BTreeMap<Id, Run>,
    dropped: bool,
}

/// All that does not hold.
pub(super) fn judge(world: &World) -> Vec<String> {
    let mut server = world.server();
    let ledger = world.ledger();
    let mut faults = ledger.faults.clone();
    let known = read(world, &mut server, &mut faults);
    server.stats.jobs += known.jobs.len() as u64;
    let number = |reply: Reply| match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes).unwrap().parse().unwrap(),
        _ => 0,
    };
    server.stats.takeovers += number(server.look(&["HGET", "counts", "takeovers"]));
    server.stats.refused += number(server.look(&["HGET", "counts", "refused"]));
    let forgot = world.plan.forgets && server.stats.restarts > 0;
    turns(world, &known, &ledger, &mut faults);
    pairs(&mut server, &known, &mut faults);
    events(world, &server, &known, &ledger, forgot, &mut faults);
    occurrences(&known, &mut faults);
    if !forgot {
        commands(&known, &ledger, &mut faults);
    }
    nothing_is_left(&mut server, &mut faults);
    faults
}

fn read(world: &World, server: &mut Server, faults: &mut Vec<String>) -> Known {
    let mut known = Known {
        jobs: BTreeMap::new(),
        services: Vec::new(),
        unmatched: BTreeMap::new(),
        runs: BTreeMap::new(),
        dropped: !server.archive.is_empty(),
    };
    let mut counted = 0;
    let mut indexed = 0;
    for piece in texts(&server.look(&["LRANGE", "pieces", "0", "-1"])) {
        let jobs = bulks(&server.look(&["HGETALL", &format!("h:{piece}:jobs")]));
        counted += jobs.len() as u64 / 2;
        for record in jobs.iter().skip(1).step_by(2) {
            let job: Job = stored(record).unwrap();
            if known.jobs.insert(job.id, job.clone()).is_some() {
                faults.push(format!("job {} is twice in the history", job.id));
            }
        }
        for service in texts(&server.look(&["SMEMBERS", &format!("h:{piece}:services")])) {
            if let Reply::Bulk(ids) = server.look(&["GET", &format!("h:{piece}:s:{service}")]) {
                indexed += ids.len() as u64 / 26;
            }
        }
        for record in
            bulks(&server.look(&["HGETALL", &format!("h:{piece}:unmatched")])).iter().skip(1).step_by(2)
        {
            let event: EventRecord = stored(record).unwrap();
            known.unmatched.entry(event.args.value()[0].as_str().unwrap().into()).or_default().push(event.id);
        }
        for record in bulks(&server.look(&["HGETALL", &format!("h:{piece}:runs")])).iter().skip(1).step_by(2)
        {
            let run: Run = stored(record).unwrap();
            known.runs.insert(run.id, run);
        }
    }
    if let Reply::Bulk(said) = server.look(&["HGET", "history", "jobs"]) {
        let said: u64 = String::from_utf8(said).unwrap().parse().unwrap();
        if said != counted {
            faults.push(format!("the history says that it has {said} jobs, and has {counted}"));
        }
    }
    if indexed != counted && !known.dropped {
        faults.push(format!("the history has {counted} jobs, and its index {indexed}"));
    }
    for (id, record) in &server.archive {
        let job: Job = stored(record).unwrap();
        match known.jobs.get(&job.id) {
            Some(again) if *again != job => faults.push(format!("job {id} has ended twice")),
            _ => drop(known.jobs.insert(job.id, job)),
        }
    }
    for key in &world.services {
        let partition = ays_core::partition::of(key);
        match server.look(&["HGET", &format!("s:{partition}"), key.as_str()]) {
            Reply::Bulk(record) => known.services.push(from_json(&record).unwrap()),
            other => faults.push(format!("{key} is gone: {other:?}")),
        }
    }
    known
}

/// Each service's data is what its turns made, one after the other, each once and on what the one before left; in the order
/// in which the jobs came.
fn turns(world: &World, known: &Known, ledger: &Ledger, faults: &mut Vec<String>) {
    let mut emits: BTreeSet<String> = BTreeSet::new();
    for service in &known.services {
        let key = &service.key;
        let mut turns: Vec<(u64, Id)> = Vec::new();
        for job in known.jobs.values().filter(|job| job.service == *key && job.state == JobState::Ok) {
            let result = job.result.as_ref().unwrap().value();
            turns.push((result["n"].as_u64().unwrap(), job.id));
            emits.extend(
                result["emits"].as_array().unwrap().iter().map(|token| token.as_str().unwrap().into()),
            );
        }
        turns.sort_unstable();
        let data = service.data.value();
        let chain = turns.iter().fold(0, |chain, (_, job)| link(chain, *job));
        let counted = turns.iter().zip(1..).all(|((n, _), place)| *n == place);
        if !counted || data["n"].as_u64() != Some(turns.len() as u64) || data["chain"].as_u64() != Some(chain)
        {
            let turns: Vec<_> = turns.iter().map(|(n, job)| format!("{n} {job}")).collect();
            faults.push(format!("{key} has {data}, and its turns were {}", turns.join(", ")));
        }
        let in_order: Vec<_> = turns.iter().filter(|(_, job)| !ledger.aside.contains(job)).collect();
        for pair in in_order.windows(2) {
            if pair[0].1 > pair[1].1 {
                faults.push(format!("{key} executed {} before {}", pair[0].1, pair[1].1));
            }
        }
    }
    let _ = world;
    // What a turn emitted has happened once, and what no turn emitted has not.
    let by_token = by_token(known);
    for token in &emits {
        let ids = by_token.get(token.as_str()).map_or(0, |found| found.len());
        if ids != 1 && !known.dropped {
            faults.push(format!("{token} was emitted by a turn, and is there {ids} times"));
        }
    }
    for (token, ids) in &by_token {
        if token.starts_with('x') && (!emits.contains(*token) || ids.len() != 1) && !known.dropped {
            faults
                .push(format!("{token} is there {} times though no turn that counts emitted it", ids.len()));
        }
    }
}

/// The ids that each token's event was accepted under, with the jobs that it led to.
fn by_token(known: &Known) -> BTreeMap<&str, BTreeMap<Id, Vec<&Job>>> {
    let mut found: BTreeMap<&str, BTreeMap<Id, Vec<&Job>>> = BTreeMap::new();
    for job in known.jobs.values() {
        // One that was put in a dead letter's place is another cause's.
        if let Cause::Event { id, .. } = &job.cause {
            let args = job.args.as_str();
            let token = args.trim_start_matches("[\"").trim_end_matches("\"]");
            found.entry(token).or_default().entry(*id).or_default().push(job);
        }
    }
    for (token, ids) in &known.unmatched {
        for id in ids {
            found.entry(token).or_default().entry(*id).or_default();
        }
    }
    found
}

/// What was accepted is there once, by the event filters of its time, and in order; what was not, once or not at all.
fn events(
    world: &World,
    server: &Server,
    known: &Known,
    ledger: &Ledger,
    forgot: bool,
    faults: &mut Vec<String>,
) {
    let by_token = by_token(known);
    let none = BTreeMap::new();
    for sent in &ledger.sent {
        let found = by_token.get(sent.token.as_str()).unwrap_or(&none);
        let token = &sent.token;
        if found.len() > 1 {
            faults.push(format!("{token} was accepted {} times", found.len()));
        }
        let kept = !forgot || sent.process == server.process();
        // Events that matched nothing are dropped with the history, too.
        let gone = known.dropped && sent.accepted.is_none_or(|(_, jobs)| jobs == 0);
        if found.is_empty() && sent.span.done.is_some() && kept && !gone {
            faults.push(format!("{token} was accepted, and is lost"));
        }
        if let (Some((id, jobs)), true) = (sent.accepted, kept) {
            match found.get(&id) {
                None if !gone => faults.push(format!("{token} was accepted as {id}, and is not there")),
                Some(found) if found.len() != jobs as usize => {
                    faults.push(format!("{token} led to {jobs} jobs, and there are {}", found.len()));
                }
                _ => {}
            }
        }
        for jobs in found.values() {
            routed(world, sent, jobs, ledger, forgot || gone, faults);
        }
    }
    if forgot {
        return;
    }
    // Ids grow in the order in which events were accepted.
    let id = |sent: &Sent| by_token.get(sent.token.as_str()).and_then(|ids| ids.keys().next().copied());
    let dated: Vec<_> = ledger.sent.iter().filter_map(|sent| Some((sent, id(sent)?))).collect();
    for (first, first_id) in &dated {
        for (then, then_id) in &dated {
            if first.span.is_before(&then.span) && first_id > then_id {
                faults.push(format!(
                    "{} was accepted before {} was sent, and has a greater id",
                    first.token, then.token
                ));
            }
        }
    }
}

/// An event's jobs are those of the event filters there were.
fn routed(
    world: &World,
    sent: &Sent,
    jobs: &[&Job],
    ledger: &Ledger,
    forgot: bool,
    faults: &mut Vec<String>,
) {
    let mut led: BTreeSet<(&str, &str)> = BTreeSet::new();
    for job in jobs {
        if !led.insert((job.service.as_str(), &job.action)) {
            faults.push(format!("{} led to {}/{} twice", sent.token, job.service, job.action));
        }
        let possible = ledger.filtered.iter().any(|filter| {
            filter.event == sent.event && filter.service == job.service && filter.action == job.action
        });
        if !possible {
            faults.push(format!("{} led to {}/{}, for no filter", sent.token, job.service, job.action));
        }
    }
    let _ = world;
    for filter in ledger.filtered.iter().filter(|filter| filter.event == sent.event && !forgot) {
        if filter.span.is_before(&sent.span) && !led.contains(&(filter.service.as_str(), &filter.action)) {
            faults.push(format!(
                "{} did not lead to {}/{}, which was to take it",
                sent.token, filter.service, filter.action
            ));
        }
    }
}

/// No occurrence is there twice.
fn occurrences(known: &Known, faults: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for job in known.jobs.values() {
        if let Cause::Schedule { due_at, .. } = &job.cause
            && !seen.insert((job.service.as_str(), &job.action, *due_at))
        {
            faults.push(format!("{}/{} of {due_at} is there twice", job.service, job.action));
        }
    }
}

/// What was answered to who cancelled, retried and started runs is so.
fn commands(known: &Known, ledger: &Ledger, faults: &mut Vec<String>) {
    for id in &ledger.cancelled {
        let state = known.jobs.get(id).map(|job| job.state);
        if state != Some(JobState::Cancelled) && !known.dropped {
            faults.push(format!("{id} was cancelled, and is {state:?}"));
        }
    }
    let mut letters = BTreeSet::new();
    for (letter, job) in &ledger.retried {
        if !letters.insert(letter) {
            faults.push(format!("dead letter {letter} was retried twice"));
        }
        if !known.jobs.contains_key(job) {
            faults.push(format!("{job}, which dead letter {letter} is retried as, is not there"));
        }
    }
    if known.dropped {
        return;
    }
    for started in &ledger.runs {
        let Some(run) = known.runs.get(&started.id) else {
            faults.push(format!("run {} is lost", started.id));
            continue;
        };
        for (step, tasks) in (0..).zip(&run.steps) {
            let expected = if step <= run.step { tasks.len() } else { 0 };
            let of_step = |job: &&Job| job.cause == Cause::Run { id: run.id, step };
            let found = known.jobs.values().filter(of_step).count();
            if found != expected {
                faults.push(format!("step {step} of run {} has {found} jobs for {expected} tasks", run.id));
            }
        }
        if !run.state.is_final() {
            faults.push(format!("run {} is {:?}", run.id, run.state));
        }
    }
}

/// What belongs to hosts that are no more is not there, either.
/// Each service's key-value pairs are what its last turn left, and what a turn read was what the one before it left.
fn pairs(server: &mut Server, known: &Known, faults: &mut Vec<String>) {
    for service in &known.services {
        let (key, data) = (&service.key, service.data.value());
        let (n, chain) = (data["n"].as_u64().unwrap(), data["chain"].as_u64().unwrap());
        let mut found = texts(&server.look(&["HGETALL", &format!("k:{key}")]));
        let mut names = texts(&server.look(&["ZRANGE", &format!("n:{key}"), "0", "-1"]));
        let mut expected = vec!["chain".into(), n.to_string(), format!("n{n}"), chain.to_string()];
        let mut expected_names = vec!["chain".into(), format!("n{n}")];
        if n == 0 {
            expected.clear();
            expected_names.clear();
        }
        for list in [&mut found, &mut names, &mut expected, &mut expected_names] {
            list.sort_unstable();
        }
        if (&found, &names) != (&expected, &expected_names) || service.kv.bytes != n {
            faults.push(format!("{key} has {data} and keeps {found:?}, of the keys {names:?}"));
        }
    }
    for job in known.jobs.values().filter(|job| job.state == JobState::Ok) {
        let result = job.result.as_ref().unwrap().value();
        let before = result["n"].as_u64().unwrap() - 1;
        if result["read"].as_str().is_some_and(|read| read != before.to_string()) {
            faults.push(format!("{} read {} where there was {before}", job.id, result["read"]));
        }
    }
}

fn nothing_is_left(server: &mut Server, faults: &mut Vec<String>) {
    let hosts = texts(&server.look(&["ZRANGE", "hosts", "0", "-1"]));
    for kind in ["in", "wake"] {
        for key in texts(&server.look(&["KEYS", &format!("{kind}:*")])) {
            if !hosts.iter().any(|host| key.ends_with(host.as_str())) {
                faults.push(format!("{key} is of a host that is no more"));
            }
        }
    }
}
