//! `Arrival`: what a reader awaits. To asyncio's tasks it is a future; but whoever waits is gone on with at once, within
//! the batch, and not in a later turn of the event loop. One object serves a stream for all its reads.

use parking_lot::Mutex;
use pyo3::create_exception;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyTuple};

create_exception!(
    qanat._native,
    BusyError,
    PyRuntimeError,
    "Another task waits for the bytes of this client already."
);

/// Bytes that somebody may wait for.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct Arrival {
    event_loop: Py<PyAny>,
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// It was given to the task, which has not looked at it yet: the protocol of asyncio's futures.
    is_blocking: bool,
    /// Somebody awaits it.
    is_awaited: bool,
    /// The task's callback, and the context to call it in.
    waiter: Option<(Py<PyAny>, Py<PyAny>)>,
    /// The wait was cancelled, with this message.
    cancelled: Option<Py<PyAny>>,
}

impl Arrival {
    pub(crate) fn new(event_loop: Py<PyAny>) -> Self {
        Self { event_loop, state: Mutex::default() }
    }

    /// Fails if somebody waits.
    pub(crate) fn check_free(&self) -> PyResult<()> {
        if self.state.lock().is_awaited {
            return Err(BusyError::new_err("another task is reading from this session"));
        }
        Ok(())
    }

    /// Goes on with whoever waits, to its next suspension. Not while another task is running.
    pub(crate) fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        let waiter = slf.get().state.lock().waiter.take();
        let Some((callback, context)) = waiter else { return Ok(()) };
        let py = slf.py();
        context.bind(py).call_method1(intern!(py, "run"), (callback, slf))?;
        Ok(())
    }

    /// Has whoever waits go on in the next turn of the loop.
    pub(crate) fn resume_later(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let waiter = slf.get().state.lock().waiter.take();
        let Some((callback, context)) = waiter else { return Ok(false) };
        let py = slf.py();
        let arguments = PyTuple::new(py, [callback.bind(py), slf.as_any()])?;
        let named = [(intern!(py, "context"), context)].into_py_dict(py)?;
        let call_soon = slf.get().event_loop.bind(py).getattr(intern!(py, "call_soon"))?;
        call_soon.call(arguments, Some(&named))?;
        Ok(true)
    }

    /// Nobody waits any more.
    pub(crate) fn reset(&self) {
        // What is dropped may run Python, so it is dropped after the lock.
        let before = std::mem::take(&mut *self.state.lock());
        drop(before);
    }
}

#[pymethods]
impl Arrival {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: Bound<'_, Self>) -> Option<Bound<'_, Self>> {
        let is_first = {
            let mut state = slf.get().state.lock();
            state.is_awaited = !state.is_awaited;
            state.is_blocking = state.is_awaited;
            state.is_awaited
        };
        is_first.then_some(slf)
    }

    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.state.lock().is_blocking
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, is_blocking: bool) {
        self.state.lock().is_blocking = is_blocking;
    }

    /// Return the loop that tasks have to belong to.
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// Take a task's callback, for the next time.
    #[pyo3(signature = (callback, *, context))]
    fn add_done_callback(&self, callback: Py<PyAny>, context: Py<PyAny>) {
        self.state.lock().waiter = Some((callback, context));
    }

    /// Wait no longer. False if nobody waits.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        if slf.get().state.lock().waiter.is_none() {
            return Ok(false);
        }
        let message = msg.unwrap_or_else(|| slf.py().None());
        slf.get().state.lock().cancelled = Some(message);
        Self::resume_later(slf)
    }

    /// Return nothing; raise `CancelledError` if the wait was cancelled.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        let Some(message) = self.state.lock().cancelled.take() else { return Ok(()) };
        let kind = py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "CancelledError"))?;
        let error = if message.is_none(py) { kind.call0()? } else { kind.call1((message,))? };
        Err(PyErr::from_value(error))
    }
}
