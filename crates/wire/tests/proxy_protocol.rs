//! PROXY protocol headers, against the shared vectors, and there and back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod vectors;

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use qanat_wire::proxy_protocol::{Addresses, MAX_HEADER, Progress, TlsFacts, encode_v1, encode_v2, parse};
use serde_json::Value;

#[test]
fn every_vector_is_read_as_stated() {
    for vector in vectors::load("proxy_protocol.json", "decode") {
        let name = vectors::text(&vector, "name");
        let bytes = vectors::bytes(&vector);
        match (vectors::text(&vector, "result"), parse(&bytes)) {
            ("incomplete", Ok(Progress::Incomplete)) => {}
            ("error", Err(error)) => assert_eq!(error.to_string(), vectors::text(&vector, "error"), "{name}"),
            ("complete", Ok(Progress::Complete { header, consumed })) => {
                assert_eq!(consumed as u64, vector["consumed"].as_u64().unwrap(), "{name}");
                assert_eq!(header.addresses, addresses(&vector), "{name}");
                for (variable, value) in vector["tlvs"].as_object().unwrap() {
                    let found = header.tlvs.named(variable).unwrap();
                    assert_eq!(found.as_deref(), value.as_str().map(str::as_bytes), "{name}: {variable}");
                }
            }
            (result, progress) => panic!("{name}: {progress:?} instead of {result}"),
        }
    }
}

#[test]
fn every_vector_is_written_as_stated() {
    for vector in vectors::load("proxy_protocol.json", "encode") {
        let addresses = addresses(&vector);
        let mut written = b"before".to_vec();
        if vector["version"] == 1 {
            encode_v1(&mut written, addresses.as_ref());
        } else {
            encode_v2(&mut written, addresses.as_ref(), tls_facts(&vector).as_ref());
        }
        assert_eq!(written.split_off(6), vectors::bytes(&vector), "{}", vectors::text(&vector, "name"));
    }
}

#[test]
fn an_answer_does_not_depend_on_where_the_bytes_are_cut() {
    for vector in vectors::load("proxy_protocol.json", "decode") {
        assert_stable(&vectors::bytes(&vector));
    }
}

#[test]
fn a_broken_tlv_is_told_only_to_who_looks_for_one_behind_it() {
    let vectors = vectors::load("proxy_protocol.json", "decode");
    let vector = vectors.iter().find(|vector| vector["name"] == "v2 with a TLV that is cut short").unwrap();
    let bytes = vectors::bytes(vector);
    let Ok(Progress::Complete { header, .. }) = parse(&bytes) else { panic!() };
    assert!(header.tlvs.named("alpn").is_ok());
    assert_eq!(header.tlvs.named("authority").unwrap_err().to_string(), "broken PROXY protocol TLV");
    assert_eq!(header.tlvs.named("no_such_name"), Ok(None));
}

#[test]
fn a_name_too_long_for_the_header_is_left_out() {
    let name = "n".repeat(MAX_HEADER);
    let tls = TlsFacts { server_name: Some(&name), version: "TLSv1.3", cipher: "C", alpn: Some(b"h2") };
    let mut bytes = Vec::new();
    encode_v2(&mut bytes, None, Some(&tls));
    assert!(bytes.len() < 100);
    assert!(matches!(parse(&bytes), Ok(Progress::Complete { .. })));
}

/// Once a beginning of `bytes` has an answer, no byte that follows changes it, but for the text of an error.
fn assert_stable(bytes: &[u8]) {
    let whole = parse(bytes);
    for end in 0..bytes.len() {
        match (parse(&bytes[..end]), &whole) {
            (Ok(Progress::Incomplete), _) => {}
            (Err(early), Err(late)) => {
                assert_eq!(std::mem::discriminant(&early), std::mem::discriminant(late));
            }
            (early, late) => assert_eq!(&early, late, "after {end} bytes"),
        }
    }
}

fn addresses(vector: &Value) -> Option<Addresses> {
    let source = vectors::text(vector, "source").parse().ok()?;
    Some(Addresses { source, destination: vectors::text(vector, "destination").parse().unwrap() })
}

fn tls_facts(vector: &Value) -> Option<TlsFacts<'_>> {
    let tls = vector.get("tls")?;
    let some = |field| Some(vectors::text(tls, field)).filter(|text| !text.is_empty());
    Some(TlsFacts {
        alpn: some("alpn").map(str::as_bytes),
        server_name: some("server_name"),
        version: vectors::text(tls, "version"),
        cipher: vectors::text(tls, "cipher"),
    })
}

fn pairs() -> impl Strategy<Value = Addresses> {
    let of = |source: IpAddr, destination: IpAddr, ports: (u16, u16)| Addresses {
        source: SocketAddr::new(source, ports.0),
        destination: SocketAddr::new(destination, ports.1),
    };
    prop_oneof![
        any::<([u8; 4], [u8; 4], (u16, u16))>().prop_map(move |(a, b, ports)| of(a.into(), b.into(), ports)),
        any::<([u8; 16], [u8; 16], (u16, u16))>().prop_map(move |(a, b, ports)| of(
            a.into(),
            b.into(),
            ports
        )),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(pair in pairs(), alpn: Option<[u8; 3]>, name in "[a-z.]{0,80}", tls: bool, v1: bool) {
        let facts = TlsFacts {
            alpn: alpn.as_ref().map(<[u8; 3]>::as_slice),
            server_name: Some(&name),
            version: "TLSv1.2",
            cipher: "ECDHE-RSA-AES128-GCM-SHA256",
        };
        let mut bytes = Vec::new();
        if v1 {
            encode_v1(&mut bytes, Some(&pair));
        } else {
            encode_v2(&mut bytes, Some(&pair), tls.then_some(&facts));
        }
        let length = bytes.len();
        bytes.extend_from_slice(b"client data");
        let Ok(Progress::Complete { header, consumed }) = parse(&bytes) else { panic!("{pair:?}") };
        prop_assert_eq!(consumed, length);
        prop_assert_eq!(header.addresses, Some(pair));
        if tls && !v1 {
            let alpn = header.tlvs.named("alpn").unwrap();
            prop_assert_eq!(alpn.as_deref(), facts.alpn);
            let authority = header.tlvs.named("authority").unwrap();
            prop_assert_eq!(authority.as_deref(), Some(name.as_bytes()));
            let ssl_version = header.tlvs.named("ssl_version").unwrap();
            prop_assert_eq!(ssl_version.as_deref(), Some(&b"TLSv1.2"[..]));
        }
        assert_stable(&bytes);
    }

    #[test]
    fn no_bytes_cause_a_panic(
        start in prop::sample::select(vec![&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x30"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [start, &rest].concat();
        assert_stable(&bytes);
        if let Ok(Progress::Complete { header, .. }) = parse(&bytes) {
            prop_assert!(header.tlvs.count() <= bytes.len());
        }
    }
}
