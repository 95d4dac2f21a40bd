//! Tables of rules decide as asking all rules in order would, whatever was changed before and however much is known.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use qanat_core::rules::evidence::{Evidence, Hello, Names};
use qanat_core::rules::rule::{Answer, Settled};
use qanat_core::rules::table::{Decision, Table};
use qanat_plan::{NameKind, PortRange, Rule, RuleAction, RuleTable, ServerName};

const NETWORKS: [&str; 8] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3/32",
    "0.0.0.0/0",
    "2001:db8::/32",
    "::/0",
    "unix:",
    "192.0.2.0/24",
];
const CLIENTS: [&str; 7] =
    ["10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.7", "2001:db8::1", "2001:db9::1", "unix:"];
const SERVERS: [&str; 7] =
    ["", "example.com", "www.example.com", "a.b.example.com", "www.example.org", ".example.com", "com"];
const PATTERNS: [&[u8]; 6] = [b"S", b"SSH-", b"SSH-2", b"GET ", b"\x16\x03", b"SMTP"];
const OPENINGS: [&[u8]; 7] = [b"", b"S", b"SSH", b"SSH-2.0-x", b"GET / HTTP/1.1", b"SM", b"zzz"];

fn names() -> [ServerName; 6] {
    let name = |kind, text: &str| ServerName { kind, text: text.into() };
    [
        name(NameKind::Exact, "example.com"),
        name(NameKind::Exact, "www.example.com"),
        name(NameKind::Leading, "example.com"),
        name(NameKind::Leading, "b.example.com"),
        name(NameKind::Trailing, "www"),
        name(NameKind::Regex, r"^a\."),
    ]
}

fn table() -> Table {
    let default = RuleAction::Reject { status: 403 };
    Table::link(&RuleTable { name: "t".into(), default, origin: String::new() })
}

fn rule(name: &str) -> Rule {
    Rule {
        id: format!("t/{name}"),
        priority: 100,
        position: 0,
        source: Vec::new(),
        port: Vec::new(),
        sni: Vec::new(),
        alpn: Vec::new(),
        starts_with: Vec::new(),
        tls: None,
        action: RuleAction::Pass { upstream: "web".into() },
        origin: String::new(),
    }
}

/// Some of the values, none of them in half of all cases.
fn some<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = Vec<T>> + use<T> {
    prop_oneof![Just(Vec::new()), subsequence(values.to_vec(), 1..=2)]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let ports = [(80, 80), (443, 443), (8000, 8100)].map(|(first, last)| PortRange { first, last });
    let place = (0..12_u32, 0..3_u32, 0..2_u32);
    let ends = (some(&NETWORKS), some(&ports));
    let hello =
        (some(&names()), some(&["h2", "http/1.1"]), select(vec![None, None, Some(true), Some(false)]));
    (place, ends, hello, some(&PATTERNS)).prop_map(|(place, (source, port), (sni, alpn, tls), bytes)| Rule {
        priority: place.1,
        position: place.2,
        source: source.into_iter().map(str::to_owned).collect(),
        port,
        sni,
        alpn: alpn.into_iter().map(str::to_owned).collect(),
        starts_with: bytes.into_iter().map(<[u8]>::to_vec).collect(),
        tls,
        ..rule(&format!("r{}", place.0))
    })
}

fn any_hello() -> impl Strategy<Value = Hello> {
    let seen = (select(&SERVERS), some(&["h2", "http/1.1", "mqtt"])).prop_map(|(server, alpn)| {
        Hello::Seen(Names::new(server, alpn.into_iter().map(|name| name.as_bytes().to_vec()).collect()))
    });
    prop_oneof![Just(Hello::Unknown), Just(Hello::Absent), Just(Hello::Broken), seen]
}

fn any_evidence() -> impl Strategy<Value = Evidence<'static>> {
    let port = select(vec![Some(80), Some(443), Some(8050), Some(9000), None]);
    (select(&CLIENTS), port, select(&OPENINGS), any_hello(), any::<bool>()).prop_map(
        |(client, port, bytes, hello, ended)| {
            let ended = ended && hello != Hello::Unknown;
            Evidence { source: client.parse::<IpAddr>().ok(), port, bytes, hello, ended }
        },
    )
}

/// What asking one rule after another comes to: the name of the rule, nothing if none matches, or that more is needed.
fn asked_in_order(table: &Table, evidence: &Evidence<'_>) -> Result<Option<String>, ()> {
    let mut rules: Vec<_> = table.rules.values().collect();
    rules.sort_by(|one, other| one.order.cmp(&other.order));
    for rule in rules {
        match rule.judge(evidence, Settled::default()) {
            Answer::Yes => return Ok(Some(rule.order.name.to_string())),
            Answer::No => {}
            Answer::Unknown => return Err(()),
        }
    }
    Ok(None)
}

