//! Local time: the one thing about clocks that the standard library does not offer.

use std::cell::Cell;

/// A second in the local time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalTime {
    /// Year, with its century.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour.
    pub hour: u8,
    /// Minute.
    pub minute: u8,
    /// Second.
    pub second: u8,
    /// Minutes that local time is ahead of UTC.
    pub offset_minutes: i32,
}

thread_local! {
    static LAST: Cell<Option<(u64, LocalTime)>> = const { Cell::new(None) };
}

/// The local time of a second since 1970-01-01 UTC. Each thread remembers the last answer, since log lines come many
/// to a second.
pub fn local(seconds: u64) -> LocalTime {
    if let Some((known, time)) = LAST.get()
        && known == seconds
    {
        return time;
    }
    let time = convert(seconds);
    LAST.set(Some((seconds, time)));
    time
}

fn convert(seconds: u64) -> LocalTime {
    let seconds = libc::time_t::try_from(seconds).unwrap_or_default();
    // SAFETY: `tm` is plain data for which all zeros is a valid value.
    let mut broken: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the right types; localtime_r keeps neither. No thread of this
    // process changes the environment (std::env::set_var is banned), which localtime_r may read.
    let done = unsafe { libc::localtime_r(&raw const seconds, &raw mut broken) };
    if done.is_null() {
        return LocalTime::default();
    }
    let small = |value: libc::c_int| u8::try_from(value).unwrap_or_default();
    LocalTime {
        year: broken.tm_year.saturating_add(1900),
        month: small(broken.tm_mon.saturating_add(1)),
        day: small(broken.tm_mday),
        hour: small(broken.tm_hour),
        minute: small(broken.tm_min),
        second: small(broken.tm_sec),
        offset_minutes: i32::try_from(broken.tm_gmtoff / 60).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn local_time_is_that_of_the_system() {
        for seconds in [0, 951_782_400, 1_751_328_000, 1_798_761_599] {
            let format = "+%Y %m %d %H %M %S %z";
            let date = Command::new("date").arg(format!("--date=@{seconds}")).arg(format).output().unwrap();
            let expected = String::from_utf8(date.stdout).unwrap();
            let LocalTime { year, month, day, hour, minute, second, offset_minutes } = local(seconds);
            let zone = format!("{:+03}{:02}", offset_minutes / 60, offset_minutes.abs() % 60);
            let time = format!("{year} {month:02} {day:02} {hour:02} {minute:02} {second:02} {zone}");
            assert_eq!(time, expected.trim());
            assert_eq!(local(seconds), local(seconds));
        }
    }
}
