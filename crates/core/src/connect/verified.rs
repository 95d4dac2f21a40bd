//! A peer that was reached over TLS, as the handlers of `proxy_ssl_verify_by_python` judge it.

use tokio::time::error::Elapsed;

use crate::error::SessionError;
use crate::phase;
use crate::session::Session;
use crate::stream::Stream;

/// How an attempt went.
type Outcome = Result<Result<Stream, SessionError>, Elapsed>;

/// Whether handlers have to judge the peer of the present attempt.
pub(super) fn is_due(session: &Session) -> bool {
    session.facts.as_ref().is_some_and(|facts| facts.shown.is_some())
}

/// Lets them: their refusal is a failure of the attempt. Their time does not count as the peer's.
pub(super) async fn judge(session: &mut Session, outcome: Outcome) -> Outcome {
    let shown = session.facts_mut().shown.take();
    let chain = session.server.handlers.as_ref().and_then(|chains| chains.verify.clone());
    let (Some(shown), Some(chain)) = (shown, chain) else { return outcome };
    let stream = match outcome {
        Ok(Ok(stream)) => stream,
        failed => return failed,
    };
    let action = session.action;
    let verdict = phase::verify(session, &chain, shown).await;
    session.action = action;
    Ok(verdict.map(|()| stream))
}
