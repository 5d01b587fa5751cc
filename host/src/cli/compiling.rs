//! How components are compiled: what the commands that load them have in common, and the process that does it.

use std::{num::NonZero, path::PathBuf, process::ExitCode, thread::available_parallelism};

use ays_engine::{ChildCompiler, CompileLimits, Compiler, Options, compile_in_child};

use super::size;

/// Flags of the commands that load components.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Compiling {
    /// The greatest component that is loaded: bytes, or with KiB, MiB, GiB
    #[arg(long, value_name = "SIZE", env = "AYS_COMPONENT_SIZE", default_value = "64MiB", value_parser = size::parse)]
    pub(super) component_size: u64,
    /// How much memory compiling a component may take, in a process of its own
    #[arg(long, value_name = "SIZE", env = "AYS_COMPILE_MEMORY", default_value = "2GiB", value_parser = size::parse)]
    compile_memory: u64,
    /// How much CPU time, in seconds; it may take four times as long by the clock
    #[arg(long, value_name = "SECONDS", env = "AYS_COMPILE_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    compile_seconds: u64,
}

/// More threads than this would take memory from each other.
const MOST_THREADS: usize = 8;

impl Compiling {
    /// The engine's options, for so many instances.
    pub(super) fn options(&self, instances: u32) -> Options {
        self.with_threads(instances, cores())
    }

    /// The same, for a host: half of the cores are left to the jobs that run meanwhile.
    pub(super) fn beside_jobs(&self, instances: u32) -> Options {
        self.with_threads(instances, cores().div_ceil(2))
    }

    fn with_threads(&self, instances: u32, threads: usize) -> Options {
        let limits = CompileLimits { memory_bytes: self.compile_memory, cpu_s: self.compile_seconds };
        // This very program, also when its file has been replaced meanwhile.
        let program = PathBuf::from("/proc/self/exe");
        let args = vec![COMMAND.into()];
        let threads = NonZero::new(threads.min(MOST_THREADS)).unwrap_or(NonZero::<usize>::MIN);
        let compiler = Compiler::Child(ChildCompiler { program, args, limits, threads });
        Options { instances, component_bytes: self.component_size, compiler, ..Options::default() }
    }
}

fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// The command of the process that compiles.
pub(super) const COMMAND: &str = "compile-component";

/// What the process that compiles is told: see [`CompileLimits::arguments`].
#[derive(Debug, clap::Args)]
pub(super) struct Child {
    memory_bytes: u64,
    cpu_s: u64,
    parent: u32,
}

/// Compiles standard input to standard output.
pub(super) fn child(child: &Child) -> ExitCode {
    let limits = CompileLimits { memory_bytes: child.memory_bytes, cpu_s: child.cpu_s };
    match compile_in_child(&limits, child.parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}
