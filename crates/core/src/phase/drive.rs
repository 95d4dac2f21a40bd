//! The worker's side of a call: lends the session, serves the handler's wishes, and waits for the answer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use qanat_plan::Level;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until, timeout};

use crate::clock::{self, Instant};
use crate::error::{SessionError, Source, Status};
use crate::phase::call::{Call, Ending, Tried, Verdict};
use crate::phase::datagrams::Datagrams;
use crate::phase::input::{End, Input};
use crate::phase::{Chain, Habit, Hooks};
use crate::plan::Content;
use crate::session::Session;
use crate::stream::Stream;

/// Bytes read at once.
const PIECE: usize = 4096;
/// How long a handler may take to end once it was told to.
const GRACE: Duration = Duration::from_millis(250);
/// How long a call may be put off for the client's first bytes, if its handlers are known to begin with a look at them.
/// They come right behind the connection, or a round trip of the client's later, which is not worth waiting for.
const PATIENCE: Duration = Duration::from_millis(2);
/// Status of a session whose client left while a handler was running.
pub(super) const CLIENT_LEFT: u16 = 499;

/// What the clock of a call measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// The handler's own time.
    Handler,
    /// The client's silence, for which the handler is not to blame.
    Client,
    /// The silence of a client that sends datagrams to a content handler.
    Idle,
    /// The time to end.
    Grace,
}

/// A call under way. Dropping it takes the session back.
pub(super) struct Drive<'a> {
    pub(super) call: Arc<Call>,
    hooks: Arc<dyn Hooks>,
    session: &'a mut Session,
    client: Option<&'a mut Stream>,
    /// Bytes on their way to the client.
    sending: Vec<u8>,
    clock: Clock,
    /// The handler's own time that is left while another clock runs.
    left: Duration,
    due: Instant,
    allowed: Duration,
    silence: Duration,
    pub(super) half_close: bool,
    /// What a content handler lives on, and how long it may be without.
    datagrams: Option<(Arc<Datagrams>, Duration)>,
    /// Something was submitted or signalled that nobody may have been told of.
    is_untold: bool,
}

impl<'a> Drive<'a> {
    /// Lends the session to the handlers.
    pub(super) fn begin(
        session: &'a mut Session,
        chain: &Chain,
        input: Input,
        tried: Tried,
        client: Option<&'a mut Stream>,
    ) -> Result<Self, SessionError> {
        let fail = |status, text| SessionError::new(status, Source::Gateway, Level::Error, text);
        session.action = chain.phase.action();
        let hooks = session.plan.hooks.clone();
        let hooks = hooks.ok_or_else(|| fail(Status::Internal, "there is nothing to run handlers"))?;
        let stand_in = session.stand_in();
        let real = std::mem::replace(session, stand_in);
        let allowed = Duration::from_millis(real.server.spec.handlers.timeout_ms);
        let drive = Self {
            half_close: matches!(&real.server.content, Content::Proxy(proxy) if proxy.spec.half_close),
            silence: Duration::from_millis(real.server.spec.preread.timeout_ms),
            call: Call::open(chain, real, input, tried),
            hooks,
            session,
            client,
            sending: Vec::new(),
            clock: Clock::Handler,
            left: allowed,
            due: clock::now() + allowed,
            allowed,
            datagrams: None,
            is_untold: true,
        };
        Ok(drive)
    }

    /// Lets the handler take its time as long as datagrams pass: until there was none for `idle`.
    pub(super) fn outlast(&mut self, datagrams: Arc<Datagrams>, idle: Duration) {
        self.clock = Clock::Idle;
        self.due = datagrams.expires(idle);
        self.datagrams = Some((datagrams, idle));
    }

    /// Hands the call over.
    fn submit(&mut self) -> Result<(), SessionError> {
        if self.hooks.submit(Arc::clone(&self.call)) {
            return Ok(());
        }
        let text = "too many calls wait for handlers";
        Err(SessionError::new(Status::Unavailable, Source::Gateway, Level::Error, text))
    }

