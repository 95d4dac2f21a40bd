//! A carrier at work: one TLS connection between two gateways, which carries the frames of many streams.
//!
//! One task reads, sends and watches the clock. Streams reach it through [`Carrier::with`], from any thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::Mutex;
use qanat_wire::tunnel_frame::{Code, HEADER, MAX_PAYLOAD, Scribe};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until, timeout};
use tokio_rustls::TlsStream;

use super::handshake::{Ready, Trust};
use super::identity::NodeKey;
use super::mux::{Broken, Mux, Request, Wakes};
use super::prove::{Exporter, Role};
use super::pulse::Pulse;
use super::stream::TunnelStream;
use crate::clock::{self, Instant};

/// Bytes of frames that are made at once, and room for those that arrive.
const PORTION: usize = 64 * 1024;
/// Portions in a row before other tasks have their turn.
const BATCH: u32 = 16;
/// How long the other side is given to take in why a carrier ends.
const FAREWELL: Duration = Duration::from_millis(100);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PORTION + MAX_PAYLOAD + HEADER].into_boxed_slice());
}

/// A carrier as streams and the registry see it.
pub(super) struct Carrier {
    /// The tunnel.
    pub tunnel: Arc<str>,
    /// Which carrier of it.
    pub index: u8,
    /// The generation of its session.
    pub generation: u64,
    /// The other end's key.
    pub key: NodeKey,
    /// What the other end calls itself.
    pub node: Arc<str>,
    /// Where the other end is.
    pub address: Arc<str>,
    pub(super) exporter: Exporter,
    /// What the other end has shown.
    pub(super) trust: Trust,
    pub(super) role: Role,
    /// The thread of its task.
    pub(super) thread: ThreadId,
    pub(super) since: Instant,
    pub(super) bytes_received: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    /// Milliseconds of silence before a ping.
    heartbeat_ms: AtomicU64,
    mux: Mutex<Mux>,
}

impl Carrier {
    /// A carrier that the present thread will run; `session` is which carrier of which generation.
    pub(super) fn new(
        tunnel: Arc<str>,
        session: (u8, u64),
        ready: &Ready,
        role: Role,
        heartbeat: Duration,
    ) -> Arc<Self> {
        let address = ready.stream.get_ref().0.peer_addr();
        let mut mux = Mux::new(role == Role::Dialler, ready.theirs.window);
        if ready.theirs.tells_offers {
            mux.expect_offers();
        }
        let carrier = Self {
            tunnel,
            index: session.0,
            generation: session.1,
            key: ready.key,
            node: ready.theirs.node.as_str().into(),
            address: address.map_or_else(|_| String::new(), |address| address.to_string()).into(),
            exporter: ready.exporter,
            trust: ready.trust.clone(),
            role,
            thread: thread::current().id(),
            since: clock::now(),
            bytes_received: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            heartbeat_ms: AtomicU64::new(0),
            mux: Mutex::new(mux),
        };
        carrier.set_heartbeat(heartbeat);
        Arc::new(carrier)
    }

    /// Pings after so much silence, from now on.
    pub(super) fn set_heartbeat(&self, heartbeat: Duration) {
        let heartbeat = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
        if self.heartbeat_ms.swap(heartbeat, Relaxed) != heartbeat {
            self.with(Mux::wake_task);
        }
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.load(Relaxed))
    }

    /// Works on its streams, and wakes whoever can go on then.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Mux, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::new();
        let result = work(&mut self.mux.lock(), &mut wakes);
        wakes.into_iter().for_each(Waker::wake);
        result
    }

    /// Opens a stream; none if the carrier takes no more.
    pub(super) fn open(self: &Arc<Self>, request: impl FnOnce(u32) -> Request) -> Option<TunnelStream> {
        let number = self.with(|mux, wakes| mux.open(request, wakes))?;
        Some(TunnelStream::new(Arc::clone(self), number))
    }

    /// Ends it, with all of its streams.
    pub(super) fn end(&self, code: Code) {
        self.with(|mux, wakes| mux.end(code, wakes));
    }

    /// Whether new streams can be opened.
    pub(super) fn is_open(&self) -> bool {
        self.mux.lock().is_open()
    }
}

/// Why a carrier ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The other side closed the connection.
    #[error("closed by the other end")]
    Closed,
    /// The connection broke.
    #[error("{0}")]
    Io(io::Error),
    /// The other side broke the rules, or refuses.
    #[error(transparent)]
    Broken(Broken),
    /// It answers no more.
    #[error("silent for {0} s")]
    Silent(u64),
    /// This side ended it.
    #[error("ended: {}", .0.name())]
    Ended(Code),
}

/// Runs a carrier to its end; `opened` gets the streams that the other side opens. Dropping the future ends it.
pub(super) async fn run(
    carrier: &Arc<Carrier>,
    ready: Ready,
    mut opened: impl FnMut(TunnelStream, Request),
) -> End {
    let mut pump = Pump {
        carrier: Arc::clone(carrier),
        stream: ready.stream,
        received: ready.rest,
        is_fresh: true,
        out: Vec::new(),
        sent: 0,
        is_unflushed: false,
        pulse: Pulse::new(carrier.heartbeat(), clock::now()),
    };
    let timer = sleep_until(clock::now());
    tokio::pin!(timer);
    let end = poll_fn(|cx| pump.poll(cx, timer.as_mut(), &mut opened)).await;
    let code = match &end {
        End::Ended(code) | End::Broken(Broken::Refused(code)) => *code,
        End::Broken(_) => Code::Protocol,
        End::Silent(_) => Code::Silent,
        End::Closed | End::Io(_) => Code::PeerReset,
    };
    carrier.end(code);
    match end {
        // The other side may be gone, or may not listen.
        End::Ended(_) | End::Broken(Broken::Frame(_) | Broken::Rule(_)) => {
            let _told = timeout(FAREWELL, pump.say_farewell(code)).await;
        }
        End::Silent(_) => pump.reset(),
        End::Closed | End::Io(_) | End::Broken(Broken::Refused(_)) => {}
    }
    end
}

