//! How long round trips take. Each connection has a thread, since the runtime's timers are too coarse to keep a rate.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::STALLED;
use crate::{Result, Run};

/// Bytes of a message and of its echo.
const MESSAGE: usize = 64;
/// Round trips of a connection that are not counted.
const WARMING: u32 = 20;

/// Round trips on connections that stay: how many, their median and 99th percentile in nanoseconds. All together keep
/// `rate` in a second; 0 sends the next one as soon as the last one is back.
pub(crate) fn measure(run: Run, rate: f64) -> Result<String> {
    let interval = if rate > 0.0 {
        Duration::from_secs_f64(f64::from(u32::try_from(run.connections)?) / rate)
    } else {
        Duration::ZERO
    };
    let threads: Vec<_> =
        (0..run.connections).map(|_| thread::spawn(move || round_trips(run, interval))).collect();
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().map_err(|_| "a thread has failed")??);
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0, Duration::as_nanos);
    Ok(format!("{} {} {}", times.len(), at(50), at(99)))
}

fn round_trips(run: Run, interval: Duration) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect_timeout(&run.address, STALLED)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALLED))?;
    let mut message = [b'l'; MESSAGE];
    for _ in 0..WARMING {
        exchange(&mut stream, &mut message)?;
    }
    let begun = Instant::now();
    let mut times = Vec::new();
    let mut due = begun;
    while begun.elapsed() < run.time {
        let woken = Instant::now();
        // Behind the rate because of the answer before: that wait counts.
        let from = if interval.is_zero() || woken <= due { woken } else { due };
        exchange(&mut stream, &mut message)?;
        times.push(from.elapsed());
        due += interval;
        if let Some(pause) = due.checked_duration_since(Instant::now()) {
            thread::sleep(pause);
            // Being woken late is not the gateway's doing.
            due = Instant::now();
        }
    }
    Ok(times)
}

fn exchange(stream: &mut TcpStream, message: &mut [u8; MESSAGE]) -> Result<()> {
    stream.write_all(message)?;
    stream.read_exact(message)?;
    Ok(())
}
