//! Carriers that others dial: whoever connects to the tunnel listener.

use std::sync::Arc;

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
use crate::clock;
use crate::gateway::shared::Worker;

/// Runs a connection to a tunnel listener to its end.
pub async fn welcome(worker: Arc<Worker>, node: Arc<Node>, socket: TcpStream) {
    let Ok(address) = socket.peer_addr() else { return };
    let strangers = &worker.shared.tunnels.strangers;
    let complain = |text: &str| {
        if let Some(line) = strangers.line(&format!("{address}: {text}")) {
            log(&worker, Level::Warn, &line);
        }
    };
    let stranger = match strangers.admit(address.ip()) {
        Ok(stranger) => stranger,
        Err(crowd) => return complain(&crowd.to_string()),
    };
    let began = clock::now();
    let greeted = timeout(node.handshake_timeout(), greet(&worker, &node, socket)).await;
    let greeted = greeted.unwrap_or(Err(Failure::TimedOut));
    drop(stranger);
    strangers.count(&greeted);
    let ready = match greeted {
        Ok(ready) if ready.theirs.is_probe => return,
        Ok(ready) => ready,
        Err(failure) => return complain(&failure.to_string()),
    };
    let tunnel = worker.shared.tunnels.get(&ready.theirs.tunnel);
    // Somebody may have come in between.
    if tunnel.judge(ready.key, ready.theirs.generation).is_err() {
        return;
    }
    tunnel.tally.handshakes.note(began.elapsed());
    let session = (ready.theirs.carrier, ready.theirs.generation);
    let carrier = Carrier::new(Arc::clone(&tunnel.name), session, &ready, Role::Acceptor, node.heartbeat());
    let _joined = serve::Joined::new(&worker.shared.tunnels, &tunnel, &carrier);
    // Whom to trust may have changed since the handshake began.
    if !worker.shared.tunnels.still_admits(&carrier) {
        carrier.end(Code::Forbidden);
    }
    let (name, index) = (&tunnel.name, carrier.index);
    log(&worker, Level::Notice, &format!("tunnel {name} is up: carrier {index} from {address}"));
    let opened = |stream, request: Request| serve::begin(&worker, &tunnel, &carrier, stream, &request);
    let end = carrier::run(&carrier, ready, opened).await;
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
            tells_offers: true,
        })
    };
    handshake::accept(socket, node, judge).await
}

fn log(worker: &Worker, level: Level, line: &str) {
    worker.shared.plan.load().settings.error_log.write(level, line);
}
