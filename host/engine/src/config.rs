//! How wasmtime is set up. Whatever compiles components and whatever runs them must say the same, or the code of one is
//! refused by the other.

use wasmtime::{Config, PoolingAllocationConfig, WasmFeatures};

use crate::{Options, limiter};

/// The stack of a guest, in bytes; one that recurses deeper traps.
pub(crate) const WASM_STACK: usize = 1 << 20;

/// What of WebAssembly a component may use: what toolchains emit without being asked. All else is off, also what a later
/// wasmtime turns on by itself; `docs/sandbox.md` has the reasons, one by one.
const PROPOSALS: [WasmFeatures; 10] = [
    WasmFeatures::FLOATS,
    WasmFeatures::MUTABLE_GLOBAL,
    WasmFeatures::SATURATING_FLOAT_TO_INT,
    WasmFeatures::SIGN_EXTENSION,
    WasmFeatures::MULTI_VALUE,
    WasmFeatures::BULK_MEMORY,
    WasmFeatures::REFERENCE_TYPES,
    WasmFeatures::SIMD,
    WasmFeatures::EXTENDED_CONST,
    WasmFeatures::COMPONENT_MODEL,
];

/// What a compiler needs to know; `limited` is false for [`Options::unlimited`].
pub(crate) fn compiling(limited: bool) -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all(), false);
    for proposal in PROPOSALS {
        config.wasm_features(proposal, true);
    }
    config
        .epoch_interruption(limited)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(WASM_STACK + (1 << 20))
        .memory_init_cow(true)
        .generate_address_map(true);
    config
}

/// Where instances get their memory.
pub(crate) fn pool(options: &Options) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let instances = options.instances;
    // Room for the greatest component in each place: whoever has many memories must not take those of others. The totals
    // are reserved address space, and cost nothing until they are used.
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_core_instances(instances.saturating_mul(limiter::CORE_INSTANCES))
        .total_memories(instances.saturating_mul(limiter::MEMORIES))
        .total_tables(instances.saturating_mul(limiter::TABLES))
        .max_core_instances_per_component(limiter::CORE_INSTANCES)
        .max_memories_per_component(limiter::MEMORIES)
        .max_tables_per_component(limiter::TABLES)
        .max_tables_per_module(8)
        .table_elements(usize::try_from(options.ceiling.table_elements).unwrap_or(usize::MAX))
        .max_memory_size(usize::try_from(options.ceiling.memory_bytes).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(8 << 10);
    pool
}
