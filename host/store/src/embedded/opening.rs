//! Opening a store: who holds it, which version wrote it, and what is in it.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, DirBuilder, File},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Mutex, mpsc},
};

use ays_core::{
    Id, ServiceKey, Timestamp, filter::Subscription, job::JobState, run::Run, schedule::Schedule,
};
use fjall::PersistMode;
use serde::{Deserialize, Serialize};

use super::{
    Embedded, Options, Reading, Shared,
    disk::{Disk, entry, id_at_end, io},
    history::History,
    journal,
    lock::Lock,
    state::State,
    writer::{BeforeWrite, Writer},
};
use crate::{Error, Result, backlog::Later, decide::Known, record::from_json};

/// The format that this version writes. A version that writes another one reads all before it, or says what to do.
const FORMAT: u32 = 1;

/// On Linux this writes the file's length, too, which is all of its metadata that a reader needs.
#[cfg(target_os = "linux")]
pub(super) const SYNC: PersistMode = PersistMode::SyncData;
#[cfg(not(target_os = "linux"))]
pub(super) const SYNC: PersistMode = PersistMode::SyncAll;

/// The content of `format.json`. Only `format` decides; the rest is for people.
#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
    written_by: String,
}

/// What belongs to an open store beside the database, in the order in which it goes.
pub(super) struct Belongings {
    _lock: Lock,
    _folder: Option<tempfile::TempDir>,
}

pub(super) fn open(path: &Path, namespace: &str, options: &Options, now: Timestamp) -> Result<Embedded> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if namespace.is_empty() || namespace.starts_with('.') || !namespace.chars().all(plain) {
        return Err(Error::Conflict(format!(
            "`{namespace}` cannot be a namespace: it takes letters, digits, `-`, `_` and `.`, not first"
        )));
    }
    let folder = path.join(namespace);
    start(&folder, None, namespace, options, now, Some(SYNC), None)
}

pub(super) fn temporary(namespace: &str) -> Result<Embedded> {
    let folder = tempfile::Builder::new().prefix("ays-store-").tempdir();
    let folder = folder.map_err(|error| Error::Io(format!("a temporary folder cannot be made: {error}")))?;
    let path = folder.path().join("store");
    start(&path, Some(folder), namespace, &Options::default(), Timestamp::default(), None, None)
}

