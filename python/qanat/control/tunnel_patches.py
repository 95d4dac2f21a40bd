"""Changing some fields of a tunnel or a service, as steps computed from the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from qanat.compiler.tunnel_limits import SERVICE_RATES
from qanat.control.errors import ServiceNotFound, TunnelNotFound
from qanat.control.tunnels import putting_service, putting_tunnel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qanat.compiler.compilation import Resolve
    from qanat.compiler.tunnels import Kind
    from qanat.control.state import State, Step


def patching_tunnel(
    state: State, name: str, fields: Mapping[str, object], resolve: Resolve
) -> Step:
    """Compute the step that gives a tunnel other `fields`. Raise a `ChangeRefused`."""
    spec = state.tunnels.model.tunnels.get(name)
    if spec is None:
        raise TunnelNotFound(name)
    return putting_tunnel(state, name, structs.replace(spec, **fields), resolve)


def patching_service(
    state: State, kind: Kind, name: str, fields: Mapping[str, object], resolve: Resolve
) -> Step:
    """Compute the step that gives a service other `fields`. Raise a `ChangeRefused`."""
    model = state.tunnels.model
    spec = model.local.get(name) if kind == "local" else model.remote.get(name)
    if spec is None:
        raise ServiceNotFound(kind, name)
    rates = {field: value for field, value in fields.items() if field in SERVICE_RATES}
    others = {field: value for field, value in fields.items() if field not in rates}
    changed = structs.replace(spec, rates=structs.replace(spec.rates, **rates), **others)
    return putting_service(state, kind, name, changed, resolve)
