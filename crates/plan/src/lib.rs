//! The plan: pure data that says what the data plane executes, and the change set that leads from one plan to the next.
//!
//! The Python compiler writes it (`qanat/compiler/plan.py` mirrors every type here), MessagePack carries it, and
//! `qanat-core` links and runs it. Nothing in this crate performs I/O. Unknown fields are refused on both sides, so
//! the two mirrors cannot drift apart unseen.
#![forbid(unsafe_code)]

mod change;
mod frame;
mod listener;
mod log;
mod proxy;
mod rules;
mod server;
mod template;
mod tls;
mod tunnel;
mod upstream;
mod variable;

pub use change::{ChangeSet, DecodeError, Objects, Options, Removals, SCHEMA, Settings};
pub use frame::{FieldKind, Frame, FrameBody, FrameEnd, FrameField};
pub use listener::{Keepalive, Listener, Protocol, Role, SocketOptions};
pub use log::{AccessLog, ErrorLog, Escape, Level, LogFormat, Target, TargetKind};
pub use proxy::{Bind, Proxy, ProxyProtocol, ProxyTarget, ProxyTls};
pub use rules::{PortRange, Rule, RuleAction, RuleQuery, RuleTable, RuleVerdict};
pub use server::{AccessRule, Content, Handlers, NameKind, Preread, Server, ServerName, SetVariable};
pub use template::{Part, Template};
pub use tls::{Certificate, ServerTls};
pub use tunnel::{Binding, Service, Tunnel, TunnelLimits, TunnelNode, TunnelPeer};
pub use upstream::{Balance, Peer, Upstream};
pub use variable::{MapEntry, MapPattern, Variable, VariableKind};
