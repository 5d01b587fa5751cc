//! What wasmtime generates from `wit/actor.wit`.
#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "actor",
    imports: { default: trappable },
    exports: { default: async },
});
