//! The thread that ends epochs: the clock by which guests that compute are interrupted.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// How often a guest that computes is interrupted: CPU and wall time limits are kept to within this, and guests that
/// compute share the threads in slices of this.
///
/// It is also about how long whatever else wants the core may have to wait: some kernels, as Linux with `PREEMPT_LAZY`,
/// let a thread that computes go on until the next tick, up to 4 ms, although another one has become ready and should come
/// first. A thread that makes a system call gives way, and an interruption makes one.
pub const EPOCH: Duration = Duration::from_millis(1);

/// How often this thread looks whether there are guests while there are none. The first epoch after such a time may be as
/// long.
const IDLE: Duration = Duration::from_millis(5);

/// Whether a guest has run since this was last looked at. One for all engines: it only says how often to wake up.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// To be called whenever a guest begins to run, or goes on.
pub(crate) fn guest_runs() {
    // Reading it is free while nobody writes it.
    if !RUNNING.load(Relaxed) {
        RUNNING.store(true, Relaxed);
    }
}

/// Ends an engine's epochs, for as long as there is one.
pub(crate) fn start(engine: &wasmtime::Engine) -> io::Result<()> {
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(if RUNNING.swap(false, Relaxed) { EPOCH } else { IDLE });
        }
    };
    thread::Builder::new().name("epochs".into()).spawn(tick).map(drop)
}
