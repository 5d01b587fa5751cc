//! A simulated host's process: all its tasks stop when it is paused, and go on where they were, or never.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use super::random::Random;

thread_local! {
    /// The process whose task is being polled on this thread.
    static CURRENT: RefCell<Option<Arc<Gate>>> = const { RefCell::new(None) };
}

/// What all tasks of one process must pass whenever they are to go on.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    /// From now on none of its tasks runs. Its timers fire when it goes on.
    pub(super) fn close(&self) {
        self.0.lock().unwrap().closed = true;
    }

    /// It goes on; which of its tasks first, is chance.
    pub(super) fn open(&self, random: &mut Random) {
        let mut waiting = {
            let mut state = self.0.lock().unwrap();
            state.closed = false;
            std::mem::take(&mut state.waiting)
        };
        random.shuffle(&mut waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Starts a task of this process.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(Gated { gate: Some(self.clone()), task: Box::pin(task) });
    }
}

/// A task that belongs to the process of the one that starts it.
pub(in crate::redis) fn gated(task: impl Future<Output = ()> + Send + 'static) -> Gated {
    Gated { gate: CURRENT.with_borrow(Clone::clone), task: Box::pin(task) }
}

pub(in crate::redis) struct Gated {
    gate: Option<Arc<Gate>>,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(gate) = &self.gate {
            let mut state = gate.0.lock().unwrap();
            if state.closed {
                if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.waiting.push(context.waker().clone());
                }
                return Poll::Pending;
            }
        }
        let before = CURRENT.with_borrow_mut(|current| std::mem::replace(current, self.gate.clone()));
        let polled = self.task.as_mut().poll(context);
        CURRENT.with_borrow_mut(|current| *current = before);
        polled
    }
}
