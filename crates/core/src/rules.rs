//! The rules of `proxy_pass rules:NAME`: a table chooses the upstream by what a session begins with. Bytes are waited
//! for only while a rule that needs them may still decide, and are left for the peer.

mod bucket;
pub mod evidence;
mod explain;
mod index;
pub mod rule;
pub mod table;

pub use explain::explain;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qanat_plan::Level;
use tokio::time::timeout;

use crate::error::{SessionError, Source, Status};
use crate::plan::{Content, Target};
use crate::preread;
use crate::rules::evidence::{Evidence, Hello, Names};
use crate::rules::rule::Action;
use crate::rules::table::{Decision, Table};
use crate::session::Session;
use crate::session::state::Route;
use crate::stream::Stream;

/// What `$rule` shows when no rule matched.
const DEFAULT: &str = "default";

/// What a table decided.
struct Outcome {
    rule: Option<Arc<str>>,
    action: Action,
    decided: Arc<AtomicU64>,
}

/// Lets the table of the session's server decide; `early` bytes are those that were taken from the client before.
/// Returns them, and what had to be taken now.
///
/// # Errors
/// The status of a rule that rejects, and 200 if the connection breaks.
pub async fn choose(
    session: &mut Session,
    client: &mut Stream,
    mut early: Vec<u8>,
) -> Result<Vec<u8>, SessionError> {
    session.action = "asking rules";
    let table = table_of(session)?;
    let present = early.len();
    let outcome = match decide(session, &table, &early, false) {
        Some(outcome) => outcome,
        None => wait(session, &table, client, &mut early).await?,
    };
    session.bytes_received += (early.len() - present) as u64;
    follow(session, outcome)?;
    Ok(early)
}

/// As [`choose`], for a session that begins with a datagram: there is nothing to wait for. Does nothing if no rules are
/// to be asked, or have been.
///
/// # Errors
/// The status of a rule that rejects.
pub fn choose_for_datagram(session: &mut Session, datagram: &[u8]) -> Result<(), SessionError> {
    if !session.server.asks_rules() || session.route().is_some() {
        return Ok(());
    }
    let table = table_of(session)?;
    let evidence = evidence(session, datagram, Hello::Absent, true);
    let outcome = outcome(&table, &evidence).ok_or_else(|| gone("a rule does not decide"))?;
    follow(session, outcome)
}

/// The upstream that was chosen for a session.
///
/// # Errors
/// 500 if no rules were asked.
pub fn chosen(session: &Session) -> Result<Arc<str>, SessionError> {
    let chosen = session.route().and_then(|route| route.upstream.clone());
    chosen.ok_or_else(|| gone("no rules were asked"))
}

async fn wait(
    session: &mut Session,
    table: &Table,
    client: &mut Stream,
    early: &mut Vec<u8>,
) -> Result<Outcome, SessionError> {
    let limit = usize::try_from(session.server.spec.preread.buffer_size).unwrap_or(usize::MAX);
    let patience = Duration::from_millis(session.server.spec.preread.timeout_ms);
    // What was looked at last, should nothing more come.
    let mut seen = Vec::new();
    let looking = async {
        match client {
            Stream::Plain(socket) if early.is_empty() => {
                let judge = |bytes: &[u8]| {
                    seen.clear();
                    seen.extend_from_slice(bytes);
                    decide(session, table, bytes, false)
                };
                preread::look(socket, limit, judge).await
            }
            other => {
                let judge = |bytes: &[u8]| decide(session, table, bytes, false);
                preread::read_until(other, limit, early, judge).await
            }
        }
    };
    match timeout(patience, looking).await {
        Ok(Ok(preread::Seen::Enough(outcome))) => return Ok(outcome),
        Ok(Err(error)) => return Err(SessionError::silent(Status::Ok, Source::Client).because(error)),
        // It ended, is silent, or filled the buffer: what is known has to do.
        Ok(Ok(preread::Seen::Full | preread::Seen::Ended)) | Err(_) => {}
    }
    let bytes = if early.is_empty() { &seen } else { &*early };
    decide(session, table, bytes, true).ok_or_else(|| gone("a rule does not decide"))
}

fn decide(session: &mut Session, table: &Table, bytes: &[u8], ended: bool) -> Option<Outcome> {
    let hello = match session.tls() {
        Some(tls) => {
            let name = tls.server_name.as_deref().unwrap_or_default();
            Hello::Seen(Names::new(name, tls.alpn.iter().map(|name| name.to_vec()).collect()))
        }
        None if table.needs_hello() => Hello::read(bytes, ended),
        None => Hello::Absent,
    };
    let is_seen = session.tls().is_none() && matches!(hello, Hello::Seen(_));
    let outcome = outcome(table, &evidence(session, bytes, hello, ended));
    if is_seen && outcome.is_some() {
        preread::note_hello(session, bytes);
    }
    outcome
}

fn outcome(table: &Table, evidence: &Evidence<'_>) -> Option<Outcome> {
    let (rule, action, decided) = match table.decide(evidence) {
        Decision::NeedsMore => return None,
        Decision::Rule(rule) => (Some(&rule.order.name), &rule.action, &rule.decided),
        Decision::Default => (None, &table.default, &table.unmatched),
    };
    Some(Outcome { rule: rule.cloned(), action: action.clone(), decided: Arc::clone(decided) })
}

fn evidence<'a>(session: &Session, bytes: &'a [u8], hello: Hello, ended: bool) -> Evidence<'a> {
    let local = session.local.as_ref().unwrap_or(&session.listener.address);
    let source = session.client.ip().map(|ip| ip.to_canonical());
    Evidence { source, port: local.port(), bytes, hello, ended }
}

fn follow(session: &mut Session, outcome: Outcome) -> Result<(), SessionError> {
    outcome.decided.fetch_add(1, Ordering::Relaxed);
    let rule = outcome.rule.unwrap_or_else(|| DEFAULT.into());
    let (upstream, status) = match outcome.action {
        Action::Pass(upstream) => (Some(upstream), None),
        Action::Reject(status) => (None, Some(status)),
    };
    let message = status.map(|_| format!("rejected by rule \"{rule}\""));
    session.facts_mut().route = Some(Route { rule, upstream });
    match (message, status) {
        (Some(message), Some(status)) => {
            let error = SessionError::new(Status::Forbidden, Source::Client, Level::Info, message);
            Err(error.with_status(status))
        }
        _ => Ok(()),
    }
}

fn table_of(session: &Session) -> Result<Arc<Table>, SessionError> {
    let Content::Proxy(proxy) = &session.server.content else { return Err(gone("no rules")) };
    let Target::Rules(name) = &proxy.target else { return Err(gone("no rules")) };
    let table = session.plan.rules.get(name).cloned();
    table.ok_or_else(|| gone(&format!("no rules \"{name}\"")))
}

fn gone(text: &str) -> SessionError {
    SessionError::new(Status::Internal, Source::Gateway, Level::Error, text)
}