struct Pump {
    carrier: Arc<Carrier>,
    stream: TlsStream<TcpStream>,
    /// What has arrived and is no whole frame yet.
    received: Vec<u8>,
    /// Nothing was looked at yet.
    is_fresh: bool,
    /// Frames that are being sent, and how far.
    out: Vec<u8>,
    sent: usize,
    is_unflushed: bool,
    pulse: Pulse,
}

impl Drop for Pump {
    fn drop(&mut self) {
        // If it has not ended otherwise: its task was stopped.
        self.carrier.end(Code::Removed);
    }
}

impl Pump {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        opened: &mut impl FnMut(TunnelStream, Request),
    ) -> Poll<End> {
        let mut portions = 0;
        loop {
            let received = match self.poll_receive(cx, opened) {
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                received => received.is_ready(),
            };
            let sent = match self.poll_send(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(End::Io(error)),
                sent => sent.is_ready(),
            };
            if let Some(code) = self.carrier.with(|mux, _| mux.ended()) {
                return Poll::Ready(End::Ended(code));
            }
            if !received && !sent {
                break;
            }
            portions += 1;
            if portions == BATCH {
                cx.waker().wake_by_ref();
                break;
            }
        }
        let heartbeat = self.carrier.heartbeat();
        if self.pulse.interval != heartbeat {
            self.pulse.follow(heartbeat, clock::now());
        }
        loop {
            let due = self.carrier.with(|mux, wakes| mux.poll_due(cx.waker(), clock::now(), wakes));
            let due = due.map_or(self.pulse.due, |due| due.min(self.pulse.due));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
            if clock::now() < self.pulse.due {
                continue;
            }
            if let Err(silence) = self.pulse.beat(clock::now(), &mut self.out) {
                return Poll::Ready(End::Silent(silence.as_secs()));
            }
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(End::Io(error));
            }
        }
    }

    /// Says why this side has ended the carrier, after what was being sent.
    async fn say_farewell(&mut self, code: Code) -> io::Result<()> {
        Scribe(&mut self.out).refuse(code);
        self.stream.write_all(&self.out[self.sent..]).await?;
        self.stream.shutdown().await
    }

    /// Makes closing the connection reset it. If the other side is still reached it learns at once; whatever else is said
    /// would wait for answers to what was sent before.
    fn reset(&self) {
        // Fails only on a socket that is gone already.
        let _gone = SockRef::from(self.stream.get_ref().0).set_linger(Some(Duration::ZERO));
    }

    /// Takes in what has arrived; pending when that is nothing.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        opened: &mut impl FnMut(TunnelStream, Request),
    ) -> Poll<Result<(), End>> {
        if let Err(end) = ready!(BUFFER.with_borrow_mut(|buffer| self.poll_frames(cx, buffer))) {
            return Poll::Ready(Err(end));
        }
        while let Some((number, request)) = self.carrier.with(|mux, _| mux.take_opened()) {
            opened(TunnelStream::new(Arc::clone(&self.carrier), number), request);
        }
        Poll::Ready(Ok(()))
    }

    /// One read, and the whole frames of what is there then.
    fn poll_frames(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<(), End>> {
        let kept = self.received.len();
        buffer[..kept].copy_from_slice(&self.received);
        let mut buf = ReadBuf::new(&mut buffer[kept..]);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        let count = buf.filled().len();
        match polled {
            // What came with the HELLO has not been looked at yet.
            Poll::Pending if !std::mem::take(&mut self.is_fresh) => return Poll::Pending,
            Poll::Pending => {}
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Poll::Ready(Err(End::Closed));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Io(error))),
            Poll::Ready(Ok(())) if count == 0 => return Poll::Ready(Err(End::Closed)),
            Poll::Ready(Ok(())) => self.pulse.heard = clock::now(),
        }
        self.carrier.bytes_received.fetch_add(count as u64, Relaxed);
        let bytes = &buffer[..kept + count];
        let pulse = &mut self.pulse;
        let received = self
            .carrier
            .with(|mux, wakes| mux.receive(bytes, |number| pulse.pong(number, clock::now()), wakes));
        let used = match received {
            Ok(used) => used,
            Err(broken) => return Poll::Ready(Err(End::Broken(broken))),
        };
        // Between whole frames nothing is kept.
        self.received = bytes[used..].to_vec();
        Poll::Ready(Ok(()))
    }

    /// Sends what there is; pending when there is nothing, or the connection takes no more.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            let carrier = Arc::clone(&self.carrier);
            let now = clock::now();
            let made = carrier.with(|mux, wakes| mux.poll_transmit(cx, &mut self.out, PORTION, now, wakes));
            if made.is_pending() && !self.is_unflushed {
                self.out = Vec::new();
                return Poll::Pending;
            }
        }
        while self.sent < self.out.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.sent += count;
                    self.is_unflushed = true;
                    self.carrier.bytes_sent.fetch_add(count as u64, Relaxed);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => self.is_unflushed = false,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}
