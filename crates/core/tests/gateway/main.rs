//! The data plane as its users see it: change sets in, bytes over loopback sockets out. No Python.

mod changes;
mod phases;
mod shortage;
mod sockets;
mod support;
