//! The Redis command queue: the door that programs written for AYS use.
//!
//! They push JSON objects to a Redis list, `RPUSH db:queue:command '{"command":"event","event":"new_msg_sent",
//! "args":["hello prince"]}'`. The door takes entries from the left, so they are handled in the order in which they
//! were pushed; an entry that was pushed by `LPUSH` comes next, before all that wait. An entry that cannot be understood
//! goes to the dead-letter list with the reason, and the next one is handled.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # async fn example(store: Arc<dyn ays_store::Store>) -> Result<(), Box<dyn std::error::Error>> {
//! use ays_host::door::command_queue::{CommandQueue, Config};
//!
//! let config: Config = "redis://127.0.0.1:6379/0#db:queue:command".parse()?;
//! let queue = CommandQueue::new(config, store);
//! let status = queue.status();
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! tokio::spawn(queue.run(shutdown.clone()));
//! println!("{} entries accepted", status.get().accepted);
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! An entry is in exactly one place at any moment, whenever the host, Redis or both are killed: in the queue, in the
//! *claim* of one store, or in the store. None is lost and none is accepted twice, as long as Redis itself keeps what
//! it was given.
//!
//! 1. The door waits for an entry, and moves it from the queue into its claim (`BLMOVE`).
//! 2. `claim.lua` fills the claim up and *seals* it: each entry gets a number, higher than all before.
//! 3. The store accepts the entries in one durable commit with the number of the last of them. Where more than a batch
//!    waits, the next one is claimed meanwhile.
//! 4. The next `claim.lua` drops what was accepted, and so does the last one, when the door closes.
//!
//! A host that is killed finds the seal when it comes back, and asks the store for the last number it accepted: entries
//! up to that one are there already, those after it are not. The seal also fixes which entries a number stands for, so
//! two hosts on one store may read one queue, and a `BLMOVE` that comes late, from a connection that was thought dead,
//! does no harm: its entry is behind the seal and belongs to a later batch.
//!
//! | key | type | |
//! |---|---|---|
//! | `KEY` | list | the queue |
//! | `KEY:claim:STORE` | list | what the store with this [identity](ays_store::Store::identity) has claimed |
//! | `KEY:claim:STORE:state` | hash | the seal: `first`, the number of the first entry, and `count`; `next`, the number after those that were ever sealed; `door`, the name under which the store counts these numbers |
//! | `KEY:claims` | set | the keys of all claims on this queue |
//!
//! In a cluster, the last three begin with `{KEY}` instead, unless `KEY` has a `{…}` itself: only keys of one hash slot can
//! be used together there.
//!
//! A claim that another store has left behind is never taken: whether that store accepted its entries only that store
//! knows. One warning says how many entries it holds and how to return them to the queue.

mod backoff;
mod claims;
mod config;
mod intake;
mod reading;
mod status;
mod trouble;

pub use config::{Config, DEFAULT_KEY, InvalidConfig};
pub use reading::CommandQueue;
pub use status::{Status, StatusReader, Stranded};
