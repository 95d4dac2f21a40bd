"""Adding, changing and removing peers, as steps computed from the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from qanat.compiler.tunnel_peers import PeerSpec, holder_of, peer_fault
from qanat.compiler.tunnels import name_fault
from qanat.control.errors import (
    InvalidRequest,
    NoTunnels,
    PeerInUse,
    PeerNotFound,
    TunnelIsStatic,
)
from qanat.control.tunnel_records import record_step
from qanat.control.tunnel_state import copy_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qanat.compiler.compilation import Resolve
    from qanat.control.state import State, Step


def putting_peer(state: State, name: str, spec: PeerSpec, resolve: Resolve) -> Step:
    """Compute the step that adds or changes a peer. Raise a `ChangeRefused`."""
    fault = name_fault("peer", name)
    if fault is not None:
        raise InvalidRequest("name", fault)
    if state.compiled.settings.tunnels is None:
        raise NoTunnels
    static = state.compiled.tunnels.model.peers.get(name)
    if static is not None and static != spec:
        raise TunnelIsStatic(f'peer "{name}"')
    wrong = peer_fault(spec)
    if wrong is not None:
        raise InvalidRequest(*wrong)
    model = copy_of(state.tunnels.model)
    holder = holder_of(model.peers, name, spec)
    if holder is not None:
        raise InvalidRequest("key", f'peer "{holder}" has the same key')
    model.peers[name] = spec
    document = msgspec.json.encode(spec)
    return record_step(state, model, ("peer", name), document, f'peer "{name}" put')


def patching_peer(state: State, name: str, fields: Mapping[str, object], resolve: Resolve) -> Step:
    """Compute the step that gives a peer other `fields`. Raise a `ChangeRefused`."""
    spec = state.tunnels.model.peers.get(name)
    if spec is None:
        raise PeerNotFound(name)
    return putting_peer(state, name, structs.replace(spec, **fields), resolve)


def removing_peer(state: State, name: str, resolve: Resolve) -> Step:
    """Compute the step that removes a peer, whose carriers end. Raise a `ChangeRefused`."""
    if name in state.compiled.tunnels.model.peers:
        raise TunnelIsStatic(f'peer "{name}"')
    model = copy_of(state.tunnels.model)
    for tunnel, spec in model.tunnels.items():
        if spec.peer == name:
            raise PeerInUse(name, tunnel)
    model.peers.pop(name, None)
    return record_step(state, model, ("peer", name), None, f'peer "{name}" removed')
