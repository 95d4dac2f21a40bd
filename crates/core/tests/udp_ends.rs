//! How UDP sessions end: counted datagrams, silence, unreachable peers, limits, and a listener that is closed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, in its fixture, too"
)]

mod specs;
mod udp_fixture;

use std::net::SocketAddr;

use qanat_core::udp::is_lingering;
use qanat_plan as spec;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use udp_fixture::{ask, bind, client_of, echo, proxying, receive, returning, text, variable};

async fn peer() -> (UdpSocket, SocketAddr) {
    let peer = bind("127.0.0.1:0").await;
    let address = peer.local_addr().unwrap();
    (peer, address)
}

/// An address of this host that nobody listens at.
async fn nobody() -> SocketAddr {
    peer().await.1
}

#[tokio::test]
async fn proxy_responses_ends_a_session_with_its_last_reply() {
    let address = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| change.proxy().responses = Some(1));
    let client = gateway.client().await;
    assert_eq!(ask(&client, b"one").await, b"one");
    assert_eq!(ask(&client, b"three").await, b"three");
    let records = gateway.until_recorded(2).await;
    assert_eq!(records, [format!("200 3 3 {address}"), format!("200 5 5 {address}")]);
    gateway.until_open(0).await;
}

#[tokio::test]
async fn proxy_responses_0_ends_a_session_once_its_datagram_is_sent() {
    let (peer, address) = peer().await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| change.proxy().responses = Some(0));
    gateway.client().await.send(b"log line").await.unwrap();
    assert_eq!(receive(&peer).await.0, b"log line");
    assert_eq!(gateway.until_recorded(1).await, [format!("200 8 0 {address}")]);
}

#[tokio::test]
async fn proxy_requests_begins_a_new_session_and_the_old_one_still_answers() {
    let (peer, address) = peer().await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| change.proxy().requests = 2);
    let client = gateway.client().await;
    let mut sessions = Vec::new();
    for datagram in [b"1", b"2", b"3"] {
        client.send(datagram).await.unwrap();
        sessions.push(receive(&peer).await.1);
    }
    assert_eq!(sessions[0], sessions[1]);
    assert_ne!(sessions[1], sessions[2]);
    peer.send_to(b"late", sessions[0]).await.unwrap();
    assert_eq!(receive(&client).await.0, b"late");
    assert_eq!(gateway.open(), 2);
}

#[tokio::test]
async fn both_limits_end_a_session_when_all_requests_are_answered() {
    let address = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| {
        change.proxy().requests = 2;
        change.proxy().responses = Some(1);
    });
    let client = gateway.client().await;
    assert_eq!(ask(&client, b"1").await, b"1");
    assert_eq!(gateway.open(), 1);
    assert_eq!(ask(&client, b"2").await, b"2");
    assert_eq!(gateway.until_recorded(1).await, [format!("200 2 2 {address}")]);
}

#[tokio::test]
async fn silence_ends_a_session_normally_if_nobody_counts_replies() {
    let (peer, address) = peer().await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| change.proxy().timeout_ms = 30);
    gateway.client().await.send(b"x").await.unwrap();
    receive(&peer).await;
    assert_eq!(gateway.until_recorded(1).await, [format!("200 1 0 {address}")]);
}

#[tokio::test]
async fn a_missing_reply_is_a_failure_of_the_peer() {
    let (silent, address) = peer().await;
    let other = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[address, other], |change| {
        change.proxy().timeout_ms = 30;
        change.proxy().responses = Some(1);
    });
    let client = gateway.client().await;
    client.send(b"x").await.unwrap();
    receive(&silent).await;
    assert_eq!(gateway.until_recorded(1).await, [format!("502 1 0 {address}")]);
    for _ in 0..3 {
        assert_eq!(ask(&client, b"y").await, b"y");
    }
}

#[tokio::test]
async fn an_unreachable_peer_ends_its_session_at_once_and_counts_as_failed() {
    let (gone, other) = (nobody().await, echo("127.0.0.1:0").await);
    let gateway = proxying("127.0.0.1:0", &[gone, other], |_| {});
    let client = gateway.client().await;
    client.send(b"x").await.unwrap();
    assert_eq!(gateway.until_recorded(1).await, [format!("502 1 0 {gone}")]);
    assert_eq!(ask(&client, b"y").await, b"y");
    assert_eq!(ask(&client_of(gateway.address).await, b"z").await, b"z");
}

