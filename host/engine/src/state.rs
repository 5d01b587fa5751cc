//! What the host keeps for one instance, and for the job it executes.

use std::sync::Arc;

use ays_core::{
    JsonText, ServiceKey,
    capability::Access,
    filter::FilterSet,
    job::{FailureKind, Level},
    kv::Change,
    manifest::{Limits, Manifest},
    service::Links,
    turn::Effect,
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use wasmtime_wasi_http::WasiHttpCtx;

use crate::{
    Clock,
    breach::Breach,
    capability::{self, Denials, Hooks, Known, Outbound, Pairs, Secrets},
    limiter::Limiter,
    log_buffer::LogBuffer,
    meter::Meter,
};

/// The data of an instance's store.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    pub(crate) meter: Arc<Meter>,
    pub(crate) log: LogBuffer,
    /// The job that is being executed; none while the guest describes itself.
    call: Option<Call>,
    wasi: WasiCtx,
    /// The most random bytes of one call, as `wasi` has it.
    random_bytes: u64,
    pub(crate) http: WasiHttpCtx,
    pub(crate) http_hooks: Hooks,
    pub(crate) table: ResourceTable,
    /// The secrets that the guest has read; they are with the present job while there is one.
    pub(crate) known: Known,
}

/// The job that is being executed: a snapshot to read from, and the turn as far as it has come.
pub(crate) struct Call {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) service: ServiceKey,
    pub(crate) data: JsonText,
    pub(crate) changed: bool,
    pub(crate) links: Arc<Links>,
    pub(crate) linked: Arc<[(ServiceKey, JsonText)]>,
    pub(crate) limits: Limits,
    pub(crate) access: Arc<Access>,
    pub(crate) denials: Denials,
    pub(crate) secrets: Arc<dyn Secrets>,
    /// The secrets that the guest has read, in this job and before.
    pub(crate) known: Known,
    pub(crate) depth: u32,
    pub(crate) effects: Vec<Effect>,
    /// The service's key-value pairs as the job found them, and what it changes of them.
    pub(crate) pairs: Pairs,
    pub(crate) kv: Change,
    /// The service's event filters, with what the job has changed of them.
    pub(crate) filters: FilterSet,
    pub(crate) events: u64,
    /// Changes to event filters and schedules.
    pub(crate) changes: u64,
    /// What `effects` and `kv` take, in bytes.
    pub(crate) bytes: u64,
    pub(crate) host_calls: u64,
}

/// What an effect costs beside its texts, in bytes. Without it, effects without text would be free.
const EFFECT: usize = 128;

impl Call {
    /// Appends what the job does to its turn; `texts` is the length of all its texts.
    pub(crate) fn push(&mut self, effect: Effect, texts: usize) -> wasmtime::Result<()> {
        self.spend(texts)?;
        self.effects.push(effect);
        Ok(())
    }

    /// Counts something that the job does, of this many bytes.
    pub(crate) fn spend(&mut self, texts: usize) -> wasmtime::Result<()> {
        self.bytes = self.bytes.saturating_add((texts.saturating_add(EFFECT)) as u64);
        if self.bytes > self.limits.turn_bytes {
            let what = format_args!("emitted and changed {} bytes in all", self.bytes);
            return Err(Breach::of("turn_bytes", what, self.limits.turn_bytes));
        }
        Ok(())
    }

    /// Counts a change to an event filter or a schedule, before it is looked at.
    pub(crate) fn changes(&mut self) -> wasmtime::Result<()> {
        self.changes += 1;
        if self.changes > self.limits.changes {
            let what = format_args!("changed event filters and schedules {} times", self.changes);
            return Err(Breach::of("changes", what, self.limits.changes));
        }
        Ok(())
    }
}

impl State {
    pub(crate) fn new(clock: &Arc<dyn Clock>, limits: &Limits) -> Self {
        let log = LogBuffer::new(clock.clone());
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.handles).unwrap_or(usize::MAX));
        let wasi = WasiCtx::builder()
            .stdout(log.stream(Level::Info))
            .stderr(log.stream(Level::Warn))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(limits.random_bytes)
            .build();
        Self {
            limiter: Limiter::new(limits),
            meter: Arc::new(Meter::new(clock.clone())),
            log,
            call: None,
            wasi,
            random_bytes: limits.random_bytes,
            http: capability::http_context(),
            http_hooks: Hooks::default(),
            table,
            known: Known::default(),
        }
    }

    pub(crate) fn begin(&mut self, mut call: Call, outbound: &Arc<Outbound>) {
        self.limiter.set(&call.limits);
        self.table.set_max_capacity(usize::try_from(call.limits.handles).unwrap_or(usize::MAX));
        if self.random_bytes != call.limits.random_bytes {
            self.random_bytes = call.limits.random_bytes;
            // The one way to change it: with a new source, made for that.
            let mut other = WasiCtx::builder().max_random_size(self.random_bytes).build();
            std::mem::swap(self.wasi.random(), other.random());
        }
        self.log.begin(&call.limits);
        self.http_hooks.begin(&call.access, outbound, &self.log, &call.denials);
        call.known = std::mem::take(&mut self.known);
        self.call = Some(call);
    }

    /// How many resources of the host's the guest holds.
    pub(crate) fn resources(&mut self) -> usize {
        self.table.iter_mut().count()
    }

    pub(crate) fn end(&mut self) -> Option<Call> {
        self.http_hooks.end();
        self.call.take()
    }

    /// The present job, for a host function.
    pub(crate) fn call(&mut self) -> wasmtime::Result<&mut Call> {
        match &mut self.call {
            Some(call) => {
                call.host_calls += 1;
                Ok(call)
            }
            None => Err(Breach::error(
                FailureKind::Denied,
                "the actor called the host while no job was being executed; `describe` has no capability",
            )),
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
