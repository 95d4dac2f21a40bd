//! `map`: which entry decides, what captures become, how often it is evaluated.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod specs;
mod variables_fixtures;

use std::sync::Arc;

use proptest::prelude::*;
use qanat_core::error::ApplyError;
use qanat_core::session::Session;
use qanat_core::session::vars;
use qanat_plan::{Level, Variable, VariableKind};
use variables_fixtures::{Directory, Gateway, entries, error_log, map, pattern, render, session_with};

fn set(session: &mut Session, name: &str, value: &str) {
    session.values.set(&Arc::from(name), value);
}

/// What `map $input $found` gives for an input.
fn look_up(variable: &Variable, input: &str) -> String {
    let mut session = session_with(vec![variable.clone()]);
    set(&mut session, "input", input);
    render(&mut session, "$found")
}

fn hostnames() -> Variable {
    let mut variable = map("found", "$input", "default");
    let VariableKind::Map { hostnames, exact, leading, trailing, patterns, .. } = &mut variable.kind;
    *hostnames = true;
    *exact = entries(&[("example.com", "exact"), ("www.example.com", "exact www"), ("", "empty")]);
    *leading = entries(&[("example.com", "*.example.com"), ("a.example.com", "*.a.example.com")]);
    *trailing = entries(&[("www", "www.*"), ("www.example", "www.example.*"), ("mail", "mail.*")]);
    *patterns = vec![
        pattern("~^WWW", "upper"),
        pattern("~*^mail", "never: mail.* comes first"),
        pattern(r"~*\.(?<Suffix>org)$", "regex $suffix $1"),
        pattern(r"~org$", "second"),
    ];
    variable
}

#[test]
fn exact_then_longest_leading_then_longest_trailing_then_first_regex_then_default() {
    let variable = hostnames();
    for (input, expected) in [
        ("example.com", "exact"),
        ("EXAMPLE.com", "exact"),
        ("example.com.", "exact"),
        ("www.example.com", "exact www"),
        ("x.example.com", "*.example.com"),
        ("y.x.example.com", "*.example.com"),
        ("x.a.example.com", "*.a.example.com"),
        ("a.example.com", "*.example.com"),
        ("www.example.net", "www.example.*"),
        ("www.example", "www.*"),
        ("WWW.other.net", "www.*"),
        ("mail.org", "mail.*"),
        ("WWWx.net", "upper"),
        ("site.ORG", "regex ORG ORG"),
        ("org", "second"),
        ("ORG", "default"),
        ("elsewhere", "default"),
        ("", "empty"),
        (".", "empty"),
    ] {
        assert_eq!(look_up(&variable, input), expected, "{input:?}");
    }
}

#[test]
fn without_hostnames_a_trailing_dot_counts() {
    let mut variable = map("found", "$input", "default");
    let VariableKind::Map { exact, .. } = &mut variable.kind;
    *exact = entries(&[("18081", "one"), ("x.", "dot")]);
    assert_eq!(look_up(&variable, "18081"), "one");
    assert_eq!(look_up(&variable, "18081."), "default");
    assert_eq!(look_up(&variable, "X."), "dot");
}

#[test]
fn an_empty_source_meets_no_regex() {
    let mut variable = map("found", "$absent", "default");
    let VariableKind::Map { patterns, .. } = &mut variable.kind;
    *patterns = vec![pattern("~.*", "matched")];
    assert_eq!(render(&mut session_with(vec![variable.clone()]), "$found"), "default");
}

#[test]
fn captures_stay_with_the_session() {
    let mut variable = map("found", "$input", "");
    let VariableKind::Map { patterns, .. } = &mut variable.kind;
    *patterns = vec![pattern("~^(?<user>[^@]+)@(.+)$", "$2")];
    let mut session = session_with(vec![variable]);
    set(&mut session, "input", "ann@Example");
    assert_eq!(render(&mut session, "$user|$found|$1|$2|$USER"), "|Example|ann|Example|ann");
}

