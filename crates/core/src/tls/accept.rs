//! The handshake with a client: its hello, the choice of a virtual server by it, and the rest.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::Level;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server};

use super::{ServerTls, TlsInfo};
use crate::error::{SessionError, Source, Status};

/// Alerts (RFC 8446 §6) that are sent before there is a configuration to send them by.
#[derive(Clone, Copy)]
enum Refusal {
    HandshakeFailure = 40,
    UnrecognizedName = 112,
}

/// Accepts TLS on `stream` within `timeout`. `choose` learns the client's hello and names the settings to go on with;
/// those may refuse the handshake, and having none refuses it too.
///
/// A refused or failed handshake ends with an alert to the client, and with `stream` closed. Not cancel safe.
///
/// # Errors
/// With status 500 when the client does not finish a handshake that we can agree to.
pub async fn accept<S>(
    stream: S,
    timeout: Duration,
    choose: impl FnOnce(&ClientHello<'_>) -> Option<Arc<ServerTls>>,
) -> Result<(server::TlsStream<S>, TlsInfo), SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(timeout, shake_hands(stream, choose)).await {
        Ok(result) => result,
        Err(_) => Err(failure("client timed out").because(io::Error::from_raw_os_error(libc::ETIMEDOUT))),
    }
}

async fn shake_hands<S>(
    stream: S,
    choose: impl FnOnce(&ClientHello<'_>) -> Option<Arc<ServerTls>>,
) -> Result<(server::TlsStream<S>, TlsInfo), SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let start = match (&mut acceptor).await {
        Ok(start) => start,
        Err(error) => return Err(fail(error, acceptor.take_io()).await),
    };
    let hello = start.client_hello();
    let chosen = choose(&hello);
    let Some(tls) = chosen else {
        return Err(refuse(start, Refusal::HandshakeFailure).await);
    };
    let Some(config) = &tls.config else {
        return Err(refuse(start, Refusal::UnrecognizedName).await);
    };
    let mut info = TlsInfo::of_hello(&hello);
    match start.into_stream(Arc::clone(config)).into_fallible().await {
        Ok(stream) => {
            info.complete(stream.get_ref().1);
            Ok((stream, info))
        }
        Err((error, stream)) => Err(fail(error, Some(stream)).await),
    }
}

/// Sends a fatal alert in a plaintext record and closes.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    start: StartHandshake<S>,
    refusal: Refusal,
) -> SessionError {
    const FATAL: u8 = 2;
    let name = start.client_hello().server_name().unwrap_or_default().to_owned();
    let mut stream = start.io;
    let sent = stream.write_all(&[21, 3, 3, 0, 2, FATAL, refusal as u8]).await;
    let error = match refusal {
        Refusal::HandshakeFailure => failure(format!("TLS handshake refused: no certificate for \"{name}\"")),
        Refusal::UnrecognizedName => failure(format!("TLS handshake rejected: server name \"{name}\"")),
    };
    close(stream).await;
    match sent {
        Ok(()) => error,
        Err(cause) => error.because(cause),
    }
}

/// rustls has sent the alert; what remains is to close, and to say what happened.
async fn fail<S: AsyncWrite + Unpin>(error: io::Error, stream: Option<S>) -> SessionError {
    if let Some(stream) = stream {
        close(stream).await;
    }
    describe(error)
}

/// Shuts down the sending side, so that the alert arrives before the end. The connection is given up either way,
/// so a failure has nobody to matter to.
async fn close<S: AsyncWrite + Unpin>(mut stream: S) {
    drop(stream.shutdown().await);
}

fn describe(error: io::Error) -> SessionError {
    if let Some(reason) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return failure(format!("TLS handshake failed ({reason})"));
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => failure("client closed connection in TLS handshake"),
        _ => failure("TLS handshake failed").because(error),
    }
}

fn failure(message: impl Into<String>) -> SessionError {
    SessionError::new(Status::Internal, Source::Client, Level::Info, message)
}
