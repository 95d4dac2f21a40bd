//! Content that the gateway makes itself: `return`, and nothing.

use std::future::poll_fn;
use std::io;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::error::{SessionError, Source, Status};
use crate::relay::linger::{self, PATIENCE};
use crate::session::Session;
use crate::session::template::Template;
use crate::stream::{Stream, poll_write_some};

use qanat_plan::Level;

/// Sends the text of `return`, and closes so that the client gets all of it.
///
/// # Errors
/// With status 200, as nginx has it, when the client does not take the text.
pub async fn send(session: &mut Session, mut client: Stream, text: &Template) -> Result<(), SessionError> {
    session.action = "returning text";
    let mut bytes = Vec::new();
    text.render(session, &mut bytes);
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let written = match timeout(PATIENCE, poll_fn(|cx| poll_write_some(cx, &mut client, rest))).await {
            Ok(written) => written.map_err(|error| lost("client does not take the text", error))?,
            Err(_elapsed) => {
                return Err(lost("connection timed out", io::Error::from_raw_os_error(libc::ETIMEDOUT)));
            }
        };
        rest = rest.get(written..).unwrap_or_default();
        session.bytes_sent += written as u64;
    }
    // A failure to flush shows when closing, and there is nothing more to send.
    let _flushed = timeout(PATIENCE, client.flush()).await;
    linger::drain(&mut client).await;
    Ok(())
}

/// Nothing is configured: the client is reset.
pub fn none(client: &Stream) -> SessionError {
    client.socket().reset_on_close();
    let text = "no content is configured for this server";
    SessionError::new(Status::Internal, Source::Gateway, Level::Error, text)
}

fn lost(text: &str, cause: io::Error) -> SessionError {
    SessionError::new(Status::Ok, Source::Client, Level::Info, text).because(cause)
}
