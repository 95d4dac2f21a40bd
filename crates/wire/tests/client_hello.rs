//! What is read of a `ClientHello`, against the shared vectors, and for any way in which the bytes may arrive.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod vectors;

use proptest::prelude::*;
use qanat_wire::client_hello::{Progress, is_grease, parse};

#[test]
fn every_vector_gives_the_stated_result() {
    for vector in vectors::load("client_hello.json", "vectors") {
        let name = vectors::text(&vector, "name");
        let bytes = vectors::bytes(&vector);
        let mut joined = Vec::new();
        let progress = parse(&bytes, &mut joined);
        let result = match &progress {
            Progress::Incomplete => "incomplete",
            Progress::NotTls => "not_tls",
            Progress::Malformed(_) => "malformed",
            Progress::Complete(_) => "complete",
        };
        assert_eq!(result, vectors::text(&vector, "result"), "{name}: {progress:?}");
        let Progress::Complete(hello) = progress else { continue };
        assert_eq!(
            hello.protocol.map_or("", |version| version.as_str()),
            vectors::text(&vector, "protocol"),
            "{name}"
        );
        let server_name = hello.server_name.unwrap_or_default();
        assert_eq!(server_name, vectors::text(&vector, "server_name").as_bytes(), "{name}");
        let alpn: Vec<&str> =
            vector["alpn"].as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
        assert_eq!(hello.alpn_joined(), alpn.join(",").as_bytes(), "{name}");
    }
}

#[test]
fn an_answer_does_not_depend_on_where_the_bytes_are_cut() {
    for vector in vectors::load("client_hello.json", "vectors") {
        assert_stable(&vectors::bytes(&vector));
    }
}

/// Once a beginning of `bytes` has an answer, no byte that follows changes it.
fn assert_stable(bytes: &[u8]) {
    let mut joined = Vec::new();
    let whole = parse(bytes, &mut joined);
    for end in 0..bytes.len() {
        let mut joined = Vec::new();
        match parse(&bytes[..end], &mut joined) {
            Progress::Incomplete => {}
            early => assert_eq!(early, whole, "after {end} bytes"),
        }
    }
}

/// A handshake message cut into records at `cuts`.
fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % message.len()).collect();
    ends.push(message.len());
    ends.sort_unstable();
    let mut bytes = Vec::new();
    let mut start = 0;
    for end in ends {
        if end > start {
            bytes.extend_from_slice(&[22, 3, 1]);
            bytes.extend_from_slice(&u16::try_from(end - start).unwrap().to_be_bytes());
            bytes.extend_from_slice(&message[start..end]);
            start = end;
        }
    }
    bytes
}

fn message() -> Vec<u8> {
    let vector = vectors::load("client_hello.json", "vectors").remove(0);
    vectors::bytes(&vector).split_off(5)
}

proptest! {
    #[test]
    fn records_may_cut_the_hello_anywhere(cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let message = message();
        let bytes = records(&message, &cuts);
        let mut joined = Vec::new();
        let Progress::Complete(hello) = parse(&bytes, &mut joined) else { panic!("{cuts:?}") };
        prop_assert_eq!(hello.server_name, Some(&b"www.example.com"[..]));
        assert_stable(&bytes);
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        assert_stable(&bytes);
    }

    #[test]
    fn damage_to_a_hello_causes_no_panic(
        cuts in prop::collection::vec(any::<usize>(), 0..4),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = records(&message(), &cuts);
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        assert_stable(&bytes);
    }
}

/// A hello with these cipher suites and extensions.
fn hello(suites: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let vector16 = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &vector16(content)].concat())
        .collect();
    let body = [&[3, 3], &[7; 32][..], &[0], &vector16(&suites), &[1, 0], &vector16(&extensions)].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [&[22, 3, 1], &vector16(&message)[..]].concat()
}

#[test]
fn all_that_is_offered_can_be_listed() {
    let versions = [6, 0x8a, 0x8a, 3, 4, 3, 3];
    let bytes = hello(&[0x1a1a, 0x1301, 0xc02f], &[(0x2a2a, b""), (43, &versions), (0xfe0d, b"ech")]);
    let mut joined = Vec::new();
    let Progress::Complete(hello) = parse(&bytes, &mut joined) else { panic!("{bytes:?}") };
    assert_eq!(hello.cipher_suites().collect::<Vec<_>>(), [0x1a1a, 0x1301, 0xc02f]);
    let extensions: Vec<_> = hello.extensions().collect();
    assert_eq!(extensions, [(0x2a2a, &b""[..]), (43, &versions), (0xfe0d, b"ech")]);
    assert_eq!(hello.versions(), [0x8a8a, 0x0304, 0x0303]);
    assert!([0x1a1a, 0x2a2a, 0x8a8a].into_iter().all(is_grease));
    assert!(![0x1301, 0x0a1a, 0x1b1b, 43].into_iter().any(is_grease));
}

#[test]
fn without_a_list_of_versions_there_is_one() {
    let bytes = hello(&[0x1301], &[]);
    let mut joined = Vec::new();
    let Progress::Complete(hello) = parse(&bytes, &mut joined) else { panic!("{bytes:?}") };
    assert_eq!(hello.versions(), [0x0303]);
    assert_eq!(hello.extensions().count(), 0);
}

#[test]
fn tickets_are_found_wherever_a_version_has_them() {
    let offered = [0, 17, 0, 3, b'o', b'n', b'e', 0, 0, 0, 1, 0, 2, b't', b'w', 0, 0, 0, 2];
    let bytes = hello(&[0x1301], &[(35, b"old"), (35 + 1, b"no"), (41, &offered)]);
    let mut joined = Vec::new();
    let Progress::Complete(hello) = parse(&bytes, &mut joined) else { panic!("{bytes:?}") };
    assert_eq!(hello.tickets(), [&b"old"[..], b"one", b"tw"]);
    assert_eq!(hello.session_id, b"");
}
