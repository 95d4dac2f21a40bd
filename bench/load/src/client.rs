//! TCP and TLS clients.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{Result, Run, tls};

/// Bytes of a request and of its answer.
pub(crate) const MESSAGE: usize = 100;

/// Bytes of a line, its end included.
const LINE: usize = 65;

/// A longer wait than this is a fault of the gateway under test.
pub(crate) const STALLED: Duration = Duration::from_secs(10);

trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

async fn connect(run: Run, resume: bool) -> Result<Box<dyn Bytes>> {
    let stream = timeout(STALLED, TcpStream::connect(run.address)).await??;
    stream.set_nodelay(true)?;
    if run.tls { Ok(Box::new(tls::connect(stream, resume).await?)) } else { Ok(Box::new(stream)) }
}

async fn exchange(stream: &mut dyn Bytes) -> Result<()> {
    exchange_message(stream, [b'q'; MESSAGE]).await
}

async fn exchange_message<const N: usize>(stream: &mut dyn Bytes, mut message: [u8; N]) -> Result<()> {
    stream.write_all(&message).await?;
    timeout(STALLED, stream.read_exact(&mut message)).await??;
    Ok(())
}

/// Runs one task a connection and adds up what they count.
pub(crate) async fn together<F>(run: Run, task: impl Fn() -> F) -> Result<u64>
where
    F: Future<Output = Result<u64>> + Send + 'static,
{
    let mut tasks: JoinSet<Result<u64>> = (0..run.connections).map(|_| task()).collect();
    let mut units = 0;
    while let Some(done) = tasks.join_next().await {
        units += done??;
    }
    Ok(units)
}

/// Requests and answers on connections that stay; the unit is a round trip.
pub(crate) async fn requests(run: Run) -> Result<u64> {
    together(run, || async move {
        let mut stream = connect(run, true).await?;
        let begun = Instant::now();
        let mut units = 0;
        while begun.elapsed() < run.time {
            exchange(&mut *stream).await?;
            units += 1;
        }
        Ok(units)
    })
    .await
}

/// Lines and their echoes on connections that stay, one in flight each; the unit is a line.
pub(crate) async fn lines(run: Run) -> Result<u64> {
    let mut line = [b'l'; LINE];
    line[LINE - 1] = b'\n';
    together(run, || async move {
        let mut stream = connect(run, true).await?;
        let begun = Instant::now();
        let mut units = 0;
        while begun.elapsed() < run.time {
            exchange_message(&mut *stream, line).await?;
            units += 1;
        }
        Ok(units)
    })
    .await
}

/// A login of a device: type, version, wait, and the length of a body in JSON, which names it.
fn login(device: u64) -> [u8; MESSAGE] {
    let body = format!("{{\"devid\": \"dev-{device}\", \"model\": \"m1\", \"pad\": \"");
    let mut message = [b'x'; MESSAGE];
    message[..6].copy_from_slice(&[b'L', b'1', 0, 30, 0, u8::try_from(MESSAGE - 6).unwrap_or_default()]);
    message[6..6 + body.len()].copy_from_slice(body.as_bytes());
    message[MESSAGE - 2..].copy_from_slice(b"\"}");
    message
}

/// Connections with one request each, closed by the server; the unit is a connection. TLS makes a full handshake.
pub(crate) async fn connections(run: Run) -> Result<u64> {
    once_each(run, |_| [b'q'; MESSAGE]).await
}

/// As [`connections`], each with the login of another device.
pub(crate) async fn logins(run: Run) -> Result<u64> {
    once_each(run, login).await
}

async fn once_each(run: Run, message: fn(u64) -> [u8; MESSAGE]) -> Result<u64> {
    together(run, || async move {
        let begun = Instant::now();
        let mut units = 0;
        while begun.elapsed() < run.time {
            let mut stream = connect(run, false).await?;
            exchange_message(&mut *stream, message(units)).await?;
            let mut end = [0; 1];
            let at_end = timeout(STALLED, stream.read(&mut end)).await?;
            if at_end.is_ok_and(|n| n > 0) {
                return Err("bytes after the answer".into());
            }
            units += 1;
        }
        Ok(units)
    })
    .await
}

/// Downloads; the unit is a mebibyte.
pub(crate) async fn bulk(run: Run) -> Result<u64> {
    let bytes = together(run, || async move {
        let mut stream = connect(run, true).await?;
        let begun = Instant::now();
        let mut buffer = vec![0; 1024 * 1024];
        let mut bytes = 0;
        while begun.elapsed() < run.time {
            bytes += timeout(STALLED, stream.read(&mut buffer)).await?? as u64;
        }
        Ok(bytes)
    })
    .await?;
    Ok(bytes >> 20)
}

/// Opens connections, each with one exchange, prints how many stand, and holds them.
pub(crate) async fn idle(run: Run) -> Result<u64> {
    let mut held = Vec::with_capacity(run.connections);
    for _ in 0..run.connections {
        let mut stream = connect(run, true).await?;
        exchange(&mut *stream).await?;
        held.push(stream);
    }
    println!("{}", held.len());
    tokio::time::sleep(run.time).await;
    Ok(held.len() as u64)
}
