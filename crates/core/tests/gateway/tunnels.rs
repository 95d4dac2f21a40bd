//! Tunnels between two gateways: services of either are reached through the other.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use qanat_core::gateway::Gateway;
use qanat_plan as spec;

use crate::specs;
use crate::support::{DEADLINE, connect, free_address, settings, wait_until};

pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A gateway that can have tunnels.
pub(crate) struct Node {
    gateway: Gateway,
    revision: std::cell::Cell<u64>,
    settings: spec::Settings,
    acceptor: std::cell::OnceCell<String>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Seen {
    name: String,
    pub(crate) state: String,
    pub(crate) error: Option<String>,
    pub(crate) carriers: Vec<serde::de::IgnoredAny>,
    pub(crate) serving: u64,
    pub(crate) connected: u64,
    pub(crate) served: u64,
    pub(crate) refused: u64,
}

/// What has become of those who connected.
#[derive(serde::Deserialize)]
pub(crate) struct Handshakes {
    pub(crate) under_way: u64,
    pub(crate) succeeded: u64,
    pub(crate) crowded_address: u64,
    pub(crate) not_tls: u64,
    pub(crate) not_trusted: u64,
    pub(crate) version: u64,
    pub(crate) protocol: u64,
}

impl Node {
    pub(crate) fn start(secret: &[u8]) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let tunnels = spec::TunnelNode {
            key: pair.serialize_der(),
            generation: 1,
            secret: secret.to_vec(),
            former_secrets: Vec::new(),
            heartbeat_s: 10,
            carriers: 2,
            handshake_timeout_ms: 5000,
            max_streams: 1000,
            limits: spec::TunnelLimits { buffer_limit: 256 << 20 },
        };
        let settings = spec::Settings { tunnels: Some(tunnels), ..settings(512) };
        let gateway = Gateway::new(&spec::Options { schema: spec::SCHEMA, workers: 2 }).unwrap();
        let (revision, acceptor) = (std::cell::Cell::new(0), std::cell::OnceCell::new());
        let node = Self { gateway, revision, settings, acceptor };
        node.apply(spec::Objects::default(), spec::Removals::default());
        node
    }

    fn apply(&self, put: spec::Objects, remove: spec::Removals) {
        let revision = self.revision.get() + 1;
        let settings = (revision == 1).then(|| self.settings.clone());
        let change = spec::ChangeSet { schema: spec::SCHEMA, revision, settings, put, remove };
        self.gateway.commit(self.gateway.prepare(&change).unwrap()).unwrap();
        self.revision.set(revision);
    }

    pub(crate) fn put(&self, put: spec::Objects) {
        self.apply(put, spec::Removals::default());
    }

    /// Listens for carriers; returns where.
    pub(crate) fn listen(&self) -> String {
        let address = free_address();
        let mut listener = specs::listener(spec::Protocol::Tcp, &address);
        listener.role = spec::Role::Tunnels;
        let server = specs::server(&listener.id, spec::Content::None {});
        self.put(spec::Objects { listeners: vec![listener], servers: vec![server], ..Default::default() });
        self.acceptor.get_or_init(|| address.clone());
        address
    }

    /// Where it listened first.
    pub(crate) fn acceptor(&self) -> &str {
        self.acceptor.get().unwrap()
    }

    pub(crate) fn handshakes(&self) -> Handshakes {
        rmp_serde::from_slice(&self.gateway.snapshot("tunnel_handshakes").unwrap()).unwrap()
    }

    pub(crate) fn dial(&self, name: &str, address: &str) {
        let tunnel = spec::Tunnel {
            name: name.into(),
            dial: address.into(),
            peer: None,
            send_rate: 0,
            receive_rate: 0,
            origin: String::new(),
        };
        self.put(spec::Objects { tunnels: vec![tunnel], ..Default::default() });
    }

    pub(crate) fn tunnel(&self, name: &str) -> Option<Seen> {
        let all: Vec<Seen> = rmp_serde::from_slice(&self.gateway.snapshot("tunnels").unwrap()).unwrap();
        all.into_iter().find(|one| one.name == name)
    }

    pub(crate) fn wait_for(&self, name: &str, state: &str) {
        let began = std::time::Instant::now();
        while self.tunnel(name).is_none_or(|seen| seen.state != state) {
            let seen = || self.tunnel(name).map(|seen| (seen.state, seen.error));
            assert!(began.elapsed() < DEADLINE, "not {state}: {:?}", seen());
            thread::yield_now();
        }
    }

