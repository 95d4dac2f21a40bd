//! Content made by a handler, from the worker's side: reads ahead to a bound, writes what the handler has written, in
//! both directions at once, and closes so that the client gets all of it.
//!
//! The handler may take hours. What bounds it is `proxy_timeout` without a byte in either direction; then, and when
//! the client has left, it is told to end and has a second for it.

mod duplex;
mod inbox;
mod outgoing;
mod patience;
mod upgrade;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use qanat_plan::Level;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use crate::clock::{self, Instant};
use crate::error::{SessionError, Source, Status};
use crate::phase::Hooks;
use crate::phase::call::{Call, Ending, Tried, Verdict};
use crate::phase::input::Input;
use crate::phase::stages::{judge, rejected};
use crate::plan::ContentHandler;
use crate::relay::linger::PATIENCE;
use crate::session::Session;
use crate::stream::Stream;

use self::duplex::Orders;
pub use self::duplex::{Duplex, HIGH_WATER, News, OUTPUT_LIMIT, Refusal, State, Upgrade};
use self::inbox::End;
pub use self::inbox::{INPUT_LIMIT, Inbox, Lack, Want};
use self::outgoing::Outgoing;
use self::patience::{GRACE, end_of};

/// Bytes read at once.
const PASSAGE: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PASSAGE].into_boxed_slice());
}

/// Has the handler answer the client, whose first bytes are `early`, and closes.
///
/// # Errors
/// What the handler decided, or why it failed: 500, or 503 if too many calls are waiting; 499 if the client has left.
pub(crate) async fn run(
    session: &mut Session,
    client: Stream,
    early: Vec<u8>,
    handler: &ContentHandler,
) -> Result<(), SessionError> {
    if !session.server.spec.tcp_nodelay {
        client.socket().buffer_small_writes();
    }
    let mut talk = Talk::begin(session, early, handler)?;
    let timer = sleep_until(talk.deadline());
    tokio::pin!(timer);
    let mut client = Some(client);
    loop {
        match poll_fn(|cx| talk.poll(cx, client.as_mut(), timer.as_mut())).await {
            Step::Over(outcome) => return outcome,
            Step::Upgrade => client = talk.upgrade(client).await,
        }
    }
}

/// What a turn came to.
enum Step {
    Upgrade,
    Over(Result<(), SessionError>),
}

/// A session that talks with its handler. Dropping it takes the session back.
struct Talk<'a> {
    call: Arc<Call>,
    hooks: Arc<dyn Hooks>,
    session: &'a mut Session,
    outgoing: Outgoing,
    /// The client has said so.
    has_client_ended: bool,
    state: State,
    verdict: Option<Verdict>,
    ending: Option<Ending>,
    idle: Duration,
    last: Instant,
    /// When the handler, which was told to, has to have ended.
    grace: Option<Instant>,
    /// When the client, which was told to, has to have ended.
    linger: Option<Instant>,
    is_armed: bool,
}

