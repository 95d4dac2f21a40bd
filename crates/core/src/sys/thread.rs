//! The kernel's number of the calling thread, as log lines show it.

use std::cell::Cell;

thread_local! {
    static ID: Cell<i32> = const { Cell::new(0) };
}

/// Number of the calling thread; asked for once per thread.
pub fn id() -> i32 {
    if ID.get() == 0 {
        // SAFETY: gettid takes nothing, cannot fail, and touches no memory of ours.
        ID.set(unsafe { libc::gettid() });
    }
    ID.get()
}
