//! UDP listeners that come and go while sessions are open: the port is free at once, and nobody's replies go astray.

use std::net::{SocketAddr, UdpSocket};

use qanat_plan::{self as spec, Protocol};

use crate::support::{DEADLINE, Running, listener, objects, proxy_to, removals, server, upstream};

/// Many enough to be spread over all sockets that share a port.
const CLIENTS: usize = 16;

pub(crate) fn bind() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

pub(crate) fn address_of(socket: &UdpSocket) -> String {
    socket.local_addr().unwrap().to_string()
}

/// `proxy_pass` of datagrams from `address` to `peer`.
pub(crate) fn relaying(address: &str, peer: &UdpSocket) -> spec::Objects {
    let upstream = upstream(&address_of(peer));
    let mut listener = listener(address);
    listener.protocol = Protocol::Udp;
    listener.id = format!("udp:{address}");
    listener.default_server = format!("{}/", listener.id);
    let mut server = server(&listener.id, "", "");
    server.content = spec::Content::Proxy { proxy: Box::new(proxy_to(&upstream.name)) };
    let mut put = objects(vec![listener], vec![server]);
    put.upstreams = vec![upstream];
    put
}

/// A client with its session: how the peer knows it.
pub(crate) struct Session {
    client: UdpSocket,
    at_peer: SocketAddr,
}

impl Session {
    pub(crate) fn begin(front: &str, peer: &UdpSocket) -> Self {
        let client = bind();
        client.connect(front).unwrap();
        client.send(b"first").unwrap();
        let (bytes, at_peer) = receive(peer);
        assert_eq!(bytes, b"first");
        Self { client, at_peer }
    }

    /// A datagram each way, which nobody else gets.
    pub(crate) fn exchange(&self, peer: &UdpSocket, number: usize) {
        let bytes = number.to_string().into_bytes();
        self.client.send(&bytes).unwrap();
        assert_eq!(receive(peer), (bytes.clone(), self.at_peer));
        peer.send_to(&bytes, self.at_peer).unwrap();
        let mut buffer = [0; 64];
        let length = self.client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], bytes);
    }
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

fn come_and_go(ip: &str, workers: u32) {
    let running = Running::start(workers);
    let port = bind().local_addr().unwrap().port();
    let (address, front) = (format!("{ip}:{port}"), format!("127.0.0.1:{port}"));
    let id = format!("udp:{address}");
    let mut generations = Vec::new();
    for _ in 0..3 {
        let peer = bind();
        running.put(relaying(&address, &peer));
        let sessions: Vec<_> = (0..CLIENTS).map(|_| Session::begin(&front, &peer)).collect();
        generations.push((peer, sessions));
        for (peer, sessions) in &generations {
            sessions.iter().enumerate().for_each(|(number, session)| session.exchange(peer, number));
        }
        running.remove(removals(&[&id], &[&format!("{id}/")]));
    }
    for (peer, sessions) in &generations {
        sessions.iter().enumerate().for_each(|(number, session)| session.exchange(peer, number));
    }
}

#[test]
fn a_listener_comes_back_while_sessions_of_the_old_one_go_on() {
    for workers in [1, 2] {
        come_and_go("127.0.0.1", workers);
    }
}

#[test]
fn a_wildcard_listener_comes_back_while_sessions_of_the_old_one_go_on() {
    for workers in [1, 2] {
        come_and_go("0.0.0.0", workers);
    }
}
