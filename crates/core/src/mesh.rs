//! `mesh`: sessions that were redirected to a listener, and the virtual server that their original destination selects.

use std::net::SocketAddr;

use socket2::SockRef;

use crate::session::{Session, vars};
use crate::stream::Socket;

/// The variable whose value names the server to switch to.
const SELECTOR: &str = "mesh_server_name";

/// Finds out where a connection to a mesh listener was going before netfilter redirected it.
/// Without redirection that is the local address.
pub fn read_destination(session: &mut Session, socket: &Socket) {
    if !session.listener.spec.mesh {
        return;
    }
    if let Socket::Tcp(tcp) = socket {
        let socket = SockRef::from(tcp);
        let local = tcp.local_addr().ok();
        let found = match local {
            Some(SocketAddr::V6(_)) => socket.original_dst_v6(),
            _ => socket.original_dst_v4(),
        };
        let original = found.ok().and_then(|address| address.as_socket()).or(local);
        session.facts_mut().original = original;
    }
}

/// Switches to the server that `$mesh_server_name` names, if that is defined. It need not be a mesh listener.
pub fn select_server(session: &mut Session) {
    if session.listener.names.is_empty() || !is_defined(session) {
        return;
    }
    if let Some(name) = vars::get(session, SELECTOR) {
        session.switch_server(&name);
    }
}

fn is_defined(session: &Session) -> bool {
    session.plan.variables.contains_key(SELECTOR)
        || session.server.set.iter().any(|(name, _)| &**name == SELECTOR)
}
