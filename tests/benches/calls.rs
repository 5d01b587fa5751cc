//! What a call costs: a bare wasmtime loop, a resident instance without limits and with all of them, and a fresh one, doing
//! the same call.
//!
//! They take turns in one run, so that a busy machine troubles all of them alike; the ratios are what counts. The
//! call reads the service's data, logs a line, emits an event and writes the data back (`four_calls` of the probe).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ays_core::{
    Id, JsonText, ServiceKey, Timestamp,
    capability::Grants,
    job::{Cause, Job, NewJob},
    manifest::Limits,
    service::Links,
};
use ays_engine::{Actor, Clock, Engine, HttpLimits, Instance, Invocation, Options, Outbound, Outside};
use ays_host::secrets::Sources;
use wasmtime::{
    Store,
    component::{Component, HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bare {
    wasmtime::component::bindgen!({ path: "../wit", world: "actor", exports: { default: async } });
}

use bare::ays::actor::{capabilities, events, log, schedules, secrets, service, types};

const DATA: &str = r#"{"count":0,"seen":[],"blob":""}"#;
const ROUNDS: usize = 15;
const RESIDENT_CALLS: u32 = 5000;
const FRESH_CALLS: u32 = 500;

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::UNIX_EPOCH.elapsed().expect("the clock is after 1970");
        Timestamp::from_millis(since.as_millis() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// The least a host can do: strings in, strings out, nothing checked, nothing limited.
struct Bare {
    data: String,
    emitted: Vec<(String, String)>,
    lines: Vec<String>,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Bare {
    fn new() -> Self {
        let (wasi, table) = (WasiCtx::builder().build(), ResourceTable::new());
        Self { data: DATA.into(), emitted: Vec::new(), lines: Vec::new(), wasi, table }
    }
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for Bare {}

impl service::Host for Bare {
    fn key(&mut self) -> String {
        "probe__p".into()
    }
    fn data(&mut self) -> String {
        self.data.clone()
    }
    fn set_data(&mut self, data: String) -> Result<(), types::Error> {
        self.data = data;
        Ok(())
    }
    fn parent(&mut self) -> Option<service::Linked> {
        None
    }
    fn producers(&mut self, _: String) -> Vec<service::Linked> {
        Vec::new()
    }
}

impl events::Host for Bare {
    fn emit(&mut self, event: String, args: String) -> Result<(), types::Error> {
        self.emitted.push((event, args));
        Ok(())
    }
    fn set_filter(&mut self, _: events::Filter, _: Option<String>) -> Result<(), types::Error> {
        Ok(())
    }
    fn remove_filter(&mut self, _: events::Filter) -> Result<(), types::Error> {
        Ok(())
    }
}

impl schedules::Host for Bare {
    fn set(&mut self, _: String, _: String, _: schedules::Missed) -> Result<(), types::Error> {
        Ok(())
    }
    fn remove(&mut self, _: String) -> Result<(), types::Error> {
        Ok(())
    }
}

impl log::Host for Bare {
    fn log(&mut self, _: log::Level, message: String) {
        self.lines.push(message);
    }
}

impl secrets::Host for Bare {
    fn get(&mut self, _: String) -> Result<String, types::Error> {
        Ok(String::new())
    }
}

impl capabilities::Host for Bare {
    fn denial(&mut self) -> Option<String> {
        None
    }
}

struct Ours {
    data: JsonText,
    links: Arc<Links>,
    linked: Arc<[(ServiceKey, JsonText)]>,
    actor: Arc<Actor>,
    job: Job,
    key: ServiceKey,
    limits: Limits,
    outside: Outside,
}

impl Ours {
    async fn instance(&self) -> Instance {
        self.actor.instantiate(&self.limits).await.expect("the probe starts")
    }

    async fn call(&self, instance: &mut Instance) {
        let turn = instance
            .run(Invocation {
                manifest: self.actor.manifest(),
                job: &self.job,
                service: &self.key,
                data: self.data.clone(),
                links: &self.links,
                linked: &self.linked,
                limits: self.limits,
                outside: &self.outside,
            })
            .await;
        turn.outcome.expect("the call succeeds");
        assert_eq!((turn.data.is_some(), turn.effects.len(), turn.logs.len()), (true, 1, 1));
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    runtime.block_on(bench());
}

async fn bench() {
    let wasm = std::fs::read(ays_tests::actors().join("probe.wasm")).expect("the probe was built");
    let clock = Arc::new(SystemClock(Instant::now()));
    let engine = Engine::new(&Options::default(), clock, None).expect("wasmtime starts");
    let new = NewJob {
        service: "probe__p".parse().expect("it is a key"),
        action: "four_calls".into(),
        args: JsonText::parse(r#"["hello"]"#).expect("it is JSON"),
        cause: Cause::Api { door: "bench".into() },
        patch: None,
    };
    let key = new.service.clone();
    let mut job = Job::accepted(new, Id::from_bytes([1; 16]), "bench", Timestamp::from_millis(0));
    job.attempt = 1;
    let actor = engine.load(&wasm).await.expect("it is an actor");
    let clock = Arc::new(SystemClock(Instant::now()));
    let outside = Outside {
        access: Arc::new(Grants::default().access(actor.manifest())),
        http: Arc::new(Outbound::new(HttpLimits::default(), clock)),
        secrets: Arc::new(Sources::default()),
    };
    let ours = Ours {
        data: JsonText::parse(DATA).expect("it is JSON"),
        links: Arc::default(),
        linked: Arc::from([]),
        actor,
        job,
        key,
        limits: Limits::default(),
        outside,
    };

    let unlimited = Options { unlimited: true, ..Options::default() };
    let clock = Arc::new(SystemClock(Instant::now()));
    let unlimited = Engine::new(&unlimited, clock, None).expect("wasmtime starts");
    let unlimited = unlimited.load(&wasm).await.expect("it is an actor");
    let mut free = unlimited.instantiate(&ours.limits).await.expect("the probe starts");

    let config = wasmtime::Config::new();
    let bare_engine = wasmtime::Engine::new(&config).expect("wasmtime starts");
    let component = Component::from_binary(&bare_engine, &wasm).expect("it is a component");
    let mut linker = Linker::<Bare>::new(&bare_engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI links");
    bare::Actor::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).expect("the imports link");
    let pre =
        bare::ActorPre::new(linker.instantiate_pre(&component).expect("it links")).expect("it is an actor");
    let given = types::Job {
        id: ours.job.id.to_string(),
        args: ours.job.args.as_str().into(),
        attempt: 1,
        cause: r#"{"kind":"api","door":"bench"}"#.into(),
        created_at: 0,
    };

    let mut bare_store = Store::new(&bare_engine, Bare::new());
    let bare_instance = pre.instantiate_async(&mut bare_store).await.expect("it starts");
    let mut resident = ours.instance().await;
    let (mut bare_times, mut free_times) = (Vec::new(), Vec::new());
    let (mut resident_times, mut fresh_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..RESIDENT_CALLS {
            let state = bare_store.data_mut();
            state.data = DATA.into();
            state.emitted.clear();
            state.lines.clear();
            let result = bare_instance.call_run(&mut bare_store, "four_calls", &given).await;
            result.expect("no trap").expect("no failure");
        }
        bare_times.push(began.elapsed() / RESIDENT_CALLS);

        let began = Instant::now();
        for _ in 0..RESIDENT_CALLS {
            ours.call(&mut free).await;
        }
        free_times.push(began.elapsed() / RESIDENT_CALLS);

        let began = Instant::now();
        for _ in 0..RESIDENT_CALLS {
            ours.call(&mut resident).await;
        }
        resident_times.push(began.elapsed() / RESIDENT_CALLS);

        let began = Instant::now();
        for _ in 0..FRESH_CALLS {
            ours.call(&mut ours.instance().await).await;
        }
        fresh_times.push(began.elapsed() / FRESH_CALLS);
    }
    let bare = median(&mut bare_times);
    let limits = median(&mut resident_times).as_secs_f64() / median(&mut free_times).as_secs_f64();
    println!("\na call with four host calls, median of {ROUNDS} rounds ({:?})", engine.pooling());
    println!("{:<24} {:>10} {:>8}", "", "µs", "ratio");
    for (name, mut times) in [
        ("bare wasmtime loop", bare_times),
        ("resident, no limits", free_times),
        ("resident, all limits", resident_times),
        ("fresh instance", fresh_times),
    ] {
        let time = median(&mut times);
        println!(
            "{name:<24} {:>10.2} {:>7.2}×",
            time.as_secs_f64() * 1e6,
            time.as_secs_f64() / bare.as_secs_f64()
        );
    }
    println!("all limits together: {limits:.2}×");
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
