//! What the logs tell of a session that is proxied: its beginning and its bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::path::PathBuf;

use qanat_plan as spec;

use crate::specs;
use crate::support::{DEADLINE, Running, connect, free_port, objects, wait_until};

/// Two log files that go with the test.
struct Logs {
    access: PathBuf,
    errors: PathBuf,
}

impl Logs {
    fn new(name: &str) -> Self {
        let path = |kind| {
            let file = format!("qanat-records-{name}-{kind}-{}.log", std::process::id());
            std::env::temp_dir().join(file)
        };
        Self { access: path("access"), errors: path("error") }
    }

    /// Has them tell all of `server`.
    fn follow(&self, server: &mut spec::Server) {
        server.error_log =
            Some(vec![spec::ErrorLog { target: target(&self.errors), level: spec::Level::Info }]);
        server.access_log =
            vec![spec::AccessLog { target: target(&self.access), format: "bytes".into(), condition: None }];
    }

    /// The first record, once it is written.
    fn record(&self) -> String {
        let read = || std::fs::read_to_string(&self.access).unwrap_or_default();
        wait_until("a record", || read().ends_with('\n'));
        read().trim_end().to_owned()
    }

    /// What follows `*N ` in the lines that hold `part`.
    fn lines(&self, part: &str) -> Vec<String> {
        let read = || std::fs::read_to_string(&self.errors).unwrap_or_default();
        wait_until(part, || read().lines().any(|line| line.contains(part)));
        let text = read();
        let lines = text.lines().filter(|line| line.contains(part));
        lines.map(|line| line.split_once('*').unwrap().1.split_once(' ').unwrap().1.to_owned()).collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        std::fs::remove_file(&self.access).ok();
        std::fs::remove_file(&self.errors).ok();
    }
}

fn target(path: &std::path::Path) -> spec::Target {
    let text = path.to_str().unwrap().to_owned();
    spec::Target { kind: spec::TargetKind::File, path: vec![spec::Part::Text(text)] }
}

/// A wildcard listener in front of `peer`, which gets a PROXY header.
fn site(protocol: spec::Protocol, address: &str, peer: &str, logs: &Logs) -> spec::Objects {
    let listener = specs::listener(protocol, address);
    let mut proxy = specs::proxy(peer);
    proxy.protocol = spec::ProxyProtocol::V1;
    proxy.responses = Some(1);
    let mut server = specs::server(&listener.id, specs::proxied(proxy));
    logs.follow(&mut server);
    let line = vec![spec::Part::Variable("upstream_bytes_sent".into())];
    let format = spec::LogFormat { name: "bytes".into(), escape: spec::Escape::Default, line };
    let upstreams = vec![specs::upstream(peer, vec![specs::peer(peer)])];
    spec::Objects { upstreams, formats: vec![format], ..objects(vec![listener], vec![server]) }
}

#[test]
fn a_connection_is_told_at_both_ends_and_its_header_is_counted() {
    let (running, logs) = (Running::start(1), Logs::new("tcp"));
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, peer_address) = (free_port(), peer.local_addr().unwrap().to_string());
    running.put(site(spec::Protocol::Tcp, &format!("0.0.0.0:{port}"), &peer_address, &logs));
    let mut client = connect(&format!("127.0.0.1:{port}"));
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (mut accepted, gateway) = peer.accept().unwrap();
    let mut received = vec![0; header(&client.local_addr().unwrap().to_string(), port).len() + 5];
    accepted.read_exact(&mut received).unwrap();
    drop(accepted);
    assert_eq!(logs.record(), received.len().to_string());
    let client = client.local_addr().unwrap();
    assert_eq!(logs.lines("client 127"), [format!("client {client} connected to 0.0.0.0:{port}")]);
    assert_eq!(logs.lines("proxy"), [format!("proxy {gateway} connected to {peer_address}")]);
}

#[test]
fn datagrams_are_told_at_both_ends_and_their_header_is_counted() {
    let (running, logs) = (Running::start(1), Logs::new("udp"));
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    let (port, peer_address) = (free_port(), peer.local_addr().unwrap().to_string());
    running.put(site(spec::Protocol::Udp, &format!("0.0.0.0:{port}"), &peer_address, &logs));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", port)).unwrap();
    client.send(b"hello").unwrap();
    let mut received = [0; 256];
    let (size, gateway) = peer.recv_from(&mut received).unwrap();
    peer.send_to(b"bye", gateway).unwrap();
    let client = client.local_addr().unwrap();
    assert_eq!(size, header(&client.to_string(), port).len() + 5);
    assert_eq!(logs.record(), size.to_string());
    assert_eq!(logs.lines("udp client 127"), [format!("udp client {client} connected to 0.0.0.0:{port}")]);
    assert_eq!(logs.lines("udp proxy"), [format!("udp proxy {gateway} connected to {peer_address}")]);
}

/// The PROXY header for a client that came to 127.0.0.1.
fn header(client: &str, port: u16) -> String {
    let (ip, from) = client.split_once(':').unwrap();
    format!("PROXY TCP4 {ip} 127.0.0.1 {from} {port}\r\n")
}
