//! Loads a component by an engine in this process, and runs its action `go` under small limits.

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

struct SystemClock(Instant);

impl Clock for SystemClock {
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
    // A small pool: sanitizers take address space themselves.
    let ceiling = Limits { memory_bytes: 64 << 20, ..Limits::CEILING };
    let options = Options { instances: 4, ceiling, component_bytes: 1 << 20, ..Options::default() };
    Engine::new(&options, Arc::new(SystemClock(Instant::now())), None).expect("wasmtime starts")
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
        http: Arc::new(Outbound::new(HttpLimits::default(), Arc::new(SystemClock(Instant::now())))),
        secrets: Arc::new(Nothing),
    }
}

/// Does so, and checks what must hold of any component.
pub fn tried(wasm: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    runtime.block_on(async {
        let actor = match ENGINE.load(wasm).await {
            Ok(actor) => actor,
            Err(LoadError::Compiler(why)) => panic!("not the component's fault: {why}"),
            Err(why) => return assert!(!why.to_string().is_empty()),
        };
        let limits = Limits { cpu_ms: 20, wall_ms: 50, memory_bytes: 4 << 20, ..Limits::default() };
        let Ok(mut instance) = actor.instantiate(&limits).await else { return };
        let new = NewJob {
            service: "g__s".parse().expect("it is a key"),
            action: "go".into(),
            args: JsonText::parse("[1]").expect("it is JSON"),
            cause: Cause::Api { door: "fuzz".into() },
            patch: None,
        };
        let service = new.service.clone();
        let job = Job::accepted(new, Id::from_bytes([1; 16]), "fuzz", Timestamp::from_millis(0));
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
    });
}
