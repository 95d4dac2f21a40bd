"""What `qanat tunnel ls` says where there is little to list: the next command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK = """\
This gateway has no tunnels: its configuration needs a block such as

    tunnels {
        listen 0.0.0.0:4321;          # if others dial this one
        secret file:tunnel.key;       # `qanat tunnel genkey tunnel.key` makes it, for both ends
    }"""
_SERVICES = """\
Nothing goes through yet. Where the target is:

    qanat tunnel expose web 127.0.0.1:80

and at the other end, where clients come:

    qanat tunnel listen web 0.0.0.0:8080"""


def next_step(
    tunnels: Mapping[str, Any], services: Mapping[str, Any], peers: Mapping[str, Any]
) -> str | None:
    """Say what to do next, as `/v1/tunnels`, `/v1/services` and `/v1/peers` answer; None if there
    is enough to list."""
    if peers["key"] is None:
        return _BLOCK
    if not tunnels["tunnels"]:
        return _dialling(peers)
    if not services["local"] and not services["remote"]:
        return _SERVICES
    return None


def _dialling(peers: Mapping[str, Any]) -> str:
    peer = "" if peers["has_secret"] else " --peer NAME"
    command = f"    qanat tunnel connect home HOST:PORT{peer}"
    if not peers["listen"]:
        return f"There is no tunnel yet. Dial one, to `listen` of the other gateway:\n\n{command}"
    port = str(peers["listen"][0]).rpartition(":")[2]
    there = command.replace("HOST:PORT", f"THIS-HOST:{port}")
    return f"There is no tunnel yet. Dial this gateway from the other one:\n\n{there}\n\n" + (
        f"or the other one from here:\n\n{command}"
    )
