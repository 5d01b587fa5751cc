//! Linear memory, tables and instances.

use ays_core::manifest::Limits;
use wasmtime::ResourceLimiter;

use crate::breach::Breach;

/// What one instance of a component may have of each; a guest of the usual toolchains has one memory and about four
/// core instances and tables.
pub(crate) const CORE_INSTANCES: u32 = 32;
pub(crate) const MEMORIES: u32 = 4;
pub(crate) const TABLES: u32 = 32;
/// Counts linear memory over all memories of an instance. A guest that asks for more than its limit is stopped: a
/// `memory.grow` that just fails would look like an abort of the guest's own.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    memory_limit: u64,
    memory: u64,
    table_limit: u64,
    table_elements: u64,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let mut new = Self::default();
        new.set(limits);
        new
    }

    pub(crate) fn set(&mut self, limits: &Limits) {
        self.memory_limit = limits.memory_bytes;
        self.table_limit = limits.table_elements;
    }

    /// Bytes of linear memory; it never shrinks.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let asked = self.memory.saturating_add(desired.saturating_sub(current) as u64);
        if asked > self.memory_limit {
            let what = format_args!("asked for {asked} bytes of linear memory in all");
            return Err(Breach::of("memory_bytes", what, self.memory_limit));
        }
        self.memory = asked;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let asked = self.table_elements.saturating_add(desired.saturating_sub(current) as u64);
        if asked > self.table_limit {
            let what = format_args!("asked for {asked} table elements in all");
            return Err(Breach::of("table_elements", what, self.table_limit));
        }
        self.table_elements = asked;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}
