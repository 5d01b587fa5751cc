//! CPU and wall time of a job.
//!
//! CPU time is that of the thread, read whenever the guest's future is polled and whenever an epoch ends while it runs:
//! what other threads and processes use meanwhile does not count.

use std::{
    cell::Cell,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use ays_core::manifest::Limits;
use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

use crate::{Clock, breach::Breach, epochs};

/// CPU time that this thread has used, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Within so many nanoseconds of a reading, the monotonic clock stands for the thread's CPU time: asking for that is a
/// system call, which costs a tenth of a short job. A thread that was not running meanwhile was away for longer.
const FRESH_NS: u64 = 30_000;

thread_local! {
    /// The last reading on this thread: the monotonic clock, and the thread's CPU time then.
    static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The thread's CPU time, when the monotonic clock says `now`.
fn cpu_ns(now: u64) -> u64 {
    let (at, cpu) = LAST.get();
    let cpu = match now.checked_sub(at) {
        Some(since) if at > 0 && since < FRESH_NS => cpu + since,
        _ => thread_cpu_ns(),
    };
    LAST.set((now, cpu));
    cpu
}

/// CPU time that this thread has used, when the [`Clock`]'s monotonic reading is `monotonic`. What was read within the last
/// 30 µs is reckoned on from, and no system call is made.
pub fn thread_cpu(monotonic: Duration) -> Duration {
    Duration::from_nanos(cpu_ns(nanos(monotonic)))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// What the present job of an instance has used and may use.
pub(crate) struct Meter {
    clock: Arc<dyn Clock>,
    /// Used in polls that have ended, in nanoseconds.
    used_ns: AtomicU64,
    /// The thread's CPU time when the present poll began.
    poll_began_ns: AtomicU64,
    cpu_limit_ns: AtomicU64,
    /// On the clock's monotonic scale.
    deadline_ns: AtomicU64,
    wall_limit_ms: AtomicU64,
}

impl Meter {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            used_ns: AtomicU64::new(0),
            poll_began_ns: AtomicU64::new(0),
            cpu_limit_ns: AtomicU64::new(u64::MAX),
            deadline_ns: AtomicU64::new(u64::MAX),
            wall_limit_ms: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn begin(&self, limits: &Limits) {
        self.used_ns.store(0, Relaxed);
        self.cpu_limit_ns.store(limits.cpu_ms.saturating_mul(1_000_000), Relaxed);
        self.wall_limit_ms.store(limits.wall_ms, Relaxed);
        let deadline = self.clock.monotonic().saturating_add(Duration::from_millis(limits.wall_ms));
        self.deadline_ns.store(nanos(deadline), Relaxed);
    }

    fn cpu_ns(&self) -> u64 {
        cpu_ns(nanos(self.clock.monotonic()))
    }

    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Relaxed))
    }

    /// Called at the end of an epoch, on the guest's thread.
    pub(crate) fn epoch(&self) -> wasmtime::Result<UpdateDeadline> {
        let polled = thread_cpu_ns().saturating_sub(self.poll_began_ns.load(Relaxed));
        let limit_ns = self.cpu_limit_ns.load(Relaxed);
        let used = self.used_ns.load(Relaxed).saturating_add(polled);
        if used >= limit_ns {
            let what = format_args!("used {} ms of CPU time", used / 1_000_000);
            return Err(Breach::of("cpu_ms", what, limit_ns / 1_000_000));
        }
        if self.left().is_zero() {
            return Err(self.wall_breach());
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    }

    fn left(&self) -> Duration {
        Duration::from_nanos(self.deadline_ns.load(Relaxed)).saturating_sub(self.clock.monotonic())
    }

    fn wall_breach(&self) -> wasmtime::Error {
        let limit = self.wall_limit_ms.load(Relaxed);
        let late = nanos(self.clock.monotonic()).saturating_sub(self.deadline_ns.load(Relaxed)) / 1_000_000;
        Breach::of("wall_ms", format_args!("took {} ms", limit.saturating_add(late)), limit)
    }
}

/// Polls a guest's future, counts its CPU time, and ends it at its deadline, also while it waits in a host call.
pub(crate) struct Metered<'a, F> {
    pub(crate) future: F,
    pub(crate) meter: &'a Meter,
    /// Only set once the guest has not come to its end in one poll: most do.
    pub(crate) timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T, F: Future<Output = wasmtime::Result<T>> + Unpin> Future for Metered<'_, F> {
    type Output = wasmtime::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        epochs::guest_runs();
        let began = this.meter.cpu_ns();
        this.meter.poll_began_ns.store(began, Relaxed);
        let polled = Pin::new(&mut this.future).poll(cx);
        this.meter.used_ns.fetch_add(this.meter.cpu_ns().saturating_sub(began), Relaxed);
        if polled.is_ready() {
            return polled;
        }
        let meter = this.meter;
        let timer = this.timer.get_or_insert_with(|| meter.clock.sleep(meter.left()));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(meter.wall_breach())),
            Poll::Pending => Poll::Pending,
        }
    }
}