#[tokio::test]
async fn the_next_peer_is_tried_when_one_cannot_be_connected() {
    // Without SO_BROADCAST the system refuses to connect to it.
    let broadcast: SocketAddr = "255.255.255.255:9".parse().unwrap();
    let other = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[broadcast, other], |change| change.proxy().responses = Some(1));
    let client = gateway.client().await;
    assert_eq!(ask(&client, b"x").await, b"x");
    assert_eq!(gateway.until_recorded(1).await, [format!("200 1 1 {broadcast}, {other}")]);
}

#[tokio::test]
async fn nobody_left_to_try_is_502() {
    let broadcast: SocketAddr = "255.255.255.255:9".parse().unwrap();
    let gateway = proxying("127.0.0.1:0", &[broadcast], |_| {});
    gateway.client().await.send(b"x").await.unwrap();
    assert_eq!(gateway.until_recorded(1).await, [format!("502 1 0 {broadcast}")]);
}

#[tokio::test]
async fn denied_clients_get_nothing() {
    let gateway = returning("127.0.0.1:0", vec![text("secret")], |change| {
        change.server().access = vec![spec::AccessRule { allow: false, network: "all".into() }];
    });
    gateway.client().await.send(b"x").await.unwrap();
    assert_eq!(gateway.until_recorded(1).await, ["403 1 0 -"]);
}

#[tokio::test]
async fn the_server_that_mesh_selects_decides() {
    let gateway = returning("127.0.0.1:0", vec![text("default")], |change| {
        let mut other = change.server().clone();
        other.id = "other".into();
        other.names = vec![spec::ServerName { kind: spec::NameKind::Exact, text: "other".into() }];
        other.content = spec::Content::Return { text: vec![text("other")] };
        let server = change.server();
        server.access = vec![spec::AccessRule { allow: false, network: "all".into() }];
        server.set = vec![spec::SetVariable { name: "mesh_server_name".into(), value: vec![text("other")] }];
        change.spec.put.servers.push(other);
    });
    assert_eq!(ask(&gateway.client().await, b"x").await, b"other");
    gateway.until_recorded(1).await;
}

#[tokio::test]
async fn the_first_datagram_carries_the_proxy_header() {
    let (peer, address) = peer().await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| {
        change.proxy().protocol = spec::ProxyProtocol::V1;
    });
    let client = gateway.client().await;
    client.send(b"first").await.unwrap();
    client.send(b"second").await.unwrap();
    let (from, to) = (client.local_addr().unwrap().port(), gateway.address.port());
    let first = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\nfirst");
    assert_eq!(receive(&peer).await.0, first.as_bytes());
    assert_eq!(receive(&peer).await.0, b"second");
}

#[tokio::test]
async fn proxy_pass_with_variables_names_an_upstream_or_an_address() {
    let address = echo("127.0.0.1:0").await;
    for target in ["u".to_owned(), address.to_string()] {
        let gateway = proxying("127.0.0.1:0", &[address], |change| {
            let value = vec![variable("to")];
            change.proxy().target = spec::ProxyTarget::Variable { value };
            change.server().set = vec![spec::SetVariable { name: "to".into(), value: vec![text(&target)] }];
        });
        assert_eq!(ask(&gateway.client().await, b"x").await, b"x");
    }
}

#[tokio::test]
async fn proxy_bind_chooses_the_source_address() {
    let (peer, address) = peer().await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| {
        change.proxy().bind = Some(spec::Bind { address: vec![text("127.0.0.9")], transparent: false });
    });
    gateway.client().await.send(b"x").await.unwrap();
    assert_eq!(receive(&peer).await.1.ip().to_string(), "127.0.0.9");
}

#[tokio::test]
async fn one_session_fits_whatever_worker_connections_says() {
    let address = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| change.settings().worker_connections = 1);
    assert_eq!(ask(&gateway.client().await, b"alone").await, b"alone");
}

