"""Addresses of the `tunnels` block: none may be held twice, also not by a virtual server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.listen import listen_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qanat.compiler import plan
    from qanat.compiler.tunnel_block import TunnelsBlock
    from qanat.config.tree import Directive, Tree


def one_listen_address(compilation: Compilation, text: str) -> str:
    """Turn an address at which one socket listens into a literal one. Raise `Refused`."""
    found = listen_addresses(compilation, text)
    if len(found) != 1:
        raise Refused(f'"{text}" is {len(found)} addresses, one is needed')
    return found[0]


def check_addresses(
    compilation: Compilation, tree: Tree, block: TunnelsBlock, others: tuple[plan.Listener, ...]
) -> None:
    """Refuse addresses of the block that it has twice, or that virtual servers listen at."""
    holders = {listener.id: "a virtual server" for listener in others}
    for entry in (one for tunnels in tree.find("tunnels") for one in tunnels.block or ()):
        for ident, holder in _held(block, entry):
            known = holders.setdefault(ident, holder)
            if known != holder:
                address = ident.partition(":")[2]
                compilation.refuse(entry, f"{address} belongs to {known}: choose another port")


def _held(block: TunnelsBlock, entry: Directive) -> Iterator[tuple[str, str]]:
    """List the listeners of an entry, and what each is for."""
    if entry.name == "listen":
        for listener in block.listeners.listeners:
            if listener.origin == entry.origin:
                yield listener.id, "the tunnels of others"
    elif entry.name == "service" and entry.args[1] == "local":
        service = block.model.local.get(entry.args[0])
        if service is not None:
            yield f"{service.protocol}:{service.address}", f'service "{entry.args[0]}"'
