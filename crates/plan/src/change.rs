//! What crosses from Python to Rust: options once at start, then change sets.

use serde::{Deserialize, Serialize};

use crate::{
    Binding, Certificate, ErrorLog, Listener, LogFormat, Rule, RuleTable, Server, Service, Tunnel,
    TunnelNode, TunnelPeer, Upstream, Variable,
};

/// Version of the encoding. Both sides refuse another one.
pub const SCHEMA: u32 = 1;

/// What is fixed for the life of a gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Version of the encoding: [`SCHEMA`].
    pub schema: u32,
    /// Number of worker threads (`worker_processes`), at least 1.
    pub workers: u32,
}

/// A step from one plan to the next. Applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSet {
    /// Version of the encoding: [`SCHEMA`].
    pub schema: u32,
    /// Revision of the plan that results; grows with every change.
    pub revision: u64,
    /// New gateway-wide settings, or none to keep the present ones. The first change set must bring them.
    pub settings: Option<Settings>,
    /// Objects to add, or to replace where the id exists.
    pub put: Objects,
    /// Ids of objects to remove. An id stands in `put` or in `remove`, not in both.
    pub remove: Removals,
}

impl ChangeSet {
    /// Decodes a change set from MessagePack.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a change set of this [`SCHEMA`], or have unknown fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let change: Self = rmp_serde::from_slice(bytes)?;
        DecodeError::check_schema(change.schema)?;
        Ok(change)
    }
}

impl Options {
    /// Decodes the options from MessagePack.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not options of this [`SCHEMA`], or have unknown fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let options: Self = rmp_serde::from_slice(bytes)?;
        DecodeError::check_schema(options.schema)?;
        Ok(options)
    }
}

/// Why bytes were not accepted as options or a change set.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not MessagePack, a wrong type, a missing or an unknown field.
    #[error("malformed change set: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Written for another version of the encoding.
    #[error("change set has schema {0}, this gateway speaks {SCHEMA}")]
    Schema(u32),
}

impl DecodeError {
    fn check_schema(schema: u32) -> Result<(), Self> {
        if schema == SCHEMA { Ok(()) } else { Err(Self::Schema(schema)) }
    }
}

/// Gateway-wide settings that may change at run time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `node_name`; empty if unset.
    pub node_name: String,
    /// `$hostname`, lower case as nginx has it.
    pub hostname: String,
    /// `$nginx_version`: digits and dots only.
    pub version: String,
    /// Main-level `error_log`s.
    pub error_log: Vec<ErrorLog>,
    /// `worker_connections`: descriptors that sessions of one worker may use, client and upstream sides both counted.
    pub worker_connections: u32,
    /// `worker_shutdown_timeout` in milliseconds; 0 waits without end.
    pub shutdown_timeout_ms: u64,
    /// Which load of the Python handlers new sessions use; sessions keep the one that they began with.
    pub handlers: u64,
    /// `tunnels`; none without them.
    pub tunnels: Option<TunnelNode>,
}

/// Objects by kind. Each kind has its own space of ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// `map` and its relatives, by variable name.
    pub variables: Vec<Variable>,
    /// `log_format`, by name.
    pub formats: Vec<LogFormat>,
    /// Certificates with keys, by id.
    pub certificates: Vec<Certificate>,
    /// `upstream` groups, and the nameless ones of literal `proxy_pass` addresses, by name.
    pub upstreams: Vec<Upstream>,
    /// `rules` tables, by name.
    pub rule_tables: Vec<RuleTable>,
    /// Their rules, by id.
    pub rules: Vec<Rule>,
    /// Listening addresses, by id.
    pub listeners: Vec<Listener>,
    /// Virtual servers, by id.
    pub servers: Vec<Server>,
    /// Nodes that are known by their keys, by name.
    pub peers: Vec<TunnelPeer>,
    /// Tunnels that this node dials, by name.
    pub tunnels: Vec<Tunnel>,
    /// Services, by id.
    pub services: Vec<Service>,
    /// Remote services that are bound to tunnels, by id.
    pub bindings: Vec<Binding>,
}

/// Ids of removed objects, by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removals {
    /// Variable names.
    pub variables: Vec<String>,
    /// Format names.
    pub formats: Vec<String>,
    /// Certificate ids.
    pub certificates: Vec<String>,
    /// Upstream names.
    pub upstreams: Vec<String>,
    /// Names of rule tables, without rules then.
    pub rule_tables: Vec<String>,
    /// Rule ids.
    pub rules: Vec<String>,
    /// Listener ids.
    pub listeners: Vec<String>,
    /// Server ids.
    pub servers: Vec<String>,
    /// Names of peers.
    pub peers: Vec<String>,
    /// Names of tunnels.
    pub tunnels: Vec<String>,
    /// Service ids.
    pub services: Vec<String>,
    /// Ids of bindings.
    pub bindings: Vec<String>,
}
