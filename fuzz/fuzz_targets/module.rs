//! Modules of wasm-smith's, wrapped into an actor: its job ends within small limits.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../actor.rs"]
mod actor;

fuzz_target!(|seed: &[u8]| {
    if let Some(wasm) = ays_hostile::generated(seed) {
        actor::survives(&wasm);
    }
});
