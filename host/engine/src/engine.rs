//! The engine: what all components share.

use std::{collections::BTreeSet, sync::Arc};

use ays_core::{
    job::{Failure, FailureKind},
    limits::beyond,
    manifest::{INTERFACE, LimitPolicy, Limits, Manifest},
    name,
};
use ays_package::section::{self, SectionError};
use serde_json::Value;
use wasmtime::{
    InstanceAllocationStrategy,
    component::{Component, Linker},
};

use crate::{
    Actor, Clock, CodeCache, Compiled, Compiler, Instance, bindings::ActorPre, breach, compiler, config,
    epochs, imports, state::State,
};

/// The most bytes of code that are taken for each byte that a component may have. Ordinary ones have three.
const CODE_PER_BYTE: u64 = 8;

/// The greatest manifest, in bytes.
const MANIFEST_BYTES: usize = 1 << 20;

/// What `describe` may use.
fn describe_limits() -> Limits {
    Limits {
        cpu_ms: 2000,
        wall_ms: 10_000,
        log_bytes: 64 << 10,
        data_bytes: 0,
        events: 0,
        kv_bytes: 0,
        ..Limits::default()
    }
}

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many instances there can be at a time. Address space is reserved for all of them.
    pub instances: u32,
    /// The most that any instance may be allowed: room for its memory and tables is reserved.
    pub ceiling: Limits,
    /// The greatest component that is loaded, in bytes.
    pub component_bytes: u64,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Keeps no limit of CPU, wall time, memory, tables and calls at all: a guest ends when it likes. Only to measure what
    /// the limits cost, with guests that are trusted.
    #[doc(hidden)]
    pub unlimited: bool,
}

impl Default for Options {
    /// 1000 instances of up to 1 GiB; components of up to 64 MiB, compiled in this process.
    fn default() -> Self {
        Self {
            instances: 1000,
            ceiling: Limits::CEILING,
            component_bytes: 64 << 20,
            compiler: Compiler::InProcess,
            unlimited: false,
        }
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
    /// It is too large, or compiling it takes more than it may; says the limit, what was used, and where to raise it.
    #[error("{0}")]
    Limit(String),
    /// The host could not have it compiled, whatever it is.
    #[error("{0}")]
    Compiler(String),
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

impl LoadError {
    /// It has more than so many bytes.
    pub fn too_large(most: u64) -> Self {
        Self::Limit(format!(
            "it has more than {most} bytes, the most that a component may have; `--component-size` (AYS_COMPONENT_SIZE) \
             allows more"
        ))
    }

    /// Whether it says more of the host than of the component: it may be loaded later as it is.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Compiler(_) => true,
            Self::Describe(failure) => matches!(failure.kind, FailureKind::Host | FailureKind::Wall),
            Self::NotAnActor(_) | Self::Limit(_) | Self::Manifest(_) | Self::ForgedManifest(_) => false,
        }
    }
}

/// Loads components and keeps what they share: the compiler, the pool, the host's functions, the thread that ends epochs.
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<State>,
    clock: Arc<dyn Clock>,
    pooling: Pooling,
    instances: u32,
    component_bytes: u64,
    ceiling: Limits,
    compiler: Compiler,
    limited: bool,
    cache: Option<CodeCache>,
}