    /// Waits for one turn of the event loop for bytes that are here already: with them most handlers need not wait. If
    /// the handlers are known to begin with a look at them, waits a little longer; a handler that does something else
    /// first is none the wiser.
    pub(super) async fn receive_first(&mut self, habit: &Habit) {
        tokio::task::yield_now().await;
        let looks_first = habit.looks_first.load(Ordering::Relaxed);
        let receiving = poll_fn(|cx| {
            self.poll_receive(cx);
            let exchange = self.call.exchange();
            let has_come = !exchange.input.unread().is_empty() || exchange.input.room() == 0;
            if has_come || !looks_first { Poll::Ready(()) } else { Poll::Pending }
        });
        // What came is in the input, whoever wins.
        let _late = timeout(PATIENCE, receiving).await;
    }

    /// Waits for the answer; `leaving` is ready when the client has left.
    pub(super) async fn run(
        &mut self,
        mut leaving: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Result<Verdict, SessionError> {
        self.submit()?;
        let timer = sleep_until(self.due);
        tokio::pin!(timer);
        let mut is_there = true;
        let mut is_second = false;
        poll_fn(|cx| {
            // The others that are ready have their turn first: what they have to say goes with the same flush.
            if std::mem::take(&mut is_second) {
                self.hooks.flush();
            }
            if is_there && leaving(cx).is_ready() {
                is_there = false;
                self.tell(Ending::ClientLeft);
            }
            let outcome = self.poll(cx, timer.as_mut());
            if outcome.is_pending() && std::mem::take(&mut self.is_untold) {
                is_second = true;
                cx.waker().wake_by_ref();
            }
            outcome
        })
        .await
    }

    /// Ends the call, whose session is the worker's again.
    pub(super) fn finish(
        self,
        verdict: Result<Verdict, SessionError>,
    ) -> (Result<Verdict, SessionError>, Input) {
        let mut exchange = self.call.exchange();
        let input = std::mem::replace(&mut exchange.input, Input::new(Vec::new(), 0));
        let left = exchange.ending == Some(Ending::ClientLeft);
        drop(exchange);
        if left {
            let text = "client disconnected";
            let error = SessionError::new(Status::BadRequest, Source::Client, Level::Info, text);
            return (Err(error.with_status(CLIENT_LEFT)), input);
        }
        (verdict, input)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Result<Verdict, SessionError>> {
        self.call.exchange().register(cx.waker());
        let sent = self.poll_send(cx);
        self.poll_receive(cx);
        let verdict = if sent { self.call.exchange().take_verdict() } else { None };
        if let Some(verdict) = verdict {
            return Poll::Ready(Ok(verdict));
        }
        self.set_clock(timer.as_mut());
        while timer.as_mut().poll(cx).is_ready() {
            if let Some(error) = self.ring() {
                return Poll::Ready(Err(error));
            }
            timer.as_mut().reset(self.due);
        }
        Poll::Pending
    }

    /// Sends what the handler has written. True if nothing is left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(client) = self.client.as_deref_mut() else { return true };
        loop {
            if self.sending.is_empty() {
                let mut exchange = self.call.exchange();
                self.sending = std::mem::take(&mut exchange.output);
                if self.sending.is_empty() {
                    if std::mem::take(&mut exchange.drains) {
                        drop(exchange);
                        self.signal();
                    }
                    return true;
                }
            }
            match poll_write(cx, client, &mut self.sending) {
                Poll::Ready(Ok(written)) => {
                    if let Some(session) = &mut self.call.exchange().session {
                        session.bytes_sent += written;
                    }
                }
                Poll::Ready(Err(_gone)) => {
                    self.sending.clear();
                    self.tell(Ending::ClientLeft);
                    return true;
                }
                Poll::Pending => return false,
            }
        }
    }

    /// Reads ahead what the client sends, so that it is there when the handler wants it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) {
        let Some(client) = self.client.as_deref_mut() else { return };
        let mut left = false;
        loop {
            let room = self.call.exchange().input.room();
            if room == 0 {
                break;
            }
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(piece.get_mut(..room.min(PIECE)).unwrap_or_default());
            let end = match Pin::new(&mut *client).poll_read(cx, &mut read) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => None,
                Poll::Ready(Ok(())) => Some(End::Closed),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Some(End::Closed),
                Poll::Ready(Err(_)) => Some(End::Broken),
            };
            let mut exchange = self.call.exchange();
            exchange.input.push(read.filled());
            if let Some(session) = &mut exchange.session {
                session.bytes_received += read.filled().len() as u64;
            }
            if let Some(end) = end {
                exchange.input.finish(end);
                // One that says no more may still listen: it has left if nobody has anything to read of it.
                let silent = exchange.input.unread().is_empty() && exchange.wish.is_none();
                left = end == End::Broken || (silent && !self.half_close);
            }
        }
        if left {
            self.tell(Ending::ClientLeft);
        }
        let mut exchange = self.call.exchange();
        if exchange.wish.as_ref().is_some_and(|wish| exchange.input.settles(wish)) {
            exchange.wish = None;
            drop(exchange);
            self.signal();
        }
    }

    fn signal(&mut self) {
        self.hooks.signal(self.call.id);
        self.is_untold = true;
    }

    /// Tells the handler to end.
    fn tell(&mut self, ending: Ending) {
        let mut exchange = self.call.exchange();
        if exchange.ending.is_some() || exchange.is_answered() {
            return;
        }
        exchange.ending = Some(ending);
        exchange.wish = None;
        drop(exchange);
        self.clock = Clock::Grace;
        self.due = clock::now() + GRACE;
        self.signal();
    }

    /// Whose time it is: the client's as long as the handler waits for its bytes.
    fn set_clock(&mut self, timer: Pin<&mut Sleep>) {
        let waits = self.call.exchange().wish.is_some();
        let now = clock::now();
        match (self.clock, waits) {
            (Clock::Handler, true) => {
                self.left = self.due.saturating_duration_since(now);
                self.clock = Clock::Client;
                self.due = now + self.silence;
            }
            (Clock::Client, false) => {
                self.clock = Clock::Handler;
                self.due = now + self.left;
            }
            _ => {}
        }
        if timer.deadline() != self.due {
            timer.reset(self.due);
        }
    }

    /// Ends the supply of datagrams if there was none for too long; the handler has its own time to end then.
    fn look_idle(&mut self) {
        let Some((datagrams, idle)) = &self.datagrams else { return };
        let expires = datagrams.expires(*idle);
        let now = clock::now();
        if expires > now {
            self.due = expires;
            return;
        }
        datagrams.finish();
        self.clock = Clock::Handler;
        self.due = now + self.allowed;
        self.signal();
    }

    /// The time is over. An error if nothing is left to wait for.
    fn ring(&mut self) -> Option<SessionError> {
        if self.call.exchange().is_answered() {
            let text = "client does not take the text of a handler";
            return Some(SessionError::new(Status::Ok, Source::Client, Level::Info, text));
        }
        match self.clock {
            Clock::Client => {
                let mut exchange = self.call.exchange();
                exchange.wish = None;
                exchange.input.time_out();
                drop(exchange);
                self.signal();
                self.clock = Clock::Handler;
                self.due = clock::now() + self.left;
                None
            }
            Clock::Idle => {
                self.look_idle();
                None
            }
            Clock::Handler if std::mem::take(&mut self.call.exchange().is_restarted) => {
                self.due = clock::now() + self.allowed;
                None
            }
            Clock::Handler => {
                self.tell(Ending::Deadline);
                None
            }
            Clock::Grace => {
                let key = self.call.key();
                let (phase, names) = key.split_once('\n').unwrap_or_default();
                let (names, seconds) = (names.replace('\n', ", "), self.allowed.as_secs_f64());
                let text = format!("{phase} handler {names} did not end within {seconds} s: Python is busy");
                Some(SessionError::new(Status::Internal, Source::Gateway, Level::Error, text))
            }
        }
    }
}

impl Drop for Drive<'_> {
    fn drop(&mut self) {
        if let Some(real) = self.call.exchange().session.take() {
            *self.session = real;
        }
    }
}

fn poll_write(cx: &mut Context<'_>, client: &mut Stream, bytes: &mut Vec<u8>) -> Poll<io::Result<u64>> {
    let mut written = 0;
    while !bytes.is_empty() {
        let count = ready!(Pin::new(&mut *client).poll_write(cx, bytes))?;
        bytes.drain(..count);
        written += count as u64;
    }
    ready!(Pin::new(client).poll_flush(cx))?;
    Poll::Ready(Ok(written))
}
