"""Sockets that the command line binds: control addresses to serve, listeners to test."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.cli.messages import system_error
from qanat.config.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qanat.compiler.compile import Compiled

UNIX = "unix:"


def bind_control(address: str) -> socket.socket:
    """Bind a control address and listen there. Raise `OSError`."""
    if address.startswith(UNIX):
        return _bind_private(Path(address.removeprefix(UNIX)))
    listening = _bind_inet(address, socket.SOCK_STREAM)
    try:
        listening.listen(socket.SOMAXCONN)
    except BaseException:
        listening.close()
        raise
    return listening


def try_listeners(compiled: Compiled) -> Iterator[Problem]:
    """Bind every address of a configuration and let go of it; yield what would stop a start.

    An address in use is none: it may be this very gateway that has it.
    """
    return (problem for number, problem in _trials(compiled) if number != errno.EADDRINUSE)


def addresses_in_use(compiled: Compiled) -> Iterator[Problem]:
    """Bind every address of a configuration and let go of it; yield those that another has."""
    return (problem for number, problem in _trials(compiled) if number == errno.EADDRINUSE)


def _trials(compiled: Compiled) -> Iterator[tuple[int | None, Problem]]:
    for listener in compiled.objects.listeners:
        if listener.parent is None:
            kind = socket.SOCK_DGRAM if listener.protocol == "udp" else socket.SOCK_STREAM
            yield from _try(listener.address, kind, v6only=listener.socket.ipv6only)
    for endpoint in compiled.process.control:
        yield from _try(endpoint.address, socket.SOCK_STREAM)


def _try(
    address: str, kind: socket.SocketKind, *, v6only: bool = True
) -> Iterator[tuple[int | None, Problem]]:
    try:
        if address.startswith(UNIX):
            _try_unix(Path(address.removeprefix(UNIX)))
        else:
            _bind_inet(address, kind, v6only=v6only).close()
    except OSError as error:
        yield error.errno, Problem(f"bind() to {address} failed {system_error(error)}")


def _try_unix(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.bind(str(path))
        path.unlink()


def _bind_inet(address: str, kind: socket.SocketKind, *, v6only: bool = True) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off where the protocol is named, and only there.
    protocol = socket.IPPROTO_UDP if kind == socket.SOCK_DGRAM else socket.IPPROTO_TCP
    bound = socket.socket(family, kind, protocol)
    try:
        if kind == socket.SOCK_STREAM:
            # For datagrams it would share the port with a gateway that runs, and take its traffic.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        bound.bind((host, int(port)))
    except BaseException:
        bound.close()
        raise
    return bound


def _bind_private(path: Path) -> socket.socket:
    """Bind a socket that the owner alone may use, over one that nobody serves any more."""
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
        listening.listen(socket.SOMAXCONN)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError:
            return
