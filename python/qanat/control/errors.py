"""Why a change was refused. A refusal leaves gateway, store and plan as they were."""

from __future__ import annotations

import os


class ChangeRefused(Exception):  # noqa: N818 - reads as what happened to the change
    """Base of all refusals of this package; `str()` is a sentence for the caller."""

    code = "refused"


class InvalidRequest(ChangeRefused):
    """A field of the request cannot be used; `field` names it."""

    code = "invalid_request"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class ServerExists(ChangeRefused):
    """The listener has a server of this name."""

    code = "exists"

    def __init__(self, listener: str, name: str) -> None:
        super().__init__(f'listener "{listener}" has a server named "{name}"')


class ServerNotFound(ChangeRefused):
    """The listener, or the name on it, does not exist."""

    code = "not_found"

    def __init__(self, listener: str, name: str) -> None:
        super().__init__(f'listener "{listener}" has no server named "{name}"')


class ServerIsStatic(ChangeRefused):
    """Only servers that were added over the API can be removed over it."""

    code = "static"

    def __init__(self, server: str) -> None:
        super().__init__(f'server "{server}" stands in the configuration file')


class TableNotFound(ChangeRefused):
    """There is no table of rules of this name."""

    code = "not_found"

    def __init__(self, table: str) -> None:
        super().__init__(f'there are no rules "{table}"')


class RuleNotFound(ChangeRefused):
    """The table has no rule of this name."""

    code = "not_found"

    def __init__(self, table: str, name: str) -> None:
        super().__init__(f'rules "{table}" have no rule "{name}"')


class RuleIsStatic(ChangeRefused):
    """Rules of the configuration file are changed there."""

    code = "static"


class TableInUse(ChangeRefused):
    """A virtual server asks the rules that are to be removed."""

    code = "in_use"

    def __init__(self, table: str) -> None:
        super().__init__(f'rules "{table}" are in use by a virtual server')


class NoTunnels(ChangeRefused):
    """The configuration has no `tunnels` block."""

    code = "no_tunnels"

    def __init__(self) -> None:
        super().__init__('the configuration has no "tunnels" block')


class TunnelIsStatic(ChangeRefused):
    """What the configuration file says of tunnels is changed there."""

    code = "static"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} stands in the configuration file")


class TunnelNotFound(ChangeRefused):
    """There is no tunnel of this name."""

    code = "not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f'there is no tunnel "{name}"')


class PeerNotFound(ChangeRefused):
    """There is no peer of this name."""

    code = "not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f'there is no peer "{name}"')


class PeerInUse(ChangeRefused):
    """A tunnel names the peer that is to be removed."""

    code = "in_use"

    def __init__(self, name: str, tunnel: str) -> None:
        super().__init__(f'peer "{name}" is in use by tunnel "{tunnel}"')


class ServiceNotFound(ChangeRefused):
    """There is no service of this name and kind."""

    code = "not_found"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f'there is no {kind} service "{name}"')


class BindingNotFound(ChangeRefused):
    """The service is not bound to the tunnel."""

    code = "not_found"

    def __init__(self, kind: str, tunnel: str, service: str) -> None:
        super().__init__(f'there is no {kind} binding of "{service}" to "{tunnel}"')


class TunnelUnreachable(ChangeRefused):
    """The other end of a tunnel does not answer."""

    code = "unreachable"


class AddressTaken(ChangeRefused):
    """Another object of this gateway has the address."""

    code = "in_use"

    def __init__(self, address: str, holder: str) -> None:
        super().__init__(f"address_in_use: {address} belongs to {holder}")


class PlanRefused(ChangeRefused):
    """The data plane cannot run the change."""

    code = "plan"

    def __init__(self, kind: str, ident: str, field: str, reason: str, origin: str) -> None:
        # The file's own objects are known by their place, others by their id.
        place = f" in {origin}" if ":" in origin else f" ({kind} {ident})" if ident else ""
        super().__init__(f"{reason}{place}")
        self.kind = kind
        self.ident = ident
        self.field = field
        self.reason = reason
        self.origin = origin


class ListenRefused(ChangeRefused):
    """A listener that cannot be bound."""

    code = "listen"

    def __init__(self, listener: str, number: int, reason: str = "") -> None:
        address = listener.partition(":")[2]
        self.reason = reason or os.strerror(number)
        super().__init__(f"bind() to {address} failed ({number}: {self.reason})")
        self.listener = listener
        self.errno = number


class Busy(ChangeRefused):
    """Too many changes wait already."""

    code = "busy"


class DeadlineExceeded(ChangeRefused):
    """The change was not finished in time; the message says whether it may still be."""

    code = "deadline"


class WorkerLate(DeadlineExceeded):
    """A worker did not follow a change in time: stored and live, but not yet seen by every session.

    The one exception here that is no refusal.
    """

    code = "worker_late"
