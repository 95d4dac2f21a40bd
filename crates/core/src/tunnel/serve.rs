//! Streams that the other side opens: each becomes a session at the listener, without a socket, of its service.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use qanat_plan::Protocol;
use qanat_wire::tunnel_frame::Code;

use super::carrier::Carrier;
use super::limits::{PeerLimits, ServiceLimits};
use super::mux::Request;
use super::prove;
use super::registry::{Tunnel, Tunnels};
use super::stream::TunnelStream;
use crate::address::Address;
use crate::gateway::shared::Worker;
use crate::plan::{Listener, Plan};
use crate::session::Session;
use crate::session::registry::Open;
use crate::session::run;
use crate::stream::Socket;
use crate::udp;

/// A carrier's place in its tunnel, as long as this lives.
pub(super) struct Joined<'a> {
    tunnel: &'a Tunnel,
    carrier: &'a Arc<Carrier>,
}

impl<'a> Joined<'a> {
    pub(super) fn new(tunnels: &Tunnels, tunnel: &'a Tunnel, carrier: &'a Arc<Carrier>) -> Self {
        tunnel.join(carrier);
        tunnels.introduce(tunnel, carrier);
        Self { tunnel, carrier }
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.tunnel.leave(self.carrier);
    }
}

/// Serves a stream, or refuses it and says why.
pub(super) fn begin(
    worker: &Arc<Worker>,
    tunnel: &Arc<Tunnel>,
    carrier: &Arc<Carrier>,
    stream: TunnelStream,
    request: &Request,
) {
    let plan = worker.shared.plan.load_full();
    let limits = &worker.shared.tunnels.limits;
    let admitted = admit(&plan, tunnel, carrier, &stream, request).and_then(|listener| {
        let service = limits.service(&format!("remote:{}", request.service), &plan);
        stream.limit(Arc::clone(&service.rates));
        service.tally.streams.fetch_add(1, Relaxed);
        let serving = Serving::begin(tunnel, service, limits.peer(carrier.key));
        Ok((listener, serving.ok_or(Code::Limit)?))
    });
    let (listener, serving) = match admitted {
        Ok(admitted) => admitted,
        Err(code) => {
            tunnel.counters.refused.fetch_add(1, Relaxed);
            tunnel.tally.refused.count(code);
            let id = format!("remote:{}", request.service);
            if plan.services.contains_key(&*id) {
                limits.service(&id, &plan).tally.refused.count(code);
            }
            let service = &request.service;
            let line = format!("tunnel {}: service {service} refused: {}", tunnel.name, code.name());
            tunnel.refusals.tell(worker, code, line);
            stream.reset_on_close(code);
            return;
        }
    };
    tunnel.counters.served.fetch_add(1, Relaxed);
    let descriptors = listener.served_cost();
    let client = request.client.map_or_else(|| Address::Unix("".into()), Address::Inet);
    let mut session = Session::begin(worker.shared.next_session(), plan, listener, client);
    session.local = request.local.map(Address::Inet);
    session.facts_mut().tunnel = Some(Arc::clone(&tunnel.name));
    let open = Open::begin(Arc::clone(worker), session, descriptors);
    let is_flow = request.is_flow;
    tokio::spawn(async move {
        let _serving = serving;
        if is_flow {
            udp::serve_flow(open, stream).await;
        } else {
            run::run(open, Socket::Tunnel(stream)).await;
        }
    });
}

/// The listener of the service that is asked for, if all that is needed for it is there.
fn admit(
    plan: &Plan,
    tunnel: &Tunnel,
    carrier: &Carrier,
    stream: &TunnelStream,
    request: &Request,
) -> Result<Arc<Listener>, Code> {
    let name = &request.service;
    let node = plan.settings.tunnels.as_ref().ok_or(Code::Forbidden)?;
    // Whoever may not have it does not learn whether it is there.
    if !node.may_consume(carrier.key, name) {
        return Err(Code::Forbidden);
    }
    let service = plan.services.get(&*format!("remote:{name}")).ok_or(Code::NoService)?;
    let binding = plan.bindings.get(&*format!("{}/{name}", tunnel.name)).ok_or(Code::NotBound)?;
    let is_proved = match (&service.key, &request.proof) {
        (key, None) => key.is_empty(),
        (key, Some(proof)) => {
            let expected = prove::service(key, &carrier.exporter, stream.number(), name);
            !key.is_empty() && prove::is_same(&expected, proof)
        }
    };
    if !is_proved {
        return Err(Code::KeyMismatch);
    }
    if tunnel.serving.load(Relaxed) >= u64::from(node.spec.max_streams) {
        return Err(Code::Limit);
    }
    let listener = plan.listeners.get(binding.listener.as_str()).ok_or(Code::NoService)?;
    // Datagrams and bytes are different services, whatever they are called.
    let takes_flows = listener.spec.protocol == Protocol::Udp;
    if takes_flows == request.is_flow { Ok(Arc::clone(listener)) } else { Err(Code::NoService) }
}

/// A stream that is being served.
struct Serving {
    tunnel: Arc<Tunnel>,
    service: Arc<ServiceLimits>,
    peer: Arc<PeerLimits>,
}

impl Serving {
    /// None if there are as many as the service or the peer may have.
    fn begin(tunnel: &Arc<Tunnel>, service: Arc<ServiceLimits>, peer: Arc<PeerLimits>) -> Option<Self> {
        if !service.streams.take() {
            return None;
        }
        if !peer.streams.take() {
            service.streams.give_back();
            return None;
        }
        tunnel.serving.fetch_add(1, Relaxed);
        Some(Self { tunnel: Arc::clone(tunnel), service, peer })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.tunnel.serving.fetch_sub(1, Relaxed);
        self.service.streams.give_back();
        self.peer.streams.give_back();
    }
}
