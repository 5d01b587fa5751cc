//! Queries. They ask Redis, once: while it cannot be used they fail at once.
//!
//! The history is in pieces of some thousand jobs that are kept without order, since sorting what is looked at costs less
//! than keeping everything sorted that is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ays_core::{
    Id, ServiceKey,
    event::EventRecord,
    filter::Subscription,
    job::{Job, JobState},
    partition::{self, PARTITIONS},
    run::Run,
    schedule::Schedule,
    service::Service,
};
use redis::Value;
use serde::de::DeserializeOwned;

use super::{
    Shared,
    args::Args,
    record::{Rebase, id, stored},
    value::{bytes, list, number, pairs, text, texts},
};
use crate::{
    DeadLetter, DeadQuery, Error, FilterQuery, JobQuery, Page, Paging, Result, ScheduleQuery, ServiceQuery,
    StoreStatus,
    page::{id_cursor, no_cursor, page},
    query::{wanted, wants_history},
    record::from_json,
};

/// How many records a page looks at before it is returned with what was found.
const MOST_RECORDS: usize = 10_000;
/// How many records are asked for at a time.
const AT_A_TIME: usize = 500;

/// Where a job's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Mailbox(u16),
    Piece(u64),
}

/// A piece of the history.
#[derive(Clone, Debug)]
struct Piece {
    number: u64,
    least: Option<Id>,
    most: Option<Id>,
}

impl Shared {
    fn get(&self, key: &str, field: impl std::fmt::Display) -> Args {
        let mut get = self.command("HGET", key);
        get.show(field);
        get
    }

    fn many(&self, key: &str, fields: impl IntoIterator<Item = Id>) -> Args {
        let mut get = self.command("HMGET", key);
        for field in fields {
            get.show(field);
        }
        get
    }

