//! Frames of a tunnel: what two gateways say to each other over one carrier, once it is encrypted and authenticated.
//!
//! A frame is a header of eight bytes (kind, flags, length, stream) and a payload of at most [`MAX_PAYLOAD`] bytes, so
//! that it fits one TLS record. Stream 0 is the carrier itself. The side that dialled the carrier opens streams with odd
//! numbers, the other one with even ones; none is used twice. A kind that is not known is skipped if its sender allows
//! that ([`SKIPPABLE`]), and is an error otherwise.

mod decode;
mod encode;

use std::net::SocketAddr;

pub use decode::{Progress, decode};
pub use encode::{Scribe, fits_open};

/// Versions of the protocol that this side speaks.
pub const VERSIONS: std::ops::RangeInclusive<u16> = 1..=1;
/// Length of a header.
pub const HEADER: usize = 8;
/// Longest payload: with its header it fills a TLS record (RFC 8446, section 5.1).
pub const MAX_PAYLOAD: usize = 16 * 1024 - HEADER;
/// Longest name of a tunnel, a service or a node, in bytes.
pub const MAX_NAME: usize = 255;
/// Largest datagram that UDP over IPv4 carries.
pub const MAX_DATAGRAM: usize = 65_507;
/// A flag of any frame: who does not know its kind passes over it.
pub const SKIPPABLE: u8 = 0x80;
/// A flag of [`Frame::Datagram`]: the datagram goes on in the next frame of this stream.
pub const MORE: u8 = 0x01;

