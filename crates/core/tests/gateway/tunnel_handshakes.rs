//! Whoever connects to a gateway, or lets itself be dialled, and is not what it should be: a stranger, somebody in the
//! middle, a recording, another version, or a friend who has gone mad.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use qanat_wire::tunnel_frame::{Code, MAX_PAYLOAD, Open, SKIPPABLE, kind};

use crate::stranger::Line;
use crate::support::{connect, wait_until};
use crate::tunnels::{Node, SECRET, echo, echoes, pair};

/// A listener that passes connections on to `to`, and what the diallers have said through it, by connection.
fn recorder(to: &str) -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (said, to) = (Arc::new(Mutex::new(Vec::new())), to.to_owned());
    let recording = Arc::clone(&said);
    thread::spawn(move || {
        for dialler in listener.incoming() {
            let (mut dialler, mut acceptor) = (dialler.unwrap(), connect(&to));
            let (mut back, mut from) = (dialler.try_clone().unwrap(), acceptor.try_clone().unwrap());
            thread::spawn(move || drop(std::io::copy(&mut from, &mut back)));
            let mut all = recording.lock();
            all.push(Vec::new());
            let index = all.len() - 1;
            drop(all);
            let recording = Arc::clone(&recording);
            thread::spawn(move || {
                let mut some = [0; 4096];
                while let Ok(count @ 1..) = dialler.read(&mut some) {
                    recording.lock()[index].extend(&some[..count]);
                    if acceptor.write_all(&some[..count]).is_err() {
                        break;
                    }
                }
                drop(acceptor.shutdown(Shutdown::Both));
            });
        }
    });
    (address, said)
}

/// Whether the other side closes without a word.
fn is_dropped(mut socket: TcpStream) -> bool {
    matches!(socket.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn who_does_not_know_the_secret_is_not_let_in() {
    let (a, b) = (Node::start(b"another secret of thirty-two b.."), Node::start(SECRET));
    a.dial("t", &b.listen());
    a.wait_for("t", "auth_failed");
    assert_eq!(a.tunnel("t").unwrap().error.as_deref(), Some("authentication failed"));
    assert!(b.tunnel("t").is_none());
    wait_until("it is counted", || b.handshakes().not_trusted > 0);
}

#[test]
fn a_recorded_handshake_is_worth_nothing() {
    let (a, b) = (Node::start(SECRET), Node::start(SECRET));
    let address = b.listen();
    let (way, said) = recorder(&address);
    a.dial("t", &way);
    a.wait_for("t", "up");
    wait_until("both carriers", || b.tunnel("t").unwrap().connected == 2);
    drop(a);
    wait_until("the end", || b.tunnel("t").is_none_or(|seen| seen.state != "up"));
    let before = b.handshakes();
    let recordings = said.lock().clone();
    for recording in &recordings {
        let mut socket = connect(&address);
        socket.write_all(recording).unwrap();
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer));
    }
    wait_until("the refusals", || b.handshakes().not_tls == before.not_tls + recordings.len() as u64);
    assert_eq!(b.handshakes().succeeded, before.succeeded);
    assert!(b.tunnel("t").is_none_or(|seen| seen.state != "up"));
}

#[test]
fn who_stands_in_the_middle_is_found_out_by_both_ends() {
    let (a, b) = (Node::start(SECRET), Node::start(SECRET));
    let address = b.listen();
    let middle = TcpListener::bind("127.0.0.1:0").unwrap();
    a.dial("t", &middle.local_addr().unwrap().to_string());
    let in_the_middle = thread::spawn(move || {
        // It ends TLS on both sides with keys of its own, and passes on what is said inside.
        let mut dialler = Line::with(middle.accept().unwrap().0).unwrap();
        let mut acceptor = Line::to(&address);
        let proof = dialler.receive();
        assert_eq!(proof.len(), 33);
        acceptor.send(&proof);
        // Nothing comes back, not even a HELLO that could be read.
        assert!(acceptor.receive().is_empty());
    });
    in_the_middle.join().unwrap();
    a.wait_for("t", "auth_failed");
    assert_eq!(a.tunnel("t").unwrap().error.as_deref(), Some("authentication failed"));
    wait_until("it is counted", || b.handshakes().not_trusted == 1);
    assert!(b.tunnel("t").is_none());
}

#[test]
fn nothing_is_read_of_who_has_proved_nothing() {
    let b = Node::start(SECRET);
    let address = b.listen();
    let mut line = Line::to(&address);
    // As long as a proof, and a HELLO behind it.
    line.send(&[1; 33]);
    line.greet("t", 1..=1);
    assert!(line.receive().is_empty());
    wait_until("the refusal", || b.handshakes().not_trusted == 1);
    assert_eq!(b.handshakes().protocol, 0);
}

