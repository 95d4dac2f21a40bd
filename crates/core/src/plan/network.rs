//! `allow` and `deny` rules: networks in CIDR form.

use std::net::IpAddr;

use qanat_plan::AccessRule;

use crate::address::Address;

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What matching decides.
    pub allow: bool,
    network: Network,
}

/// A set of client addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Everyone.
    All,
    /// Clients of unix sockets.
    Unix,
    /// An IPv4 prefix.
    V4 {
        /// Network address.
        address: u32,
        /// Ones for the bits that count.
        mask: u32,
    },
    /// An IPv6 prefix.
    V6 {
        /// Network address.
        address: u128,
        /// Ones for the bits that count.
        mask: u128,
    },
}

impl Rule {
    /// Links a rule; none if its network cannot be parsed.
    pub fn link(rule: &AccessRule) -> Option<Self> {
        Some(Self { allow: rule.allow, network: Network::parse(&rule.network)? })
    }

    /// Whether it speaks of `client`.
    pub fn matches(&self, client: &Address) -> bool {
        self.network.contains(client)
    }
}

impl Network {
    /// Parses `all`, `unix:` or `ADDRESS/PREFIX`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => return Some(Self::All),
            "unix:" => return Some(Self::Unix),
            _ => {}
        }
        let (address, prefix) = text.split_once('/')?;
        let prefix: u32 = prefix.parse().ok()?;
        match address.parse().ok()? {
            IpAddr::V4(ip) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                Some(Self::V4 { address: ip.to_bits() & mask, mask })
            }
            IpAddr::V6(ip) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                Some(Self::V6 { address: ip.to_bits() & mask, mask })
            }
            _ => None,
        }
    }

    /// Whether `client` is in it; an IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, client: &Address) -> bool {
        self.contains_ip(client.ip().map(|ip| ip.to_canonical()))
    }

    /// As [`Self::contains`], for an address in its own form; none for a client of a unix socket.
    pub fn contains_ip(&self, ip: Option<IpAddr>) -> bool {
        match (self, ip) {
            (Self::All, _) => true,
            (Self::Unix, ip) => ip.is_none(),
            (Self::V4 { address, mask }, Some(IpAddr::V4(ip))) => ip.to_bits() & mask == *address,
            (Self::V6 { address, mask }, Some(IpAddr::V6(ip))) => ip.to_bits() & mask == *address,
            _ => false,
        }
    }
}
