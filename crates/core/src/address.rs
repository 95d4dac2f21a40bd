//! Socket addresses as configuration and logs write them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::tunnel::TunnelAddress;

/// An internet address with its port, the path of a unix socket, or a service behind a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// A unix socket; the path is empty for an unnamed client.
    Unix(Arc<str>),
    /// A service at the other end of a tunnel.
    Tunnel(Arc<TunnelAddress>),
}

impl Address {
    /// Parses `IP:PORT`, `[V6]:PORT`, `unix:/PATH` or `tunnel:TUNNEL/SERVICE`; host names are not addresses.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(tunnelled) = text.strip_prefix("tunnel:") {
            return TunnelAddress::parse(tunnelled).map(Arc::new).map(Self::Tunnel);
        }
        match text.strip_prefix("unix:") {
            Some(path) => Some(Self::Unix(path.into())),
            None => text.parse().ok().map(Self::Inet),
        }
    }

    /// The IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Unix(_) | Self::Tunnel(_) => None,
        }
    }

    /// The port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) | Self::Tunnel(_) => None,
        }
    }

    /// Whether it stands for all local addresses.
    pub fn is_wildcard(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Tunnel(address) => address.fmt(f),
        }
    }
}
