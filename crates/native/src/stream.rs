//! `Stream`: the client's connection as a content handler has it. Nothing here waits: what cannot be done now is noted,
//! and signalled when it can.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyBufferError, PyConnectionResetError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use qanat_core::phase::Call;
use qanat_core::phase::content::{Duplex, INPUT_LIMIT, Lack, News, Refusal, State, Upgrade, Want};

use crate::arrival::Arrival;
use crate::bridge::Queue;
use crate::session::{LackError, PhaseError};

/// Both directions of a client's connection.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct Stream {
    call: Arc<Call>,
    queue: Arc<Queue>,
    arrival: Py<Arrival>,
}

impl Stream {
    pub(crate) fn new(call: Arc<Call>, queue: Arc<Queue>, arrival: Py<Arrival>) -> Self {
        Self { call, queue, arrival }
    }

    /// What the handler is to be told.
    pub(crate) fn take_news(&self) -> News {
        self.call.exchange().duplex.as_mut().map(|duplex| duplex.take_news()).unwrap_or_default()
    }

    /// Goes on with whoever waits for bytes.
    pub(crate) fn resume(&self, py: Python<'_>) -> PyResult<()> {
        Arrival::resume(self.arrival.bind(py))
    }

    /// Works on what is shared, as long as the call is open.
    fn with<R>(&self, work: impl FnOnce(&mut Duplex) -> R) -> PyResult<R> {
        let mut exchange = self.call.exchange();
        let is_over = exchange.session.is_none() || exchange.is_answered();
        match exchange.duplex.as_mut().filter(|_| !is_over) {
            Some(duplex) => Ok(work(duplex)),
            None => Err(PhaseError::new_err("the content phase is over")),
        }
    }

    fn wake(&self) {
        if let Some(task) = self.call.task() {
            self.queue.wake(&self.call, task);
        }
    }

    /// Takes bytes that meet a want; none if they may still come, which is signalled then.
    fn take<'py>(&self, py: Python<'py>, want: Want) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.arrival.get().check_free()?;
        let (found, wakes) = self.with(|duplex| {
            let input = &mut duplex.input;
            let was_full = input.is_full();
            let found = match input.look(want) {
                Ok(Some(count)) => Ok(Some(input.take(count, |bytes| PyBytes::new(py, bytes)))),
                Ok(None) => Ok(None),
                Err(lack) => Err((lack, input.unread().len())),
            };
            (found, was_full && !input.is_full())
        })?;
        if wakes {
            self.wake();
        }
        found.map_err(|(lack, count)| match lack {
            Lack::Broken => PyConnectionResetError::new_err("Connection lost"),
            Lack::Full => LackError::new_err(("full", count)),
            Lack::Ended => LackError::new_err(("ended", count)),
        })
    }
}

#[pymethods]
impl Stream {
    /// What to await before looking again.
    #[getter]
    fn arrival(&self, py: Python<'_>) -> Py<Arrival> {
        self.arrival.clone_ref(py)
    }

