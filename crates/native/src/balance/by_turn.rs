//! Balancers that need no key: by turns, by open sessions, by chance.

use pyo3::prelude::*;

use qanat_core::balance::members;

use super::peer::{Peer, PeerLike};
use super::{Balancer, Membership};

/// Lets peers take turns, in rounds by their weights.
#[pyclass(frozen, extends = Balancer, module = "qanat._native")]
pub(crate) struct RoundRobin;

#[pymethods]
impl RoundRobin {
    #[new]
    #[pyo3(signature = (peers=Membership::default()))]
    fn new(py: Python<'_>, peers: Membership) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Balancer::new(py, Box::new(members::Stepping::default()), peers)?)
            .add_subclass(Self))
    }

    /// Return the peer whose turn it is among those that are not excluded; none if nobody is left.
    #[pyo3(signature = (exclude=None))]
    fn pick(slf: &Bound<'_, Self>, exclude: Option<Vec<PeerLike>>) -> Option<Py<Peer>> {
        slf.as_super().get().choose(slf.py(), b"", &exclude.unwrap_or_default())
    }
}

/// Lets peers take turns, spread evenly by their weights.
#[pyclass(frozen, extends = Balancer, module = "qanat._native")]
pub(crate) struct SmoothWeighted;

#[pymethods]
impl SmoothWeighted {
    #[new]
    #[pyo3(signature = (peers=Membership::default()))]
    fn new(py: Python<'_>, peers: Membership) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Balancer::new(py, Box::new(members::Smooth::default()), peers)?)
            .add_subclass(Self))
    }

    /// Return the peer whose turn it is among those that are not excluded; none if nobody is left.
    #[pyo3(signature = (exclude=None))]
    fn pick(slf: &Bound<'_, Self>, exclude: Option<Vec<PeerLike>>) -> Option<Py<Peer>> {
        slf.as_super().get().choose(slf.py(), b"", &exclude.unwrap_or_default())
    }
}

/// Chooses the peer with the fewest open sessions for its weight.
#[pyclass(frozen, extends = Balancer, module = "qanat._native")]
pub(crate) struct LeastConnections;

#[pymethods]
impl LeastConnections {
    #[new]
    #[pyo3(signature = (peers=Membership::default()))]
    fn new(py: Python<'_>, peers: Membership) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Balancer::new(py, Box::new(members::Least::default()), peers)?)
            .add_subclass(Self))
    }

    /// Return the peer with the least load among those that are not excluded; none if nobody is left.
    #[pyo3(signature = (exclude=None))]
    fn pick(slf: &Bound<'_, Self>, exclude: Option<Vec<PeerLike>>) -> Option<Py<Peer>> {
        slf.as_super().get().choose(slf.py(), b"", &exclude.unwrap_or_default())
    }
}

/// Chooses the better of two that chance picks.
#[pyclass(frozen, extends = Balancer, module = "qanat._native")]
pub(crate) struct RandomTwo;

#[pymethods]
impl RandomTwo {
    #[new]
    #[pyo3(signature = (peers=Membership::default()))]
    fn new(py: Python<'_>, peers: Membership) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Balancer::new(py, Box::new(members::RandomTwo::new()), peers)?)
            .add_subclass(Self))
    }

    /// Return the better of two that are not excluded; none if nobody is left.
    #[pyo3(signature = (exclude=None))]
    fn pick(slf: &Bound<'_, Self>, exclude: Option<Vec<PeerLike>>) -> Option<Py<Peer>> {
        slf.as_super().get().choose(slf.py(), b"", &exclude.unwrap_or_default())
    }
}
