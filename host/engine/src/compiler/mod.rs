//! Where components are parsed, validated and compiled.
//!
//! All of that is work on a stranger's bytes by a large body of code, and some bytes make it expensive: a few hundred KiB
//! can ask for gigabytes and minutes. So a host has it done by a process of its own, under limits that the kernel keeps
//! ([`ChildCompiler`]), and takes nothing from it but the code. That code is trusted as what the same compiler makes in
//! the host's own process would be: a fault of the compiler that made wrong code is as bad here as there.

mod child;
mod process;

use std::{ffi::OsString, num::NonZero, path::PathBuf};

pub use self::child::{ChildError, compile_in_child};
pub(crate) use self::process::compile;

/// Where components are parsed, validated and compiled.
#[derive(Clone, Debug, Default)]
pub enum Compiler {
    /// In this process, without limits: for components that are trusted, as in tests.
    #[default]
    InProcess,
    /// In a process for each component.
    Child(ChildCompiler),
}

/// A program that compiles a component: it reads it from standard input and writes the code to standard output, by
/// [`compile_in_child`].
#[derive(Clone, Debug)]
pub struct ChildCompiler {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments. [`CompileLimits::arguments`] follow.
    pub args: Vec<OsString>,
    /// What it may use.
    pub limits: CompileLimits,
    /// How many threads compile one component: as many of the cores are busy with it.
    pub threads: NonZero<usize>,
}

/// What compiling one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Memory of the process, in bytes.
    pub memory_bytes: u64,
    /// CPU time, over all its threads, in seconds. It is stopped as well after [`WALL_PER_CPU`] times that.
    pub cpu_s: u64,
}

/// How much longer compiling may take by the clock than by the CPU: the machine may be busy.
pub const WALL_PER_CPU: u64 = 4;

impl Default for CompileLimits {
    /// 2 GiB and a minute: several times what a Python interpreter of 20 MiB takes.
    fn default() -> Self {
        Self { memory_bytes: 2 << 30, cpu_s: 60 }
    }
}

impl CompileLimits {
    /// The arguments by which the program is told of them, and of the process that started it: `MEMORY CPU PARENT`.
    pub fn arguments(&self, parent: u32) -> [String; 3] {
        [self.memory_bytes.to_string(), self.cpu_s.to_string(), parent.to_string()]
    }
}