    /// Take what there is, at most `most` bytes; nothing at the end.
    fn read<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.take(py, Want::Any(most))
    }

    /// Take the next `count` bytes.
    fn read_exactly<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.take(py, Want::Exactly(count))
    }

    /// Take all up to and including a line feed, or the rest.
    fn read_line<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.take(py, Want::Line)
    }

    /// Take all up to and including the separator that ends first.
    fn read_until<'py>(
        &self,
        py: Python<'py>,
        separators: Vec<Vec<u8>>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.take(py, Want::Until(separators))
    }

    /// Take what there is, whatever is waited for.
    fn take_rest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(|duplex| duplex.input.take(usize::MAX, |bytes| PyBytes::new(py, bytes)))
    }

    /// Give bytes back, to be the first again.
    fn give_back(&self, data: &[u8]) -> PyResult<()> {
        self.with(|duplex| duplex.input.give_back(data))
    }

    /// Wait no longer for what was last looked for.
    fn give_up(&self) {
        self.arrival.get().reset();
        if let Some(duplex) = &mut self.call.exchange().duplex {
            duplex.input.give_up();
        }
    }

    /// Tell whether the client has ended and everything was taken.
    fn is_at_end(&self) -> PyResult<bool> {
        self.with(|duplex| duplex.input.is_at_end())
    }

    /// Write to the client.
    fn write(&self, data: &[u8]) -> PyResult<()> {
        let refused = self.with(|duplex| duplex.write(data))?;
        match refused {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(Refusal::Ended) => {
                Err(PyRuntimeError::new_err("Cannot call write() after write_eof() or close()"))
            }
            Err(Refusal::Full) => {
                Err(PyBufferError::new_err("16 MiB wait for the client, and nobody waits for drain()"))
            }
        }
    }

    /// Tell whether so much waits for the client that the handler should wait: it is signalled when it need not.
    fn is_congested(&self) -> PyResult<bool> {
        match self.with(|duplex| (duplex.is_congested(), duplex.state()))? {
            (_, State::Broken) => Err(PyConnectionResetError::new_err("Connection lost")),
            (congested, _) => Ok(congested),
        }
    }

    /// Tell whether anything waits for the client, whether or not the call is over.
    fn is_unsent(&self) -> bool {
        let exchange = self.call.exchange();
        exchange.session.is_some() && exchange.duplex.as_ref().is_some_and(|duplex| duplex.is_unsent())
    }

    /// Write no more: the client is told.
    fn end(&self) -> PyResult<()> {
        self.with(Duplex::end)?;
        self.wake();
        Ok(())
    }

    /// Close, once everything is written; the client has `linger` seconds to end as well.
    fn close(&self, py: Python<'_>, linger: f64) -> PyResult<()> {
        let linger = Duration::try_from_secs_f64(linger)
            .map_err(|_| pyo3::exceptions::PyValueError::new_err("linger is a number of seconds"))?;
        let settles = self.with(|duplex| {
            duplex.close(linger);
            duplex.settle()
        })?;
        self.wake();
        if settles {
            Arrival::resume_later(self.arrival.bind(py))?;
        }
        Ok(())
    }

    /// Tell whether it is being closed, or gone.
    fn is_closing(&self) -> bool {
        self.with(|duplex| duplex.is_closing()).unwrap_or(true)
    }

    /// Tell whether nothing is left of it, which is signalled.
    fn is_closed(&self) -> bool {
        self.with(|duplex| duplex.state() != State::Open).unwrap_or(true)
    }

    /// Begin TLS with the server's certificate, once everything is written.
    fn start_tls(&self) -> PyResult<()> {
        let refuse = |text| Err(PhaseError::new_err(text));
        {
            let exchange = self.call.exchange();
            match &exchange.session {
                Some(session) if session.tls().is_some() => return refuse("TLS is spoken already"),
                Some(session) if session.server.tls.is_none() => {
                    return refuse("start_tls wants an ssl_certificate in the server");
                }
                _ => {}
            }
        }
        if self.with(Duplex::start_tls)? {
            self.wake();
            return Ok(());
        }
        refuse("start_tls was called before")
    }

    /// Return nothing while TLS is being begun, then an empty text or why it failed.
    fn upgraded(&self) -> PyResult<Option<String>> {
        self.with(|duplex| match duplex.upgrade() {
            Upgrade::Failed(why) => Some(why.clone()),
            Upgrade::Done => Some(String::new()),
            Upgrade::No | Upgrade::Wanted => None,
        })
    }

    /// The handler has ended: whoever still waits learns of it.
    fn forget(&self, py: Python<'_>) -> PyResult<()> {
        self.queue.forget(py, self.call.id);
        Arrival::resume_later(self.arrival.bind(py))?;
        Ok(())
    }

    /// The longest line, separator included.
    #[classattr]
    const LIMIT: usize = INPUT_LIMIT;
}
