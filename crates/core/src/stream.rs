//! Byte streams: a TCP or unix socket, plain or under TLS, behind one type.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

use qanat_wire::tunnel_frame::Code;

use crate::tunnel::TunnelStream;

/// A connected socket, or what is used like one.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// Unix stream.
    Unix(UnixStream),
    /// A stream of a tunnel.
    Tunnel(TunnelStream),
}

/// A socket, or TLS over one.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are.
    Plain(Socket),
    /// TLS with a client.
    Client(Box<server::TlsStream<Socket>>),
    /// TLS with a peer.
    Peer(Box<client::TlsStream<Socket>>),
    /// Reset by the other side right after it was connected.
    Reset(Reset),
}

/// A socket of which it is known that the other side has reset it. The system tells that only once, and has done so;
/// from then on the socket seems to have ended in order. What arrived before the reset can still be read.
#[derive(Debug)]
pub struct Reset(pub Socket);

impl Stream {
    /// The socket underneath.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Client(tls) => tls.get_ref().0,
            Self::Peer(tls) => tls.get_ref().0,
            Self::Reset(reset) => &reset.0,
        }
    }
}

impl Socket {
    /// Lets the kernel gather small writes (`tcp_nodelay off`). Accepted sockets come without it.
    pub fn buffer_small_writes(&self) {
        if let Self::Tcp(socket) = self {
            // Fails only on a socket that is gone already.
            let _gone = socket.set_nodelay(false);
        }
    }

    /// Waits until it is ready for `interest`. A stream of a tunnel cannot be asked.
    ///
    /// # Errors
    /// The system's.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(socket) => socket.ready(interest).await,
            Self::Unix(socket) => socket.ready(interest).await,
            Self::Tunnel(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Attempts something that needs the socket to be ready to be read. A stream of a tunnel cannot be asked.
    ///
    /// # Errors
    /// Those of `attempt`; `WouldBlock` if the socket is not ready.
    pub fn try_read_with<R>(&self, attempt: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(socket) => socket.try_io(Interest::READABLE, || attempt(socket.as_fd())),
            Self::Unix(socket) => socket.try_io(Interest::READABLE, || attempt(socket.as_fd())),
            Self::Tunnel(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Makes closing this socket send a reset instead of an end of stream.
    pub fn reset_on_close(&self) {
        // Fails only on a socket that is gone already.
        let _gone = match self {
            Self::Tcp(socket) => socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)),
            Self::Unix(socket) => socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)),
            Self::Tunnel(stream) => {
                stream.reset_on_close(Code::PeerReset);
                Ok(())
            }
        };
    }
}

impl AsyncRead for Reset {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        let has_ended = buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(if has_ended { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) })
    }
}

impl AsyncWrite for Reset {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Writes some of `bytes`, which must not be empty, and returns how many.
///
/// # Errors
/// The stream's, and [`io::ErrorKind::WriteZero`] if it takes nothing without saying why: to try again would have no end.
pub fn poll_write_some(
    cx: &mut Context<'_>,
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(written),
    }
}

/// Calls the method of the variant at hand.
macro_rules! delegate {
    ($enum:ident, $($variant:ident)+) => {
        impl AsyncRead for $enum {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_read(cx, buf),)+ }
            }
        }

        impl AsyncWrite for $enum {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_write(cx, buf),)+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_flush(cx),)+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $(Self::$variant(inner) => Pin::new(inner).poll_shutdown(cx),)+ }
            }
        }
    };
}

delegate!(Socket, Tcp Unix Tunnel);
delegate!(Stream, Plain Client Peer Reset);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::ErrorKind;

    use super::poll_write_some;

    #[tokio::test]
    async fn a_stream_that_takes_nothing_fails() {
        let mut memory = [0; 3];
        let mut narrow = std::io::Cursor::new(&mut memory[..]);
        let mut write = async |bytes: &[u8]| poll_fn(|cx| poll_write_some(cx, &mut narrow, bytes)).await;
        assert_eq!(write(b"four").await.unwrap(), 3);
        assert_eq!(write(b"r").await.unwrap_err().kind(), ErrorKind::WriteZero);
    }
}
