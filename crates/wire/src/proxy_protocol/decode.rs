//! Reading a header: version 1 is a line of text, version 2 a binary block.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Addresses, INET, INET6, MAX_HEADER, MAX_LINE, ProxyProtocolError, SIGNATURE, STREAM, Tlvs, V2_PREFIX,
    V2_PROXY, crc32c, kind,
};
use crate::cursor::Cursor;

const LINE_START: &[u8] = b"PROXY ";

/// What the bytes so far amount to. More bytes change the answer only while it is [`Progress::Incomplete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The beginning of a header: more bytes are needed.
    Incomplete,
    /// A whole header.
    Complete {
        /// What it says.
        header: Header<'a>,
        /// Its length; the client's data begins there.
        consumed: usize,
    },
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// None if the sender speaks for itself (`LOCAL`, `UNKNOWN`), or of something other than TCP over IP.
    pub addresses: Option<Addresses>,
    /// Further fields; empty in version 1 and in a header without addresses.
    pub tlvs: Tlvs<'a>,
}

/// Reads the header at the start of `bytes`: all that has arrived on a connection so far.
///
/// # Errors
/// [`ProxyProtocolError`] as soon as the bytes cannot become a header.
pub fn parse(bytes: &[u8]) -> Result<Progress<'_>, ProxyProtocolError> {
    if starts_like(bytes, &SIGNATURE) {
        parse_v2(bytes)
    } else if starts_like(bytes, LINE_START) {
        parse_v1(bytes)
    } else {
        Err(broken(bytes))
    }
}

/// Whether `bytes` begin with `start`, or are themselves a beginning of it.
fn starts_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(ours, theirs)| ours == theirs)
}

fn parse_v1(bytes: &[u8]) -> Result<Progress<'_>, ProxyProtocolError> {
    let window = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let breaks = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(window.len());
    let end = match window.get(breaks..).unwrap_or_default() {
        [b'\r', b'\n', ..] => breaks,
        [] | [b'\r'] if bytes.len() < MAX_LINE => return Ok(Progress::Incomplete),
        _ => return Err(broken(bytes)),
    };
    let line = window.get(LINE_START.len()..end).unwrap_or_default();
    let addresses = if line.starts_with(b"UNKNOWN") {
        None
    } else {
        Some(std::str::from_utf8(line).ok().and_then(parse_line).ok_or_else(|| broken(bytes))?)
    };
    let header = Header { addresses, tlvs: Tlvs::default() };
    Ok(Progress::Complete { header, consumed: end + 2 })
}

/// `TCP4 SOURCE DESTINATION SPORT DPORT`, single spaces between.
fn parse_line(line: &str) -> Option<Addresses> {
    let mut words = line.split(' ');
    let family = words.next()?;
    let (source, destination) = match family {
        "TCP4" => {
            (words.next()?.parse::<Ipv4Addr>().ok()?.into(), words.next()?.parse::<Ipv4Addr>().ok()?.into())
        }
        "TCP6" => {
            (words.next()?.parse::<Ipv6Addr>().ok()?.into(), words.next()?.parse::<Ipv6Addr>().ok()?.into())
        }
        _ => return None,
    };
    let addresses = pair(source, destination, parse_port(words.next()?)?, parse_port(words.next()?)?);
    words.next().is_none().then_some(addresses)
}

/// Digits only: the standard parser would also take a sign.
fn parse_port(word: &str) -> Option<u16> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

fn pair(source: IpAddr, destination: IpAddr, source_port: u16, destination_port: u16) -> Addresses {
    Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Progress<'_>, ProxyProtocolError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.take(SIGNATURE.len()).is_none() {
        return Ok(Progress::Incomplete);
    }
    let Some(version_command) = cursor.u8() else { return Ok(Progress::Incomplete) };
    if version_command >> 4 != 2 {
        return Err(ProxyProtocolError::UnknownVersion(version_command >> 4));
    }
    let Some((family_transport, length)) = cursor.u8().zip(cursor.u16()) else {
        return Ok(Progress::Incomplete);
    };
    let consumed = V2_PREFIX + usize::from(length);
    if consumed > MAX_HEADER {
        return Err(ProxyProtocolError::TooLarge);
    }
    let Some(block) = cursor.take(usize::from(length)) else { return Ok(Progress::Incomplete) };
    let header = if version_command == V2_PROXY && family_transport & 0x0f == STREAM {
        let header = read_block(block, family_transport >> 4).ok_or(ProxyProtocolError::TooShort)?;
        verify_checksum(bytes.get(..consumed).unwrap_or_default(), &header.tlvs)?;
        header
    } else {
        Header::default()
    };
    Ok(Progress::Complete { header, consumed })
}

fn read_block(block: &[u8], family: u8) -> Option<Header<'_>> {
    let mut cursor = Cursor::new(block);
    let (source, destination): (IpAddr, IpAddr) = match family {
        INET => (cursor.array::<4>()?.into(), cursor.array::<4>()?.into()),
        INET6 => (cursor.array::<16>()?.into(), cursor.array::<16>()?.into()),
        _ => return Some(Header::default()),
    };
    let addresses = pair(source, destination, cursor.u16()?, cursor.u16()?);
    Some(Header { addresses: Some(addresses), tlvs: Tlvs::new(cursor.rest()) })
}

/// The checksum is that of the header with zeros in its own place. A sender need not include one.
fn verify_checksum(header: &[u8], tlvs: &Tlvs<'_>) -> Result<(), ProxyProtocolError> {
    let mut rest = tlvs.clone();
    while let Some(tlv) = rest.next() {
        // A broken field is found again, and reported, by whoever asks for a value.
        let Ok(tlv) = tlv else { break };
        if tlv.kind == kind::CRC32C {
            let after = rest.as_bytes();
            let before = header.len().checked_sub(after.len() + tlv.value.len());
            let expected = crc32c::checksum(&[
                before.and_then(|end| header.get(..end)).unwrap_or_default(),
                &[0; 4],
                after,
            ]);
            if tlv.value != expected.to_be_bytes() {
                return Err(ProxyProtocolError::Checksum);
            }
        }
    }
    Ok(())
}

/// Shows the first line of what came, as nginx does.
fn broken(bytes: &[u8]) -> ProxyProtocolError {
    let window = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let line = window.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    ProxyProtocolError::Broken(line.escape_ascii().to_string())
}
