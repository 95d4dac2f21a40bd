//! Reading frames.

use std::net::{IpAddr, SocketAddr};

use super::{Code, Frame, FrameError, HEADER, Hello, MAX_PAYLOAD, MORE, Open, SKIPPABLE, kind};
use crate::cursor::Cursor;

/// Which parts of an OPEN are there.
const IS_FLOW: u8 = 0x01;
const HAS_PROOF: u8 = 0x02;

/// What the bytes so far amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The beginning of a frame, which has this many bytes in all, as far as is known.
    Incomplete(usize),
    /// A whole frame.
    Complete {
        /// The stream that it belongs to; 0 is the carrier.
        stream: u32,
        /// What it says.
        frame: Frame<'a>,
        /// Its length; the next one begins there.
        consumed: usize,
    },
}

/// Reads the frame at the start of `bytes`.
///
/// # Errors
/// [`FrameError`] as soon as the bytes cannot become a frame: the sender is broken, and so is all that follows.
pub fn decode(bytes: &[u8]) -> Result<Progress<'_>, FrameError> {
    let mut cursor = Cursor::new(bytes);
    let (Some(kind), Some(flags), Some(length), Some(stream)) =
        (cursor.u8(), cursor.u8(), cursor.u16(), cursor.u32())
    else {
        return Ok(Progress::Incomplete(HEADER));
    };
    let length = usize::from(length);
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    let consumed = HEADER + length;
    let Some(payload) = cursor.take(length) else { return Ok(Progress::Incomplete(consumed)) };
    let frame = read(kind, flags, payload)?;
    if !matches!(frame, Frame::Unknown(_)) && belongs_to_stream(kind) != (stream != 0) {
        return Err(FrameError::WrongStream(kind, stream));
    }
    Ok(Progress::Complete { stream, frame, consumed })
}

fn belongs_to_stream(kind: u8) -> bool {
    (kind::OPEN..=kind::DATAGRAM).contains(&kind)
}

fn read(kind: u8, flags: u8, payload: &[u8]) -> Result<Frame<'_>, FrameError> {
    let mut cursor = Cursor::new(payload);
    let frame = match kind {
        // Those that take what there is.
        kind::DATA => return Ok(Frame::Data(payload)),
        kind::DATAGRAM => return Ok(Frame::Datagram(payload, flags & MORE == 0)),
        kind::OPEN => return read_open(flags, cursor).map(Frame::Open).ok_or(FrameError::Malformed(kind)),
        kind::OFFER => return text(payload).map(Frame::Offer).ok_or(FrameError::Malformed(kind)),
        kind::WITHDRAW => return text(payload).map(Frame::Withdraw).ok_or(FrameError::Malformed(kind)),
        // Later versions may add to the end of it.
        kind::HELLO => return read_hello(cursor).map(Frame::Hello).ok_or(FrameError::Malformed(kind)),
        kind::OPEN_OK => Some(Frame::OpenOk),
        kind::OPEN_ERROR => cursor.u8().map(|code| Frame::OpenError(Code::read(code))),
        kind::FIN => Some(Frame::Fin),
        kind::RESET => cursor.u8().map(|code| Frame::Reset(Code::read(code))),
        kind::WINDOW => cursor.u32().map(Frame::Window),
        kind::PING => cursor.array().map(u64::from_be_bytes).map(Frame::Ping),
        kind::PONG => cursor.array().map(u64::from_be_bytes).map(Frame::Pong),
        kind::GO_AWAY => cursor.u32().map(Frame::GoAway),
        kind::REFUSE => cursor.u8().map(|code| Frame::Refuse(Code::read(code))),
        unknown if flags & SKIPPABLE != 0 => return Ok(Frame::Unknown(unknown)),
        unknown => return Err(FrameError::UnknownKind(unknown)),
    };
    frame.filter(|_| cursor.is_empty()).ok_or(FrameError::Malformed(kind))
}

fn read_hello(mut cursor: Cursor<'_>) -> Option<Hello<'_>> {
    Some(Hello {
        least: cursor.u16()?,
        most: cursor.u16()?,
        features: cursor.u32()?,
        generation: cursor.array().map(u64::from_be_bytes)?,
        carrier: cursor.u8()?,
        window: cursor.u32()?,
        heartbeat: cursor.u16()?,
        tunnel: text(cursor.vector8()?)?,
        node: readable(cursor.vector8()?)?,
    })
}

fn read_open(flags: u8, mut cursor: Cursor<'_>) -> Option<Open<'_>> {
    Some(Open {
        is_flow: flags & IS_FLOW != 0,
        service: text(cursor.vector8()?)?,
        client: read_address(&mut cursor).ok()?,
        local: read_address(&mut cursor).ok()?,
        proof: if flags & HAS_PROOF != 0 { Some(cursor.array()?) } else { None },
        early: cursor.rest(),
    })
}

/// Not an address.
struct Malformed;

/// A family (0, 4 or 6), and with it an address and a port.
fn read_address(cursor: &mut Cursor<'_>) -> Result<Option<SocketAddr>, Malformed> {
    let ip: IpAddr = match cursor.u8() {
        Some(0) => return Ok(None),
        Some(4) => cursor.array::<4>().ok_or(Malformed)?.into(),
        Some(6) => cursor.array::<16>().ok_or(Malformed)?.into(),
        _ => return Err(Malformed),
    };
    Ok(Some(SocketAddr::new(ip, cursor.u16().ok_or(Malformed)?)))
}

/// A name that is not empty.
fn text(bytes: &[u8]) -> Option<&str> {
    readable(bytes).filter(|text| !text.is_empty())
}

/// Text for people, on one line.
fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= super::MAX_NAME && !text.chars().any(char::is_control)).then_some(text)
}
