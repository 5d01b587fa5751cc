//! A round of decisions as the arguments of `commit.lua`, and what that script answers.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use ays_core::{Id, ServiceKey, Timestamp, job::Job, partition};
use redis::Value;

use super::{
    args::{Args, Section},
    draft::Draft,
    memory::{ABSENT, Memory},
    record::{id, number},
    value::{bytes, list, text, texts},
};
use crate::{
    Error, Result,
    decide::{Ended, Group},
    record::to_json,
};

/// What a call says of itself.
pub(super) struct Call<'a> {
    pub(super) host: &'a str,
    /// The host numbers its calls.
    pub(super) number: u64,
    /// The number of the last one that was committed; 0 if there is none.
    pub(super) previous: u64,
    pub(super) now: Timestamp,
    /// How many jobs a piece of the history has.
    pub(super) piece_jobs: u64,
    /// How many notices are to be read at most.
    pub(super) most_notices: usize,
    /// How many of those that were read are done with.
    pub(super) acknowledged: usize,
}

/// Something that came for this host.
#[derive(Debug)]
pub(super) enum Notice {
    /// A job came. None if it is gone again.
    Job(Option<Vec<u8>>),
    /// A service was changed by another host.
    Service(ServiceKey),
    /// A job was cancelled by another host.
    Cancelled(Id, ServiceKey),
    /// Leases changed.
    Leases,
}

/// What does not hold any more.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// Partitions that are not this host's.
    pub(super) partitions: Vec<u16>,
    /// Services and runs that were changed.
    pub(super) services: Vec<ServiceKey>,
    pub(super) runs: Vec<Id>,
    pub(super) filters: bool,
    /// Jobs and dead letters that are gone.
    pub(super) missing: HashSet<Id>,
    /// Doors, with the number of their last claim.
    pub(super) claims: Vec<(String, u64)>,
}

/// What came of a call.
pub(super) enum Outcome {
    /// It is done; `base` is the first id that was given out.
    Done { base: Id, notices: Vec<Notice>, more: bool, again: bool },
    /// It was decided on what is not so any more: nothing is done.
    Stale(Stale),
    /// Redis has forgotten what this host committed before. `last` is the number of the last call that it knows.
    Forgot { last: u64 },
}

/// The version of what a call writes.
pub(super) fn version(host: &str, number: u64) -> Arc<str> {
    format!("{host} {number}").into()
}

/// An id, or the number that stands for it.
fn spec(args: &mut Args, id: Id) {
    match number(id) {
        Some(number) => args.show(number),
        None => args.show(id),
    };
}

