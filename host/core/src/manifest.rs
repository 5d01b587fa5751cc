//! The manifest: what an actor says it is.

use serde::{Deserialize, Serialize};

use crate::{
    ActorName,
    capability::Asked,
    filter::EventFilter,
    retry::RetryPolicy,
    schedule::Recurring,
    schema::{Schema, SchemaId},
};

/// The interface that this host offers, as a manifest's `interface` names it.
pub const INTERFACE: &str = "ays:actor@0.1.0";

/// Actions that every actor may have; one that is missing does nothing and succeeds.
pub const STANDARD_ACTIONS: [&str; 18] = [
    "input",
    "init",
    "install",
    "stop",
    "start",
    "monitor",
    "halt",
    "check_up",
    "check_down",
    "check_requirements",
    "cleanup",
    "data_export",
    "data_import",
    "uninstall",
    "removedata",
    "consume",
    "delete",
    "processChange",
];

/// What an actor's `describe` returns. The JSON is documented in `wit/actor.wit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The interface that the component was built for.
    pub interface: String,
    /// What it was built with, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sdk: String,
    /// The actor's name.
    pub name: ActorName,
    /// Its actions.
    pub actions: Vec<ActionSpec>,
    /// The fields of its services' data.
    #[serde(default)]
    pub schema: Schema,
    /// The schema's version: raised with a change of it that `migrate` carries out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub schema_version: u32,
    /// Event filters that each of its services gets when it is created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<EventFilter>,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Asked::is_empty")]
    pub capabilities: Asked,
    /// The limits it asks for, for all its actions.
    #[serde(default, skip_serializing_if = "WantedLimits::is_empty")]
    pub limits: WantedLimits,
    /// How long a warm instance is kept.
    #[serde(default, skip_serializing_if = "Instancing::is_resident")]
    pub instance: Instancing,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Manifest {
    /// Which schema its services' data are written with.
    pub fn schema_id(&self) -> SchemaId {
        self.schema.id(self.schema_version)
    }

    /// The action of this name.
    pub fn action(&self, name: &str) -> Option<&ActionSpec> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// The names of its actions, for messages: `a, b, c`.
    pub fn action_names(&self) -> String {
        self.actions.iter().map(|action| action.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// One action of an actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionSpec {
    /// Its name; case counts.
    pub name: String,
    /// What it does, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When it recurs by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurring: Option<Recurring>,
    /// What happens when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// What the service does while a failed job waits for its next attempt.
    #[serde(default, skip_serializing_if = "Order::is_aside")]
    pub order: Order,
    /// The limits it asks for, where they differ from the actor's.
    #[serde(default, skip_serializing_if = "WantedLimits::is_empty")]
    pub limits: WantedLimits,
}

impl ActionSpec {
    /// An action of this name, with nothing else said.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            recurring: None,
            retry: None,
            order: Order::Aside,
            limits: WantedLimits::default(),
        }
    }
}

/// What the service does while a failed job waits for its next attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// It goes on with its other jobs.
    #[default]
    Aside,
    /// It waits, so that jobs are done strictly in order of arrival.
    Strict,
}

impl Order {
    fn is_aside(&self) -> bool {
        *self == Self::Aside
    }
}

/// How long a warm instance of the component is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instancing {
    /// One for each service, while the service is busy.
    #[default]
    Resident,
    /// A new one for each job.
    Fresh,
}

impl Instancing {
    fn is_resident(&self) -> bool {
        *self == Self::Resident
    }
}

/// Limits that a manifest asks for. What is not said is the host's default; nothing goes above the host's ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WantedLimits {
    /// Linear memory, summed over all memories of an instance, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// CPU time of a job, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Time from a job's start to its end, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// Log lines of a job, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// The service's data, a job's result, and an event's args: each at most this many bytes of JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_bytes: Option<u64>,
    /// Events that a job may emit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
}

impl WantedLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The limits of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, summed over all memories of the instance, in bytes.
    pub memory_bytes: u64,
    /// CPU time, in milliseconds.
    pub cpu_ms: u64,
    /// Time from start to end, in milliseconds.
    pub wall_ms: u64,
    /// Log lines, in bytes.
    pub log_bytes: u64,
    /// Data, result, an event's args: each, in bytes of JSON text.
    pub data_bytes: u64,
    /// Events emitted.
    pub events: u64,
}

impl Default for Limits {
    /// 64 MiB of memory, 10 s of CPU, 60 s of wall time, 256 KiB of log, 1 MiB of data, 1000 events.
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            cpu_ms: 10_000,
            wall_ms: 60_000,
            log_bytes: 256 << 10,
            data_bytes: 1 << 20,
            events: 1000,
        }
    }
}

impl Limits {
    /// The highest a manifest can ask for unless the operator says otherwise: 1 GiB of memory, 1 h of CPU, 24 h of wall
    /// time, 16 MiB of log, 16 MiB of data, 100 000 events.
    pub const CEILING: Self = Self {
        memory_bytes: 1 << 30,
        cpu_ms: 3_600_000,
        wall_ms: 86_400_000,
        log_bytes: 16 << 20,
        data_bytes: 16 << 20,
        events: 100_000,
    };

    /// These, with what `wanted` says put in place, up to the ceiling.
    #[must_use]
    pub fn with(self, wanted: &WantedLimits, ceiling: &Limits) -> Self {
        let pick = |own: u64, wanted: Option<u64>, most: u64| wanted.unwrap_or(own).min(most);
        Self {
            memory_bytes: pick(self.memory_bytes, wanted.memory_bytes, ceiling.memory_bytes),
            cpu_ms: pick(self.cpu_ms, wanted.cpu_ms, ceiling.cpu_ms),
            wall_ms: pick(self.wall_ms, wanted.wall_ms, ceiling.wall_ms),
            log_bytes: pick(self.log_bytes, wanted.log_bytes, ceiling.log_bytes),
            data_bytes: pick(self.data_bytes, wanted.data_bytes, ceiling.data_bytes),
            events: pick(self.events, wanted.events, ceiling.events),
        }
    }
}
