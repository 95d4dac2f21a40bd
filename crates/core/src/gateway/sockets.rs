//! The sockets of a gateway: which listeners are bound, and what a change does to them.

use std::collections::HashMap;
use std::sync::Arc;

use qanat_plan as spec;

use crate::address::Address;
use crate::error::{ApplyError, describe};
use crate::listener::{Bound, Endpoint, Share};
use crate::plan::{Listener, Plan};
use crate::tunnel::Gates;

/// Bound listeners by id. Listeners that use their parent's socket are not among them.
pub struct Sockets {
    bound: HashMap<Arc<str>, Bound>,
    /// Those of listeners that may have to refuse.
    gates: Arc<Gates>,
}

/// A prepared change of sockets. Dropping it closes what it bound.
#[derive(Default)]
pub struct Step {
    opened: Vec<Opened>,
    /// Listeners whose sockets close.
    closed: Vec<Arc<str>>,
    retuned: Vec<Arc<spec::Listener>>,
}

struct Opened {
    bound: Bound,
    shares: Vec<Share>,
    /// It begins to listen once the sockets that it replaces are closed, and it is known whether it may.
    late: bool,
}

/// What one worker has to do for a change, in this order.
#[derive(Debug, Default)]
pub struct Orders {
    /// Listeners to close.
    pub close: Vec<Arc<str>>,
    /// Listeners to open.
    pub open: Vec<(Arc<str>, Share)>,
}

impl Opened {
    fn bind(listener: &Listener, workers: usize, rivals: &[&Bound]) -> std::io::Result<Self> {
        let bound = Bound::bind(Arc::clone(&listener.spec), listener.address.clone(), workers, rivals)?;
        let shares = (0..workers).map(|worker| bound.share(worker)).collect::<Result<_, _>>()?;
        let late = !rivals.is_empty() || listener.spec.refuses_without.is_some();
        Ok(Self { bound, shares, late })
    }
}

impl Sockets {
    /// None yet.
    pub fn new(gates: &Arc<Gates>) -> Self {
        Self { bound: HashMap::new(), gates: Arc::clone(gates) }
    }

    /// Binds what `change` needs; `next` is the plan that it leads to.
    ///
    /// # Errors
    /// [`ApplyError::Listen`] names the listener that cannot be bound; nothing stays bound.
    pub fn prepare(&self, next: &Plan, change: &spec::ChangeSet, workers: usize) -> Result<Step, ApplyError> {
        let mut step = Step::default();
        let mut wanted = Vec::new();
        for listener in &change.put.listeners {
            let Some(linked) = next.listeners.get(listener.id.as_str()) else { continue };
            let spec = &linked.spec;
            if matches!(linked.address, Address::Tunnel(_)) {
                // Its sessions come through tunnels: there is nothing to bind.
                continue;
            }
            match (self.bound.get(listener.id.as_str()), spec.parent.is_none()) {
                (None, true) => wanted.push(linked),
                (Some(bound), true) if bound.must_rebind(spec) => {
                    step.closed.push(spec.id.as_str().into());
                    wanted.push(linked);
                }
                (Some(_), true) => step.retuned.push(Arc::clone(spec)),
                (Some(_), false) => step.closed.push(spec.id.as_str().into()),
                (None, false) => {}
            }
        }
        let removed = change.remove.listeners.iter().filter(|id| self.bound.contains_key(id.as_str()));
        step.closed.extend(removed.map(|id| id.as_str().into()));
        let closing = self.by_endpoint(&step.closed);
        for listener in wanted {
            let endpoint = listener.address.port().map(|port| (listener.spec.protocol, port));
            let rivals = endpoint.and_then(|endpoint| closing.get(&endpoint));
            let opened = Opened::bind(listener, workers, rivals.map_or(&[], Vec::as_slice));
            let failed = |source| ApplyError::Listen { listener: listener.spec.id.clone(), source };
            step.opened.push(opened.map_err(failed)?);
        }
        Ok(step)
    }

    /// The bound ones of these listeners by transport and port.
    fn by_endpoint(&self, listeners: &[Arc<str>]) -> HashMap<Endpoint, Vec<&Bound>> {
        let mut found: HashMap<Endpoint, Vec<&Bound>> = HashMap::new();
        for bound in listeners.iter().filter_map(|id| self.bound.get(id)) {
            if let Some(endpoint) = bound.endpoint() {
                found.entry(endpoint).or_default().push(bound);
            }
        }
        found
    }

    /// Makes a prepared change: returns the orders for each worker, and complaints for the log.
    ///
    /// The sockets of closed listeners refuse from now on; they are gone once the workers have followed the orders.
    pub fn commit(&mut self, step: Step, workers: usize) -> (Vec<Orders>, Vec<String>) {
        let mut orders: Vec<Orders> = Vec::new();
        orders.resize_with(workers, || Orders { close: step.closed.clone(), ..Orders::default() });
        let mut complaints = Vec::new();
        for id in &step.closed {
            if let Some(bound) = self.bound.remove(id) {
                self.gates.forget(id);
                bound.refuse();
            }
        }
        for spec in &step.retuned {
            let Some(bound) = self.bound.get_mut(spec.id.as_str()) else { continue };
            if let Err(error) = bound.retune(spec) {
                complaints.push(format!("changing options of {} failed ({})", spec.id, describe(&error)));
            }
            complaints.append(&mut bound.warnings);
            set_gate(&self.gates, bound, &mut complaints);
        }
        for mut opened in step.opened {
            let id: Arc<str> = opened.bound.spec.id.as_str().into();
            if let Err(error) = if opened.late { opened.bound.listen() } else { Ok(()) } {
                complaints.push(format!("listen() to {id} failed ({})", describe(&error)));
            }
            complaints.append(&mut opened.bound.warnings);
            for (orders, share) in orders.iter_mut().zip(opened.shares) {
                orders.open.push((Arc::clone(&id), share));
            }
            set_gate(&self.gates, &opened.bound, &mut complaints);
            self.bound.insert(id, opened.bound);
        }
        (orders, complaints)
    }

    /// Closes everything: refuses new connections at once, and returns the orders for each worker.
    pub fn close_all(&mut self, workers: usize) -> Vec<Orders> {
        let closed = self.bound.keys().cloned().collect();
        let step = Step { closed, ..Step::default() };
        self.commit(step, workers).0
    }
}

/// Has a listener refuse while its tunnels are down, if it is to.
fn set_gate(gates: &Gates, bound: &Bound, complaints: &mut Vec<String>) {
    let id = bound.spec.id.as_str().into();
    match bound.gate() {
        Ok(gate) => gates.set(&id, gate),
        Err(error) => complaints.push(format!("{id} cannot refuse connections ({})", describe(&error))),
    }
}
