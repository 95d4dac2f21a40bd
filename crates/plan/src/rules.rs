//! `rules`: tables that choose an upstream by what a session begins with.

use serde::{Deserialize, Serialize};

use crate::{DecodeError, ServerName};

/// A table; its rules are objects of their own, so that one can change without the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleTable {
    /// What `proxy_pass rules:NAME` names.
    pub name: String,
    /// What happens to a session that no rule matches.
    pub default: RuleAction,
    /// Where it stands, for messages: `FILE:LINE`.
    pub origin: String,
}

/// A rule. Every condition must hold; an empty one always does, and its values are alternatives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `TABLE/NAME`.
    pub id: String,
    /// Rules are asked in order of this, the lowest first.
    pub priority: u32,
    /// Then in order of this, and then of their names.
    pub position: u32,
    /// Networks of clients: `unix:`, or `ADDRESS/PREFIX`.
    pub source: Vec<String>,
    /// Ports that the client addressed.
    pub port: Vec<PortRange>,
    /// Names in the ClientHello.
    pub sni: Vec<ServerName>,
    /// Protocols, one of which the client must offer.
    pub alpn: Vec<String>,
    /// What the client's first bytes begin with.
    #[serde(with = "crate::tls::blobs")]
    pub starts_with: Vec<Vec<u8>>,
    /// Whether the client begins with a ClientHello.
    pub tls: Option<bool>,
    /// What happens to a session that matches.
    pub action: RuleAction,
    /// Where it stands, for messages: `FILE:LINE`.
    pub origin: String,
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleAction {
    /// Relays to an upstream.
    Pass {
        /// Its name.
        upstream: String,
    },
    /// Ends the session.
    Reject {
        /// With this status.
        status: u16,
    },
}

/// A session that might come, to ask which rule would decide it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleQuery {
    /// Name of the table.
    pub table: String,
    /// The client: an IP address, or `unix:`.
    pub source: String,
    /// The port that it addresses.
    pub port: Option<u16>,
    /// Whether it speaks TLS; none leaves that to the bytes and names.
    pub tls: Option<bool>,
    /// The name in its `ClientHello`.
    pub sni: Option<String>,
    /// The protocols in its `ClientHello`.
    pub alpn: Vec<String>,
    /// Its first bytes.
    #[serde(with = "crate::tls::blob")]
    pub first_bytes: Vec<u8>,
}

/// Which rule decides a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleVerdict {
    /// Name of the rule; none if none matches.
    pub rule: Option<String>,
    /// What happens to the session.
    pub action: RuleAction,
    /// A session that has sent no more is waited for: a rule may match that comes before.
    pub waits: bool,
    /// Rules that were asked before, as far as they are kept, and the condition that each denied by.
    pub passed_over: Vec<(String, String)>,
}

impl RuleQuery {
    /// Decodes a query from `MessagePack`.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a query, or have unknown fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(rmp_serde::from_slice(bytes)?)
    }
}

impl RuleVerdict {
    /// Encodes it as `MessagePack`.
    ///
    /// # Errors
    /// None that is known: the types are plain data.
    pub fn encode(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec_named(self)
    }
}
