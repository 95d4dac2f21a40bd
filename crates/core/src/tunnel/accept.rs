//! Carriers that others dial: whoever connects to the tunnel listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use qanat_plan::Level;
use qanat_wire::tunnel_frame::Code;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::carrier::{self, Carrier};
use super::handshake::{self, Failure, Greeting, Ready};
use super::identity::NodeKey;
use super::mux::{Request, WINDOW};
use super::node::Node;
use super::prove::Role;
use super::serve;
use crate::gateway::shared::Worker;

/// Handshakes that may be under way on one worker: strangers must not use up its memory.
const MOST_HANDSHAKES: usize = 1024;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// A handshake under way.
struct Slot;

impl Slot {
    fn take() -> Option<Self> {
        let has_room = UNDER_WAY.fetch_add(1, Relaxed) < MOST_HANDSHAKES;
        let slot = Self;
        has_room.then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Relaxed);
    }
}

/// Runs a connection to a tunnel listener to its end.
pub async fn welcome(worker: Arc<Worker>, node: Arc<Node>, socket: TcpStream) {
    let address = socket.peer_addr().map_or_else(|_| String::new(), |address| address.to_string());
    let Some(slot) = Slot::take() else {
        log(&worker, Level::Warn, &format!("tunnel listener: too many handshakes, {address} is refused"));
        return;
    };
    let greeted = timeout(node.handshake_timeout(), greet(&worker, &node, socket)).await;
    drop(slot);
    let ready = match greeted.unwrap_or(Err(Failure::TimedOut)) {
        Ok(ready) if ready.theirs.is_probe => return,
        Ok(ready) => ready,
        Err(failure) => {
            log(&worker, Level::Warn, &format!("tunnel listener: {address}: {failure}"));
            return;
        }
    };
    let tunnel = worker.shared.tunnels.get(&ready.theirs.tunnel);
    // Somebody may have come in between.
    if tunnel.judge(ready.key, ready.theirs.generation).is_err() {
        return;
    }
    let session = (ready.theirs.carrier, ready.theirs.generation);
    let carrier = Carrier::new(Arc::clone(&tunnel.name), session, &ready, Role::Acceptor);
    let _joined = serve::Joined::new(&tunnel, &carrier);
    let (name, index) = (&tunnel.name, carrier.index);
    log(&worker, Level::Notice, &format!("tunnel {name} is up: carrier {index} from {address}"));
    let opened = |stream, request: Request| serve::begin(&worker, &tunnel, &carrier, stream, &request);
    let end = carrier::run(&carrier, ready, node.heartbeat(), opened).await;
    log(&worker, Level::Notice, &format!("tunnel {name}: carrier {index} from {address}: {end}"));
}

async fn greet(worker: &Arc<Worker>, node: &Arc<Node>, socket: TcpStream) -> Result<Ready, Failure> {
    socket.set_nodelay(true).map_err(Failure::Connect)?;
    let judge = |key: NodeKey, theirs: &Greeting| {
        if !node.admits(key, &theirs.tunnel) {
            return Err(Code::Forbidden);
        }
        worker.shared.tunnels.get(&theirs.tunnel).judge(key, theirs.generation)?;
        Ok(Greeting {
            tunnel: theirs.tunnel.clone(),
            node: node.name.clone(),
            generation: node.spec.generation,
            carrier: theirs.carrier,
            window: WINDOW,
            heartbeat: node.spec.heartbeat_s,
            is_probe: theirs.is_probe,
        })
    };
    handshake::accept(socket, &node.identity, &node.spec.secret, |key| node.knows(key), judge).await
}

fn log(worker: &Worker, level: Level, line: &str) {
    worker.shared.plan.load().settings.error_log.write(level, line);
}