#[test]
fn a_map_without_a_match_is_found_and_empty() {
    let mut session = session_with(vec![map("found", "$input", "")]);
    assert_eq!(vars::get(&mut session, "found").as_deref(), Some(""));
}

#[test]
fn a_value_is_computed_once_unless_volatile() {
    let once = map("once", "", "$bytes_sent");
    let each = Variable { volatile: true, ..map("each", "", "$bytes_sent") };
    let mut session = session_with(vec![once, each]);
    assert_eq!(render(&mut session, "$once $each"), "0 0");
    session.bytes_sent = 9;
    assert_eq!(render(&mut session, "$once $each"), "0 9");
}

#[test]
fn what_a_session_sets_comes_before_a_map() {
    let mut session = session_with(vec![map("mesh_server_name", "", "by map")]);
    assert_eq!(render(&mut session, "$mesh_server_name"), "by map");
    set(&mut session, "mesh_server_name", "by set");
    assert_eq!(render(&mut session, "$mesh_server_name"), "by set");
}

#[test]
fn the_key_may_be_binary() {
    let mut variable = map("found", "$binary_remote_addr", "default");
    let VariableKind::Map { exact, .. } = &mut variable.kind;
    *exact = entries(&[("abab", "four bytes")]);
    let gateway = Gateway::new("127.0.0.1:5000").variables(vec![variable]);
    assert_eq!(render(&mut gateway.session("97.66.97.66:1"), "$found"), "four bytes");
    assert_eq!(render(&mut gateway.session("192.0.2.1:1"), "$found"), "default");
}

#[test]
fn a_cycle_ends_and_says_so() {
    let directory = Directory::new();
    let mut gateway =
        Gateway::new("127.0.0.1:5000").variables(vec![map("a", "$b", "x$b"), map("b", "$a", "y$a")]);
    let path = directory.file("error.log");
    gateway.server().error_log = Some(vec![error_log(&path, Level::Error)]);
    let mut session = gateway.session("192.0.2.1:1");
    assert!(render(&mut session, "$a").starts_with('x'));
    gateway.logs.flush();
    assert!(directory.read("error.log").contains("cycle while evaluating variable \""));
}

#[test]
fn a_chain_of_maps_may_be_long() {
    let chain = |n: u32| map(&format!("v{n}"), &format!("$v{}", n + 1), &format!("$v{}", n + 1));
    let mut variables: Vec<Variable> = (0..99).map(chain).collect();
    variables.push(map("v99", "", "end"));
    assert_eq!(render(&mut session_with(variables), "$v0"), "end");
}

#[test]
fn a_bad_expression_is_refused_with_its_line() {
    let mut variable = map("found", "$input", "");
    let VariableKind::Map { patterns, .. } = &mut variable.kind;
    *patterns = vec![pattern("~(", "x")];
    match Gateway::new("127.0.0.1:5000").variables(vec![variable]).link().err() {
        Some(ApplyError::Plan { kind, id, field, message, origin }) => {
            assert_eq!((kind, id.as_str(), field.as_str()), ("variables", "found", "patterns"));
            assert!(message.starts_with("invalid regular expression \"(\": "), "{message}");
            assert_eq!(origin, "test.conf:7");
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn text_finds_the_entry_that_equals_it_in_lower_case(
        keys in prop::collection::hash_set("[a-z0-9.:-]{1,12}", 0..20),
        input in "[A-Za-z0-9.:-]{0,12}",
    ) {
        let mut variable = map("found", "$input", "default");
        let VariableKind::Map { exact, .. } = &mut variable.kind;
        let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), key.as_str())).collect();
        *exact = entries(&pairs);
        let expected = keys.get(&input.to_ascii_lowercase()).map_or("default", String::as_str);
        prop_assert_eq!(look_up(&variable, &input), expected);
        for key in &keys {
            prop_assert_eq!(look_up(&variable, &key.to_ascii_uppercase()), key.clone());
        }
    }
}
