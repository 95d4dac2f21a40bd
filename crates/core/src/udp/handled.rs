//! Sessions that handlers decide about, or answer: each in a task of its own until it is relayed or over. What its
//! client sends meanwhile waits in order, and goes to whom it concerns then: the handler, the peer, or a new session.

pub(super) mod decide;

use std::collections::HashMap;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::error::{SessionError, Source, Status};
use crate::phase::Hooks;
use crate::phase::datagrams::{Datagrams, Outgoing, Through, Word};
use crate::plan::Content;
use crate::session::Session;
use crate::session::registry::Open;
use crate::udp::association::{Association, Rules};
use crate::udp::close::OwnSocket;
use crate::udp::handled::decide::Dialled;
use crate::udp::receive::Arrival;
use crate::udp::relay::tokens;
use crate::udp::reply::{Outbox, ReplyPath};
use crate::udp::table::Key;
use crate::udp::{Arena, UdpListener, finish};

/// The sessions of one listener on one worker that are with their handlers.
#[derive(Default)]
pub(super) struct Handled {
    keys: HashMap<Key, u32>,
    /// By the index that is reserved for the association.
    sessions: HashMap<u32, Undecided>,
    outgoing: Arc<Outgoing>,
    /// Taken from `outgoing`, kept for its memory.
    words: Vec<Word>,
    /// Who is to look, if handlers were told of datagrams in this turn.
    untold: Option<Arc<dyn Hooks>>,
}

/// A session whose handlers are at work.
struct Undecided {
    arrival: Arrival,
    datagrams: Arc<Datagrams>,
    hooks: Option<Arc<dyn Hooks>>,
    reply: ReplyPath,
    own: Option<OwnSocket>,
    dialled: oneshot::Receiver<Dialled>,
    task: AbortHandle,
}

/// Whether handlers decide about a session before it has a peer.
pub(super) fn is_handled(session: &Session) -> bool {
    let server = &session.server;
    let chains = server.handlers.as_ref();
    chains.is_some_and(|chains| chains.access.is_some() || chains.preread.is_some())
        || matches!(server.content, Content::Handler(_))
}

impl Handled {
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        self.keys.get(key).copied()
    }

    pub(super) fn indices(&self) -> Vec<u32> {
        self.sessions.keys().copied().collect()
    }

    /// The address that a client addressed, how it is answered, and the session's own socket.
    pub(super) fn ends(
        &mut self,
        index: u32,
    ) -> Option<(SocketAddr, &mut ReplyPath, &mut Option<OwnSocket>)> {
        let session = self.sessions.get_mut(&index)?;
        Some((session.arrival.local, &mut session.reply, &mut session.own))
    }

    /// The own socket of a session without a listener.
    pub(super) fn own(&self, index: u32) -> Option<&OwnSocket> {
        self.sessions.get(&index)?.own.as_ref()
    }

    /// Ends a session that cannot go on.
    pub(super) fn abort(&self, index: u32) {
        if let Some(session) = self.sessions.get(&index) {
            session.task.abort();
        }
    }

    /// Has whoever runs the handlers look, if they were told of something.
    pub(super) fn flush(&mut self) {
        if let Some(hooks) = self.untold.take() {
            hooks.flush();
        }
    }
}

impl Drop for Handled {
    /// Sessions end with their listener.
    fn drop(&mut self) {
        for session in self.sessions.values() {
            session.task.abort();
        }
    }
}

impl UdpListener {
    /// Leaves a session with its first datagram to its handlers.
    pub(super) fn hand_over(&mut self, open: Open, arrival: &Arrival, reply: ReplyPath, datagram: &[u8]) {
        let index = self.table.reserve();
        let handled = self.handled.get_or_insert_default();
        let datagrams = Datagrams::new(index, Arc::clone(&handled.outgoing));
        let hooks = open.session.plan.hooks.clone();
        let (relayed, dialled) = oneshot::channel();
        let through = Through::new(&datagrams);
        let first = datagram.to_vec();
        let task = tokio::spawn(decide::run(open, Arc::clone(&datagrams), first, relayed, through));
        let task = task.abort_handle();
        let session = Undecided { arrival: *arrival, datagrams, hooks, reply, own: None, dialled, task };
        handled.keys.insert(arrival.key, index);
        handled.sessions.insert(index, session);
    }