#[tokio::test]
async fn sessions_are_bounded_by_worker_connections() {
    let (peer, address) = peer().await;
    let gateway = proxying("127.0.0.1:0", &[address], |change| {
        change.settings().worker_connections = 4;
        change.proxy().requests = 1;
        change.proxy().responses = Some(1);
    });
    let clients = [gateway.client().await, gateway.client().await, gateway.client().await];
    let mut sessions = Vec::new();
    for client in &clients[..2] {
        client.send(b"in").await.unwrap();
        sessions.push(receive(&peer).await.1);
    }
    clients[2].send(b"dropped").await.unwrap();
    peer.send_to(b"reply", sessions[0]).await.unwrap();
    assert_eq!(receive(&clients[0]).await.0, b"reply");
    gateway.until_open(1).await;
    clients[2].send(b"now").await.unwrap();
    assert_eq!(receive(&peer).await.0, b"now");
}

/// A new listener, as it has to be bound while sessions of a closed one linger.
fn bind_beside(address: SocketAddr, reuse: fn(&Socket, bool) -> std::io::Result<()>) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), None).unwrap();
    reuse(&socket, true).unwrap();
    socket.bind(&address.into()).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

#[tokio::test]
async fn sessions_go_on_after_the_listener_is_closed_and_its_port_is_free() {
    for reuse in [Socket::set_reuse_address, Socket::set_reuse_port] {
        let (peer, address) = peer().await;
        let mut gateway = proxying("0.0.0.0:0", &[address], |_| {});
        let mut clients = Vec::new();
        for _ in 0..8 {
            let client = client_of(gateway.at("127.0.0.2")).await;
            client.send(b"before").await.unwrap();
            clients.push((client, receive(&peer).await.1));
        }

        gateway.close.send(true).unwrap();
        (&mut gateway.task).await.unwrap();
        assert!(is_lingering(gateway.address.port()));
        let next = bind_beside(gateway.address, reuse);

        for (client, session) in &clients {
            for round in [b"1", b"2"] {
                peer.send_to(round, session).await.unwrap();
                assert_eq!(receive(client).await.0, round);
                client.send(round).await.unwrap();
                assert_eq!(receive(&peer).await, (round.to_vec(), *session));
            }
        }
        for _ in 0..20 {
            let other = client_of(gateway.at("127.0.0.2")).await;
            other.send(b"new").await.unwrap();
            assert_eq!(receive(&next).await, (b"new".to_vec(), other.local_addr().unwrap()));
        }
        assert_eq!(gateway.open(), 8);
    }
}

#[tokio::test]
async fn a_closed_listener_without_sessions_leaves_its_port_at_once() {
    let mut gateway = returning("127.0.0.1:0", vec![text("x")], |_| {});
    ask(&gateway.client().await, b"?").await;
    gateway.close.send(true).unwrap();
    (&mut gateway.task).await.unwrap();
    assert!(!is_lingering(gateway.address.port()));
    bind(&gateway.address.to_string()).await;
}

#[tokio::test]
async fn a_session_without_a_listener_ends_by_its_rules() {
    let (peer, address) = peer().await;
    let mut gateway = proxying("127.0.0.1:0", &[address], |change| change.proxy().timeout_ms = 30);
    gateway.client().await.send(b"x").await.unwrap();
    receive(&peer).await;
    gateway.close.send(true).unwrap();
    (&mut gateway.task).await.unwrap();
    assert_eq!(gateway.until_recorded(1).await, [format!("200 1 0 {address}")]);
    assert!(!is_lingering(gateway.address.port()));
}

#[tokio::test]
async fn a_stopped_worker_records_its_sessions_once() {
    let address = echo("127.0.0.1:0").await;
    let gateway = proxying("127.0.0.1:0", &[address], |_| {});
    ask(&gateway.client().await, b"x").await;
    gateway.task.abort();
    assert_eq!(gateway.until_recorded(1).await, [format!("200 1 1 {address}")]);
    assert_eq!(gateway.worker.connections.load(std::sync::atomic::Ordering::Relaxed), 0);
}
