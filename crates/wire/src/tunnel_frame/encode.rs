//! Writing frames.

use std::net::SocketAddr;

use super::{Code, HEADER, Hello, MAX_DATAGRAM, MAX_NAME, MAX_PAYLOAD, MORE, Open, SKIPPABLE, kind};

const IS_FLOW: u8 = 0x01;
const HAS_PROOF: u8 = 0x02;
/// Two addresses of version 6 with their families and ports, a name with its length, a proof.
const LONGEST_OPEN: usize = 2 * 19 + 1 + MAX_NAME + 32;

/// How many first bytes an OPEN can carry, whatever else is in it.
pub const fn fits_open() -> usize {
    MAX_PAYLOAD - LONGEST_OPEN
}

/// Appends frames to a buffer.
///
/// Names longer than [`MAX_NAME`] are cut, payloads longer than what a frame holds are divided: nothing fails.
#[derive(Debug)]
pub struct Scribe<'a>(pub &'a mut Vec<u8>);

impl Scribe<'_> {
    /// The first frame of a side.
    pub fn hello(&mut self, hello: &Hello<'_>) {
        self.frame(kind::HELLO, 0, 0, |to| {
            to.extend_from_slice(&hello.least.to_be_bytes());
            to.extend_from_slice(&hello.most.to_be_bytes());
            to.extend_from_slice(&hello.features.to_be_bytes());
            to.extend_from_slice(&hello.generation.to_be_bytes());
            to.push(hello.carrier);
            to.extend_from_slice(&hello.window.to_be_bytes());
            to.extend_from_slice(&hello.heartbeat.to_be_bytes());
            put_name(to, hello.tunnel);
            put_name(to, hello.node);
        });
    }

    /// Opens a stream. Of the first bytes it takes [`fits_open`]; returns how many it took.
    pub fn open(&mut self, stream: u32, open: &Open<'_>) -> usize {
        let early = open.early.get(..fits_open()).unwrap_or(open.early);
        let flags = if open.is_flow { IS_FLOW } else { 0 } | if open.proof.is_some() { HAS_PROOF } else { 0 };
        self.frame(kind::OPEN, flags, stream, |to| {
            put_name(to, open.service);
            put_address(to, open.client);
            put_address(to, open.local);
            to.extend_from_slice(open.proof.as_ref().map_or(&[], |proof| proof.as_slice()));
            to.extend_from_slice(early);
        });
        early.len()
    }

    /// The target is connected.
    pub fn open_ok(&mut self, stream: u32) {
        self.frame(kind::OPEN_OK, 0, stream, |_| {});
    }

    /// The stream is refused.
    pub fn open_error(&mut self, stream: u32, code: Code) {
        self.frame(kind::OPEN_ERROR, 0, stream, |to| to.push(code as u8));
    }

    /// Bytes of a stream.
    pub fn data(&mut self, stream: u32, bytes: &[u8]) {
        for piece in bytes.chunks(MAX_PAYLOAD) {
            self.frame(kind::DATA, 0, stream, |to| to.extend_from_slice(piece));
        }
    }

    /// The bytes of a stream have ended.
    pub fn fin(&mut self, stream: u32) {
        self.frame(kind::FIN, 0, stream, |_| {});
    }

    /// The stream is broken.
    pub fn reset(&mut self, stream: u32, code: Code) {
        self.frame(kind::RESET, 0, stream, |to| to.push(code as u8));
    }

    /// Room for more bytes of a stream.
    pub fn window(&mut self, stream: u32, credit: u32) {
        self.frame(kind::WINDOW, 0, stream, |to| to.extend_from_slice(&credit.to_be_bytes()));
    }

    /// A datagram, of [`MAX_DATAGRAM`] bytes at most.
    pub fn datagram(&mut self, stream: u32, bytes: &[u8]) {
        let bytes = bytes.get(..MAX_DATAGRAM).unwrap_or(bytes);
        let mut rest = bytes;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(MAX_PAYLOAD));
            self.datagram_piece(stream, piece, after.is_empty());
            rest = after;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// A piece of a datagram, of [`MAX_PAYLOAD`] bytes at most. Frames of other streams may come between pieces.
    pub fn datagram_piece(&mut self, stream: u32, piece: &[u8], is_last: bool) {
        let flags = if is_last { 0 } else { MORE };
        self.frame(kind::DATAGRAM, flags, stream, |to| to.extend_from_slice(piece));
    }

    /// Asks for an answer.
    pub fn ping(&mut self, number: u64) {
        self.frame(kind::PING, 0, 0, |to| to.extend_from_slice(&number.to_be_bytes()));
    }

    /// Answers.
    pub fn pong(&mut self, number: u64) {
        self.frame(kind::PONG, 0, 0, |to| to.extend_from_slice(&number.to_be_bytes()));
    }

    /// No more streams.
    pub fn go_away(&mut self, milliseconds: u32) {
        self.frame(kind::GO_AWAY, 0, 0, |to| to.extend_from_slice(&milliseconds.to_be_bytes()));
    }

    /// A service can be reached.
    pub fn offer(&mut self, service: &str) {
        self.frame(kind::OFFER, SKIPPABLE, 0, |to| to.extend_from_slice(name(service).as_bytes()));
    }

    /// A service cannot be reached any more.
    pub fn withdraw(&mut self, service: &str) {
        self.frame(kind::WITHDRAW, SKIPPABLE, 0, |to| to.extend_from_slice(name(service).as_bytes()));
    }

    /// The carrier is refused.
    pub fn refuse(&mut self, code: Code) {
        self.frame(kind::REFUSE, 0, 0, |to| to.push(code as u8));
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[kind, flags, 0, 0]);
        self.0.extend_from_slice(&stream.to_be_bytes());
        payload(self.0);
        let length = u16::try_from(self.0.len() - start - HEADER).unwrap_or(u16::MAX);
        if let Some(place) = self.0.get_mut(start + 2..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

fn name(text: &str) -> &str {
    let mut end = text.len().min(MAX_NAME);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn put_name(to: &mut Vec<u8>, text: &str) {
    let text = name(text);
    to.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    to.extend_from_slice(text.as_bytes());
}

fn put_address(to: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        None => to.push(0),
        Some(SocketAddr::V4(address)) => {
            to.push(4);
            to.extend_from_slice(&address.ip().octets());
            to.extend_from_slice(&address.port().to_be_bytes());
        }
        Some(SocketAddr::V6(address)) => {
            to.push(6);
            to.extend_from_slice(&address.ip().octets());
            to.extend_from_slice(&address.port().to_be_bytes());
        }
    }
}
