//! The heartbeat of a carrier, as a machine that is told the time.

use std::collections::VecDeque;
use std::time::Duration;

use qanat_wire::tunnel_frame::Scribe;

use crate::clock::Instant;

/// Pings that may be open: after as many, unanswered, the other side is gone.
const MISSES: usize = 3;

/// The heartbeat: pings when nothing was heard, and notices when nobody answers.
pub(super) struct Pulse {
    /// Silence before a ping.
    pub(super) interval: Duration,
    /// When something arrived last.
    pub(super) heard: Instant,
    /// When to look again.
    pub(super) due: Instant,
    number: u64,
    /// Pings without an answer.
    open: VecDeque<(u64, Instant)>,
}

impl Pulse {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, heard: now, due: now, number: 0, open: VecDeque::new() }
    }

    /// Takes up another interval.
    pub(super) fn follow(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.due = self.due.min(now + interval);
    }

    /// How long the answer to a ping took.
    pub(super) fn pong(&mut self, number: u64, now: Instant) -> Option<Duration> {
        let index = self.open.iter().position(|(open, _)| *open == number)?;
        let asked = self.open.drain(..=index).next_back()?.1;
        Some(now - asked)
    }

    /// The time has come to look. The first ping measures the round trip.
    ///
    /// # Errors
    /// The other side is gone: it was silent for so long.
    pub(super) fn beat(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), Duration> {
        let is_first = self.number == 0;
        if !is_first && now < self.heard + self.interval {
            self.open.clear();
            self.due = self.heard + self.interval;
            return Ok(());
        }
        if self.open.len() >= MISSES {
            return Err(now - self.heard);
        }
        self.number += 1;
        self.open.push_back((self.number, now));
        Scribe(out).ping(self.number);
        self.due = now + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// Beats when it is due; how many bytes of pings that makes.
    fn beat(pulse: &mut Pulse) -> Result<usize, Duration> {
        let mut out = Vec::new();
        pulse.beat(pulse.due, &mut out).map(|()| out.len())
    }

    /// Beats until it notices: after how much silence.
    fn silence(pulse: &mut Pulse) -> Duration {
        std::iter::repeat_with(|| beat(pulse)).find_map(Result::err).unwrap()
    }

    #[test]
    fn who_never_answers_is_gone_within_four_intervals() {
        assert!(silence(&mut Pulse::new(SECOND, clock::now())) <= 4 * SECOND);
    }

    #[test]
    fn who_is_heard_is_not_pinged_and_gone_four_intervals_after_that() {
        let began = clock::now();
        let mut pulse = Pulse::new(SECOND, began);
        assert!(beat(&mut pulse).unwrap() > 0);
        for number in 1..20 {
            pulse.heard = began + number * SECOND / 2;
            assert_eq!(pulse.beat(pulse.heard, &mut Vec::new()), Ok(()));
            assert!(pulse.open.is_empty());
        }
        assert_eq!(silence(&mut pulse), 4 * SECOND);
    }

    #[test]
    fn a_shorter_interval_counts_at_once() {
        let began = clock::now();
        let mut pulse = Pulse::new(3600 * SECOND, began);
        assert!(beat(&mut pulse).is_ok());
        pulse.follow(SECOND, began);
        assert!(silence(&mut pulse) <= 4 * SECOND);
    }

    #[test]
    fn an_answer_tells_how_long_it_took() {
        let began = clock::now();
        let mut pulse = Pulse::new(SECOND, began);
        assert!(beat(&mut pulse).is_ok());
        assert_eq!(pulse.pong(1, began + SECOND / 4), Some(SECOND / 4));
        assert_eq!(pulse.pong(1, began + SECOND / 4), None);
    }
}