    /// Keeps a datagram for the handlers of its session.
    pub(super) fn keep(&mut self, index: u32, datagram: &[u8]) {
        let Some(handled) = &mut self.handled else { return };
        let Some(session) = handled.sessions.get(&index) else { return };
        if session.datagrams.push(datagram, self.now, session.hooks.as_ref()) && handled.untold.is_none() {
            handled.untold.clone_from(&session.hooks);
        }
    }

    /// Sends what handlers have for their clients, and takes sessions back from handlers that are through. True if
    /// there was anything.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>, arena: &mut Arena) -> bool {
        let Some(handled) = &mut self.handled else { return false };
        let mut words = mem::take(&mut handled.words);
        handled.outgoing.take(cx.waker(), &mut words);
        let is_busy = !words.is_empty();
        for word in words.drain(..) {
            match word {
                Word::Datagram(index, bytes) => self.reply(index, &bytes, &mut arena.outbox),
                Word::Through(index) => self.take_back(index, &mut arena.outbox),
            }
        }
        if let Some(handled) = &mut self.handled {
            handled.words = words;
        }
        is_busy
    }

    fn reply(&self, index: u32, bytes: &[u8], outbox: &mut Outbox) {
        let Some(session) = self.handled.as_ref().and_then(|handled| handled.sessions.get(&index)) else {
            return;
        };
        outbox.push(&session.reply, bytes);
        session.datagrams.note_left(bytes.len());
    }

    /// The handlers of a session are through: it is relayed now, or over. What its client has sent since goes on.
    fn take_back(&mut self, index: u32, outbox: &mut Outbox) {
        let Some(handled) = &mut self.handled else { return };
        let Some(mut session) = handled.sessions.remove(&index) else { return };
        handled.keys.remove(&session.arrival.key);
        let (arrival, waiting) = (session.arrival, session.datagrams.take_waiting());
        match session.dialled.try_recv() {
            Ok(dialled) => self.adopt(index, session, dialled),
            Err(_) => self.table.release(index),
        }
        for datagram in waiting {
            self.deliver(&arrival, &datagram, outbox);
        }
    }

    /// Relays a session whose peer was chosen.
    fn adopt(&mut self, index: u32, session: Undecided, dialled: Dialled) {
        let Dialled { open, mut peer, picked, requests } = dialled;
        let Undecided { arrival, reply, own, .. } = session;
        let server = Arc::clone(&open.session.server);
        let Content::Proxy(proxy) = &server.content else { return self.table.release(index) };
        if let Err(error) = self.ready.watch(&mut peer, tokens(index).0) {
            self.table.release(index);
            return finish(open, Err(no_event(error)));
        }
        let mut rules = peer.adapt(Rules::new(&proxy.spec));
        if let Some(timeout) = picked.choice().and_then(|choice| choice.timeout) {
            rules.timeout = timeout;
        }
        let association = Association {
            open,
            key: arrival.key,
            local: arrival.local,
            reply,
            peer,
            picked,
            own,
            rules,
            requests,
            replies: 0,
            last: self.now,
            due: self.now,
        };
        self.table.insert(index, association);
        if requests > 0 {
            self.after_request(index);
        }
    }
}

/// A peer's socket that cannot be waited for.
pub(super) fn no_event(error: io::Error) -> SessionError {
    let text = "epoll_ctl() failed";
    SessionError::new(Status::Internal, Source::Shortage, qanat_plan::Level::Error, text).because(error)
}
