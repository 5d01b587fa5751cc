//! Components in an engine that suits a fuzzer.

use std::sync::LazyLock;

use ays_core::manifest::Limits;
use ays_engine::{Engine, Options};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    // A small pool: sanitizers take address space themselves.
    let ceiling = Limits { memory_bytes: 64 << 20, ..Limits::CEILING };
    ays_alone::engine(&Options { instances: 4, ceiling, component_bytes: 1 << 20, ..Options::default() })
});

/// Loads it and runs its action `go` under small limits.
pub fn survives(wasm: &[u8]) {
    let limits = Limits { cpu_ms: 20, wall_ms: 50, memory_bytes: 4 << 20, ..Limits::default() };
    ays_alone::survives(&ENGINE, wasm, limits);
}
