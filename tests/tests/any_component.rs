//! Whatever bytes a component has: it is refused, or its job ends within its limits.
//!
//! The same as the fuzz targets `component` and `module` do for long, for some seconds and on stable Rust: everything in
//! the table of hostile components that is quick, changed at random, and modules of wasm-smith's.

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use ays_core::{
    Id, JsonText, Timestamp,
    capability::Grants,
    job::{Cause, Job, NewJob},
    manifest::{Limits, Manifest},
};
use ays_engine::{Clock, Engine, HttpLimits, Invocation, LoadError, Options, Outbound, Outside, Secrets};
use ays_hostile::{Outcome, corpus, generated};
use proptest::{prelude::*, strategy::ValueTree as _};

struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let options = Options { instances: 16, component_bytes: 1 << 20, ..Options::default() };
    Engine::new(&options, Arc::new(TestClock(Instant::now())), None).unwrap()
});

/// No secrets at all.
struct Nothing;

impl Secrets for Nothing {
    fn get(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn places(&self, _: &str) -> String {
        "nowhere".into()
    }
}

/// What an actor has that is granted nothing.
fn outside(manifest: &Manifest) -> Outside {
    Outside {
        access: Arc::new(Grants::default().access(manifest)),
        http: Arc::new(Outbound::new(HttpLimits::default(), Arc::new(TestClock(Instant::now())))),
        secrets: Arc::new(Nothing),
    }
}

/// Loads it and runs its action `go`. Returns whether it was loaded.
fn tried(wasm: &[u8]) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let actor = match ENGINE.load(wasm).await {
            Ok(actor) => actor,
            Err(LoadError::Compiler(why)) => panic!("not the component's fault: {why}"),
            Err(why) => {
                assert!(!why.to_string().is_empty());
                return false;
            }
        };
        let limits = Limits { cpu_ms: 50, wall_ms: 100, memory_bytes: 4 << 20, ..Limits::default() };
        let Ok(mut instance) = actor.instantiate(&limits).await else { return true };
        let new = NewJob {
            service: "g__s".parse().unwrap(),
            action: "go".into(),
            args: JsonText::parse("[1]").unwrap(),
            cause: Cause::Api { door: "test".into() },
            patch: None,
        };
        let service = new.service.clone();
        let job = Job::accepted(new, Id::from_bytes([1; 16]), "test", Timestamp::from_millis(0));
        let outside = outside(actor.manifest());
        let turn = instance
            .run(Invocation {
                manifest: actor.manifest(),
                job: &job,
                service: &service,
                data: JsonText::empty_object(),
                links: &Arc::default(),
                linked: &Arc::from([]),
                limits,
                outside: &outside,
            })
            .await;
        assert!(turn.usage.peak_memory_bytes <= limits.memory_bytes);
        assert!(turn.usage.cpu_us < 5_000_000, "{} µs", turn.usage.cpu_us);
        true
    })
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
        tried(&wasm);
    }

    #[test]
    fn no_bytes_get_the_host_into_trouble(wasm in any::<Vec<u8>>(), header in any::<bool>()) {
        let header: &[u8] = if header { b"\0asm\x0d\0\x01\0" } else { b"" };
        tried(&[header, &wasm].concat());
    }
}

#[test]
fn no_module_of_wasm_smiths_gets_the_host_into_trouble() {
    let mut runner = proptest::test_runner::TestRunner::default();
    let seeds = proptest::collection::vec(any::<u8>(), 4096);
    let mut loaded = 0;
    for _ in 0..cases() / 3 {
        let seed = seeds.new_tree(&mut runner).unwrap().current();
        loaded += usize::from(generated(&seed).is_some_and(|wasm| tried(&wasm)));
    }
    assert!(loaded > 5, "only {loaded} were loaded: the generator makes nothing that runs");
}
