//! What the two embedded databases that were to choose from do with the store's way of writing: two synced commits
//! for each batch of 256 jobs. The first puts a mailbox record of 300 bytes for each job, the second takes these out,
//! puts a history record of 500 bytes and an index entry for each, and new data of the 100 services.
//!
//! `cargo bench -p ays-store --bench databases [-- JOBS]`; without a number, a million jobs.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "it measures time"
)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use fjall::{KeyspaceCreateOptions, PersistMode};
use redb::{ReadableDatabase, ReadableTableMetadata, TableDefinition};

const BATCH: u64 = 256;
const SERVICES: u64 = 100;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let jobs = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000);
    for (name, run) in [("redb", redb as fn(&Path, u64) -> Result<Vec<Duration>, Failed>), ("fjall", fjall)] {
        // Not in /tmp, which may be in memory.
        let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
        let start = Instant::now();
        let mut commits = run(folder.path(), jobs)?;
        let seconds = start.elapsed().as_secs_f64();
        commits.sort();
        let at = |share: usize| commits.get(commits.len() * share / 1000).copied().unwrap_or_default();
        println!(
            "{name:5} {jobs} jobs: {:6.0} jobs/s; a commit took {:?}, 99 % {:?}, 99.9 % {:?}",
            jobs as f64 / seconds,
            at(500),
            at(990),
            at(999)
        );
    }
    Ok(())
}

fn record(id: u64, len: usize) -> Vec<u8> {
    let mut text =
        format!("{{\"id\":\"{id:026}\",\"service\":\"actconsumer__{}\",", id % SERVICES).into_bytes();
    let mut noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while text.len() < len {
        noise = noise.rotate_left(13).wrapping_mul(5).wrapping_add(id);
        text.extend_from_slice(format!("{noise:x}").as_bytes());
    }
    text.truncate(len);
    text
}

fn key(id: u64) -> [u8; 16] {
    u128::from(id).to_be_bytes()
}

fn index_key(id: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&(id % SERVICES).to_be_bytes());
    key[8..].copy_from_slice(&u128::from(id).to_be_bytes());
    key
}

fn redb(folder: &Path, jobs: u64) -> Result<Vec<Duration>, Failed> {
    const PENDING: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pending");
    const HISTORY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("history");
    const INDEX: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("index");
    const SERVICE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("services");
    let db = redb::Database::builder().set_cache_size(256 << 20).create(folder.join("redb"))?;
    let mut took = Vec::new();
    for first in (0..jobs).step_by(BATCH as usize) {
        let start = Instant::now();
        let write = db.begin_write()?;
        {
            let mut pending = write.open_table(PENDING)?;
            for id in first..first + BATCH {
                pending.insert(key(id).as_slice(), record(id, 300).as_slice())?;
            }
        }
        write.commit()?;
        took.push(start.elapsed());
        let start = Instant::now();
        let write = db.begin_write()?;
        {
            let mut pending = write.open_table(PENDING)?;
            let mut history = write.open_table(HISTORY)?;
            let mut index = write.open_table(INDEX)?;
            let mut services = write.open_table(SERVICE)?;
            for id in first..first + BATCH {
                pending.remove(key(id).as_slice())?;
                history.insert(key(id).as_slice(), record(id, 500).as_slice())?;
                index.insert(index_key(id).as_slice(), [].as_slice())?;
            }
            for service in 0..SERVICES {
                services.insert(service.to_be_bytes().as_slice(), record(first + service, 300).as_slice())?;
            }
        }
        write.commit()?;
        took.push(start.elapsed());
    }
    let read = db.begin_read()?;
    assert_eq!(read.open_table(PENDING)?.len()?, 0);
    Ok(took)
}

fn fjall(folder: &Path, jobs: u64) -> Result<Vec<Duration>, Failed> {
    let db = fjall::Database::builder(folder.join("fjall")).manual_journal_persist(true).open()?;
    let pending = db.keyspace("pending", KeyspaceCreateOptions::default)?;
    let history = db.keyspace("history", KeyspaceCreateOptions::default)?;
    let index = db.keyspace("index", KeyspaceCreateOptions::default)?;
    let services = db.keyspace("services", KeyspaceCreateOptions::default)?;
    let mut took = Vec::new();
    for first in (0..jobs).step_by(BATCH as usize) {
        let start = Instant::now();
        let mut batch = db.batch().durability(Some(PersistMode::SyncData));
        for id in first..first + BATCH {
            batch.insert(&pending, key(id), record(id, 300));
        }
        batch.commit()?;
        took.push(start.elapsed());
        let start = Instant::now();
        let mut batch = db.batch().durability(Some(PersistMode::SyncData));
        for id in first..first + BATCH {
            batch.remove(&pending, key(id));
            batch.insert(&history, key(id), record(id, 500));
            batch.insert(&index, index_key(id), []);
        }
        for service in 0..SERVICES {
            batch.insert(&services, service.to_be_bytes(), record(first + service, 300));
        }
        batch.commit()?;
        took.push(start.elapsed());
    }
    assert!(pending.first_key_value().is_none());
    Ok(took)
}
