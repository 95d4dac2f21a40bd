//! The first message of a TLS client, read without taking part in the handshake (`ssl_preread`).
//!
//! Records are taken whole, one after another, until they hold a whole `ClientHello` (RFC 8446 §4.1.2, §5.1). Like
//! nginx, an SSLv2-style hello (RFC 5246 appendix E.2) tells the version and nothing else.

use crate::ProtocolVersion;
use crate::cursor::Cursor;

/// Longest `ClientHello` that is read, its four-byte header left out.
pub const MAX_HELLO: usize = 0xffff;
/// Longest record that is read: 2^14 and what encryption may add (RFC 8446 §5.2).
pub const MAX_RECORD: usize = 0x4000 + 0x100;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HOST_NAME: u8 = 0;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;

/// What the bytes so far amount to. More bytes change the answer only while it is [`Progress::Incomplete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The beginning of a hello: more bytes are needed.
    Incomplete,
    /// Not TLS: the first record is no handshake, or its version is not 3.x.
    NotTls,
    /// Began as TLS and then broke its rules; the text says which.
    Malformed(&'static str),
    /// A whole hello.
    Complete(ClientHello<'a>),
}

/// What a client says of itself before anything is agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The version field of the hello itself, as on the wire.
    pub legacy_version: u16,
    /// Highest version offered: of the `supported_versions` extension if there is one, else the field's.
    pub protocol: Option<ProtocolVersion>,
    /// The host name of the `server_name` extension, as sent; none if absent or empty.
    pub server_name: Option<&'a [u8]>,
    /// Protocols of the ALPN extension, in the client's order.
    pub alpn: Vec<&'a [u8]>,
    /// The session that an older client wants to go on with; others send bytes that mean nothing.
    pub session_id: &'a [u8],
    cipher_suites: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// The ALPN protocols joined by commas, as `$ssl_preread_alpn_protocols` has them.
    pub fn alpn_joined(&self) -> Vec<u8> {
        self.alpn.join(&b',')
    }

    /// Numbers of the cipher suites offered, in the client's order, GREASE (RFC 8701) included.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + 'a {
        numbers(self.cipher_suites)
    }

    /// Kinds and contents of all extensions, in the client's order, GREASE included.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + 'a {
        let mut cursor = Cursor::new(self.extensions);
        std::iter::from_fn(move || Some((cursor.u16()?, cursor.vector16()?)))
    }

    /// Tickets of sessions that the client wants to resume: those of `pre_shared_key` (RFC 8446 §4.2.11), and that of
    /// `session_ticket` (RFC 5077).
    pub fn tickets(&self) -> Vec<&'a [u8]> {
        let mut tickets = Vec::new();
        for (kind, content) in self.extensions() {
            match kind {
                PRE_SHARED_KEY => {
                    let mut identities = Cursor::new(Cursor::new(content).vector16().unwrap_or_default());
                    // After each comes its age.
                    while let (Some(ticket), Some(_)) = (identities.vector16(), identities.u32()) {
                        tickets.push(ticket);
                    }
                }
                SESSION_TICKET if !content.is_empty() => tickets.push(content),
                _ => {}
            }
        }
        tickets
    }

    /// Numbers of the versions offered, in the client's order, GREASE included: those of `supported_versions`, or else
    /// the field's alone.
    pub fn versions(&self) -> Vec<u16> {
        let listed = self.extensions().find(|(kind, _)| *kind == SUPPORTED_VERSIONS);
        let listed = listed.and_then(|(_, content)| Cursor::new(content).vector8());
        listed.map_or_else(|| vec![self.legacy_version], |listed| numbers(listed).collect())
    }
}

/// Whether a number of a cipher suite, an extension or a version means nothing, and is sent so that servers get used to
/// unknown ones (RFC 8701 §2).
pub fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let mut cursor = Cursor::new(bytes);
    std::iter::from_fn(move || cursor.u16())
}

