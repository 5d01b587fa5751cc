//! Components: any bytes are refused, or are an actor whose job ends within small limits.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../actor.rs"]
mod actor;

fuzz_target!(|wasm: &[u8]| actor::survives(wasm));
