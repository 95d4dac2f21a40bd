//! UDP sessions with handlers, which something that is no interpreter answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, in its fixture, too"
)]

mod specs;
mod udp_fixture;

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use qanat_core::phase::call::Verdict;
use qanat_core::phase::datagrams::{Received, Sending};
use qanat_core::phase::{Call, Hooks, Phase};
use qanat_plan as spec;
use tokio::net::UdpSocket;
use udp_fixture::{Gateway, ask, bind, client_of, echo, proxying, receive, returning, text};

/// What the handlers of a call do whenever something happens to it; none keeps them waiting.
type Handler = dyn Fn(&Call) -> Option<Verdict> + Send + Sync;

/// Runs handlers where it stands.
struct Handlers {
    handler: Box<Handler>,
    open: Mutex<Vec<Arc<Call>>>,
    has_room: bool,
}

impl Handlers {
    fn new(handler: impl Fn(&Call) -> Option<Verdict> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { handler: Box::new(handler), open: Mutex::default(), has_room: true })
    }

    /// Answers all calls that are open.
    fn answer(&self, verdict: impl Fn() -> Verdict) {
        let open = std::mem::take(&mut *self.open.lock());
        for call in open {
            if let Some(task) = call.answer(verdict()) {
                task.wake();
            }
        }
    }
}

impl Hooks for Handlers {
    fn submit(&self, call: Arc<Call>) -> bool {
        if self.has_room {
            self.open.lock().push(call);
        }
        self.has_room
    }

    fn signal(&self, _: u64) {}

    fn retire(&self, _: u64) {}

    fn flush(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        for call in open {
            match (self.handler)(&call) {
                Some(verdict) => {
                    if let Some(task) = call.answer(verdict) {
                        task.wake();
                    }
                }
                None => self.open.lock().push(call),
            }
        }
    }
}

fn preread() -> spec::Handlers {
    spec::Handlers { preread: vec!["a:look".into()], timeout_ms: 60_000, ..spec::Handlers::default() }
}

/// A listener that proxies to `peer`, with preread handlers.
fn prereading(listen: &str, peer: SocketAddr, hooks: &Arc<Handlers>) -> Gateway {
    proxying(listen, &[peer], |change| {
        change.hooks = Some(Arc::<Handlers>::clone(hooks));
        change.server().handlers = preread();
    })
}

/// A listener with a content handler.
fn answering(hooks: &Arc<Handlers>) -> Gateway {
    returning("127.0.0.1:0", Vec::new(), |change| {
        change.hooks = Some(Arc::<Handlers>::clone(hooks));
        change.server().content = spec::Content::Handler { handler: "a:answer".into(), timeout_ms: 60_000 };
        change.server().handlers.timeout_ms = 100;
    })
}