/// Reads the hello at the start of `bytes`: all that has arrived from the client so far.
///
/// `joined` receives the fragments of a hello that spans several records, and stays untouched otherwise.
pub fn parse<'a>(bytes: &'a [u8], joined: &'a mut Vec<u8>) -> Progress<'a> {
    if let Some(progress) = without_record(bytes) {
        return progress;
    }
    let message = match find_message(bytes) {
        Err(reason) => return Progress::Malformed(reason),
        Ok(None) => return Progress::Incomplete,
        Ok(Some(Span { length, records: 1 })) => bytes.get(RECORD_HEADER..RECORD_HEADER + length),
        Ok(Some(span)) => {
            join(bytes, &span, joined);
            joined.get(..span.length)
        }
    };
    message
        .and_then(|message| read_hello(message.get(HANDSHAKE_HEADER..)?))
        .map_or(Progress::Malformed("ClientHello contradicts its own lengths"), Progress::Complete)
}

/// Decides on the first bytes when they are not the start of a TLS handshake record.
fn without_record<'a>(bytes: &[u8]) -> Option<Progress<'a>> {
    match *bytes {
        [] | [HANDSHAKE_RECORD] => Some(Progress::Incomplete),
        [HANDSHAKE_RECORD, 3, ..] => None,
        // An SSLv2 record with a two-byte header: length, message type, version.
        [high, _, CLIENT_HELLO, major @ (0 | 3), minor, ..] if high & 0x80 != 0 => {
            let version = u16::from_be_bytes([major, minor]);
            Some(Progress::Complete(ClientHello {
                legacy_version: version,
                protocol: ProtocolVersion::from_wire(version),
                ..ClientHello::default()
            }))
        }
        [high] | [high, _] | [high, _, CLIENT_HELLO] | [high, _, CLIENT_HELLO, 0 | 3] if high & 0x80 != 0 => {
            Some(Progress::Incomplete)
        }
        _ => Some(Progress::NotTls),
    }
}

/// Where a whole hello lies: its length with its header, and the number of records that carry it.
struct Span {
    length: usize,
    records: usize,
}

/// Measures the hello without copying it, so that a client that sends byte by byte costs no copies.
fn find_message(bytes: &[u8]) -> Result<Option<Span>, &'static str> {
    let mut header = [0; HANDSHAKE_HEADER];
    let mut seen = 0;
    let mut records = 0;
    let mut rest = bytes;
    while let Some((fragment, after)) = next_record(rest)? {
        for (slot, byte) in header.iter_mut().skip(seen).zip(fragment) {
            *slot = *byte;
        }
        seen += fragment.len();
        records += 1;
        rest = after;
        if let Some(length) = message_length(header, seen)?
            && seen >= length
        {
            return Ok(Some(Span { length, records }));
        }
    }
    Ok(None)
}

/// The payload of a record, and what follows the record.
type Record<'a> = (&'a [u8], &'a [u8]);

/// The handshake record that `bytes` begin with; none while it is not whole.
fn next_record(bytes: &[u8]) -> Result<Option<Record<'_>>, &'static str> {
    let mut cursor = Cursor::new(bytes);
    let Some([kind, major, _, high, low]) = cursor.array::<RECORD_HEADER>() else { return Ok(None) };
    if kind != HANDSHAKE_RECORD || major != 3 {
        return Err("another record interrupts the ClientHello");
    }
    match usize::from(u16::from_be_bytes([high, low])) {
        0 => Err("empty handshake record"),
        length if length > MAX_RECORD => Err("record is too long"),
        length => Ok(cursor.take(length).map(|payload| (payload, cursor.rest()))),
    }
}

