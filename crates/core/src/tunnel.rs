//! Tunnels: links between two gateways, over which services of either are reached through the other.
//!
//! A tunnel is a name and a set of carriers, TLS connections that one side dials and the other accepts. Once it is up
//! both sides are equal: either opens streams for its clients ([`open`]) and serves those of the other ([`serve`]). The
//! frames are `qanat_wire::tunnel_frame`'s, the streams of a carrier are [`mux`], its task is [`carrier`].

mod accept;
mod backoff;
mod carrier;
mod dial;
mod gate;
mod handshake;
mod identity;
mod limits;
mod mux;
mod node;
mod offers;
mod open;
mod pending;
mod prove;
mod pulse;
mod reconcile;
mod refusals;
mod registry;
mod retire;
mod rules;
mod serve;
mod snapshot;
mod strangers;
mod stream;
mod tally;

pub use accept::welcome;
pub use dial::{code_of, probe};
pub use gate::{Gate, Gates};
pub use node::Node;
pub use offers::OfferSnapshot;
pub use open::{Flow, TunnelAddress, answer, connect, note_way, open_flow, refusal, while_wanted};
pub use pending::PendingFlow;
pub use registry::Tunnels;
pub use snapshot::{LimitsSnapshot, TunnelSnapshot};
pub use stream::TunnelStream;
pub use tally::{ServiceSnapshot, TimesSnapshot};
