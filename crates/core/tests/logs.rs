//! Lines of access and error logs, to the byte.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod specs;
mod variables_fixtures;

use std::sync::Arc;

use proptest::prelude::*;
use qanat_core::error::{SessionError, Source, Status};
use qanat_core::log::error::{session_end, session_error, session_event, session_line};
use qanat_core::log::escape::escape;
use qanat_core::log::{access, error::ErrorLogs};
use qanat_core::session::Session;
use qanat_core::session::state::Attempt;
use qanat_plan::{Escape, Level, Target, TargetKind};
use variables_fixtures::{Directory, Gateway, access_log, error_log, format, listener};

/// Checks the beginning of an error log line, `YYYY/MM/DD hh:mm:ss [level] PID#TID: `, and returns what follows.
fn after_prefix<'a>(line: &'a str, level: &str) -> &'a str {
    let (time, rest) = line.split_at("2026/01/31 23:59:59".len());
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000/00/00 00:00:00");
    let rest = rest.strip_prefix(&format!(" [{level}] {}#", std::process::id())).unwrap();
    let (thread, rest) = rest.split_once(": ").unwrap();
    assert!(thread.bytes().all(|byte| byte.is_ascii_digit()), "{thread}");
    rest
}

/// The only line of an error log after `act` with a session that logs there.
fn logged(gateway: &mut Gateway, client: &str, level: &str, act: impl Fn(&mut Session)) -> String {
    let directory = Directory::new();
    gateway.server().error_log = Some(vec![error_log(&directory.file("error.log"), Level::Debug)]);
    let mut session = gateway.session(client);
    act(&mut session);
    gateway.logs.flush();
    let text = directory.read("error.log");
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    after_prefix(line, level).to_owned()
}

#[test]
fn an_error_names_the_client_and_the_listening_address() {
    let mut gateway = Gateway::new("127.0.0.1:5000");
    let line = logged(&mut gateway, "192.0.2.1:4000", "error", |session| {
        session.action = "prereading client data";
        session_line(session, Level::Error, "preread buffer full");
    });
    let expected =
        "*7 preread buffer full while prereading client data, client: 192.0.2.1, server: 127.0.0.1:5000";
    assert_eq!(line, expected);
}

#[test]
fn once_a_peer_was_tried_the_line_names_it_and_counts_bytes() {
    let mut gateway = Gateway::new("127.0.0.1:5000");
    let line = logged(&mut gateway, "192.0.2.1:4000", "error", |session| {
        session.action = "connecting to upstream";
        session.bytes_received = 5;
        session.bytes_sent = 6;
        session.attempts.push(Attempt::begin("198.51.100.1:80".into()));
        session.attempts.push(Attempt {
            bytes_received: 7,
            bytes_sent: 8,
            ..Attempt::begin("198.51.100.2:80".into())
        });
        let cause = std::io::Error::from_raw_os_error(111);
        let error = SessionError::new(Status::BadGateway, Source::Peer, Level::Error, "connect() failed")
            .because(cause);
        session_error(session, &error);
    });
    let expected = "*7 connect() failed (111: Connection refused) while connecting to upstream, \
        client: 192.0.2.1, server: 127.0.0.1:5000, upstream: \"198.51.100.2:80\", \
        bytes from/to client:5/6, bytes from/to upstream:7/8";
    assert_eq!(line, expected);
}

#[test]
fn udp_and_unix_clients_are_told_apart() {
    let act = |session: &mut Session| session_line(session, Level::Warn, "x");
    let line = logged(&mut Gateway::new("[::1]:53").udp(), "[2001:db8::1]:9", "warn", act);
    assert_eq!(line, "*7 x while initializing session, udp client: 2001:db8::1, server: [::1]:53");
    let line = logged(&mut Gateway::new("unix:/run/q.sock"), "unix:", "warn", act);
    assert_eq!(line, "*7 x while initializing session, client: unix:, server: unix:/run/q.sock");
}

#[test]
fn an_address_within_a_wildcard_is_logged_as_the_socket_that_took_it() {
    let mut gateway = Gateway::new("127.0.0.1:5000");
    gateway.change.put.listeners.insert(0, listener(qanat_plan::Protocol::Tcp, "0.0.0.0:5000"));
    gateway.change.put.listeners[1].parent = Some("tcp:0.0.0.0:5000".to_owned());
    let directory = Directory::new();
    gateway.server().error_log = Some(vec![error_log(&directory.file("error.log"), Level::Debug)]);
    let plan = Arc::new(gateway.link().unwrap());
    let child = Arc::clone(&plan.listeners["tcp:127.0.0.1:5000"]);
    let client = qanat_core::address::Address::parse("192.0.2.1:1").unwrap();
    session_line(&Session::begin(1, plan, child, client), Level::Error, "x");
    gateway.logs.flush();
    assert!(directory.read("error.log").ends_with(", server: 0.0.0.0:5000\n"));
}

