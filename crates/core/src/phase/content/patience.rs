//! How long a content handler and its client may take: silence, the time to end, the time to leave.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use qanat_plan::Level;
use tokio::time::Sleep;

use crate::clock::{self, Instant};
use crate::error::{SessionError, Source, Status};
use crate::phase::call::Ending;
use crate::phase::drive::CLIENT_LEFT;

use super::{State, Step, Talk};

/// How long a handler may take to end once it was told to.
pub(super) const GRACE: Duration = Duration::from_secs(1);

impl Talk<'_> {
    /// When something is over, if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        let grace = self.grace.filter(|_| self.verdict.is_none());
        let linger = self.linger.filter(|_| self.state == State::Open);
        grace.or(linger).unwrap_or(self.last + self.idle)
    }

    /// Watches the time.
    pub(super) fn poll_clock(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Step> {
        // The timer does not move at every byte: when it fires, it is told when the last one was.
        if timer.deadline() > self.deadline() {
            timer.as_mut().reset(self.deadline());
            self.is_armed = false;
        }
        while (!self.is_armed || timer.is_elapsed()) && timer.as_mut().poll(cx).is_ready() {
            if clock::now() >= self.deadline()
                && let Some(outcome) = self.ring()
            {
                return Poll::Ready(Step::Over(outcome));
            }
            timer.as_mut().reset(self.deadline());
            self.is_armed = false;
        }
        self.is_armed = true;
        Poll::Pending
    }

    /// The time is over. The end of the session if nothing is left to wait for.
    fn ring(&mut self) -> Option<Result<(), SessionError>> {
        if self.grace.is_some() && self.verdict.is_none() {
            return Some(Err(self.give_up()));
        }
        if self.linger.is_some() && self.state == State::Open {
            self.leave(State::Closed);
        } else if self.verdict.is_none() {
            self.tell(Ending::Idle);
        } else {
            self.ending.get_or_insert(Ending::Idle);
            self.leave(State::Broken);
        }
        self.outcome()
    }

    /// The handler did not end when it was told to.
    fn give_up(&self) -> SessionError {
        if self.ending == Some(Ending::ClientLeft) {
            return end_of(Ending::ClientLeft);
        }
        let key = self.call.key();
        let (phase, name) = key.split_once('\n').unwrap_or_default();
        let seconds = GRACE.as_secs_f64();
        let text = format!("{phase} handler {name} did not end within {seconds} s of being told to");
        SessionError::new(Status::Internal, Source::Gateway, Level::Error, text)
    }
}

/// What the logs say of a handler that was told to end.
pub(super) fn end_of(ending: Ending) -> SessionError {
    let end = |source, text: &str| SessionError::new(Status::Ok, source, Level::Info, text);
    match ending {
        Ending::ClientLeft => end(Source::Client, "client disconnected").with_status(CLIENT_LEFT),
        Ending::Idle | Ending::Deadline => end(Source::Gateway, "connection timed out")
            .because(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
    }
}
