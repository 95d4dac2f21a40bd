"""Many peers, tunnels, services and bindings in one change: all of it, or nothing."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from qanat.compiler.tunnels import Bound
from qanat.control.errors import InvalidRequest
from qanat.control.index import PlanIndex, diff
from qanat.control.state import Step
from qanat.control.tunnel_peers import putting_peer, removing_peer
from qanat.control.tunnel_state import TunnelChange, TunnelState
from qanat.control.tunnels import (
    binding,
    putting_service,
    putting_tunnel,
    removing_service,
    removing_tunnel,
    unbinding,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qanat.compiler.compilation import Resolve
    from qanat.compiler.tunnel_peers import PeerSpec
    from qanat.compiler.tunnels import Kind, LocalService, RemoteService, TunnelSpec
    from qanat.control.state import State
    from qanat.control.tunnel_state import TunnelKey


@dataclass(frozen=True, slots=True)
class Wanted:
    """What there is to be, by name; None is removed, and what is not named stays as it is."""

    peers: Mapping[str, PeerSpec | None] = field(default_factory=dict)
    tunnels: Mapping[str, TunnelSpec | None] = field(default_factory=dict)
    local: Mapping[str, LocalService | None] = field(default_factory=dict)
    remote: Mapping[str, RemoteService | None] = field(default_factory=dict)
    bindings: Mapping[Kind, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """For each kind, all tunnels that a service is to be bound to."""

    def services(
        self,
    ) -> tuple[tuple[Kind, Mapping[str, LocalService | RemoteService | None]], ...]:
        """Give the services of both kinds."""
        return (("local", self.local), ("remote", self.remote))


def applying(state: State, wanted: Wanted, resolve: Resolve) -> Step:
    """Compute the step that makes everything as it is wanted.

    Raise a `ChangeRefused`; the field of an `InvalidRequest` is a path in the request.
    """
    ahead = _ahead_of(state)
    changes: dict[TunnelKey, TunnelChange] = {}
    for place, part in _parts(state, wanted):
        try:
            step = part(ahead, resolve=resolve)
        except InvalidRequest as fault:
            where = f"{place}.{fault.field}" if fault.field else place
            raise InvalidRequest(where, f"{where}: {fault}") from None
        ahead.take(step)
        for change in step.tunnels:
            first = changes.setdefault(change.key, change)
            changes[change.key] = TunnelChange(change.key, first.before, change.after)
    changes = {key: change for key, change in changes.items() if not _is_void(change)}
    if not changes:
        return Step()
    plan = diff(state.index, ahead.index, 0, None)
    summary = f"{len(changes)} peers, tunnels, services and bindings applied"
    records = tuple(changes.values())
    return Step(
        put=plan.put,
        remove=plan.remove,
        tunnels=records,
        model=ahead.tunnels.model,
        summary=summary,
    )


def _is_void(change: TunnelChange) -> bool:
    """Tell whether it leaves what was there before."""
    before, after = change.before, change.after
    return before is not None and after is not None and before.document == after.document


def _ahead_of(state: State) -> State:
    """Copy a state as far as steps of tunnels change it."""
    ahead = copy(state)
    ahead.index = PlanIndex.of(state.index.objects())
    known = state.tunnels
    ahead.tunnels = TunnelState(known.model, dict(known.records), dict(known.skipped))
    ahead.references = state.references.copy()
    return ahead


def _parts(state: State, wanted: Wanted) -> Iterator[tuple[str, partial[Step]]]:
    """List the changes one by one; what goes comes first, to leave its addresses to others."""
    yield from _removals(wanted)
    yield from _departures(state, wanted)
    for name, peer in wanted.peers.items():
        if peer is not None:
            yield f"peers.{name}", partial(putting_peer, name=name, spec=peer)
    for name, tunnel in wanted.tunnels.items():
        if tunnel is not None:
            yield f"tunnels.{name}", partial(putting_tunnel, name=name, spec=tunnel)
    for kind, services in wanted.services():
        for name, spec in services.items():
            if spec is not None:
                part = partial(putting_service, kind=kind, name=name, spec=spec)
                yield f"services.{kind}.{name}", part
    yield from _bindings(state, wanted)
    for name, peer in wanted.peers.items():
        if peer is None:
            # By now no tunnel wants it.
            yield f"peers.{name}", partial(removing_peer, name=name)


def _removals(wanted: Wanted) -> Iterator[tuple[str, partial[Step]]]:
    for name, tunnel in wanted.tunnels.items():
        if tunnel is None:
            yield f"tunnels.{name}", partial(removing_tunnel, name=name)
    for kind, services in wanted.services():
        for name, spec in services.items():
            if spec is None:
                yield f"services.{kind}.{name}", partial(removing_service, kind=kind, name=name)


def _departures(state: State, wanted: Wanted) -> Iterator[tuple[str, partial[Step]]]:
    """Take services of the API away that go to another address, which others may leave."""
    for name, spec in wanted.local.items():
        known = state.tunnels.model.local.get(name)
        if spec is None or known is None or ("local", name) not in state.tunnels.records:
            continue
        # Any free port is the one that it has.
        if spec.address != known.address and not spec.address.endswith(":0"):
            yield f"services.local.{name}", partial(removing_service, kind="local", name=name)


def _bindings(state: State, wanted: Wanted) -> Iterator[tuple[str, partial[Step]]]:
    for kind, bound in wanted.bindings.items():
        known = state.tunnels.model.bindings(kind)
        for service, tunnels in bound.items():
            place = f"bindings.{kind}.{service}"
            for tunnel in tunnels:
                yield place, partial(binding, kind=kind, tunnel=tunnel, service=service)
            for tunnel in known.get(service, Bound()).tunnels:
                if tunnel not in tunnels:
                    yield place, partial(unbinding, kind=kind, tunnel=tunnel, service=service)
