//! UDP over real sockets: `return`, proxying, and which datagrams belong to one session.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, in its fixture, too"
)]

mod specs;
mod udp_fixture;

use std::net::UdpSocket as StdSocket;

use proptest::prelude::*;
use qanat_plan as spec;
use tokio::net::UdpSocket;
use udp_fixture::{ask, bind, client_of, echo, proxying, receive, returning, text, variable};

#[tokio::test]
async fn return_answers_every_datagram_with_a_session_of_its_own() {
    let gateway = returning("127.0.0.1:0", vec![text("hello "), variable("remote_addr")], |_| {});
    let client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(ask(&client, b"who?").await, b"hello 127.0.0.1");
    }
    assert_eq!(gateway.until_recorded(3).await, ["200 4 15 -"; 3]);
}

#[tokio::test]
async fn datagrams_are_proxied_both_ways() {
    let peer = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[peer], |change| change.proxy().timeout_ms = 50);
    let client = gateway.client().await;
    for datagram in [&b"one"[..], b"two", b"three"] {
        assert_eq!(ask(&client, datagram).await, datagram);
    }
    assert_eq!(gateway.open(), 1);
    assert_eq!(gateway.until_recorded(1).await, [format!("200 11 11 {peer}")]);
}

#[tokio::test]
async fn ipv6_is_proxied_to_ipv4() {
    let peer = echo("127.0.0.1:0").await;
    let gateway = proxying("[::]:0", &[peer], |_| {});
    let client = client_of(gateway.at("::1")).await;
    assert_eq!(ask(&client, b"six").await, b"six");
}

#[tokio::test]
async fn a_client_has_a_session_for_every_address_it_addresses() {
    let peer = bind("127.0.0.1:0").await;
    let gateway = proxying("0.0.0.0:0", &[peer.local_addr().unwrap()], |_| {});
    let client = bind("127.0.0.1:0").await;
    for ip in ["127.0.0.1", "127.0.0.2"] {
        client.send_to(ip.as_bytes(), gateway.at(ip)).await.unwrap();
    }
    let (first, second) = (receive(&peer).await, receive(&peer).await);
    assert_ne!(first.1, second.1);
    for (name, session) in [second, first] {
        peer.send_to(&name, session).await.unwrap();
        let (reply, from) = receive(&client).await;
        assert_eq!(reply, name);
        assert_eq!(from, gateway.at(std::str::from_utf8(&reply).unwrap()));
    }
    assert_eq!(gateway.open(), 2);
}

#[tokio::test]
async fn a_specific_listener_within_a_wildcard_gets_its_datagrams() {
    let gateway = returning("0.0.0.0:0", vec![text("all")], |change| {
        let port = change.spec.put.listeners[0].address.rsplit_once(':').unwrap().1.to_owned();
        let mut listener = change.spec.put.listeners[0].clone();
        listener.id = "child".into();
        listener.parent = Some("l".into());
        listener.address = format!("127.0.0.2:{port}");
        listener.default_server = "one".into();
        let mut server = change.server().clone();
        server.id = "one".into();
        server.listeners = vec!["child".into()];
        server.content = spec::Content::Return { text: vec![text("one")] };
        change.spec.put.listeners.push(listener);
        change.spec.put.servers.push(server);
    });
    assert_eq!(ask(&client_of(gateway.at("127.0.0.1")).await, b"?").await, b"all");
    assert_eq!(ask(&client_of(gateway.at("127.0.0.2")).await, b"?").await, b"one");
}

#[tokio::test]
async fn empty_datagrams_are_passed() {
    let peer = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[peer], |_| {});
    let client = gateway.client().await;
    for datagram in [&b""[..], b"x", b""] {
        assert_eq!(ask(&client, datagram).await, datagram);
    }
}

#[tokio::test]
async fn the_largest_datagrams_are_passed() {
    for (address, size) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
        let peer = echo(address).await;
        let gateway = proxying(address, &[peer], |change| change.proxy().buffer_size = 65_536);
        let client = gateway.client().await;
        for fill in 1..4 {
            let datagram = vec![fill; size];
            assert!(ask(&client, &datagram).await == datagram);
        }
    }
}

#[tokio::test]
async fn proxy_buffer_size_cuts_what_follows_the_first_datagram() {
    let peer = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[peer], |change| change.proxy().buffer_size = 100);
    let client = gateway.client().await;
    assert_eq!(ask(&client, &[1; 90]).await.len(), 90);
    assert_eq!(ask(&client, &[2; 200]).await.len(), 100);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever the number of clients and datagrams: every reply reaches the client that asked.
    #[test]
    fn every_client_gets_its_own_replies(clients in 1_usize..40, rounds in 1_usize..12, size in 8_usize..1400) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let peer = echo("127.0.0.1:0").await;
            let gateway = proxying("127.0.0.1:0", &[peer], |_| {});
            let mut sockets = Vec::new();
            for _ in 0..clients {
                sockets.push(gateway.client().await);
            }
            for round in 0..rounds {
                for (number, client) in sockets.iter().enumerate() {
                    client.send(&datagram(number, round, size)).await.unwrap();
                }
                for (number, client) in sockets.iter().enumerate() {
                    assert_eq!(receive(client).await.0, datagram(number, round, size));
                }
            }
            assert_eq!(gateway.open(), clients as u64);
        });
    }
}

fn datagram(client: usize, round: usize, size: usize) -> Vec<u8> {
    let mut bytes = format!("{client}/{round}/").into_bytes();
    bytes.resize(size.max(bytes.len()), b'.');
    bytes
}

/// The system tells that nobody takes what a socket sends at the socket's next use: it fails to receive then.
#[tokio::test]
async fn a_failure_to_receive_holds_no_datagram_back() {
    let mut listening = None;
    let gateway = returning("127.0.0.1:0", vec![text("here")], |change| {
        listening = change.socket.try_clone().ok();
    });
    let listening = listening.unwrap();
    // A client that has another peer. The listener's task does not run before the end of all this.
    let client = StdSocket::bind("127.0.0.1:0").unwrap();
    client.connect("127.0.0.1:9").unwrap();
    listening.connect(client.local_addr().unwrap()).unwrap();
    listening.send(b"refused").unwrap();
    client.connect(gateway.address).unwrap();
    client.send(b"waits").unwrap();
    client.set_nonblocking(true).unwrap();
    let client = UdpSocket::from_std(client).unwrap();
    assert_eq!(receive(&client).await.0, b"here");
}
