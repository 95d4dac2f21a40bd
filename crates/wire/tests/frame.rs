//! Frames: whatever the format, cut anywhere, and with anything in them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use qanat_wire::frame::{Body, End, Extent, Field, Format, Kind, Progress, Value};

const MAX: usize = 300;

fn field(name: &str, offset: usize, width: usize, kind: Kind) -> Field {
    Field { name: name.to_owned(), offset, width, kind, is_little: false }
}

/// `>ccHH`: type, version, seconds to wait, length of the body.
fn device(body: Body) -> Format {
    let fields = vec![
        field("type", 0, 1, Kind::Bytes),
        field("version", 1, 1, Kind::Bytes),
        field("wait", 2, 2, Kind::Unsigned),
        field("length", 4, 2, Kind::Unsigned),
    ];
    Format { fields, header: 6, end: End::Field { index: 3, adjust: 0 }, body, max: MAX }
}

fn bodied(end: End, body: Body) -> Format {
    Format { fields: Vec::new(), header: 0, end, body, max: MAX }
}

fn lines() -> Format {
    bodied(End::Delimiter(b"\r\n"[..].into()), Body::Raw)
}

fn login(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"\x01\x02\x00\x1e", &length[..], body].concat()
}

fn whole(format: &Format, bytes: &[u8]) -> Extent {
    match format.parse(bytes) {
        Ok(Progress::Complete(extent)) => extent,
        other => panic!("{other:?}"),
    }
}

/// What a variable shows of a body that is a whole frame.
fn shown(kind: Body, body: &[u8], name: &str) -> Option<String> {
    let frame = login(body);
    let format = device(kind);
    let extent = whole(&format, &frame);
    let value = format.value(&frame, &extent, name)?;
    Some(String::from_utf8(value.into_owned()).unwrap())
}

fn json(body: &str, path: &str) -> Option<String> {
    shown(Body::Json, body.as_bytes(), &format!("json_{path}"))
}

fn message(format: &Format, bytes: &[u8]) -> String {
    format.parse(bytes).unwrap_err().to_string()
}

#[test]
fn a_frame_shows_its_fields_its_size_and_its_body() {
    let frame = [&login(b"hello")[..], b"next"].concat();
    let format = device(Body::Raw);
    let extent = whole(&format, &frame);
    let show = |name| format.value(&frame, &extent, name).map(std::borrow::Cow::into_owned);
    assert_eq!(show("type"), Some(b"\x01".to_vec()));
    assert_eq!(show("wait"), Some(b"30".to_vec()));
    assert_eq!(show("length"), Some(b"5".to_vec()));
    assert_eq!(show("bytes"), Some(b"11".to_vec()));
    assert_eq!(show("body"), Some(b"hello".to_vec()));
    assert_eq!(show("json_devid"), None);
    let values: Vec<_> = format.values(&frame).collect();
    assert_eq!(values[2], ("wait", Value::Unsigned(30)));
}

#[test]
fn fields_are_read_in_both_byte_orders_and_with_their_sign() {
    let bytes = [0xff, 0xfe, 0x80, 0x01, 0, b'a', b'b', 0, 0];
    let big = field("n", 0, 2, Kind::Signed);
    let little = Field { is_little: true, ..big.clone() };
    assert_eq!(big.read(&bytes), Some(Value::Signed(-2)));
    assert_eq!(little.read(&bytes), Some(Value::Signed(-257)));
    assert_eq!(field("n", 0, 8, Kind::Unsigned).read(&bytes), Some(Value::Unsigned(0xfffe_8001_0061_6200)));
    assert_eq!(field("n", 4, 1, Kind::Bool).read(&bytes), Some(Value::Bool(false)));
    assert_eq!(field("n", 5, 4, Kind::Text).read(&bytes), Some(Value::Bytes(b"ab\0\0")));
    assert_eq!(field("n", 8, 2, Kind::Unsigned).read(&bytes), None);
    let format = Format {
        fields: vec![field("tenant", 5, 4, Kind::Text), field("up", 4, 1, Kind::Bool)],
        header: 9,
        end: End::Header,
        body: Body::Raw,
        max: MAX,
    };
    let extent = whole(&format, &bytes);
    assert_eq!(format.value(&bytes, &extent, "tenant").unwrap(), &b"ab"[..]);
    assert_eq!(format.value(&bytes, &extent, "up").unwrap(), &b"0"[..]);
}

