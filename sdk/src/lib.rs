//! Write actors for ays-host in Rust.
//!
//! An actor is a struct with the data of its services, and methods that are its actions:
//!
//! ```
//! use ays_sdk::prelude::*;
//!
//! #[derive(Serialize, Deserialize, Schema)]
//! struct Producer {
//!     #[schema(default = "hello prince")]
//!     msg: String,
//! }
//!
//! #[actor]
//! impl Producer {
//!     #[action]
//!     fn install(&mut self, _job: &Job) -> Result<()> {
//!         events::emit("producer_installed", [""])
//!     }
//!
//!     #[action(recurring = "5s")]
//!     fn send_message(&self, _job: &Job) -> Result<()> {
//!         println!("Sending message {}", self.msg);
//!         events::emit("new_msg_sent", [&self.msg])
//!     }
//! }
//! ```
//!
//! Built with `cargo build --target wasm32-wasip2 --release` as a `cdylib`, it is a component that ays-host loads. It
//! compiles natively as well, for editors and lints, but the calls to the host ([`events`], [`service`], [`schedules`],
//! [`log`], [`http`], [`secrets`], [`kv`]) abort there.
//!
//! **A turn is all or nothing.** What an action does becomes visible in one commit after it has returned `Ok`; of one
//! that fails or panics nothing remains but the job's record and its log lines.
//!
//! The guide with all options is `README.md` beside this crate.

mod actor;
mod args;
mod error;
pub mod events;
pub mod http;
mod job;
pub mod kv;
pub mod log;
pub mod schedules;
pub mod secrets;
pub mod service;

pub use actor::{Actor, Schema};
pub use ays_sdk_macros::{Schema, action, actor, migrate, on};
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use job::{Cause, Job};

// Actors that need no more of them need not depend on them.
pub use serde;
pub use serde_json;

/// What an actor usually needs: `use ays_sdk::prelude::*;`.
///
/// The derives `Serialize` and `Deserialize` in it write code that names the crate `serde`; an actor that depends only
/// on `ays-sdk` adds `#[serde(crate = "ays_sdk::serde")]` to the struct.
pub mod prelude {
    pub use crate::{
        Error, Job, Result, ResultExt, Schema, action, actor, events, http, kv, log, migrate, on, schedules,
        secrets, service,
    };
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};
}

/// The contract with the host, `wit/actor.wit`, as Rust. What actors use are the modules above.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::indexing_slicing, clippy::panic)]
#[allow(unreachable_pub, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "actor",
        pub_export_macro: true,
        default_bindings_module: "::ays_sdk::bindings",
    });
}

/// The optional export `migrate`, as Rust.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::indexing_slicing, clippy::panic)]
#[allow(unreachable_pub, reason = "generated")]
pub mod migrator {
    wit_bindgen::generate!({
        path: "../wit",
        world: "migrator",
        pub_export_macro: true,
        export_macro_name: "export_migrate",
        type_section_suffix: "migrator",
        default_bindings_module: "::ays_sdk::migrator",
    });
}

/// What the macros' code calls. No part of the public interface.
#[doc(hidden)]
pub mod rt {
    pub use crate::actor::{
        Component, Plain, Returned, load, manifest, migrated, reading, text, unknown_action,
        value_from_default, writing,
    };
    pub use crate::args::Args;
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Guide;
