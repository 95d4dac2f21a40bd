//! `Session`: the handle that a handler has while its call is open. Every method looks at what the worker shares under
//! a lock that is never held while Python runs.

use std::sync::Arc;

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use qanat_core::phase::Call;
use qanat_core::phase::call::{Ending, Exchange, FailureKind, OUTPUT_LIMIT, Verdict};
use qanat_core::phase::input::{Lack, Wish};
use qanat_core::session::vars;
use qanat_core::tls::Alert;

use crate::arrival::Arrival;
use crate::balance::Peer;
use crate::bridge::Queue;
use crate::datagrams::{self, Datagrams};
use crate::stream::Stream;
use crate::tls::{self, CertifiedKey};

create_exception!(
    qanat._native,
    LackError,
    PyException,
    "Bytes that will not come: `args` is `(why, what there is)`."
);
create_exception!(
    qanat._native,
    PhaseError,
    PyRuntimeError,
    "Something that cannot be done in this phase, or not any more."
);

/// What a peer has shown: see [`Session::shown`].
type Shown<'py> = (Vec<Bound<'py, PyBytes>>, Option<String>, String, String);

/// A session in one of its phases.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct Session {
    pub(crate) call: Arc<Call>,
    pub(crate) queue: Arc<Queue>,
}

impl Session {
    pub(crate) fn new(call: Arc<Call>, queue: Arc<Queue>) -> Self {
        Self { call, queue }
    }

    fn wake(&self) {
        if let Some(task) = self.call.task() {
            self.queue.wake(&self.call, task);
        }
    }

    fn answer(&self, verdict: Verdict) -> bool {
        let task = self.call.answer(verdict);
        let is_first = task.is_some();
        if let Some(task) = task {
            self.queue.wake(&self.call, task);
        }
        is_first
    }

    /// Works on what is shared, as long as the call is open.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Exchange) -> R) -> PyResult<R> {
        let mut exchange = self.call.exchange();
        if exchange.session.is_none() || exchange.is_answered() {
            drop(exchange);
            return Err(PhaseError::new_err(format!("the {} phase is over", self.call.phase().name())));
        }
        Ok(work(&mut exchange))
    }

    /// Bytes that meet a wish; none if they may still come, which is signalled then.
    pub(crate) fn look(&self, wish: Wish, takes: bool) -> PyResult<Option<Vec<u8>>> {
        let found = self.with(|exchange| match exchange.look(&wish) {
            Ok(Some(count)) if takes => Ok(Some(exchange.input.take(count))),
            Ok(Some(count)) => Ok(Some(exchange.input.unread().iter().take(count).copied().collect())),
            Ok(None) => {
                exchange.wish = Some(wish);
                Ok(None)
            }
            Err(lack) => Err((lack, exchange.input.unread().to_vec())),
        })?;
        match found {
            Ok(None) => {
                self.wake();
                Ok(None)
            }
            Ok(found) => Ok(found),
            Err((lack, partial)) => Err(LackError::new_err((name_of(lack), partial))),
        }
    }
}

fn name_of(lack: Lack) -> &'static str {
    match lack {
        Lack::Ended => "ended",
        Lack::Full => "full",
        Lack::TimedOut => "silent",
    }
}

fn kind_of(failure: FailureKind) -> &'static str {
    match failure {
        FailureKind::Refused => "refused",
        FailureKind::TimedOut => "timed_out",
        FailureKind::Reset => "reset",
        FailureKind::Unreachable => "unreachable",
        FailureKind::Tls => "tls",
        FailureKind::Failed => "failed",
    }
}

