//! What a call costs: a bare wasmtime loop, a resident instance without limits and with all of them, and a fresh one, doing
//! the same call.
//!
//! They take turns in one run, so that a busy machine troubles all of them alike; the ratios are what counts. The
//! call reads the service's data, logs a line, emits an event and writes the data back (`four_calls` of the probe).

use std::time::{Duration, Instant};

use ays_alone::Alone;
use ays_core::manifest::Limits;
use ays_engine::{Instance, Options};
use wasmtime::{
    Store,
    component::{Component, HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bare {
    wasmtime::component::bindgen!({ path: "../wit", world: "actor", exports: { default: async } });
}

use bare::ays::actor::{capabilities, events, kv, log, schedules, secrets, service, types};

const DATA: &str = r#"{"count":0,"seen":[],"blob":""}"#;
const ROUNDS: usize = 15;
const RESIDENT_CALLS: u32 = 5000;
const FRESH_CALLS: u32 = 500;

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

impl kv::Host for Bare {
    fn get(&mut self, _: String) -> Result<Option<Vec<u8>>, types::Error> {
        Ok(None)
    }
    fn set(&mut self, _: String, _: Vec<u8>) -> Result<(), types::Error> {
        Ok(())
    }
    fn delete(&mut self, _: String) -> Result<(), types::Error> {
        Ok(())
    }
    fn keys(&mut self, _: String, _: Option<String>, _: u32) -> Result<Vec<String>, types::Error> {
        Ok(Vec::new())
    }
}

impl capabilities::Host for Bare {
    fn denial(&mut self) -> Option<String> {
        None
    }
}

async fn call(service: &Alone, instance: &mut Instance) {
    let turn = service.call(instance).await;
    turn.outcome.expect("the call succeeds");
    assert_eq!((turn.data.is_some(), turn.effects.len(), turn.logs.len()), (true, 1, 1));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
    runtime.block_on(bench());
}

async fn bench() {
    let wasm = std::fs::read(ays_tests::actors().join("probe.wasm")).expect("the probe was built");
    let limits = Limits::default();
    let engine = ays_alone::engine(&Options::default());
    let actor = engine.load(&wasm).await.expect("it is an actor");
    let ours = Alone::new(actor.clone(), ("four_calls", r#"["hello"]"#), DATA, limits);

    let unlimited = ays_alone::engine(&Options { unlimited: true, ..Options::default() });
    let unlimited = unlimited.load(&wasm).await.expect("it is an actor");
    let mut free = unlimited.instantiate(&limits).await.expect("the probe starts");

    let config = wasmtime::Config::new();
    let bare_engine = wasmtime::Engine::new(&config).expect("wasmtime starts");
    let component = Component::from_binary(&bare_engine, &wasm).expect("it is a component");
    let mut linker = Linker::<Bare>::new(&bare_engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI links");
    bare::Actor::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state).expect("the imports link");
    let pre =
        bare::ActorPre::new(linker.instantiate_pre(&component).expect("it links")).expect("it is an actor");
    let given = types::Job {
        id: ours.job().id.to_string(),
        args: ours.job().args.as_str().into(),
        attempt: 1,
        cause: r#"{"kind":"api","door":"bench"}"#.into(),
        created_at: 0,
    };

    let mut bare_store = Store::new(&bare_engine, Bare::new());
    let bare_instance = pre.instantiate_async(&mut bare_store).await.expect("it starts");
    let mut resident = actor.instantiate(&limits).await.expect("the probe starts");
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
            call(&ours, &mut free).await;
        }
        free_times.push(began.elapsed() / RESIDENT_CALLS);

        let began = Instant::now();
        for _ in 0..RESIDENT_CALLS {
            call(&ours, &mut resident).await;
        }
        resident_times.push(began.elapsed() / RESIDENT_CALLS);

        let began = Instant::now();
        for _ in 0..FRESH_CALLS {
            call(&ours, &mut actor.instantiate(&limits).await.expect("the probe starts")).await;
        }
        fresh_times.push(began.elapsed() / FRESH_CALLS);
    }
    let bare = median(&mut bare_times);
    let cost = median(&mut resident_times).as_secs_f64() / median(&mut free_times).as_secs_f64();
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
    println!("all limits together: {cost:.2}×");
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