async fn send_all(client: &UdpSocket, datagrams: &[&[u8]]) {
    for datagram in datagrams {
        client.send(datagram).await.unwrap();
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(std::time::Duration::from_secs(10), reached).await;
    assert!(reached.is_ok(), "waited too long for: {what}");
}

#[tokio::test]
async fn what_handlers_leave_goes_to_the_peer_and_what_came_meanwhile_after_it() {
    let peer = bind("127.0.0.1:0").await;
    let handlers = Handlers::new(|call| {
        assert_eq!((call.phase(), &*call.key()), (Phase::Preread, "preread\na:look"));
        let mut exchange = call.exchange();
        if exchange.input.unread().len() == 5 {
            assert_eq!(exchange.input.take(2), b"fi");
        }
        None
    });
    let gateway = prereading("127.0.0.1:0", peer.local_addr().unwrap(), &handlers);
    let (client, other) = (gateway.client().await, gateway.client().await);
    send_all(&client, &[b"first", b"second", b"third"]).await;
    other.send(b"x").await.unwrap();
    gateway.until_open(2).await;
    until("two calls", || handlers.open.lock().len() == 2).await;
    until("the handler", || handlers.open.lock()[0].exchange().input.unread() == b"rst").await;
    handlers.answer(|| Verdict::Continue);
    let mut origins = Vec::new();
    for _ in 0..4 {
        let (datagram, origin) = receive(&peer).await;
        origins.push((datagram, origin));
    }
    let first = origins.iter().find(|(datagram, _)| datagram == b"rst").unwrap().1;
    origins.retain(|(_, origin)| *origin == first);
    let datagrams: Vec<_> = origins.into_iter().map(|(datagram, _)| datagram).collect();
    assert_eq!(datagrams, [b"rst".to_vec(), b"second".to_vec(), b"third".to_vec()]);
}

#[tokio::test]
async fn a_rejection_is_one_datagram_from_the_address_that_was_asked() {
    let handlers = Handlers::new(|_| Some(Verdict::Reject(403, b"not you".to_vec())));
    let gateway = prereading("0.0.0.0:0", echo("127.0.0.1:0").await, &handlers);
    let client = client_of(gateway.at("127.0.0.3")).await;
    assert_eq!(ask(&client, b"who?").await, b"not you");
    assert_eq!(gateway.until_recorded(1).await, ["403 4 7 -"]);
}

#[tokio::test]
async fn a_session_outlives_its_listener_while_handlers_are_at_work() {
    let handlers = Handlers::new(|_| None);
    let gateway = prereading("127.0.0.1:0", echo("127.0.0.1:0").await, &handlers);
    let client = gateway.client().await;
    client.send(b"before").await.unwrap();
    until("the call", || handlers.open.lock().len() == 1).await;
    gateway.close.send(true).unwrap();
    until("the end", || gateway.task.is_finished()).await;
    client.send(b"after").await.unwrap();
    handlers.answer(|| Verdict::Continue);
    assert_eq!(receive(&client).await, (b"before".to_vec(), gateway.address));
    assert_eq!(receive(&client).await.0, b"after");
    assert_eq!(ask(&client, b"later").await, b"later");
}

#[tokio::test]
async fn sessions_with_handlers_end_with_the_worker() {
    let handlers = Handlers::new(|_| None);
    let gateway = prereading("127.0.0.1:0", echo("127.0.0.1:0").await, &handlers);
    gateway.client().await.send(b"x").await.unwrap();
    until("the call", || handlers.open.lock().len() == 1).await;
    gateway.task.abort();
    assert_eq!(gateway.until_recorded(1).await, ["200 1 0 -"]);
}

#[tokio::test]
async fn too_many_calls_and_nobody_to_run_them_are_errors() {
    let full = Handlers { handler: Box::new(|_| None), open: Mutex::default(), has_room: false };
    let peer = echo("127.0.0.1:0").await;
    let gateway = prereading("127.0.0.1:0", peer, &Arc::new(full));
    gateway.client().await.send(b"x").await.unwrap();
    assert_eq!(gateway.until_recorded(1).await, ["503 1 0 -"]);
    let gateway = proxying("127.0.0.1:0", &[peer], |change| change.server().handlers = preread());
    gateway.client().await.send(b"x").await.unwrap();
    assert_eq!(gateway.until_recorded(1).await, ["500 1 0 -"]);
}

#[tokio::test]
async fn a_call_that_nobody_answers_ends_in_time() {
    let handlers = Handlers::new(|_| None);
    let gateway = returning("127.0.0.1:0", vec![text("never")], |change| {
        change.hooks = Some(Arc::<Handlers>::clone(&handlers));
        change.server().handlers = spec::Handlers { timeout_ms: 50, ..preread() };
    });
    gateway.client().await.send(b"x").await.unwrap();
    assert_eq!(gateway.until_recorded(1).await, ["500 1 0 -"]);
}

/// Sends every datagram back, and ends the session with `bye`.
fn echoing(call: &Call) -> Option<Verdict> {
    let mut exchange = call.exchange();
    while let Some(Received::Datagram(datagram, _)) = exchange.receive(call.id) {
        if datagram == b"bye" {
            return Some(Verdict::Continue);
        }
        match exchange.send(&datagram) {
            Some(Sending::Taken(Some((listener, _)))) => listener.wake(),
            Some(Sending::Taken(None)) => {}
            other => panic!("{other:?}"),
        }
    }
    None
}

#[tokio::test]
async fn a_content_handler_answers_until_it_ends() {
    let handlers = Handlers::new(echoing);
    let gateway = answering(&handlers);
    let client = gateway.client().await;
    for round in [&b"one"[..], b"two", b""] {
        assert_eq!(ask(&client, round).await, round);
    }
    send_all(&client, &[b"bye", b"again"]).await;
    assert_eq!(receive(&client).await.0, b"again");
    assert_eq!(gateway.until_recorded(1).await, ["200 9 6 -"]);
    assert_eq!(gateway.open(), 1);
}

#[tokio::test]
async fn what_a_content_handler_did_not_take_begins_new_sessions() {
    let handlers = Handlers::new(|_| None);
    let gateway = answering(&handlers);
    let client = gateway.client().await;
    send_all(&client, &[b"one", b"three", b"seven77"]).await;
    until("the call", || handlers.open.lock().len() == 1).await;
    for _ in 0..3 {
        until("a call", || !handlers.open.lock().is_empty()).await;
        handlers.answer(|| Verdict::Continue);
    }
    assert_eq!(gateway.until_recorded(3).await, ["200 3 0 -", "200 5 0 -", "200 7 0 -"]);
}
