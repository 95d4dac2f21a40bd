//! Writing a header for the peer. None of it fails: what does not fit the format is left out.

use std::net::{IpAddr, SocketAddr};

use super::{Addresses, INET, INET6, MAX_HEADER, SIGNATURE, STREAM, V2_PREFIX, V2_PROXY, crc32c, kind};

const CHECKSUM_TLV: usize = 7;
const CLIENT_USED_TLS: u8 = 1;
/// A value of `verify` other than zero: no client certificate was verified.
const NOT_VERIFIED: u32 = 1;

/// What version 2 tells of a client that came over TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts<'a> {
    /// The protocol agreed on by ALPN.
    pub alpn: Option<&'a [u8]>,
    /// The host name that the client asked for.
    pub server_name: Option<&'a str>,
    /// `TLSv1.3`, …
    pub version: &'a str,
    /// `TLS_AES_256_GCM_SHA384`, …
    pub cipher: &'a str,
}

/// Appends a line of version 1; without addresses (a client on a unix socket) it says `UNKNOWN`.
pub fn encode_v1(to: &mut Vec<u8>, addresses: Option<&Addresses>) {
    let line = match addresses.map(same_family) {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some(Addresses { source, destination }) => format!(
            "PROXY TCP{} {} {} {} {}\r\n",
            if source.is_ipv4() { 4 } else { 6 },
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        ),
    };
    to.extend_from_slice(line.as_bytes());
}

/// Appends a header of version 2. With `tls` it carries what is known of it, and ends with a checksum.
/// Without addresses the family is unspecified.
pub fn encode_v2(to: &mut Vec<u8>, addresses: Option<&Addresses>, tls: Option<&TlsFacts<'_>>) {
    let start = to.len();
    to.extend_from_slice(&SIGNATURE);
    to.extend_from_slice(&[V2_PROXY, 0, 0, 0]);
    let family = match addresses.map(same_family) {
        None => 0,
        Some(addresses) => put_addresses(to, &addresses),
    };
    if let Some(tls) = tls {
        put_tls(to, start, tls);
    }
    let added = if tls.is_some() { CHECKSUM_TLV } else { 0 };
    let length = u16::try_from(to.len() + added - start - V2_PREFIX).unwrap_or(u16::MAX);
    if let Some([family_transport, high, low]) = to.get_mut(start + 13..start + 16) {
        *family_transport = family;
        [*high, *low] = length.to_be_bytes();
    }
    if tls.is_some() {
        to.extend_from_slice(&[kind::CRC32C, 0, 4]);
        let sum = crc32c::checksum(&[to.get(start..).unwrap_or_default(), &[0; 4]]);
        to.extend_from_slice(&sum.to_be_bytes());
    }
}

/// An IPv4 end beside an IPv6 one (a real address from a header, seen through another socket) is written mapped.
fn same_family(addresses: &Addresses) -> Addresses {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let Addresses { source, destination } = *addresses;
    if source.is_ipv4() == destination.is_ipv4() {
        return *addresses;
    }
    Addresses { source: mapped(source), destination: mapped(destination) }
}

/// Returns the byte of family and transport.
fn put_addresses(to: &mut Vec<u8>, addresses: &Addresses) -> u8 {
    for end in [addresses.source, addresses.destination] {
        match end.ip() {
            IpAddr::V4(ip) => to.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => to.extend_from_slice(&ip.octets()),
        }
    }
    to.extend_from_slice(&addresses.source.port().to_be_bytes());
    to.extend_from_slice(&addresses.destination.port().to_be_bytes());
    (if addresses.source.is_ipv4() { INET } else { INET6 }) << 4 | STREAM
}

fn put_tls(to: &mut Vec<u8>, start: usize, tls: &TlsFacts<'_>) {
    let mut ssl = vec![CLIENT_USED_TLS];
    ssl.extend_from_slice(&NOT_VERIFIED.to_be_bytes());
    put_tlv(&mut ssl, kind::SSL_VERSION, tls.version.as_bytes(), MAX_HEADER);
    put_tlv(&mut ssl, kind::SSL_CIPHER, tls.cipher.as_bytes(), MAX_HEADER);

    let limit = start + MAX_HEADER - CHECKSUM_TLV;
    if let Some(alpn) = tls.alpn {
        put_tlv(to, kind::ALPN, alpn, limit);
    }
    if let Some(name) = tls.server_name {
        put_tlv(to, kind::AUTHORITY, name.as_bytes(), limit);
    }
    put_tlv(to, kind::SSL, &ssl, limit);
}

/// Leaves the field out where the header would grow beyond what a receiver must take.
fn put_tlv(to: &mut Vec<u8>, kind: u8, value: &[u8], limit: usize) {
    if let Ok(length) = u16::try_from(value.len())
        && to.len() + 3 + value.len() <= limit
    {
        to.push(kind);
        to.extend_from_slice(&length.to_be_bytes());
        to.extend_from_slice(value);
    }
}
