//! Why a guest was stopped, and what wasmtime's errors mean.

use std::fmt;

use ays_core::job::{Failure, FailureKind};
use wasmtime::{Error, Trap, WasmBacktrace};

/// The frames of a backtrace that are kept: a guest that recurses without end has as many as its stack holds.
const FRAMES: usize = 32;

/// An error of the host's own, by which a host function, the limiter or the epoch callback stops a guest.
#[derive(Debug)]
pub(crate) struct Breach {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    /// The name of the limit that was met, if it is one that an actor can ask for.
    limit: Option<&'static str>,
}

impl Breach {
    pub(crate) fn error(kind: FailureKind, message: impl Into<String>) -> Error {
        Error::from(Self { kind, message: message.into(), limit: None })
    }

    /// A breach of a limit, by its name in the manifest. `message` says the limit and how much was used.
    pub(crate) fn of(limit: &'static str, kind: FailureKind, message: impl Into<String>) -> Error {
        Error::from(Self { kind, message: message.into(), limit: Some(limit) })
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Breach {}

/// What a job's call that ended with an error means for the job.
pub(crate) fn failure(error: &Error) -> Failure {
    let (failure, limit) = read(error);
    match limit {
        Some(limit) => Failure { message: format!("{}; {}", failure.message, raise(limit)), ..failure },
        None => failure,
    }
}

/// The same for a component that was to describe itself: its limits are the host's, and raised nowhere.
pub(crate) fn failure_to_describe(error: &Error) -> Failure {
    read(error).0
}

/// Where a limit of jobs is raised, for the end of a sentence.
pub(crate) fn raise(limit: &str) -> String {
    format!(
        "the actor's manifest can ask for another `{limit}`, up to the host's ceiling (`--ceiling {limit}=AMOUNT`)"
    )
}

fn read(error: &Error) -> (Failure, Option<&'static str>) {
    let (kind, message, limit) = if let Some(breach) = error.downcast_ref::<Breach>() {
        (breach.kind, breach.message.clone(), breach.limit)
    } else if let Some((limit, what)) = wasmtime_limit(error) {
        (FailureKind::Limit, format!("{what} (limit `{limit}`)"), Some(limit))
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

/// The limits that wasmtime keeps by itself tell of a breach by their words alone.
fn wasmtime_limit(error: &Error) -> Option<(&'static str, String)> {
    let cause = error.root_cause().to_string();
    let limit = if cause.contains("fuel allocated for hostcalls has been exhausted") {
        return Some(("hostcall_bytes", "handed the host more bytes in one call than it may".into()));
    } else if cause.contains("store handle limit exceeded")
        || cause.contains("resource table has no free keys")
    {
        "handles"
    } else if cause.starts_with("requested len") {
        "random_bytes"
    } else {
        return None;
    };
    Some((limit, cause))
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
