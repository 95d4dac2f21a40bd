//! Peers that leave as soon as they are connected, before the gateway has looked even once.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use qanat_plan as spec;
use socket2::SockRef;

use crate::support::{
    DEADLINE, Running, connect, free_address, listener, objects, proxy_to, read, server, tcp_id, upstream,
};

const ROUNDS: usize = 200;

/// A gateway in front of a peer that does `what` with every connection.
fn in_front_of(what: impl Fn(TcpStream) + Send + 'static) -> (Running, String) {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = upstream(&peer.local_addr().unwrap().to_string());
    std::thread::spawn(move || peer.incoming().for_each(|stream| what(stream.unwrap())));
    let (running, front) = (Running::start(1), free_address());
    let id = tcp_id(&front);
    let mut server = server(&id, "", "");
    server.content = spec::Content::Proxy { proxy: Box::new(proxy_to(&upstream.name)) };
    let mut put = objects(vec![listener(&front)], vec![server]);
    put.upstreams = vec![upstream];
    running.put(put);
    (running, front)
}

fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A client, unless the reset has come before it knew that it was connected.
fn client(front: &str) -> Option<TcpStream> {
    match TcpStream::connect(front) {
        Ok(client) => {
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            Some(client)
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            None
        }
    }
}

#[test]
fn a_reset_reaches_the_client_as_a_reset() {
    let (running, front) = in_front_of(|stream| reset(&stream));
    for round in 0..ROUNDS {
        let Some(mut client) = client(&front) else { continue };
        // The system tells of a reset once, here or there.
        let told = if round % 2 == 1 { client.write(b"request").err() } else { None };
        let error = told.unwrap_or_else(|| client.read(&mut [0]).expect_err("an orderly end"));
        if error.kind() == ErrorKind::BrokenPipe {
            continue;
        }
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "round {round}");
    }
    running.wait_for("sessions", |open| open == 0);
    assert_eq!(running.status("failed"), 0);
}

#[test]
fn what_a_peer_said_before_its_reset_is_not_lost() {
    let (running, front) = in_front_of(|mut stream| {
        stream.write_all(b"answer").unwrap();
        reset(&stream);
    });
    for round in 0..ROUNDS {
        let Some(mut client) = client(&front) else { continue };
        let mut answer = Vec::new();
        let error = client.read_to_end(&mut answer).expect_err("an orderly end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "round {round}");
        assert_eq!(answer, b"answer", "round {round}");
    }
    running.wait_for("sessions", |open| open == 0);
    assert_eq!(running.status("failed"), 0);
}

#[test]
fn what_a_peer_says_at_once_arrives_though_it_closes_at_once() {
    let (running, front) = in_front_of(|mut stream| stream.write_all(b"answer").unwrap());
    for _ in 0..ROUNDS {
        assert_eq!(read(connect(&front)), "answer");
    }
    running.wait_for("sessions", |open| open == 0);
    assert_eq!(running.status("failed"), 0);
}