/// Length of the message whose header begins it, header included; none while only `seen` bytes of that are there.
fn message_length(header: [u8; HANDSHAKE_HEADER], seen: usize) -> Result<Option<usize>, &'static str> {
    let [kind, high, middle, low] = header;
    if kind != CLIENT_HELLO {
        return Err("first handshake message is not a ClientHello");
    }
    if seen < HANDSHAKE_HEADER {
        return Ok(None);
    }
    match u32::from_be_bytes([0, high, middle, low]) as usize {
        length if length > MAX_HELLO => Err("ClientHello is too long"),
        length => Ok(Some(HANDSHAKE_HEADER + length)),
    }
}

fn join(bytes: &[u8], span: &Span, joined: &mut Vec<u8>) {
    joined.clear();
    let mut rest = bytes;
    for _ in 0..span.records {
        if let Ok(Some((fragment, after))) = next_record(rest) {
            joined.extend_from_slice(fragment);
            rest = after;
        }
    }
}

fn read_hello(body: &[u8]) -> Option<ClientHello<'_>> {
    let mut cursor = Cursor::new(body);
    let legacy_version = cursor.u16()?;
    cursor.take(32)?;
    let session_id = cursor.vector8()?;
    let cipher_suites = cursor.vector16()?;
    let _compression_methods = cursor.vector8()?;
    let mut hello = ClientHello {
        legacy_version,
        session_id,
        cipher_suites,
        protocol: ProtocolVersion::from_wire(legacy_version),
        ..ClientHello::default()
    };
    if !cursor.is_empty() {
        hello.extensions = cursor.vector16()?;
        read_extensions(hello.extensions, &mut hello)?;
    }
    Some(hello)
}

/// Each kind of extension may occur once (RFC 8446 §4.2): with two names, the gateway and the peer behind it could
/// each believe in another one.
fn read_extensions<'a>(extensions: &'a [u8], hello: &mut ClientHello<'a>) -> Option<()> {
    let mut seen = [false; 3];
    let mut cursor = Cursor::new(extensions);
    while !cursor.is_empty() {
        let kind = cursor.u16()?;
        let content = cursor.vector16()?;
        let slot = match kind {
            SERVER_NAME => {
                hello.server_name = read_server_name(content)?;
                0
            }
            ALPN => {
                hello.alpn = read_alpn(content)?;
                1
            }
            SUPPORTED_VERSIONS => {
                hello.protocol = Some(read_supported_versions(content)?);
                2
            }
            _ => continue,
        };
        if std::mem::replace(seen.get_mut(slot)?, true) {
            return None;
        }
    }
    Some(())
}

/// RFC 6066 §3. The outer `None` is a malformed list, the inner one a list without a host name.
#[expect(clippy::option_option, reason = "malformed and absent are different answers here")]
fn read_server_name(content: &[u8]) -> Option<Option<&[u8]>> {
    let mut names = Cursor::new(Cursor::new(content).vector16()?);
    let mut found = None;
    while !names.is_empty() {
        let kind = names.u8()?;
        let name = names.vector16()?;
        if kind == HOST_NAME && found.is_none() && !name.is_empty() {
            found = Some(name);
        }
    }
    Some(found)
}

/// RFC 7301 §3.1.
fn read_alpn(content: &[u8]) -> Option<Vec<&[u8]>> {
    let mut names = Cursor::new(Cursor::new(content).vector16()?);
    let mut protocols = Vec::new();
    while !names.is_empty() {
        protocols.push(names.vector8()?);
    }
    Some(protocols)
}

/// RFC 8446 §4.2.1. A list of nothing but unknown versions (drafts, GREASE) still comes from a TLS 1.3 client:
/// none older has the extension.
fn read_supported_versions(content: &[u8]) -> Option<ProtocolVersion> {
    let mut versions = Cursor::new(Cursor::new(content).vector8()?);
    let mut highest = None;
    while !versions.is_empty() {
        highest = highest.max(ProtocolVersion::from_wire(versions.u16()?));
    }
    Some(highest.unwrap_or(ProtocolVersion::Tls13))
}
