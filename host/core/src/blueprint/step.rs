//! Steps of a plan, for people and programs.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{EventName, ServiceKey, capability::Granted, schedule::Recurring};

/// One thing that applying blueprints does. Its `Display` is a line for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Step {
    /// A service is created.
    Create {
        /// Which.
        service: ServiceKey,
    },
    /// A field of a service gets another value.
    Change {
        /// Of which service.
        service: ServiceKey,
        /// Which field.
        field: String,
        /// What it is now.
        old: Value,
        /// What it will be.
        new: Value,
    },
    /// A field of a service links it to these services.
    Link {
        /// Which service.
        service: ServiceKey,
        /// Which field.
        field: String,
        /// To which.
        to: Vec<ServiceKey>,
    },
    /// An event filter is set.
    Filter {
        /// On which service.
        service: ServiceKey,
        /// On which events.
        event: EventName,
        /// The action that handles them.
        action: String,
    },
    /// An action recurs from now on.
    Schedule {
        /// On which service.
        service: ServiceKey,
        /// Which action.
        action: String,
        /// How.
        recurring: Recurring,
        /// Actions of the service that must have ended well before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waits_for: Vec<String>,
    },
    /// A run is started.
    Run {
        /// The actions that were asked for.
        action: String,
        /// Its jobs, as `action on service`, step by step.
        jobs: Vec<Vec<String>>,
    },
    /// An actor is granted this: by a blueprint, in place of what blueprints granted it before.
    Grant {
        /// Which actor; `*` for all.
        actor: String,
        /// What.
        granted: Granted,
    },
    /// Something that the blueprints name is as they say already.
    Unchanged {
        /// What.
        what: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { service } => write!(f, "create {service}"),
            Self::Change { service, field, old, new } => write!(f, "change {service}.{field} {old} -> {new}"),
            Self::Link { service, field, to } => {
                let to = if to.is_empty() {
                    "nothing".into()
                } else {
                    crate::problem::list(to.iter().map(ServiceKey::as_str))
                };
                write!(f, "link {service}.{field} -> {to}")
            }
            Self::Filter { service, event, action } => write!(f, "filter {event} -> {service}.{action}"),
            Self::Schedule { service, action, recurring, waits_for } => {
                let word = if recurring.period.fixed().is_some() { "every" } else { "at" };
                write!(f, "schedule {service}.{action} {word} {}", recurring.period)?;
                match waits_for.as_slice() {
                    [] => Ok(()),
                    [one] => write!(f, ", once {one} has ended well"),
                    more => write!(f, ", once {} have ended well", more.join(" and ")),
                }
            }
            Self::Run { action, jobs } => {
                write!(f, "run {action}:")?;
                for (nth, jobs) in jobs.iter().enumerate() {
                    write!(f, "{} {}", if nth == 0 { "" } else { ", then" }, crate::problem::list(jobs))?;
                }
                Ok(())
            }
            Self::Grant { actor, granted } => write!(f, "grant {actor}: {granted}"),
            Self::Unchanged { what } => write!(f, "unchanged: {what}"),
        }
    }
}
