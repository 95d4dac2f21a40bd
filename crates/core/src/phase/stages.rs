//! The stages of a session that handlers decide, as `session::run` calls them, and what their verdicts mean.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use qanat_plan::Level;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, Ready};
use tokio::time::timeout;

use crate::error::{SessionError, Source, Status};
use crate::log::error::session_line;
use crate::phase::Chain;
use crate::phase::call::{Balanced, Call, Choice, Tried, Verdict};
use crate::phase::drive::Drive;
use crate::phase::input::Input;
use crate::plan::{Content, Target};
use crate::relay::linger;
use crate::session::Session;
use crate::stream::{Socket, Stream};
use crate::sys::peek::peek;

/// How long a client may take to accept the last words of a handler.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the access handlers of the session's server, if it has any.
///
/// # Errors
/// What a handler decided, or why it failed: 500, or 503 if too many calls are waiting.
pub(crate) async fn access(session: &mut Session, socket: &mut Socket) -> Result<(), SessionError> {
    let Some(chain) = session.server.handlers.as_ref().and_then(|chains| chains.access.clone()) else {
        return Ok(());
    };
    let is_plain = !session.listener.spec.tls;
    let input = Input::new(Vec::new(), 0);
    let mut drive = Drive::begin(session, &chain, input, Tried::default(), None)?;
    let verdict = {
        let mut leaving = pin!(left(socket, drive.half_close));
        drive.run(|cx| leaving.as_mut().poll(cx)).await
    };
    let (verdict, _) = drive.finish(verdict);
    if let Ok(Verdict::Reject(status, text)) = verdict {
        if is_plain {
            farewell(session, socket, &text).await;
        }
        return Err(rejected(status));
    }
    verdict.and_then(judge).map(drop)
}

/// Runs the preread handlers, which begin with `early` bytes; returns those that they left.
///
/// # Errors
/// As [`access`].
pub(crate) async fn preread(
    session: &mut Session,
    client: &mut Stream,
    early: Vec<u8>,
) -> Result<Vec<u8>, SessionError> {
    let Some(chain) = session.server.handlers.as_ref().and_then(|chains| chains.preread.clone()) else {
        return Ok(early);
    };
    let limit = usize::try_from(session.server.spec.preread.buffer_size).unwrap_or(usize::MAX);
    let input = Input::new(early, limit);
    let then = next_chain(session);
    let mut drive = Drive::begin(session, &chain, input, Tried::default(), Some(&mut *client))?;
    drive.call.exchange().then = then;
    drive.receive_first(&chain.habit).await;
    let verdict = drive.run(|_| Poll::Pending).await;
    let balanced = drive.call.exchange().balanced();
    let (verdict, input) = drive.finish(verdict);
    if let Ok(Verdict::Reject(status, text)) = verdict {
        farewell(session, client, &text).await;
        return Err(rejected(status));
    }
    let choice = verdict.and_then(judge)?;
    if let Some((key, more_tries)) = balanced {
        session.facts_mut().balanced = Some(Box::new(Balanced { key, choice, more_tries }));
    }
    Ok(input.into_rest())
}

/// The handler that will choose a peer, if that is known before: it may follow the preread handlers in the same call.
pub(super) fn next_chain(session: &Session) -> Option<Chain> {
    let Content::Proxy(proxy) = &session.server.content else { return None };
    let Target::Upstream(name) = &proxy.target else { return None };
    session.plan.upstreams.get(name)?.handler.clone()
}

