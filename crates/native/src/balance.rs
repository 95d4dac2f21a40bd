//! `Peer`, and the ways to choose one that handlers find ready: members are changed as a whole, by whoever.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use qanat_core::balance::members::{HashRing, Rotation};
use qanat_core::phase::call::Choice;

/// A peer that a handler may choose.
#[pyclass(frozen, eq, hash, module = "qanat._native")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    address: String,
    weight: u32,
    tls: Option<bool>,
    name: Option<String>,
    connect_timeout: Option<Duration>,
    choice: ChoiceOf,
}

/// Made from the other fields, so it plays no part in comparisons.
struct ChoiceOf(Arc<Choice>);

impl PartialEq for ChoiceOf {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ChoiceOf {}

impl std::hash::Hash for ChoiceOf {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Peer {
    pub(crate) fn choice(&self) -> Arc<Choice> {
        Arc::clone(&self.choice.0)
    }
}

#[pymethods]
impl Peer {
    #[new]
    #[pyo3(signature = (address, *, weight=1, tls=None, name=None, connect_timeout=None))]
    fn new(
        address: String,
        weight: u32,
        tls: Option<bool>,
        name: Option<String>,
        connect_timeout: Option<f64>,
    ) -> PyResult<Self> {
        let invalid = |message: String| PyValueError::new_err(message);
        let mut choice = Choice::new(&address)
            .map_err(|_| invalid(format!("\"{address}\" is not IP:PORT, [V6]:PORT or unix:/PATH")))?;
        if weight == 0 {
            return Err(invalid("a weight is at least 1".to_owned()));
        }
        let connect_timeout = connect_timeout
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(|error| invalid(error.to_string())))
            .transpose()?;
        choice.tls = tls;
        choice.name = name.as_deref().map(Into::into);
        choice.connect_timeout = connect_timeout;
        Ok(Self { address, weight, tls, name, connect_timeout, choice: ChoiceOf(Arc::new(choice)) })
    }

    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    #[getter]
    fn weight(&self) -> u32 {
        self.weight
    }

    #[getter]
    fn tls(&self) -> Option<bool> {
        self.tls
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    #[getter]
    fn connect_timeout(&self) -> Option<f64> {
        self.connect_timeout.map(|timeout| timeout.as_secs_f64())
    }

    fn __repr__(&self) -> String {
        format!("Peer('{}', weight={})", self.address, self.weight)
    }
}

/// A peer, or the address of one.
#[derive(FromPyObject)]
enum PeerLike {
    Peer(Py<Peer>),
    Address(String),
}

impl PeerLike {
    fn into_peer(self, py: Python<'_>) -> PyResult<Py<Peer>> {
        match self {
            Self::Peer(peer) => Ok(peer),
            Self::Address(address) => Py::new(py, Peer::new(address, 1, None, None, None)?),
        }
    }
}

fn into_peers(py: Python<'_>, peers: Vec<PeerLike>) -> PyResult<Vec<Py<Peer>>> {
    peers.into_iter().map(|peer| peer.into_peer(py)).collect()
}

fn copy(py: Python<'_>, peers: &[Py<Peer>]) -> Vec<Py<Peer>> {
    peers.iter().map(|peer| peer.clone_ref(py)).collect()
}

fn is_excluded(peer: &Py<Peer>, exclude: &[Py<Peer>]) -> bool {
    exclude.iter().any(|one| one.get() == peer.get())
}

/// A key: text or bytes.
#[derive(FromPyObject)]
enum Key {
    Text(String),
    Bytes(Vec<u8>),
}

impl Key {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Chooses by the hash of a key, on a ring that is placed as nginx's `hash KEY consistent` places it.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct ConsistentHash {
    state: Mutex<Arc<RingState>>,
}

struct RingState {
    ring: HashRing<Py<Peer>>,
    peers: Vec<Py<Peer>>,
}

impl RingState {
    fn new(py: Python<'_>, peers: Vec<Py<Peer>>) -> Arc<Self> {
        let members =
            peers.iter().map(|peer| (peer.get().address.as_str(), peer.get().weight, peer.clone_ref(py)));
        Arc::new(Self { ring: HashRing::new(members), peers })
    }
}

impl ConsistentHash {
    fn state(&self) -> Arc<RingState> {
        Arc::clone(&self.state.lock())
    }

