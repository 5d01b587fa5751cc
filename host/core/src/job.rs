//! Jobs: one execution of one action on one service.

use serde::{Deserialize, Serialize};

use crate::{Id, JsonText, ServiceKey, Timestamp, schema::SchemaId};

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its service.
    New,
    /// Is being executed.
    Running,
    /// Succeeded; its turn is committed.
    Ok,
    /// Failed, and waits for its next attempt.
    Retrying,
    /// Failed for good; it is in the dead-letter list.
    Error,
    /// Cancelled before it succeeded.
    Cancelled,
}

impl JobState {
    /// Whether nothing more happens to the job by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ok | Self::Error | Self::Cancelled)
    }
}

/// Why a job exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Cause {
    /// An event filter matched.
    Event {
        /// The event's id.
        id: Id,
        /// Its name as sent.
        event: String,
        /// How many events led to it; 0 for one from outside.
        #[serde(default)]
        depth: u32,
        /// The last steps of a chain that has become suspiciously long, as `service action -> event`; see
        /// [`event::trail`](crate::event::trail).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trail: Vec<String>,
    },
    /// A recurring action was due.
    Schedule {
        /// The occurrence's due time.
        due_at: Timestamp,
        /// The next occurrence's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_at: Option<Timestamp>,
    },
    /// Part of a run.
    Run {
        /// The run's id.
        id: Id,
        /// Which of its steps, from 0.
        step: u32,
    },
    /// The service was created, or its data changed by a blueprint.
    Init {
        /// The blueprint's file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blueprint: Option<String>,
    },
    /// Asked for by a client, through the API or an `execute` entry of the command queue.
    Api {
        /// The door: `http`, `queue`, …
        door: String,
    },
}

impl Cause {
    /// How deep in a chain of events the job is.
    pub fn depth(&self) -> u32 {
        match self {
            Self::Event { depth, .. } => depth.saturating_add(1),
            _ => 0,
        }
    }

    /// The same without its trail, which names services that a guest need not know.
    pub fn for_guest(&self) -> std::borrow::Cow<'_, Self> {
        match self {
            Self::Event { id, event, depth, trail } if !trail.is_empty() => {
                std::borrow::Cow::Owned(Self::Event {
                    id: *id,
                    event: event.clone(),
                    depth: *depth,
                    trail: Vec::new(),
                })
            }
            _ => std::borrow::Cow::Borrowed(self),
        }
    }

    /// `event`, `schedule`, `run`, `init` or `api`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Event { .. } => "event",
            Self::Schedule { .. } => "schedule",
            Self::Run { .. } => "run",
            Self::Init { .. } => "init",
            Self::Api { .. } => "api",
        }
    }
}

/// What sort of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The action returned it.
    App,
    /// The guest trapped: `unreachable`, a panic, out of bounds, stack exhausted.
    Trap,
    /// It asked for more linear memory than its limit.
    Memory,
    /// It used more CPU time than its limit.
    Cpu,
    /// It took longer than its limit.
    Wall,
    /// It needed a capability that was not granted.
    Denied,
    /// It exceeded another limit.
    Limit,
    /// The host could not do its part, as when the actor's component is missing.
    Host,
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::App => "app",
            Self::Trap => "trap",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Denied => "denied",
            Self::Limit => "limit",
            Self::Host => "host",
        })
    }
}

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort.
    pub kind: FailureKind,
    /// What went wrong, for people.
    pub message: String,
    /// The wasm frames, innermost first, with the functions' names where the component has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
    /// The limit that it met, by its name in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The kind of capability that it was denied: the first word of one, as `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Whether another attempt may succeed.
    #[serde(default = "yes")]
    pub retry: bool,
}

fn yes() -> bool {
    true
}

impl Failure {
    /// A failure without backtrace that may be retried.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message, backtrace: Vec::new(), limit: None, capability: None, retry: true }
    }

    /// How much of what a guest says of a failure is kept, in bytes: it goes into the job's record and the host's log.
    pub const MESSAGE_BYTES: usize = 16 << 10;

    /// A message of which a guest says how long it is: no more of it than [`MESSAGE_BYTES`](Self::MESSAGE_BYTES).
    pub fn cut(mut message: String) -> String {
        if message.len() > Self::MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(Self::MESSAGE_BYTES));
            message.push('…');
        }
        message
    }

    /// The same, for having met this limit.
    #[must_use]
    pub fn of_limit(self, limit: &str) -> Self {
        Self { limit: Some(limit.into()), ..self }
    }

    /// The same, but not to be retried.
    #[must_use]
    pub fn for_good(self) -> Self {
        Self { retry: false, ..self }
    }
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// What happens; the guest's standard output.
    Info,
    /// Out of the ordinary; the guest's standard error.
    Warn,
    /// Wrong.
    Error,
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written.
    pub time: Timestamp,
    /// How important it is.
    pub level: Level,
    /// The line, without its end.
    pub message: String,
}

/// What an attempt cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time, in microseconds.
    pub cpu_us: u64,
    /// Greatest sum of the sizes of all linear memories, in bytes.
    pub peak_memory_bytes: u64,
    /// Calls to the host's functions (those of `ays:actor`).
    pub host_calls: u64,
}

/// A job that is to be: what a decision makes, before a store gives it an id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewJob {
    /// On which service.
    pub service: ServiceKey,
    /// Which action.
    pub action: String,
    /// Its arguments, any JSON.
    pub args: JsonText,
    /// Why.
    pub cause: Cause,
    /// Changes to the service's data that happen with this job. Only a blueprint makes such jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
}

/// Changes to a service's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// An object of the fields to set.
    pub values: JsonText,
    /// The schema by which they were read; the data may be of another one by the time they change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaId>,
}

/// A job and its whole record. Its JSON is what the API shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id; also the idempotency key that the guest sees. Ids grow in order of arrival.
    pub id: Id,
    /// The namespace it belongs to.
    pub namespace: String,
    /// On which service.
    pub service: ServiceKey,
    /// Which action.
    pub action: String,
    /// Where it is in its life.
    pub state: JobState,
    /// Why it exists.
    pub cause: Cause,
    /// The attempt that is under way or was the last; 0 before the first.
    pub attempt: u32,
    /// Its arguments.
    pub args: JsonText,
    /// What the action returned, once it succeeded.
    #[serde(default, deserialize_with = "crate::json::if_present", skip_serializing_if = "Option::is_none")]
    pub result: Option<JsonText>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What the last attempt logged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When the next attempt is due, while it is `retrying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Whether its service waits for it while it is `retrying` (`order: strict`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// See [`NewJob::patch`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
    /// What the last attempt cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Digest of the component that executed the last attempt, `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<std::sync::Arc<str>>,
}

impl Job {
    /// The record of a job that was just accepted.
    pub fn accepted(new: NewJob, id: Id, namespace: &str, now: Timestamp) -> Self {
        Self {
            id,
            namespace: namespace.into(),
            service: new.service,
            action: new.action,
            state: JobState::New,
            cause: new.cause,
            attempt: 0,
            args: new.args,
            result: None,
            error: None,
            logs: Vec::new(),
            created_at: now,
            started_at: None,
            finished_at: None,
            retry_at: None,
            strict: false,
            patch: new.patch,
            usage: None,
            digest: None,
        }
    }
}
