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
}

impl Breach {
    pub(crate) fn error(kind: FailureKind, message: impl Into<String>) -> Error {
        Error::from(Self { kind, message: message.into() })
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Breach {}

/// What a call that ended with an error means for the job.
pub(crate) fn failure(error: &Error) -> Failure {
    let (kind, message) = if let Some(breach) = error.downcast_ref::<Breach>() {
        (breach.kind, breach.message.clone())
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (FailureKind::Trap, describe(*trap))
    } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        (FailureKind::Trap, format!("the guest called exit({})", exit.0))
    } else {
        (FailureKind::Trap, error.root_cause().to_string())
    };
    Failure { backtrace: frames(error), ..Failure::new(kind, message) }
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
