//! The phases of TLS: what their handlers look at and decide, and what becomes of that.

use std::pin::pin;
use std::task::Poll;

use qanat_plan::Level;
use qanat_wire::ProtocolVersion;

use crate::error::{SessionError, Source, Status};
use crate::phase::Chain;
use crate::phase::call::{Tried, Verdict};
use crate::phase::drive::Drive;
use crate::phase::input::Input;
use crate::phase::stages::{judge, left, rejected};
use crate::session::Session;
use crate::stream::Socket;
use crate::tls::{Alert, Decision};

/// A handshake with a client, as long as nothing was answered to it.
#[derive(Debug)]
pub struct Hello {
    /// What the client has sent, beginning with the records of its hello.
    pub records: Vec<u8>,
    /// The lowest version that handlers leave.
    pub minimum: Option<ProtocolVersion>,
    /// The highest version that handlers leave.
    pub maximum: Option<ProtocolVersion>,
    /// The alert that a rejection is told by.
    pub alert: Option<Alert>,
}

/// What a peer has shown in its handshake.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its certificates as DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// Why they do not prove that it is `name`; none if they do.
    pub doubt: Option<String>,
    /// A doubt ends the attempt, unless a handler overrides it.
    pub enforced: bool,
    /// The name that was asked for.
    pub name: String,
}

/// Runs the handlers of `ssl_client_hello` and, if it `wants_certificate`, `ssl_certificate`, in one call if there are
/// both.
///
/// # Errors
/// What a handler decided, or why it failed, with the alert for the client.
pub(crate) async fn client_hello(
    session: &mut Session,
    socket: &Socket,
    records: Vec<u8>,
    wants_certificate: bool,
) -> Result<Decision, (SessionError, Alert)> {
    let chains = session.server.handlers.as_ref();
    let first = chains.and_then(|chains| chains.client_hello.clone());
    let then = chains.and_then(|chains| chains.certificate.clone()).filter(|_| wants_certificate);
    let (chain, then) = match (first, then) {
        (Some(first), then) => (first, then),
        (None, Some(only)) => (only, None),
        (None, None) => return Ok(Decision::default()),
    };
    let ours = |error| (error, Alert::INTERNAL_ERROR);
    let input = Input::new(Vec::new(), 0);
    let mut drive = Drive::begin(session, &chain, input, Tried::default(), None).map_err(ours)?;
    {
        let mut exchange = drive.call.exchange();
        exchange.then = then;
        exchange.hello = Some(Box::new(Hello { records, minimum: None, maximum: None, alert: None }));
    }
    let verdict = {
        let mut leaving = pin!(left(socket, false));
        drive.run(|cx| leaving.as_mut().poll(cx)).await
    };
    let hello = drive.call.exchange().hello.take();
    let (minimum, maximum, alert) =
        hello.map_or((None, None, None), |hello| (hello.minimum, hello.maximum, hello.alert));
    match drive.finish(verdict).0.map_err(ours)? {
        Verdict::Certificate(certificate) => {
            Ok(Decision { minimum, maximum, certificate: Some(certificate) })
        }
        Verdict::Reject(status, _) => Err((rejected(status), alert.unwrap_or(Alert::ACCESS_DENIED))),
        verdict => judge(verdict).map(|_| Decision { minimum, maximum, certificate: None }).map_err(ours),
    }
}

/// Lets the handlers of `proxy_ssl_verify` judge a peer. They may override a doubt, and have some of their own.
///
/// # Errors
/// Why the peer is refused; or that handlers cannot be asked, which is not its fault.
pub(crate) async fn verify(
    session: &mut Session,
    chain: &Chain,
    shown: Box<Shown>,
) -> Result<(), SessionError> {
    let doubt = shown.doubt.clone().filter(|_| shown.enforced);
    let tried = Tried { count: session.attempts.len().saturating_sub(1), last_failure: None };
    let mut drive = Drive::begin(session, chain, Input::new(Vec::new(), 0), tried, None)?;
    drive.call.exchange().shown = Some(shown);
    let verdict = drive.run(|_| Poll::Pending).await;
    let refused = |text: String| Err(SessionError::new(Status::BadGateway, Source::Peer, Level::Error, text));
    match drive.finish(verdict).0? {
        Verdict::Accept => Ok(()),
        Verdict::Reject(_, reason) if reason.is_empty() => {
            refused("upstream SSL certificate refused by a handler".to_owned())
        }
        Verdict::Reject(_, reason) => {
            let reason = String::from_utf8_lossy(&reason);
            refused(format!("upstream SSL certificate refused by a handler: {reason}"))
        }
        Verdict::Failed(text) => refused(text),
        verdict => {
            judge(verdict)?;
            doubt.map_or(Ok(()), |doubt| refused(format!("upstream SSL certificate {doubt}")))
        }
    }
}
