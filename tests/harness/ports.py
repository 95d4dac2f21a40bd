"""Ports from the kernel, free for TCP and for UDP, kept from others until a listener has them."""

from __future__ import annotations

import contextlib
import socket


class Ports:
    """Ports by name. A TCP socket that does not listen holds each, so that nobody is given it."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._by_name: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        """Return the port of this name, reserved on first use."""
        if name not in self._by_name:
            self._by_name[name] = self._reserve()
        return self._by_name[name]

    def close(self) -> None:
        """Give all ports back."""
        self._held.close()

    def _reserve(self) -> int:
        while True:
            holder = self._held.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
            port: int = holder.getsockname()[1]
            with socket.socket(type=socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
