//! `Peer`: an address, and how to speak to whoever is there.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use qanat_core::balance::members::Member;
use qanat_core::phase::call::Choice;

/// A larger share is a slip of the pen.
const MAX_WEIGHT: u32 = 65_535;

/// Bytes of the path of a unix socket, as unix(7) has it, without the zero at its end.
const MAX_PATH: usize = 107;

/// A peer that a handler may choose.
#[pyclass(frozen, eq, hash, module = "qanat._native")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    address: Arc<str>,
    weight: u32,
    wishes: Wishes,
    choice: ChoiceOf,
}

/// What a handler wants of a peer.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Wishes {
    tls: Option<bool>,
    name: Option<Arc<str>>,
    connect_timeout: Option<Duration>,
    timeout: Option<Duration>,
}

/// Made from the other fields, so it plays no part in comparisons.
struct ChoiceOf(Choice);

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
    /// A peer of which nothing is wanted.
    pub(super) fn plain(address: &str, weight: i64) -> PyResult<Self> {
        Self::make(address, weight, Wishes::default())
    }

    fn make(address: &str, weight: i64, wishes: Wishes) -> PyResult<Self> {
        let weight = u32::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
        let weight = weight.ok_or_else(|| invalid(format!("a weight is from 0 to {MAX_WEIGHT}")))?;
        let mut choice = choice_of(address)?;
        choice.tls = wishes.tls;
        choice.name.clone_from(&wishes.name);
        choice.connect_timeout = wishes.connect_timeout;
        choice.timeout = wishes.timeout;
        Ok(Self { address: Arc::clone(&choice.text), weight, wishes, choice: ChoiceOf(choice) })
    }

    /// The same peer with another weight.
    pub(super) fn with_weight(&self, weight: i64) -> PyResult<Self> {
        Self::make(&self.address, weight, self.wishes.clone())
    }

    /// The choice of this peer for a session, which is counted from now on.
    pub(crate) fn hold(&self) -> Arc<Choice> {
        self.choice.0.hold()
    }

    pub(super) fn as_member(&self) -> Member {
        Member { name: Arc::clone(&self.address), weight: self.weight, load: Arc::clone(&self.choice.0.load) }
    }
}

fn invalid(message: String) -> PyErr {
    PyValueError::new_err(message)
}

fn choice_of(address: &str) -> PyResult<Choice> {
    let refuse = || invalid(format!("\"{address}\" is not IP:PORT, [V6]:PORT or unix:/PATH"));
    let can_be_path = |path: &str| (1..=MAX_PATH).contains(&path.len()) && !path.contains('\0');
    if address.strip_prefix("unix:").is_some_and(|path| !can_be_path(path)) {
        return Err(refuse());
    }
    Choice::new(address).map_err(|_| refuse())
}

fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| invalid(error.to_string()))
}

#[pymethods]
impl Peer {
    #[new]
    #[pyo3(signature = (address, *, weight=1, tls=None, name=None, connect_timeout=None, timeout=None))]
    fn new(
        address: &str,
        weight: i64,
        tls: Option<bool>,
        name: Option<&str>,
        connect_timeout: Option<f64>,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let connect_timeout = connect_timeout.map(duration).transpose()?;
        let timeout = timeout.map(duration).transpose()?;
        Self::make(address, weight, Wishes { tls, name: name.map(Into::into), connect_timeout, timeout })
    }

    #[getter]
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    #[getter]
    pub(super) fn weight(&self) -> u32 {
        self.weight
    }

    #[getter]
    fn tls(&self) -> Option<bool> {
        self.wishes.tls
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.wishes.name.as_deref()
    }

    #[getter]
    fn connect_timeout(&self) -> Option<f64> {
        self.wishes.connect_timeout.map(|timeout| timeout.as_secs_f64())
    }

    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.wishes.timeout.map(|timeout| timeout.as_secs_f64())
    }

    fn __repr__(&self) -> String {
        format!("Peer('{}', weight={})", self.address, self.weight)
    }
}

/// A peer, or the address of one.
#[derive(FromPyObject)]
pub(super) enum PeerLike {
    Peer(Py<Peer>),
    Address(String),
}

impl PeerLike {
    pub(super) fn into_peer(self, py: Python<'_>) -> PyResult<Py<Peer>> {
        match self {
            Self::Peer(peer) => Ok(peer),
            Self::Address(address) => Py::new(py, Peer::plain(&address, 1)?),
        }
    }

    pub(super) fn address(&self) -> &str {
        match self {
            Self::Peer(peer) => &peer.get().address,
            Self::Address(address) => address,
        }
    }
}

/// How many sessions are open through a peer.
pub(super) fn load_of(peer: &PeerLike) -> PyResult<u32> {
    match peer {
        PeerLike::Peer(peer) => Ok(peer.get().choice.0.load.open()),
        PeerLike::Address(address) => Ok(choice_of(address)?.load.open()),
    }
}
