//! An actor run in the process of a test or benchmark: no host, no store, nothing granted.

mod nothing;

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use ays_core::{
    Id, JsonText, Timestamp,
    capability::Grants,
    filter::FilterSet,
    job::{Cause, Job, NewJob},
    manifest::Limits,
    turn::Turn,
};
use ays_engine::{
    Actor, Clock, Engine, HttpLimits, Instance, Invocation, LoadError, Options, Outbound, Outside, Pairs,
};

use crate::nothing::Nothing;

/// The machine's clock.
#[derive(Debug)]
pub struct WallClock(Instant);

impl WallClock {
    /// As the engine takes it.
    pub fn start() -> Arc<dyn Clock> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().expect("the clock is after 1970");
        Timestamp::from_millis(i64::try_from(since.as_millis()).expect("it is before the year 292 million"))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// An engine that compiles in this process and keeps no cache.
pub fn engine(options: &Options) -> Engine {
    Engine::new(options, WallClock::start(), None).expect("wasmtime starts")
}

/// A service of an actor, with one job that is executed again and again on the same data.
#[derive(Debug)]
pub struct Alone {
    actor: Arc<Actor>,
    job: Job,
    data: JsonText,
    limits: Limits,
    outside: Outside,
    pairs: Pairs,
}

impl Alone {
    /// The job is to execute `action` with `args`. `args` and `data` are JSON.
    pub fn new(actor: Arc<Actor>, (action, args): (&str, &str), data: &str, limits: Limits) -> Self {
        let new = NewJob {
            service: "alone__a".parse().expect("it is a key"),
            action: action.into(),
            args: JsonText::parse(args).expect("args are JSON"),
            cause: Cause::Api { door: "test".into() },
            patch: None,
        };
        let mut job = Job::accepted(new, Id::from_bytes([1; 16]), "test", Timestamp::from_millis(0));
        job.attempt = 1;
        let outside = Outside {
            access: Arc::new(Grants::default().access(actor.manifest())),
            http: Arc::new(Outbound::new(HttpLimits::default(), WallClock::start())),
            secrets: Arc::new(Nothing),
        };
        let data = JsonText::parse(data).expect("data are JSON");
        Self { actor, job, data, limits, outside, pairs: Pairs::new(Arc::new(Nothing), Default::default()) }
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Executes the job.
    pub async fn call(&self, instance: &mut Instance) -> Turn {
        instance
            .run(Invocation {
                manifest: self.actor.manifest(),
                job: &self.job,
                service: &self.job.service,
                data: self.data.clone(),
                links: &Arc::default(),
                linked: &Arc::from([]),
                limits: self.limits,
                outside: &self.outside,
                pairs: &self.pairs,
                filters: &FilterSet::default(),
            })
            .await
    }
}

/// Loads any bytes and, if they are an actor, executes its action `go`, checking what must hold of all components. Returns
/// whether it was loaded.
///
/// # Panics
/// If that does not hold.
pub fn survives(engine: &Engine, wasm: &[u8], limits: Limits) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    runtime.block_on(async {
        let actor = match engine.load(wasm).await {
            Ok(actor) => actor,
            Err(LoadError::Compiler(why)) => panic!("not the component's fault: {why}"),
            Err(why) => {
                assert!(!why.to_string().is_empty(), "a component is refused without a word");
                return false;
            }
        };
        let Ok(mut instance) = actor.instantiate(&limits).await else { return true };
        let alone = Alone::new(actor, ("go", "[1]"), "{}", limits);
        let used = alone.call(&mut instance).await.usage;
        assert!(used.peak_memory_bytes <= limits.memory_bytes, "{} bytes", used.peak_memory_bytes);
        // Far beyond what is allowed, since the machine may be busy.
        assert!(used.cpu_us < 5_000_000 + limits.cpu_ms * 1000, "{} µs", used.cpu_us);
        true
    })
}
