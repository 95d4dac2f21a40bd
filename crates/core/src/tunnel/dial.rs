//! Keeping a tunnel up from this side: one task a carrier, which dials again whenever the carrier ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use qanat_plan as spec;
use qanat_plan::Level;
use qanat_wire::tunnel_frame::Code;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::carrier::{self, Carrier, End};
use super::handshake::{self, Failure, Greeting, Ready};
use super::mux::{Broken, Request, WINDOW};
use super::node::Node;
use super::prove::Role;
use super::registry::{Progress, Tunnel};
use super::serve;
use crate::clock;
use crate::gateway::shared::Worker;

/// The first pause between attempts, and the longest. Each pause is a random part of what it may be (full jitter), so
/// that many nodes do not come back at the same moment.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// A carrier that was up for so long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(60);

/// What a task is to keep up.
pub(super) struct Order {
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) spec: Arc<spec::Tunnel>,
    pub(super) node: Arc<Node>,
    pub(super) index: u8,
    /// It tells how far the tunnel has come.
    pub(super) is_leader: bool,
    /// Another task dials instead: once this one's carrier has ended, it is over.
    pub(super) is_retired: Arc<AtomicBool>,
}

/// Keeps one carrier up until it is stopped.
pub(super) async fn keep(worker: Arc<Worker>, order: Order) {
    let mut longest = SHORTEST;
    let mut is_first = true;
    loop {
        order.is_wanted().await;
        if order.is_leader {
            order.note(Progress::Connecting);
        }
        let error = match connect(&order.spec, &order.node, order.greeting(false)).await {
            Ok(_) if order.is_removed() => continue,
            Ok(ready) => {
                let began = clock::now();
                let end = run(&worker, &order, ready).await;
                if began.elapsed() >= STEADY {
                    longest = SHORTEST;
                }
                if order.is_retired.load(Relaxed) {
                    return;
                }
                is_first = true;
                end
            }
            Err(failure) => {
                if matches!(failure, Failure::Auth | Failure::Refused(_)) {
                    // Nothing will change soon, and the other side should not be asked without end.
                    longest = LONGEST;
                    order.note(Progress::AuthFailed(failure.to_string()));
                }
                failure.to_string()
            }
        };
        order.log(&worker, &error);
        let is_refused = order.tunnel.with(|state| matches!(state.progress, Progress::AuthFailed(_)));
        if !is_refused && !order.is_removed() && order.is_leader {
            order.note(Progress::Reconnecting(error));
        }
        let pause = if std::mem::take(&mut is_first) && longest == SHORTEST {
            // The first attempt after a loss is made at once.
            jitter(SHORTEST / 10)
        } else {
            let pause = if is_refused { longest } else { jitter(longest) };
            longest = (longest * 2).min(LONGEST);
            pause
        };
        if timeout(pause, order.tunnel.wanted.notified()).await.is_ok() {
            longest = SHORTEST;
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
async fn run(worker: &Arc<Worker>, order: &Order, ready: Ready) -> String {
    let session = (order.index, order.node.spec.generation);
    let carrier = Carrier::new(Arc::clone(&order.tunnel.name), session, &ready, Role::Dialler);
    let _joined = serve::Joined::new(&order.tunnel, &carrier);
    let line = format!("tunnel {} is up: carrier {} to {}", order.tunnel.name, order.index, carrier.address);
    worker.shared.plan.load().settings.error_log.write(Level::Notice, &line);
    let opened = |stream, request: Request| serve::begin(worker, &order.tunnel, &carrier, stream, &request);
    let end = carrier::run(&carrier, ready, order.node.heartbeat(), opened).await;
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
    fn greeting(&self, is_probe: bool) -> Greeting {
        Greeting {
            tunnel: self.tunnel.name.to_string(),
            node: self.node.name.clone(),
            generation: self.node.spec.generation,
            carrier: self.index,
            window: WINDOW,
            heartbeat: self.node.spec.heartbeat_s,
            is_probe,
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

    fn log(&self, worker: &Worker, error: &str) {
        let line =
            format!("tunnel {}: carrier {} to {}: {error}", self.tunnel.name, self.index, self.spec.dial);
        worker.shared.plan.load().settings.error_log.write(Level::Error, &line);
    }
}

/// A random part of `most`.
fn jitter(most: Duration) -> Duration {
    let mut random = [0; 4];
    // Without random numbers it is the longest.
    let part = match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    most.mul_f64(part)
}

/// The system's error of a connection that failed, for whoever opened a stream.
pub fn code_of(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Code::DialRefused,
        io::ErrorKind::TimedOut => Code::DialTimeout,
        _ => Code::DialFailed,
    }
}