#[test]
fn nonsense_ends_its_own_carrier_and_nothing_else() {
    let (a, b) = pair();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    b.bind("mad", "s");
    let visitors = a.local("s", "t", b"");
    let mut kept = connect(&visitors);
    kept.write_all(b"x").unwrap();
    kept.read_exact(&mut [0]).unwrap();
    let open = |stream: u32| {
        let mut bytes = Vec::new();
        let open = Open { is_flow: false, service: "s", client: None, local: None, proof: None, early: b"" };
        qanat_wire::tunnel_frame::Scribe(&mut bytes).open(stream, &open);
        bytes
    };
    let nonsense: [(&str, Vec<u8>); 7] = [
        ("a kind that there is not", vec![99, 0, 0, 0, 0, 0, 0, 0]),
        ("a frame that is too long", vec![kind::DATA, 0, 0xff, 0xff, 0, 0, 0, 1]),
        ("a frame with something missing", vec![kind::PING, 0, 0, 1, 0, 0, 0, 0, 7]),
        ("bytes for no stream", vec![kind::DATA, 0, 0, 1, 0, 0, 0, 0, 7]),
        ("bytes for a stream that was never opened", vec![kind::DATA, 0, 0, 1, 0, 0, 0, 9, 7]),
        ("a stream with a number of the other side", open(2)),
        ("a stream that is opened twice", [open(1), open(1)].concat()),
    ];
    for (what, bytes) in nonsense {
        let mut line = Line::carrier(b.acceptor(), SECRET, "mad");
        assert!(line.is_answered(1), "{what}");
        line.send(&bytes);
        assert_eq!(line.refusal(), Some(Code::Protocol), "{what}");
        wait_until(what, || b.tunnel("mad").is_none_or(|seen| seen.carriers.is_empty() && seen.serving == 0));
    }
    kept.write_all(b"y").unwrap();
    kept.read_exact(&mut [0]).unwrap();
    assert_eq!(echoes(&visitors, b"still here"), b"still here");
    assert_eq!(a.tunnel("t").unwrap().connected, 2);
}

#[test]
fn credit_that_is_not_there_cannot_be_spent() {
    let b = Node::start(SECRET);
    b.listen();
    b.remote("s", &echo(), b"");
    b.bind("t", "s");
    let mut line = Line::carrier(b.acceptor(), SECRET, "t");
    let open = Open { is_flow: false, service: "s", client: None, local: None, proof: None, early: b"" };
    line.say(|scribe| {
        scribe.open(1, &open);
    });
    let much = vec![0; MAX_PAYLOAD];
    // The echo does not get rid of what it sends back: nobody gives it credit.
    let mut sent = 0;
    while sent < 64 << 20 && line.try_say(|scribe| scribe.data(1, &much)) {
        sent += much.len();
    }
    assert_eq!(line.refusal(), Some(Code::Protocol));
}

#[test]
fn frames_of_a_later_version_are_passed_over() {
    let b = Node::start(SECRET);
    b.listen();
    let mut line = Line::carrier(b.acceptor(), SECRET, "t");
    line.send(&[200, SKIPPABLE, 0, 3, 0, 0, 0, 0, 1, 2, 3]);
    line.send(&[201, SKIPPABLE, 0, 0, 0, 0, 0, 77]);
    assert!(line.is_answered(5));
    assert_eq!(b.tunnel("t").unwrap().state, "up");
}

#[test]
fn a_dialler_of_another_version_is_told_so() {
    let b = Node::start(SECRET);
    let mut line = Line::to(&b.listen());
    line.prove(SECRET);
    line.greet("t", 2..=2);
    assert_eq!(line.refusal(), Some(Code::Version));
    wait_until("the count", || b.handshakes().version == 1);
    assert!(b.tunnel("t").is_none());
}

#[test]
fn an_acceptor_of_another_version_is_told_so_and_shown() {
    let a = Node::start(SECRET);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    a.dial("t", &listener.local_addr().unwrap().to_string());
    for _ in 0..2 {
        let mut line = Line::with(listener.accept().unwrap().0).unwrap();
        line.prove(SECRET);
        line.greet("t", 2..=3);
        assert_eq!(line.refusal(), Some(Code::Version));
    }
    a.wait_for("t", "reconnecting");
    let text = "no version of the protocol in common: this end speaks 1 to 1, the other one 2 to 3";
    assert_eq!(a.tunnel("t").unwrap().error.as_deref(), Some(text));
}

#[test]
fn a_dialler_that_is_told_of_its_version_shows_it() {
    let a = Node::start(SECRET);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    a.dial("t", &listener.local_addr().unwrap().to_string());
    for _ in 0..2 {
        let mut line = Line::with(listener.accept().unwrap().0).unwrap();
        line.prove(SECRET);
        line.say(|scribe| scribe.refuse(Code::Version));
    }
    a.wait_for("t", "reconnecting");
    let text = "no version of the protocol in common: this end speaks 1 to 1";
    assert_eq!(a.tunnel("t").unwrap().error.as_deref(), Some(text));
}

#[test]
fn silent_clients_of_one_address_cannot_keep_others_out() {
    let (a, b) = (Node::start(SECRET), Node::start(SECRET));
    let address: SocketAddr = b.listen().parse().unwrap();
    let from_elsewhere = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        TcpStream::from(socket)
    };
    let silent: Vec<_> = (0..64).map(|_| from_elsewhere()).collect();
    wait_until("64 handshakes", || b.handshakes().under_way == 64);
    assert!(is_dropped(from_elsewhere()));
    wait_until("it is counted", || b.handshakes().crowded_address == 1);
    let began = Instant::now();
    a.dial("t", &address.to_string());
    a.wait_for("t", "up");
    // They have 5 s each to say something.
    assert!(began.elapsed() < Duration::from_secs(4));
    drop(silent);
    wait_until("their end", || b.handshakes().under_way == 0 && b.handshakes().not_tls == 64);
}
