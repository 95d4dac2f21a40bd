//! Datagrams through tunnels: a flow for each client.

use std::net::UdpSocket;
use std::thread;

use qanat_plan as spec;

use crate::specs;
use crate::support::{DEADLINE, free_address, wait_until};
use crate::tunnels::{Node, description, echo, pair, resets};

impl Node {
    /// A local service of datagrams: where its clients send to.
    fn local_udp(&self, service: &str, tunnel: &str, timeout_ms: u64) -> String {
        let address = free_address();
        let mut listener = specs::listener(spec::Protocol::Udp, &address);
        listener.id = format!("udp:{address}");
        listener.default_server = format!("{}/", listener.id);
        let upstream = specs::upstream(service, vec![specs::peer(&format!("tunnel:{tunnel}/{service}"))]);
        let proxy = spec::Proxy { timeout_ms, ..specs::proxy(service) };
        self.put(spec::Objects {
            servers: vec![specs::server(&listener.id, specs::proxied(proxy))],
            listeners: vec![listener],
            upstreams: vec![upstream],
            services: vec![description(&format!("local:{service}"), b"key")],
            ..Default::default()
        });
        address
    }

    /// A remote service of datagrams.
    fn remote_udp(&self, service: &str, target: &str, timeout_ms: u64) {
        let mut listener = specs::listener(spec::Protocol::Udp, &format!("tunnel:remote/{service}"));
        listener.id = format!("tunnel:{service}");
        listener.default_server = format!("{}/", listener.id);
        let proxy = spec::Proxy { timeout_ms, ..specs::proxy(target) };
        self.put(spec::Objects {
            servers: vec![specs::server(&listener.id, specs::proxied(proxy))],
            listeners: vec![listener],
            upstreams: vec![specs::upstream(target, vec![specs::peer(target)])],
            services: vec![description(&format!("remote:{service}"), b"key")],
            ..Default::default()
        });
    }
}

/// Sends back what it gets; returns where.
fn udp_echo() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((count, client)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(&buffer[..count], client));
        }
    });
    address
}

fn udp_client(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn answer(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let count = socket.recv(&mut buffer).unwrap();
    buffer.truncate(count);
    buffer
}

#[test]
fn datagrams_of_any_size_keep_their_boundaries_in_both_directions() {
    let (a, b) = pair();
    b.remote_udp("dns", &udp_echo(), 60_000);
    b.bind("t", "dns");
    let client = udp_client(&a.local_udp("dns", "t", 60_000));
    for size in [1, 0, 512, 16_376, 16_377, 40_000, 65_507] {
        let datagram: Vec<u8> = (0..size).map(|number: u32| number.to_le_bytes()[0]).collect();
        client.send(&datagram).unwrap();
        assert!(answer(&client) == datagram, "{size} bytes");
    }
    assert_eq!(b.tunnel("t").unwrap().serving, 1);
}

#[test]
fn a_flow_ends_at_both_ends_when_it_is_idle_and_the_next_datagram_begins_another() {
    let (a, b) = pair();
    b.remote_udp("dns", &udp_echo(), 60_000);
    b.bind("t", "dns");
    let client = udp_client(&a.local_udp("dns", "t", 50));
    for _ in 0..2 {
        client.send(b"x").unwrap();
        assert_eq!(answer(&client), b"x");
        wait_until("the flow has ended", || b.tunnel("t").is_some_and(|seen| seen.serving == 0));
    }
}

#[test]
fn bytes_and_datagrams_are_different_services() {
    let (a, b) = pair();
    b.remote("s", &echo(), b"key");
    b.bind("t", "s");
    let client = udp_client(&a.local_udp("s", "t", 60_000));
    client.send(b"x").unwrap();
    wait_until("refused", || b.tunnel("t").is_some_and(|seen| seen.refused == 1));
    b.remote_udp("s", &udp_echo(), 60_000);
    let address = a.local("s", "t", b"key");
    assert!(resets(&address));
}

#[test]
fn a_target_that_is_gone_ends_the_flow_and_one_that_is_back_gets_the_next() {
    let (a, b) = pair();
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap();
    b.remote_udp("dns", &address.to_string(), 60_000);
    b.bind("t", "dns");
    drop(target);
    let client = udp_client(&a.local_udp("dns", "t", 60_000));
    client.send(b"lost").unwrap();
    wait_until("served and over", || b.tunnel("t").is_some_and(|seen| seen.served == 1 && seen.serving == 0));
    let target = UdpSocket::bind(address).unwrap();
    target.set_read_timeout(Some(DEADLINE)).unwrap();
    wait_until("the target is reached", || {
        client.send(b"again").unwrap();
        target.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        target.recv(&mut [0; 16]).is_ok()
    });
}
