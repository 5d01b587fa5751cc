//! The engine: what all components share.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use ays_core::{
    job::Failure,
    manifest::{INTERFACE, Limits, Manifest},
    name,
};
use ays_package::{COMPONENT_BYTES, section};
use serde_json::Value;
use wasmtime::{
    Config, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, HasSelf, Linker},
};

use crate::{
    Actor, Clock, CodeCache, Compiled, Instance,
    bindings::{self, ActorPre},
    limiter,
    state::State,
};

/// How often guests are looked at: CPU and wall time limits are kept to within this, and guests that compute share
/// the threads in slices of this.
pub const EPOCH: Duration = Duration::from_millis(5);

/// The stack of a guest, in bytes; one that recurses deeper traps.
const WASM_STACK: usize = 1 << 20;

/// Bytes that one call between guest and host may move.
pub(crate) const HOSTCALL_BYTES: usize = 128 << 20;

/// The greatest manifest, in bytes.
const MANIFEST_BYTES: usize = 1 << 20;

/// What `describe` may use.
const DESCRIBE_LIMITS: Limits = Limits {
    memory_bytes: 64 << 20,
    cpu_ms: 2000,
    wall_ms: 10_000,
    log_bytes: 64 << 10,
    data_bytes: 0,
    events: 0,
};

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many instances there can be at a time. Address space is reserved for all of them.
    pub instances: u32,
    /// The most linear memory that any instance may be allowed, in bytes.
    pub memory_ceiling: u64,
}

impl Default for Options {
    /// 1000 instances of up to 1 GiB.
    fn default() -> Self {
        Self { instances: 1000, memory_ceiling: Limits::CEILING.memory_bytes }
    }
}

/// How instances get their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// From a pool that was reserved at the start: fast.
    Pooled,
    /// One by one, since the reservation failed; says why.
    OnDemand(String),
}

/// Why a component was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not a component, or not one for this host; says what it is, and what would be right.
    #[error("{0}")]
    NotAnActor(String),
    /// Its `describe` did not succeed.
    #[error("its `describe` failed ({}): {}", .0.kind, .0.message)]
    Describe(Failure),
    /// Its manifest is not one.
    #[error("its manifest is wrong: {0}")]
    Manifest(String),
    /// The manifest that is written into it is not the one that its code goes by.
    #[error(
        "its manifest is forged: the section `ays:manifest` and what `describe` returns differ in {0}; `ays-host build` \
         writes one that fits"
    )]
    ForgedManifest(String),
}

/// Loads components and keeps what they share: the compiler, the pool, the host's functions, the thread that ends epochs.
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<State>,
    clock: Arc<dyn Clock>,
    pooling: Pooling,
    instances: u32,
    cache: Option<CodeCache>,
}

impl Engine {
    /// Sets up an engine. Where the address space for a pool of instances cannot be had, as under a limit of virtual
    /// memory, instances are allocated one by one; [`pooling`](Self::pooling) says so.
    ///
    /// # Errors
    /// If this machine cannot run wasmtime.
    pub fn new(options: &Options, clock: Arc<dyn Clock>, cache: Option<CodeCache>) -> wasmtime::Result<Self> {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)));
        let (engine, pooling) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, Pooling::Pooled),
            Err(why) => {
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                (wasmtime::Engine::new(&config)?, Pooling::OnDemand(why.to_string()))
            }
        };
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        bindings::Actor::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        let weak = engine.weak();
        thread::Builder::new().name("epochs".into()).spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(EPOCH);
            }
        })?;
        Ok(Self { engine, linker, clock, pooling, instances: options.instances, cache })
    }

    /// How instances get their memory.
    pub fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    /// How many instances there can be at a time.
    pub fn instances(&self) -> u32 {
        self.instances
    }

    /// Loads a component: compiles it, or takes its code from the cache, and asks it for its manifest. Compiling uses the
    /// CPU for up to seconds: call it where that does not stop others.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with it.
    pub async fn load(&self, wasm: &[u8]) -> Result<Arc<Actor>, LoadError> {
        let digest = blake3::hash(wasm);
        let (component, compiled) = self.compile(wasm, &digest)?;
        let not_ours = |error: wasmtime::Error| {
            LoadError::NotAnActor(format!(
                "it does not fit {INTERFACE}: {error:#}. Build it with ays-sdk, or against `wit/actor.wit`"
            ))
        };
        let pre = self.linker.instantiate_pre(&component).map_err(not_ours)?;
        let pre = ActorPre::new(pre).map_err(not_ours)?;
        let (manifest, description) = self.describe(&pre).await?;
        check_section(wasm, &description)?;
        let digest = ays_package::digest(wasm);
        Ok(Arc::new(Actor {
            digest,
            shown_digest: digest.to_string().into(),
            size: wasm.len(),
            manifest: Arc::new(manifest),
            description: description.into(),
            compiled,
            pre,
            clock: self.clock.clone(),
        }))
    }

    fn compile(&self, wasm: &[u8], digest: &blake3::Hash) -> Result<(Component, Compiled), LoadError> {
        check_kind(wasm)?;
        let key = CodeCache::key(&self.engine, digest);
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            // SAFETY: the cache gives only what `put` below stored: it is authenticated with a key that only this user
            // can read. Should wasmtime find it made by another version, it refuses it, and it is compiled again.
            #[allow(unsafe_code, reason = "the one way to load code that was compiled before")]
            let component = unsafe { Component::deserialize(&self.engine, code) };
            if let Ok(component) = component {
                return Ok((component, Compiled::Cached));
            }
        }
        let component = Component::from_binary(&self.engine, wasm)
            .map_err(|e| LoadError::NotAnActor(format!("it is not a valid component: {e:#}")))?;
        if let Some(cache) = &self.cache
            && let Ok(code) = component.serialize()
        {
            cache.put(&key, &code);
        }
        Ok((component, Compiled::Now))
    }

    async fn describe(&self, pre: &ActorPre<State>) -> Result<(Manifest, String), LoadError> {
        let mut instance =
            Instance::new(pre, &self.clock, &DESCRIBE_LIMITS).await.map_err(LoadError::Describe)?;
        let text = instance.describe(&DESCRIBE_LIMITS).await.map_err(LoadError::Describe)?;
        if text.len() > MANIFEST_BYTES {
            let what = format!("it has {} bytes; {MANIFEST_BYTES} are the most", text.len());
            return Err(LoadError::Manifest(what));
        }
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|e| LoadError::Manifest(e.to_string()))?;
        if manifest.interface != INTERFACE {
            return Err(LoadError::Manifest(format!(
                "it is for the interface `{}`; this host offers {INTERFACE}",
                manifest.interface
            )));
        }
        for action in &manifest.actions {
            name::check_action(&action.name).map_err(|e| LoadError::Manifest(e.to_string()))?;
        }
        Ok((manifest, text))
    }
}

