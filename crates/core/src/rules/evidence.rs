//! What is known of a session when rules are asked, which may be less than what a rule asks for.

use std::net::IpAddr;

use qanat_wire::client_hello::{self, ClientHello, Progress};

/// What is known of a session.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The client's address, IPv4 in its own form; none for a unix socket.
    pub source: Option<IpAddr>,
    /// The port that the client addressed; none for a unix socket.
    pub port: Option<u16>,
    /// The client's bytes so far.
    pub bytes: &'a [u8],
    /// What they, or the TLS session that carries them, tell.
    pub hello: Hello,
    /// More bytes are not to be waited for: a rule that would need them does not match.
    pub ended: bool,
}

/// What is known of the client's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// More bytes are needed to say.
    Unknown,
    /// It does not speak TLS, or nothing at all.
    Absent,
    /// It began a `ClientHello` that did not come to its end, or broke the rules of TLS.
    Broken,
    /// It speaks TLS.
    Seen(Names),
}

/// The names in a `ClientHello`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// SNI in lower case, without a trailing dot; empty if there is none.
    pub server: String,
    /// ALPN.
    pub protocols: Vec<Vec<u8>>,
}

impl Hello {
    /// What `bytes` tell, of which `ended` says that they are all.
    pub fn read(bytes: &[u8], ended: bool) -> Self {
        match client_hello::parse(bytes, &mut Vec::new()) {
            Progress::Incomplete if !ended => Self::Unknown,
            Progress::Incomplete if bytes.is_empty() => Self::Absent,
            Progress::NotTls => Self::Absent,
            Progress::Incomplete | Progress::Malformed(_) => Self::Broken,
            Progress::Complete(hello) => Self::Seen(Names::of_hello(&hello)),
        }
    }
}

impl Names {
    /// Names as they are compared.
    pub fn new(server: &str, protocols: Vec<Vec<u8>>) -> Self {
        let server = server.strip_suffix('.').unwrap_or(server).to_ascii_lowercase();
        Self { server, protocols }
    }

    fn of_hello(hello: &ClientHello<'_>) -> Self {
        let server = String::from_utf8_lossy(hello.server_name.unwrap_or_default());
        Self::new(&server, hello.alpn.iter().map(|name| name.to_vec()).collect())
    }
}