pub(super) fn start(
    folder: &Path,
    temporary: Option<tempfile::TempDir>,
    namespace: &str,
    options: &Options,
    now: Timestamp,
    sync: Option<PersistMode>,
    before_write: Option<BeforeWrite>,
) -> Result<Embedded> {
    let at = |error: std::io::Error| Error::Io(format!("{}: {error}", folder.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at)?;
    let lock = Lock::take(folder, now)?;
    check_format(folder)?;
    let database = folder.join("db");
    if database.exists() && !database.join("version").exists() {
        // It was being created when the host was killed, and nothing was in it yet.
        fs::remove_dir_all(&database).map_err(at)?;
    }
    journal::check(&database)?;
    let disk = Disk::open(&database, options.read_cache_bytes)?;
    let identity = identity(&disk, namespace)?;
    let history = History::open(&disk, options.piece_jobs.max(1))?;
    let state = load(&disk, namespace, options)?;
    let reading = Reading { disk: disk.clone(), pieces: history.pieces.clone() };
    let shared = Arc::new(Shared::new(state, reading, history.jobs()));
    let (requests, receiver) = mpsc::channel();
    let belongings = Belongings { _lock: lock, _folder: temporary };
    let writer =
        Writer { shared: shared.clone(), disk, history, requests: receiver, sync, before_write, belongings };
    let thread = std::thread::Builder::new().name("ays-store".into()).spawn(move || writer.run());
    let thread =
        thread.map_err(|error| Error::Io(format!("the writer's thread cannot be started: {error}")))?;
    Ok(Embedded { shared, requests, identity, writer: Mutex::new(Some(thread)) })
}

/// Refuses what a newer version wrote, and says on a new store what writes it.
fn check_format(folder: &Path) -> Result<()> {
    let path = folder.join("format.json");
    let at = |error: std::io::Error| Error::Io(format!("{}: {error}", path.display()));
    match fs::read(&path) {
        Ok(bytes) => {
            let found: Format = serde_json::from_slice(&bytes).map_err(|error| {
                Error::Version(format!("{} is not what ays-host writes: {error}", path.display()))
            })?;
            if found.format > FORMAT {
                return Err(Error::Version(format!(
                    "the store {} has format {} and was written by {}; this is {}, which reads formats up to {FORMAT}: \
                     start that version or a newer one, or give this one another store",
                    folder.display(),
                    found.format,
                    found.written_by,
                    this_version()
                )));
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if folder.join("db").exists() {
                return Err(Error::Version(format!(
                    "{} has a database but no format.json, which says which version wrote it: restore that file, or \
                     give this host another store",
                    folder.display()
                )));
            }
            let text = serde_json::to_vec(&Format { format: FORMAT, written_by: this_version() })
                .map_err(|error| at(error.into()))?;
            let new = folder.join("format.json.new");
            let written = File::create(&new).and_then(|mut file| {
                file.write_all(&text)?;
                file.sync_all()?;
                fs::rename(&new, &path)?;
                File::open(folder)?.sync_all()
            });
            written.map_err(at)
        }
        Err(error) => Err(at(error)),
    }
}

fn this_version() -> String {
    format!("ays-host {}", env!("CARGO_PKG_VERSION"))
}

/// The store's name for itself; made once.
fn identity(disk: &Disk, namespace: &str) -> Result<String> {
    if let Some(bytes) = disk.meta.get("identity").map_err(io)? {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    let identity = format!("{namespace}-{:016x}{:016x}", random()?, random()?);
    let mut batch = disk.db.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&disk.meta, "identity", identity.as_bytes());
    batch.commit().map_err(io)?;
    Ok(identity)
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::Io(format!("no random number is to be had: {error}")))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A number as it is stored.
pub(super) fn number(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes.try_into().map_err(|_| Error::Io("a number on the disk has not 8 bytes".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

fn load(disk: &Disk, namespace: &str, options: &Options) -> Result<State> {
    let last_id = disk.meta.get("last-id").map_err(io)?.map(|bytes| id_at_end(&bytes)).transpose()?;
    let mut state = State::new(namespace, last_id, random()?, options.job_cache_bytes);
    let mut schedules: HashMap<ServiceKey, BTreeMap<String, Schedule>> = HashMap::new();
    for guard in disk.schedules.iter() {
        let schedule: Schedule = entry(guard)?;
        schedules.entry(schedule.service.clone()).or_default().insert(schedule.action.clone(), schedule);
    }
    for guard in disk.services.iter() {
        let mut known = Known::new(entry(guard)?);
        known.schedules = schedules.remove(&known.service.key).unwrap_or_default();
        state.backlog.insert(known);
        state.counts.services += 1;
    }
    for guard in disk.filters.iter() {
        state.filters.restore(entry::<Subscription>(guard)?);
    }
    for guard in disk.runs.iter() {
        let run: Run = entry(guard)?;
        state.runs.insert(run.id, run);
    }
    for guard in disk.meta.prefix("claim/") {
        let (key, value) = guard.into_inner().map_err(io)?;
        let door = String::from_utf8_lossy(&key).trim_start_matches("claim/").to_owned();
        state.claims.insert(door, number(&value)?);
    }
    for guard in disk.dead.iter() {
        guard.key().map_err(io)?;
        state.counts.dead += 1;
    }
    for guard in disk.pending.iter() {
        let (key, value) = guard.into_inner().map_err(io)?;
        restore(&mut state, id_at_end(&key)?, &value)?;
    }
    Ok(state)
}

/// Puts a job back into its mailbox.
fn restore(state: &mut State, id: Id, record: &[u8]) -> Result<()> {
    /// As much of a job's record as a mailbox has to know.
    #[derive(Deserialize)]
    struct Head {
        service: ServiceKey,
        state: JobState,
        #[serde(default)]
        retry_at: Option<Timestamp>,
        #[serde(default)]
        strict: bool,
    }
    let head: Head = from_json(record)?;
    state.counts.pending += 1;
    if head.state == JobState::Retrying {
        let at = head.retry_at.unwrap_or_default();
        state.backlog.put_later(&head.service, id, Later { at, strict: head.strict });
    } else if let Some(entry) = state.backlog.services.get_mut(&head.service) {
        entry.mailbox.push(id);
    }
    state.backlog.queue(&head.service);
    Ok(())
}
