//! The preread phase: looking at the client's first bytes before they are consumed. `ssl_preread`, and [`frame`].

pub mod frame;

use std::io;
use std::time::Duration;

use qanat_plan::Level;
use qanat_wire::client_hello::{self, ClientHello, Progress};
use tokio::io::{AsyncReadExt, Interest};
use tokio::time::timeout;

use crate::error::{SessionError, Source, Status};
use crate::session::Session;
use crate::session::state::PrereadHello;
use crate::stream::{Socket, Stream};
use crate::sys::peek::peek;

/// Size of the buffer to begin with; most hellos and all PROXY headers fit.
const FIRST_LOOK: usize = 2048;

/// Result of looking at what a client sent.
#[derive(Debug)]
pub enum Seen<T> {
    /// It was enough to judge by.
    Enough(T),
    /// More than the limit would be needed.
    Full,
    /// The client ended before it was enough.
    Ended,
}

/// What a client begins with.
#[derive(Debug)]
enum Opening {
    Hello(PrereadHello),
    Other,
}

/// Waits for the `ClientHello`, notes it, and switches the server by its name. Returns what had to be taken from the
/// stream for it; a plain socket keeps all.
///
/// # Errors
/// 400 if `preread_buffer_size` is not enough; 200 if the client ends or `preread_timeout` passes.
pub async fn run(session: &mut Session, client: &mut Stream) -> Result<Vec<u8>, SessionError> {
    session.action = "prereading client data";
    let limit = usize::try_from(session.server.spec.preread.buffer_size).unwrap_or(usize::MAX);
    let wait = Duration::from_millis(session.server.spec.preread.timeout_ms);
    let mut early = Vec::new();
    let looking = async {
        match client {
            Stream::Plain(socket) => look(socket, limit, judge).await,
            other => read_until(other, limit, &mut early, judge).await,
        }
    };
    let silent = || SessionError::silent(Status::Ok, Source::Client);
    let seen = timeout(wait, looking).await.map_err(|_elapsed| silent())?;
    match seen.map_err(|error| silent().because(error))? {
        Seen::Enough(opening) => note(session, opening),
        Seen::Full => {
            let text = "preread buffer full";
            return Err(SessionError::new(Status::BadRequest, Source::Client, Level::Error, text));
        }
        Seen::Ended => return Err(silent()),
    }
    session.bytes_received += early.len() as u64;
    Ok(early)
}

fn note(session: &mut Session, opening: Opening) {
    let Opening::Hello(hello) = opening else { return };
    if !hello.server_name.is_empty() {
        session.switch_server(&String::from_utf8_lossy(&hello.server_name));
    }
    session.facts_mut().hello = Some(hello);
}

/// Notes the whole `ClientHello` that `bytes` begin with, if one was not noted before.
pub(crate) fn note_hello(session: &mut Session, bytes: &[u8]) {
    if let Some(Opening::Hello(hello)) = judge(bytes) {
        session.facts_mut().hello.get_or_insert(hello);
    }
}

/// What `bytes` begin with; none if more are needed to say.
fn judge(bytes: &[u8]) -> Option<Opening> {
    match client_hello::parse(bytes, &mut Vec::new()) {
        Progress::Incomplete => None,
        Progress::NotTls | Progress::Malformed(_) => Some(Opening::Other),
        Progress::Complete(hello) => Some(Opening::Hello(seen_hello(&hello))),
    }
}

fn seen_hello(hello: &ClientHello<'_>) -> PrereadHello {
    PrereadHello {
        protocol: hello.protocol.map_or("", qanat_wire::ProtocolVersion::as_str),
        server_name: hello.server_name.map(<[u8]>::to_vec).unwrap_or_default(),
        alpn: hello.alpn_joined(),
    }
}

/// Looks at what has arrived on `socket`, again whenever more has, until `judge` comes to a result. Nothing is taken.
/// Cancel safe.
///
/// # Errors
/// The system's.
pub async fn look<T>(
    socket: &Socket,
    limit: usize,
    mut judge: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Seen<T>> {
    let mut buffer = vec![0; limit.min(FIRST_LOOK)];
    loop {
        let ready = socket.ready(Interest::READABLE).await?;
        let looked = socket.try_read_with(|socket| {
            loop {
                let seen = peek(&socket, &mut buffer)?;
                let bytes = buffer.get(..seen).unwrap_or_default();
                if let Some(result) = judge(bytes) {
                    return Ok(Seen::Enough(result));
                }
                if seen >= limit {
                    return Ok(Seen::Full);
                }
                if seen < buffer.len() {
                    // Until more comes; the bytes seen so far are still there, so readiness would not go by itself.
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                buffer.resize(limit.min(buffer.len() * 2), 0);
            }
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Seen::Ended),
            looked => return looked,
        }
    }
}

/// Takes `count` bytes that have been looked at.
///
/// # Errors
/// The system's.
pub async fn take(socket: &Socket, mut count: usize) -> io::Result<()> {
    let mut scrap = [0; 512];
    while count > 0 {
        socket.ready(Interest::READABLE).await?;
        let wanted = scrap.len().min(count);
        let into = scrap.get_mut(..wanted).unwrap_or_default();
        let taken = match socket {
            Socket::Tcp(tcp) => tcp.try_read(into),
            Socket::Unix(unix) => unix.try_read(into),
            Socket::Tunnel(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        match taken {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(taken) => count -= taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads into `early` from a stream that cannot be looked into, until `judge` comes to a result. Cancel safe: what was
/// read is in `early`.
///
/// # Errors
/// The system's.
pub async fn read_until<T>(
    stream: &mut Stream,
    limit: usize,
    early: &mut Vec<u8>,
    mut judge: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Seen<T>> {
    loop {
        if let Some(result) = judge(early) {
            return Ok(Seen::Enough(result));
        }
        if early.len() >= limit {
            return Ok(Seen::Full);
        }
        let room = (limit - early.len()) as u64;
        if (&mut *stream).take(room).read_buf(early).await? == 0 {
            return Ok(Seen::Ended);
        }
    }
}
