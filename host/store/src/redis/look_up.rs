//! Reading from Redis what the writer needs to decide: records with their versions, and whole partitions.

use std::{collections::HashMap, sync::Arc};

use ays_core::{Id, ServiceKey, filter::Subscription, job::Job, partition, routing::FilterIndex, run::Run};

use super::{
    args::Args,
    draft::Need,
    memory::{ABSENT, Owned, Versioned},
    record::stored,
    requests::{Found, Request},
    value::{bytes, number, pairs, text},
    writer::{Closed, Writer},
};
use crate::{
    Error, Result,
    decide::{Known, has_ended, no_letter},
    record::from_json,
};

/// How many partitions are read in one go.
const LOADED_AT_ONCE: usize = 8;

impl Writer {
    /// Looks up what a decision needs.
    pub(super) async fn fill(&mut self, need: Need) -> std::result::Result<(), Closed> {
        match need {
            Need::Service(key) => self.load(vec![key]).await,
            Need::Run(id) => self.load_run(id).await,
            Need::Claim(door) => {
                let mut get = Args::command("HGET");
                get.push(self.shared.keys.key("claims")).push(&door);
                let last = self.ask(&[get]).await?.pop().map_or(Ok(0), number);
                self.shared.memory().claims.insert(door, last.unwrap_or_default());
                Ok(())
            }
        }
    }

    /// Reads services. The version first: if the record is a younger one, the next commit finds out.
    pub(super) async fn load(&mut self, services: Vec<ServiceKey>) -> std::result::Result<(), Closed> {
        if services.is_empty() {
            return Ok(());
        }
        let mut asked = Vec::new();
        for service in &services {
            for kind in ['v', 's', 't'] {
                let mut get = Args::command("HGET");
                get.push(self.shared.keys.of(kind, service)).push(service.as_str());
                asked.push(get);
            }
        }
        let mut answers = self.ask(&asked).await?.into_iter();
        for service in &services {
            let mut next = || answers.next().map_or(Ok(None), bytes);
            let read = |version: Option<Vec<u8>>, record: Option<Vec<u8>>, schedules: Option<Vec<u8>>| {
                versioned(version, record, schedules)
            };
            let found = (|| read(next()?, next()?, next()?))();
            match found {
                Ok(found) => self.shared.memory().put(service, found),
                Err(error) => tracing::error!(%service, "the service cannot be read: {error}"),
            }
        }
        Ok(())
    }

    pub(super) async fn load_run(&mut self, id: Id) -> std::result::Result<(), Closed> {
        let asked = ["v:runs", "runs"].map(|key| {
            let mut get = Args::command("HGET");
            get.push(self.shared.keys.key(key)).show(id);
            get
        });
        let mut answers = self.ask(&asked).await?.into_iter();
        let mut next = || answers.next().map_or(Ok(None), bytes);
        let found = (|| -> Result<Versioned<Run>> {
            let version = next()?.unwrap_or_default();
            let record = next()?.map(|record| stored(&record)).transpose()?;
            Ok(Versioned { record, version: String::from_utf8_lossy(&version).into() })
        })();
        match found {
            Ok(found) => {
                self.shared.memory().runs.insert(id, found);
            }
            Err(error) => tracing::error!(run = %id, "the run cannot be read: {error}"),
        }
        Ok(())
    }

    pub(super) async fn load_filters(&mut self) -> std::result::Result<(), Closed> {
        let mut version = Args::command("GET");
        version.push(self.shared.keys.key("filters:version"));
        let now = self.ask(std::slice::from_ref(&version)).await?.pop().map_or(Ok(None), text);
        if now.is_ok_and(|now| now.as_deref() == Some(&self.shared.memory().filters_version)) {
            return Ok(());
        }
        let mut all = Args::command("HGETALL");
        all.push(self.shared.keys.key("filters"));
        let mut answers = self.ask(&[version, all]).await?.into_iter();
        let mut next = || answers.next().unwrap_or(redis::Value::Nil);
        let read = (|| -> Result<_> {
            let version = text(next())?.unwrap_or_else(|| "0".into());
            let mut index = FilterIndex::default();
            for (_, record) in pairs(next())? {
                index.restore(from_json::<Subscription>(&record)?);
            }
            Ok((version, index))
        })();
        match read {
            Ok((version, index)) => {
                let mut memory = self.shared.memory();
                memory.exists.extend(index.all().into_iter().map(|filter| filter.service.clone()));
                memory.filters = Arc::new(index);
                memory.filters_version = version.into();
            }
            Err(error) => tracing::error!("the event filters cannot be read: {error}"),
        }
        Ok(())
    }

