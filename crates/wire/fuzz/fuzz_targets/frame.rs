//! No bytes make the parser panic, and what it finds is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qanat_wire::frame::{Body, End, Field, Format, Kind, Progress};

fuzz_target!(|input: (u8, i8, &[u8])| {
    let (choice, adjust, bytes) = input;
    let end = match choice % 3 {
        0 => End::Field { index: 0, adjust: adjust.into() },
        1 => End::Varint { adjust: adjust.into() },
        _ => End::Delimiter(b"\r\n"[..].into()),
    };
    let body = [Body::Raw, Body::Json, Body::MessagePack][usize::from(choice / 3) % 3];
    let field = Field { name: "length".to_owned(), offset: 2, width: 2, kind: Kind::Signed, is_little: false };
    let format = Format { fields: vec![field], header: 4, end, body, max: 4096 };
    if let Ok(Progress::Complete(extent)) = format.parse(bytes) {
        assert!(extent.size <= bytes.len().min(format.max));
        for name in ["length", "bytes", "body", "json_a_b", "json_0", "msgpack_a_b", "msgpack_0"] {
            let _value = format.value(bytes, &extent, name);
        }
    }
});
