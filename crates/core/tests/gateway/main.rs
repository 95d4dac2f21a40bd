//! The data plane as its users see it: change sets in, bytes over loopback sockets out. No Python.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails says so by a panic"
)]

mod changes;
mod handlers;
mod hasty_peers;
mod phases;
mod records;
mod shortage;
mod shortage_of_peers;
mod sockets;
#[path = "../specs/mod.rs"]
mod specs;
mod stranger;
mod support;
mod tls;
mod tunnel_flows;
mod tunnel_handshakes;
mod tunnels;
mod udp_listeners;
