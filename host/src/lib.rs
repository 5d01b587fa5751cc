//! The host: everything that has a clock, a socket or a file.
//!
//! | part | module |
//! |---|---|
//! | components' files and the actors that were loaded, and which of them are in service | `regular_file`, [`package`], [`actors`], [`live`], [`quarantine`] |
//! | blueprints, from their text to what is kept of them | [`apply`], [`applier`] |
//! | new versions of them, while the host runs | [`upgrade`] |
//! | what actors are granted, and where secrets are | [`granting`], [`secrets`] |
//! | jobs: taken from the store, executed, committed | [`dispatcher`] |
//! | recurring actions and retries that fall due | [`scheduler`] |
//! | ways for events to come in | [`door`], [`api`] |
//! | what people see: HTTP API, command line, log | [`api`], [`cli`], [`log`] |
//! | what is counted and measured | [`metrics`] |
//! | all of it together, from start to drain | [`serve`] |

pub mod actors;
pub mod api;
pub mod applier;
pub mod apply;
pub mod cli;
pub mod clock;
pub mod dispatcher;
pub mod door;
pub mod granting;
pub mod guests;
pub mod hub;
pub mod live;
pub mod log;
pub mod metrics;
pub mod package;
pub mod quarantine;
mod regular_file;
pub mod runs;
pub mod scheduler;
pub mod secrets;
pub mod serve;
pub mod store;
pub mod upgrade;
