//! The threads that execute guests.
//!
//! A guest that computes keeps its thread until an epoch has ended ([`EPOCH`]). Were all guests to share the same threads,
//! those that need a hundred microseconds would wait for those that need a minute, again and again. So whoever has computed
//! for a whole epoch goes on among others of its kind, on threads of their own; the operating system shares the cores
//! between the two.

use std::{future::poll_fn, io, num::NonZero, panic::resume_unwind, task::Poll, time::Duration};

use ays_engine::EPOCH;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::clock;

/// A guest that was polled for so long was ended by an epoch. Epochs are not quite as long as each other.
const LONG: Duration = EPOCH.saturating_sub(Duration::from_millis(1));

/// The threads, for as long as this is kept.
#[derive(Debug)]
pub struct Threads {
    brief: Runtime,
    long: Runtime,
}

/// Where guests are executed.
#[derive(Clone, Debug)]
pub struct Guests {
    brief: Handle,
    long: Handle,
}

impl Threads {
    /// Starts them: of each kind as many as there are cores.
    ///
    /// # Errors
    /// If the operating system has no more threads.
    pub fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
        let start =
            |name| Builder::new_multi_thread().worker_threads(cores).thread_name(name).enable_all().build();
        Ok(Self { brief: start("guests")?, long: start("guests-long")? })
    }

    /// To execute guests there.
    pub fn guests(&self) -> Guests {
        Guests { brief: self.brief.handle().clone(), long: self.long.handle().clone() }
    }

    /// Ends them, without waiting for guests that compute.
    pub fn shutdown(self) {
        self.brief.shutdown_background();
        self.long.shutdown_background();
    }
}

impl Guests {
    /// Where that runs which is known to take long: loading an actor, bringing the data of many services into form.
    pub fn long(&self) -> &Handle {
        &self.long
    }

    /// Spawns a task that executes guests.
    pub(crate) fn spawn(&self, tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
        tasks.spawn_on(moving_on(task, self.long.clone()), &self.brief);
    }
}

/// Goes on there as soon as a poll has taken long.
async fn moving_on<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static, there: Handle) -> T {
    let mut task = Box::pin(task);
    let ended = poll_fn(|cx| {
        let began = clock::instant();
        match task.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if began.elapsed() >= LONG => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    if let Some(value) = ended.await {
        return value;
    }
    match AbortOnDropHandle::new(there.spawn(task)).await {
        Ok(value) => value,
        Err(died) if died.is_panic() => resume_unwind(died.into_panic()),
        // The threads were shut down, and so will this one be.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    /// Where a task goes on that was busy for so long in its first poll.
    async fn place_after(guests: &Guests, busy: Duration) -> String {
        let (tell, told) = oneshot::channel();
        guests.spawn(&TaskTracker::new(), async move {
            let began = clock::instant();
            while began.elapsed() < busy {
                std::hint::spin_loop();
            }
            yield_now().await;
            let _ = tell.send(thread::current().name().unwrap_or_default().to_owned());
        });
        told.await.unwrap_or_default()
    }

    #[tokio::test]
    async fn whoever_computes_for_an_epoch_goes_on_elsewhere_and_nobody_else_does() {
        let threads = Threads::start().expect("there are threads");
        let guests = threads.guests();
        assert_eq!(place_after(&guests, EPOCH).await, "guests-long");
        // One that the operating system interrupts looks busy: not all of many.
        let mut places = Vec::new();
        for _ in 0..50 {
            places.push(place_after(&guests, Duration::ZERO).await);
        }
        assert!(places.iter().any(|place| place == "guests"), "{places:?}");
        threads.shutdown();
    }
}
