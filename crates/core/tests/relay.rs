//! A relay over real sockets: whatever the sizes, speeds and closes, every byte arrives once and in order.
#![allow(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod specs;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use qanat_core::address::Address;
use qanat_core::error::{SessionError, Source};
use qanat_core::log::writer::LogWriter;
use qanat_core::plan::link::{Context, link};
use qanat_core::plan::{Content, Plan, Proxy};
use qanat_core::relay::tcp;
use qanat_core::session::Session;
use qanat_core::session::state::Attempt;
use qanat_core::stream::{Socket, Stream};
use qanat_core::tls::TlsContext;
use qanat_plan as spec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn proxy(half_close: bool, timeout_ms: u64) -> spec::Proxy {
    let value = vec![spec::Part::Text("127.0.0.1:1".into())];
    let target = spec::ProxyTarget::Variable { value };
    spec::Proxy { target, half_close, timeout_ms, ..specs::proxy("") }
}

fn plan(proxy: spec::Proxy) -> Arc<Plan> {
    let listener = specs::listener(spec::Protocol::Tcp, "127.0.0.1:1");
    let server = specs::server(&listener.id, specs::proxied(proxy));
    let put = spec::Objects { listeners: vec![listener], servers: vec![server], ..Default::default() };
    let (logs, tls) = (LogWriter::start().unwrap(), TlsContext::new().unwrap());
    let context = Context { logs: &logs, tls: &tls };
    Arc::new(link(&Plan::default(), &specs::change_set(put), &context).unwrap())
}

/// Two ends of a TCP connection on loopback.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A relay with a client and a server outside of it.
struct Stage {
    client: TcpStream,
    server: TcpStream,
    relay: tokio::task::JoinHandle<(Result<(), SessionError>, u64, u64)>,
}

async fn stage(proxy: spec::Proxy, early: &[u8]) -> Stage {
    let plan = plan(proxy);
    let (client, accepted) = pair().await;
    let (connected, server) = pair().await;
    let listener = Arc::clone(plan.listeners.values().next().unwrap());
    let mut session = Session::begin(1, plan, listener, Address::Inet(client.local_addr().unwrap()));
    session.attempts.push(Attempt::begin("peer".into()));
    let early = early.to_vec();
    let relay = tokio::spawn(async move {
        let server = Arc::clone(&session.server);
        let Content::Proxy(proxy) = &server.content else { unreachable!() };
        let proxy: &Proxy = proxy;
        let (mut near, mut far) =
            (Stream::Plain(Socket::Tcp(accepted)), Stream::Plain(Socket::Tcp(connected)));
        let end = tcp::run(&mut session, &mut near, early, &mut far, proxy).await;
        (end, session.bytes_received, session.bytes_sent)
    });
    Stage { client, server, relay }
}

fn source(end: &Result<(), SessionError>) -> Source {
    end.as_ref().unwrap_err().source
}

/// Bytes that differ at every place, so that a loss or a swap shows.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| ((at * 31 + at / 251) % 256).to_le_bytes()[0].wrapping_add(seed)).collect()
}

/// Writes `data` in pieces, pausing after some.
async fn send(stream: &mut (impl AsyncWriteExt + Unpin), data: &[u8], pieces: &[usize]) {
    let mut sizes = pieces.iter().cycle();
    let mut rest = data;
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).clamp(1, rest.len());
        stream.write_all(&rest[..size]).await.unwrap();
        rest = &rest[size..];
        if size.is_multiple_of(3) {
            tokio::task::yield_now().await;
        }
    }
}

