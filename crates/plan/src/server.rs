//! A virtual server: what happens to the sessions that are matched to it.

use serde::{Deserialize, Serialize};

use crate::{AccessLog, ErrorLog, Frame, Proxy, ServerTls, Template};

/// A virtual server with everything inherited from `stream` already merged in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Unique and stable across reloads.
    pub id: String,
    /// Ids of the listeners it belongs to.
    pub listeners: Vec<String>,
    /// `$server_name`: the first name as written; empty if it has none.
    pub name: String,
    /// Names by which SNI or `$mesh_server_name` select it.
    pub names: Vec<ServerName>,
    /// `error_log` of this server; none means the main one.
    pub error_log: Option<Vec<ErrorLog>>,
    /// `allow` and `deny`; the first match decides, none allows.
    pub access: Vec<AccessRule>,
    /// `set`, in order.
    pub set: Vec<SetVariable>,
    /// The preread phase.
    pub preread: Preread,
    /// Handlers in Python.
    pub handlers: Handlers,
    /// `proxy_protocol_timeout` in milliseconds.
    pub proxy_protocol_timeout_ms: u64,
    /// `tcp_nodelay`.
    pub tcp_nodelay: bool,
    /// `ssl_*`; none if the server has neither a certificate nor a rejection.
    pub tls: Option<ServerTls>,
    /// What answers.
    pub content: Content,
    /// `access_log`s.
    pub access_log: Vec<AccessLog>,
    /// Where it stands, for messages: `FILE:LINE`.
    pub origin: String,
}

/// One name of a server. Lower case, except for regular expressions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerName {
    /// How `text` is compared.
    pub kind: NameKind,
    /// The name without its wildcard: `example.com` for `*.example.com`, `www` for `www.*`; the pattern without `~`.
    pub text: String,
}

/// Kinds of server names, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameKind {
    /// The whole name. (`.example.com` is written as an exact name and a leading wildcard.)
    Exact,
    /// `*.example.com`; the longest match wins.
    Leading,
    /// `www.*`; the longest match wins.
    Trailing,
    /// `~pattern`, case-insensitive for names; the first match in order of configuration wins. Captures become variables.
    Regex,
}

/// `allow` or `deny`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// `allow` if true.
    pub allow: bool,
    /// `all`, `unix:`, or `ADDRESS/PREFIX`.
    pub network: String,
}

/// `set $name value;`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetVariable {
    /// Variable name, lower case, without `$`.
    pub name: String,
    /// Its value.
    pub value: Template,
}

/// The preread phase of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preread {
    /// `ssl_preread`.
    pub tls: bool,
    /// `preread_buffer_size` in bytes.
    pub buffer_size: u32,
    /// `preread_timeout` in milliseconds.
    pub timeout_ms: u64,
    /// `frame`.
    pub frame: Option<Box<Frame>>,
}

/// Handlers in Python: names that the interpreter's side resolves, those of `stream` before those of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handlers {
    /// `access_by_python`.
    pub access: Vec<String>,
    /// `ssl_client_hello_by_python`.
    pub client_hello: Vec<String>,
    /// `ssl_certificate_by_python`.
    pub certificate: Vec<String>,
    /// `preread_by_python`.
    pub preread: Vec<String>,
    /// `proxy_ssl_verify_by_python`.
    pub verify: Vec<String>,
    /// `log_by_python`.
    pub log: Vec<String>,
    /// `python_timeout` in milliseconds, for these and for the handler of an upstream.
    pub timeout_ms: u64,
}

/// What answers the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    /// Nothing is configured: the session is closed with status 500.
    None {},
    /// `return`.
    Return {
        /// What is sent before closing.
        text: Template,
    },
    /// `proxy_pass`.
    Proxy {
        /// Where to and how.
        proxy: Box<Proxy>,
    },
    /// `content_by_python`.
    Handler {
        /// Its name.
        handler: String,
        /// `proxy_timeout` in milliseconds: how long nobody may say anything.
        timeout_ms: u64,
    },
}
