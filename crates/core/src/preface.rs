//! The preface of a connection: the PROXY protocol header that a proxy in front sends.

use std::time::Duration;

use qanat_plan::Level;
use qanat_wire::proxy_protocol::{self, Progress};
use tokio::time::timeout;

use crate::error::{SessionError, Source, Status};
use crate::preread::{Seen, look, take};
use crate::session::Session;
use crate::session::state::ProxyHeader;
use crate::stream::Socket;

/// What a session does meanwhile, as the error log says it.
const ACTION: &str = "reading PROXY protocol";

/// Reads the header and keeps what it says; what follows it stays in the socket.
///
/// # Errors
/// 400 for something else than a header, 200 if none comes in `proxy_protocol_timeout`.
pub async fn read(session: &mut Session, socket: &Socket) -> Result<(), SessionError> {
    session.action = ACTION;
    let wait = Duration::from_millis(session.server.spec.proxy_protocol_timeout_ms);
    match timeout(wait, read_header(session, socket)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(ended("client timed out").because(timed_out())),
    }
}

async fn read_header(session: &mut Session, socket: &Socket) -> Result<(), SessionError> {
    let judge = |bytes: &[u8]| match proxy_protocol::parse(bytes) {
        Ok(Progress::Incomplete) => None,
        Ok(Progress::Complete { header, consumed }) => {
            let addresses = header.addresses.as_ref();
            let kept = ProxyHeader {
                client: addresses.map(|addresses| addresses.source),
                server: addresses.map(|addresses| addresses.destination),
                tlvs: header.tlvs.as_bytes().to_vec(),
            };
            Some(Ok((kept, consumed)))
        }
        Err(error) => Some(Err(error.to_string())),
    };
    let seen = look(socket, proxy_protocol::MAX_HEADER, judge).await;
    match seen.map_err(|error| ended("reading from the client failed").because(error))? {
        Seen::Enough(Ok((header, consumed))) => {
            session.facts_mut().proxy_header = Some(header);
            take(socket, consumed)
                .await
                .map_err(|error| ended("reading from the client failed").because(error))
        }
        Seen::Enough(Err(text)) => {
            // The line that is logged names the action by itself.
            let text =
                text.strip_suffix(ACTION).and_then(|text| text.strip_suffix(" while ")).unwrap_or(&text);
            Err(bad(Level::Error, text))
        }
        Seen::Full => Err(bad(Level::Error, "header is too large")),
        Seen::Ended => Err(bad(Level::Info, "client closed the connection before its header was complete")),
    }
}

fn bad(level: Level, text: &str) -> SessionError {
    SessionError::new(Status::BadRequest, Source::Client, level, text)
}

fn ended(text: &str) -> SessionError {
    SessionError::new(Status::Ok, Source::Client, Level::Info, text)
}

fn timed_out() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::ETIMEDOUT)
}
