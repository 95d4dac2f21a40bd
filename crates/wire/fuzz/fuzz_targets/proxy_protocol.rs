//! No bytes make the parser panic, and what it consumes is there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qanat_wire::proxy_protocol::{MAX_HEADER, Progress, parse};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Progress::Complete { header, consumed }) = parse(bytes) {
        assert!(consumed <= bytes.len().min(MAX_HEADER));
        assert!(header.tlvs.count() <= consumed);
    }
});
