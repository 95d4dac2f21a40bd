//! The built-in variables: one row each, a name and the function that appends its value or finds none.
//!
//! `python/qanat/compiler/builtin.py` lists the same names.

use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use qanat_plan::Protocol;
use qanat_wire::proxy_protocol::Tlvs;

use crate::address::Address;
use crate::clock;
use crate::session::Session;
use crate::session::state::{PrereadHello, ProxyHeader};
use crate::session::vars::{time, tls, upstream};

/// What stands before the name of a TLV.
pub(crate) const TLV_PREFIX: &str = "proxy_protocol_tlv_";

/// What stands before the name of anything in a frame.
pub(crate) const FRAME_PREFIX: &str = "frame_";

/// The one name that the configuration may define itself; without a definition it is not found.
const DEFINABLE: &str = "mesh_server_name";

/// Appends a value; none if there is nothing to find in this session.
pub(crate) type Append = fn(&Session, &mut Vec<u8>) -> Option<()>;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Builtin {
    name: &'static str,
    pub(crate) append: Append,
}

const fn row(name: &'static str, append: Append) -> Builtin {
    Builtin { name, append }
}

static TABLE: &[Builtin] = &[
    row("binary_remote_addr", |s, out| binary_address(&s.client, out)),
    row("remote_addr", |s, out| host(&s.client, out)),
    row("remote_port", |s, out| port(&s.client, out)),
    row("realip_remote_addr", |s, out| host(&s.client, out)),
    row("realip_remote_port", |s, out| port(&s.client, out)),
    row("proxy_protocol_addr", |s, out| show(header(s)?.client?.ip(), out)),
    row("proxy_protocol_port", |s, out| show(header(s)?.client?.port(), out)),
    row("proxy_protocol_server_addr", |s, out| show(header(s)?.server?.ip(), out)),
    row("proxy_protocol_server_port", |s, out| show(header(s)?.server?.port(), out)),
    row("server_addr", |s, out| host(local(s), out)),
    row("server_port", |s, out| port(local(s), out)),
    row("server_name", |s, out| show(&s.server.spec.name, out)),
    row("connection", |s, out| show(s.id, out)),
    row("pid", |_, out| show(std::process::id(), out)),
    row("hostname", |s, out| show(&s.plan.settings.hostname, out)),
    row("nginx_version", |s, out| show(&s.plan.settings.version, out)),
    row("msec", |_, out| show(time::Seconds(clock::wall()), out)),
    row("time_iso8601", |_, out| show(time::Iso8601(time::now()), out)),
    row("time_local", |_, out| show(time::CommonLog(time::now()), out)),
    row("protocol", |s, out| show(protocol(s), out)),
    row("bytes_received", |s, out| show(s.bytes_received, out)),
    row("bytes_sent", |s, out| show(s.bytes_sent, out)),
    row("session_time", |s, out| show(time::Seconds(clock::now() - s.started), out)),
    row("status", |s, out| show(format_args!("{:03}", s.status), out)),
    row("upstream_addr", upstream::address),
    row("upstream_bytes_sent", upstream::bytes_sent),
    row("upstream_bytes_received", upstream::bytes_received),
    row("upstream_connect_time", upstream::connect_time),
    row("upstream_first_byte_time", upstream::first_byte_time),
    row("upstream_session_time", upstream::session_time),
    row("ssl_protocol", tls::protocol),
    row("ssl_cipher", tls::cipher),
    row("ssl_ciphers", tls::ciphers),
    row("ssl_curve", tls::curve),
    row("ssl_curves", tls::curves),
    row("ssl_session_id", tls::session_id),
    row("ssl_session_reused", tls::session_reused),
    row("ssl_server_name", tls::server_name),
    row("ssl_alpn_protocol", tls::alpn_protocol),
    row("ssl_preread_protocol", |s, out| show(hello(s)?.protocol, out)),
    row("ssl_preread_server_name", |s, out| hello_bytes(s, |hello| &hello.server_name, out)),
    row("ssl_preread_alpn_protocols", |s, out| hello_bytes(s, |hello| &hello.alpn, out)),
    row("tunnel_name", |s, out| show(s.tunnelled()?.0, out)),
    row("tunnel_service", |s, out| show(s.tunnelled()?.1, out)),
    row("rule", |s, out| show(&s.route()?.rule, out)),
    row("njtmesh_port", |s, out| show(original(s)?.port(), out)),
    row("njtmesh_ip", |s, out| show(original(s)?.ip(), out)),
    row("njtmesh_dest", |s, out| show(original(s)?, out)),
];

/// Names of the built-in variables; those that end in `_` are prefixes.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|row| row.name).chain([TLV_PREFIX, FRAME_PREFIX, DEFINABLE]).collect()
}

/// The row of a name in lower case.
pub(crate) fn find(name: &str) -> Option<&'static Builtin> {
    TABLE.iter().find(|row| row.name == name)
}

/// `$proxy_protocol_tlv_NAME`.
pub(crate) fn append_tlv(session: &Session, name: &str, out: &mut Vec<u8>) -> Option<()> {
    let value = Tlvs::new(&header(session)?.tlvs).named(name).ok()??;
    out.extend_from_slice(&value);
    Some(())
}

/// `$frame_NAME`.
pub(crate) fn append_frame(session: &Session, name: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&session.facts.as_ref()?.frame.as_ref()?.value(name)?);
    Some(())
}

/// Appends a value as text.
pub(crate) fn show(value: impl Display, out: &mut Vec<u8>) -> Option<()> {
    write!(out, "{value}").ok()
}

fn header(session: &Session) -> Option<&ProxyHeader> {
    session.facts.as_ref()?.proxy_header.as_ref()
}

fn hello(session: &Session) -> Option<&PrereadHello> {
    session.facts.as_ref()?.hello.as_ref()
}

/// What the client sent need not be text.
fn hello_bytes(session: &Session, field: fn(&PrereadHello) -> &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(field(hello(session)?));
    Some(())
}

fn original(session: &Session) -> Option<SocketAddr> {
    session.original()
}

fn protocol(session: &Session) -> &'static str {
    match session.protocol() {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// The address that the client connected to, as far as it is known.
fn local(session: &Session) -> &Address {
    session.local.as_ref().unwrap_or(&session.listener.address)
}

fn host(address: &Address, out: &mut Vec<u8>) -> Option<()> {
    match address.ip() {
        Some(ip) => show(ip, out),
        None => show(address, out),
    }
}

/// A unix socket has no port: the variable is there, and empty.
fn port(address: &Address, out: &mut Vec<u8>) -> Option<()> {
    address.port().map_or(Some(()), |port| show(port, out))
}

fn binary_address(address: &Address, out: &mut Vec<u8>) -> Option<()> {
    match address.ip() {
        Some(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
        None => return show(address, out),
    }
    Some(())
}
