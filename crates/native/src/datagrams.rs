//! `Datagrams`: how handlers have the datagrams of a UDP client, one by one, and answer with others.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use qanat_core::phase::datagrams::{Received, Sending};

use crate::session::{LackError, PhaseError, Session};

/// Linux: a datagram is larger than it can be.
const EMSGSIZE: i32 = 90;

/// The datagrams of a session.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct Datagrams {
    session: Session,
}

impl Datagrams {
    pub(crate) fn new(session: Session) -> Self {
        Self { session }
    }
}

#[pymethods]
impl Datagrams {
    /// Take the next datagram; none if it may still come, which is signalled.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let call = self.session.call.id;
        match self.session.with(|exchange| exchange.receive(call))? {
            Some(Received::Datagram(bytes, _)) => Ok(Some(PyBytes::new(py, &bytes))),
            Some(Received::Later) => Ok(None),
            Some(Received::Over) => Err(LackError::new_err(("ended", Vec::<u8>::new()))),
            None => Err(no_datagrams()),
        }
    }

    /// Wait no longer for a datagram.
    fn give_up(&self) {
        if let Some(datagrams) = &self.session.call.exchange().datagrams {
            datagrams.give_up();
        }
    }

    /// Send a datagram; false if too many are on their way, and it is lost.
    fn send(&self, data: &[u8]) -> PyResult<bool> {
        send(&self.session, data)
    }

    /// Count the datagrams of the client that were lost because too many were waiting.
    fn dropped(&self) -> PyResult<u64> {
        self.session.with(|exchange| exchange.datagrams.as_ref().map_or(0, |datagrams| datagrams.dropped()))
    }
}

/// Sends a datagram. The listener gets those of a batch of handlers together, if they are not too many.
pub(crate) fn send(session: &Session, data: &[u8]) -> PyResult<bool> {
    match session.with(|exchange| exchange.send(data))? {
        Some(Sending::Taken(listener)) => {
            match listener {
                Some((task, true)) => task.wake(),
                Some((task, false)) => session.queue.wake(&session.call, task),
                None => {}
            }
            Ok(true)
        }
        Some(Sending::Full) => Ok(false),
        Some(Sending::TooLong) => Err(PyOSError::new_err((EMSGSIZE, "Message too long"))),
        None => Err(no_datagrams()),
    }
}

fn no_datagrams() -> PyErr {
    PhaseError::new_err("this session has no datagrams")
}
