//! What end-to-end tests stand on: the real binary in a temporary folder, actors compiled by its own `build`, a real
//! `redis-server`.
//!
//! Everything here panics with a message when it fails, as tests do.

pub mod actors;
pub mod chance;
pub mod courier;
pub mod host;
pub mod redis;
pub mod tally;

pub use actors::{actors, courier};
pub use host::{Host, Line};
