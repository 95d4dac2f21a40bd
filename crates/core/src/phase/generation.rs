//! A load of the handlers. Plans that use it share it; when the last of them is gone, with the last session that began
//! with it, whoever runs the handlers is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::phase::Hooks;

/// A load of the handlers, by its number; 0 stands for none.
#[derive(Default)]
pub struct Generation {
    /// What calls name it by.
    pub number: u64,
    hooks: Option<Arc<dyn Hooks>>,
    is_used: AtomicBool,
}

impl Generation {
    /// The generation of a plan that follows one with `present`: the same, if the number is.
    pub(crate) fn after(present: &Arc<Self>, number: u64, hooks: Option<&Arc<dyn Hooks>>) -> Arc<Self> {
        if present.number == number {
            return Arc::clone(present);
        }
        Arc::new(Self { number, hooks: hooks.cloned(), is_used: AtomicBool::new(false) })
    }

    /// Notes that sessions may begin with it. One that was only prepared ends unheard: whoever loaded it knows.
    pub(crate) fn put_to_use(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.number != 0
            && *self.is_used.get_mut()
            && let Some(hooks) = &self.hooks
        {
            hooks.retire(self.number);
        }
    }
}