    fn change(&self, state: Arc<RingState>) {
        // The former members are dropped after the lock.
        let _before = std::mem::replace(&mut *self.state.lock(), state);
    }
}

#[pymethods]
impl ConsistentHash {
    #[new]
    #[pyo3(signature = (peers=Vec::new()))]
    fn new(py: Python<'_>, peers: Vec<PeerLike>) -> PyResult<Self> {
        Ok(Self { state: Mutex::new(RingState::new(py, into_peers(py, peers)?)) })
    }

    /// Return the peer that a key belongs to, or the next one that is not excluded; none if nobody is left.
    #[pyo3(signature = (key, exclude=None))]
    fn pick(&self, py: Python<'_>, key: Key, exclude: Option<Vec<Py<Peer>>>) -> Option<Py<Peer>> {
        let state = self.state();
        let exclude = exclude.unwrap_or_default();
        state.ring.pick(&key.into_bytes(), |peer| is_excluded(peer, &exclude)).map(|peer| peer.clone_ref(py))
    }

    /// Put other peers in place of the present ones, at once.
    fn replace(&self, py: Python<'_>, peers: Vec<PeerLike>) -> PyResult<()> {
        self.change(RingState::new(py, into_peers(py, peers)?));
        Ok(())
    }

    /// The present peers.
    #[getter]
    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, copy(py, &self.state().peers))
    }

    fn __len__(&self) -> usize {
        self.state().peers.len()
    }
}

/// Lets peers take turns, smoothly by their weights.
#[pyclass(frozen, module = "qanat._native")]
pub(crate) struct RoundRobin {
    state: Mutex<TurnState>,
}

struct TurnState {
    rotation: Rotation<Py<Peer>>,
    peers: Vec<Py<Peer>>,
}

impl TurnState {
    fn new(py: Python<'_>, peers: Vec<Py<Peer>>) -> Self {
        let members = peers.iter().map(|peer| (peer.get().weight, peer.clone_ref(py)));
        Self { rotation: Rotation::new(members), peers }
    }
}

#[pymethods]
impl RoundRobin {
    #[new]
    #[pyo3(signature = (peers=Vec::new()))]
    fn new(py: Python<'_>, peers: Vec<PeerLike>) -> PyResult<Self> {
        Ok(Self { state: Mutex::new(TurnState::new(py, into_peers(py, peers)?)) })
    }

    /// Return the peer whose turn it is among those that are not excluded; none if nobody is left.
    #[pyo3(signature = (exclude=None))]
    fn pick(&self, py: Python<'_>, exclude: Option<Vec<Py<Peer>>>) -> Option<Py<Peer>> {
        let exclude = exclude.unwrap_or_default();
        let mut state = self.state.lock();
        state.rotation.pick(|peer| is_excluded(peer, &exclude)).map(|peer| peer.clone_ref(py))
    }

    /// Put other peers in place of the present ones, at once.
    fn replace(&self, py: Python<'_>, peers: Vec<PeerLike>) -> PyResult<()> {
        let state = TurnState::new(py, into_peers(py, peers)?);
        // The former members are dropped after the lock.
        let _before = std::mem::replace(&mut *self.state.lock(), state);
        Ok(())
    }

    /// The present peers.
    #[getter]
    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let peers = copy(py, &self.state.lock().peers);
        PyTuple::new(py, peers)
    }

    fn __len__(&self) -> usize {
        self.state.lock().peers.len()
    }
}
