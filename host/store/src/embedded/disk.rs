//! What is where on the disk.
//!
//! One folder for each namespace: `format.json` says which version wrote it, `lock` who holds it, `db` is the database.
//! The database's keyspaces:
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `identity`, `last-id`, `claim/DOOR`, `piece/NUMBER`, `grant/ACTOR` | text, 16 bytes, number, [`Piece`](super::history::Piece), [`Granted`](ays_core::capability::Granted) |
//! | `services` | service | [`Service`](ays_core::service::Service) |
//! | `kv` | service, 0, key | the bytes of a key-value pair's value, not JSON |
//! | `filters` | number, 8 bytes | [`Subscription`](ays_core::filter::Subscription) |
//! | `schedules` | service, 0, action | [`Schedule`](ays_core::schedule::Schedule) |
//! | `runs` | id | [`Run`](ays_core::run::Run) that is under way |
//! | `pending` | id | [`Job`](ays_core::job::Job) in a mailbox |
//! | `dead` | id | [`DeadLetter`](crate::DeadLetter) |
//! | `history-NUMBER`, `history-NUMBER-index` | | see [`history`](super::history) |
//!
//! Other values are JSON, so that they can grow members. Numbers are big-endian, so that they sort.

use std::path::Path;

use ays_core::{Id, ServiceKey};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, Snapshot};
use serde::de::DeserializeOwned;

use crate::{Error, Result, record::from_json};

/// Journals larger than this in sum make the database write its oldest tables out. It bounds what an opening reads.
const MAX_JOURNAL_BYTES: u64 = 256 << 20;

/// The database and its fixed keyspaces. Cheap to clone; the database closes with the last clone.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) db: Database,
    pub(super) meta: Keyspace,
    pub(super) services: Keyspace,
    pub(super) kv: Keyspace,
    pub(super) filters: Keyspace,
    pub(super) schedules: Keyspace,
    pub(super) runs: Keyspace,
    pub(super) pending: Keyspace,
    pub(super) dead: Keyspace,
}

impl Disk {
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self> {
        let db = Database::builder(folder)
            .manual_journal_persist(true)
            .max_journaling_size(MAX_JOURNAL_BYTES)
            .cache_size(cache_bytes)
            .open()
            .map_err(io)?;
        let complete = db.keyspace_exists("meta") && meta_has_identity(&db)?;
        let keyspace = |name| {
            if complete && !db.keyspace_exists(name) {
                return Err(Error::Io(format!("{}: its keyspace `{name}` is missing", folder.display())));
            }
            db.keyspace(name, KeyspaceCreateOptions::default).map_err(io)
        };
        Ok(Self {
            meta: keyspace("meta")?,
            services: keyspace("services")?,
            // Stores of a time before there were key-value pairs have none.
            kv: db.keyspace("kv", KeyspaceCreateOptions::default).map_err(io)?,
            filters: keyspace("filters")?,
            schedules: keyspace("schedules")?,
            runs: keyspace("runs")?,
            pending: keyspace("pending")?,
            dead: keyspace("dead")?,
            db,
        })
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }
}

/// Whether the store was created to the end: the identity is written last.
fn meta_has_identity(db: &Database) -> Result<bool> {
    let meta = db.keyspace("meta", KeyspaceCreateOptions::default).map_err(io)?;
    meta.contains_key("identity").map_err(io)
}

/// Any error of the database.
pub(super) fn io(error: fjall::Error) -> Error {
    Error::Io(match error {
        fjall::Error::Io(error) => error.to_string(),
        fjall::Error::Poisoned => "an earlier write or sync failed".into(),
        other => format!("{other:?}"),
    })
}

/// The entry of an iterator.
pub(super) fn entry<T: DeserializeOwned>(guard: Guard) -> Result<T> {
    from_json(&guard.value().map_err(io)?)
}

/// The id that ends a key.
pub(super) fn id_at_end(key: &[u8]) -> Result<Id> {
    match key.last_chunk::<16>() {
        Some(bytes) => Ok(Id::from_bytes(*bytes)),
        None => Err(Error::Io(format!("a key of {} bytes has no id in it", key.len()))),
    }
}

pub(super) fn schedule_key(service: &ServiceKey, action: &str) -> Vec<u8> {
    [service.as_str().as_bytes(), &[0], action.as_bytes()].concat()
}

/// The key of a key-value pair; without a key of its own, what those of a service begin with.
pub(super) fn kv_key(service: &ServiceKey, key: &str) -> Vec<u8> {
    [service.as_str().as_bytes(), &[0], key.as_bytes()].concat()
}

/// What keys of grants begin with; the actor follows.
pub(super) const GRANT: &str = "grant/";

pub(super) fn claim_key(door: &str) -> String {
    format!("claim/{door}")
}
