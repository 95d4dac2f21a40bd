//! The phases of a session, in order.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use qanat_plan as spec;

use crate::support::{
    Running, ask, connect, exact, fetch, free_address, listener, objects, proxy_to, read, server, site,
    tcp_id, text, upstream,
};

fn variable(name: &str) -> spec::Template {
    vec![spec::Part::Variable(name.into())]
}

#[test]
fn a_proxy_header_is_read_and_what_follows_stays() {
    let running = Running::start(1);
    let address = free_address();
    let mut site = site(&address, "");
    site.listeners[0].proxy_protocol = true;
    site.servers[0].content = spec::Content::Return { text: variable("proxy_protocol_addr") };
    running.put(site);
    assert_eq!(ask(connect(&address), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nrest"), "192.0.2.1");
    let mut slow = connect(&address);
    for piece in ["PROXY TC", "P4 192.0.2.3 192.0", ".2.2 1 2\r"] {
        slow.write_all(piece.as_bytes()).unwrap();
    }
    assert_eq!(ask(slow, b"\n"), "192.0.2.3");
    assert_eq!(running.status("failed"), 0);
}

#[test]
fn a_client_without_a_proxy_header_is_turned_away() {
    let running = Running::start(1);
    let address = free_address();
    let mut site = site(&address, "never");
    site.listeners[0].proxy_protocol = true;
    running.put(site);
    let mut stream = connect(&address);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    // Closed with bytes unread: a reset, or an end.
    match stream.read_to_string(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(answer, "");
    running.wait_for("failed", |failed| failed == 1);
    // One that leaves in the middle of it, too.
    let mut stream = connect(&address);
    stream.write_all(b"PROXY TCP4 ").unwrap();
    drop(stream);
    running.wait_for("failed", |failed| failed == 2);
}

#[test]
fn access_rules_of_the_selected_server_decide() {
    let running = Running::start(1);
    let address = free_address();
    let id = tcp_id(&address);
    let mut default = server(&id, "", "default");
    default.set = vec![spec::SetVariable { name: "mesh_server_name".into(), value: text("closed") }];
    let mut closed = server(&id, "closed", "never");
    closed.access = vec![spec::AccessRule { allow: false, network: "127.0.0.0/8".into() }];
    running.put(objects(vec![listener(&address)], vec![default, closed]));
    assert_eq!(fetch(&address), "");
    running.wait_for("failed", |failed| failed == 1);
}

#[test]
fn a_direct_connection_to_a_mesh_listener_has_its_local_address_as_destination() {
    let running = Running::start(1);
    let address = free_address();
    let mut site = site(&address, "");
    site.listeners[0].mesh = true;
    site.servers[0].content = spec::Content::Return { text: variable("njtmesh_dest") };
    running.put(site);
    assert_eq!(fetch(&address), address);
}

#[test]
fn a_server_without_content_resets() {
    let running = Running::start(1);
    let address = free_address();
    let mut site = site(&address, "");
    site.servers[0].content = spec::Content::None {};
    // Not before the client is connected.
    site.servers[0].preread.tls = true;
    running.put(site);
    let mut stream = connect(&address);
    stream.write_all(b"go").unwrap();
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// The first bytes of a TLS client that asks for `name`.
fn client_hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn preread_switches_by_the_name_in_a_hello_that_comes_in_pieces() {
    let running = Running::start(1);
    let address = free_address();
    let id = tcp_id(&address);
    let mut default = server(&id, "", "default");
    default.preread.tls = true;
    let mut named = server(&id, "a.example", "named");
    named.names = vec![exact("a.example")];
    running.put(objects(vec![listener(&address)], vec![default, named]));
    let hello = client_hello("a.example");
    let mut stream = connect(&address);
    let (last, first) = hello.split_last().unwrap();
    for piece in first.chunks(97) {
        stream.write_all(piece).unwrap();
    }
    assert_eq!(ask(stream, &[*last]), "named");
    assert_eq!(ask(connect(&address), &client_hello("b.example")), "default");
    assert_eq!(ask(connect(&address), b"GET / HTTP/1.0\r\n\r\n"), "default");
    let mut gone = connect(&address);
    gone.write_all(first).unwrap();
    gone.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    assert!(gone.read_to_string(&mut answer).is_err() || answer.is_empty());
    assert_eq!(running.status("failed"), 0);
}

#[test]
fn a_hello_larger_than_the_preread_buffer_is_refused() {
    let running = Running::start(1);
    let address = free_address();
    let mut site = site(&address, "never");
    site.servers[0].preread = spec::Preread { tls: true, buffer_size: 64, timeout_ms: 30_000, frame: None };
    running.put(site);
    let mut stream = connect(&address);
    stream.write_all(&client_hello("a.example")).unwrap();
    running.wait_for("failed", |failed| failed == 1);
}

#[test]
fn preread_does_not_wait_for_ever() {
    let running = Running::start(1);
    let address = free_address();
    let mut site = site(&address, "never");
    site.servers[0].preread = spec::Preread { tls: true, buffer_size: 64, timeout_ms: 10, frame: None };
    running.put(site);
    assert_eq!(read(connect(&address)), "");
    running.wait_for("sessions", |open| open == 0);
    assert_eq!(running.status("failed"), 0);
}

#[test]
fn what_preread_saw_reaches_the_peer() {
    let running = Running::start(1);
    let address = free_address();
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = peer.local_addr().unwrap().to_string();
    let mut site = site(&address, "");
    site.servers[0].preread.tls = true;
    site.servers[0].content = spec::Content::Proxy { proxy: Box::new(proxy_to(&target)) };
    site.upstreams = vec![upstream(&target)];
    running.put(site);
    let hello = client_hello("a.example");
    let mut client = connect(&address);
    client.write_all(&hello).unwrap();
    let (mut accepted, _) = peer.accept().unwrap();
    let mut received = vec![0; hello.len()];
    accepted.read_exact(&mut received).unwrap();
    assert_eq!(received, hello);
    accepted.write_all(b"answer").unwrap();
    drop(accepted);
    assert_eq!(read(client), "answer");
}
