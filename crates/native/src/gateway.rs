//! `Gateway`: the handle by which `control` rules the data plane.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use qanat_core::gateway;
use qanat_core::phase::Hooks;
use qanat_plan::{ChangeSet, Level, Options, RuleQuery, Tunnel};

use crate::bridge::{Bridge, Queue};
use crate::errors;

/// A running data plane: worker threads that serve the current plan.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct Gateway {
    gateway: gateway::Gateway,
    queue: Arc<Queue>,
}

#[pymethods]
impl Gateway {
    #[new]
    fn new(py: Python<'_>, options: &[u8]) -> PyResult<Self> {
        let options = Options::decode(options).map_err(|error| errors::undecodable(&error))?;
        let queue = Arc::new(Queue::new()?);
        let hooks: Arc<dyn Hooks> = Arc::<Queue>::clone(&queue);
        let gateway = py.detach(|| gateway::Gateway::with_hooks(&options, Some(hooks)))?;
        Ok(Self { gateway, queue })
    }

    /// Return where the calls of handlers arrive.
    fn bridge(&self) -> Bridge {
        Bridge::new(Arc::clone(&self.queue))
    }

    /// Validate and link a change set and bind its new sockets; nothing is visible yet. Return a ticket.
    fn prepare(&self, py: Python<'_>, change_set: &[u8]) -> PyResult<u64> {
        let change = ChangeSet::decode(change_set).map_err(|error| errors::undecodable(&error))?;
        py.detach(|| self.gateway.prepare(&change)).map_err(errors::translate)
    }

    /// Make a prepared change live on every worker before returning.
    fn commit(&self, py: Python<'_>, ticket: u64) -> PyResult<()> {
        py.detach(|| self.gateway.commit(ticket)).map_err(errors::translate)
    }

    /// Drop a prepared change and close the sockets it bound.
    fn abort(&self, py: Python<'_>, ticket: u64) -> PyResult<()> {
        py.detach(|| self.gateway.abort(ticket)).map_err(errors::translate)
    }

    /// Try whether a tunnel could be brought up, and leave nothing behind; return why it could not.
    fn probe_tunnel(
        &self,
        py: Python<'_>,
        name: String,
        dial: String,
        peer: Option<String>,
    ) -> Option<String> {
        let tunnel = Tunnel { name, dial, peer, send_rate: 0, receive_rate: 0, origin: String::new() };
        py.detach(|| self.gateway.probe_tunnel(tunnel)).err()
    }

    /// Wait until a tunnel is up; false if it is not within so many seconds.
    fn wait_for_tunnel(&self, py: Python<'_>, name: &str, seconds: f64) -> PyResult<bool> {
        let patience =
            Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(py.detach(|| self.gateway.wait_for_tunnel(name, patience)))
    }

    /// End a tunnel that the other end has dialled; false if there is none.
    fn close_tunnel(&self, name: &str) -> bool {
        self.gateway.tunnels().close(name)
    }

    /// Open no more streams on a tunnel, and take none; those that there are have so many seconds to end.
    fn leave_tunnel(&self, name: &str, seconds: f64) -> PyResult<()> {
        let patience = Duration::try_from_secs_f64(seconds);
        let patience = patience.map_err(|error| PyValueError::new_err(error.to_string()))?;
        self.gateway.tunnels().drain(Some(name), patience);
        Ok(())
    }

    /// Reset the streams of a local service, or those that a remote one serves, on one tunnel or all.
    #[pyo3(signature = (service, *, local, tunnel=None))]
    fn reset_streams(&self, service: &str, local: bool, tunnel: Option<&str>) {
        self.gateway.tunnels().reset(service, local, tunnel);
    }

    /// Read state as `MessagePack`.
    fn snapshot<'py>(&self, py: Python<'py>, what: &str) -> PyResult<Bound<'py, PyBytes>> {
        let state = py.detach(|| self.gateway.snapshot(what));
        let state =
            state.ok_or_else(|| PyValueError::new_err(format!("no snapshot is called \"{what}\"")))?;
        Ok(PyBytes::new(py, &state))
    }

    /// Ask the rules of a table about a session that might come, as `MessagePack` both ways.
    fn explain_rules<'py>(&self, py: Python<'py>, query: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let query = RuleQuery::decode(query).map_err(|error| errors::undecodable(&error))?;
        let Some(verdict) = py.detach(|| self.gateway.explain_rules(&query)) else { return Ok(None) };
        let encoded = verdict.encode().map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Some(PyBytes::new(py, &encoded)))
    }

    /// Write a line to the main error log, if its level admits it.
    fn log(&self, level: &str, message: &str) -> PyResult<()> {
        self.gateway.log(level_of(level)?, message);
        Ok(())
    }

    /// Open every log file anew (after rotation).
    fn reopen_logs(&self, py: Python<'_>) {
        py.detach(|| self.gateway.reopen_logs());
    }

    /// Close all listening sockets; sessions go on.
    fn drain(&self, py: Python<'_>) {
        py.detach(|| self.gateway.drain());
    }

    /// Count the sessions that are open.
    fn sessions(&self) -> u64 {
        self.gateway.sessions()
    }

    /// End every session, stop the workers, write out the logs.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.gateway.stop());
    }
}

fn level_of(name: &str) -> PyResult<Level> {
    Ok(match name {
        "debug" => Level::Debug,
        "info" => Level::Info,
        "notice" => Level::Notice,
        "warn" => Level::Warn,
        "error" => Level::Error,
        "crit" => Level::Crit,
        "alert" => Level::Alert,
        "emerg" => Level::Emerg,
        _ => return Err(PyValueError::new_err(format!("no log level is called \"{name}\""))),
    })
}