    /// A local service: where its clients connect.
    pub(crate) fn local(&self, service: &str, tunnel: &str, key: &[u8]) -> String {
        let address = free_address();
        let mut listener = specs::listener(spec::Protocol::Tcp, &address);
        let proxy = spec::Proxy { half_close: true, ..specs::proxy(&format!("service:{service}")) };
        let mut server = specs::server(&listener.id, specs::proxied(proxy));
        server.id = format!("service:{service}");
        listener.default_server.clone_from(&server.id);
        self.put(spec::Objects {
            servers: vec![server],
            listeners: vec![listener],
            upstreams: vec![bound(service, tunnel)],
            services: vec![description(&format!("local:{service}"), key)],
            ..Default::default()
        });
        address
    }

    /// A remote service, and where it leads.
    pub(crate) fn remote(&self, service: &str, target: &str, key: &[u8]) {
        let mut listener = specs::listener(spec::Protocol::Tcp, &format!("tunnel:remote/{service}"));
        listener.id = format!("tunnel:{service}");
        listener.default_server = format!("{}/", listener.id);
        let proxy = spec::Proxy { half_close: true, ..specs::proxy(target) };
        self.put(spec::Objects {
            servers: vec![specs::server(&listener.id, specs::proxied(proxy))],
            listeners: vec![listener],
            upstreams: vec![specs::upstream(target, vec![specs::peer(target)])],
            services: vec![description(&format!("remote:{service}"), key)],
            ..Default::default()
        });
    }

    pub(crate) fn bind(&self, tunnel: &str, service: &str) {
        let binding =
            spec::Binding { id: format!("{tunnel}/{service}"), listener: format!("tunnel:{service}") };
        self.put(spec::Objects { bindings: vec![binding], ..Default::default() });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.gateway.stop();
    }
}

/// The upstream of a local service that is bound to a tunnel, `*` for none.
fn bound(service: &str, tunnel: &str) -> spec::Upstream {
    let peer = specs::peer(&format!("tunnel:{tunnel}/{service}"));
    specs::upstream(&format!("service:{service}"), vec![peer])
}

pub(crate) fn description(id: &str, key: &[u8]) -> spec::Service {
    spec::Service {
        id: id.into(),
        key: key.to_vec(),
        pending_timeout_ms: 5000,
        upload_rate: 0,
        download_rate: 0,
        stream_upload_rate: 0,
        stream_download_rate: 0,
        max_streams: 0,
        origin: String::new(),
    }
}

/// A server that sends back what it gets, and ends when its client does.
pub(crate) fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut back = stream.try_clone().unwrap();
                drop(std::io::copy(&mut stream, &mut back));
                drop(back.shutdown(Shutdown::Write));
            });
        }
    });
    address
}

pub(crate) fn echoes(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    let mut reader = stream.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        got
    });
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    reading.join().unwrap()
}

fn is_reset(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    error.kind() == std::io::ErrorKind::ConnectionReset
}

/// Whether whoever connects is reset, be it at once.
pub(crate) fn resets(address: &str) -> bool {
    match TcpStream::connect(address) {
        Ok(stream) => is_reset(stream),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Two nodes with a tunnel `t` that the first one dials.
pub(crate) fn pair() -> (Node, Node) {
    let (a, b) = (Node::start(SECRET), Node::start(SECRET));
    a.dial("t", &b.listen());
    a.wait_for("t", "up");
    b.wait_for("t", "up");
    (a, b)
}

#[test]
fn a_service_is_reached_from_either_side_of_a_tunnel() {
    let (a, b) = pair();
    for (near, far, service) in [(&a, &b, "one"), (&b, &a, "two")] {
        far.remote(service, &echo(), b"key");
        far.bind("t", service);
        let address = near.local(service, "t", b"key");
        assert_eq!(echoes(&address, b"hello"), b"hello");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        assert!(echoes(&address, &bytes) == bytes);
    }
}

#[test]
fn a_stream_that_is_not_wanted_resets_its_client_and_dials_nothing() {
    let (a, b) = pair();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let target_address = target.local_addr().unwrap().to_string();
    let address = a.local("s", "t", b"key");
    // No such service, then none that is bound, then one with another key.
    assert!(resets(&address));
    b.remote("s", &target_address, b"other");
    assert!(resets(&address));
    b.bind("t", "s");
    assert!(resets(&address));
    target.set_nonblocking(true).unwrap();
    assert!(target.accept().is_err());
    drop(target);
    b.remote("s", &target_address, b"key");
    // A target that refuses.
    assert!(resets(&address));
}

#[test]
fn a_client_waits_for_its_tunnel() {
    let (a, b) = (Node::start(SECRET), Node::start(SECRET));
    let acceptor = b.listen();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    let address = a.local("s", "t", b"");
    let mut early = connect(&address);
    early.write_all(b"early").unwrap();
    a.dial("t", &acceptor);
    let mut got = [0; 5];
    early.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"early");
}

#[test]
fn a_client_waits_for_a_binding() {
    let (a, b) = pair();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    let mut early = connect(&a.local("s", "*", b""));
    early.write_all(b"early").unwrap();
    // Its session has begun.
    wait_until("the session", || a.gateway.sessions() == 1);
    a.put(spec::Objects { upstreams: vec![bound("s", "t")], ..Default::default() });
    let mut got = [0; 5];
    early.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"early");
}

