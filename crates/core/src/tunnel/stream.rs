//! A stream of a tunnel, used as a socket is.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use qanat_wire::tunnel_frame::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::carrier::Carrier;
use super::mux::{Read, ServiceRates};
use crate::clock;

/// Nothing has gone wrong: dropping the stream ends it in order.
const IN_ORDER: u8 = u8::MAX;

/// One end of a stream. Dropping it ends the stream: in order, or by a reset if one was asked for.
pub struct TunnelStream {
    carrier: Arc<Carrier>,
    number: u32,
    /// What the other side is told when this is dropped.
    parting: AtomicU8,
}

impl TunnelStream {
    pub(super) fn new(carrier: Arc<Carrier>, number: u32) -> Self {
        Self { carrier, number, parting: AtomicU8::new(IN_ORDER) }
    }

    /// Dropping it resets the stream, for this reason. The first reason counts.
    pub fn reset_on_close(&self, code: Code) {
        let _first =
            self.parting.compare_exchange(IN_ORDER, code as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The name of its tunnel.
    pub fn tunnel(&self) -> &Arc<str> {
        &self.carrier.tunnel
    }

    /// It is one of a service, and of its limits.
    pub(super) fn limit(&self, service: Arc<ServiceRates>) {
        self.carrier.with(|mux, _| mux.limit(self.number, service));
    }

    /// Tells the other side that its stream is served.
    pub fn accept(&self) {
        self.carrier.with(|mux, wakes| mux.accept(self.number, wakes));
    }

    /// Takes a datagram, of a flow.
    pub fn poll_datagram(&self, cx: &Context<'_>) -> Poll<Result<Vec<u8>, Code>> {
        let now = clock::now();
        self.carrier.with(|mux, wakes| mux.poll_datagram(cx, self.number, now, wakes))
    }

    /// Sends a datagram, of a flow. It never waits: if there is too much, the oldest datagrams are lost.
    pub fn send_datagram(&self, datagram: &[u8]) {
        self.carrier.with(|mux, wakes| mux.send_datagram(self.number, datagram, wakes));
    }

    /// Counts datagrams that gave way before there was a carrier.
    pub(super) fn count_dropped(&self, count: u64) {
        self.carrier.with(|mux, _| mux.dropped += count);
    }

    /// Returns when the other side has accepted the stream. Cancel safe.
    ///
    /// # Errors
    /// Why it has not.
    pub async fn accepted(&self) -> Result<(), Code> {
        poll_fn(|cx| self.carrier.with(|mux, _| mux.poll_accepted(cx, self.number))).await
    }

    /// Whether the stream has broken, and why.
    pub(super) fn poll_broken(&self, cx: &Context<'_>) -> Poll<Code> {
        self.carrier.with(|mux, _| mux.poll_broken(cx, self.number))
    }

    /// The service that was asked for.
    pub(super) fn service(&self) -> Option<Arc<str>> {
        self.carrier.with(|mux, _| mux.service(self.number))
    }

    /// The name of its tunnel, and why the other side has refused it, if that is so.
    pub(super) fn refusal(&self) -> Option<(&str, Code)> {
        let code = self.carrier.with(|mux, _| mux.refusal(self.number))?;
        Some((&self.carrier.tunnel, code))
    }
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} of tunnel {}", self.number, self.carrier.tunnel)
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        let parting = self.parting.load(Ordering::Relaxed);
        let code = Code::ALL.get(usize::from(parting)).copied();
        self.carrier.with(|mux, wakes| mux.release(self.number, code, wakes));
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let into = buf.initialize_unfilled();
        let now = clock::now();
        match ready!(self.carrier.with(|mux, wakes| mux.poll_read(cx, self.number, into, now, wakes))) {
            Read::Bytes(count) => {
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
            Read::Broken(code) => Poll::Ready(Err(broken(code))),
        }
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.carrier.with(|mux, wakes| mux.poll_write(cx, self.number, bytes, wakes)).map_err(broken)
    }

    /// The carrier sends on its own.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier.with(|mux, wakes| mux.finish(self.number, wakes));
        Poll::Ready(Ok(()))
    }
}

/// As a reset socket fails.
fn broken(code: Code) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, code.name())
}
