//! A UDP listener on one worker, with a plan made for the test, and the peers and clients around it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qanat_core::gateway::shared::{Shared, Worker};
use qanat_core::log::writer::LogWriter;
use qanat_core::phase::Hooks;
use qanat_core::plan::Plan;
use qanat_core::plan::link::{Context, link};
use qanat_core::tls::TlsContext;
use qanat_core::udp;
use qanat_plan as spec;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::specs;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running listener. Its access log has `$status $bytes_received $bytes_sent $upstream_addr` on a line.
pub(crate) struct Gateway {
    pub(crate) shared: Arc<Shared>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) address: SocketAddr,
    pub(crate) close: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
    log: PathBuf,
}

/// What a test may change of the plan before it is linked.
pub(crate) struct Change {
    pub(crate) spec: spec::ChangeSet,
    /// The listener's socket; a clone of it keeps the port.
    pub(crate) socket: StdSocket,
    /// What runs handlers.
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
}

impl Change {
    /// The virtual server that all tests have.
    pub(crate) fn server(&mut self) -> &mut spec::Server {
        &mut self.spec.put.servers[0]
    }

    /// Its `proxy_pass`.
    pub(crate) fn proxy(&mut self) -> &mut spec::Proxy {
        match &mut self.server().content {
            spec::Content::Proxy { proxy } => proxy,
            _ => panic!("not proxied"),
        }
    }

    pub(crate) fn settings(&mut self) -> &mut spec::Settings {
        self.spec.settings.as_mut().unwrap()
    }
}

/// A listener that proxies to `peers`.
pub(crate) fn proxying(listen: &str, peers: &[SocketAddr], tweak: impl FnOnce(&mut Change)) -> Gateway {
    Gateway::start(listen, specs::proxied(specs::proxy("u")), peers, tweak)
}

/// A listener that returns `text`.
pub(crate) fn returning(listen: &str, text: spec::Template, tweak: impl FnOnce(&mut Change)) -> Gateway {
    Gateway::start(listen, spec::Content::Return { text }, &[], tweak)
}

impl Gateway {
    fn start(
        listen: &str,
        content: spec::Content,
        peers: &[SocketAddr],
        tweak: impl FnOnce(&mut Change),
    ) -> Self {
        let socket = StdSocket::bind(listen).unwrap();
        let address = socket.local_addr().unwrap();
        let log = log_path();
        let spec = change_set(address, content, peers, &log);
        let mut change = Change { spec, socket: socket.try_clone().unwrap(), hooks: None };
        tweak(&mut change);
        if change.spec.put.listeners[0].mesh {
            let socket = socket2::SockRef::from(&socket);
            // Without CAP_NET_ADMIN nothing is redirected to it.
            drop(socket.set_ip_transparent_v4(true).and(socket.set_ip_transparent_v6(true)));
        }
        let (logs, tls) = (LogWriter::start().unwrap(), TlsContext::new().unwrap());
        let before = Plan { hooks: change.hooks.take(), ..Plan::default() };
        let plan = link(&before, &change.spec, &Context { logs: &logs, tls: &tls }).unwrap();
        let shared = Arc::new(Shared::new(logs, tls));
        shared.plan.store(Arc::new(plan));
        let worker = Arc::new(Worker::new(0, Arc::clone(&shared)));
        let (close, closed) = watch::channel(false);
        let task = tokio::spawn(udp::serve(Arc::clone(&worker), "l".into(), socket, closed));
        Self { shared, worker, address, close, task, log }
    }

    /// Where clients of a wildcard listener find it.
    pub(crate) fn at(&self, ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), self.address.port())
    }

    /// A client that is connected to the listener.
    pub(crate) async fn client(&self) -> UdpSocket {
        client_of(self.address).await
    }

    pub(crate) fn open(&self) -> u64 {
        self.shared.counters.open.load(Ordering::Relaxed)
    }

    /// Waits until `count` sessions are open.
    pub(crate) async fn until_open(&self, count: u64) {
        let reached = async {
            while self.open() != count {
                tokio::task::yield_now().await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{} sessions are open instead of {count}", self.open());
    }

    /// The records of all sessions that have ended.
    pub(crate) fn records(&self) -> Vec<String> {
        self.shared.logs.flush();
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until `count` sessions have ended, and returns their records.
    pub(crate) async fn until_recorded(&self, count: usize) -> Vec<String> {
        let reached = async {
            loop {
                let records = self.records();
                if records.len() >= count {
                    return records;
                }
                tokio::task::yield_now().await;
            }
        };
        let records = tokio::time::timeout(PATIENCE, reached).await;
        let records = records.unwrap_or_else(|_| panic!("records: {:?}", self.records()));
        assert_eq!(records.len(), count, "{records:?}");
        records
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.log));
    }
}

pub(crate) async fn client_of(address: SocketAddr) -> UdpSocket {
    let client = bind(if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).await;
    client.connect(address).await.unwrap();
    client
}

pub(crate) async fn bind(address: &str) -> UdpSocket {
    UdpSocket::bind(address).await.unwrap()
}

/// Receives one datagram, with its sender.
pub(crate) async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await;
    let (length, from) = received.expect("no datagram came").unwrap();
    buffer.truncate(length);
    (buffer, from)
}

pub(crate) async fn ask(client: &UdpSocket, datagram: &[u8]) -> Vec<u8> {
    client.send(datagram).await.unwrap();
    receive(client).await.0
}

/// A peer that sends every datagram back. It ends with the test's runtime.
pub(crate) async fn echo(address: &str) -> SocketAddr {
    let socket = bind(address).await;
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            socket.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    address
}

fn log_path() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("qanat-udp-{}-{number}.log", std::process::id()))
}

pub(crate) fn text(text: &str) -> spec::Part {
    spec::Part::Text(text.into())
}

pub(crate) fn variable(name: &str) -> spec::Part {
    spec::Part::Variable(name.into())
}

fn change_set(
    address: SocketAddr,
    content: spec::Content,
    peers: &[SocketAddr],
    log: &std::path::Path,
) -> spec::ChangeSet {
    let fields = ["status", "bytes_received", "bytes_sent", "upstream_addr"];
    let mut line: Vec<_> = fields.iter().flat_map(|name| [variable(name), text(" ")]).collect();
    line.pop();
    let format = spec::LogFormat { name: "f".into(), escape: spec::Escape::Default, line };
    let target = spec::Target {
        kind: spec::TargetKind::File,
        path: vec![text(log.to_str().expect("a path in UTF-8"))],
    };
    let access_log = vec![spec::AccessLog { target, format: "f".into(), condition: None }];
    let mut listener = specs::listener(spec::Protocol::Udp, &address.to_string());
    listener.id = "l".into();
    let server = spec::Server { access_log, ..specs::server(&listener.id, content) };
    listener.default_server.clone_from(&server.id);
    let peers = peers.iter().map(|address| specs::peer(&address.to_string())).collect();
    specs::change_set(spec::Objects {
        formats: vec![format],
        upstreams: vec![specs::upstream("u", peers)],
        listeners: vec![listener],
        servers: vec![server],
        ..spec::Objects::default()
    })
}