/// Whether the manifest that is written into a component, if one is, says what its `describe` says. What people and tools
/// read without running anything, and what the host goes by, must be the same.
fn check_section(wasm: &[u8], description: &str) -> Result<(), LoadError> {
    let Some(section) = section::read(wasm).map_err(|e| LoadError::Manifest(e.to_string()))? else {
        return Ok(());
    };
    let read = |text| serde_json::from_str::<Value>(text).map_err(|e| LoadError::Manifest(e.to_string()));
    let (written, said) = match read(section) {
        Ok(written) => (written, read(description)?),
        Err(_) => return Err(LoadError::ForgedManifest("that the section is not JSON".into())),
    };
    if written == said {
        return Ok(());
    }
    let (empty, none) = (serde_json::Map::new(), Value::Null);
    let (written, said) = (written.as_object().unwrap_or(&empty), said.as_object().unwrap_or(&empty));
    let differs = |key: &&String| written.get(*key).unwrap_or(&none) != said.get(*key).unwrap_or(&none);
    let keys: BTreeSet<_> = written.keys().chain(said.keys()).filter(differs).take(8).collect();
    let shown = |key: &&String| {
        format!("`{}`", key.chars().take(40).flat_map(char::escape_debug).collect::<String>())
    };
    Err(LoadError::ForgedManifest(keys.iter().map(shown).collect::<Vec<_>>().join(", ")))
}

/// Tells what is no component before wasmtime does, in words that help.
fn check_kind(wasm: &[u8]) -> Result<(), LoadError> {
    let not = |what: String| Err(LoadError::NotAnActor(what));
    if wasmtime::Engine::detect_precompiled(wasm).is_some() {
        return not("it is code that was compiled ahead of time; only components (wasm) are loaded".into());
    }
    if wasm.len() > COMPONENT_BYTES {
        return not(format!("it has {} bytes; {COMPONENT_BYTES} are the most", wasm.len()));
    }
    // https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md#component-definitions
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => not(
            "it is a core module, not a component; build it with `cargo build --target wasm32-wasip2`, or wrap it with \
             `wasm-tools component new`"
                .into(),
        ),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        _ => not("it is not WebAssembly: it does not begin with `\\0asm`".into()),
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(WASM_STACK + (1 << 20))
        .memory_init_cow(true)
        .wasm_component_model(true)
        .generate_address_map(true)
        // A stranger's component needs none of these, and each is code of the compiler's that need not be trusted.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    config
}

fn pool(options: &Options) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let instances = options.instances;
    // Up to four core instances and tables are what toolchains make; a component with more is refused by none of these
    // as long as the totals last, and the totals are reserved address space only.
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances.saturating_add(instances / 4))
        .total_tables(instances.saturating_mul(8))
        .max_core_instances_per_component(limiter::CORE_INSTANCES)
        .max_memories_per_component(limiter::MEMORIES)
        .max_tables_per_component(limiter::TABLES)
        .max_tables_per_module(8)
        .table_elements(limiter::TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(options.memory_ceiling).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(8 << 10);
    pool
}
