//! The stages of a UDP session that handlers decide. They are those of a connection, but for what a datagram is: it is
//! here as a whole when the session begins, nothing else belongs to it, and nobody can be seen leaving.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::error::SessionError;
use crate::phase::Chain;
use crate::phase::call::{Balanced, Choice, Tried, Verdict};
use crate::phase::datagrams::Datagrams;
use crate::phase::drive::Drive;
use crate::phase::input::Input;
use crate::phase::stages::{judge, next_chain, rejected};
use crate::session::Session;

/// Runs the access handlers of the session's server, if it has any.
///
/// # Errors
/// What a handler decided, or why it failed: 500, or 503 if too many calls are waiting.
pub(crate) async fn access(session: &mut Session, datagrams: &Datagrams) -> Result<(), SessionError> {
    let Some(chain) = session.server.handlers.as_ref().and_then(|chains| chains.access.clone()) else {
        return Ok(());
    };
    let mut drive = Drive::begin(session, &chain, Input::new(Vec::new(), 0), Tried::default(), None)?;
    let verdict = drive.run(|_| Poll::Pending).await;
    let (verdict, _) = drive.finish(verdict);
    conclude(session, datagrams, verdict).map(drop)
}

/// Runs the preread handlers on the first datagram; returns what they left of it, none if they took it.
///
/// # Errors
/// As [`access`].
pub(crate) async fn preread(
    session: &mut Session,
    datagrams: &Arc<Datagrams>,
    first: Vec<u8>,
) -> Result<Option<Vec<u8>>, SessionError> {
    let Some(chain) = session.server.handlers.as_ref().and_then(|chains| chains.preread.clone()) else {
        return Ok(Some(first));
    };
    let was_empty = first.is_empty();
    let then = next_chain(session);
    let mut drive = Drive::begin(session, &chain, Input::datagram(first), Tried::default(), None)?;
    {
        let mut exchange = drive.call.exchange();
        exchange.then = then;
        exchange.datagrams = Some(Arc::clone(datagrams));
    }
    let verdict = drive.run(|_| Poll::Pending).await;
    let balanced = drive.call.exchange().balanced();
    let (verdict, input) = drive.finish(verdict);
    let choice = conclude(session, datagrams, verdict)?;
    if let Some((key, more_tries)) = balanced {
        session.facts_mut().balanced = Some(Box::new(Balanced { key, choice, more_tries }));
    }
    let rest = input.into_rest();
    Ok((was_empty || !rest.is_empty()).then_some(rest))
}

/// Runs the content handler, from `first` on, until it ends: nothing else bounds it but `idle`, the time without a
/// datagram after which it gets no more.
///
/// # Errors
/// As [`access`].
pub(crate) async fn content(
    session: &mut Session,
    (chain, idle): (&Chain, Duration),
    datagrams: &Arc<Datagrams>,
    first: Option<Vec<u8>>,
) -> Result<(), SessionError> {
    datagrams.put_first(first);
    let mut drive = Drive::begin(session, chain, Input::new(Vec::new(), 0), Tried::default(), None)?;
    drive.call.exchange().datagrams = Some(Arc::clone(datagrams));
    drive.outlast(Arc::clone(datagrams), idle);
    let verdict = drive.run(|_| Poll::Pending).await;
    let (verdict, _) = drive.finish(verdict);
    conclude(session, datagrams, verdict).map(drop)
}

/// What a verdict means. The text of a rejection is one datagram.
fn conclude(
    session: &mut Session,
    datagrams: &Datagrams,
    verdict: Result<Verdict, SessionError>,
) -> Result<Option<Arc<Choice>>, SessionError> {
    let (status, text) = match verdict? {
        Verdict::Reject(status, text) => (status, text),
        verdict => return judge(verdict),
    };
    datagrams.say(session, &text);
    Err(rejected(status))
}
