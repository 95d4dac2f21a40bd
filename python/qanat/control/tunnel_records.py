"""What a change of one tunnel, service, binding or peer does to the plan and to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler.tunnels import link_objects, service_objects
from qanat.control.index import PlanIndex, diff
from qanat.control.state import Step
from qanat.control.tunnel_state import TunnelChange
from qanat.store.base import StoredTunnel

if TYPE_CHECKING:
    from qanat.compiler.tunnels import Tunnels
    from qanat.control.state import State
    from qanat.control.tunnel_state import TunnelKey


def record_step(
    state: State, model: Tunnels, key: TunnelKey, document: bytes | None, summary: str
) -> Step:
    """Compute the step to a changed model; `document` is what the store keeps, None for nothing."""
    known = state.tunnels.records.get(key)
    before = known or (skipped.record if (skipped := state.tunnels.skipped.get(key)) else None)
    change = diff(_index(state.tunnels.model, key), _index(model, key), 0, None)
    is_same = known.document == document if known is not None else document is None
    if is_same and before is known and model == state.tunnels.model:
        return Step()
    if known is None and model == state.tunnels.model and before is None:
        return Step()  # It stands in the file already, or was never there.
    after = None if document is None else StoredTunnel(*key, document, state.revision + 1)
    changes = (TunnelChange(key, before, after),)
    return Step(put=change.put, remove=change.remove, tunnels=changes, model=model, summary=summary)


def _index(model: Tunnels, key: TunnelKey) -> PlanIndex:
    """Index the plan objects that a change of one record may touch."""
    kind, name = key
    if kind in {"tunnel", "peer"}:
        return PlanIndex.of(link_objects(model))
    return PlanIndex.of(service_objects(model, name.rpartition("/")[2]))