/// The arguments of the script.
pub(super) fn args(call: &Call<'_>, memory: &Memory, draft: &Draft, group: &Group) -> Result<Args> {
    let version = version(call.host, call.number);
    let mut args = Args::default();
    args.push(call.host).show(call.number).show(call.previous).show(call.now.millis().max(1)).show(draft.ids);
    args.show(call.piece_jobs).show(call.most_notices).show(call.acknowledged);
    args.push(if draft.routed.get() { &memory.filters_version } else { "" });

    // What it was decided on.
    let mut involved: BTreeSet<u16> = draft.read.iter().map(partition::of).collect();
    involved.extend(group.arrived.iter().map(|job| partition::of(&job.service)));
    involved.extend(draft.cancelled.iter().map(|(service, _)| partition::of(service)));
    let mut partitions = Section::default();
    for partition in &involved {
        let token = memory.owned.get(partition).map_or("", |owned| &owned.token);
        partitions.one().show(partition).push(token);
    }
    let mut guards = Section::default();
    if !involved.is_empty() {
        partitions.into(guards.one());
    }
    guards.into(&mut args);
    let mut versions = Section::default();
    let mut read: BTreeMap<u16, Section> = BTreeMap::new();
    for service in &draft.read {
        let section = read.entry(partition::of(service)).or_default();
        section.one().push(service.as_str()).push(memory.version(service));
    }
    for (partition, section) in read {
        section.into(versions.one().show(partition));
    }
    if !draft.runs_read.is_empty() {
        let mut section = Section::default();
        for run in &draft.runs_read {
            section.one().show(run).push(memory.runs.get(run).map_or(ABSENT, |found| &found.version));
        }
        section.into(versions.one().push("runs"));
    }
    versions.into(&mut args);
    // Another host may have cancelled a job whose attempt this is.
    let mut existing: BTreeMap<String, Vec<Id>> = BTreeMap::new();
    let kept = group.kept.iter().map(|(job, service, _)| (job, service));
    for (job, service) in group.left.iter().map(|(job, service)| (job, service)).chain(kept) {
        existing.entry(format!("p:{}", partition::of(service))).or_default().push(*job);
    }
    if !group.undead.is_empty() {
        existing.insert("dead".into(), group.undead.clone());
    }
    args.show(existing.len());
    for (key, ids) in existing {
        args.push(key).show(ids.len());
        for id in ids {
            args.show(id);
        }
    }
    let mut claims = Section::default();
    // Also of one that was refused: it may be what is known here that is out of date.
    for (door, (before, after)) in &draft.claims {
        claims.one().push(door).show(before).show(after);
    }
    claims.into(&mut args);

    plain(draft, group, &version)?.into(&mut args);
    let mut notices = Section::default();
    for service in group.changed_services().filter(|service| !memory.owns(service)).collect::<BTreeSet<_>>() {
        notices.one().show(partition::of(service)).show(format_args!("s{service}"));
    }
    for (service, job) in draft.cancelled.iter().filter(|(service, _)| !memory.owns(service)) {
        notices.one().show(partition::of(service)).show(format_args!("c{job} {service}"));
    }
    notices.into(&mut args);

    let mut jobs: BTreeMap<u16, Vec<&Arc<Job>>> = BTreeMap::new();
    for job in &group.arrived {
        jobs.entry(partition::of(&job.service)).or_default().push(job);
    }
    args.show(jobs.len());
    for (partition, jobs) in jobs {
        args.show(partition).show(jobs.len());
        for job in jobs {
            spec(&mut args, job.id);
            args.push(to_json(job.as_ref())?);
        }
    }
    history(group, &mut args)?;
    let mut dead = Section::default();
    for letter in &group.dead {
        let one = dead.one();
        spec(one, letter.id);
        one.push(to_json(letter)?);
    }
    dead.into(&mut args);
    let mut runs = Section::default();
    for run in group.runs.values().filter(|run| !run.state.is_final()) {
        let one = runs.one();
        spec(one, run.id);
        one.push(to_json(run)?);
    }
    runs.into(&mut args);
    Ok(args)
}

/// A key, without the namespace's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    /// Of a partition.
    At(char, u16),
    Service(char, &'a ServiceKey),
    Of(&'static str),
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(kind, partition) => write!(f, "{kind}:{partition}"),
            Self::Service(kind, service) => write!(f, "{kind}:{service}"),
            Self::Of(name) => f.write_str(name),
        }
    }
}

/// Commands whose arguments are gathered: one for each key.
#[derive(Default)]
struct Gathered<'a>(BTreeMap<(&'static str, Key<'a>), Args>);

impl<'a> Gathered<'a> {
    fn to(&mut self, command: &'static str, key: Key<'a>) -> &mut Args {
        self.0.entry((command, key)).or_default()
    }
}

/// What is written as it is.
fn plain(draft: &Draft, group: &Group, version: &str) -> Result<Section> {
    let mut commands = Gathered::default();
    let at = |kind: char, service: &ServiceKey| Key::At(kind, partition::of(service));
    let rescheduled: BTreeSet<_> = group.schedules.iter().map(|(service, _)| service).collect();
    for key in group.services.iter().chain(rescheduled.iter().copied()).collect::<BTreeSet<_>>() {
        let Some(known) = draft.services.get(key) else { continue };
        let partition = partition::of(key);
        let at = |kind: char| Key::At(kind, partition);
        commands.to("HSET", at('v')).push(key.as_str()).push(version);
        if group.services.contains(key) {
            commands.to("HSET", at('s')).push(key.as_str()).push(to_json(&known.service)?);
        }
        if rescheduled.contains(key) {
            if known.schedules.is_empty() {
                commands.to("HDEL", at('t')).push(key.as_str());
            } else {
                commands.to("HSET", at('t')).push(key.as_str()).push(to_json(&known.schedules)?);
            }
        }
    }
    for (service, writes) in &group.kv {
        let (values, keys) = (Key::Service('k', service), Key::Service('n', service));
        for (key, value) in writes {
            match value {
                Some(value) => {
                    commands.to("HSET", values).push(key).push(value);
                    commands.to("ZADD", keys).push("0").push(key);
                }
                None => {
                    commands.to("HDEL", values).push(key);
                    commands.to("ZREM", keys).push(key);
                }
            }
        }
    }
    for (id, service, record) in &group.kept {
        commands.to("HSET", at('p', service)).show(id).push(record);
    }
    for (id, service) in &group.left {
        commands.to("HDEL", at('p', service)).show(id);
    }
    for letter in &group.undead {
        commands.to("HDEL", Key::Of("dead")).show(letter);
        commands.to("ZREM", Key::Of("dead:ids")).show(letter);
    }
    for (seq, subscription) in &group.filters {
        match subscription {
            Some(subscription) => {
                commands.to("HSET", Key::Of("filters")).show(seq).push(to_json(subscription)?);
            }
            None => {
                commands.to("HDEL", Key::Of("filters")).show(seq);
            }
        }
    }
    if !group.filters.is_empty() {
        commands.to("SET", Key::Of("filters:version")).push(version);
    }
    if draft.refused > 0 {
        commands.to("HINCRBY", Key::Of("counts")).push("refused").show(draft.refused);
    }
    let mut section = Section::default();
    for ((command, key), args) in commands.0 {
        section.one().show(args.len()).push(command).show(key).append(&args);
    }
    Ok(section)
}

