//! Times as variables show them.

use std::fmt;
use std::time::Duration;

use crate::clock;
use crate::sys::time::{LocalTime, local};

/// The local time now.
pub(crate) fn now() -> LocalTime {
    local(clock::wall().as_secs())
}

/// `12.345`: seconds and milliseconds, as `$msec`, `$session_time` and `$upstream_*_time` have them.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// `2026-01-31T23:59:59+01:00`: `$time_iso8601`.
pub(crate) struct Iso8601(pub(crate) LocalTime);

impl fmt::Display for Iso8601 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LocalTime { year, month, day, hour, minute, second, offset_minutes } = self.0;
        let (sign, ahead) = (sign(offset_minutes), offset_minutes.abs());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        write!(f, "{sign}{:02}:{:02}", ahead / 60, ahead % 60)
    }
}

/// `31/Jan/2026:23:59:59 +0100`: `$time_local`.
pub(crate) struct CommonLog(pub(crate) LocalTime);

impl fmt::Display for CommonLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let LocalTime { year, month, day, hour, minute, second, offset_minutes } = self.0;
        let month = MONTHS.get(usize::from(month.saturating_sub(1))).unwrap_or(&"Jan");
        let (sign, ahead) = (sign(offset_minutes), offset_minutes.abs());
        write!(f, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02}")?;
        write!(f, " {sign}{:02}{:02}", ahead / 60, ahead % 60)
    }
}

fn sign(offset_minutes: i32) -> char {
    if offset_minutes < 0 { '-' } else { '+' }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: LocalTime =
        LocalTime { year: 2026, month: 1, day: 31, hour: 3, minute: 5, second: 9, offset_minutes: -210 };

    #[test]
    fn times_are_written_as_nginx_writes_them() {
        assert_eq!(Iso8601(TIME).to_string(), "2026-01-31T03:05:09-03:30");
        assert_eq!(CommonLog(TIME).to_string(), "31/Jan/2026:03:05:09 -0330");
        assert_eq!(
            CommonLog(LocalTime { offset_minutes: 60, ..TIME }).to_string(),
            "31/Jan/2026:03:05:09 +0100"
        );
        assert_eq!(Seconds(Duration::from_micros(61_007_999)).to_string(), "61.007");
    }
}
