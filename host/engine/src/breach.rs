//! Why a guest was stopped, and what wasmtime's errors mean.

use std::fmt;

use ays_core::{
    job::{Failure, FailureKind},
    limits::{exceeded, raised},
    manifest::Limits,
};
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// The frames of a backtrace that are kept: a guest that recurses without end has as many as its stack holds.
const FRAMES: usize = 32;

/// An error of the host's own, by which a host function, the limiter or the epoch callback stops a guest.
#[derive(Debug)]
pub(crate) struct Breach {
    kind: FailureKind,
    message: String,
    /// The name of the limit that was met, if it is one that an actor can ask for.
    limit: Option<&'static str>,
}

impl Breach {
    pub(crate) fn error(kind: FailureKind, message: impl Into<String>) -> Error {
        Error::from(Self { kind, message: message.into(), limit: None })
    }

    /// A breach of a limit, by its name in the manifest. `what` says how much was used.
    pub(crate) fn of(limit: &'static str, what: impl fmt::Display, most: u64) -> Error {
        let kind = match limit {
            "cpu_ms" => FailureKind::Cpu,
            "wall_ms" => FailureKind::Wall,
            "memory_bytes" => FailureKind::Memory,
            _ => FailureKind::Limit,
        };
        Error::from(Self { kind, message: exceeded(limit, what, most), limit: Some(limit) })
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Breach {}

/// What a job's call that ended with an error means for the job, which had these limits.
pub(crate) fn failure(error: &Error, limits: &Limits) -> Failure {
    let (failure, limit) = read(error, limits);
    match limit {
        Some(limit) => Failure { message: format!("{}; {}", failure.message, raised(limit)), ..failure },
        None => failure,
    }
}

/// The same for a component that was to describe itself: its limits are the host's, and raised nowhere.
pub(crate) fn failure_to_describe(error: &Error, limits: &Limits) -> Failure {
    read(error, limits).0
}

fn read(error: &Error, limits: &Limits) -> (Failure, Option<&'static str>) {
    let (kind, message, limit) = if let Some(breach) = error.downcast_ref::<Breach>() {
        (breach.kind, breach.message.clone(), breach.limit)
    } else if let Some((limit, what, most)) = wasmtime_limit(error, limits) {
        (FailureKind::Limit, exceeded(limit, what, most), Some(limit))
    } else if error.is::<PoolConcurrencyLimitError>() {
        (FailureKind::Host, format!("the host has no room for another instance now: {error}"), None)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (FailureKind::Trap, describe(*trap), None)
    } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        (FailureKind::Trap, format!("the guest called exit({})", exit.0), None)
    } else {
        (FailureKind::Trap, error.root_cause().to_string(), None)
    };
    let failure = Failure { backtrace: frames(error), ..Failure::new(kind, message) };
    (Failure { limit: limit.map(str::to_owned), ..failure }, limit)
}

/// The limits that wasmtime keeps by itself tell of a breach by their words alone. Returns the limit, what was used, and the
/// most that may be.
fn wasmtime_limit(error: &Error, limits: &Limits) -> Option<(&'static str, String, u64)> {
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        let most = limits.hostcall_bytes;
        // It stops at the first piece that is too much, and does not say how much that and the rest are.
        let what = format!("handed over at least {} bytes in one call", most.saturating_add(1));
        Some(("hostcall_bytes", what, most))
    } else if cause.contains("store handle limit exceeded")
        || cause.contains("resource table has no free keys")
    {
        let most = limits.handles;
        Some(("handles", format!("asked for {} handles at a time", most.saturating_add(1)), most))
    } else if let Some(asked) = cause.strip_prefix("requested len ") {
        let asked = asked.split_once(' ').map_or(asked, |(asked, _)| asked);
        Some(("random_bytes", format!("asked for {asked} random bytes in one call"), limits.random_bytes))
    } else {
        None
    }
}

fn describe(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "the guest executed `unreachable`, as a panic does".into(),
        Trap::StackOverflow => "the guest's call stack is exhausted: it recursed too deep".into(),
        other => other.to_string(),
    }
}

/// The wasm frames, innermost first, as `module!function (file:line)`.
fn frames(error: &Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let mut lines: Vec<String> = trace
        .frames()
        .iter()
        .take(FRAMES)
        .map(|frame| {
            let module = frame.module().name().unwrap_or("wasm");
            let function = match frame.func_name() {
                Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
                None => format!("function {}", frame.func_index()),
            };
            let place = frame.symbols().iter().find_map(|s| Some((s.file()?, s.line()?)));
            match place {
                Some((file, line)) => format!("{module}!{function} ({file}:{line})"),
                None => format!("{module}!{function}"),
            }
        })
        .collect();
    let more = trace.frames().len().saturating_sub(FRAMES);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine, Instance, Module, PoolingAllocationConfig, Store};

    use super::*;

    #[test]
    fn a_full_pool_is_the_hosts_trouble() {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(1).total_memories(1).total_tables(1).total_stacks(1);
        let mut config = Config::new();
        config.allocation_strategy(pool);
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, b"\0asm\x01\0\0\0").unwrap();
        let mut store = Store::new(&engine, ());
        Instance::new(&mut store, &module, &[]).unwrap();
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        let failure = failure(&error, &Limits::default());
        assert_eq!(failure.kind, FailureKind::Host);
        assert!(failure.message.starts_with("the host has no room for another instance now"), "{failure:?}");
    }
}
