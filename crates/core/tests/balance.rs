//! Peers are picked in nginx's order: the vectors of `tests/conformance/balance.json`, recorded from nginx itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod balance_fixtures;
mod specs;

use balance_fixtures::{link, peer};
use qanat_core::clock;
use qanat_core::upstream::{Picked, Tries, Upstream};
use qanat_plan::{Balance, Peer};
use serde_json::Value;

fn cases() -> Vec<Value> {
    let path = format!("{}/../../tests/conformance/balance.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn balance(text: &str) -> Balance {
    match text {
        "" => Balance::RoundRobin {},
        "least_conn;" => Balance::LeastConn {},
        "hash $remote_addr;" => Balance::Hash { key: Vec::new(), consistent: false },
        "hash $remote_addr consistent;" => Balance::Hash { key: Vec::new(), consistent: true },
        other => panic!("{other}"),
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The peers of a vector: one for each address of a server.
fn peers(case: &Value) -> Vec<Peer> {
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let of_server = |spec: &Value| {
        let server = spec["server"].as_str().unwrap().to_owned();
        let mut addresses = strings(&spec["addresses"]);
        if addresses.is_empty() {
            addresses.push(server.clone());
        }
        let peers = addresses.into_iter().map(|address| Peer {
            server: server.clone(),
            address,
            weight: number(&spec["weight"]),
            max_conns: number(&spec["max_conns"]),
            max_fails: number(&spec["max_fails"]),
            fail_timeout_ms: spec["fail_timeout_ms"].as_u64().unwrap(),
            backup: spec["backup"].as_bool().unwrap(),
            down: spec["down"].as_bool().unwrap(),
        });
        peers.collect::<Vec<_>>()
    };
    case["peers"].as_array().unwrap().iter().flat_map(of_server).collect()
}

/// What nginx does with a session: try peers until one is not dead.
fn attempts(upstream: &Upstream, key: &str, dead: &[String]) -> (Vec<String>, Option<Picked>) {
    let mut tries = Tries::default();
    let mut attempts = Vec::new();
    for _ in 0..upstream.attempts() {
        let Some(mut picked) = upstream.choose(key.as_bytes(), &mut tries, clock::now()) else { break };
        attempts.push(picked.name.to_string());
        if !dead.contains(&attempts[attempts.len() - 1]) {
            picked.connected();
            return (attempts, Some(picked));
        }
        picked.failed();
    }
    if attempts.is_empty() {
        attempts.push("u".to_owned());
    }
    (attempts, None)
}

#[test]
fn picks_are_nginx_s() {
    for case in cases() {
        let upstream = link(balance(case["balance"].as_str().unwrap()), &peers(&case), None);
        let dead = strings(&case["dead"]);
        let mut held = Vec::new();
        for (number, session) in case["sessions"].as_array().unwrap().iter().enumerate() {
            let key = session[0].as_str().unwrap();
            let (attempts, picked) = attempts(&upstream, key, &dead);
            assert_eq!(attempts, strings(&session[1]), "session {number} of {}", case["name"]);
            if case["hold"] == true {
                held.push(picked);
            }
        }
    }
}

#[test]
fn an_empty_key_goes_round() {
    for consistent in [false, true] {
        let peers = [peer(1, 5), peer(2, 1), peer(3, 1)];
        let upstream = link(Balance::Hash { key: Vec::new(), consistent }, &peers, None);
        let picks: String = (0..7)
            .map(|_| upstream.choose(b"", &mut Tries::default(), clock::now()).unwrap())
            .map(|picked| picked.name.rsplit(':').next().unwrap().to_owned())
            .collect();
        assert_eq!(picks, "1121311");
    }
}