/// Asks the handler of an upstream for a peer; none leaves the choice to the upstream. Adds to `more_tries`.
///
/// # Errors
/// As [`access`].
pub(crate) async fn balance(
    session: &mut Session,
    chain: &Chain,
    tried: Tried,
    more_tries: &mut u32,
) -> Result<Option<Arc<Choice>>, SessionError> {
    let earlier = session.facts.as_mut().and_then(|facts| facts.balanced.take());
    if let Some(earlier) = earlier.filter(|earlier| earlier.key == chain.key) {
        *more_tries = earlier.more_tries;
        return Ok(earlier.choice);
    }
    let mut drive = Drive::begin(session, chain, Input::new(Vec::new(), 0), tried, None)?;
    let verdict = drive.run(|_| Poll::Pending).await;
    *more_tries = more_tries.saturating_add(drive.call.exchange().more_tries);
    match drive.finish(verdict).0? {
        Verdict::Reject(status, _) => Err(rejected(status)),
        verdict => judge(verdict),
    }
}

/// Runs the log handlers. A failure is written to the error log and changes nothing.
pub(crate) async fn log(session: &mut Session) {
    let Some(chain) = session.server.handlers.as_ref().and_then(|chains| chains.log.clone()) else { return };
    let outcome = match Drive::begin(session, &chain, Input::new(Vec::new(), 0), Tried::default(), None) {
        Ok(mut drive) => {
            let verdict = drive.run(|_| Poll::Pending).await;
            drive.finish(verdict).0.and_then(judge)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        session_line(session, Level::Error, &error.message);
    }
}

/// Hands the session to its log handlers for good: the gateway stops, and nobody waits for them.
pub(crate) fn log_unattended(session: &mut Session) {
    let Some(chain) = session.server.handlers.as_ref().and_then(|chains| chains.log.clone()) else { return };
    let Some(hooks) = session.plan.hooks.clone() else { return };
    let stand_in = session.stand_in();
    let real = std::mem::replace(session, stand_in);
    // If nobody takes it, nobody is left to be told.
    let _taken = hooks.submit(Call::open(&chain, real, Input::new(Vec::new(), 0), Tried::default()));
    hooks.flush();
}

/// What a verdict means where a rejection has been dealt with.
pub(super) fn judge(verdict: Verdict) -> Result<Option<Arc<Choice>>, SessionError> {
    match verdict {
        Verdict::Continue | Verdict::Reject(..) | Verdict::Certificate(_) | Verdict::Accept => Ok(None),
        Verdict::Peer(choice) => Ok(Some(choice)),
        Verdict::Client(status, text) => {
            Err(SessionError::new(Status::BadRequest, Source::Client, Level::Info, text).with_status(status))
        }
        Verdict::Failed(text) => {
            Err(SessionError::new(Status::Internal, Source::Gateway, Level::Error, text))
        }
    }
}

pub(super) fn rejected(status: u16) -> SessionError {
    let text = format!("rejected by a handler with status {status}");
    SessionError::new(Status::Forbidden, Source::Gateway, Level::Info, text).with_status(status)
}

/// Sends the last words of a handler, and closes so that the client gets them.
async fn farewell(session: &mut Session, client: &mut (impl AsyncRead + AsyncWrite + Unpin), text: &[u8]) {
    let sending = async {
        client.write_all(text).await?;
        client.flush().await
    };
    // A client that does not listen misses them.
    if let Ok(Ok(())) = timeout(SEND_TIMEOUT, sending).await {
        session.bytes_sent += text.len() as u64;
        linger::drain(client).await;
    }
}

/// Returns when the client has left; what it sent stays in the socket. Once it has sent something, only a broken
/// connection can be told from more to come.
pub(super) async fn left(socket: &Socket, half_close: bool) {
    if matches!(socket, Socket::Tunnel(_)) {
        return std::future::pending().await;
    }
    // The end of what it sends is the end of its interest, if it sent nothing.
    let is_silent = loop {
        if socket.ready(Interest::READABLE).await.map_or(true, Ready::is_error) {
            return;
        }
        match socket.try_read_with(|socket| peek(&socket, &mut [0])) {
            Ok(seen) => break seen == 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_broken) => return,
        }
    };
    if half_close || !is_silent {
        drop(socket.ready(Interest::ERROR).await);
    }
}
