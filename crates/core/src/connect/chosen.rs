//! Connecting to peers that a handler chooses, one after another as far as it asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::connect::{HANDSHAKING, attempt, conclude, is_in_time, no_live_upstreams, verified};
use crate::error::{SessionError, Source, Status};
use crate::phase::call::{Failure, FailureKind, MOST_TRIES, Tried};
use crate::phase::{self, Chain};
use crate::plan::Proxy;
use crate::session::Session;
use crate::session::state::Attempt;
use crate::stream::Stream;
use crate::upstream::{Picked, Tries, Upstream};

/// Connects to a peer that the handler of `upstream` chooses. One attempt is made, and one more for each that the
/// handler asks for, within the limits of `proxy_next_upstream`.
pub(super) async fn any(
    session: &mut Session,
    proxy: &Proxy,
    upstream: &Upstream,
    chain: &Chain,
) -> Result<(Stream, Picked), SessionError> {
    let mut known = Tries::default();
    let mut more_tries = 0;
    let mut last_failure = None;
    for count in 0.. {
        let tried = Tried { count, last_failure: last_failure.take() };
        let choice = phase::balance(session, chain, tried, &mut more_tries).await?;
        session.action = "connecting to upstream";
        let picked = match &choice {
            Some(choice) => Some(upstream.pick_chosen(choice)),
            None => upstream.pick(session, &mut known),
        };
        let Some(mut picked) = picked else { return Err(no_live_upstreams(session, upstream)) };
        session.facts_mut().choice.clone_from(&choice);
        let allowed = choice.as_ref().and_then(|choice| choice.connect_timeout);
        let allowed = allowed.unwrap_or_else(|| Duration::from_millis(proxy.spec.connect_timeout_ms));
        drop(choice);
        picked.is_last = !another(session, proxy, count, more_tries);
        session.attempts.push(Attempt::begin(Arc::clone(&picked.name)));
        let mut outcome = timeout(allowed, attempt(session, proxy, &picked)).await;
        if verified::is_due(session) {
            outcome = Box::pin(verified::judge(session, outcome)).await;
        }
        match conclude(session, &mut picked, outcome) {
            Ok(stream) => return Ok((stream, picked)),
            Err(error) if error.source != Source::Peer => return Err(error),
            Err(_noted) if !another(session, proxy, count, more_tries) => break,
            Err(error) => {
                let kind = FailureKind::of(&error, session.action == HANDSHAKING);
                let peer = Arc::clone(&picked.name);
                last_failure = Some(Failure { peer, reason: error.to_string(), kind });
                // The peer that failed has one session less when the next one is chosen.
                session.facts_mut().choice = None;
            }
        }
    }
    Err(SessionError::silent(Status::BadGateway, Source::Peer))
}

/// Whether an attempt may follow the one of number `count`.
pub(crate) fn another(session: &Session, proxy: &Proxy, count: usize, more_tries: u32) -> bool {
    let rules = &proxy.spec;
    let limit = if rules.next_upstream_tries == 0 { MOST_TRIES } else { rules.next_upstream_tries };
    let allowed = limit.min(more_tries.saturating_add(1)) as usize;
    rules.next_upstream && count + 1 < allowed && is_in_time(session, proxy)
}
