//! An upstream at run time: its peers, how one is chosen, and what became of earlier choices.

use std::sync::Arc;

use qanat_plan as spec;

use crate::address::Address;
use crate::plan::link::LinkError;
use crate::session::Session;

/// A linked upstream. All workers share its state; a changed upstream takes over the state of the peers it keeps.
pub struct Upstream {
    /// Its description.
    pub spec: Arc<spec::Upstream>,
}

/// What one session has tried so far.
#[derive(Default)]
pub struct Tries {}

/// A chosen peer. Dropping it ends the connection's count.
pub struct Picked {
    /// Where to connect.
    pub address: Address,
    /// The address as logs show it.
    pub name: Arc<str>,
}

impl Picked {
    /// The connection is up: clears earlier failures.
    pub fn connected(&mut self) {}

    /// The attempt failed: counts against the peer. True if the peer was just marked unavailable.
    pub fn failed(&mut self) -> bool {
        false
    }
}

impl Upstream {
    /// Links an upstream, taking over the state of the same peers in `previous`.
    ///
    /// # Errors
    /// An address that cannot be parsed, an unknown variable in a hash key.
    pub fn link(spec: &spec::Upstream, _previous: Option<&Self>) -> Result<Self, LinkError> {
        Ok(Self { spec: Arc::new(spec.clone()) })
    }

    /// Chooses a peer that this session has not tried; none if nobody is left.
    pub fn pick(&self, _session: &mut Session, _tries: &mut Tries) -> Option<Picked> {
        None
    }

    /// How many attempts a session has at most: peers that are not `down`, backups included.
    pub fn attempts(&self) -> usize {
        0
    }
}
