//! What goes into a store's steps, and what comes out.

use std::sync::Arc;

use ays_core::{
    Id, JsonText, ServiceKey, Timestamp,
    event::NewEvent,
    filter::FilterSet,
    job::{Job, NewJob},
    kv,
    schema::SchemaId,
    service::Links,
    turn::Effect,
};
use serde::{Deserialize, Serialize};

/// What came in by a door, to be accepted in one commit.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Events, to be routed, in order.
    pub events: Vec<NewEvent>,
    /// Jobs asked for by name, as by the command queue's `execute`. Accepted after the events.
    pub jobs: Vec<NewJob>,
    /// What could not be understood.
    pub dead: Vec<NewDeadLetter>,
    /// Which claim of a door this is, if the door takes entries from a queue.
    pub claim: Option<Claim>,
}

/// Entries that a door took from a queue. A door numbers them upwards; what is accepted again, because the host was killed
/// before the door could drop it, or because two hosts have one door, is recognised by its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The door's name.
    pub door: String,
    /// The number of the last entry that was accepted before; 0 if none was.
    pub after: u64,
    /// The number of the last entry of these.
    pub last: u64,
}

/// What became of a [`Batch`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The batch's claim does not follow what the door had accepted last: nothing was done.
    pub repeated: bool,
    /// For each event, in order: its id, and how many jobs it led to.
    pub events: Vec<(Id, u32)>,
    /// For each job, in order: its id. For one that became a dead letter, the letter's.
    pub jobs: Vec<Id>,
    /// The jobs that became dead letters, by their place among the batch's, and why.
    pub refused: Vec<(usize, String)>,
    /// For each dead letter, in order: its id.
    pub dead: Vec<Id>,
}

/// An entry that could not be understood, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDeadLetter {
    /// The door by which it came: `queue`, …
    pub door: String,
    /// Why it could not be understood, and what would be right.
    pub reason: String,
    /// The entry as it came. Bytes that are not UTF-8 are kept, too.
    #[serde(with = "raw")]
    pub raw: Vec<u8>,
}

/// Bytes that are mostly text, in JSON: text as a string, anything else as `{"base64": …}`. A list of numbers would be
/// four times as long.
mod raw {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Text(String),
        Bytes { base64: String },
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.serialize(serializer),
            Err(_) => Raw::Bytes { base64: STANDARD.encode(bytes) }.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Raw::deserialize(deserializer)? {
            Raw::Text(text) => Ok(text.into_bytes()),
            Raw::Bytes { base64 } => STANDARD.decode(base64).map_err(D::Error::custom),
        }
    }
}

/// A letter of the dead-letter list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id; for a job, the job's.
    pub id: Id,
    /// When it came here.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// The job that used up its attempts, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Box<Job>>,
    /// The entry that could not be understood, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<NewDeadLetter>,
}

/// What applying [`Changes`](ays_core::changes::Changes) led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The jobs of creations and updates.
    pub jobs: Vec<Id>,
    /// The runs.
    pub runs: Vec<Id>,
}

/// Jobs of one service, taken for execution.
#[derive(Clone, Debug)]
pub struct Work {
    /// The service.
    pub service: ServiceKey,
    /// Its data as it is before the first of these jobs.
    pub data: JsonText,
    /// The schema that they were written with, if that is known.
    pub schema: Option<SchemaId>,
    /// How many key-value pairs it has before the first of these jobs.
    pub kv: kv::Usage,
    /// Which event filters it has before the first of these jobs.
    pub filters: FilterSet,
    /// The services it is linked to.
    pub links: Arc<Links>,
    /// Their data as it is now, those of `links` that exist; for reading only.
    pub linked: Vec<(ServiceKey, JsonText)>,
    /// The jobs, in order, as `new` or `retrying`; their `attempt` is the number of attempts before this one.
    pub jobs: Vec<Job>,
}

/// An attempt that has ended, to be committed.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The job's record as it is now to be: `ok`, `error`, `cancelled`, or `retrying` with
    /// [`retry_at`](Job::retry_at).
    ///
    /// `ok`: data and effects happen, the record goes to the history. `retrying`: the record replaces the one in the
    /// mailbox. `error`: the record goes to the history and to the dead-letter list. In a final state, a job of a
    /// schedule or of a run moves that on.
    pub job: Job,
    /// The service's new data, if it changed. Void unless `ok`.
    pub data: Option<JsonText>,
    /// What else is to happen, in order. Void unless `ok`.
    pub effects: Vec<Effect>,
    /// The job of the same take whose turn left the data, the key-value pairs or the event filters that this attempt was
    /// made on, if one did. Should that turn turn out void, since its job was cancelled meanwhile, so is this attempt: its job is back in
    /// the mailbox as if it had been released.
    pub after: Option<Id>,
}

/// What a tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticked {
    /// How many occurrences got a job.
    pub occurrences: usize,
    /// When the next occurrence or retry is due, as far as is known now. What changes it wakes takers or makes
    /// [`tick`](crate::Store::tick) due at once, so calling at this time, and at least once a second, is enough.
    pub next_due: Option<Timestamp>,
}

/// What of the history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// For how long after a job has ended, in seconds. History is dropped in pieces, so a job may be kept for up to a
    /// day longer.
    pub age_s: u64,
    /// How many finished jobs at most; up to a quarter more may be kept.
    pub jobs: u64,
}

impl Default for RetentionPolicy {
    /// 30 days, ten million jobs.
    fn default() -> Self {
        Self { age_s: 30 * 86_400, jobs: 10_000_000 }
    }
}

/// How a store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Jobs in mailboxes: new, running, retrying.
    pub pending: u64,
    /// Finished jobs in the history.
    pub history: u64,
    /// Letters in the dead-letter list.
    pub dead: u64,
    /// Services.
    pub services: u64,
    /// Changes that were made durable since the store was opened.
    pub changes: u64,
    /// Commits that this took: writes to the disk (fsync), or calls of a script.
    pub syncs: u64,
    /// How many hosts share the store.
    pub hosts: u64,
    /// How many partitions were taken over from hosts whose lease was over, ever.
    pub takeovers: u64,
    /// How many turns were refused, ever, since their service was another host's by then.
    pub refused_turns: u64,
}
