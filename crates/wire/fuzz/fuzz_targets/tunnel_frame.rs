//! No bytes make the reader panic, what it consumes is there, and a beginning of it is no other answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qanat_wire::tunnel_frame::{HEADER, Progress, decode};

fuzz_target!(|bytes: &[u8]| {
    let (start, _) = bytes.split_at(bytes.len() / 2);
    let whole = decode(bytes);
    if let Ok(Progress::Complete { consumed, .. }) = whole {
        assert!((HEADER..=bytes.len()).contains(&consumed));
    }
    let early = decode(start);
    assert!(matches!(early, Ok(Progress::Incomplete(_))) || early == whole);
});
