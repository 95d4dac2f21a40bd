//! Listeners that refuse connections while none of their tunnels is up: `when_down=refuse` of a local service.
//!
//! A closed gate is a socket that stays bound and was shut down: Linux answers connections with a reset then, as it does
//! where nobody listens, and `listen` takes them again. Without `SO_REUSEADDR` nobody else gets the port meanwhile.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use qanat_plan::Level;
use socket2::Socket;
use tokio::sync::Notify;

use super::registry::Tunnel;
use crate::error::describe;
use crate::log::error::ErrorLogs;

/// The gates of a gateway, and the tunnels that are up.
#[derive(Default)]
pub struct Gates {
    state: Mutex<State>,
    /// How often a gate was opened or closed.
    turns: AtomicU64,
    turned: Notify,
}

#[derive(Default)]
struct State {
    /// By the id of the listener.
    gates: HashMap<Arc<str>, Gate>,
    up: HashSet<Arc<str>>,
    log: ErrorLogs,
}

/// The sockets of a listener, and the tunnels that lead on from it.
pub struct Gate {
    sockets: Vec<Socket>,
    backlog: i32,
    tunnels: Vec<String>,
    is_open: bool,
}

impl Gate {
    /// A gate of sockets that listen, with a queue of `backlog` connections.
    pub fn new(sockets: Vec<Socket>, backlog: i32, tunnels: Vec<String>) -> Self {
        Self { sockets, backlog, tunnels, is_open: true }
    }

    /// Refuses connections from now on. Those that nobody has accepted are reset.
    ///
    /// # Errors
    /// The system's.
    fn close(&mut self) -> io::Result<()> {
        self.is_open = false;
        for socket in &self.sockets {
            socket.shutdown(Shutdown::Read)?;
            socket.set_reuse_address(false)?;
        }
        Ok(())
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// The system's; it stays closed then.
    fn open(&mut self) -> io::Result<()> {
        for socket in &self.sockets {
            // Connections of before may still have the port.
            socket.set_reuse_address(true)?;
            socket.listen(self.backlog)?;
        }
        self.is_open = true;
        Ok(())
    }
}

impl Gates {
    /// Where to log what goes wrong.
    pub(super) fn log_to(&self, log: &ErrorLogs) {
        self.state.lock().log = log.clone();
    }

    /// Puts a gate before a listener, or takes away the one that is there.
    pub fn set(&self, listener: &Arc<str>, gate: Option<Gate>) {
        let mut state = self.state.lock();
        let former = state.gates.remove(listener);
        match (gate, former) {
            (Some(mut gate), former) => {
                gate.is_open = former.is_none_or(|former| former.is_open);
                state.gates.insert(Arc::clone(listener), gate);
                self.settle(&mut state, |id, _| id == listener);
            }
            (None, Some(mut former)) if !former.is_open => {
                if let Err(error) = former.open() {
                    complain(&state.log, listener, &error);
                }
                self.note_turn();
            }
            (None, _) => {}
        }
    }

    /// Forgets the gate of a listener that is closed for good.
    pub fn forget(&self, listener: &str) {
        self.state.lock().gates.remove(listener);
        self.note_turn();
    }

    /// A tunnel may have come up, or gone down.
    pub(super) fn note(&self, tunnel: &Tunnel) {
        let mut state = self.state.lock();
        // Asked for with the lock held: whoever comes last sees what is last.
        let is_up = tunnel.with(|tunnel| tunnel.carriers.iter().any(|carrier| carrier.is_open()));
        let is_news =
            if is_up { state.up.insert(Arc::clone(&tunnel.name)) } else { state.up.remove(&tunnel.name) };
        if is_news {
            self.settle(&mut state, |_, gate| gate.tunnels.iter().any(|name| **name == *tunnel.name));
        }
    }

    /// How often any gate was opened or closed: a socket that was watched before has to be watched anew.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Returns once the gate of a listener is open; false if there is none. Cancel safe.
    pub async fn opened(&self, listener: &str) -> bool {
        loop {
            let turned = self.turned.notified();
            match self.state.lock().gates.get(listener).map(|gate| gate.is_open) {
                Some(false) => {}
                found => return found.is_some(),
            }
            turned.await;
        }
    }

    /// Opens and closes gates, as their tunnels want it.
    fn settle(&self, state: &mut State, concerns: impl Fn(&Arc<str>, &Gate) -> bool) {
        let State { gates, up, log } = state;
        let mut has_turned = false;
        for (id, gate) in gates.iter_mut().filter(|(id, gate)| concerns(id, gate)) {
            let is_wanted = gate.tunnels.iter().any(|name| up.contains(name.as_str()));
            if is_wanted == gate.is_open {
                continue;
            }
            has_turned = true;
            if let Err(error) = if is_wanted { gate.open() } else { gate.close() } {
                complain(log, id, &error);
            }
        }
        if has_turned {
            self.note_turn();
        }
    }

    fn note_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.turned.notify_waiters();
    }
}

fn complain(log: &ErrorLogs, listener: &str, error: &io::Error) {
    log.write(Level::Alert, &format!("refusing or listening at {listener} failed ({})", describe(error)));
}
