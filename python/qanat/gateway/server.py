"""A virtual server, and the addresses it listens on."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from qanat.config.tree import Directive
from qanat.gateway.decorators import ServerDecorators
from qanat.gateway.phases import Block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qanat.gateway.phases import Functions
    from qanat.gateway.place import Place


class Server(Block, ServerDecorators):
    """A virtual server, made by `Gateway.listen`, with a decorator for each phase of its sessions.

    A plain function or a coroutine can be a handler: `@server.preread`. It takes the session of
    that phase and returns what the phase wants; a type checker refuses others.
    """

    def __init__(self, addresses: Iterable[str], functions: Functions, place: Place) -> None:
        Block.__init__(self)
        ServerDecorators.__init__(self, functions, self)
        self.place = place
        self._listens = [Listen(address) for address in addresses]
        self._is_read = False
        self._serves = False

    @property
    def address(self) -> tuple[str, int]:
        """The first address and its port: what the system chose, if port 0 was asked for.

        A unix socket has its path, with `unix:` before it, and 0. Raise `RuntimeError` before the
        gateway serves.
        """
        return self.addresses[0]

    @property
    def port(self) -> int:
        """The port of `address`. Raise `RuntimeError` before the gateway serves."""
        return self.address[1]

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """All addresses, as `address` has the first. Raise `RuntimeError` before the gateway
        serves."""
        if not self._serves:
            file, line = self.place
            raise RuntimeError(f"the server of {file}:{line} has an address once it is served")
        return tuple(listen.known() for listen in self._listens)

    def directive(self) -> Directive:
        """Make the `server` block. Ports are chosen where 0 was asked for. Raise `OSError`."""
        self._is_read = True
        listens = (Directive("listen", one.words(), *self.place) for one in self._listens)
        return Directive("server", (), *self.place, block=(*listens, *self.directives))

    def opened(self) -> None:
        """Note that the gateway has the ports, which need not be held any more."""
        self._serves = self._is_read
        self.let_go()

    def let_go(self) -> None:
        """Close what holds ports."""
        for listen in self._listens:
            listen.let_go()

    def closed(self) -> None:
        """Forget ports that the system chose."""
        self._serves = self._is_read = False
        for listen in self._listens:
            listen.forget()


class Listen:
    """An address with the options of `listen`: `127.0.0.1:0 udp`.

    For port 0 the system is asked before the configuration is compiled, as a listener is known by
    its address. A socket that does not listen holds a TCP port until the gateway has it, so nobody
    else gets it; one of UDP would take datagrams away, so that port is only free at the moment.
    """

    def __init__(self, text: str) -> None:
        self._address, *self._options = text.split() or [""]
        self._host, _, port = self._address.rpartition(":")
        self._is_open_port = port == "0"
        self._port = 0
        self._holder: socket.socket | None = None

    def words(self) -> tuple[str, ...]:
        """Say it as `listen` has it. Raise `OSError` if the system gives no port."""
        if self._is_open_port and not self._port:
            self._port = self._choose()
        address = f"{self._host or '0.0.0.0'}:{self._port}" if self._is_open_port else self._address  # noqa: S104 - nginx's
        return (address, *self._options)

    def known(self) -> tuple[str, int]:
        """Give the address and the port."""
        if self._address.startswith("unix:"):
            return self._address, 0
        if self._is_open_port:
            return self._plain_host(), self._port
        host, _, port = self._address.rpartition(":")
        return (self._plain_host() if host else "0.0.0.0"), int(port.partition("-")[0])  # noqa: S104 - nginx's

    def let_go(self) -> None:
        """Close what holds the port."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def forget(self) -> None:
        """Have another port chosen the next time."""
        self.let_go()
        self._port = 0

    def _plain_host(self) -> str:
        host = self._host.removeprefix("[").removesuffix("]")
        return "0.0.0.0" if host in {"", "*"} else host  # noqa: S104 - what `*` means

    def _choose(self) -> int:
        host = self._plain_host()
        is_udp = "udp" in self._options
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with contextlib.ExitStack() as opened:
            kind = socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM
            holder = opened.enter_context(socket.socket(family, kind))
            if not is_udp:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((host, 0))
            port: int = holder.getsockname()[1]
            if not is_udp:
                opened.pop_all()
                self._holder = holder
        return port
