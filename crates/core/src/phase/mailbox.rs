//! How answers come back to a worker: many at once, for one wake-up of its thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::phase::Hooks;

thread_local! {
    static OWN: RefCell<Option<Arc<Mailbox>>> = const { RefCell::new(None) };
}

/// Tasks of one worker that are to be woken.
#[derive(Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    due: Vec<Waker>,
    postman: Option<Waker>,
    /// Hooks that are to be flushed.
    untold: Option<Arc<dyn Hooks>>,
}

impl Mailbox {
    /// The mailbox of the present thread, if it is a worker.
    pub(super) fn own() -> Option<Arc<Self>> {
        OWN.with_borrow(Clone::clone)
    }

    /// Has `hooks` flushed once the tasks of this worker that are ready have had their turn: what they have to say goes
    /// with the same flush. For tasks of this worker.
    pub(super) fn flush_later(&self, hooks: &Arc<dyn Hooks>) {
        let postman = {
            let mut inner = self.inner.lock();
            inner.untold.get_or_insert_with(|| Arc::clone(hooks));
            inner.postman.take()
        };
        // On its own thread, so it comes after those that were woken before.
        if let Some(postman) = postman {
            postman.wake();
        }
    }

    /// Adds a task of this worker; [`Self::deliver`] wakes it.
    pub fn post(&self, task: Waker) {
        self.inner.lock().due.push(task);
    }

    /// Has the worker wake the tasks.
    pub fn deliver(&self) {
        let postman = self.inner.lock().postman.take();
        if let Some(postman) = postman {
            postman.wake();
        }
    }
}

/// Gives this thread a mailbox, and empties it for ever.
pub(crate) async fn serve() {
    let mailbox = Arc::new(Mailbox::default());
    OWN.set(Some(Arc::clone(&mailbox)));
    poll_fn::<(), _>(|cx| {
        let (due, untold) = {
            let mut inner = mailbox.inner.lock();
            inner.postman = Some(cx.waker().clone());
            (std::mem::take(&mut inner.due), inner.untold.take())
        };
        if let Some(hooks) = untold {
            hooks.flush();
        }
        // On their own thread, which costs no system call.
        due.into_iter().for_each(Waker::wake);
        Poll::Pending
    })
    .await;
}
