//! From the peers to the clients, and how sessions end.

use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use qanat_plan::Level;

use crate::error::{SessionError, Source, Status};
use crate::log::error::session_end;
use crate::udp::connect::mark_failed;
use crate::udp::peer::Peer;
use crate::udp::reply::Outbox;
use crate::udp::{Arena, UdpListener, finish};

/// Replies of one session that are taken in a row, so that others get their turn.
const REPLIES: usize = 8;

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// All replies were seen.
    Done,
    /// `proxy_timeout` has passed, and no more replies were counted on.
    Idle,
    /// `proxy_timeout` has passed with replies missing.
    Unanswered,
    /// The peer's socket reports an error, as a rule because nobody listens there.
    Broken(&'static str, io::Error),
    /// The listener is closed, and the session can have no socket of its own.
    Orphaned(io::Error),
}

/// What became of a session's readiness.
enum Turn {
    /// It waits for the next event.
    Waits,
    /// It had its share of this turn.
    HasMore,
    Ends(End),
}

/// The tokens of an association: of its socket towards the peer, and of its own one towards the client.
pub(super) fn tokens(index: u32) -> (u32, u32) {
    (index * 2, index * 2 + 1)
}

impl UdpListener {
    /// Passes on what the peers sent. True if there may be more.
    pub(super) fn relay(&mut self, cx: &mut Context<'_>, arena: &mut Arena) -> bool {
        let mut tokens = mem::take(&mut self.tokens);
        self.ready.take(cx, &mut tokens);
        let is_busy = !tokens.is_empty();
        for token in tokens.drain(..) {
            let index = token / 2;
            if token % 2 == 1 {
                self.receive_own(index, arena);
                continue;
            }
            match self.relay_replies(index, &mut arena.outbox) {
                Turn::Waits => {}
                Turn::HasMore => self.ready.again(token),
                Turn::Ends(end) => self.end(index, end),
            }
        }
        self.tokens = tokens;
        is_busy
    }

    fn relay_replies(&mut self, index: u32, outbox: &mut Outbox) -> Turn {
        let Some(association) = self.table.get_mut(index) else { return Turn::Waits };
        let missing =
            association.missing_replies().map_or(usize::MAX, |n| n.try_into().unwrap_or(usize::MAX));
        let want = missing.clamp(1, REPLIES);
        let socket = match &association.peer {
            Peer::Socket(socket) => socket.as_fd(),
            Peer::Flow(_) => return self.relay_flow(index, want, outbox),
        };
        let mut sizes = [0; REPLIES];
        let mut count = 0;
        let result = outbox.relay(socket, &association.reply, want, association.rules.limit, |size| {
            sizes[count] = size;
            count += 1;
        });
        let is_drained = match result {
            Ok(received) => received < want,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Turn::HasMore,
            Err(error) => return Turn::Ends(End::Broken("recv() failed", error)),
        };
        for size in &sizes[..count] {
            association.count_reply(*size, self.now);
        }
        if association.is_done() {
            return Turn::Ends(End::Done);
        }
        if is_drained { Turn::Waits } else { Turn::HasMore }
    }

    /// The same from a flow of a tunnel.
    fn relay_flow(&mut self, index: u32, want: usize, outbox: &mut Outbox) -> Turn {
        let Some(association) = self.table.get_mut(index) else { return Turn::Waits };
        for _ in 0..want.min(REPLIES) {
            let Peer::Flow(flow) = &association.peer else { return Turn::Waits };
            match flow.receive() {
                Poll::Ready(Ok(Some(datagram))) => {
                    outbox.push(&association.reply, &datagram);
                    association.count_reply(datagram.len(), self.now);
                }
                Poll::Ready(Ok(None)) => return Turn::Ends(End::Done),
                Poll::Ready(Err(error)) => return Turn::Ends(End::Broken("flow failed", error)),
                // It may have waited for its tunnel, and need no reply.
                Poll::Pending if association.is_done() => return Turn::Ends(End::Done),
                Poll::Pending => return Turn::Waits,
            }
        }
        if association.is_done() { Turn::Ends(End::Done) } else { Turn::HasMore }
    }

    /// Ends a session that was silent for `proxy_timeout`.
    pub(super) fn time_out(&mut self, index: u32) {
        let Some(association) = self.table.get_mut(index) else { return };
        let unanswered = association.missing_replies().is_some_and(|missing| missing > 0);
        self.end(index, if unanswered { End::Unanswered } else { End::Idle });
    }

    /// Ends a session: its key is free, its sockets close, its record is written.
    pub(super) fn end(&mut self, index: u32, end: End) {
        let Some(mut association) = self.table.remove(index) else { return };
        let session = &mut association.open.session;
        association.peer.note_way(session);
        if matches!(end, End::Unanswered | End::Broken(..)) {
            mark_failed(session, &mut association.picked);
        }
        let failed = |text| SessionError::new(Status::BadGateway, Source::Peer, Level::Error, text);
        let outcome = match end {
            End::Done => {
                session_end(session, Level::Info, "udp done");
                Ok(())
            }
            End::Idle => {
                session_end(session, Level::Info, "udp timed out");
                Ok(())
            }
            End::Unanswered => {
                Err(failed("upstream timed out").because(io::Error::from_raw_os_error(libc::ETIMEDOUT)))
            }
            End::Broken(text, error) => Err(failed(text).because(error)),
            End::Orphaned(error) => {
                let text = "a socket without a listener failed";
                Err(SessionError::new(Status::Ok, Source::Gateway, Level::Warn, text).because(error))
            }
        };
        finish(association.open, outcome);
    }
}
