//! The life of a session that handlers decide about, up to its peer: the stages of `session::run`, in the same order.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::connect::target;
use crate::error::SessionError;
use crate::phase::datagrams::{self, Datagrams, Through};
use crate::plan::{Content, ContentHandler, Proxy};
use crate::preread::frame;
use crate::rules;
use crate::session::Session;
use crate::session::registry::Open;
use crate::udp::connect::{connect, connect_chosen};
use crate::udp::log;
use crate::udp::open::no_content;
use crate::udp::peer::Peer;
use crate::upstream::Picked;

/// A session that has a peer.
pub(super) struct Dialled {
    pub(super) open: Open,
    pub(super) peer: Peer,
    pub(super) picked: Picked,
    /// How many datagrams the peer has got of it: one, or none if handlers took all of it.
    pub(super) requests: u64,
}

/// Runs the handlers of a session. `through` says so when this is over, or dropped.
pub(super) async fn run(
    mut open: Open,
    datagrams: Arc<Datagrams>,
    first: Vec<u8>,
    relayed: oneshot::Sender<Dialled>,
    through: Through,
) {
    let outcome = match decide(&mut open.session, &datagrams, first).await {
        Ok(Some((peer, picked, requests))) => {
            // If the listener is gone, so is the session.
            drop(relayed.send(Dialled { open, peer, picked, requests }));
            return;
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    // Nothing more is to be decided: the client's next datagram begins a new session while this one is logged.
    drop(through);
    open.conclude(outcome);
    log(open).await;
}

/// Runs the handlers of a session, up to its peer; returns it with how many datagrams it has got, none if all is said.
///
/// # Errors
/// What ends the session.
pub(in crate::udp) async fn decide(
    session: &mut Session,
    datagrams: &Arc<Datagrams>,
    first: Vec<u8>,
) -> Result<Option<(Peer, Picked, u64)>, SessionError> {
    datagrams::access(session, datagrams).await?;
    frame::look(session, &first)?;
    let first = datagrams::preread(session, datagrams, first).await?;
    let server = Arc::clone(&session.server);
    match &server.content {
        Content::Proxy(proxy) => {
            rules::choose_for_datagram(session, first.as_deref().unwrap_or_default())?;
            let (peer, picked) = dial(session, proxy, first.as_deref()).await?;
            session.action = "proxying connection";
            Ok(Some((peer, picked, u64::from(first.is_some()))))
        }
        Content::Handler(handler) => {
            let ContentHandler { chain, idle } = &**handler;
            datagrams::content(session, (chain, *idle), datagrams, first).await?;
            Ok(None)
        }
        Content::Return(text) => {
            session.action = "returning text";
            let mut rendered = Vec::new();
            text.render(session, &mut rendered);
            datagrams.say(session, &rendered);
            Ok(None)
        }
        Content::None => Err(no_content()),
    }
}

/// Chooses a peer, by its handler or by the upstream, and connects to it.
pub(in crate::udp) async fn dial(
    session: &mut Session,
    proxy: &Proxy,
    first: Option<&[u8]>,
) -> Result<(Peer, Picked), SessionError> {
    let upstream = target(session, proxy)?;
    match &upstream.handler {
        Some(chain) => connect_chosen(session, proxy, (&upstream, chain), first).await,
        None => connect(session, proxy, &upstream, first),
    }
}
