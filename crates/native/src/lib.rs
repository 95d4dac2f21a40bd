//! The Python extension `qanat._native`: the only crate that knows Python. Thin: it decodes, calls and translates errors.

mod arrival;
mod balance;
mod bridge;
mod datagrams;
mod errors;
mod frame;
mod gateway;
mod session;
mod store;
mod stream;
mod tls;

use pyo3::prelude::*;

use qanat_core::session::vars;
use qanat_plan::ChangeSet;

/// The data plane in Rust.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::arrival::{Arrival, BusyError};
    #[pymodule_export]
    use super::balance::{
        Balancer, ConsistentHash, LeastConnections, Maglev, Peer, RandomTwo, RoundRobin, SmoothWeighted,
    };
    #[pymodule_export]
    use super::bridge::Bridge;
    #[pymodule_export]
    use super::datagrams::Datagrams;
    #[pymodule_export]
    use super::errors::{ListenError, PlanError};
    #[pymodule_export]
    use super::frame::{FrameError, FrameParser, first_frame, look_for_frame};
    #[pymodule_export]
    use super::gateway::Gateway;
    #[pymodule_export]
    use super::session::{LackError, PhaseError, Session};
    #[pymodule_export]
    use super::store::SharedDict;
    #[pymodule_export]
    use super::stream::Stream;
    #[pymodule_export]
    use super::tls::CertifiedKey;
    #[pymodule_export]
    use super::{check, variable_names};
}

/// Validate a change set that starts from nothing, without opening a socket.
#[pyfunction]
fn check(py: Python<'_>, change_set: &[u8]) -> PyResult<()> {
    let change = ChangeSet::decode(change_set).map_err(|error| errors::undecodable(&error))?;
    let checked = py.detach(|| qanat_core::gateway::check(&change));
    checked.map_err(errors::translate)
}

/// List the built-in variables that the data plane knows.
#[pyfunction]
fn variable_names() -> Vec<&'static str> {
    vars::names()
}
