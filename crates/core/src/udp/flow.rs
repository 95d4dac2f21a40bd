//! A flow that the other end of a tunnel has opened: the datagrams of one client of its, which become a session with
//! the target of the service. The stages are those of [`super::open`]; each flow has a task and a socket of its own.

mod handlers;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use qanat_plan::Level;
use qanat_wire::tunnel_frame::Code;
use tokio::time::{Sleep, sleep_until, timeout};

use crate::clock::{self, Instant};
use crate::error::{SessionError, Source, Status};
use crate::log::error::session_end;
use crate::plan::Content;
use crate::preread::frame;
use crate::rules as routes;
use crate::session::registry::Open;
use crate::tunnel::{TunnelStream, code_of};
use crate::udp::association::{Rules, book_reply, book_request};
use crate::udp::connect::mark_failed;
use crate::udp::finish;
use crate::udp::handled::{decide, is_handled, no_event};
use crate::udp::open::{no_content, route, say};
use crate::udp::peer::{Peer, broken};
use crate::udp::ready::ReadySet;
use crate::udp::receive::is_lost;
use crate::upstream::Picked;

/// Datagrams of one direction that are passed on before the other direction and other tasks have their turn.
const TURN: usize = 32;
/// The token of the target.
const TARGET: u32 = 0;

/// Serves a flow to its end. Cancel safe: dropping the future ends the session, with its record.
pub async fn serve(mut open: Open, flow: TunnelStream) {
    let outcome = Box::pin(run(&mut open, &flow)).await;
    match &outcome {
        // Handlers have told the client what they had to say.
        Err(error) if error.source == Source::Gateway && open.session.bytes_sent > 0 => {}
        Err(error) => flow.reset_on_close(error.cause.as_ref().map_or(Code::DialFailed, code_of)),
        Ok(()) => {}
    }
    drop(flow);
    finish(open, outcome);
}

async fn run(open: &mut Open, flow: &TunnelStream) -> Result<(), SessionError> {
    route(open)?;
    let server = Arc::clone(&open.session.server);
    let rules = match &server.content {
        Content::Proxy(proxy) => Rules::new(&proxy.spec),
        Content::Return(text) => {
            say(&mut open.session, text, |bytes| flow.send_datagram(bytes));
            return Ok(());
        }
        Content::None | Content::Handler(_) => return Err(no_content()),
    };
    let receiving = poll_fn(|cx| flow.poll_datagram(cx));
    let Ok(Ok(first)) = timeout(rules.timeout, receiving).await else { return Ok(()) };
    open.session.bytes_received = first.len() as u64;
    let decided = if is_handled(&open.session) {
        handlers::decide(&mut open.session, flow, first).await?
    } else {
        Some(dial(open, &server.content, &first).await?)
    };
    let Some((mut peer, picked)) = decided else { return Ok(()) };
    open.session.action = "proxying connection";
    let mut ready = ReadySet::new().map_err(no_event)?;
    ready.watch(&mut peer, TARGET).map_err(no_event)?;
    let now = clock::now();
    let timeout = rules.timeout;
    let mut relay =
        Relay { open, flow, peer, ready, tokens: Vec::new(), picked, timeout, last: now, has_replied: false };
    let mut timer = pin!(sleep_until(now + rules.timeout));
    let outcome = poll_fn(|cx| relay.poll(cx, timer.as_mut())).await;
    relay.peer.note_way(&mut relay.open.session);
    outcome
}

/// The target, which has got the first datagram.
async fn dial(open: &mut Open, content: &Content, first: &[u8]) -> Result<(Peer, Picked), SessionError> {
    let Content::Proxy(proxy) = content else { return Err(no_content()) };
    let session = &mut open.session;
    frame::look(session, first)?;
    routes::choose_for_datagram(session, first)?;
    decide::dial(session, proxy, Some(first)).await
}

/// A flow and its target.
struct Relay<'a> {
    open: &'a mut Open,
    flow: &'a TunnelStream,
    peer: Peer,
    /// Whether the target has something to say. It knows of errors, too, which reading alone does not.
    ready: ReadySet,
    /// Taken from `ready`, kept for its memory.
    tokens: Vec<u32>,
    picked: Picked,
    timeout: Duration,
    /// When a datagram last passed.
    last: Instant,
    has_replied: bool,
}

impl Relay<'_> {
    /// Passes on what there is. Ready when the session is over.
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Result<(), SessionError>> {
        let requests = self.poll_requests(cx);
        if let Poll::Ready(Some(outcome)) = requests {
            return Poll::Ready(outcome);
        }
        let replies = self.poll_replies(cx);
        if let Poll::Ready(Some(outcome)) = replies {
            return Poll::Ready(outcome);
        }
        if requests.is_ready() || replies.is_ready() {
            cx.waker().wake_by_ref();
        }
        while timer.as_mut().poll(cx).is_ready() {
            let expires = self.last + self.timeout;
            if expires <= clock::now() {
                session_end(&self.open.session, Level::Info, "udp timed out");
                return Poll::Ready(Ok(()));
            }
            timer.as_mut().reset(expires);
        }
        Poll::Pending
    }

    /// From the flow to the target. Ready with an outcome at the end, ready without one if there may be more.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), SessionError>>> {
        for _ in 0..TURN {
            let datagram = match ready!(self.flow.poll_datagram(cx)) {
                Ok(datagram) => datagram,
                Err(Code::Cancelled) => {
                    session_end(&self.open.session, Level::Info, "udp done");
                    return Poll::Ready(Some(Ok(())));
                }
                Err(code) => {
                    let error = SessionError::new(Status::Ok, Source::Client, Level::Info, "flow failed");
                    return Poll::Ready(Some(Err(error.because(broken(code)))));
                }
            };
            book_request(&mut self.open.session, datagram.len());
            self.last = clock::now();
            match self.peer.send(&datagram) {
                Err(error) if !is_lost(&error) => {
                    return Poll::Ready(Some(Err(self.target_failed("send() failed", error))));
                }
                _ => {}
            }
        }
        Poll::Ready(None)
    }

    /// From the target to the flow, alike.
    fn poll_replies(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), SessionError>>> {
        let flow = self.flow;
        let mut left = TURN;
        loop {
            self.tokens.clear();
            self.ready.take(cx, &mut self.tokens);
            if self.tokens.is_empty() {
                return Poll::Pending;
            }
            let mut received = self.peer.receive(|datagram| flow.send_datagram(datagram));
            while let Poll::Ready(Ok(Some(size))) = received {
                self.count_reply(size);
                left -= 1;
                if left == 0 {
                    self.ready.again(TARGET);
                    return Poll::Ready(None);
                }
                received = self.peer.receive(|datagram| flow.send_datagram(datagram));
            }
            match received {
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Some(Err(self.target_failed("recv() failed", error))));
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Some(Ok(()))),
                Poll::Pending => {}
            }
        }
    }

    fn count_reply(&mut self, size: usize) {
        if !std::mem::replace(&mut self.has_replied, true) {
            self.picked.connected();
        }
        self.last = clock::now();
        book_reply(&mut self.open.session, size, self.last);
    }

    fn target_failed(&mut self, text: &'static str, error: io::Error) -> SessionError {
        mark_failed(&self.open.session, &mut self.picked);
        SessionError::new(Status::BadGateway, Source::Peer, Level::Error, text).because(error)
    }
}
