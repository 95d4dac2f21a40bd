//! Frames of a tunnel: what is written is read again, however it arrives; anything else is refused without harm.

use std::net::SocketAddr;

use proptest::prelude::*;
use qanat_wire::tunnel_frame::{
    Code, Frame, FrameError, HEADER, Hello, MAX_DATAGRAM, MAX_PAYLOAD, Open, Progress, Scribe, decode,
    fits_open, kind,
};

/// A frame with what it borrows.
#[derive(Clone, Debug)]
enum Said {
    Hello(u16, u32, u64, u8, String, String),
    Open(bool, String, Option<SocketAddr>, Option<SocketAddr>, Option<[u8; 32]>, Vec<u8>),
    OpenOk,
    OpenError(Code),
    Data(Vec<u8>),
    Fin,
    Reset(Code),
    Window(u32),
    Datagram(Vec<u8>),
    Ping(u64),
    Pong(u64),
    GoAway(u32),
    Offer(String),
    Withdraw(String),
    Refuse(Code),
}

fn said() -> impl Strategy<Value = Said> {
    let name = "[a-zA-Z0-9_.é-]{1,40}";
    let code = || (0..Code::ALL.len()).prop_map(|index| Code::ALL[index]);
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let opened = (
        any::<bool>(),
        name,
        any::<Option<SocketAddr>>(),
        any::<Option<SocketAddr>>(),
        any::<Option<[u8; 32]>>(),
    );
    prop_oneof![
        (any::<u16>(), any::<u32>(), any::<u64>(), any::<u8>(), name, name)
            .prop_map(|(a, b, c, d, e, f)| Said::Hello(a, b, c, d, e, f)),
        (opened, bytes(300)).prop_map(|((flow, service, client, local, proof), early)| Said::Open(
            flow,
            service,
            client.map(plain),
            local.map(plain),
            proof,
            early
        )),
        Just(Said::OpenOk),
        code().prop_map(Said::OpenError),
        bytes(MAX_PAYLOAD).prop_map(Said::Data),
        Just(Said::Fin),
        code().prop_map(Said::Reset),
        any::<u32>().prop_map(Said::Window),
        bytes(MAX_PAYLOAD).prop_map(Said::Datagram),
        any::<u64>().prop_map(Said::Ping),
        any::<u64>().prop_map(Said::Pong),
        any::<u32>().prop_map(Said::GoAway),
        name.prop_map(Said::Offer),
        name.prop_map(Said::Withdraw),
        code().prop_map(Said::Refuse),
    ]
}

/// Without a scope and a flow label, which no frame carries.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

impl Said {
    fn stream(&self) -> u32 {
        match self {
            Self::Open(..)
            | Self::OpenOk
            | Self::OpenError(_)
            | Self::Data(_)
            | Self::Fin
            | Self::Reset(_)
            | Self::Window(_)
            | Self::Datagram(_) => 7,
            _ => 0,
        }
    }

