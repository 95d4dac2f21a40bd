//! Variables that the configuration defines for all sessions.

use serde::{Deserialize, Serialize};

use crate::Template;

/// A variable computed from others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Name in lower case, without `$`.
    pub name: String,
    /// Evaluated anew at each use instead of once per session.
    pub volatile: bool,
    /// How its value is found.
    pub kind: VariableKind,
    /// Where it stands, for messages: `FILE:LINE`.
    pub origin: String,
}

/// Ways to compute a variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum VariableKind {
    /// `map SOURCE $name { … }`. Order: exact, longest `*.` wildcard, longest `.*` wildcard, first regex, default.
    Map {
        /// What is looked up; compared in lower case.
        source: Template,
        /// Value when nothing matches.
        default: Template,
        /// `hostnames`: entries with wildcards are present, and a trailing dot of the source is ignored.
        hostnames: bool,
        /// Exact entries, keys in lower case.
        exact: Vec<MapEntry>,
        /// `*.example.com` entries, keys without `*.`; only with `hostnames`.
        leading: Vec<MapEntry>,
        /// `www.*` entries, keys without `.*`; only with `hostnames`.
        trailing: Vec<MapEntry>,
        /// Regular expressions, in order.
        patterns: Vec<MapPattern>,
    },
}

/// An entry of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapEntry {
    /// Looked-up text.
    pub key: String,
    /// Result.
    pub value: Template,
}

/// A regular expression of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapPattern {
    /// The expression, without `~` or `~*`.
    pub pattern: String,
    /// Written with `~*`.
    pub ignore_case: bool,
    /// Result; may use the captures.
    pub value: Template,
    /// Where it stands, for messages: `FILE:LINE`.
    pub origin: String,
}
