//! wasmtime, wrapped: what ays-host needs of it, and nothing else.
//!
//! Three nouns: an [`Engine`] loads components and keeps what they share; an [`Actor`] is one loaded component with
//! its manifest; an [`Instance`] is a running copy of it that executes one [`Invocation`] at a time and returns a
//! [`Turn`](ays_core::turn::Turn).
//!
//! A turn is data: what a guest does through the host's functions is appended to the turn and nothing else happens,
//! whatever becomes of it. Each interface of `wit/actor.wit` has one file in `capability`.
//!
//! What a guest may do beyond its own service is its [`Outside`]: each call is held against what its actor asks for and is
//! granted. Requests to other hosts happen at once, since they cannot be taken back.
//!
//! Limits hold from the first instruction: linear memory by a limiter, CPU and wall time by epochs and a timer (see
//! [`Limits`](ays_core::manifest::Limits)), log, data and events where they pass through the host. A breach ends the job
//! with its [`FailureKind`](ays_core::job::FailureKind).

mod actor;
mod bindings;
mod breach;
mod cache;
mod capability;
mod clock;
mod compiler;
mod config;
mod engine;
mod epochs;
mod imports;
mod instance;
mod limiter;
mod log_buffer;
mod meter;
mod migrate;
mod state;

pub use actor::{Actor, Compiled};
pub use cache::CodeCache;
pub use capability::{HttpLimits, KeyValues, Outbound, Outside, Pairs, Secrets};
pub use clock::Clock;
pub use compiler::{ChildCompiler, ChildError, CompileLimits, Compiler, WALL_PER_CPU, compile_in_child};
pub use engine::{Engine, LoadError, Options, Pooling};
pub use epochs::EPOCH;
pub use instance::{Instance, Invocation};
pub use meter::thread_cpu;