impl<'a> Talk<'a> {
    /// Lends the session to the handler.
    fn begin(
        session: &'a mut Session,
        early: Vec<u8>,
        handler: &ContentHandler,
    ) -> Result<Self, SessionError> {
        let fail = |status, text| Err(SessionError::new(status, Source::Gateway, Level::Error, text));
        session.action = handler.chain.phase.action();
        let Some(hooks) = session.plan.hooks.clone() else {
            return fail(Status::Internal, "there is nothing to run handlers");
        };
        let stand_in = session.stand_in();
        let real = std::mem::replace(session, stand_in);
        let call = Call::open(&handler.chain, real, Input::new(Vec::new(), 0), Tried::default());
        call.exchange().duplex = Some(Box::new(Duplex::new(early)));
        let talk = Self {
            call,
            hooks,
            session,
            outgoing: Outgoing::default(),
            has_client_ended: false,
            state: State::Open,
            verdict: None,
            ending: None,
            idle: handler.idle,
            last: clock::now(),
            grace: None,
            linger: None,
            is_armed: false,
        };
        if !talk.hooks.submit(Arc::clone(&talk.call)) {
            return fail(Status::Unavailable, "too many calls wait for handlers");
        }
        talk.flush();
        Ok(talk)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: Option<&mut Stream>,
        timer: Pin<&mut Sleep>,
    ) -> Poll<Step> {
        let orders = self.take_orders(cx);
        if let Some(client) = client.filter(|_| self.state == State::Open) {
            if self.poll_send(cx, client, orders) && orders.upgrades {
                return Poll::Ready(Step::Upgrade);
            }
            self.poll_receive(cx, client, orders);
        }
        if self.outgoing.is_shut && self.has_client_ended && self.state == State::Open {
            self.leave(State::Closed);
        }
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(Step::Over(outcome));
        }
        self.poll_clock(cx, timer)
    }

    /// What the handler wants by now.
    fn take_orders(&mut self, cx: &mut Context<'_>) -> Orders {
        let mut exchange = self.call.exchange();
        exchange.register(cx.waker());
        if self.verdict.is_none() {
            self.verdict = exchange.take_verdict();
        }
        let duplex = exchange.duplex.get_or_insert_with(|| Box::new(Duplex::new(Vec::new())));
        let mut orders = duplex.take_orders(&mut self.outgoing.bytes);
        if let Some(verdict) = &mut self.verdict {
            // Whatever it says, everything that was written is delivered first.
            if orders.closing.is_none() {
                duplex.close(PATIENCE);
            }
            orders.closing.get_or_insert(PATIENCE);
            if let Verdict::Reject(_, text) = verdict {
                self.outgoing.bytes.append(text);
            }
        }
        orders
    }

    /// Writes what is to be written, then the end. True if nothing is left of it.
    fn poll_send(&mut self, cx: &mut Context<'_>, client: &mut Stream, orders: Orders) -> bool {
        let (count, all) = self.outgoing.poll(cx, client);
        if count > 0 {
            self.last = clock::now();
            self.note_sent(count);
        }
        match all {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_gone)) => {
                self.lose();
                return false;
            }
        }
        if !orders.ends && orders.closing.is_none() {
            return true;
        }
        let is_shut = self.outgoing.shut(cx, client);
        if let (true, None, Some(linger)) = (is_shut, self.linger, orders.closing) {
            self.linger = Some(clock::now() + linger);
        }
        is_shut
    }

    fn note_sent(&mut self, count: usize) {
        let mut exchange = self.call.exchange();
        if let Some(session) = &mut exchange.session {
            session.bytes_sent += count as u64;
        }
        let left = self.outgoing.left();
        let tells = exchange.duplex.as_mut().is_some_and(|duplex| duplex.note_sent(left));
        drop(exchange);
        self.signal(tells);
    }

    /// Reads ahead; once the connection is being closed, reads away.
    fn poll_receive(&mut self, cx: &mut Context<'_>, client: &mut Stream, orders: Orders) {
        let is_closing = orders.closing.is_some();
        let mut room = if is_closing { PASSAGE } else { orders.room };
        while room > 0 && !self.has_client_ended && self.state == State::Open {
            match self.poll_piece(cx, client, room, is_closing) {
                Poll::Pending => return,
                Poll::Ready(Ok(Some(left))) => room = left,
                Poll::Ready(Ok(None)) => self.end_input(),
                Poll::Ready(Err(_reset)) => self.lose(),
            }
        }
    }

    /// One read: how much more there is room for, or the end.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
        room: usize,
        is_closing: bool,
    ) -> Poll<io::Result<Option<usize>>> {
        BUFFER.with_borrow_mut(|buffer| {
            let most = room.min(buffer.len());
            let mut read = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
            match ready!(Pin::new(client).poll_read(cx, &mut read)) {
                Ok(()) => {}
                // A TLS client that left without saying so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => read.clear(),
                Err(error) => return Poll::Ready(Err(error)),
            }
            let bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(None));
            }
            self.last = clock::now();
            let mut exchange = self.call.exchange();
            if let Some(session) = &mut exchange.session {
                session.bytes_received += bytes.len() as u64;
            }
            let duplex = exchange.duplex.as_mut().filter(|_| !is_closing);
            // Asked for again: the handler may have made room meanwhile, when there was no need to wake anybody.
            let (tells, left) =
                duplex.map_or((false, PASSAGE), |duplex| (duplex.receive(bytes), duplex.input.room()));
            drop(exchange);
            self.signal(tells);
            Poll::Ready(Ok(Some(left)))
        })
    }

    fn end_input(&mut self) {
        self.has_client_ended = true;
        self.change(|duplex| duplex.finish(End::Closed));
    }

    /// The connection broke. Whoever was closing it anyway, with nothing left to say, does not mind.
    fn lose(&mut self) {
        let is_owed = self.outgoing.left() > 0;
        if self.outgoing.is_shut && !is_owed {
            self.leave(State::Closed);
            return;
        }
        self.leave(State::Broken);
        if self.verdict.is_none() {
            self.tell(Ending::ClientLeft);
        } else if is_owed {
            self.ending.get_or_insert(Ending::ClientLeft);
        }
    }

    fn leave(&mut self, state: State) {
        self.state = state;
        self.outgoing.abandon();
        self.change(|duplex| duplex.leave(state));
    }

    /// Tells the handler to end.
    fn tell(&mut self, ending: Ending) {
        let mut exchange = self.call.exchange();
        if exchange.ending.is_some() || exchange.is_answered() {
            return;
        }
        exchange.ending = Some(ending);
        drop(exchange);
        self.ending = Some(ending);
        self.grace = Some(clock::now() + GRACE);
        self.change(Duplex::tell);
    }

    /// Changes what the handler sees, and has it told if `work` says so.
    fn change(&self, work: impl FnOnce(&mut Duplex) -> bool) {
        let tells = self.call.exchange().duplex.as_mut().is_some_and(|duplex| work(duplex));
        self.signal(tells);
    }

    fn signal(&self, tells: bool) {
        if tells {
            self.hooks.signal(self.call.id);
            self.flush();
        }
    }

    fn flush(&self) {
        match &self.call.mailbox {
            Some(mailbox) => mailbox.flush_later(&self.hooks),
            None => self.hooks.flush(),
        }
    }

    /// How the session ended, once it has.
    fn outcome(&mut self) -> Option<Result<(), SessionError>> {
        if self.state == State::Open {
            return None;
        }
        let verdict = self.verdict.take()?;
        Some(match (self.ending, verdict) {
            (Some(ending), _) => Err(end_of(ending)),
            (None, Verdict::Reject(status, _)) => Err(rejected(status)),
            (None, verdict) => judge(verdict).map(drop),
        })
    }
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        if let Some(real) = self.call.exchange().session.take() {
            *self.session = real;
        }
        // Whoever still waits for anything learns that the phase is over.
        self.change(Duplex::tell);
    }
}
