//! `Balancer`: what all ready-made ways to choose a peer have in common. Each is a class in a file below. Members are
//! changed as a whole, by whoever, and every handler sees the same ones.

mod by_key;
mod by_turn;
mod peer;

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use qanat_core::balance::members::{Member, Method, Roster, TooManyPoints};

pub(crate) use self::by_key::{ConsistentHash, Maglev};
pub(crate) use self::by_turn::{LeastConnections, RandomTwo, RoundRobin, SmoothWeighted};
pub(crate) use self::peer::Peer;
use self::peer::{PeerLike, load_of};

/// Members, and a way to choose one of them.
#[pyclass(frozen, subclass, module = "qanat._native")]
pub(crate) struct Balancer {
    state: Mutex<State>,
}

struct State {
    roster: Roster,
    /// In the order of the roster.
    peers: Vec<Py<Peer>>,
}

/// What members are made of: peers and addresses, or addresses with their weights.
#[derive(FromPyObject)]
enum Membership {
    Weights(HashMap<String, i64>),
    Peers(Vec<PeerLike>),
}

impl Membership {
    /// One peer for each address; of several, the last one stands, as in a `dict`.
    fn into_peers(self, py: Python<'_>) -> PyResult<Vec<Py<Peer>>> {
        let all = match self {
            Self::Peers(peers) => {
                peers.into_iter().map(|peer| peer.into_peer(py)).collect::<PyResult<Vec<_>>>()?
            }
            Self::Weights(weights) => {
                let mut weights: Vec<_> = weights.into_iter().collect();
                weights.sort();
                let made =
                    weights.iter().map(|(address, weight)| Py::new(py, Peer::plain(address, *weight)?));
                made.collect::<PyResult<Vec<_>>>()?
            }
        };
        let mut places = HashMap::with_capacity(all.len());
        let mut peers: Vec<Py<Peer>> = Vec::with_capacity(all.len());
        for peer in all {
            let place = *places.entry(peer.get().address().to_owned()).or_insert(peers.len());
            match peers.get_mut(place) {
                Some(earlier) => *earlier = peer,
                None => peers.push(peer),
            }
        }
        Ok(peers)
    }
}

impl Default for Membership {
    fn default() -> Self {
        Self::Peers(Vec::new())
    }
}

impl Balancer {
    fn new(py: Python<'_>, method: Box<dyn Method>, peers: Membership) -> PyResult<Self> {
        let balancer = Self { state: Mutex::new(State { roster: Roster::new(method), peers: Vec::new() }) };
        balancer.replace(py, peers)?;
        Ok(balancer)
    }

    fn choose(&self, py: Python<'_>, key: &[u8], exclude: &[PeerLike]) -> Option<Py<Peer>> {
        let mut state = self.state.lock();
        let skip = |member: &Member| exclude.iter().any(|one| one.address() == &*member.name);
        let index = state.roster.pick(key, skip)?;
        state.peers.get(index).map(|peer| peer.clone_ref(py))
    }

    /// Changes the members. They are held until that is done, so no other change comes in between.
    fn change(&self, py: Python<'_>, edit: impl FnOnce(&mut Vec<Py<Peer>>) -> PyResult<()>) -> PyResult<()> {
        let mut state = self.state.lock();
        let mut peers: Vec<_> = state.peers.iter().map(|peer| peer.clone_ref(py)).collect();
        edit(&mut peers)?;
        let former = put(&mut state, peers)?;
        drop(state);
        drop(former);
        Ok(())
    }
}

/// Puts peers in place of the present ones, which are returned to be dropped without the lock.
fn put(state: &mut MutexGuard<'_, State>, peers: Vec<Py<Peer>>) -> PyResult<Vec<Py<Peer>>> {
    let members = peers.iter().map(|peer| peer.get().as_member()).collect();
    let placed = state.roster.replace(members);
    placed.map_err(|error: TooManyPoints| PyValueError::new_err(error.to_string()))?;
    Ok(std::mem::replace(&mut state.peers, peers))
}

fn find(peers: &[Py<Peer>], address: &str) -> Option<usize> {
    peers.iter().position(|peer| peer.get().address() == address)
}

#[pymethods]
impl Balancer {
    /// Put other peers in place of the present ones, at once.
    fn replace(&self, py: Python<'_>, peers: Membership) -> PyResult<()> {
        let peers = peers.into_peers(py)?;
        let former = put(&mut self.state.lock(), peers)?;
        drop(former);
        Ok(())
    }

    /// Add a peer, or put it in place of the one with the same address.
    fn add(&self, py: Python<'_>, peer: PeerLike) -> PyResult<()> {
        let peer = peer.into_peer(py)?;
        self.change(py, |peers| {
            match find(peers, peer.get().address()) {
                Some(index) => peers[index] = peer,
                None => peers.push(peer),
            }
            Ok(())
        })
    }

    /// Tell how many sessions are open through a peer, whichever handler chose it.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value, reason = "what Python passes is owned")]
    fn load(peer: PeerLike) -> PyResult<u32> {
        load_of(&peer)
    }

    /// The present peers.
    #[getter]
    fn peers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let peers: Vec<_> = self.state.lock().peers.iter().map(|peer| peer.clone_ref(py)).collect();
        PyTuple::new(py, peers)
    }

    fn __len__(&self) -> usize {
        self.state.lock().peers.len()
    }

    fn __contains__(&self, address: &str) -> bool {
        find(&self.state.lock().peers, address).is_some()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let addresses: Vec<String> =
            self.state.lock().peers.iter().map(|peer| peer.get().address().to_owned()).collect();
        PyTuple::new(py, addresses)?.as_any().try_iter()
    }

    fn __getitem__(&self, address: &str) -> PyResult<u32> {
        let state = self.state.lock();
        let index = find(&state.peers, address).ok_or_else(|| unknown(address))?;
        Ok(state.peers[index].get().weight())
    }

    fn __setitem__(&self, py: Python<'_>, address: &str, weight: i64) -> PyResult<()> {
        self.change(py, |peers| {
            match find(peers, address) {
                Some(index) => peers[index] = Py::new(py, peers[index].get().with_weight(weight)?)?,
                None => peers.push(Py::new(py, Peer::plain(address, weight)?)?),
            }
            Ok(())
        })
    }

    fn __delitem__(&self, py: Python<'_>, address: &str) -> PyResult<()> {
        self.change(py, |peers| {
            peers.remove(find(peers, address).ok_or_else(|| unknown(address))?);
            Ok(())
        })
    }
}

fn unknown(address: &str) -> PyErr {
    PyKeyError::new_err(address.to_owned())
}
