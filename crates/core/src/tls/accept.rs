//! The handshake with a client: its hello, the choice of a virtual server by it, and the rest.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use qanat_plan::Level;
use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::error::Elapsed;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server};

use super::record::Recorder;
use super::{ServerTls, TlsInfo};
use crate::error::{SessionError, Source, Status};

/// Alerts that are sent before there is a configuration to send them by: the number in RFC 8446 §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    /// There is no way to agree.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// We do not want this client.
    pub const ACCESS_DENIED: Self = Self(49);
    /// No version is left that both speak.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// Our fault.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// There is nobody of this name.
    pub const UNRECOGNIZED_NAME: Self = Self(112);
}

/// A handshake that has begun: the hello is there, and nothing was answered.
pub struct Opening<S> {
    start: StartHandshake<S>,
    /// All bytes so far, if they were to be kept: those of the hello come first.
    pub records: Option<Vec<u8>>,
    /// What the hello tells.
    pub info: TlsInfo,
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
    in_time(tokio::time::timeout(timeout, shake_hands(stream, choose)).await)
}

async fn shake_hands<S>(
    stream: S,
    choose: impl FnOnce(&ClientHello<'_>) -> Option<Arc<ServerTls>>,
) -> Result<(server::TlsStream<S>, TlsInfo), SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opening = Opening::read(stream, false).await?;
    let Some(tls) = choose(&opening.start.client_hello()) else {
        return Err(Box::pin(opening.refuse(no_certificate, Alert::HANDSHAKE_FAILURE)).await);
    };
    let Some(config) = &tls.config else {
        return Err(Box::pin(opening.refuse(rejected, Alert::UNRECOGNIZED_NAME)).await);
    };
    opening.finish(Arc::clone(config)).await
}

/// What a part of the handshake came to, if it came in time. The time limit is not part of a function around that part:
/// it would make the future larger.
///
/// # Errors
/// Its own, and that the client was too slow.
pub fn in_time<T>(outcome: Result<Result<T, SessionError>, Elapsed>) -> Result<T, SessionError> {
    let late = || failure("client timed out").because(io::Error::from_raw_os_error(libc::ETIMEDOUT));
    outcome.unwrap_or_else(|_elapsed| Err(late()))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Opening<S> {
    /// Waits for the hello; keeps its bytes if `records`.
    ///
    /// # Errors
    /// As [`accept`].
    pub async fn read(stream: S, records: bool) -> Result<Self, SessionError> {
        let recorder = Recorder { io: stream, seen: records.then(Vec::new) };
        let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), recorder);
        match (&mut acceptor).await {
            Ok(start) => {
                let StartHandshake { accepted, io: Recorder { io, seen }, .. } = start;
                let info = TlsInfo::of_hello(&accepted.client_hello());
                Ok(Self { start: StartHandshake::from_parts(accepted, io), records: seen, info })
            }
            Err(error) => Err(fail(error, acceptor.take_io().map(|recorder| recorder.io)).await),
        }
    }

    /// As [`Self::read`], on a stream of which `early` bytes were read already.
    ///
    /// # Errors
    /// As [`accept`].
    pub async fn read_after(stream: S, early: &[u8]) -> Result<Self, SessionError> {
        let mut acceptor = Acceptor::default();
        let mut rest = early;
        while !rest.is_empty() && acceptor.read_tls(&mut rest).is_ok_and(|count| count > 0) {}
        let start = match acceptor.accept() {
            Ok(Some(accepted)) => Ok(StartHandshake::from_parts(accepted, stream)),
            Ok(None) => {
                let mut acceptor = LazyConfigAcceptor::new(acceptor, stream);
                let started = (&mut acceptor).await;
                started.map_err(|error| (error, acceptor.take_io()))
            }
            // Whoever does not speak TLS has no use for its alert.
            Err((error, _alert)) => Err((io::Error::new(io::ErrorKind::InvalidData, error), Some(stream))),
        };
        match start {
            Ok(start) => {
                let info = TlsInfo::of_hello(&start.client_hello());
                Ok(Self { start, records: None, info })
            }
            Err((error, stream)) => Err(fail(error, stream).await),
        }
    }

    /// The stream underneath, on which the client waits.
    pub fn stream(&self) -> &S {
        &self.start.io
    }

    /// Goes on with `config`.
    ///
    /// # Errors
    /// As [`accept`].
    pub async fn finish(
        self,
        config: Arc<ServerConfig>,
    ) -> Result<(server::TlsStream<S>, TlsInfo), SessionError> {
        let mut info = self.info;
        match self.start.into_stream(config).into_fallible().await {
            Ok(stream) => {
                info.complete(stream.get_ref().1);
                Ok((stream, info))
            }
            Err((error, stream)) => Err(fail(error, Some(stream)).await),
        }
    }

    /// Ends the handshake with an alert, for a reason that depends on the hello.
    pub async fn refuse(self, reason: impl FnOnce(&TlsInfo) -> SessionError, alert: Alert) -> SessionError {
        let error = reason(&self.info);
        self.alert(alert).await;
        error
    }

    /// Sends a fatal alert in a plaintext record and closes. The connection is given up either way, so a failure has
    /// nobody to matter to.
    pub async fn alert(self, alert: Alert) {
        const FATAL: u8 = 2;
        let mut stream = self.start.io;
        drop(stream.write_all(&[21, 3, 3, 0, 2, FATAL, alert.0]).await);
        close(stream).await;
    }
}

/// `ssl_reject_handshake`.
pub fn rejected(info: &TlsInfo) -> SessionError {
    let name = info.server_name.as_deref().unwrap_or_default();
    failure(format!("TLS handshake rejected: server name \"{name}\""))
}

/// The server that the client asks for has no TLS settings.
pub fn no_certificate(info: &TlsInfo) -> SessionError {
    let name = info.server_name.as_deref().unwrap_or_default();
    failure(format!("TLS handshake refused: no certificate for \"{name}\""))
}

/// rustls has sent the alert; what remains is to close, and to say what happened.
async fn fail<S: AsyncWrite + Unpin>(error: io::Error, stream: Option<S>) -> SessionError {
    if let Some(stream) = stream {
        close(stream).await;
    }
    describe(error)
}

/// Shuts down the sending side, so that the alert arrives before the end.
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
