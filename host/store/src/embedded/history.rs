//! The history of finished jobs, in pieces, so that forgetting is dropping a piece and not deleting rows.
//!
//! A piece takes what ends on one day, up to a number of jobs. It has two keyspaces: `history-NUMBER` holds the records
//! by id, `history-NUMBER-index` holds
//!
//! | key | value |
//! |---|---|
//! | service, 0, id | nothing: a finished job of the service |
//! | 0, id | an [`EventRecord`](ays_core::event::EventRecord) that matched nothing |
//! | 1, id | a finished [`Run`](ays_core::run::Run) |

use std::sync::{Arc, Mutex, PoisonError};

use ays_core::{Id, ServiceKey, Timestamp};
use fjall::{Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, Readable};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, id_at_end, io};
use crate::{
    Error, Result, RetentionPolicy,
    record::{from_json, to_json},
};

/// How many rows one call deletes at most from a piece of which only a part is to go.
const TRIM_AT_ONCE: usize = 20_000;

/// What is known of a piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Piece {
    number: u64,
    /// The day on which it was begun, since 1970-01-01 in UTC.
    day: i64,
    /// When the last thing in it ended.
    last_at: Timestamp,
    /// Finished jobs.
    jobs: u64,
    /// Events and runs.
    others: u64,
}

/// The keyspaces of a piece.
#[derive(Clone)]
pub(super) struct Rows {
    number: u64,
    pub(super) records: Keyspace,
    pub(super) index: Keyspace,
}

/// The pieces that there are, oldest first, for readers. A reader must take its snapshot first, then this.
#[derive(Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<Vec<Rows>>>);

impl Pieces {
    /// The keyspaces, youngest first.
    pub(super) fn youngest_first(&self) -> Vec<Rows> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().rev().cloned().collect()
    }
}

pub(super) fn job_key(service: &ServiceKey, id: Id) -> Vec<u8> {
    [service_prefix(service).as_slice(), &id.to_bytes()].concat()
}

