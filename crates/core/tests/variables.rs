//! Every built-in variable, where it has a value and where it has none.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod specs;
mod variables_fixtures;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use qanat_core::address::Address;
use qanat_core::clock;
use qanat_core::session::Session;
use qanat_core::session::state::{Attempt, PrereadHello, ProxyHeader};
use qanat_core::session::template::Template;
use qanat_core::session::vars::{self, Values};
use qanat_core::tls::TlsInfo;
use qanat_plan::{Escape, Part};
use variables_fixtures::{Gateway, linked, render, session_with};

fn plain() -> Session {
    session_with(Vec::new())
}

fn bytes(session: &mut Session, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    linked(&format!("${name}")).render(session, &mut out);
    out
}

fn assert_values(session: &mut Session, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(vars::get(session, name).as_deref(), Some(*value), "${name}");
        assert_eq!(render(session, &format!("<${name}>")), format!("<{value}>"), "${name}");
    }
}

fn assert_not_found(session: &mut Session, names: &[&str]) {
    for name in names {
        assert_eq!(vars::get(session, name), None, "${name}");
        let mut line = Vec::new();
        linked(&format!("<${name}>")).render_log(session, Escape::Default, &mut line);
        assert_eq!(line, b"<->", "${name}");
    }
}

#[test]
fn the_client_and_where_it_connected_to() {
    let mut session = plain();
    assert_values(
        &mut session,
        &[
            ("remote_addr", "192.0.2.1"),
            ("remote_port", "4000"),
            ("realip_remote_addr", "192.0.2.1"),
            ("realip_remote_port", "4000"),
            ("server_addr", "127.0.0.1"),
            ("server_port", "5000"),
            ("server_name", "www.example.com"),
            ("protocol", "TCP"),
        ],
    );
    assert_eq!(bytes(&mut session, "binary_remote_addr"), [192, 0, 2, 1]);
}

#[test]
fn ipv6_addresses_have_no_brackets() {
    let mut session = Gateway::new("[::1]:53").udp().session("[2001:db8::7]:9");
    assert_values(
        &mut session,
        &[
            ("remote_addr", "2001:db8::7"),
            ("remote_port", "9"),
            ("server_addr", "::1"),
            ("server_port", "53"),
            ("protocol", "UDP"),
        ],
    );
    assert_eq!(bytes(&mut session, "binary_remote_addr").len(), 16);
}

#[test]
fn unix_sockets_have_no_port() {
    let mut session = Gateway::new("unix:/run/q.sock").session("unix:");
    assert_values(
        &mut session,
        &[
            ("remote_addr", "unix:"),
            ("remote_port", ""),
            ("binary_remote_addr", "unix:"),
            ("server_addr", "unix:/run/q.sock"),
            ("server_port", ""),
        ],
    );
}

#[test]
fn on_a_wildcard_listener_the_local_address_counts_once_it_is_known() {
    let mut session = Gateway::new("0.0.0.0:80").session("192.0.2.1:4000");
    assert_values(&mut session, &[("server_addr", "0.0.0.0"), ("server_port", "80")]);
    session.local = Address::parse("198.51.100.3:80");
    assert_values(&mut session, &[("server_addr", "198.51.100.3"), ("server_port", "80")]);
}

#[test]
fn the_gateway_and_the_session_itself() {
    let mut session = plain();
    session.bytes_received = 12;
    session.bytes_sent = 34;
    session.status = 200;
    let pid = std::process::id().to_string();
    assert_values(
        &mut session,
        &[
            ("connection", "7"),
            ("pid", &pid),
            ("hostname", "gateway.example"),
            ("nginx_version", "1.31.0"),
            ("bytes_received", "12"),
            ("bytes_sent", "34"),
            ("status", "200"),
        ],
    );
    session.status = 0;
    session.bytes_sent = 35;
    assert_values(&mut session, &[("status", "000"), ("bytes_sent", "35")]);
}

/// Puts `0` for every digit, so that the shape of a time can be compared.
fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

#[test]
fn times_have_nginx_shapes() {
    let mut session = plain();
    session.started = clock::now().checked_sub(Duration::from_secs(3)).unwrap();
    assert!(render(&mut session, "$session_time").starts_with("3."));
    assert_eq!(shape(&render(&mut session, "$session_time")), "0.000");
    assert_eq!(shape(&render(&mut session, "$msec")), "0000000000.000");
    let iso = shape(&render(&mut session, "$time_iso8601"));
    assert_eq!(iso.replace("+00:00", "").replace("-00:00", ""), "0000-00-00T00:00:00");
    let local = render(&mut session, "$time_local");
    assert_eq!(local.len(), "31/Jan/2026:23:59:59 +0100".len());
}