fn decided(table: &Table, evidence: &Evidence<'_>) -> Result<Option<String>, ()> {
    match table.decide(evidence) {
        Decision::Rule(rule) => Ok(Some(rule.order.name.to_string())),
        Decision::Default => Ok(None),
        Decision::NeedsMore => Err(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_index_decides_as_asking_all_rules_in_order(
        changes in prop::collection::vec((any_rule(), prop::bool::weighted(0.3)), 1..30),
        sessions in prop::collection::vec(any_evidence(), 1..30),
    ) {
        let mut table = table();
        for (rule, goes) in &changes {
            let earlier = table.clone();
            if *goes {
                table.remove(rule.id.split_once('/').unwrap().1);
            } else {
                table.put(rule).unwrap();
            }
            for evidence in &sessions {
                prop_assert_eq!(decided(&table, evidence), asked_in_order(&table, evidence));
                // A session keeps the table that it began with.
                prop_assert_eq!(decided(&earlier, evidence), asked_in_order(&earlier, evidence));
            }
        }
    }

    #[test]
    fn more_bytes_never_change_what_is_decided(
        rules in prop::collection::vec(any_rule(), 1..20),
        client in select(&CLIENTS),
        bytes in select(&OPENINGS),
    ) {
        let mut table = table();
        for rule in &rules {
            table.put(rule).unwrap();
        }
        let evidence = |bytes, ended| Evidence {
            source: client.parse().ok(),
            port: Some(443),
            bytes,
            hello: Hello::read(bytes, ended),
            ended,
        };
        let all = decided(&table, &evidence(bytes, true));
        prop_assert!(all.is_ok());
        for length in 0..=bytes.len() {
            let so_far = decided(&table, &evidence(&bytes[..length], false));
            prop_assert!(so_far.is_err() || so_far == all, "{so_far:?} of {length} bytes, {all:?} of all");
        }
    }
}

#[test]
fn nothing_is_waited_for_if_addresses_decide() {
    let mut table = table();
    table.put(&Rule { source: vec!["10.0.0.0/8".into()], priority: 1, ..rule("office") }).unwrap();
    table.put(&Rule { tls: Some(true), ..rule("tls") }).unwrap();
    let evidence = |client: &str| Evidence {
        source: client.parse().ok(),
        port: Some(443),
        bytes: b"",
        hello: Hello::Unknown,
        ended: false,
    };
    assert_eq!(decided(&table, &evidence("10.1.1.1")), Ok(Some("office".into())));
    assert_eq!(decided(&table, &evidence("192.0.2.1")), Err(()));
    table.remove("tls");
    assert_eq!(decided(&table, &evidence("192.0.2.1")), Ok(None));
}

#[test]
fn a_client_that_says_nothing_is_not_one_that_speaks_tls() {
    let mut table = table();
    table.put(&Rule { starts_with: vec![b"SSH-".to_vec()], priority: 1, ..rule("ssh") }).unwrap();
    table.put(&Rule { tls: Some(true), priority: 2, ..rule("tls") }).unwrap();
    table.put(&Rule { tls: Some(false), priority: 3, ..rule("plain") }).unwrap();
    let evidence =
        |bytes, ended| Evidence { source: None, port: None, bytes, hello: Hello::read(bytes, ended), ended };
    assert_eq!(decided(&table, &evidence(b"", false)), Err(()));
    assert_eq!(decided(&table, &evidence(b"", true)), Ok(Some("plain".into())));
    assert_eq!(decided(&table, &evidence(b"S", false)), Err(()));
    assert_eq!(decided(&table, &evidence(b"SM", false)), Ok(Some("plain".into())));
    // A ClientHello that does not come to its end is neither.
    assert_eq!(decided(&table, &evidence(b"\x16\x03\x01", true)), Ok(None));
}

/// Makes the rule of a number one of its kind.
type Shape = fn(u32, &mut Rule);

/// Ten thousand rules of each kind; printed with `--nocapture`, and asserted with room for slow machines.
#[test]
fn ten_thousand_rules_decide_in_microseconds() {
    let kinds: [(&str, Shape); 5] = [
        ("names", |n, rule| {
            rule.sni = vec![ServerName { kind: NameKind::Exact, text: format!("host{n}.example.com") }];
        }),
        ("domains", |n, rule| {
            rule.sni = vec![ServerName { kind: NameKind::Leading, text: format!("zone{n}.example.com") }];
        }),
        ("networks", |n, rule| rule.source = vec![format!("10.{}.{}.0/24", n >> 8 & 0xff, n & 0xff)]),
        ("first bytes", |n, rule| rule.starts_with = vec![format!("{n:05} ").into_bytes()]),
        ("a mixture", |n, rule| {
            rule.source = vec![format!("10.{}.0.0/{}", n & 0xff, 16 + n % 9)];
            rule.port = vec![PortRange { first: 443, last: 443 }];
            rule.sni = vec![ServerName { kind: NameKind::Leading, text: format!("zone{n}.example.com") }];
            rule.alpn = vec!["h2".into()];
        }),
    ];
    for (kind, shape) in kinds {
        let mut table = table();
        let begun = Instant::now();
        for n in 0..10_000 {
            let mut rule = Rule { position: n, ..rule(&format!("r{n}")) };
            shape(n, &mut rule);
            table.put(&rule).unwrap();
        }
        let built = begun.elapsed();
        let evidence = Evidence {
            source: "10.39.15.9".parse().ok(),
            port: Some(443),
            bytes: b"09999 hello",
            hello: Hello::Seen(Names::new("www.zone9999.example.com", vec![b"h2".to_vec()])),
            ended: false,
        };
        let begun = Instant::now();
        (0..1000).for_each(|_| drop(black_box(decided(&table, black_box(&evidence)))));
        let each = begun.elapsed() / 1000;
        #[allow(clippy::print_stdout, reason = "the figures are what one runs it for")]
        let () = println!("10,000 rules by {kind}: built in {built:?}, decided in {each:?}");
        assert!(each.as_micros() < 500, "10,000 rules by {kind} take {each:?}");
    }
}
