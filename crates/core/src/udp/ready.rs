//! Which sockets of a listener's sessions became readable: one task drives them all, each wakes it with its token.

use std::mem;
use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// Tokens of sockets that woke up since they were last taken.
#[derive(Default)]
pub(super) struct ReadyQueue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tokens: Vec<u32>,
    /// The task, unless it has been woken already.
    task: Option<Waker>,
}

struct Token {
    queue: Arc<ReadyQueue>,
    token: u32,
}

impl ReadyQueue {
    /// A waker that puts `token` into the queue.
    pub(super) fn waker(self: &Arc<Self>, token: u32) -> Waker {
        Arc::new(Token { queue: Arc::clone(self), token }).into()
    }

    /// Names the task to wake, then takes the tokens into `taken`, which must be empty. Whatever comes later wakes
    /// the task.
    pub(super) fn take(&self, task: &Waker, taken: &mut Vec<u32>) {
        let mut state = self.state.lock();
        if !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            state.task = Some(task.clone());
        }
        mem::swap(&mut state.tokens, taken);
    }
}

impl Wake for Token {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let task = {
            let mut state = self.queue.state.lock();
            state.tokens.push(self.token);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}
