//! Handlers that decide about a flow: what its client sends meanwhile waits for them, and then for the target; what they
//! have for the client goes into the flow.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::clock;
use crate::error::SessionError;
use crate::phase::Hooks;
use crate::phase::datagrams::{Datagrams, Outgoing, Word};
use crate::session::Session;
use crate::tunnel::TunnelStream;
use crate::udp::association::book_request;
use crate::udp::flow::TURN;
use crate::udp::handled::decide;
use crate::udp::peer::Peer;
use crate::upstream::Picked;

/// Runs the handlers of a session; returns its target, which has got what came so far, or none if all is said.
///
/// # Errors
/// What a handler decided, or why it failed, or that there is no target.
pub(super) async fn decide(
    session: &mut Session,
    flow: &TunnelStream,
    first: Vec<u8>,
) -> Result<Option<(Peer, Picked)>, SessionError> {
    let mut exchange = Exchange::new(session, flow);
    let datagrams = Arc::clone(&exchange.datagrams);
    let decided = {
        let mut deciding = pin!(decide::decide(session, &datagrams, first));
        poll_fn(|cx| {
            let decided = deciding.as_mut().poll(cx);
            exchange.poll(cx);
            decided
        })
        .await
    };
    let Some((peer, picked, _)) = decided? else { return Ok(None) };
    for datagram in datagrams.take_waiting() {
        book_request(session, datagram.len());
        // What a full socket does not take is lost; one that is broken says so again.
        drop(peer.send(&datagram));
    }
    Ok(Some((peer, picked)))
}

/// What passes between a flow and its handlers.
struct Exchange<'a> {
    flow: &'a TunnelStream,
    datagrams: Arc<Datagrams>,
    outgoing: Arc<Outgoing>,
    hooks: Option<Arc<dyn Hooks>>,
    /// Taken from `outgoing`.
    words: Vec<Word>,
    has_ended: bool,
}

impl<'a> Exchange<'a> {
    fn new(session: &Session, flow: &'a TunnelStream) -> Self {
        let outgoing = Arc::<Outgoing>::default();
        let datagrams = Datagrams::new(0, Arc::clone(&outgoing));
        let hooks = session.plan.hooks.clone();
        Self { flow, datagrams, outgoing, hooks, words: Vec::new(), has_ended: false }
    }

    /// Passes on what there is.
    fn poll(&mut self, cx: &Context<'_>) {
        self.outgoing.take(cx.waker(), &mut self.words);
        for word in self.words.drain(..) {
            if let Word::Datagram(_, bytes) = word {
                self.flow.send_datagram(&bytes);
                self.datagrams.note_left(bytes.len());
            }
        }
        if !self.has_ended {
            self.poll_requests(cx);
        }
    }

    fn poll_requests(&mut self, cx: &Context<'_>) {
        for _ in 0..TURN {
            match self.flow.poll_datagram(cx) {
                Poll::Ready(Ok(datagram)) => {
                    if self.datagrams.push(&datagram, clock::now(), self.hooks.as_ref())
                        && let Some(hooks) = &self.hooks
                    {
                        hooks.flush();
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.has_ended = true;
                    return;
                }
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }
}