impl Engine {
    /// Sets up an engine. Where the address space for a pool of instances cannot be had, as under a limit of virtual
    /// memory, instances are allocated one by one; [`pooling`](Self::pooling) says so.
    ///
    /// # Errors
    /// If this machine cannot run wasmtime.
    pub fn new(options: &Options, clock: Arc<dyn Clock>, cache: Option<CodeCache>) -> wasmtime::Result<Self> {
        let mut config = config::compiling(!options.unlimited);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(config::pool(options)));
        let (engine, pooling) = match wasmtime::Engine::new(&config) {
            Ok(engine) => (engine, Pooling::Pooled),
            Err(why) => {
                config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
                (wasmtime::Engine::new(&config)?, Pooling::OnDemand(why.to_string()))
            }
        };
        let linker = imports::linker(&engine)?;
        epochs::start(&engine)?;
        let Options { instances, ceiling, component_bytes, compiler, unlimited } = options.clone();
        let limited = !unlimited;
        Ok(Self {
            engine,
            linker,
            clock,
            pooling,
            instances,
            component_bytes,
            ceiling,
            compiler,
            limited,
            cache,
        })
    }

    /// How instances get their memory.
    pub fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    /// How many instances there can be at a time.
    pub fn instances(&self) -> u32 {
        self.instances
    }

    /// The greatest component that is loaded, in bytes: no more of a file needs to be read.
    pub fn component_bytes(&self) -> u64 {
        self.component_bytes
    }

    /// Loads a component: compiles it, or takes its code from the cache, and asks it for its manifest. Compiling
    /// [in this process](Compiler::InProcess) uses the CPU for up to seconds: call it where that does not stop others.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with it.
    pub async fn load(&self, wasm: &[u8]) -> Result<Arc<Actor>, LoadError> {
        self.check_kind(wasm)?;
        let section = manifest_section(wasm)?;
        let digest = blake3::hash(wasm);
        let (component, compiled) = self.compile(wasm, &digest).await?;
        let not_ours = |error: wasmtime::Error| {
            LoadError::NotAnActor(format!(
                "it does not fit {INTERFACE}: {error:#}. Build it with ays-sdk, or against `wit/actor.wit`"
            ))
        };
        let pre = self.linker.instantiate_pre(&component).map_err(not_ours)?;
        let pre = ActorPre::new(pre).map_err(not_ours)?;
        let (manifest, description) = self.describe(&pre).await?;
        if let Some(section) = section {
            check_section(section, &description)?;
        }
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
            limited: self.limited,
        }))
    }

    async fn compile(&self, wasm: &[u8], digest: &blake3::Hash) -> Result<(Component, Compiled), LoadError> {
        let key = CodeCache::key(&self.engine, digest);
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.get(&key))
            // Should wasmtime find it made by another version, it refuses it, and it is compiled again.
            && let Ok(component) = self.code(&code)
        {
            return Ok((component, Compiled::Cached));
        }
        let code = match &self.compiler {
            Compiler::InProcess => self
                .engine
                .precompile_component(wasm)
                .map_err(|e| LoadError::NotAnActor(format!("it is not a valid component: {e:#}")))?,
            Compiler::Child(child) => {
                let most = self.component_bytes.saturating_mul(CODE_PER_BYTE);
                compiler::compile(child, wasm, most, &*self.clock).await?
            }
        };
        let component = self.code(&code).map_err(|e| {
            let why = format!("{e:#}");
            // What has no place in the pool is told of by its words alone.
            if why.contains("pooling allocator") {
                LoadError::Limit(format!("it needs more than any component may have: {why}"))
            } else {
                LoadError::Compiler(format!("the host cannot use the code that its compiler made: {why}"))
            }
        })?;
        if let Some(cache) = &self.cache {
            cache.put(&key, &code);
        }
        Ok((component, Compiled::Now))
    }

    /// A component from its code: what our compiler made just now, or what the cache gave.
    #[allow(unsafe_code, reason = "the one way to load code that another process has compiled")]
    fn code(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: the code is this host's own: it came from our compiler, in this process or by a pipe from a child that
        // runs this same program, or from the cache, which gives only what was put there by `compile`, authenticated with
        // a key that this user alone can read.
        unsafe { Component::deserialize(&self.engine, code) }
    }

    async fn describe(&self, pre: &ActorPre<State>) -> Result<(Manifest, String), LoadError> {
        let limits = describe_limits();
        let failed = |e: wasmtime::Error| LoadError::Describe(breach::failure_to_describe(&e, &limits));
        let instance = Instance::new(pre, &self.clock, &limits, self.limited).await;
        let text = instance.map_err(failed)?.describe(&limits).await.map_err(failed)?;
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
        let (filters, policy) =
            (manifest.filters.len(), LimitPolicy { ceiling: self.ceiling, ..Default::default() });
        let most = policy.of(&manifest).filters;
        if filters as u64 > most {
            let what = format_args!("it brings {filters} event filters");
            return Err(LoadError::Manifest(beyond("filters", what, most)));
        }
        Ok((manifest, text))
    }

    /// Tells what is no component before a compiler does, in words that help.
    fn check_kind(&self, wasm: &[u8]) -> Result<(), LoadError> {
        let not = |what: String| Err(LoadError::NotAnActor(what));
        if wasm.len() as u64 > self.component_bytes {
            return Err(LoadError::too_large(self.component_bytes));
        }
        // https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md#component-definitions
        match wasm.get(..8) {
            Some([0x7f, b'E', b'L', b'F', ..]) => {
                not("it is code that was compiled ahead of time; only components (wasm) are loaded".into())
            }
            Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => not(
                "it is a core module, not a component; build it with `cargo build --target wasm32-wasip2`, or wrap it \
                 with `wasm-tools component new`"
                    .into(),
            ),
            Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
            _ => not("it is not WebAssembly: it does not begin with `\\0asm`".into()),
        }
    }
}

/// The manifest that is written into a component, if one is.
fn manifest_section(wasm: &[u8]) -> Result<Option<&str>, LoadError> {
    let section = match section::read(wasm) {
        Ok(section) => section,
        // The compiler tells of that, and better.
        Err(SectionError::NotAComponent(_)) => return Ok(None),
        Err(wrong) => return Err(LoadError::Manifest(wrong.to_string())),
    };
    let bytes = section.map_or(0, str::len);
    if bytes > MANIFEST_BYTES {
        let what =
            format!("its section `{}` has {bytes} bytes; {MANIFEST_BYTES} are the most", section::NAME);
        return Err(LoadError::Manifest(what));
    }
    Ok(section)
}

/// Whether it says what the component's `describe` says. What people and tools read without running anything, and what the
/// host goes by, must be the same.
fn check_section(section: &str, description: &str) -> Result<(), LoadError> {
    if section == description {
        return Ok(());
    }
    let read = |text| serde_json::from_str::<Value>(text).map_err(|e| LoadError::Manifest(e.to_string()));
    // As a manifest it has each member once: of two, some would read the first, and others the last.
    if let Err(why) = serde_json::from_str::<Manifest>(section) {
        return Err(LoadError::ForgedManifest(format!("that the section is no manifest: {why}")));
    }
    let (written, said) = (read(section)?, read(description)?);
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
