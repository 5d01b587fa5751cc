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
    imports: {
        "ays:actor/kv": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
