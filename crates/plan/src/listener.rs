//! A listening address and its socket options.

use serde::{Deserialize, Serialize};

/// Transport of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Byte streams: TCP, or a unix stream socket.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What the connections to a listener are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sessions of clients.
    Sessions,
    /// Carriers of tunnels.
    Tunnels,
}

/// One address that sessions arrive at. Several virtual servers may share it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `tcp:0.0.0.0:22222`, `udp:[::]:53`, `tcp:unix:/run/q.sock`: protocol, then [`Self::address`].
    pub id: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// `IP:PORT`, `[V6]:PORT` or `unix:/PATH`. Always a literal.
    pub address: String,
    /// The wildcard listener (by id) whose socket takes this address's sessions; none if it has a socket of its own.
    /// nginx: a wildcard `listen` swallows the more specific addresses of its port unless they say `bind`.
    pub parent: Option<String>,
    /// Id of the server for sessions that no name selects.
    pub default_server: String,
    /// `ssl`.
    pub tls: bool,
    /// `proxy_protocol`.
    pub proxy_protocol: bool,
    /// `mesh`: look up the original destination of every session.
    pub mesh: bool,
    /// What its connections are.
    pub role: Role,
    /// `when_down=refuse`: connections are refused while none of these tunnels is up; none never refuses.
    pub refuses_without: Option<Vec<String>>,
    /// Options of the socket.
    pub socket: SocketOptions,
    /// Where the `listen` stands, for messages: `FILE:LINE`.
    pub origin: String,
}

/// Socket options of `listen`. `None` leaves the system's default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketOptions {
    /// Length of the accept queue.
    pub backlog: u32,
    /// `SO_RCVBUF` in bytes.
    pub rcvbuf: Option<u32>,
    /// `SO_SNDBUF` in bytes.
    pub sndbuf: Option<u32>,
    /// `so_keepalive`.
    pub keepalive: Option<Keepalive>,
    /// `IPV6_V6ONLY`; only for IPv6 addresses.
    pub ipv6only: bool,
    /// `fastopen=`: length of the `TCP_FASTOPEN` queue.
    pub fastopen: Option<u32>,
    /// `reuseport`: one socket per worker.
    pub reuseport: bool,
    /// `deferred`: `TCP_DEFER_ACCEPT`.
    pub deferred: bool,
}

/// `so_keepalive=` of accepted sockets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// On or off; the other fields count only when on.
    pub on: bool,
    /// `TCP_KEEPIDLE` in seconds.
    pub idle_s: Option<u32>,
    /// `TCP_KEEPINTVL` in seconds.
    pub interval_s: Option<u32>,
    /// `TCP_KEEPCNT`.
    pub count: Option<u32>,
}
