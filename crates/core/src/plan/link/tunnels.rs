//! Tunnels, services, bindings and peers of a plan.

use std::sync::Arc;

use qanat_plan as spec;

use super::LinkError;
use crate::error::ApplyError;
use crate::plan::Plan;
use crate::tunnel::Node;

/// Makes the change. Most of it needs no linking: it is looked up by name when it is used.
///
/// # Errors
/// A key that is none.
pub(super) fn change(next: &mut Plan, change: &spec::ChangeSet) -> Result<(), ApplyError> {
    let (put, remove) = (&change.put, &change.remove);
    remove.tunnels.iter().for_each(|name| drop(next.tunnels.remove(name.as_str())));
    remove.services.iter().for_each(|id| drop(next.services.remove(id.as_str())));
    remove.bindings.iter().for_each(|id| drop(next.bindings.remove(id.as_str())));
    remove.peers.iter().for_each(|name| drop(next.peers.remove(name.as_str())));
    for tunnel in &put.tunnels {
        next.tunnels.insert(tunnel.name.as_str().into(), Arc::new(tunnel.clone()));
    }
    for service in &put.services {
        next.services.insert(service.id.as_str().into(), Arc::new(service.clone()));
    }
    for binding in &put.bindings {
        next.bindings.insert(binding.id.as_str().into(), Arc::new(binding.clone()));
    }
    for peer in &put.peers {
        next.peers.insert(peer.name.as_str().into(), Arc::new(peer.clone()));
    }
    if change.settings.is_some() || !put.peers.is_empty() || !remove.peers.is_empty() {
        link_node(next, change.settings.as_ref())?;
    }
    Ok(())
}

/// Who this node is to others, after a change of the settings or of the peers.
fn link_node(next: &mut Plan, settings: Option<&spec::Settings>) -> Result<(), ApplyError> {
    let present = next.settings.tunnels.clone();
    let spec = match settings {
        Some(settings) => settings.tunnels.as_ref(),
        None => present.as_ref().map(|node| &node.spec),
    };
    let peers: Vec<_> = next.peers.values().cloned().collect();
    let node = spec.map(|spec| Node::link(spec, &next.settings.node_name, peers, present.as_ref()));
    let node =
        node.transpose().map_err(|message| LinkError::new("tunnels", message).of("settings", "", ""))?;
    Arc::make_mut(&mut next.settings).tunnels = node;
    Ok(())
}