/// Kinds of frames, as they stand in the header.
pub mod kind {
    /// [`Frame::Hello`](super::Frame::Hello).
    pub const HELLO: u8 = 1;
    /// [`Frame::Open`](super::Frame::Open).
    pub const OPEN: u8 = 2;
    /// [`Frame::OpenOk`](super::Frame::OpenOk).
    pub const OPEN_OK: u8 = 3;
    /// [`Frame::OpenError`](super::Frame::OpenError).
    pub const OPEN_ERROR: u8 = 4;
    /// [`Frame::Data`](super::Frame::Data).
    pub const DATA: u8 = 5;
    /// [`Frame::Fin`](super::Frame::Fin).
    pub const FIN: u8 = 6;
    /// [`Frame::Reset`](super::Frame::Reset).
    pub const RESET: u8 = 7;
    /// [`Frame::Window`](super::Frame::Window).
    pub const WINDOW: u8 = 8;
    /// [`Frame::Datagram`](super::Frame::Datagram).
    pub const DATAGRAM: u8 = 9;
    /// [`Frame::Ping`](super::Frame::Ping).
    pub const PING: u8 = 10;
    /// [`Frame::Pong`](super::Frame::Pong).
    pub const PONG: u8 = 11;
    /// [`Frame::GoAway`](super::Frame::GoAway).
    pub const GO_AWAY: u8 = 12;
    /// [`Frame::Offer`](super::Frame::Offer).
    pub const OFFER: u8 = 13;
    /// [`Frame::Withdraw`](super::Frame::Withdraw).
    pub const WITHDRAW: u8 = 14;
    /// [`Frame::Refuse`](super::Frame::Refuse).
    pub const REFUSE: u8 = 15;
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The first frame of each side.
    Hello(Hello<'a>),
    /// Opens a stream, or a flow of datagrams.
    Open(Open<'a>),
    /// The target of a stream is connected.
    OpenOk,
    /// The stream is refused, and over.
    OpenError(Code),
    /// Bytes of a stream.
    Data(&'a [u8]),
    /// The sender's bytes of a stream have ended.
    Fin,
    /// A stream has broken, and is over.
    Reset(Code),
    /// The receiver has room for so many more bytes of a stream.
    Window(u32),
    /// A datagram of a flow, or a piece of one: see [`MORE`].
    Datagram(&'a [u8], Last),
    /// To be answered with the same number.
    Ping(u64),
    /// The answer to a ping.
    Pong(u64),
    /// The sender opens no more streams here and will close; streams have so many milliseconds to end.
    GoAway(u32),
    /// A service can be reached through this tunnel.
    Offer(&'a str),
    /// It cannot any more.
    Withdraw(&'a str),
    /// The carrier is refused, and closed after this.
    Refuse(Code),
    /// A frame of a later version, to be passed over.
    Unknown(u8),
}

/// Whether a piece of a datagram is its last one.
pub type Last = bool;

/// What each side says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The lowest version that it speaks.
    pub least: u16,
    /// The highest version that it speaks.
    pub most: u16,
    /// What it can do beside the version, one bit each; none is defined yet.
    pub features: u32,
    /// Grows with every session of this node and tunnel: a higher one replaces a lower one.
    pub generation: u64,
    /// Which carrier of the tunnel this is, from 0.
    pub carrier: u8,
    /// Bytes of a new stream that it takes before it gives more credit.
    pub window: u32,
    /// Seconds without a byte after which it pings; three times that is the end.
    pub heartbeat: u16,
    /// The tunnel.
    pub tunnel: &'a str,
    /// The node, for people.
    pub node: &'a str,
}

/// What is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// A flow of datagrams instead of a stream of bytes.
    pub is_flow: bool,
    /// The service.
    pub service: &'a str,
    /// Who the client is; none if it came over a unix socket.
    pub client: Option<SocketAddr>,
    /// The address that the client connected to.
    pub local: Option<SocketAddr>,
    /// What proves that the sender knows the key of the service.
    pub proof: Option<[u8; 32]>,
    /// The client's first bytes.
    pub early: &'a [u8],
}

/// Why something was refused or broke. Numbers that are not known read as [`Code::Internal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// Something else.
    Internal = 0,
    /// There is no such remote service.
    NoService = 1,
    /// The service is not bound to this tunnel.
    NotBound = 2,
    /// The keys of the service differ.
    KeyMismatch = 3,
    /// The target refuses.
    DialRefused = 4,
    /// The target does not answer.
    DialTimeout = 5,
    /// The target cannot be reached otherwise.
    DialFailed = 6,
    /// The other end of the stream was reset.
    PeerReset = 7,
    /// Nobody wants the stream any more.
    Cancelled = 8,
    /// Too many streams.
    Limit = 9,
    /// The tunnel, service or binding was removed.
    Removed = 10,
    /// More bytes than there was credit for, or a frame out of place.
    Protocol = 11,
    /// No version in common.
    Version = 12,
    /// Not allowed to this identity.
    Forbidden = 13,
    /// The name of the tunnel belongs to another identity.
    NameTaken = 14,
    /// A newer session of the same tunnel is there.
    Superseded = 15,
    /// Nothing was heard for too long.
    Silent = 16,
    /// The node stops.
    Stopping = 17,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 18] = [
        Self::Internal,
        Self::NoService,
        Self::NotBound,
        Self::KeyMismatch,
        Self::DialRefused,
        Self::DialTimeout,
        Self::DialFailed,
        Self::PeerReset,
        Self::Cancelled,
        Self::Limit,
        Self::Removed,
        Self::Protocol,
        Self::Version,
        Self::Forbidden,
        Self::NameTaken,
        Self::Superseded,
        Self::Silent,
        Self::Stopping,
    ];

    /// Its name in logs, counters and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::NoService => "no_service",
            Self::NotBound => "not_bound",
            Self::KeyMismatch => "key_mismatch",
            Self::DialRefused => "dial_refused",
            Self::DialTimeout => "dial_timeout",
            Self::DialFailed => "dial_failed",
            Self::PeerReset => "peer_reset",
            Self::Cancelled => "cancelled",
            Self::Limit => "limit",
            Self::Removed => "removed",
            Self::Protocol => "protocol",
            Self::Version => "version",
            Self::Forbidden => "forbidden",
            Self::NameTaken => "name_taken",
            Self::Superseded => "superseded",
            Self::Silent => "silent",
            Self::Stopping => "stopping",
        }
    }

    fn read(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Internal)
    }
}

/// What is wrong with the bytes of a carrier, which has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`MAX_PAYLOAD`].
    #[error("a frame of {0} bytes, more than {MAX_PAYLOAD}")]
    TooLong(usize),
    /// A kind that is not known and must not be passed over.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A payload that its kind cannot have.
    #[error("a malformed frame of kind {0}")]
    Malformed(u8),
    /// A stream number where there has to be none, or none where there has to be one.
    #[error("a frame of kind {0} for stream {1}")]
    WrongStream(u8, u32),
}
