//! What is known of the TLS session with a client, in OpenSSL's words: the `$ssl_*` variables.

use rustls::server::{ClientHello, ServerConnection};
use rustls::{HandshakeKind, ProtocolVersion};

pub use names::cipher_name;
use names::curve_name;

mod names;

/// What is known of the TLS session with a client.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// `$ssl_protocol`: `TLSv1.3`.
    pub protocol: &'static str,
    /// `$ssl_cipher`: `TLS_AES_256_GCM_SHA384`, `ECDHE-RSA-AES128-GCM-SHA256`.
    pub cipher: &'static str,
    /// `$ssl_curve`: `X25519`; empty if none was used.
    pub curve: &'static str,
    /// `$ssl_server_name`, lower case.
    pub server_name: Option<Box<str>>,
    /// `$ssl_alpn_protocol`.
    pub alpn: Option<Box<[u8]>>,
    /// `$ssl_session_reused`.
    pub session_reused: bool,
    ciphers: Box<[u16]>,
    curves: Box<[u16]>,
}

impl TlsInfo {
    /// What the client's hello tells.
    pub(super) fn of_hello(hello: &ClientHello<'_>) -> Self {
        Self {
            server_name: hello.server_name().map(Into::into),
            ciphers: hello.cipher_suites().iter().map(|suite| u16::from(*suite)).collect(),
            curves: hello.named_groups().unwrap_or_default().iter().map(|group| u16::from(*group)).collect(),
            ..Self::default()
        }
    }

    /// What the handshake has agreed on.
    pub(super) fn complete(&mut self, connection: &ServerConnection) {
        self.protocol = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| u16::from(suite.suite()));
        self.cipher = suite.and_then(cipher_name).unwrap_or_default();
        let group = connection.negotiated_key_exchange_group().map(|group| u16::from(group.name()));
        self.curve = group.and_then(curve_name).unwrap_or_default();
        self.alpn = connection.alpn_protocol().map(Into::into);
        self.session_reused = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    }

    /// `$ssl_ciphers`: what the client offered, joined by colons; unknown ones as `0xHHHH`.
    pub fn ciphers(&self) -> String {
        join(&self.ciphers, cipher_name)
    }

    /// `$ssl_curves`: what the client offered, joined by colons; unknown ones as `0xHHHH`.
    pub fn curves(&self) -> String {
        join(&self.curves, curve_name)
    }
}

fn join(numbers: &[u16], name: impl Fn(u16) -> Option<&'static str>) -> String {
    let names = numbers.iter().map(|number| match name(*number) {
        Some(name) => name.to_owned(),
        None => format!("0x{number:04x}"),
    });
    names.collect::<Vec<_>>().join(":")
}