/// Ended jobs by service, events that matched nothing, ended runs.
fn history(group: &Group, args: &mut Args) -> Result<()> {
    let mut ended: BTreeMap<&ServiceKey, Vec<&Ended>> = BTreeMap::new();
    for job in &group.ended {
        ended.entry(&job.service).or_default().push(job);
    }
    let over: Vec<_> = group.runs.values().filter(|run| run.state.is_final()).collect();
    args.show(ended.len()).show(group.unmatched.len() + over.len());
    for (service, jobs) in ended {
        args.push(service.as_str()).show(jobs.len());
        for job in jobs {
            spec(args, job.id);
            args.push(&job.record);
        }
    }
    for event in &group.unmatched {
        args.push("u");
        spec(args, event.id);
        args.push(to_json(event)?);
    }
    for run in over {
        args.push("r");
        spec(args, run.id);
        args.push(to_json(run)?);
    }
    Ok(())
}

/// What the script answered.
pub(super) fn outcome(reply: Value) -> Result<Outcome> {
    let mut reply = list(reply)?.into_iter();
    let mut next = || reply.next().unwrap_or(Value::Nil);
    let again = match text(next())?.as_deref() {
        Some("ok") => false,
        Some("again") => true,
        Some("stale") => {
            let partitions = texts(next())?.iter().filter_map(|partition| partition.parse().ok()).collect();
            let mut stale = Stale { partitions, ..Stale::default() };
            for record in texts(next())? {
                match (record.parse(), record.parse()) {
                    (Ok(service), _) => stale.services.push(service),
                    (_, Ok(run)) => stale.runs.push(run),
                    _ => return Err(Error::Io(format!("Redis names a record `{record}` that cannot be"))),
                }
            }
            stale.filters = text(next())?.as_deref() == Some("1");
            stale.missing = texts(next())?.iter().map(|text| id(text.as_bytes())).collect::<Result<_>>()?;
            let mut claims = texts(next())?.into_iter();
            while let (Some(door), Some(last)) = (claims.next(), claims.next()) {
                stale.claims.push((door, last.parse().unwrap_or_default()));
            }
            return Ok(Outcome::Stale(stale));
        }
        Some("forgot") => return Ok(Outcome::Forgot { last: super::value::number(next())? }),
        other => return Err(Error::Io(format!("Redis answered {other:?} to a commit"))),
    };
    let base = bytes(next())?.unwrap_or_default();
    let more = text(next())?.as_deref() == Some("1");
    let mut notices = Vec::new();
    while let (Some(notice), Some(record)) = (reply.next(), reply.next()) {
        notices.push(read_notice(&text(notice)?.unwrap_or_default(), bytes(record)?.unwrap_or_default())?);
    }
    Ok(Outcome::Done { base: id(&base)?, notices, more, again })
}

fn read_notice(notice: &str, record: Vec<u8>) -> Result<Notice> {
    let unknown = || Error::Io(format!("there is a notice `{notice}`, which means nothing"));
    let service = |text: &str| text.parse().map_err(|_| unknown());
    let (kind, rest) = notice.split_at_checked(1).ok_or_else(unknown)?;
    match kind {
        "j" => Ok(Notice::Job((!record.is_empty()).then_some(record))),
        "s" => Ok(Notice::Service(service(rest)?)),
        "c" => {
            let (job, of) = rest.split_once(' ').ok_or_else(unknown)?;
            Ok(Notice::Cancelled(id(job.as_bytes())?, service(of)?))
        }
        "l" => Ok(Notice::Leases),
        _ => Err(unknown()),
    }
}
