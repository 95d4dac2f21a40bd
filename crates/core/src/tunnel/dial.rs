//! Keeping a tunnel up from this side: one task a carrier, which dials again whenever the carrier ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use qanat_plan as spec;
use qanat_plan::Level;
use qanat_wire::tunnel_frame::Code;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backoff::{self, Backoff};
use super::carrier::{self, Carrier, End};
use super::handshake::{self, Failure, Greeting, Ready};
use super::mux::{Broken, Request, WINDOW};
use super::node::Node;
use super::prove::Role;
use super::registry::{Progress, Tunnel};
use super::serve;
use crate::clock;
use crate::gateway::shared::Worker;

/// What a task is to keep up.
pub(super) struct Order {
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) index: u8,
    /// It tells how far the tunnel has come.
    pub(super) is_leader: bool,
    /// It is not to dial again: once its carrier has ended, it is over.
    pub(super) is_retired: Arc<AtomicBool>,
}

/// Keeps one carrier up until it is stopped.
pub(super) async fn keep(worker: Arc<Worker>, order: Order) {
    let mut backoff = Backoff::new();
    loop {
        order.is_wanted().await;
        let Some((spec, node)) = order.tunnel.aim() else { return };
        if order.is_leader {
            order.note(Progress::Connecting);
        }
        let began = clock::now();
        let pause = match connect(&spec, &node, order.greeting(&node)).await {
            Ok(_) if order.is_removed() => continue,
            Ok(ready) => {
                order.tunnel.tally.handshakes.note(began.elapsed());
                let began = clock::now();
                let end = run(&worker, &order, &node, ready).await;
                if order.is_retired.load(Relaxed) {
                    return;
                }
                order.tell(&worker, &spec, end);
                backoff.after_loss(began.elapsed())
            }
            Err(failure) => {
                let pause =
                    if failure.is_refusal() { backoff.after_refusal() } else { backoff.after_failure() };
                match failure {
                    Failure::Auth | Failure::Refused(_) => {
                        order.note(Progress::AuthFailed(failure.to_string()));
                    }
                    _ => {}
                }
                order.tell(&worker, &spec, failure.to_string());
                pause
            }
        };
        if timeout(backoff::draw(&pause), order.tunnel.wanted.notified()).await.is_ok() {
            backoff.reset();
        }
    }
}

/// Tries whether a tunnel could be brought up, and leaves nothing behind.
///
/// # Errors
/// Why it could not.
pub async fn probe(spec: &spec::Tunnel, node: &Node) -> Result<(), String> {
    let greeting = Greeting {
        tunnel: spec.name.clone(),
        node: node.name.clone(),
        generation: node.spec.generation,
        carrier: 0,
        window: WINDOW,
        heartbeat: node.spec.heartbeat_s,
        is_probe: true,
        tells_offers: true,
    };
    connect(spec, node, greeting).await.map(drop).map_err(|failure| failure.to_string())
}

/// A connection that is a carrier, within the time for it.
async fn connect(spec: &spec::Tunnel, node: &Node, ours: Greeting) -> Result<Ready, Failure> {
    let Some(trust) = node.trust(spec) else { return Err(Failure::Auth) };
    let all = async {
        // Names are looked up each time: a node that moves is found again.
        let socket = TcpStream::connect(&spec.dial).await.map_err(Failure::Connect)?;
        socket.set_nodelay(true).map_err(Failure::Connect)?;
        handshake::dial(socket, &node.identity, &trust, &ours).await
    };
    timeout(node.handshake_timeout(), all).await.unwrap_or(Err(Failure::TimedOut))
}

/// Runs a carrier; returns why it ended.
async fn run(worker: &Arc<Worker>, order: &Order, node: &Node, ready: Ready) -> String {
    let session = (order.index, node.spec.generation);
    let carrier =
        Carrier::new(Arc::clone(&order.tunnel.name), session, &ready, Role::Dialler, node.heartbeat());
    let _joined = serve::Joined::new(&worker.shared.tunnels, &order.tunnel, &carrier);
    // Whom to trust may have changed since the handshake began.
    order.tunnel.review_dialled();
    let line = format!("tunnel {} is up: carrier {} to {}", order.tunnel.name, order.index, carrier.address);
    worker.shared.plan.load().settings.error_log.write(Level::Notice, &line);
    let opened = |stream, request: Request| serve::begin(worker, &order.tunnel, &carrier, stream, &request);
    let end = carrier::run(&carrier, ready, opened).await;
    match end {
        End::Ended(Code::Superseded) => "replaced by a newer carrier".to_owned(),
        End::Broken(Broken::Refused(Code::Removed)) => {
            order.note(Progress::Removed);
            order.tunnel.end(Role::Dialler, Code::Removed);
            "removed by the other end".to_owned()
        }
        end => end.to_string(),
    }
}

impl Order {
    fn greeting(&self, node: &Node) -> Greeting {
        Greeting {
            tunnel: self.tunnel.name.to_string(),
            node: node.name.clone(),
            generation: node.spec.generation,
            carrier: self.index,
            window: WINDOW,
            heartbeat: node.spec.heartbeat_s,
            is_probe: false,
            tells_offers: true,
        }
    }

    fn is_removed(&self) -> bool {
        self.tunnel.with(|state| state.progress == Progress::Removed)
    }

    /// Waits as long as the other side has removed the tunnel.
    async fn is_wanted(&self) {
        loop {
            let wanted = self.tunnel.wanted.notified();
            if !self.is_removed() {
                return;
            }
            wanted.await;
        }
    }

    fn note(&self, progress: Progress) {
        self.tunnel.with(|state| state.progress = progress);
        self.tunnel.changed.notify_waiters();
    }

    /// Logs why there is no carrier now, and shows it unless something worse is known.
    fn tell(&self, worker: &Worker, spec: &spec::Tunnel, error: String) {
        let line = format!("tunnel {}: carrier {} to {}: {error}", self.tunnel.name, self.index, spec.dial);
        worker.shared.plan.load().settings.error_log.write(Level::Error, &line);
        let is_told = |progress: &Progress| matches!(progress, Progress::AuthFailed(_) | Progress::Removed);
        if self.is_leader && !self.tunnel.with(|state| is_told(&state.progress)) {
            self.note(Progress::Reconnecting(error));
        }
    }
}

/// The system's error of a connection that failed, for whoever opened a stream.
pub fn code_of(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Code::DialRefused,
        io::ErrorKind::TimedOut => Code::DialTimeout,
        _ => Code::DialFailed,
    }
}
