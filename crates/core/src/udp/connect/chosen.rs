//! Connecting to peers that a handler chooses, one after another as far as it asks for.

use std::sync::Arc;

use qanat_plan::Level;

use crate::connect::{another, no_live_upstreams};
use crate::error::{SessionError, Source, Status};
use crate::phase::call::{Failure, FailureKind, Tried};
use crate::phase::{self, Chain};
use crate::plan::Proxy;
use crate::session::Session;
use crate::udp::connect::Opening;
use crate::udp::peer::Peer;
use crate::upstream::{Picked, Tries, Upstream};

/// Connects to a peer that the handler of `upstream` chooses, which gets `first` if there is anything. One attempt is
/// made, and one more for each that the handler asks for, within the limits of `proxy_next_upstream`.
///
/// # Errors
/// What ends the session: 502 if no peer could be reached, or what became of the handler.
pub(in crate::udp) async fn connect(
    session: &mut Session,
    proxy: &Proxy,
    (upstream, chain): (&Upstream, &Chain),
    first: Option<&[u8]>,
) -> Result<(Peer, Picked), SessionError> {
    let opening = Opening::new(session, proxy, first);
    let mut known = Tries::default();
    let mut more_tries = 0;
    let mut last_failure = None;
    for count in 0.. {
        let tried = Tried { count, last_failure: last_failure.take() };
        let choice = phase::balance(session, chain, tried, &mut more_tries).await?;
        session.action = "connecting to upstream";
        let picked = match &choice {
            Some(choice) if choice.tls == Some(true) => return Err(no_tls()),
            Some(choice) => Some(upstream.pick_chosen(choice)),
            None => upstream.pick(session, &mut known),
        };
        let Some(mut picked) = picked else { return Err(no_live_upstreams(session, upstream)) };
        picked.is_last = !another(session, proxy, count, more_tries);
        match opening.attempt(session, &mut picked) {
            Ok(socket) => return Ok((socket, picked)),
            Err(error) if error.source != Source::Peer => return Err(error),
            Err(_noted) if !another(session, proxy, count, more_tries) => break,
            Err(error) => {
                let (peer, kind) = (Arc::clone(&picked.name), FailureKind::of(&error, false));
                last_failure = Some(Failure { peer, reason: error.to_string(), kind });
            }
        }
    }
    Err(SessionError::silent(Status::BadGateway, Source::Peer))
}

fn no_tls() -> SessionError {
    let text = "a handler chose TLS for a peer of datagrams";
    SessionError::new(Status::Internal, Source::Gateway, Level::Error, text)
}
