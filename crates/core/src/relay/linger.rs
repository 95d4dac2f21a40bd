//! Closing a stream so that its receiver gets everything that was sent.
//!
//! A socket that is closed while bytes from the other side lie unread sends a reset, and the kernel throws away what
//! it had not sent yet (RFC 2525, section 2.17). So the bytes are read away first.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::stream::Stream;

/// How long a sender may take to notice that nobody listens any more: nginx's `lingering_timeout`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes leave of `stream`: TLS says so; with `drain` what still arrives is read away. Errors have nobody to go to.
pub async fn close(stream: &mut Stream, drain: bool) {
    if drain {
        let _late = timeout(PATIENCE, read_away(stream)).await;
    } else if !matches!(stream, Stream::Plain(_)) {
        // One attempt, without waiting: a receiver that does not read its alert loses nothing.
        poll_fn(|cx| {
            let _sent_or_not = Pin::new(&mut *stream).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}

async fn read_away(stream: &mut Stream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}
