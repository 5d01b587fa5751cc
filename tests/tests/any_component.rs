//! Whatever bytes a component has: it is refused, or its job ends within its limits.
//!
//! The same as the fuzz targets `component` and `module` do for long, for some seconds and on stable Rust: everything in
//! the table of hostile components that is quick, changed at random, and modules of wasm-smith's.

use std::sync::LazyLock;

use ays_core::manifest::Limits;
use ays_engine::{Engine, Options};
use ays_hostile::{Outcome, corpus, generated};
use proptest::{prelude::*, strategy::ValueTree as _};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    ays_alone::engine(&Options { instances: 16, component_bytes: 1 << 20, ..Options::default() })
});

fn survives(wasm: &[u8]) -> bool {
    let limits = Limits { cpu_ms: 50, wall_ms: 100, memory_bytes: 4 << 20, ..Limits::default() };
    ays_alone::survives(&ENGINE, wasm, limits)
}

static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let quick = |outcome| {
        !matches!(
            outcome,
            Outcome::Refused("CPU time" | "--compile-memory" | "--compile-seconds" | "--compile-" | "")
        )
    };
    corpus()
        .into_iter()
        .filter(|hostile| quick(hostile.outcome) && hostile.bytes.len() < 64 << 10)
        .map(|hostile| hostile.bytes)
        .collect()
});

/// A seed with some bytes replaced, a piece left out, and a piece of another put in.
fn changed() -> impl Strategy<Value = Vec<u8>> {
    let place = any::<prop::sample::Index>;
    let bytes = proptest::collection::vec((place(), any::<u8>()), 0..4);
    (place(), bytes, place(), 0usize..40, place(), place(), 0usize..40).prop_map(
        |(seed, bytes, cut, length, other, from, taken)| {
            let mut wasm = seed.get(&SEEDS).clone();
            for (at, byte) in bytes {
                if !wasm.is_empty() {
                    let at = at.index(wasm.len());
                    wasm[at] = byte;
                }
            }
            if wasm.len() > length {
                let at = cut.index(wasm.len() - length);
                wasm.drain(at..at + length);
                let other = other.get(&SEEDS);
                if other.len() > taken {
                    let from = from.index(other.len() - taken);
                    wasm.splice(at..at, other[from..from + taken].iter().copied());
                }
            }
            wasm
        },
    )
}

/// `AYS_TEST_CASES` tries more.
fn cases() -> u32 {
    ays_tests::chance::setting("AYS_TEST_CASES", 200).try_into().expect("fewer would do")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_component_gets_the_host_into_trouble(wasm in changed()) {
        survives(&wasm);
    }

    #[test]
    fn no_bytes_get_the_host_into_trouble(wasm in any::<Vec<u8>>(), header in any::<bool>()) {
        let header: &[u8] = if header { b"\0asm\x0d\0\x01\0" } else { b"" };
        survives(&[header, &wasm].concat());
    }
}

#[test]
fn no_module_of_wasm_smiths_gets_the_host_into_trouble() {
    let mut runner = proptest::test_runner::TestRunner::default();
    let seeds = proptest::collection::vec(any::<u8>(), 4096);
    let mut loaded = 0;
    for _ in 0..cases() / 3 {
        let seed = seeds.new_tree(&mut runner).unwrap().current();
        loaded += usize::from(generated(&seed).is_some_and(|wasm| survives(&wasm)));
    }
    assert!(loaded > 5, "only {loaded} were loaded: the generator makes nothing that runs");
}
