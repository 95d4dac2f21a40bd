//! Closing a stream so that its receiver gets everything that was sent.
//!
//! A socket that is closed while bytes from the other side lie unread sends a reset, and the kernel throws away what
//! it had not sent yet (RFC 2525, section 2.17). So the bytes are read away first.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::stream::Stream;

/// How long a side may do nothing while the gateway takes leave of it: while it takes nothing more of a last text, or
/// does not notice that nobody listens any more. nginx has no directive for either in `stream`: it gives 5 s to the
/// text of `return` and, by default, 5 s for `lingering_timeout` of HTTP.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Takes leave of `stream` with what is at hand: TLS says so, a plain socket will when it is closed.
pub fn say_goodbye(cx: &mut Context<'_>, stream: &mut Stream) {
    if !matches!(stream, Stream::Plain(_)) {
        // One attempt, without waiting: a receiver that does not read its alert loses nothing.
        let _sent_or_not = Pin::new(stream).poll_shutdown(cx);
    }
}

/// Ends `stream` and reads away what still arrives, for a while. Errors have nobody to go to.
pub async fn drain(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let _late = timeout(PATIENCE, read_away(stream)).await;
}

async fn read_away(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut unread = vec![0; 16384];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
