//! Linear memory, tables and instances.

use ays_core::job::FailureKind;
use wasmtime::ResourceLimiter;

use crate::breach::Breach;

/// What one instance of a component may have of each; a guest of the usual toolchains has one memory and about four
/// core instances and tables.
pub(crate) const CORE_INSTANCES: u32 = 32;
pub(crate) const MEMORIES: u32 = 4;
pub(crate) const TABLES: u32 = 32;
/// Elements of all tables together.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// Counts linear memory over all memories of an instance. A guest that asks for more than its limit is stopped: a
/// `memory.grow` that just fails would look like an abort of the guest's own.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    memory_limit: u64,
    memory: u64,
    table_elements: usize,
}

impl Limiter {
    pub(crate) fn new(memory_limit: u64) -> Self {
        Self { memory_limit, ..Self::default() }
    }

    pub(crate) fn set_limit(&mut self, memory_limit: u64) {
        self.memory_limit = memory_limit;
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
            let message = format!(
                "asked for {asked} bytes of linear memory in all; its limit `memory_bytes` is {}",
                self.memory_limit
            );
            return Err(Breach::error(FailureKind::Memory, message));
        }
        self.memory = asked;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let asked = self.table_elements.saturating_add(desired.saturating_sub(current));
        if asked > TABLE_ELEMENTS {
            let message = format!("asked for {asked} table elements in all; {TABLE_ELEMENTS} are the most");
            return Err(Breach::error(FailureKind::Limit, message));
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
