//! No bytes make the parser panic, and an answer given early is the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qanat_wire::client_hello::{Progress, parse};

fuzz_target!(|bytes: &[u8]| {
    let (start, _) = bytes.split_at(bytes.len() / 2);
    let (mut joined, mut joined_whole) = (Vec::new(), Vec::new());
    let early = parse(start, &mut joined);
    let whole = parse(bytes, &mut joined_whole);
    assert!(early == Progress::Incomplete || early == whole);
});
