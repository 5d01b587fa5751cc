//! The threads of heavy guests: each executes its own, and takes none from another.
//!
//! A runtime whose threads take work from each other wakes one up whenever a guest gives way, a thousand times a second for
//! each guest that computes, and moves guests from core to core. Both cost the threads beside them more than the computing does:
//! they wait several times as long for a core.

use std::{
    future::poll_fn,
    io,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    thread,
};

use tokio::runtime::{Builder, Handle};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::debug;

use super::priority;

/// The threads, for as long as one who can spawn there is left and they were not told to end.
#[derive(Clone, Debug)]
pub(super) struct Heavy(Arc<[Executor]>);

#[derive(Debug)]
struct Executor {
    handle: Handle,
    /// The tasks that are there.
    tasks: AtomicUsize,
}

impl Heavy {
    /// Starts so many threads. They end when they are told to.
    ///
    /// # Errors
    /// If the operating system has no more.
    pub(super) fn start(threads: usize, end: &CancellationToken) -> io::Result<Self> {
        let executor = |_| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, end) = (runtime.handle().clone(), end.clone());
            thread::Builder::new().name("guests-heavy".into()).spawn(move || {
                if let Err(why) = priority::come_after_others() {
                    debug!("guests that compute for long have no lower priority: {why}");
                }
                runtime.block_on(end.cancelled_owned());
            })?;
            Ok(Executor { handle, tasks: AtomicUsize::new(0) })
        };
        Ok(Self((0..threads.max(1)).map(executor).collect::<io::Result<_>>()?))
    }

    /// Executes a task there. It moves to another thread when that has less to do.
    pub(super) async fn execute<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + Unpin + 'static,
    {
        let mut task = task;
        loop {
            let place = self.least();
            let Some(handle) = self.0.get(place.at).map(|executor| &executor.handle) else { return };
            match AbortOnDropHandle::new(handle.spawn(here(task, place))).await {
                Ok(Ok(())) => return,
                Ok(Err(moves)) => task = moves,
                Err(died) if died.is_panic() => resume_unwind(died.into_panic()),
                // The threads were told to end, and so will this one be.
                Err(_) => return std::future::pending().await,
            }
        }
    }

    /// A place at the thread that has least to do.
    fn least(&self) -> Place {
        let least = self.0.iter().enumerate().min_by_key(|(_, executor)| executor.tasks.load(Relaxed));
        let at = least.map_or(0, |(at, _)| at);
        if let Some(executor) = self.0.get(at) {
            executor.tasks.fetch_add(1, Relaxed);
        }
        Place { of: self.clone(), at }
    }
}

/// What one task is to a thread.
struct Place {
    of: Heavy,
    at: usize,
}

impl Place {
    /// Whether another thread would have less to do even with this task.
    fn is_unfair(&self) -> bool {
        let tasks = |executor: &Executor| executor.tasks.load(Relaxed);
        let least = self.of.0.iter().map(tasks).min().unwrap_or(0);
        self.of.0.get(self.at).is_some_and(|here| tasks(here) > least + 1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(executor) = self.of.0.get(self.at) {
            executor.tasks.fetch_sub(1, Relaxed);
        }
    }
}

/// Polls the task to its end, or until it should move.
async fn here<F: Future<Output = ()> + Unpin>(mut task: F, place: Place) -> Result<(), F> {
    let ended = poll_fn(|cx| match std::pin::Pin::new(&mut task).poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if place.is_unfair() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    if ended.await { Ok(()) } else { Err(task) }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn tasks_are_spread_and_move_to_where_there_is_less_to_do() {
        let end = CancellationToken::new();
        let heavy = Heavy::start(2, &end).expect("there are threads");
        // Two threads run at the same time, or these would wait for each other for ever.
        let both = Arc::new(Barrier::new(2));
        let meet = |both: Arc<Barrier>| {
            Box::pin(async move {
                both.wait();
            })
        };
        tokio::join!(heavy.execute(meet(both.clone())), heavy.execute(meet(both)));

        // Four run, two at each thread; when those of one thread have ended, one of the others moves there.
        let spawn = |stop: &CancellationToken| {
            let (heavy, stop) = (heavy.clone(), stop.clone());
            tokio::spawn(async move {
                let task = async move {
                    while !stop.is_cancelled() {
                        yield_now().await;
                    }
                };
                heavy.execute(Box::pin(task)).await;
            })
        };
        let tasks = |at: usize| heavy.0.get(at).map_or(0, |executor| executor.tasks.load(Relaxed));
        let until = async |counts: [usize; 2]| {
            while [tasks(0), tasks(1)] != counts {
                yield_now().await;
            }
        };
        let (stay, go) = (CancellationToken::new(), CancellationToken::new());
        let mut spawned = Vec::new();
        for (stop, counts) in [(&stay, [1, 0]), (&go, [1, 1]), (&stay, [2, 1]), (&go, [2, 2])] {
            spawned.push(spawn(stop));
            until(counts).await;
        }
        go.cancel();
        until([1, 1]).await;
        stay.cancel();
        for task in spawned {
            task.await.expect("it ends");
        }
        assert_eq!([tasks(0), tasks(1)], [0, 0]);
        end.cancel();
    }
}
