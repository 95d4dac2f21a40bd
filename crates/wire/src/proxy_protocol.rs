//! The PROXY protocol, versions 1 and 2 (haproxy's `proxy-protocol.txt`): who really connected, told by a proxy in front.
//!
//! [`parse`] reads a header at the start of a connection, [`encode_v1`] and [`encode_v2`] write one. What nginx skips
//! is skipped here too: a `LOCAL` command, datagram transports and unknown families give a header without addresses.

mod crc32c;
mod decode;
mod encode;
mod tlv;

use std::net::SocketAddr;

pub use decode::{Header, Progress, parse};
pub use encode::{TlsFacts, encode_v1, encode_v2};
pub use tlv::{BrokenTlv, SslTlv, Tlv, Tlvs, kind};

/// Longest header that is read, TLVs included.
pub const MAX_HEADER: usize = 4096;
/// Longest line of version 1, its CRLF included.
pub const MAX_LINE: usize = 107;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V2_PREFIX: usize = 16;
const V2_PROXY: u8 = 0x21;
const STREAM: u8 = 1;
const INET: u8 = 1;
const INET6: u8 = 2;

/// The two ends of the connection that was proxied. Both are of one family when read from a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Who connected.
    pub source: SocketAddr,
    /// The address that was connected to.
    pub destination: SocketAddr,
}

/// Why bytes are not a PROXY protocol header. The texts are nginx's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProtocolError {
    /// Neither version's signature, or a line of version 1 that breaks the grammar. Holds the beginning of it,
    /// escaped as in a Rust byte string.
    #[error("broken header: \"{0}\" while reading PROXY protocol")]
    Broken(String),
    /// The signature of version 2 with another version number.
    #[error("unknown PROXY protocol version: {0}")]
    UnknownVersion(u8),
    /// Longer than [`MAX_HEADER`].
    #[error("header is too large while reading PROXY protocol")]
    TooLarge,
    /// A header of version 2 that ends within its addresses.
    #[error("header is too short for its addresses while reading PROXY protocol")]
    TooShort,
    /// The CRC32C TLV does not match the header.
    #[error("wrong checksum while reading PROXY protocol")]
    Checksum,
}
