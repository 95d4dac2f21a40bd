//! `proxy_pass` and the directives around it.

use serde::{Deserialize, Serialize};

use crate::Template;

/// How a session is relayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Where to.
    pub target: ProxyTarget,
    /// `proxy_connect_timeout` in milliseconds; covers connecting and the TLS handshake with the peer.
    pub connect_timeout_ms: u64,
    /// `proxy_timeout` in milliseconds: silence on both sides that ends the session.
    pub timeout_ms: u64,
    /// `proxy_buffer_size` in bytes: the largest datagram; for streams, what a blocked direction may hold.
    pub buffer_size: u32,
    /// `proxy_next_upstream`.
    pub next_upstream: bool,
    /// `proxy_next_upstream_tries`; 0 is no limit.
    pub next_upstream_tries: u32,
    /// `proxy_next_upstream_timeout` in milliseconds; 0 is no limit.
    pub next_upstream_timeout_ms: u64,
    /// `proxy_protocol`: header sent to the peer.
    pub protocol: ProxyProtocol,
    /// `proxy_half_close`.
    pub half_close: bool,
    /// `proxy_bind`.
    pub bind: Option<Bind>,
    /// `proxy_socket_keepalive`.
    pub socket_keepalive: bool,
    /// `proxy_upload_rate` in bytes per second, evaluated once; none or 0 is no limit.
    pub upload_rate: Option<Template>,
    /// `proxy_download_rate`, likewise.
    pub download_rate: Option<Template>,
    /// `proxy_requests`: datagrams after which a client's next one starts a new session; 0 is no limit.
    pub requests: u32,
    /// `proxy_responses`: datagrams expected for each one sent; none is no limit.
    pub responses: Option<u32>,
    /// `proxy_ssl on`.
    pub tls: Option<ProxyTls>,
}

/// Target of `proxy_pass`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProxyTarget {
    /// An upstream by name; literal addresses have an upstream of their own, named as written.
    Upstream {
        /// Name of the upstream.
        name: String,
    },
    /// With variables: the value is an upstream's name, or a literal address.
    Variable {
        /// Evaluated once per session.
        value: Template,
    },
    /// `rules:NAME`: what the rules of a table choose.
    Rules {
        /// Name of the table.
        table: String,
    },
}

/// PROXY protocol version of the header sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// None is sent.
    Off,
    /// Text, version 1.
    V1,
    /// Binary, version 2.
    V2,
}

/// `proxy_bind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// `ADDRESS[:PORT]`; an empty value binds nothing.
    pub address: Template,
    /// `transparent`: `IP_TRANSPARENT`.
    pub transparent: bool,
}

/// TLS towards the peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyTls {
    /// `proxy_ssl_name`: the name verified and, with `server_name`, sent. None: the host of `proxy_pass`.
    pub name: Option<Template>,
    /// `proxy_ssl_server_name`: send SNI.
    pub server_name: bool,
    /// `proxy_ssl_verify`.
    pub verify: bool,
    /// `proxy_ssl_verify_depth`: authorities between the peer's certificate and a trusted one, at most.
    pub verify_depth: u32,
    /// `proxy_ssl_trusted_certificate` as DER certificates.
    #[serde(with = "crate::tls::blobs")]
    pub trusted: Vec<Vec<u8>>,
    /// `proxy_ssl_certificate` with its key: id of a certificate object.
    pub certificate: Option<String>,
    /// `proxy_ssl_protocols`: `TLSv1.2`, `TLSv1.3`.
    pub protocols: Vec<String>,
    /// `proxy_ssl_ciphers` as IANA suite names; empty is the default set.
    pub ciphers: Vec<String>,
    /// `proxy_ssl_alpn`.
    pub alpn: Vec<String>,
    /// `proxy_ssl_session_reuse`.
    pub session_reuse: bool,
}
