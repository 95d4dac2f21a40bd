//! Tunnels: links between two gateways, over which services of either are reached through the other.

mod mux;
