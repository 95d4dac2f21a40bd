//! Relaying a byte stream both ways until it ends: normally, by silence, or by a reset, which is passed on as a reset.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use qanat_plan::Level;
use tokio::time::{Sleep, sleep_until};

use crate::clock::{self, Instant};
use crate::error::{SessionError, Source, Status};
use crate::plan::Proxy;
use crate::relay::direction::{Direction, Halt, Moved};
use crate::relay::linger;
use crate::session::Session;
use crate::stream::{Socket, Stream};
use crate::tunnel;

/// Relays until both directions have ended. `early` is what preread took from the client.
///
/// Dropping it ends the session: nothing is owed to either side then. The counters of `session` are right at every
/// moment.
///
/// # Errors
/// What the error log should say of the end. A relayed session has status 200 whatever ended it, as nginx has it.
pub async fn run(
    session: &mut Session,
    client: &mut Stream,
    early: Vec<u8>,
    peer: &mut Stream,
    proxy: &Proxy,
) -> Result<(), SessionError> {
    session.action = "proxying connection";
    if !session.server.spec.tcp_nodelay {
        client.socket().buffer_small_writes();
    }
    let chosen = session.choice().and_then(|choice| choice.timeout);
    let timeout = chosen.unwrap_or_else(|| Duration::from_millis(proxy.spec.timeout_ms));
    let last = clock::now();
    let timer = sleep_until(last + timeout);
    tokio::pin!(timer);
    let mut relay = Relay {
        upload: Direction::starting_with(early),
        download: Direction::default(),
        half_close: proxy.spec.half_close,
        closed: None,
        reset: None,
        linger: None,
        armed: false,
        timeout,
        last,
        session: &mut *session,
        client: &mut *client,
        peer: &mut *peer,
    };
    let end = poll_fn(|cx| relay.poll(cx, timer.as_mut())).await;
    let lingering = relay.linger;
    if let Some(attempt) = session.attempts.last_mut() {
        attempt.ended = Some(attempt.started.elapsed());
    }
    match end {
        // The side that is left learns of the reset by a reset.
        End::Reset(Source::Client) => peer.socket().reset_on_close(),
        End::Reset(_) => {
            client.socket().reset_on_close();
            if let Socket::Tunnel(stream) = peer.socket()
                && let Some(refusal) = tunnel::refusal(session, stream)
            {
                return Err(refusal);
            }
        }
        _ => {
            poll_fn(|cx| {
                linger::say_goodbye(cx, client);
                linger::say_goodbye(cx, peer);
                Poll::Ready(())
            })
            .await;
            // Rare, so it is boxed: a session should not carry the memory of what it does not do.
            if let Some(side) = lingering {
                Box::pin(linger::drain(if side == Source::Client { client } else { peer })).await;
            }
        }
    }
    end.into_result()
}

/// How a relay ended.
#[derive(Debug)]
enum End {
    /// This side closed, and what it had sent was delivered.
    Closed(Source),
    /// This side reset the connection.
    Reset(Source),
    /// Nobody said anything for as long as `proxy_timeout` allows.
    TimedOut,
    /// Reading from or writing to this side failed for another reason.
    Failed(Source, io::Error),
}

impl End {
    fn into_result(self) -> Result<(), SessionError> {
        let end = |source, text: &str| SessionError::new(Status::Ok, source, Level::Info, text);
        Err(match self {
            Self::Closed(Source::Client) | Self::Reset(Source::Client) => {
                end(Source::Client, "client disconnected")
            }
            Self::Closed(source) | Self::Reset(source) => end(source, "upstream disconnected"),
            Self::TimedOut => end(Source::Gateway, "connection timed out")
                .because(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
            Self::Failed(source, error) => end(source, "relaying failed").because(error),
        })
    }
}

struct Relay<'a> {
    upload: Direction,
    download: Direction,
    half_close: bool,
    /// The side that closed first.
    closed: Option<Source>,
    /// A side that takes no more bytes; what it had sent before is still being delivered.
    reset: Option<Source>,
    /// A side that was sending when the other one closed: its bytes are read away before the socket is closed.
    linger: Option<Source>,
    /// The timer knows whom to wake.
    armed: bool,
    timeout: Duration,
    last: Instant,
    session: &'a mut Session,
    client: &'a mut Stream,
    peer: &'a mut Stream,
}

