//! When a carrier is dialled again: at once after a loss, then after pauses that grow, and seldom where the other side
//! has said no. Each pause is a random part of what it may be (full jitter), so that many nodes do not come back at the
//! same moment.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest first pause.
const SHORTEST: Duration = Duration::from_millis(100);
/// What the longest pause grows to; whoever was refused waits for all of it.
const LONGEST: Duration = Duration::from_secs(30);
/// "At once" for carriers that have been lost together.
const AT_ONCE: Duration = Duration::from_millis(10);
/// A carrier that was up for so long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(60);

/// What may be waited before the next attempt.
pub(super) type Pause = RangeInclusive<Duration>;

/// How patient a dialling side has become.
#[derive(Debug)]
pub(super) struct Backoff {
    longest: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { longest: SHORTEST }
    }

    /// Somebody wants the tunnel now.
    pub(super) fn reset(&mut self) {
        self.longest = SHORTEST;
    }

    /// After an attempt that came to nothing.
    pub(super) fn after_failure(&mut self) -> Pause {
        let pause = Duration::ZERO..=self.longest;
        self.longest = (self.longest * 2).min(LONGEST);
        pause
    }

    /// After the other side has said no: nothing will change soon, and it should not be asked without end.
    pub(super) fn after_refusal(&mut self) -> Pause {
        self.longest = LONGEST;
        LONGEST..=LONGEST + LONGEST / 10
    }

    /// After a carrier that was up for so long. One that lived longer than a pause can be is dialled at once: that asks
    /// no more of the other side than the pauses do. One that dies early again and again is dialled ever less often.
    pub(super) fn after_loss(&mut self, up: Duration) -> Pause {
        if up >= STEADY {
            self.reset();
            return Duration::ZERO..=AT_ONCE;
        }
        let is_worth_it = up >= self.longest;
        let pause = self.after_failure();
        if is_worth_it { Duration::ZERO..=AT_ONCE } else { pause }
    }
}

/// A random one of the pauses that there may be.
pub(super) fn draw(pause: &Pause) -> Duration {
    let mut random = [0; 4];
    // Without random numbers it is the longest.
    let part = match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    *pause.start() + pause.end().saturating_sub(*pause.start()).mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn pauses_are_random_and_double_from_a_tenth_of_a_second_to_half_a_minute() {
        let mut backoff = Backoff::new();
        let longest: Vec<_> = (0..12).map(|_| backoff.after_failure()).collect();
        assert!(longest.iter().all(|pause| *pause.start() == Duration::ZERO));
        let longest: Vec<_> = longest.iter().map(|pause| pause.end().as_millis()).collect();
        assert_eq!(longest[..4], [100, 200, 400, 800]);
        assert_eq!(longest[8..], [25_600, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_carrier_that_was_steady_is_dialled_at_once_and_begins_with_the_first_pause() {
        let mut backoff = Backoff::new();
        for _ in 0..12 {
            backoff.after_failure();
        }
        assert_eq!(*backoff.after_loss(STEADY).end(), AT_ONCE);
        assert_eq!(*backoff.after_failure().end(), SHORTEST);
    }

    #[test]
    fn the_first_loss_is_followed_by_an_attempt_at_once() {
        assert_eq!(*Backoff::new().after_loss(ms(100)).end(), AT_ONCE);
    }

    #[test]
    fn carriers_that_die_early_are_dialled_ever_less_often() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..12).map(|_| backoff.after_loss(ms(300))).collect();
        let longest: Vec<_> = pauses.iter().map(|pause| pause.end().as_millis()).collect();
        assert_eq!(longest[..4], [10, 10, 400, 800]);
        assert_eq!(longest[11], 30_000);
        // One that then stays as long as a pause may be is worth an attempt at once.
        assert_eq!(*backoff.after_loss(ms(30_000)).end(), AT_ONCE);
    }

    #[test]
    fn who_was_refused_waits_half_a_minute_each_time_until_somebody_wants_the_tunnel() {
        let mut backoff = Backoff::new();
        for _ in 0..3 {
            let pause = backoff.after_refusal();
            assert!(*pause.start() >= LONGEST);
            assert!(draw(&pause) >= LONGEST);
        }
        backoff.reset();
        assert_eq!(*backoff.after_failure().end(), SHORTEST);
    }

    #[test]
    fn pauses_are_drawn_from_all_of_what_they_may_be() {
        let pause = ms(100)..=ms(200);
        let drawn: Vec<_> = (0..1000).map(|_| draw(&pause)).collect();
        assert!(drawn.iter().all(|one| pause.contains(one)));
        assert!(drawn.iter().any(|one| *one < ms(120)) && drawn.iter().any(|one| *one > ms(180)));
    }
}