#[test]
fn a_proxy_header_and_its_extensions() {
    let names = ["addr", "port", "server_addr", "server_port", "tlv_alpn", "tlv_0x20", "tlv_nonsense"];
    let names = names.map(|name| format!("proxy_protocol_{name}"));
    let mut session = plain();
    assert_not_found(&mut session, &names.each_ref().map(String::as_str));

    session.facts_mut().proxy_header = Some(ProxyHeader {
        client: Some("203.0.113.5:1234".parse().unwrap()),
        server: Some("[2001:db8::1]:443".parse().unwrap()),
        tlvs: b"\x01\x00\x02h2\xe0\x00\x03abc".to_vec(),
    });
    assert_values(
        &mut session,
        &[
            ("proxy_protocol_addr", "203.0.113.5"),
            ("proxy_protocol_port", "1234"),
            ("proxy_protocol_server_addr", "2001:db8::1"),
            ("proxy_protocol_server_port", "443"),
            ("proxy_protocol_tlv_alpn", "h2"),
            ("proxy_protocol_tlv_0xe0", "abc"),
            ("proxy_protocol_tlv_0xE0", "abc"),
        ],
    );
    assert_not_found(&mut session, &["proxy_protocol_tlv_authority", "proxy_protocol_tlv_ssl_verify"]);
}

#[test]
fn one_item_for_each_attempt_to_reach_a_peer() {
    let names = ["addr", "bytes_sent", "bytes_received", "connect_time", "first_byte_time", "session_time"];
    let names = names.map(|name| format!("upstream_{name}"));
    let mut session = plain();
    assert_not_found(&mut session, &names.each_ref().map(String::as_str));

    session.attempts.push(Attempt {
        ended: Some(Duration::from_millis(60_001)),
        ..Attempt::begin("192.0.2.8:80".into())
    });
    session.attempts.push(Attempt {
        connected: Some(Duration::from_millis(2)),
        first_byte: Some(Duration::from_millis(45)),
        ended: Some(Duration::from_millis(1500)),
        bytes_sent: 10,
        bytes_received: 20,
        ..Attempt::begin("unix:/run/peer".into())
    });
    assert_values(
        &mut session,
        &[
            ("upstream_addr", "192.0.2.8:80, unix:/run/peer"),
            ("upstream_bytes_sent", "0, 10"),
            ("upstream_bytes_received", "0, 20"),
            ("upstream_connect_time", "-, 0.002"),
            ("upstream_first_byte_time", "-, 0.045"),
            ("upstream_session_time", "60.001, 1.500"),
        ],
    );
}

#[test]
fn tls_with_the_client() {
    let names = [
        "protocol",
        "cipher",
        "ciphers",
        "curve",
        "curves",
        "session_id",
        "session_reused",
        "server_name",
        "alpn_protocol",
    ];
    let names = names.map(|name| format!("ssl_{name}"));
    let mut session = plain();
    assert_not_found(&mut session, &names.each_ref().map(String::as_str));

    let info = session.facts_mut().tls.insert(TlsInfo::default());
    info.protocol = "TLSv1.3";
    info.cipher = "TLS_AES_256_GCM_SHA384";
    info.curve = "X25519";
    info.server_name = Some("example.com".into());
    info.alpn = Some(b"h2".as_slice().into());
    assert_values(
        &mut session,
        &[
            ("ssl_protocol", "TLSv1.3"),
            ("ssl_cipher", "TLS_AES_256_GCM_SHA384"),
            ("ssl_curve", "X25519"),
            ("ssl_server_name", "example.com"),
            ("ssl_alpn_protocol", "h2"),
            ("ssl_session_reused", "."),
        ],
    );
    session.facts_mut().tls.as_mut().unwrap().session_reused = true;
    assert_values(&mut session, &[("ssl_session_reused", "r")]);
    assert_not_found(&mut session, &["ssl_session_id", "ssl_ciphers", "ssl_curves"]);
}

#[test]
fn what_ssl_preread_saw() {
    let names = ["ssl_preread_protocol", "ssl_preread_server_name", "ssl_preread_alpn_protocols"];
    let mut session = plain();
    assert_not_found(&mut session, &names);
    session.facts_mut().hello = Some(PrereadHello {
        protocol: "TLSv1.2",
        server_name: "a.example".into(),
        alpn: "h2,http/1.1".into(),
    });
    let expected = ["TLSv1.2", "a.example", "h2,http/1.1"];
    assert_values(&mut session, &[(names[0], expected[0]), (names[1], expected[1]), (names[2], expected[2])]);
    session.facts_mut().hello = Some(PrereadHello::default());
    assert_values(&mut session, &[(names[0], ""), (names[1], ""), (names[2], "")]);
}

#[test]
fn what_ssl_preread_saw_need_not_be_text() {
    let mut session = plain();
    let (server_name, alpn) = (b"a\xff".to_vec(), b"\xfe,\x80".to_vec());
    session.facts_mut().hello = Some(PrereadHello { protocol: "", server_name, alpn });
    let mut line = Vec::new();
    linked("$ssl_preread_server_name $ssl_preread_alpn_protocols").render_log(
        &mut session,
        Escape::Default,
        &mut line,
    );
    assert_eq!(line, br"a\xFF \xFE,\x80");
}