impl Relay<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<End> {
        if let Poll::Ready(end) = self.poll_bytes(cx) {
            return Poll::Ready(end);
        }
        // The timer does not move at every byte: when it fires, it is told when the last one was.
        while (!self.armed || timer.is_elapsed()) && timer.as_mut().poll(cx).is_ready() {
            let deadline = self.last + self.timeout;
            if clock::now() >= deadline {
                return Poll::Ready(End::TimedOut);
            }
            timer.as_mut().reset(deadline);
            self.armed = false;
        }
        self.armed = true;
        Poll::Pending
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let (mut sent, mut received) = (Moved::default(), Moved::default());
        let upload = self.upload.poll(cx, self.client, self.peer, &mut sent);
        let download = self.download.poll(cx, self.peer, self.client, &mut received);
        self.count(sent, received);
        let uploaded = match self.halted(upload, Source::Client) {
            Ok(ended) => ended,
            Err(end) => return Poll::Ready(end),
        };
        let downloaded = match self.halted(download, Source::Peer) {
            Ok(ended) => ended,
            Err(end) => return Poll::Ready(end),
        };
        self.conclude(cx, uploaded, downloaded)
    }

    fn count(&mut self, sent: Moved, received: Moved) {
        if sent.is_zero() && received.is_zero() {
            return;
        }
        self.last = clock::now();
        self.session.bytes_received += sent.read;
        self.session.bytes_sent += received.written;
        if let Some(attempt) = self.session.attempts.last_mut() {
            attempt.bytes_sent += sent.written;
            attempt.bytes_received += received.read;
            if received.read > 0 && attempt.first_byte.is_none() {
                attempt.first_byte = Some(self.last - attempt.started);
            }
        }
    }

    /// Whether the direction that reads from `from` is over, or the end of the relay if it came to that.
    fn halted(&mut self, turn: Poll<Halt>, from: Source) -> Result<bool, End> {
        let Poll::Ready(halt) = turn else { return Ok(false) };
        let (to, direction) = match from {
            Source::Client => (Source::Peer, &mut self.upload),
            _ => (Source::Client, &mut self.download),
        };
        match halt {
            Halt::Ended => {
                self.closed.get_or_insert(from);
                Ok(true)
            }
            Halt::ReadFailed(error) if is_reset(&error) => Err(End::Reset(from)),
            Halt::ReadFailed(error) => Err(End::Failed(from, error)),
            // The receiver reset, but bytes that it sent before may still wait to be read: the other direction goes on.
            Halt::WriteFailed(error) if is_reset(&error) => {
                direction.abandon();
                self.reset.get_or_insert(to);
                Ok(true)
            }
            Halt::WriteFailed(error) => Err(End::Failed(to, error)),
        }
    }

    fn conclude(&mut self, cx: &mut Context<'_>, uploaded: bool, downloaded: bool) -> Poll<End> {
        if uploaded && downloaded {
            let closed = self.closed.unwrap_or(Source::Client);
            return Poll::Ready(self.reset.map_or(End::Closed(closed), End::Reset));
        }
        if (!uploaded && !downloaded) || self.reset.is_some() {
            return Poll::Pending;
        }
        if self.half_close {
            // Told or not yet told, the other direction goes on.
            let _told = if uploaded {
                self.upload.poll_close(cx, self.peer)
            } else {
                self.download.poll_close(cx, self.client)
            };
            return Poll::Pending;
        }
        // Both sides close as soon as what has been read is delivered.
        let (other, survivor) =
            if uploaded { (&mut self.download, Source::Peer) } else { (&mut self.upload, Source::Client) };
        if other.end() {
            self.linger = Some(survivor);
            return Poll::Pending;
        }
        Poll::Ready(End::Closed(self.closed.unwrap_or(Source::Client)))
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
    )
}