    /// All of a kind of record, of all partitions.
    async fn everywhere(&self, kind: char) -> Result<Vec<(String, Vec<u8>)>> {
        let asked: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                let mut all = Args::command("HGETALL");
                all.push(self.keys.at(kind, partition));
                all
            })
            .collect();
        let mut found = Vec::new();
        for answer in self.ask(&asked).await? {
            found.extend(pairs(answer)?);
        }
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    pub(super) async fn services(&self, query: &ServiceQuery, paging: &Paging) -> Result<Page<Service>> {
        let records = self.everywhere('s').await?;
        let after = paging.cursor.as_deref().unwrap_or_default();
        let rows = records.into_iter().filter(|(key, _)| key.as_str() > after).map(|(key, record)| {
            let service: Service = from_json(&record)?;
            let wanted = query.actor.as_ref().is_none_or(|actor| service.key.actor() == actor);
            Ok((key, wanted.then_some(service)))
        });
        page(rows, paging, MOST_RECORDS)
    }

    pub(super) async fn service(&self, key: &ServiceKey) -> Result<Option<Service>> {
        let mut get = Args::command("HGET");
        get.push(self.keys.of('s', key)).push(key.as_str());
        bytes(self.ask_one(get).await?)?.map(|record| from_json(&record)).transpose()
    }

    pub(super) async fn kv_get(&self, service: &ServiceKey, key: &str) -> Result<Option<Arc<[u8]>>> {
        let get = self.get(&format!("k:{service}"), key);
        Ok(bytes(self.ask_one(get).await?)?.map(Arc::from))
    }

    pub(super) async fn kv_keys(
        &self,
        service: &ServiceKey,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let mut range = self.command("ZRANGE", &format!("n:{service}"));
        match after {
            Some(after) if after >= prefix => range.show(format_args!("({after}")),
            _ => range.show(format_args!("[{prefix}")),
        };
        // No UTF-8 has this byte, so whatever begins with the prefix comes before.
        range.push([b"(", prefix.as_bytes(), &[0xff]].concat());
        range.push("BYLEX").push("LIMIT").push("0").show(limit);
        texts(self.ask_one(range).await?)
    }

    pub(super) async fn filters(&self, query: &FilterQuery, paging: &Paging) -> Result<Page<Subscription>> {
        let parse = |cursor: &String| cursor.parse::<u64>().map_err(|_| no_cursor(cursor));
        let after = paging.cursor.as_ref().map(parse).transpose()?;
        let mut all = BTreeMap::new();
        for (_, record) in pairs(self.ask_one(self.command("HGETALL", "filters")).await?)? {
            let subscription: Subscription = from_json(&record)?;
            all.insert(subscription.seq, subscription);
        }
        let rows =
            all.into_values().filter(|filter| after.is_none_or(|after| filter.seq > after)).map(|filter| {
                let wanted = query.service.as_ref().is_none_or(|key| filter.service == *key)
                    && query.event.as_ref().is_none_or(|event| filter.filter.event == *event);
                Ok((filter.seq.to_string(), wanted.then_some(filter)))
            });
        page(rows, paging, usize::MAX)
    }

    pub(super) async fn schedules(&self, query: &ScheduleQuery, paging: &Paging) -> Result<Page<Schedule>> {
        let after = match &paging.cursor {
            Some(cursor) => {
                let (service, action) = cursor.split_once('/').ok_or_else(|| no_cursor(cursor))?;
                let service: ServiceKey = service.parse().map_err(|_| no_cursor(cursor))?;
                Some((service.to_string(), action.to_owned()))
            }
            None => None,
        };
        let records = match &query.service {
            None => self.everywhere('t').await?,
            Some(key) => {
                let mut get = Args::command("HGET");
                get.push(self.keys.of('t', key)).push(key.as_str());
                bytes(self.ask_one(get).await?)?.map(|record| (key.to_string(), record)).into_iter().collect()
            }
        };
        let mut all = BTreeMap::new();
        for (service, record) in records {
            let schedules: BTreeMap<String, Schedule> = from_json(&record)?;
            all.extend(schedules.into_iter().map(|(action, schedule)| ((service.clone(), action), schedule)));
        }
        let rows = all.into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
        let rows =
            rows.map(|((service, action), schedule)| Ok((format!("{service}/{action}"), Some(schedule))));
        page(rows, paging, usize::MAX)
    }

    pub(super) async fn dead(&self, query: &DeadQuery, paging: &Paging) -> Result<Page<DeadLetter>> {
        let mut before = id_cursor(paging)?;
        let mut rows = Vec::new();
        let mut found = 0;
        // A page more than is wanted says whether there is a further one.
        while found <= paging.limit && rows.len() < MOST_RECORDS {
            let mut range = self.command("ZREVRANGEBYLEX", "dead:ids");
            match before {
                Some(before) => range.show(format_args!("({before}")),
                None => range.push("+"),
            };
            range.push("-").push("LIMIT").show(0).show(AT_A_TIME);
            let ids = texts(self.ask_one(range).await?)?;
            let ids = ids.iter().map(|text| id(text.as_bytes())).collect::<Result<Vec<_>>>()?;
            let Some(last) = ids.last().copied() else { break };
            before = Some(last);
            for letter in list(self.ask_one(self.many("dead", ids)).await?)? {
                let Some(record) = bytes(letter)? else { continue };
                let letter: DeadLetter = stored(&record)?;
                let wanted = query
                    .service
                    .as_ref()
                    .is_none_or(|key| letter.job.as_ref().is_some_and(|job| job.service == *key));
                found += usize::from(wanted);
                rows.push(Ok((letter.id.to_string(), wanted.then_some(letter))));
            }
        }
        page(rows.into_iter(), paging, MOST_RECORDS)
    }

    /// The pieces of the history, youngest first.
    async fn pieces(&self) -> Result<Vec<Piece>> {
        let mut range = self.command("LRANGE", "pieces");
        range.show(0).show(-1);
        let numbers = texts(self.ask_one(range).await?)?;
        let asked: Vec<_> = numbers
            .iter()
            .map(|piece| {
                let mut get = self.command("HMGET", &format!("h:{piece}"));
                get.push("least").push("most");
                get
            })
            .collect();
        let mut pieces = Vec::new();
        for (name, answer) in numbers.iter().zip(self.ask(&asked).await?).rev() {
            let mut answer = list(answer)?.into_iter();
            let mut next = || answer.next().unwrap_or(Value::Nil);
            let mut read = || text(next())?.map(|text| id(text.as_bytes())).transpose();
            let (least, most) = (read()?, read()?);
            let number = name.parse().map_err(|_| Error::Io(format!("there is a piece `{name}`")))?;
            pieces.push(Piece { number, least, most });
        }
        Ok(pieces)
    }

    /// Records of one kind, of all pieces, youngest first.
    async fn in_pieces<T: DeserializeOwned + Rebase>(&self, kind: &str, id: Id) -> Result<Option<T>> {
        let pieces = self.pieces().await?;
        let asked: Vec<_> =
            pieces.iter().map(|piece| self.get(&format!("h:{}:{kind}", piece.number), id)).collect();
        for answer in self.ask(&asked).await? {
            if let Some(record) = bytes(answer)? {
                return Ok(Some(stored(&record)?));
            }
        }
        Ok(None)
    }

    pub(super) async fn unmatched(&self, paging: &Paging) -> Result<Page<EventRecord>> {
        let cursor = id_cursor(paging)?;
        let mut rows = Vec::new();
        for piece in self.pieces().await? {
            let all = self.command("HGETALL", &format!("h:{}:unmatched", piece.number));
            let mut events = Vec::new();
            for (_, record) in pairs(self.ask_one(all).await?)? {
                let event: EventRecord = stored(&record)?;
                if cursor.is_none_or(|cursor| event.id < cursor) {
                    events.push(event);
                }
            }
            events.sort_unstable_by_key(|event| std::cmp::Reverse(event.id));
            rows.extend(events.into_iter().map(|event| Ok((event.id.to_string(), Some(event)))));
            if rows.len() > paging.limit {
                break;
            }
        }
        page(rows.into_iter(), paging, usize::MAX)
    }

    pub(super) async fn run(&self, id: Id) -> Result<Option<Run>> {
        match bytes(self.ask_one(self.get("runs", id)).await?)? {
            Some(record) => stored(&record).map(Some),
            None => self.in_pieces("runs", id).await,
        }
    }

    pub(super) async fn runs_under_way(&self) -> Result<Vec<Run>> {
        let all = pairs(self.ask_one(self.command("HGETALL", "runs")).await?)?;
        let mut runs = all.iter().map(|(_, record)| stored(record)).collect::<Result<Vec<Run>>>()?;
        runs.sort_unstable_by_key(|run| run.id);
        Ok(runs)
    }

    /// A job of the history.
    pub(super) async fn ended_job(&self, id: Id) -> Result<Option<Job>> {
        self.in_pieces("jobs", id).await
    }

    pub(super) async fn job(&self, id: Id) -> Result<Option<Job>> {
        let asked: Vec<_> =
            (0..PARTITIONS).map(|partition| self.get(&format!("p:{partition}"), id)).collect();
        for answer in self.ask(&asked).await? {
            if let Some(record) = bytes(answer)? {
                let mut found = vec![stored(&record)?];
                self.mark_running(&mut found).await?;
                return Ok(found.pop());
            }
        }
        self.ended_job(id).await
    }

    pub(super) async fn jobs(&self, query: &JobQuery, paging: &Paging) -> Result<Page<Job>> {
        let cursor = id_cursor(paging)?;
        // A job is never older than its id says, so below this there is nothing to be found.
        let least = query.since.map(Id::first_at);
        let fits =
            |id: &Id| cursor.is_none_or(|cursor| *id < cursor) && least.is_none_or(|least| *id >= least);
        // Mailboxes first: a job that ends meanwhile is found in the history.
        let mut known: BTreeMap<Id, Place> = BTreeMap::new();
        let partitions: Vec<u16> = match &query.service {
            Some(service) => vec![partition::of(service)],
            None => (0..PARTITIONS).collect(),
        };
        let asked: Vec<_> =
            partitions.iter().map(|partition| self.command("HKEYS", &format!("p:{partition}"))).collect();
        for (partition, answer) in partitions.iter().zip(self.ask(&asked).await?) {
            for text in texts(answer)? {
                known.insert(id(text.as_bytes())?, Place::Mailbox(*partition));
            }
        }
        let mut pieces: Vec<Piece> =
            self.pieces().await?.into_iter().filter(|piece| piece.least.is_some()).collect();
        pieces.retain(|piece| {
            wants_history(query)
                && cursor.is_none_or(|cursor| piece.least.is_some_and(|first| first < cursor))
                && least.is_none_or(|least| piece.most.is_some_and(|last| last >= least))
        });
        // The piece with the greatest id comes last, to be popped.
        pieces.sort_unstable_by_key(|piece| piece.most);
        known.retain(|id, _| fits(id));
        let mut rows: Vec<Result<(String, Option<Job>)>> = Vec::new();
        let mut found = 0;
        while found <= paging.limit && rows.len() <= MOST_RECORDS {
            while let Some(piece) = pieces.last()
                && known.last_key_value().is_none_or(|(greatest, _)| piece.most > Some(*greatest))
            {
                for id in self.ids_in(piece, query.service.as_ref()).await?.into_iter().filter(fits) {
                    known.insert(id, Place::Piece(piece.number));
                }
                pieces.pop();
            }
            // What is younger than all that was not looked at yet.
            let from = pieces.last().and_then(|piece| piece.most);
            let mut next = Vec::new();
            while next.len() < AT_A_TIME
                && let Some(last) = known.last_entry()
                && from.is_none_or(|from| *last.key() >= from)
            {
                next.push(last.remove_entry());
            }
            if next.is_empty() {
                break;
            }
            for (id, job) in self.records(&next).await? {
                // A record that is gone was dropped meanwhile, or never was one: it is no row.
                let Some(job) = job else { continue };
                let job = wanted(query, &job).then_some(job);
                found += usize::from(job.is_some());
                rows.push(Ok((id.to_string(), job)));
            }
        }
        page(rows.into_iter(), paging, MOST_RECORDS)
    }

    async fn ids_in(&self, piece: &Piece, service: Option<&ServiceKey>) -> Result<Vec<Id>> {
        let number = piece.number;
        match service {
            None => {
                let keys = texts(self.ask_one(self.command("HKEYS", &format!("h:{number}:jobs"))).await?)?;
                keys.iter().map(|text| id(text.as_bytes())).collect()
            }
            Some(service) => {
                let ids =
                    bytes(self.ask_one(self.command("GET", &format!("h:{number}:s:{service}"))).await?)?;
                ids.unwrap_or_default().chunks_exact(26).map(id).collect()
            }
        }
    }

    /// Jobs' records, in this order.
    async fn records(&self, wanted: &[(Id, Place)]) -> Result<Vec<(Id, Option<Job>)>> {
        let mut by_place: BTreeMap<Place, Vec<Id>> = BTreeMap::new();
        for (id, place) in wanted {
            by_place.entry(*place).or_default().push(*id);
        }
        let asked: Vec<_> = by_place
            .iter()
            .map(|(place, ids)| {
                let key = match place {
                    Place::Mailbox(partition) => format!("p:{partition}"),
                    Place::Piece(number) => format!("h:{number}:jobs"),
                };
                self.many(&key, ids.iter().copied())
            })
            .collect();
        let mut found: BTreeMap<Id, Job> = BTreeMap::new();
        let mut waiting = Vec::new();
        let mut moved = Vec::new();
        for ((place, ids), answer) in by_place.iter().zip(self.ask(&asked).await?) {
            for (id, record) in ids.iter().zip(list(answer)?) {
                match (bytes(record)?, place) {
                    (Some(record), Place::Mailbox(_)) => waiting.push(stored::<Job>(&record)?),
                    (Some(record), Place::Piece(_)) => drop(found.insert(*id, stored(&record)?)),
                    (None, Place::Mailbox(_)) => moved.push(*id),
                    (None, Place::Piece(_)) => {}
                }
            }
        }
        self.mark_running(&mut waiting).await?;
        found.extend(waiting.into_iter().map(|job| (job.id, job)));
        for id in moved {
            if let Some(job) = self.ended_job(id).await? {
                found.insert(id, job);
            }
        }
        Ok(wanted.iter().map(|(id, _)| (*id, found.remove(id))).collect())
    }

    /// Says of jobs of mailboxes whether they are being executed: here, or by what other hosts say of themselves.
    async fn mark_running(&self, jobs: &mut [Job]) -> Result<()> {
        let mut elsewhere = Vec::new();
        {
            let memory = self.memory();
            for job in jobs.iter_mut() {
                if !memory.owns(&job.service) {
                    elsewhere.push(job);
                } else if memory
                    .backlog
                    .services
                    .get(&job.service)
                    .is_some_and(|entry| entry.mailbox.is_running(job.id))
                {
                    set_running(job);
                }
            }
        }
        let hosts: Vec<String> = {
            let lease = self.lease.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            lease.hosts.iter().filter(|host| ***host != *self.host).cloned().collect()
        };
        if elsewhere.is_empty() || hosts.is_empty() {
            return Ok(());
        }
        let asked: Vec<_> = hosts
            .iter()
            .map(|host| self.many(&format!("running:{host}"), elsewhere.iter().map(|job| job.id)))
            .collect();
        for answer in self.ask(&asked).await? {
            for (job, mark) in elsewhere.iter_mut().zip(list(answer)?) {
                if mark != Value::Nil {
                    set_running(job);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn status(&self) -> Result<StoreStatus> {
        let mut asked = Vec::new();
        for kind in ['p', 's'] {
            asked.extend(
                (0..PARTITIONS).map(|partition| self.command("HLEN", &format!("{kind}:{partition}"))),
            );
        }
        asked.push(self.command("HLEN", "dead"));
        for (key, field) in [("history", "jobs"), ("counts", "takeovers"), ("counts", "refused")] {
            asked.push(self.get(key, field));
        }
        asked.push(self.command("ZCARD", "hosts"));
        let mut counts = self.ask(&asked).await?.into_iter().map(number);
        let mut next = || counts.next().unwrap_or(Ok(0));
        let mut sum = || (0..PARTITIONS).map(|_| next()).sum::<Result<u64>>();
        let (pending, services) = (sum()?, sum()?);
        Ok(StoreStatus {
            pending,
            services,
            dead: next()?,
            history: next()?,
            takeovers: next()?,
            refused_turns: next()?,
            hosts: next()?,
            changes: self.changes.load(std::sync::atomic::Ordering::Relaxed),
            syncs: self.commits.load(std::sync::atomic::Ordering::Relaxed),
        })
    }

    /// The jobs that this host is executing.
    pub(super) fn executing(&self) -> BTreeSet<Id> {
        let memory = self.memory();
        let taken = memory.backlog.services.values().flat_map(|entry| entry.mailbox.taken());
        taken.collect()
    }
}

fn set_running(job: &mut Job) {
    job.state = JobState::Running;
    job.attempt = job.attempt.saturating_add(1);
    job.retry_at = None;
}
