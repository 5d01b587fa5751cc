//! The side of the child: it confines itself, and only then looks at what it is given.

use std::{
    io::{self, Read as _, Write as _},
    num::NonZero,
};

use rustix::{
    process::{Pid, Resource, Rlimit, Signal, getppid, nice, set_parent_process_death_signal, setrlimit},
    thread::set_no_new_privs,
};

use super::CompileLimits;
use crate::config;

/// Address space beside the memory that is counted: the program itself, its threads' stacks and arenas, of which little
/// is ever touched.
const ADDRESS_SPACE_BESIDE: u64 = 8 << 30;

/// Open files: its three pipes, and what the runtime needs.
const FILES: u64 = 16;

/// Why a child did not compile a component.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The bytes are no valid component.
    #[error("{0}")]
    Refused(String),
    /// The process could not do its work.
    #[error("{0}")]
    Failed(String),
}

impl ChildError {
    /// The exit code by which the process that started the child tells them apart.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => REFUSED,
            Self::Failed(_) => 1,
        }
    }
}

/// The exit code of a child that found the component not to be valid; what it says then is for people.
pub(super) const REFUSED: u8 = 3;

/// Reads a component from standard input, and writes its code to standard output. This process is good for nothing else
/// from then on: it can open no more files, and gets no more memory and CPU time than `limits`. It ends with `parent`, the
/// process that started it.
///
/// # Errors
/// [`ChildError`] says what is wrong with the component, or with this machine.
pub fn compile_in_child(limits: &CompileLimits, parent: u32) -> Result<(), ChildError> {
    confine(limits, parent).map_err(|e| ChildError::Failed(format!("cannot confine the compiler: {e}")))?;
    let mut wasm = Vec::new();
    let failed = |what: &str, e: &dyn std::fmt::Display| ChildError::Failed(format!("{what}: {e}"));
    io::stdin().lock().read_to_end(&mut wasm).map_err(|e| failed("cannot read the component", &e))?;
    let engine =
        wasmtime::Engine::new(&config::compiling(true)).map_err(|e| failed("cannot compile here", &e))?;
    let code = engine.precompile_component(&wasm).map_err(|e| ChildError::Refused(format!("{e:#}")))?;
    let mut out = io::stdout().lock();
    out.write_all(&code).and_then(|()| out.flush()).map_err(|e| failed("cannot hand the code over", &e))
}

fn confine(limits: &CompileLimits, parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the line above.
    if getppid().map(Pid::as_raw_pid).and_then(|pid| u32::try_from(pid).ok()) != Some(parent) {
        return Err(io::Error::other("the process that asked for it has ended"));
    }
    set_no_new_privs(true)?;
    // Jobs that run meanwhile come first.
    nice(10)?;
    let address_space = limits.memory_bytes.saturating_add(ADDRESS_SPACE_BESIDE);
    for (resource, most) in [
        (Resource::Data, limits.memory_bytes),
        (Resource::As, address_space),
        (Resource::Cpu, limits.cpu_s),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, FILES),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// The environment of the child: the number of threads, and nothing of the host's.
pub(super) fn environment(threads: NonZero<usize>) -> [(&'static str, String); 1] {
    [("RAYON_NUM_THREADS", threads.to_string())]
}
