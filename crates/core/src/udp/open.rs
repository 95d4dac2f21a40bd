//! The first datagram of a session: the stages of `session::run`, in the same order, for a client without a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use qanat_plan::Level;

use crate::address::Address;
use crate::connect::target;
use crate::error::{SessionError, Source, Status, describe};
use crate::plan::{Content, Listener, Plan, Proxy};
use crate::preread::frame;
use crate::session::Session;
use crate::session::registry::Open;
use crate::session::run::set_variables;
use crate::session::template::Template;
use crate::udp::association::{Association, Rules};
use crate::udp::connect::connect;
use crate::udp::handled::{self, no_event};
use crate::udp::receive::Arrival;
use crate::udp::relay::tokens;
use crate::udp::reply::{Outbox, ReplyPath};
use crate::udp::{UdpListener, finish};
use crate::{access, mesh, rules};

impl UdpListener {
    /// Begins a session with its first datagram.
    pub(super) fn open(&mut self, arrival: &Arrival, datagram: &[u8], outbox: &mut Outbox) {
        let plan = self.worker.shared.plan.load_full();
        // Removed a moment ago: nobody listens any more.
        let Some(listener) = self.listener(&plan, arrival) else { return };
        let cost = listener.session_cost();
        if !self.has_room(&plan, cost) {
            return;
        }
        let mesh = listener.spec.mesh;
        let id = self.worker.shared.next_session();
        let mut session = Session::begin(id, plan, listener, Address::Inet(arrival.envelope.client));
        session.local = self.address.ip().is_unspecified().then_some(Address::Inet(arrival.local));
        session.bytes_received = datagram.len() as u64;
        if mesh {
            session.facts_mut().original = Some(arrival.envelope.original.unwrap_or(arrival.local));
        }
        let mut open = Open::begin(Arc::clone(&self.worker), session, cost);
        if let Err(error) = route(&mut open) {
            return finish(open, Err(error));
        }
        let Some(path) = self.reply_path(arrival) else { return };
        if handled::is_handled(&open.session) {
            return self.hand_over(open, arrival, path, datagram);
        }
        if let Err(error) = frame::look(&mut open.session, datagram) {
            return finish(open, Err(error));
        }
        let server = Arc::clone(&open.session.server);
        match &server.content {
            Content::Return(text) => {
                answer(&mut open.session, text, &path, outbox);
                finish(open, Ok(()));
            }
            Content::Proxy(proxy) => self.associate(open, proxy, arrival, path, datagram),
            Content::None | Content::Handler(_) => finish(open, Err(no_content())),
        }
    }

    /// The listener of exactly the addressed destination, if it shares this one's socket, or else this one.
    fn listener(&self, plan: &Plan, arrival: &Arrival) -> Option<Arc<Listener>> {
        let listener = plan.listeners.get(&self.id)?;
        let child = if listener.children.is_empty() {
            None
        } else {
            let child = listener.children.get(&Address::Inet(arrival.local));
            child.and_then(|id| plan.listeners.get(id))
        };
        Some(Arc::clone(child.unwrap_or(listener)))
    }

    fn has_room(&mut self, plan: &Plan, cost: u64) -> bool {
        let has_room = self.worker.has_room(&plan.settings, cost);
        if !has_room && self.full.is_due(self.now) {
            self.worker.complain_of_room(&plan.settings);
        }
        has_room
    }

    /// From the address that the client addressed: that of the listener's socket, or the one before redirection.
    fn reply_path(&mut self, arrival: &Arrival) -> Option<ReplyPath> {
        let Arrival { envelope, local, .. } = arrival;
        let listening = self.receiver.as_ref()?.get_ref();
        let path = ReplyPath {
            socket: Arc::clone(listening),
            to: Some(envelope.client),
            from: envelope.local.filter(|_| self.address.ip().is_unspecified()),
        };
        let Some(original) = envelope.original.filter(|original| !is_same(*original, *local)) else {
            return Some(path);
        };
        match self.originals.get(original) {
            Ok(socket) => {
                let client = if original.is_ipv4() { canonical(envelope.client) } else { envelope.client };
                Some(ReplyPath { socket, to: Some(client), from: None })
            }
            Err(error) => {
                self.complain_of_original(original, &error);
                Some(path)
            }
        }
    }

    fn complain_of_original(&mut self, original: SocketAddr, error: &std::io::Error) {
        if !self.originals.has_failed {
            self.originals.has_failed = true;
            let (id, error) = (&self.id, describe(error));
            let line = format!("bind() to {original} failed ({error}), {id} answers from its own address");
            self.worker.shared.plan.load().settings.error_log.write(Level::Warn, &line);
        }
    }

    /// Connects the session to a peer, which gets the datagram, and keeps it for what follows.
    fn associate(
        &mut self,
        mut open: Open,
        proxy: &Proxy,
        arrival: &Arrival,
        reply: ReplyPath,
        datagram: &[u8],
    ) {
        let session = &mut open.session;
        if let Err(error) = rules::choose_for_datagram(session, datagram) {
            return finish(open, Err(error));
        }
        let upstream = match target(session, proxy) {
            Ok(upstream) if upstream.handler.is_some() => {
                return self.hand_over(open, arrival, reply, datagram);
            }
            Ok(upstream) => upstream,
            Err(error) => return finish(open, Err(error)),
        };
        let (mut peer, picked) = match connect(session, proxy, &upstream, Some(datagram)) {
            Ok(connected) => connected,
            Err(error) => return finish(open, Err(error)),
        };
        session.action = "proxying connection";
        let index = self.table.reserve();
        if let Err(error) = self.ready.watch(&mut peer, tokens(index).0) {
            self.table.release(index);
            return finish(open, Err(no_event(error)));
        }
        let association = Association {
            open,
            key: arrival.key,
            local: arrival.local,
            reply,
            rules: peer.adapt(Rules::new(&proxy.spec)),
            peer,
            picked,
            own: None,
            requests: 1,
            replies: 0,
            last: self.now,
            due: self.now,
        };
        self.table.insert(index, association);
        self.after_request(index);
    }
}

/// `set`, the server that mesh selects, `allow` and `deny`.
pub(super) fn route(open: &mut Open) -> Result<(), SessionError> {
    set_variables(&mut open.session, |server| &server.set);
    mesh::select_server(&mut open.session);
    access::check(&open.session)?;
    open.settle();
    Ok(())
}

/// `return`: one datagram for one datagram.
fn answer(session: &mut Session, text: &Template, path: &ReplyPath, outbox: &mut Outbox) {
    say(session, text, |bytes| outbox.push(path, bytes));
}

/// Renders the text of `return` and sends it, if it is not empty.
pub(super) fn say(session: &mut Session, text: &Template, send: impl FnOnce(&[u8])) {
    session.action = "returning text";
    let mut rendered = Vec::new();
    let constant = text.constant().cloned();
    let bytes = if let Some(constant) = &constant {
        constant.as_bytes()
    } else {
        text.render(session, &mut rendered);
        &rendered
    };
    if !bytes.is_empty() {
        send(bytes);
        session.bytes_sent = bytes.len() as u64;
    }
}

pub(super) fn no_content() -> SessionError {
    let text = "no content is configured for this server";
    SessionError::new(Status::Internal, Source::Gateway, Level::Error, text)
}

fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    canonical(one) == canonical(other)
}

/// An IPv4 address that an IPv6 socket shows, in IPv4's own form.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}