pub(super) fn service_prefix(service: &ServiceKey) -> Vec<u8> {
    [service.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn unmatched_key(id: Id) -> [u8; 17] {
    key_of(0, id)
}

pub(super) fn run_key(id: Id) -> [u8; 17] {
    key_of(1, id)
}

fn key_of(kind: u8, id: Id) -> [u8; 17] {
    let mut key = [kind; 17];
    for (to, from) in key.iter_mut().skip(1).zip(id.to_bytes()) {
        *to = from;
    }
    key
}

fn names(number: u64) -> [String; 2] {
    [format!("history-{number}"), format!("history-{number}-index")]
}

fn piece_key(number: u64) -> String {
    format!("piece/{number:020}")
}

/// The history as the writer sees it.
pub(super) struct History {
    disk: Disk,
    /// Oldest first, as `rows`.
    known: Vec<Piece>,
    pub(super) pieces: Pieces,
    /// A piece of this many rows is full.
    most_rows: u64,
}

impl History {
    /// Finds the pieces. What a crash left of one that was being dropped is dropped.
    pub(super) fn open(disk: &Disk, most_rows: u64) -> Result<Self> {
        let mut history =
            Self { disk: disk.clone(), known: Vec::new(), pieces: Pieces::default(), most_rows };
        for guard in disk.meta.prefix("piece/") {
            history.known.push(from_json(&guard.value().map_err(io)?)?);
        }
        let mut rows = Vec::new();
        for piece in &history.known {
            for name in names(piece.number) {
                if !disk.db.keyspace_exists(&name) {
                    return Err(Error::Io(format!("a piece of the history, keyspace `{name}`, is missing")));
                }
            }
            rows.push(history.keyspaces(piece.number)?);
        }
        // What was begun is kept, and taken when the next piece is begun.
        let oldest = history.known.first().map_or(0, |piece| piece.number);
        for name in disk.db.list_keyspace_names() {
            let number =
                name.strip_prefix("history-").and_then(|rest| rest.split('-').next()?.parse::<u64>().ok());
            if number.is_some_and(|number| number < oldest) {
                let keyspace = disk.db.keyspace(&name, KeyspaceCreateOptions::default).map_err(io)?;
                disk.db.delete_keyspace(keyspace).map_err(io)?;
            }
        }
        history.pieces = Pieces(Arc::new(Mutex::new(rows)));
        Ok(history)
    }

    fn keyspaces(&self, number: u64) -> Result<Rows> {
        let open = |name: &str| self.disk.db.keyspace(name, KeyspaceCreateOptions::default).map_err(io);
        let [records, index] = names(number);
        Ok(Rows { number, records: open(&records)?, index: open(&index)? })
    }

    /// Finished jobs in all pieces.
    pub(super) fn jobs(&self) -> u64 {
        self.known.iter().map(|piece| piece.jobs).sum()
    }

    /// The piece to write to, which gets this much more. What the piece is now is put into the batch.
    pub(super) fn grow(
        &mut self,
        jobs: u64,
        others: u64,
        now: Timestamp,
        batch: &mut OwnedWriteBatch,
    ) -> Result<Rows> {
        let open = self.known.last().is_some_and(|piece| {
            now.day() <= piece.day && piece.jobs.saturating_add(piece.others) < self.most_rows
        });
        if !open {
            self.begin(now)?;
        }
        let rows = self.pieces.0.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
        let (Some(piece), Some(rows)) = (self.known.last_mut(), rows) else {
            return Err(Error::Io("the history has no piece".into()));
        };
        piece.jobs += jobs;
        piece.others += others;
        piece.last_at = piece.last_at.max(now);
        batch.insert(&self.disk.meta, piece_key(piece.number), to_json(piece)?);
        Ok(rows)
    }

    /// Begins a piece.
    fn begin(&mut self, now: Timestamp) -> Result<()> {
        let number = self.known.last().map_or(1, |piece| piece.number + 1);
        let rows = self.keyspaces(number)?;
        self.known.push(Piece { number, day: now.day(), last_at: now, jobs: 0, others: 0 });
        self.pieces.0.lock().unwrap_or_else(PoisonError::into_inner).push(rows);
        Ok(())
    }

    /// Takes out of `known` what the policy does not keep, and puts that into the batch; [`drop_pieces`](Self::drop_pieces) is to
    /// follow once the batch is durable.
    pub(super) fn retain(
        &mut self,
        policy: RetentionPolicy,
        now: Timestamp,
        batch: &mut OwnedWriteBatch,
    ) -> Result<()> {
        // From now on pieces are small enough that dropping whole ones keeps the number within a tenth of the policy's.
        self.most_rows = self.most_rows.min((policy.jobs / 10).max(1000));
        let age_ms = i64::try_from(policy.age_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        let mut kept = self.jobs();
        let is_old = |piece: &Piece| now.millis().saturating_sub(piece.last_at.millis()) > age_ms;
        // The youngest piece is never dropped; should it be old, there is first a younger one. In fjall 3.1 the
        // number of a dropped keyspace is given to the next one if it was the highest, and if the database is opened in
        // between, that next one is taken for dropped later on and deleted with all that is in it, since sequence
        // numbers start again before those that the dropping took.
        if self
            .known
            .last()
            .is_some_and(|piece| piece.jobs + piece.others > 0 && (is_old(piece) || policy.jobs == 0))
        {
            self.begin(now)?;
            if let Some(piece) = self.known.last() {
                batch.insert(&self.disk.meta, piece_key(piece.number), to_json(piece)?);
            }
        }
        while let [oldest, _, ..] = self.known.as_slice() {
            let old = is_old(oldest);
            let many = kept.saturating_sub(oldest.jobs) >= policy.jobs;
            if !(old || many) {
                break;
            }
            kept = kept.saturating_sub(oldest.jobs);
            batch.remove(&self.disk.meta, piece_key(oldest.number));
            self.known.remove(0);
        }
        let most = policy.jobs.saturating_add(policy.jobs / 4);
        if kept > most {
            self.trim(usize::try_from(kept - policy.jobs).unwrap_or(usize::MAX), batch)?;
        }
        Ok(())
    }

    /// Deletes the oldest rows of the oldest piece: for a piece that was begun under a more generous policy.
    fn trim(&mut self, jobs: usize, batch: &mut OwnedWriteBatch) -> Result<()> {
        #[derive(Deserialize)]
        struct Whose {
            service: ServiceKey,
        }
        let Some(piece) = self.known.first_mut() else { return Ok(()) };
        let rows = self.pieces.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rows) = rows.iter().find(|rows| rows.number == piece.number) else { return Ok(()) };
        for guard in self.disk.snapshot().iter(&rows.records).take(jobs.min(TRIM_AT_ONCE)) {
            let (key, value) = guard.into_inner().map_err(io)?;
            let job: Whose = from_json(&value)?;
            batch.remove(&rows.index, job_key(&job.service, id_at_end(&key)?));
            batch.remove(&rows.records, key);
            piece.jobs = piece.jobs.saturating_sub(1);
        }
        batch.insert(&self.disk.meta, piece_key(piece.number), to_json(piece)?);
        Ok(())
    }

    /// Drops the keyspaces of pieces that are not known any more.
    pub(super) fn drop_pieces(&mut self) -> Result<()> {
        let gone: Vec<Rows> = {
            let mut rows = self.pieces.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = |row: &Rows| self.known.iter().any(|piece| piece.number == row.number);
            let gone = rows.iter().filter(|row| !known(row)).cloned().collect();
            rows.retain(known);
            gone
        };
        for rows in gone {
            self.disk.db.delete_keyspace(rows.records).map_err(io)?;
            self.disk.db.delete_keyspace(rows.index).map_err(io)?;
        }
        Ok(())
    }
}