#[test]
fn begin_and_end_of_a_session_are_told_without_the_rest() {
    let mut gateway = Gateway::new("127.0.0.1:5000");
    let begin = logged(&mut gateway, "192.0.2.1:4000", "info", |session| {
        session_event(session, Level::Info, "client 192.0.2.1:4000 connected to 127.0.0.1:5000");
    });
    assert_eq!(begin, "*7 client 192.0.2.1:4000 connected to 127.0.0.1:5000");
    let end = logged(&mut gateway, "192.0.2.1:4000", "info", |session| {
        session.bytes_received = 1;
        session.bytes_sent = 2;
        session.attempts.push(Attempt { bytes_received: 3, bytes_sent: 4, ..Attempt::begin("p".into()) });
        session_end(session, Level::Info, "client disconnected");
    });
    assert_eq!(end, "*7 client disconnected, bytes from/to client:1/2, bytes from/to upstream:3/4");
}

#[test]
fn a_client_cannot_forge_a_line() {
    let mut gateway = Gateway::new("127.0.0.1:5000");
    let line = logged(&mut gateway, "192.0.2.1:4000", "error", |session| {
        session_line(session, Level::Error, "name \"a\n2026/01/01 00:00:00 [alert] \x1b[31m\"");
    });
    assert!(line.starts_with("*7 name \"a\\x0A2026/01/01 00:00:00 [alert] \\x1B[31m\" while"), "{line}");
}

#[test]
fn an_error_without_a_level_writes_nothing() {
    let directory = Directory::new();
    let mut gateway = Gateway::new("127.0.0.1:5000");
    gateway.server().error_log = Some(vec![error_log(&directory.file("error.log"), Level::Debug)]);
    let session = gateway.session("192.0.2.1:1");
    session_error(&session, &SessionError::silent(Status::Ok, Source::Client));
    gateway.logs.flush();
    assert_eq!(directory.read("error.log"), "");
}

#[test]
fn a_line_goes_to_every_log_that_admits_its_level() {
    let directory = Directory::new();
    let gateway = Gateway::new("127.0.0.1:5000");
    let specs = [
        error_log(&directory.file("info.log"), Level::Info),
        error_log(&directory.file("crit.log"), Level::Crit),
    ];
    let logs = ErrorLogs::link(&specs, &gateway.logs).unwrap();
    assert!(logs.admits(Level::Info) && logs.admits(Level::Emerg) && !logs.admits(Level::Debug));
    assert!(!ErrorLogs::default().admits(Level::Emerg));
    logs.write(Level::Debug, "too small");
    logs.write(Level::Notice, "start");
    logs.write(Level::Alert, "broken");
    gateway.logs.flush();
    let info = directory.read("info.log");
    let lines: Vec<&str> = info.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(after_prefix(lines[0], "notice"), "start");
    assert_eq!(after_prefix(lines[1], "alert"), "broken");
    assert_eq!(after_prefix(directory.read("crit.log").trim_end(), "alert"), "broken");
}

#[test]
fn a_server_logs_errors_to_its_own_log_or_else_to_the_main_one() {
    let directory = Directory::new();
    let mut gateway = Gateway::new("127.0.0.1:5000");
    gateway.change.settings.as_mut().unwrap().error_log =
        vec![error_log(&directory.file("main.log"), Level::Error)];
    session_line(&gateway.session("192.0.2.1:1"), Level::Error, "to the main log");
    gateway.server().error_log = Some(vec![error_log(&directory.file("own.log"), Level::Error)]);
    session_line(&gateway.session("192.0.2.1:1"), Level::Error, "to its own");
    gateway.server().error_log = Some(Vec::new());
    session_line(&gateway.session("192.0.2.1:1"), Level::Emerg, "nowhere");
    gateway.logs.flush();
    assert!(directory.read("main.log").contains("*7 to the main log while"));
    assert!(directory.read("own.log").contains("*7 to its own while"));
    assert_eq!(directory.read("main.log").lines().count(), 1);
}

