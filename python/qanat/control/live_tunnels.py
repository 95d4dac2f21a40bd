"""Tunnels of the live gateway: what the API asks, with its effect there when it answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from qanat.control.errors import TunnelUnreachable
from qanat.control.tunnels import (
    binding,
    putting_service,
    putting_tunnel,
    removing_service,
    removing_tunnel,
    unbinding,
)

if TYPE_CHECKING:
    from qanat.compiler.tunnels import Kind, LocalService, RemoteService, TunnelSpec
    from qanat.control.gateway import Done, LiveGateway

_PATIENCE_S = 5.0
_POLL_S = 0.02  # how often a drain looks whether streams are left
_MASKED = "********"
_COUNTERS = (
    *("serving", "opened", "served", "refused", "rejected", "reconnects"),
    *("refused_by", "rejected_by", "reset_by"),
)


@dataclass(frozen=True, slots=True)
class TunnelDone:
    """A change that is stored and has its effect, and what there is to tell of it."""

    changed: bool
    facts: dict[str, Any] = field(default_factory=dict)


class LiveTunnels:
    """What can be asked of tunnels."""

    def __init__(self, gateway: LiveGateway) -> None:
        self._gateway = gateway

    async def put_tunnel(self, name: str, spec: TunnelSpec) -> TunnelDone:
        """Bring a tunnel up, and keep it up. One that is there already stays untouched.

        Raise `TunnelUnreachable` if the other end does not answer, with nothing changed; a
        `ChangeRefused` or `StoreError`.
        """
        engine = self._gateway.engine
        state = self._gateway.state
        if not spec.leads_as(state.tunnels.model.tunnels.get(name)):
            # Whatever is wrong with the words is said before anybody is dialled.
            self._gateway.rehearse(putting_tunnel, name, spec)
            reason = await asyncio.to_thread(engine.probe_tunnel, name, spec.dial, spec.peer)
            if reason is not None:
                raise TunnelUnreachable(f"{spec.dial} cannot be reached: {reason}")
        done = await self._gateway.change(putting_tunnel, name, spec)
        is_up = await asyncio.to_thread(engine.wait_for_tunnel, name, _PATIENCE_S)
        return TunnelDone(done.changed, {"state": "up" if is_up else self._state_of(name)})

    def want(self, name: str) -> None:
        """Dial a tunnel now if it is not up, also if the other end had removed it."""
        self._gateway.engine.wait_for_tunnel(name, 0.0)

    async def remove_tunnel(self, name: str, drain_s: float = 0.0) -> TunnelDone:
        """End a tunnel at both ends; its streams have `drain_s` seconds to end, then are reset.

        Raise a `ChangeRefused` or `StoreError`.
        """
        if drain_s > 0:
            # A tunnel that may not be removed must not be left either: it would take no streams.
            self._gateway.rehearse(removing_tunnel, name)
            await self._drain(name, drain_s)
        done = await self._gateway.change(removing_tunnel, name)
        closed = self._gateway.engine.close_tunnel(name)
        return TunnelDone(done.changed or closed)

    async def put_service(
        self, kind: Kind, name: str, spec: LocalService | RemoteService
    ) -> TunnelDone:
        """Add or change a service. Raise a `ChangeRefused` or `StoreError`."""
        done = await self._gateway.change(putting_service, kind, name, spec)
        facts: dict[str, Any] = {}
        if kind == "local":
            address = self._gateway.state.tunnels.model.local[name].address
            port = address.rpartition(":")[2]
            # A unix socket has none.
            facts = {"addr": address} | ({"port": int(port)} if port.isdigit() else {})
        return TunnelDone(done.changed, facts)

    async def remove_service(self, kind: Kind, name: str, *, resets: bool = False) -> TunnelDone:
        """Remove a service; its streams go on, or are reset."""
        done = await self._gateway.change(removing_service, kind, name)
        if resets:
            self._gateway.engine.reset_streams(name, local=kind == "local")
        return TunnelDone(done.changed)

    async def bind(self, kind: Kind, tunnel: str, service: str) -> TunnelDone:
        """Bind a service to a tunnel."""
        return _of(await self._gateway.change(binding, kind, tunnel, service))

    async def unbind(
        self, kind: Kind, tunnel: str, service: str, *, resets: bool = False
    ) -> TunnelDone:
        """End a binding; its streams go on, or are reset."""
        done = await self._gateway.change(unbinding, kind, tunnel, service)
        if resets:
            self._gateway.engine.reset_streams(service, local=kind == "local", tunnel=tunnel)
        return _of(done)

    def tunnels(self) -> dict[str, Any]:
        """Show all tunnels, those that were accepted among them, with their states."""
        model = self._gateway.state.tunnels.model
        found: dict[str, Any] = {
            name: {
                "dest": spec.dial,
                "peer": spec.peer,
                "send_rate": spec.send_rate,
                "receive_rate": spec.receive_rate,
                "state": "connecting",
            }
            for name, spec in model.tunnels.items()
        }
        for seen in self._seen():
            facts = {key: value for key, value in seen.items() if key != "name"}
            if seen["name"] in found or facts["carriers"]:
                found.setdefault(seen["name"], {}).update(facts)
        return found

    def services(self) -> dict[str, Any]:
        """Show all services; keys are masked."""
        model = self._gateway.state.tunnels.model
        return {
            "local": {
                name: {
                    "addr": service.address,
                    "key": _masked(service.key),
                    "pending_timeout": service.pending_timeout_ms,
                    "when_down": service.when_down,
                    "protocol": service.protocol,
                    **msgspec.structs.asdict(service.rates),
                }
                for name, service in model.local.items()
            },
            "remote": {
                name: {
                    "addr": service.target,
                    "key": _masked(service.key),
                    "timeout": service.connect_timeout_ms,
                    "proxy_protocol": service.proxy_protocol,
                    "protocol": service.protocol,
                    "max_streams": service.max_streams,
                    **msgspec.structs.asdict(service.rates),
                }
                for name, service in model.remote.items()
            },
        }

    def bindings(self) -> dict[str, Any]:
        """Show which services are bound to which tunnels."""
        model = self._gateway.state.tunnels.model
        return {
            "local": {name: list(bound.tunnels) for name, bound in model.local_bindings.items()},
            "remote": {name: list(bound.tunnels) for name, bound in model.remote_bindings.items()},
        }

    def config(self) -> dict[str, Any]:
        """Show everything at once."""
        connections = {seen["name"]: {key: seen[key] for key in _COUNTERS} for seen in self._seen()}
        return {
            "tunnels": self.tunnels(),
            "services": self.services(),
            "bind": self.bindings(),
            "connections": connections,
        }

    async def _drain(self, name: str, drain_s: float) -> None:
        engine = self._gateway.engine
        engine.leave_tunnel(name, drain_s)
        loop = asyncio.get_running_loop()
        end = loop.time() + drain_s
        while loop.time() < end:
            if not self._streams(name):
                return
            await asyncio.sleep(_POLL_S)

    def _streams(self, name: str) -> int:
        carriers = (c for seen in self._seen() if seen["name"] == name for c in seen["carriers"])
        return sum(carrier["streams"] for carrier in carriers)

    def _state_of(self, name: str) -> str:
        states = (str(seen["state"]) for seen in self._seen() if seen["name"] == name)
        return next(states, "connecting")

    def _seen(self) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = msgspec.msgpack.decode(
            self._gateway.engine.snapshot("tunnels")
        )
        return seen


def _masked(key: str) -> str | None:
    return _MASKED if key else None


def _of(done: Done) -> TunnelDone:
    return TunnelDone(done.changed)
