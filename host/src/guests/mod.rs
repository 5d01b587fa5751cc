//! The threads that execute guests.
//!
//! A guest that computes keeps its thread until an epoch has ended ([`EPOCH`](ays_engine::EPOCH)), and one that hands much
//! to the host keeps it for longer. Were all guests to share the same threads, those that need a hundred microseconds would
//! wait for those that need a minute, again and again. So whoever has used much goes on among others of its kind, on
//! threads of their own, and there its actor's next jobs begin (`weights.rs`); the operating system shares the cores
//! between the two, and brief ones come first (`priority.rs`).

mod heavy;
mod priority;
mod stint;
mod weights;

use std::{future::poll_fn, io, num::NonZero, pin::Pin, sync::Arc, task::Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub(crate) use self::stint::Stint;
use self::{heavy::Heavy, stint::Measured, weights::Weights};

/// The threads, for as long as this is kept.
#[derive(Debug)]
pub struct Threads {
    light: Runtime,
    heavy: (Heavy, DropGuard),
    loading: Runtime,
}

/// Where guests are executed.
#[derive(Clone, Debug)]
pub struct Guests {
    light: Handle,
    heavy: Heavy,
    loading: Handle,
    weights: Arc<Weights>,
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
        let end = CancellationToken::new();
        let heavy = (Heavy::start(cores, &end)?, end.drop_guard());
        Ok(Self { light: start("guests")?, heavy, loading: start("guests-loading")? })
    }

    /// To execute guests there.
    pub fn guests(&self) -> Guests {
        Guests {
            light: self.light.handle().clone(),
            heavy: self.heavy.0.clone(),
            loading: self.loading.handle().clone(),
            weights: Arc::default(),
        }
    }

    /// Ends them, without waiting for guests that compute.
    pub fn shutdown(self) {
        self.light.shutdown_background();
        drop(self.heavy);
        self.loading.shutdown_background();
    }
}

impl Guests {
    /// Where actors are loaded and the data of many services are brought into form: jobs do not hold that up, however
    /// many of them compute.
    pub fn loading(&self) -> &Handle {
        &self.loading
    }

    /// Spawns a task that executes jobs of a service of this actor, and says at its [`Stint`] when each of them has ended.
    pub(crate) fn spawn<F>(&self, tasks: &TaskTracker, actor: &str, task: impl FnOnce(Stint) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stint = Stint::new(actor, self.weights.clone());
        let task = Measured::new(task(stint.clone()), stint);
        let (heavy, is_heavy) = (self.heavy.clone(), self.weights.is_heavy(actor));
        let executing = async move {
            let mut task = task;
            if is_heavy || !ends_light(&mut task).await {
                heavy.execute(task).await;
            }
        };
        tasks.spawn_on(executing, &self.light);
    }
}

/// Polls it until it has ended, or a job of it has turned out to be heavy. Returns whether it has ended.
async fn ends_light<F: Future<Output = ()>>(task: &mut Measured<F>) -> bool {
    let ended = poll_fn(|cx| match Pin::new(&mut *task).poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if task.stint().is_heavy() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    ended.await
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use tokio::{sync::oneshot, task::yield_now};

    use super::{weights::HEAVY, *};
    use crate::clock;

    fn compute(span: Duration) {
        let began = clock::thread_cpu();
        while clock::thread_cpu().saturating_sub(began) < span {
            std::hint::spin_loop();
        }
    }

    /// Where a job of this actor begins, and where it goes on after it has computed twice for so long.
    async fn places(guests: &Guests, actor: &str, busy: Duration) -> [String; 2] {
        let (tell, told) = oneshot::channel();
        let here = || thread::current().name().unwrap_or_default().to_owned();
        guests.spawn(&TaskTracker::new(), actor, |stint| async move {
            let began = here();
            compute(busy);
            yield_now().await;
            compute(busy);
            yield_now().await;
            stint.job_ended();
            let _ = tell.send([began, here()]);
        });
        told.await.unwrap_or_default()
    }

    #[tokio::test]
    async fn whoever_computes_goes_on_elsewhere_and_so_begin_its_next_jobs_until_they_are_light() {
        let threads = Threads::start().expect("there are threads");
        let guests = threads.guests();
        // In neither poll alone did it use too much.
        let half = HEAVY / 2 + Duration::from_micros(100);
        assert_eq!(places(&guests, "loop", half).await, ["guests", "guests-heavy"]);
        assert_eq!(places(&guests, "loop", half).await, ["guests-heavy", "guests-heavy"]);
        assert_eq!(places(&guests, "good", Duration::ZERO).await, ["guests", "guests"]);
        let mut light = 0;
        while places(&guests, "loop", Duration::ZERO).await != ["guests", "guests"] {
            light += 1;
            assert!(light < 100, "it is forgiven at some time");
        }
        assert_eq!(light, weights::FORGIVEN_AFTER);
        threads.shutdown();
    }

    #[tokio::test]
    async fn many_light_jobs_in_one_poll_are_not_a_heavy_one() {
        let threads = Threads::start().expect("there are threads");
        let guests = threads.guests();
        let (tell, told) = oneshot::channel();
        guests.spawn(&TaskTracker::new(), "busy", |stint| async move {
            for _ in 0..10 {
                compute(HEAVY / 5);
                stint.job_ended();
            }
            yield_now().await;
            let _ = tell.send(thread::current().name().unwrap_or_default().to_owned());
        });
        assert_eq!(told.await.as_deref(), Ok("guests"));
        assert_eq!(places(&guests, "busy", Duration::ZERO).await, ["guests", "guests"]);
        threads.shutdown();
    }

    #[tokio::test]
    async fn a_panic_is_the_tasks_own() {
        let threads = Threads::start().expect("there are threads");
        let tasks = TaskTracker::new();
        threads.guests().spawn(&tasks, "panics", |_stint| async move {
            compute(HEAVY);
            yield_now().await;
            std::panic::resume_unwind(Box::new("for the test"));
        });
        tasks.close();
        tasks.wait().await;
        assert_eq!(places(&threads.guests(), "good", Duration::ZERO).await, ["guests", "guests"]);
        threads.shutdown();
    }
}
