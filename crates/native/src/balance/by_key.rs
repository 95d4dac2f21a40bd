//! Balancers that a key leads to a peer with: the same key to the same one, as long as it is there.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};

use qanat_core::balance::members::{self, Placement, Ring};

use super::peer::{Peer, PeerLike};
use super::{Balancer, Membership};

/// A key: text or bytes.
#[derive(FromPyObject)]
enum Key {
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
}

impl Key {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Chooses by the hash of a key, on a ring.
#[pyclass(frozen, extends = Balancer, module = "qanat._native")]
pub(crate) struct ConsistentHash;

#[pymethods]
impl ConsistentHash {
    #[new]
    #[pyo3(signature = (peers=Membership::default(), *, points=160, compat="nginx"))]
    fn new(
        py: Python<'_>,
        peers: Membership,
        points: u32,
        compat: &str,
    ) -> PyResult<PyClassInitializer<Self>> {
        let placement = match compat {
            "nginx" => Placement::Nginx,
            "ketama" => Placement::Ketama,
            other => {
                let text = format!("compat is \"nginx\" or \"ketama\", not \"{other}\"");
                return Err(PyValueError::new_err(text));
            }
        };
        if points == 0 || (placement == Placement::Ketama && !points.is_multiple_of(4)) {
            let text = "points is at least 1, and for \"ketama\" a multiple of 4";
            return Err(PyValueError::new_err(text));
        }
        Ok(PyClassInitializer::from(Balancer::new(py, Box::new(Ring::new(placement, points)), peers)?)
            .add_subclass(Self))
    }

    /// Return the peer that a key belongs to, or the next one that is not excluded; none if nobody is left.
    #[pyo3(signature = (key, exclude=None))]
    #[allow(clippy::needless_pass_by_value, reason = "what Python passes is owned")]
    fn pick(slf: &Bound<'_, Self>, key: Key, exclude: Option<Vec<PeerLike>>) -> Option<Py<Peer>> {
        slf.as_super().get().choose(slf.py(), key.as_bytes(), &exclude.unwrap_or_default())
    }
}

/// Chooses by the hash of a key, in a table.
#[pyclass(frozen, extends = Balancer, module = "qanat._native")]
pub(crate) struct Maglev;

#[pymethods]
impl Maglev {
    #[new]
    #[pyo3(signature = (peers=Membership::default()))]
    fn new(py: Python<'_>, peers: Membership) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(Balancer::new(py, Box::new(members::Maglev::default()), peers)?)
            .add_subclass(Self))
    }

    /// Return the peer that a key belongs to, or another one if it is excluded; none if nobody is left.
    #[pyo3(signature = (key, exclude=None))]
    #[allow(clippy::needless_pass_by_value, reason = "what Python passes is owned")]
    fn pick(slf: &Bound<'_, Self>, key: Key, exclude: Option<Vec<PeerLike>>) -> Option<Py<Peer>> {
        slf.as_super().get().choose(slf.py(), key.as_bytes(), &exclude.unwrap_or_default())
    }
}
