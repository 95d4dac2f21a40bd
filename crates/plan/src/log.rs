//! Where records go and how they look.

use serde::{Deserialize, Serialize};

use crate::Template;

/// Where lines are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// File or standard error.
    pub kind: TargetKind,
    /// Path of a file (absolute; may hold variables); empty otherwise.
    pub path: Template,
}

/// Kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// A file, appended to.
    File,
    /// Standard error.
    Stderr,
}

/// `error_log TARGET LEVEL;`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorLog {
    /// Where to; the path has no variables.
    pub target: Target,
    /// Least severe level written.
    pub level: Level,
}

/// Severity, most verbose first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything.
    Debug,
    /// Session starts and ends.
    Info,
    /// Life of the gateway.
    Notice,
    /// Something to look at.
    Warn,
    /// A session failed.
    Error,
    /// A resource failed.
    Crit,
    /// Needs action.
    Alert,
    /// Cannot run.
    Emerg,
}

/// `log_format NAME [escape=…] TEXT…;`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFormat {
    /// Its name.
    pub name: String,
    /// How values are made safe.
    pub escape: Escape,
    /// The line, without its newline.
    pub line: Template,
}

/// Escaping of variable values in a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    /// `"`, `\`, control and high bytes as `\xHH`; a missing value is `-`.
    Default,
    /// JSON string escapes; a missing value is empty.
    Json,
    /// As it is; a missing value is empty.
    None,
}

/// `access_log PATH FORMAT [if=…];`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// Where to.
    pub target: Target,
    /// Name of the format.
    pub format: String,
    /// `if=`: skip the line when empty or `0`.
    pub condition: Option<Template>,
}
