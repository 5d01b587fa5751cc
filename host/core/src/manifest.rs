//! The manifest: what an actor says it is.

use serde::{Deserialize, Serialize};

pub use crate::limits::{LimitPolicy, Limits, Unit, WantedLimits};
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