#[test]
fn the_original_destination_of_a_mesh_session() {
    let mut session = plain();
    assert_not_found(&mut session, &["njtmesh_port", "njtmesh_ip", "njtmesh_dest"]);
    session.facts_mut().original = Some("192.0.2.9:18081".parse().unwrap());
    assert_values(
        &mut session,
        &[("njtmesh_port", "18081"), ("njtmesh_ip", "192.0.2.9"), ("njtmesh_dest", "192.0.2.9:18081")],
    );
    session.facts_mut().original = Some("[2001:db8::9]:82".parse().unwrap());
    assert_values(&mut session, &[("njtmesh_ip", "2001:db8::9"), ("njtmesh_dest", "[2001:db8::9]:82")]);
}

#[test]
fn the_mesh_name_is_what_the_configuration_makes_it() {
    let mut session = plain();
    assert_not_found(&mut session, &["mesh_server_name"]);
    session.values.set(&Arc::from("mesh_server_name"), "orders".to_owned());
    assert_values(&mut session, &[("mesh_server_name", "orders")]);
}

#[test]
fn names_do_not_depend_on_case() {
    let mut session = plain();
    assert_eq!(vars::get(&mut session, "Remote_ADDR").as_deref(), Some("192.0.2.1"));
    assert_eq!(render(&mut session, "$REMOTE_PORT"), "4000");
}

#[test]
fn the_list_of_names_is_that_of_the_compiler() {
    let path = format!("{}/../../python/qanat/compiler/builtin.py", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).unwrap();
    let quoted = |begin: &str| {
        let list = source.split_once(begin).unwrap().1.split_once(')').unwrap().0;
        list.split('"').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let mut expected = &quoted("NAMES = frozenset(") | &quoted("PREFIXES = (");
    let (_, frame) = source.split_once("FRAME = \"").unwrap();
    expected.extend(frame.split('"').next().map(str::to_owned));
    let names: BTreeSet<String> = vars::names().into_iter().map(str::to_owned).collect();
    assert_eq!(names, expected);
    assert_eq!(vars::names().len(), names.len(), "no name stands twice");
}

#[test]
fn a_session_without_values_of_its_own_spends_one_word_on_them() {
    assert_eq!(size_of::<Values>(), size_of::<usize>());
    assert_eq!(Values::default().get("x"), None);
}

#[test]
fn numbered_captures_are_those_of_the_last_match_that_had_any() {
    let capture = |name: &str, value: &str| (Arc::from(name), value.to_owned());
    let mut values = Values::default();
    values.set_captures(vec![capture("1", "a"), capture("word", "a"), capture("2", "b")]);
    values.set_captures(Vec::new());
    assert_eq!(values.get("2"), Some(b"b".as_slice()));
    values.set_captures(vec![capture("1", "c")]);
    assert_eq!(values.get("1"), Some(b"c".as_slice()));
    assert_eq!(values.get("2"), None);
    assert_eq!(values.get("word"), Some(b"a".as_slice()));
}

#[test]
fn text_without_variables_is_known_when_the_plan_is_linked() {
    let text = |text: &str| Part::Text(text.to_owned());
    let constant = |parts| Template::link(&parts).unwrap().constant().map(ToString::to_string);
    assert_eq!(constant(vec![]).as_deref(), Some(""));
    assert_eq!(constant(vec![text("a"), text(""), text("b")]).as_deref(), Some("ab"));
    assert_eq!(constant(vec![text("a"), Part::Variable("pid".to_owned())]), None);
    assert_eq!(Template::default().constant().map(|text| &**text), Some(""));
    assert!(Template::link(&vec![Part::Variable(String::new())]).is_err());
}

fn part() -> impl Strategy<Value = Part> {
    let names =
        prop::sample::select(vec!["remote_addr", "server_port", "absent", "set_by_test", "connection"]);
    prop_oneof![
        "[ -~]{0,12}".prop_map(Part::Text),
        names.prop_map(|name: &str| Part::Variable(name.to_owned())),
    ]
}

proptest! {
    #[test]
    fn a_template_is_its_parts_joined(parts in prop::collection::vec(part(), 0..8)) {
        let mut session = plain();
        session.values.set(&Arc::from("set_by_test"), "héllo");
        let mut expected = String::new();
        for part in &parts {
            match part {
                Part::Text(text) => expected.push_str(text),
                Part::Variable(name) => expected.push_str(&vars::get(&mut session, name).unwrap_or_default()),
            }
        }
        let template = Template::link(&parts).unwrap();
        prop_assert_eq!(template.text(&mut session), expected.clone());
        let mut out = b"before ".to_vec();
        template.render(&mut session, &mut out);
        prop_assert_eq!(out, [b"before ".as_slice(), expected.as_bytes()].concat());
        if let Some(constant) = template.constant() {
            prop_assert_eq!(&**constant, expected.as_str());
        }
    }
}
