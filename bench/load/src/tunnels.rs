//! Loads for tunnels. Each prints what it counted in its own words:
//!
//! | kind | prints |
//! |---|---|
//! | `download`, `upload` | bytes, and how fairly connections shared them: Jain's index, 1 is even |
//! | `touches` | connections of one byte there and back |
//! | `latency` | round trips of 64 bytes, their median and 99th percentile in nanoseconds |
//! | `datagrams` | datagrams of 1200 bytes that came back, and those that did not |

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{STALLED, together};
use crate::udp::{PATIENCE, socket};
use crate::{Result, Run, latency};

/// Bytes of a datagram.
const DATAGRAM: usize = 1200;
/// Datagrams that one client has under way.
const UNDER_WAY: u32 = 8;

/// Drives a load of this kind; `extra` is its own argument, 0 where it was not given.
pub(crate) async fn measure(kind: &str, run: Run, extra: f64) -> Result<String> {
    match kind {
        "download" => shares(run, Way::Down, Duration::from_secs_f64(extra)).await,
        "upload" => shares(run, Way::Up, Duration::from_secs_f64(extra)).await,
        "touches" => Ok(touches(run).await?.to_string()),
        "latency" => latency::measure(run, extra),
        "datagrams" => datagrams(run).await,
        other => Err(format!("unknown load {other}").into()),
    }
}

#[derive(Clone, Copy)]
enum Way {
    Down,
    Up,
}

/// Bytes of each connection after the time that is not counted.
async fn shares(run: Run, way: Way, warming: Duration) -> Result<String> {
    let begin = Instant::now() + warming;
    let mut tasks: JoinSet<Result<u64>> = (0..run.connections).map(|_| share(run, way, begin)).collect();
    let mut shares = Vec::with_capacity(run.connections);
    while let Some(done) = tasks.join_next().await {
        shares.push(done??);
    }
    let total: u64 = shares.iter().sum();
    Ok(format!("{total} {:.4}", jain(&shares)))
}

async fn share(run: Run, way: Way, begin: Instant) -> Result<u64> {
    let mut stream = timeout(STALLED, TcpStream::connect(run.address)).await??;
    let mut buffer = vec![b'x'; 256 * 1024];
    let mut bytes = 0;
    loop {
        let count = match way {
            Way::Down => timeout(STALLED, stream.read(&mut buffer)).await??,
            Way::Up => timeout(STALLED, stream.write(&buffer)).await??,
        };
        if count == 0 {
            return Err("the other end has closed".into());
        }
        let now = Instant::now();
        if now >= begin + run.time {
            return Ok(bytes);
        }
        if now >= begin {
            bytes += count as u64;
        }
    }
}

/// The square of the sum over the sum of the squares, by how many there are.
#[allow(clippy::cast_precision_loss, reason = "it is a statistic")]
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    if squares == 0.0 { 0.0 } else { sum * sum / squares / shares.len() as f64 }
}

/// Connections with one byte there and back, closed by the server.
async fn touches(run: Run) -> Result<u64> {
    together(run, || async move {
        let begun = Instant::now();
        let mut units = 0;
        while begun.elapsed() < run.time {
            let mut stream = timeout(STALLED, TcpStream::connect(run.address)).await??;
            stream.set_nodelay(true)?;
            stream.write_all(b"q").await?;
            let mut answer = [0; 2];
            timeout(STALLED, stream.read_exact(&mut answer[..1])).await??;
            if timeout(STALLED, stream.read(&mut answer)).await?.is_ok_and(|more| more > 0) {
                return Err("bytes after the answer".into());
            }
            units += 1;
        }
        Ok(units)
    })
    .await
}

/// Datagrams there and back, a few of each client under way at a time.
async fn datagrams(run: Run) -> Result<String> {
    let mut tasks: JoinSet<Result<(u64, u64)>> = (0..run.connections).map(|_| exchange(run)).collect();
    let (mut received, mut lost) = (0, 0);
    while let Some(done) = tasks.join_next().await {
        let (came, went) = done??;
        received += came;
        lost += went;
    }
    Ok(format!("{received} {lost}"))
}

/// One client: how many came back, and how many did not. What comes later than it is waited for is lost.
async fn exchange(run: Run) -> Result<(u64, u64)> {
    let socket = socket(run).await?;
    let begun = Instant::now();
    let mut buffer = [0; DATAGRAM];
    let (mut received, mut lost) = (0, 0);
    let mut era = 0_u8;
    let mut under_way = 0;
    while begun.elapsed() < run.time {
        while under_way < UNDER_WAY {
            send(&socket, era).await?;
            under_way += 1;
        }
        match timeout(PATIENCE, socket.recv(&mut buffer)).await {
            // One of an era before is counted as lost already.
            Ok(count) => {
                if count? == DATAGRAM && buffer[0] == era {
                    received += 1;
                    under_way -= 1;
                }
            }
            Err(_elapsed) => {
                lost += u64::from(under_way);
                under_way = 0;
                era = era.wrapping_add(1);
            }
        }
    }
    Ok((received, lost))
}

async fn send(socket: &UdpSocket, era: u8) -> Result<()> {
    let mut datagram = [b'd'; DATAGRAM];
    datagram[0] = era;
    socket.send(&datagram).await?;
    Ok(())
}
