"""A named group of peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.config.tree import Directive
from qanat.gateway.phases import Block, Decorator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qanat.gateway.phases import Functions
    from qanat.gateway.place import Place
    from qanat.handlers import BalanceSession, Peer


class Upstream(Block):
    """A named group of peers, for `proxy_pass`. Made by `Gateway.upstream`."""

    def __init__(self, name: str, functions: Functions, place: Place) -> None:
        super().__init__()
        self.name = name
        self.balance: Decorator[BalanceSession, Peer | str | None] = Decorator(
            "balance", functions, self
        )
        """Declare the function that chooses a peer; nothing leaves it to the upstream's own."""
        self.place = place

    def add_peers(self, peers: Iterable[str | Peer]) -> None:
        """Put `server` directives into the block."""
        for peer in peers:
            words = peer.split() if isinstance(peer, str) else _words(peer)
            self.add(Directive("server", tuple(words), *self.place))

    def directive(self) -> Directive:
        """Make the `upstream` block."""
        return Directive("upstream", (self.name,), *self.place, block=tuple(self.directives))


def _words(peer: Peer) -> list[str]:
    if (peer.tls, peer.name, peer.connect_timeout) != (None, None, None):
        raise ValueError(
            f"{peer}: the peers of an upstream have an address and a weight; "
            "tls, name and connect_timeout are for those that a balance handler returns"
        )
    return [peer.address, f"weight={peer.weight}"]
