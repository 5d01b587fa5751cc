//! The model of ays-host and every decision it takes.
//!
//! Pure: functions here take state and input and return decisions. There is no clock, no IO, no randomness and no
//! async; who calls hands in the time ([`Timestamp`]) and, where chance is wanted, a number. So all of it can be tested
//! with tables, properties and simulated time.
//!
//! | subject | module |
//! |---|---|
//! | names, ids, times, JSON text | [`name`], [`id`], [`time`], [`json`] |
//! | what an actor says it is, and which version of it is meant | [`manifest`], [`schema`], [`hrd`], [`digest`] |
//! | what an actor may do | [`capability`] |
//! | what people and programs write | [`blueprint`], [`command`], [`problem`] |
//! | what there is: services, event filters, schedules, jobs | [`service`], [`filter`], [`schedule`], [`job`] |
//! | what comes in | [`event`] |
//! | what a job did | [`turn`], [`kv`] |
//! | what happens next | [`routing`], [`retry`], [`run`], [`changes`] |
//! | what a new version of an actor means for its services | [`upgrade`] |
//! | who does it, where several hosts share a namespace | [`partition`] |

pub mod blueprint;
pub mod capability;
pub mod changes;
pub mod command;
pub mod digest;
pub mod event;
pub mod filter;
pub mod hrd;
pub mod id;
pub mod job;
pub mod json;
pub mod kv;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod partition;
pub mod problem;
pub mod retry;
pub mod routing;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod service;
pub mod time;
pub mod turn;
pub mod upgrade;

pub use digest::Digest;
pub use id::Id;
pub use json::JsonText;
pub use name::{ActorName, EventName, ServiceKey};
pub use time::Timestamp;