fn bytes(py: Python<'_>, found: Option<Vec<u8>>) -> Option<Bound<'_, PyBytes>> {
    found.map(|found| PyBytes::new(py, &found))
}

#[pymethods]
impl Session {
    /// The call's id, by which it is signalled.
    #[getter]
    fn call(&self) -> u64 {
        self.call.id
    }

    /// The phase and the names of the handlers, one a line.
    #[getter]
    fn handlers(&self) -> String {
        self.call.key().to_string()
    }

    /// Which load of the handlers.
    #[getter]
    fn generation(&self) -> u64 {
        self.call.generation
    }

    /// The phase.
    #[getter]
    fn phase(&self) -> &'static str {
        self.call.phase().name()
    }

    /// How many attempts to reach a peer were made before.
    #[getter]
    fn tries(&self) -> usize {
        self.call.tries
    }

    /// The peer of the last of them, why it failed, and what kind of failure that was.
    #[getter]
    fn last_failure(&self) -> Option<(String, String, &'static str)> {
        let failure = self.call.last_failure.as_ref()?;
        Some((failure.peer.to_string(), failure.reason.clone(), kind_of(failure.kind)))
    }

    /// Why the handler is to end: `client`, `deadline`, `idle`, or nothing.
    fn ending(&self) -> Option<&'static str> {
        match self.call.exchange().ending? {
            Ending::ClientLeft => Some("client"),
            Ending::Deadline => Some("deadline"),
            Ending::Idle => Some("idle"),
        }
    }

    /// The datagrams of the client; none if it has a connection.
    #[getter]
    fn datagrams(&self) -> Option<Datagrams> {
        self.call.exchange().datagrams.as_ref()?;
        Some(Datagrams::new(Self::new(Arc::clone(&self.call), Arc::clone(&self.queue))))
    }

    /// Return the client's connection, in the content phase, for tasks of this loop.
    fn stream(&self, py: Python<'_>, event_loop: Py<PyAny>) -> PyResult<Py<Stream>> {
        let arrival = Py::new(py, Arrival::new(event_loop))?;
        let stream = Stream::new(Arc::clone(&self.call), Arc::clone(&self.queue), arrival);
        let stream = Py::new(py, stream)?;
        self.queue.watch(self.call.id, stream.clone_ref(py));
        Ok(stream)
    }

    /// Look at the first `count` bytes; none if they may still come.
    fn peek<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.look(Wish::Bytes(count), false)?))
    }

    /// Look at all bytes up to and including a separator.
    fn peek_until<'py>(&self, py: Python<'py>, separator: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.look(Wish::Separator(separator.into()), false)?))
    }

    /// Take the first `count` bytes.
    fn read_exactly<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.look(Wish::Bytes(count), true)?))
    }

    /// Take all bytes up to and including a separator.
    fn read_until<'py>(&self, py: Python<'py>, separator: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        Ok(bytes(py, self.look(Wish::Separator(separator.into()), true)?))
    }

    /// Take what there is, at least one byte and at most `most`.
    fn read<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if self.look(Wish::Bytes(most.min(1)), false)?.is_none() {
            return Ok(None);
        }
        let taken = self.with(|exchange| exchange.input.take(most))?;
        Ok(bytes(py, Some(taken)))
    }

    /// Give bytes back, to be the first again; false if there is no room for them.
    fn unread(&self, data: &[u8]) -> PyResult<bool> {
        self.with(|exchange| exchange.input.give_back(data))
    }

    /// Write to the client, or send it a datagram. True if the handler has to wait until that is done, which is
    /// signalled.
    fn write(&self, data: &[u8]) -> PyResult<bool> {
        if self.call.exchange().datagrams.is_some() {
            return datagrams::send(self, data).map(|_| false);
        }
        let waits = self.with(|exchange| {
            exchange.write(data);
            exchange.drains = exchange.output.len() > OUTPUT_LIMIT;
            exchange.drains
        })?;
        self.wake();
        Ok(waits)
    }

    /// Tell whether what was written still waits for the client.
    fn is_draining(&self) -> PyResult<bool> {
        self.with(|exchange| exchange.drains)
    }

    /// Wait no longer for what was last looked for.
    fn give_up(&self) {
        let had_wish = self.call.exchange().wish.take().is_some();
        if had_wish {
            self.wake();
        }
    }

    /// Return the value of a variable; none if it is not found.
    fn variable(&self, name: &str) -> PyResult<Option<String>> {
        self.with(|exchange| exchange.session.as_mut().and_then(|session| vars::get(session, name)))
    }

    /// Set a variable; false if it is a built-in one.
    fn set_variable(&self, name: &str, value: &[u8]) -> PyResult<bool> {
        self.with(|exchange| exchange.session.as_mut().is_some_and(|session| vars::set(session, name, value)))
    }

    /// Return what handlers of this session have kept; none at first.
    fn context(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.with(|exchange| {
            let facts = exchange.session.as_ref()?.facts.as_ref()?;
            let kept = facts.context.as_ref()?.downcast_ref::<Py<PyAny>>()?;
            Some(kept.clone_ref(py))
        })
    }

    /// Keep something until the session's end.
    fn set_context(&self, context: Py<PyAny>) -> PyResult<()> {
        // What was kept before is dropped after the lock: that may run Python.
        let before = self.with(|exchange| {
            let session = exchange.session.as_mut()?;
            session.facts_mut().context.replace(Box::new(context))
        })?;
        drop(before);
        Ok(())
    }

    /// Ask for more attempts to reach a peer; return how many of them the configuration allows.
    fn more_tries(&self, count: u32) -> PyResult<u32> {
        self.with(|exchange| exchange.ask_for_tries(count, self.call.tries))
    }

    /// What the client's hello says; none if it cannot be read, and outside of TLS phases.
    fn client_hello<'py>(&self, py: Python<'py>) -> PyResult<Option<tls::Description<'py>>> {
        let records = self.with(|exchange| exchange.hello.as_ref().map(|hello| hello.records.clone()))?;
        Ok(records.and_then(|records| tls::describe(py, &records)))
    }

    /// Leave out the versions of TLS below and above these.
    #[pyo3(signature = (minimum, maximum))]
    fn limit_versions(&self, minimum: Option<&str>, maximum: Option<&str>) -> PyResult<()> {
        let minimum = minimum.map(tls::version).transpose()?;
        let maximum = maximum.map(tls::version).transpose()?;
        self.with(|exchange| {
            let Some(hello) = &mut exchange.hello else { return };
            // Handlers can only take away from what others have left.
            hello.minimum = hello.minimum.max(minimum);
            hello.maximum = hello.maximum.into_iter().chain(maximum).min();
        })
    }

    /// Tell a rejection by this alert.
    fn set_alert(&self, number: u8) -> PyResult<()> {
        self.with(|exchange| {
            if let Some(hello) = &mut exchange.hello {
                hello.alert = Some(Alert(number));
            }
        })
    }

    /// Show a certificate to the client.
    fn certify(&self, certificate: &CertifiedKey) -> bool {
        self.answer(Verdict::Certificate(certificate.key()))
    }

    /// What the peer has shown: certificates, what speaks against them, the name that was asked for, the peer's address.
    fn shown<'py>(&self, py: Python<'py>) -> PyResult<Option<Shown<'py>>> {
        let shown = self.with(|exchange| {
            let peer = exchange.session.as_ref()?.attempts.last()?.peer.to_string();
            Some((exchange.shown.as_ref()?.as_ref().clone(), peer))
        })?;
        let Some((shown, peer)) = shown else { return Ok(None) };
        let chain = shown.chain.iter().map(|der| PyBytes::new(py, der)).collect();
        Ok(Some((chain, shown.doubt, shown.name, peer)))
    }

    /// Take the peer for who it should be, whatever speaks against it.
    fn accept(&self) -> bool {
        self.answer(Verdict::Accept)
    }

    /// Go on to the next phase within this call; false if it has to be answered instead.
    fn move_on(&self) -> bool {
        self.call.move_on()
    }

    /// Let the session go on. False if it has ended, or was answered before; so for all answers.
    fn go_on(&self) -> bool {
        self.answer(Verdict::Continue)
    }

    /// End the session with a status and a text.
    fn reject(&self, status: u16, text: &[u8]) -> bool {
        self.answer(Verdict::Reject(status, text.to_vec()))
    }

    /// Connect to a peer.
    fn choose(&self, peer: &Peer) -> bool {
        self.answer(Verdict::Peer(peer.hold()))
    }

    /// End the session for what the client did.
    fn blame_client(&self, status: u16, message: String) -> bool {
        self.answer(Verdict::Client(status, message))
    }

    /// End the session with status 500, and a line in the error log.
    fn fail(&self, message: String) -> bool {
        self.answer(Verdict::Failed(message))
    }
}