#[test]
fn a_log_that_cannot_be_opened_is_refused_in_nginx_words() {
    let gateway = Gateway::new("127.0.0.1:5000");
    let spec = error_log(std::path::Path::new("/nonexistent/error.log"), Level::Error);
    let error = ErrorLogs::link(&[spec], &gateway.logs).err().unwrap();
    assert_eq!(error, "open() \"/nonexistent/error.log\" failed (2: No such file or directory)");
    let error =
        access::AccessLog::link(&access_log("/nonexistent/a.log", "x", None), &gateway.logs).err().unwrap();
    assert_eq!(error, "open() \"/nonexistent/a.log\" failed (2: No such file or directory)");
}

/// The access log of one session, with a path as the configuration has it below a directory.
fn recorded(escape: Escape, line: &str, condition: Option<&str>, prepare: impl Fn(&mut Session)) -> String {
    let directory = Directory::new();
    let mut gateway = Gateway::new("127.0.0.1:5000");
    gateway.change.put.formats = vec![format("test", escape, line)];
    gateway.server().access_log = vec![access_log(&directory.text("access.log"), "test", condition)];
    let mut session = gateway.session("192.0.2.1:4000");
    prepare(&mut session);
    access::record(&mut session);
    gateway.logs.flush();
    directory.read("access.log")
}

fn set(session: &mut Session, value: &[u8]) {
    session.values.set(&Arc::from("value"), value);
}

#[test]
fn a_record_has_the_values_at_the_end_of_the_session() {
    let line =
        recorded(Escape::Default, "$remote_addr [$status] \"$value\" $upstream_addr", None, |session| {
            session.status = 502;
            set(session, b"a\"b\\\n\xff");
        });
    assert_eq!(line, "192.0.2.1 [502] \"a\\x22b\\x5C\\x0A\\xFF\" -\n");
}

#[test]
fn missing_values_are_a_dash_only_with_the_default_escaping() {
    let empty = |session: &mut Session| set(session, b"");
    assert_eq!(recorded(Escape::Default, "<$absent|$value>", None, empty), "<-|>\n");
    assert_eq!(recorded(Escape::Json, "<$absent|$value>", None, empty), "<|>\n");
    assert_eq!(recorded(Escape::None, "<$absent|$value>", None, empty), "<|>\n");
}

#[test]
fn json_escapes_are_those_of_json() {
    let line = recorded(Escape::Json, "{\"v\": \"$value\"}", None, |session| {
        set(session, "a\"\\/\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é".as_bytes());
    });
    assert_eq!(line, "{\"v\": \"a\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\\u001F\u{7f}é\"}\n");
}

#[test]
fn a_condition_that_is_empty_or_zero_writes_nothing() {
    for (value, expected) in [("", ""), ("0", ""), ("1", "x\n"), ("00", "x\n"), ("no", "x\n")] {
        let text = recorded(Escape::Default, "x", Some("$value"), |session| set(session, value.as_bytes()));
        assert_eq!(text, expected, "{value:?}");
    }
    assert_eq!(recorded(Escape::Default, "x", Some("$absent"), |_| ()), "");
}

#[test]
fn a_log_may_be_standard_error() {
    let mut gateway = Gateway::new("127.0.0.1:5000");
    gateway.change.put.formats = vec![format("test", Escape::Default, "")];
    let target = Target { kind: TargetKind::Stderr, path: Vec::new() };
    gateway.server().access_log = vec![qanat_plan::AccessLog { target, ..access_log("", "test", Some("0")) }];
    access::record(&mut gateway.session("192.0.2.1:1"));
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first == b'\\' {
            let digits = std::str::from_utf8(&after[1..3]).unwrap();
            assert_eq!(digits, digits.to_uppercase());
            out.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &after[3..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

proptest! {
    #[test]
    fn default_escaping_is_printable_and_loses_nothing(value in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut out = Vec::new();
        escape(&value, Escape::Default, &mut out);
        prop_assert!(out.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'"'));
        prop_assert_eq!(unescape(&out), value);
    }

    #[test]
    fn json_escaping_is_read_back_by_a_json_parser(value in any::<String>()) {
        let mut out = b"\"".to_vec();
        escape(value.as_bytes(), Escape::Json, &mut out);
        out.push(b'"');
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), value);
    }

    #[test]
    fn no_escaping_copies(value in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut out = Vec::new();
        escape(&value, Escape::None, &mut out);
        prop_assert_eq!(out, value);
    }
}