/// Reads to the end in pieces.
async fn receive(stream: &mut (impl AsyncReadExt + Unpin), pieces: &[usize]) -> Vec<u8> {
    let mut all = Vec::new();
    for size in pieces.iter().cycle() {
        let mut buffer = vec![0; (*size).max(1)];
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            n => all.extend_from_slice(&buffer[..n]),
        }
        if size.is_multiple_of(5) {
            tokio::task::yield_now().await;
        }
    }
    all
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_directions_arrive_whole_with_half_close(
        up in 0_usize..600_000, down in 0_usize..600_000, early in 0_usize..5000,
        writes in prop::collection::vec(1_usize..90_000, 1..5),
        reads in prop::collection::vec(1_usize..90_000, 1..5),
    ) {
        runtime().block_on(async {
            let (up, down, early) = (pattern(up, 1), pattern(down, 2), pattern(early, 3));
            let Stage { mut client, mut server, relay } = stage(proxy(true, 60_000), &early).await;
            let (mut client_in, mut client_out) = client.split();
            let (mut server_in, mut server_out) = server.split();
            let ((), (), at_client, at_server) = tokio::join!(
                async { send(&mut client_out, &up, &writes).await; client_out.shutdown().await.unwrap() },
                async { send(&mut server_out, &down, &reads).await; server_out.shutdown().await.unwrap() },
                receive(&mut client_in, &reads),
                receive(&mut server_in, &writes),
            );
            assert!(at_server == [early, up.clone()].concat(), "what the client sent arrived otherwise");
            assert!(at_client == down, "what the server sent arrived otherwise");
            let (_, received, sent) = relay.await.unwrap();
            assert_eq!((received, sent), (up.len() as u64, down.len() as u64));
        });
    }

    #[test]
    fn a_close_comes_after_every_byte_before_it(size in 1_usize..3_000_000, by_client in any::<bool>()) {
        runtime().block_on(async {
            let Stage { mut client, mut server, relay } = stage(proxy(false, 60_000), &[]).await;
            let data = pattern(size, 7);
            let (sender, receiver) = if by_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let (arrived, ()) = tokio::join!(receive(receiver, &[50_000]), async {
                sender.write_all(&data).await.unwrap();
                sender.shutdown().await.unwrap();
            });
            assert!(arrived == data);
            let expected = if by_client { Source::Client } else { Source::Peer };
            assert_eq!(source(&relay.await.unwrap().0), expected);
        });
    }
}

#[test]
fn a_last_answer_survives_a_client_that_still_sends() {
    runtime().block_on(async {
        let Stage { mut client, mut server, relay } = stage(proxy(false, 60_000), &[]).await;
        // The server reads nothing, so the relay's upload is blocked when the answer ends.
        let answer = pattern(2_000_000, 9);
        let flood = vec![1; 16_000_000];
        let (mut client_in, mut client_out) = client.split();
        let (at_client, _cut_short, ()) =
            tokio::join!(receive(&mut client_in, &[40_000]), client_out.write_all(&flood), async {
                server.write_all(&answer).await.unwrap();
                server.shutdown().await.unwrap();
                receive(&mut server, &[100_000]).await;
            },);
        assert!(at_client == answer);
        relay.await.unwrap().0.unwrap_err();
    });
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    for by_client in [true, false] {
        runtime().block_on(async {
            let Stage { client, server, relay } = stage(proxy(false, 60_000), b"x").await;
            let (gone, mut left) = if by_client { (client, server) } else { (server, client) };
            if by_client {
                assert_eq!(left.read_u8().await.unwrap(), b'x');
            }
            socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
            drop(gone);
            let error = left.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            let expected = if by_client { Source::Client } else { Source::Peer };
            assert_eq!(source(&relay.await.unwrap().0), expected);
        });
    }
}

#[test]
fn silence_ends_a_session_and_traffic_does_not() {
    runtime().block_on(async {
        let Stage { mut client, mut server, relay } = stage(proxy(false, 300), &[]).await;
        let begun = tokio::time::Instant::now();
        let mut last = begun;
        while begun.elapsed() < Duration::from_millis(700) {
            client.write_all(b"tick").await.unwrap();
            last = tokio::time::Instant::now();
            let mut tick = [0; 4];
            server.read_exact(&mut tick).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (end, _, _) = relay.await.unwrap();
        assert!(last.elapsed() >= Duration::from_millis(300));
        assert_eq!(end.unwrap_err().cause.unwrap().raw_os_error(), Some(libc::ETIMEDOUT));
    });
}

#[test]
fn a_slow_reader_holds_the_sender_back() {
    runtime().block_on(async {
        let Stage { client, mut server, relay } = stage(proxy(false, 60_000), &[]).await;
        let data = vec![0; 64 * 1024 * 1024];
        // The client does not read: buffers fill, then the server may write no more.
        let blocked = tokio::time::timeout(Duration::from_millis(800), server.write_all(&data)).await;
        assert!(blocked.is_err(), "64 MiB vanished into a relay that nobody reads from");
        drop(client);
        relay.await.unwrap().0.unwrap_err();
    });
}