#[test]
fn a_path_names_a_key_or_else_what_is_nested() {
    let body =
        r#"{"device_id": "flat", "device": {"id": "nested", "site": {"name": "x"}}, "list": [{"id": 7}]}"#;
    assert_eq!(json(body, "device_id").as_deref(), Some("flat"));
    assert_eq!(json(body, "device_site_name").as_deref(), Some("x"));
    assert_eq!(json(body, "list_0_id").as_deref(), Some("7"));
    assert_eq!(json(body, "list_1_id"), None);
    assert_eq!(json(body, "device_site").as_deref(), Some(r#"{"name": "x"}"#));
    assert_eq!(json(r#"{"device": {"id": "nested"}}"#, "device_id").as_deref(), Some("nested"));
}

#[test]
fn a_key_may_have_what_names_of_variables_cannot() {
    assert_eq!(json(r#"{"devId": 1, "devid": 2, "DEVID": 3}"#, "devid").as_deref(), Some("2"));
    assert_eq!(json(r#"{"devId": 1, "DEVID": 3}"#, "devid").as_deref(), Some("3"));
    assert_eq!(json(r#"{"dev-id": 1}"#, "dev_id").as_deref(), Some("1"));
    assert_eq!(json(r#"{"dev\u0069d": "\u00e9"}"#, "devid").as_deref(), Some("é"));
    assert_eq!(json(r#"{"devid": 1, "devid": 2}"#, "devid").as_deref(), Some("2"));
}

#[test]
fn json_values_are_shown_as_written() {
    let body =
        r#" {"n": 12345678901234567890123, "f": 1.0, "t": true, "no": null, "s": "a\"]}", "a": [1, "]"] } "#;
    assert_eq!(json(body, "n").as_deref(), Some("12345678901234567890123"));
    assert_eq!(json(body, "f").as_deref(), Some("1.0"));
    assert_eq!(json(body, "t").as_deref(), Some("true"));
    assert_eq!(json(body, "no"), None);
    assert_eq!(json(body, "s").as_deref(), Some("a\"]}"));
    assert_eq!(json(body, "a").as_deref(), Some(r#"[1, "]"]"#));
    assert_eq!(json("17", "a"), None);
}

#[test]
fn message_pack_is_looked_into_by_the_same_paths() {
    // {"devid": "d-7", "n": -5, 3: true, "in": [1, {"x": 2.5}], "no": nil}
    let body =
        b"\x85\xa5devid\xa3d-7\xa1n\xfb\x03\xc3\xa2in\x92\x01\x81\xa1x\xcb\x40\x04\0\0\0\0\0\0\xa2no\xc0";
    let find = |path: &str| shown(Body::MessagePack, body, &format!("msgpack_{path}"));
    assert_eq!(find("devid").as_deref(), Some("d-7"));
    assert_eq!(find("n").as_deref(), Some("-5"));
    assert_eq!(find("3").as_deref(), Some("true"));
    assert_eq!(find("in_0").as_deref(), Some("1"));
    assert_eq!(find("in_1_x").as_deref(), Some("2.5"));
    assert_eq!(find("no"), None);
    assert_eq!(find("in"), None);
}

#[test]
fn an_error_names_the_field_the_figures_and_the_place() {
    let format = device(Body::Json);
    let long = [&b"\x01\x02\0\0\xff\xff"[..], b"{"].concat();
    let text = "field \"length\" says 65535 bytes, which makes a frame of 65541, more than max 300";
    assert_eq!(message(&format, &long), text);
    let counts_all = Format { end: End::Field { index: 3, adjust: -6 }, ..device(Body::Raw) };
    let text = "field \"length\" says 2 bytes, which is before the body begins";
    assert_eq!(message(&counts_all, b"\0\0\0\0\0\x02"), text);
    let text = "body is not JSON: expected value at byte 10";
    assert_eq!(message(&format, &login(b"{\"devid\": oops}")), text);
    assert_eq!(message(&format, &login(b"{}\n x")), "body is not JSON: trailing characters at byte 4");
    assert_eq!(message(&format, &login(b"\"\xff\"")), "body is not JSON: not UTF-8 at byte 1");
    let packed = device(Body::MessagePack);
    assert_eq!(message(&packed, &login(b"\x81\xa1a")), "body is not MessagePack: ends too early at byte 3");
    assert_eq!(message(&packed, &login(b"\x01\x01")), "body is not MessagePack: trailing bytes at byte 1");
    let deep = "body is not MessagePack: nested too deeply at byte 129";
    assert_eq!(message(&packed, &login(&[0x91; 200])), deep);
    assert_eq!(message(&lines(), &[b'a'; MAX]), "no delimiter in max 300 bytes");
    let endless = bodied(End::Varint { adjust: 0 }, Body::Raw);
    assert_eq!(message(&endless, &[0x80; 10]), "length is no varint: it does not end within 10 bytes");
}

#[test]
fn a_frame_tells_what_it_lacks() {
    let format = device(Body::Raw);
    let Ok(Progress::Incomplete(missing)) = format.parse(&login(b"hello")[..4]) else { panic!() };
    assert_eq!((missing.needs, missing.part), (6, "header"));
    let Ok(Progress::Incomplete(missing)) = format.parse(&login(b"hello")[..8]) else { panic!() };
    assert_eq!((missing.needs, missing.part), (11, "body"));
    let Ok(Progress::Incomplete(missing)) = lines().parse(b"GET") else { panic!() };
    assert_eq!((missing.needs, missing.part), (4, "delimiter"));
}

/// Formats of every kind.
fn formats() -> impl Strategy<Value = Format> {
    let ends = prop_oneof![
        Just(End::Header),
        (-20_i64..20).prop_map(|adjust| End::Field { index: 3, adjust }),
        (-20_i64..20).prop_map(|adjust| End::Varint { adjust }),
        prop::collection::vec(0_u8..3, 1..3).prop_map(|bytes| End::Delimiter(bytes.into())),
    ];
    let bodies = prop::sample::select(vec![Body::Raw, Body::Json, Body::MessagePack]);
    (ends, bodies, any::<bool>()).prop_map(|(end, body, is_little)| {
        let mut format = Format { end, ..device(body) };
        format.fields.iter_mut().for_each(|field| field.is_little = is_little);
        format
    })
}

/// Once a beginning of `bytes` has an answer, no byte that follows changes it; and nothing behind `max` is looked at.
fn assert_stable(format: &Format, bytes: &[u8]) {
    let answer = format.parse(bytes);
    for end in 0..bytes.len() {
        match format.parse(&bytes[..end]) {
            Ok(Progress::Incomplete(missing)) => assert!(missing.needs > end),
            early => assert_eq!(early, answer, "after {end} bytes"),
        }
    }
    if bytes.len() >= format.max {
        assert!(!matches!(answer, Ok(Progress::Incomplete(_))), "more than max is wanted");
    }
    if let Ok(Progress::Complete(extent)) = &answer {
        assert!(extent.size <= format.max.min(bytes.len()));
        assert!(extent.body.start <= extent.body.end && extent.body.end <= extent.size);
        assert_eq!(format.parse(&bytes[..extent.size]), answer);
        for name in ["type", "bytes", "body", "json_a", "json_a_b_0", "msgpack_a", "msgpack_0_a"] {
            let _value = format.value(bytes, extent, name);
        }
    }
}

fn encode_varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A frame of `format`, whose header has room for a length.
fn encode(format: &Format, body: &[u8]) -> Vec<u8> {
    let mut frame = b"\x01\x02\0\x1e\0\0".to_vec();
    match &format.end {
        End::Header => {}
        End::Field { adjust, .. } => {
            let length = u16::try_from(i64::try_from(body.len()).unwrap() - adjust).unwrap();
            let bytes = if format.fields[3].is_little { length.to_le_bytes() } else { length.to_be_bytes() };
            frame[4..].copy_from_slice(&bytes);
            frame.extend_from_slice(body);
        }
        End::Varint { adjust } => {
            let length = i64::try_from(body.len()).unwrap() - adjust;
            frame.extend(encode_varint(usize::try_from(length).unwrap()));
            frame.extend_from_slice(body);
        }
        End::Delimiter(delimiter) => {
            frame.extend_from_slice(body);
            frame.extend_from_slice(delimiter);
        }
    }
    frame
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        format in formats(),
        body in prop::collection::vec(32_u8..128, 20..200),
        next in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let format = Format { body: Body::Raw, ..format };
        let frame = encode(&format, &body);
        let bytes = [&frame[..], &next].concat();
        let extent = whole(&format, &bytes);
        prop_assert_eq!(extent.size, frame.len());
        let is_there = format.end != End::Header;
        prop_assert_eq!(&bytes[extent.body], if is_there { &body[..] } else { b"" });
        assert_stable(&format, &bytes);
    }

    #[test]
    fn no_bytes_cause_a_panic(format in formats(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        assert_stable(&format, &bytes);
        assert_stable(&Format { header: 0, fields: Vec::new(), end: End::Delimiter([0][..].into()), ..format }, &bytes);
    }

    #[test]
    fn no_body_causes_a_panic(
        json in any::<bool>(),
        bytes in prop::collection::vec(
            prop::sample::select(b"{}[]\",:\\a_0 \x81\x91\xa1\xc7\xde\xdd\x01".to_vec()), 0..60),
    ) {
        let format = device(if json { Body::Json } else { Body::MessagePack });
        assert_stable(&format, &login(&bytes));
    }

    #[test]
    fn json_is_found_where_a_decoder_finds_it(value in values(), key in "[a-c]{1,2}", index in 0_usize..3) {
        let body = serde_json::to_string(&value).unwrap();
        let expected = |found: &serde_json::Value| match found {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        if let Some(found) = value.get(&key) {
            prop_assert_eq!(shown_raw(&body, &key), expected(found));
            if let Some(inner) = found.get(index) {
                prop_assert_eq!(shown_raw(&body, &format!("{key}_{index}")), expected(inner));
            }
        } else if value.is_object() {
            prop_assert_eq!(shown_raw(&body, &key), None);
        }
    }
}

fn shown_raw(body: &str, path: &str) -> Option<String> {
    let format = Format { max: 100_000, ..bodied(End::Varint { adjust: 0 }, Body::Json) };
    let frame = [&encode_varint(body.len())[..], body.as_bytes()].concat();
    let extent = whole(&format, &frame);
    let value = format.value(&frame, &extent, &format!("json_{path}"))?;
    Some(String::from_utf8(value.into_owned()).unwrap())
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[\"\\\\{}\\[\\],:a-zé\n]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
