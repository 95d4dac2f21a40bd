"""Two network namespaces with a cable between them, for tests that rewrite destinations."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GATEWAY = "10.231.0.1"
CLIENT = "10.231.0.2"
GATEWAY_6 = "fd00:231::1"
CLIENT_6 = "fd00:231::2"
_CLONE_NEWNET = 0x40000000
_TOOLS = ("ip", "iptables", "ip6tables")


def why_not() -> str | None:
    """Say in one line why namespaces cannot be used here; `None` if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    trial = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if trial.returncode == 0 else "this system makes no network namespaces"


def run(command: str) -> None:
    """Run a command of blank-separated words, and expect success."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@dataclass(frozen=True)
class Namespace:
    """A network namespace by name."""

    name: str

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread there for a while; sockets, threads and processes made there stay."""
        with Path("/proc/thread-self/ns/net").open() as home:
            _enter(Path("/run/netns") / self.name)
            try:
                yield
            finally:
                _switch(home.fileno())

    def run(self, command: str) -> None:
        """Run a command there."""
        run(f"ip netns exec {self.name} {command}")


def _enter(path: Path) -> None:
    with path.open() as namespace:
        _switch(namespace.fileno())


def _switch(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True)
class Cable:
    """The namespaces at its ends."""

    gateway: Namespace
    client: Namespace


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    """Make both namespaces, with addresses, and a route from the client by the gateway."""
    ends = Cable(*(Namespace(f"qanat-{end}-{os.getpid()}") for end in ("gateway", "client")))
    gateway, client = ends.gateway.name, ends.client.name
    with contextlib.ExitStack() as made:
        for end in (gateway, client):
            run(f"ip netns add {end}")
            made.callback(run, f"ip netns del {end}")
            run(f"ip -n {end} link set lo up")
        run(f"ip link add cable netns {gateway} type veth peer name cable netns {client}")
        addresses = {gateway: (GATEWAY, GATEWAY_6), client: (CLIENT, CLIENT_6)}
        for end, (address, address_6) in addresses.items():
            run(f"ip -n {end} addr add {address}/24 dev cable")
            run(f"ip -n {end} addr add {address_6}/64 dev cable nodad")
            run(f"ip -n {end} link set cable up")
        run(f"ip -n {client} route add default via {GATEWAY}")
        run(f"ip -n {client} -6 route add default via {GATEWAY_6}")
        yield ends