#[test]
fn a_tunnel_that_moves_keeps_its_streams() {
    let (a, b) = pair();
    for service in ["one", "two"] {
        b.remote(service, &echo(), b"");
        b.bind("t", service);
        let address = a.local(service, "t", b"");
        let mut client = connect(&address);
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        wait_until("both carriers", || a.tunnel("t").unwrap().carriers.len() == 2);
        let before = a.tunnel("t").unwrap().connected;
        a.dial("t", &b.listen());
        wait_until("a new carrier", || a.tunnel("t").unwrap().connected == before + 2);
        client.write_all(b"y").unwrap();
        client.read_exact(&mut [0]).unwrap();
        assert_eq!(echoes(&address, b"new"), b"new");
        drop(client);
        wait_until("the old carriers are gone", || a.tunnel("t").unwrap().carriers.len() == 2);
    }
}

#[test]
fn a_tunnel_that_moves_to_where_nobody_is_goes_on_as_before() {
    let (a, b) = pair();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    let address = a.local("s", "t", b"");
    a.dial("t", &free_address());
    assert_eq!(echoes(&address, b"still"), b"still");
    assert_eq!(a.tunnel("t").unwrap().carriers.len(), 2);
}

#[test]
fn a_node_that_stops_resets_the_clients_of_its_streams_at_once() {
    let (a, b) = pair();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    let mut client = connect(&a.local("s", "t", b""));
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    drop(b);
    let began = std::time::Instant::now();
    assert!(is_reset(client));
    assert!(began.elapsed() < std::time::Duration::from_millis(100));
}

#[test]
fn a_node_that_drains_takes_no_more_streams_and_ends_those_that_it_has() {
    let (a, b) = pair();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    let address = a.local("s", "t", b"");
    let mut client = connect(&address);
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    b.gateway.drain();
    let waiting = connect(&address);
    client.write_all(b"y").unwrap();
    client.read_exact(&mut [0]).unwrap();
    assert_eq!(b.tunnel("t").unwrap().served, 1);
    drop(waiting);
}

#[test]
fn a_removed_tunnel_resets_its_streams_at_both_ends() {
    let (a, b) = pair();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    let mut client = connect(&a.local("s", "t", b""));
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    a.apply(spec::Objects::default(), spec::Removals { tunnels: vec!["t".into()], ..Default::default() });
    assert!(is_reset(client));
    wait_until("the other end", || b.tunnel("t").is_none_or(|seen| seen.carriers.is_empty()));
}

#[test]
fn an_acceptor_that_comes_back_is_dialled_again() {
    let a = Node::start(SECRET);
    let b = Node::start(SECRET);
    let address = b.listen();
    a.dial("t", &address);
    a.wait_for("t", "up");
    drop(b);
    wait_until("down", || a.tunnel("t").is_some_and(|seen| seen.state != "up"));
    let b = Node::start(SECRET);
    let mut listener = specs::listener(spec::Protocol::Tcp, &address);
    listener.role = spec::Role::Tunnels;
    let server = specs::server(&listener.id, spec::Content::None {});
    b.put(spec::Objects { listeners: vec![listener], servers: vec![server], ..Default::default() });
    a.wait_for("t", "up");
}