    fn frame(&self) -> Frame<'_> {
        match self {
            Self::Hello(version, features, generation, carrier, tunnel, node) => Frame::Hello(Hello {
                least: *version,
                most: version.saturating_add(1),
                features: *features,
                generation: *generation,
                carrier: *carrier,
                window: *features,
                heartbeat: *version,
                tunnel,
                node,
            }),
            Self::Open(is_flow, service, client, local, proof, early) => Frame::Open(Open {
                is_flow: *is_flow,
                service,
                client: *client,
                local: *local,
                proof: *proof,
                early,
            }),
            Self::OpenOk => Frame::OpenOk,
            Self::OpenError(code) => Frame::OpenError(*code),
            Self::Data(bytes) => Frame::Data(bytes),
            Self::Fin => Frame::Fin,
            Self::Reset(code) => Frame::Reset(*code),
            Self::Window(credit) => Frame::Window(*credit),
            Self::Datagram(bytes) => Frame::Datagram(bytes, true),
            Self::Ping(number) => Frame::Ping(*number),
            Self::Pong(number) => Frame::Pong(*number),
            Self::GoAway(time) => Frame::GoAway(*time),
            Self::Offer(name) => Frame::Offer(name),
            Self::Withdraw(name) => Frame::Withdraw(name),
            Self::Refuse(code) => Frame::Refuse(*code),
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        let stream = self.stream();
        let mut scribe = Scribe(to);
        match self.frame() {
            Frame::Hello(hello) => scribe.hello(&hello),
            Frame::Open(open) => assert_eq!(scribe.open(stream, &open), open.early.len()),
            Frame::OpenOk => scribe.open_ok(stream),
            Frame::OpenError(code) => scribe.open_error(stream, code),
            // No bytes need no frame.
            Frame::Data([]) => scribe.0.extend_from_slice(&[kind::DATA, 0, 0, 0, 0, 0, 0, 7]),
            Frame::Data(bytes) => scribe.data(stream, bytes),
            Frame::Fin => scribe.fin(stream),
            Frame::Reset(code) => scribe.reset(stream, code),
            Frame::Window(credit) => scribe.window(stream, credit),
            Frame::Datagram(bytes, _) => scribe.datagram(stream, bytes),
            Frame::Ping(number) => scribe.ping(number),
            Frame::Pong(number) => scribe.pong(number),
            Frame::GoAway(time) => scribe.go_away(time),
            Frame::Offer(name) => scribe.offer(name),
            Frame::Withdraw(name) => scribe.withdraw(name),
            Frame::Refuse(code) => scribe.refuse(code),
            Frame::Unknown(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(all in proptest::collection::vec(said(), 1..8)) {
        let mut bytes = Vec::new();
        for one in &all {
            one.write(&mut bytes);
        }
        let mut rest = bytes.as_slice();
        for one in &all {
            let Ok(Progress::Complete { stream, frame, consumed }) = decode(rest) else { panic!("{one:?}") };
            prop_assert_eq!((stream, frame), (one.stream(), one.frame()));
            rest = &rest[consumed..];
        }
        prop_assert!(rest.is_empty());
    }

    /// A part of a frame is never an answer, and says how much is missing.
    #[test]
    fn a_part_of_a_frame_is_incomplete(one in said()) {
        let mut bytes = Vec::new();
        one.write(&mut bytes);
        for end in 0..bytes.len() {
            let wanted = if end < HEADER { HEADER } else { bytes.len() };
            prop_assert_eq!(decode(&bytes[..end]), Ok(Progress::Incomplete(wanted)));
        }
    }

    /// Whatever arrives, reading ends, within the bytes that there are.
    #[test]
    fn anything_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000), kind in 0..20_u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let mut rest = bytes.as_slice();
        while let Ok(Progress::Complete { consumed, .. }) = decode(rest) {
            prop_assert!((HEADER..=rest.len()).contains(&consumed));
            rest = &rest[consumed..];
        }
    }

    #[test]
    fn a_datagram_of_any_size_comes_whole(bytes in proptest::collection::vec(any::<u8>(), 0..=MAX_DATAGRAM)) {
        let mut written = Vec::new();
        Scribe(&mut written).datagram(3, &bytes);
        let (mut rest, mut whole) = (written.as_slice(), Vec::new());
        loop {
            let Ok(Progress::Complete { stream: 3, frame: Frame::Datagram(piece, last), consumed }) = decode(rest)
            else { panic!("not a datagram") };
            whole.extend_from_slice(piece);
            rest = &rest[consumed..];
            if last {
                break;
            }
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(whole, bytes);
    }
}

#[test]
fn first_bytes_beyond_a_frame_are_left() {
    let early = vec![1; MAX_PAYLOAD + 5];
    let open =
        Open { is_flow: false, service: "s", client: None, local: None, proof: Some([9; 32]), early: &early };
    let mut bytes = Vec::new();
    assert_eq!(Scribe(&mut bytes).open(1, &open), fits_open());
    let Ok(Progress::Complete { frame: Frame::Open(read), .. }) = decode(&bytes) else { panic!() };
    assert_eq!(read.early.len(), fits_open());
}

#[test]
fn what_is_out_of_place_is_refused() {
    let frame = |kind, flags, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[kind, flags, 0, length, 0, 0, 0, stream], payload].concat()
    };
    let refused = |bytes: Vec<u8>| decode(&bytes).map(drop).unwrap_err();
    assert_eq!(refused(frame(kind::DATA, 0, 0, b"x")), FrameError::WrongStream(kind::DATA, 0));
    assert_eq!(refused(frame(kind::PING, 0, 5, &[0; 8])), FrameError::WrongStream(kind::PING, 5));
    assert_eq!(refused(frame(kind::PING, 0, 0, &[0; 9])), FrameError::Malformed(kind::PING));
    assert_eq!(refused(frame(kind::OFFER, 0, 0, b"a\nb")), FrameError::Malformed(kind::OFFER));
    assert_eq!(refused(frame(kind::OPEN, 0, 1, b"\x01s\x05")), FrameError::Malformed(kind::OPEN));
    assert_eq!(refused(frame(99, 0, 1, b"")), FrameError::UnknownKind(99));
    assert_eq!(refused(vec![kind::DATA, 0, 0xff, 0xff, 0, 0, 0, 1]), FrameError::TooLong(0xffff));
    let skipped = frame(99, 0x80, 1, b"new");
    let expected = Progress::Complete { stream: 1, frame: Frame::Unknown(99), consumed: HEADER + 3 };
    assert_eq!(decode(&skipped), Ok(expected));
}

#[test]
fn every_code_keeps_its_number() {
    for (number, code) in Code::ALL.into_iter().enumerate() {
        assert_eq!(code as usize, number);
    }
}