    /// Partitions have become this host's: reads what is in them.
    pub(super) async fn own(
        &mut self,
        mut partitions: Vec<(u16, Arc<str>)>,
    ) -> std::result::Result<Result<()>, Closed> {
        partitions.retain(|(partition, _)| !self.shared.memory().owned.contains_key(partition));
        // Those that have waited longest come first.
        let mut waiting: Vec<(Id, ServiceKey)> = Vec::new();
        for some in partitions.chunks(LOADED_AT_ONCE) {
            let asked: Vec<_> = some
                .iter()
                .flat_map(|(partition, _)| ['v', 's', 't', 'p'].map(|kind| (kind, *partition)))
                .map(|(kind, partition)| {
                    let mut all = Args::command("HGETALL");
                    all.push(self.shared.keys.at(kind, partition));
                    all
                })
                .collect();
            let mut answers = self.ask(&asked).await?.into_iter();
            for (partition, token) in some {
                let content = match content(&mut answers) {
                    Ok(content) => content,
                    Err(error) => return Ok(Err(error)),
                };
                let mut memory = self.shared.memory();
                memory.owned.insert(*partition, Owned { token: token.clone(), leaving: false });
                for (known, version) in content.services {
                    let key = known.service.key.clone();
                    memory.put(&key, Versioned { record: Some(known), version });
                }
                for job in content.jobs {
                    waiting.push((job.id, job.service.clone()));
                    memory.arrived(job);
                }
            }
        }
        if !partitions.is_empty() {
            // Takers are told which filters a service has: also those that the owner before set last.
            self.load_filters().await?;
        }
        waiting.sort_unstable();
        let mut any = false;
        {
            let mut memory = self.shared.memory();
            for (_, service) in waiting {
                any |= memory.backlog.queue(&service);
            }
        }
        self.shared.tell(any);
        Ok(Ok(()))
    }

    /// Looks up what requests name by id.
    pub(super) async fn look_up(&mut self, requests: &[Request]) -> std::result::Result<Vec<Found>, Closed> {
        let mut all = Vec::with_capacity(requests.len());
        for request in requests {
            all.push(match request {
                Request::Cancel(id, ..) => Found::Job(self.waiting(*id).await?.map(Box::new)),
                Request::RetryDead(id, ..) | Request::DiscardDead(id, ..) => {
                    let mut get = Args::command("HGET");
                    get.push(self.shared.keys.key("dead")).show(id);
                    let letter = self.ask(&[get]).await?.pop().map_or(Ok(None), bytes);
                    let letter = letter.and_then(|letter| stored(&letter.ok_or_else(|| no_letter(*id))?));
                    Found::Letter(letter.map(Box::new))
                }
                _ => Found::Nothing,
            });
        }
        Ok(all)
    }

    /// A job that has not ended.
    pub(super) async fn waiting(&mut self, id: Id) -> std::result::Result<Result<Job>, Closed> {
        let asked: Vec<_> = (0..partition::PARTITIONS)
            .map(|partition| {
                let mut get = Args::command("HGET");
                get.push(self.shared.keys.at('p', partition)).show(id);
                get
            })
            .collect();
        for answer in self.ask(&asked).await? {
            match bytes(answer) {
                Ok(None) => {}
                Ok(Some(record)) => return Ok(stored(&record)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(match self.shared.ended_job(id).await {
            Ok(Some(job)) => Err(has_ended(&job)),
            Ok(None) => Err(Error::NotFound(format!("there is no job {id}"))),
            Err(error) => Err(error),
        })
    }
}

/// What is in a partition.
struct Content {
    services: Vec<(Known, Arc<str>)>,
    /// In order.
    jobs: Vec<Job>,
}

/// Reads a partition's versions, records, schedules and mailboxes.
fn content(answers: &mut impl Iterator<Item = redis::Value>) -> Result<Content> {
    let mut next = || answers.next().map_or(Ok(Vec::new()), pairs);
    let mut versions: HashMap<String, Vec<u8>> = next()?.into_iter().collect();
    let records = next()?;
    let mut schedules: HashMap<String, Vec<u8>> = next()?.into_iter().collect();
    let mut services = Vec::with_capacity(records.len());
    for (key, record) in records {
        let found = versioned(versions.remove(&key), Some(record), schedules.remove(&key))?;
        services.extend(found.record.map(|known| (known, found.version)));
    }
    let mut jobs = next()?.iter().map(|(_, record)| stored::<Job>(record)).collect::<Result<Vec<_>>>()?;
    jobs.sort_unstable_by_key(|job| job.id);
    Ok(Content { services, jobs })
}

/// A service as it is stored.
fn versioned(
    version: Option<Vec<u8>>,
    record: Option<Vec<u8>>,
    schedules: Option<Vec<u8>>,
) -> Result<Versioned<Known>> {
    let version = version.map_or_else(|| ABSENT.into(), |version| String::from_utf8_lossy(&version).into());
    let Some(record) = record else { return Ok(Versioned { record: None, version }) };
    let mut known = Known::new(from_json(&record)?);
    if let Some(schedules) = schedules {
        known.schedules = from_json(&schedules)?;
    }
    Ok(Versioned { record: Some(known), version })
}
