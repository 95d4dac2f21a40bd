//! A named group of peers and how one of them is chosen.

use serde::{Deserialize, Serialize};

use crate::Template;

/// `upstream NAME { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name; for a literal `proxy_pass` address, the address as written.
    pub name: String,
    /// How a peer is chosen.
    pub balance: Balance,
    /// `balance_by_python`: a handler that chooses instead; without a choice of its own, `balance` decides.
    pub handler: Option<String>,
    /// The peers, in order of configuration.
    pub peers: Vec<Peer>,
    /// Where it stands, for messages: `FILE:LINE`.
    pub origin: String,
}

/// Balancing methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Balance {
    /// Smooth weighted round robin, in nginx's order.
    RoundRobin {},
    /// `least_conn`.
    LeastConn {},
    /// `hash KEY [consistent]`.
    Hash {
        /// The key.
        key: Template,
        /// Ketama ring instead of modulo.
        consistent: bool,
    },
    /// `random [two [least_conn]]`.
    Random {
        /// Take the better of two.
        two: bool,
    },
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// `server` argument as written (`db1:5432`); peers of one host name share it. Ketama hashes this.
    pub server: String,
    /// `IP:PORT`, `[V6]:PORT` or `unix:/PATH`.
    pub address: String,
    /// `weight=`, at least 1.
    pub weight: u32,
    /// `max_conns=`; 0 is no limit.
    pub max_conns: u32,
    /// `max_fails=`; 0 never marks it failed.
    pub max_fails: u32,
    /// `fail_timeout=` in milliseconds.
    pub fail_timeout_ms: u64,
    /// `backup`.
    pub backup: bool,
    /// `down`.
    pub down: bool,
}
