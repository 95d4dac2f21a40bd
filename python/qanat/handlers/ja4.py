"""JA4, the fingerprint of a TLS client: made of what its ClientHello offers, whatever the order.

As FoxIO describes it in the JA4 technical details; only clients of TLS over TCP occur here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SERVER_NAME = 0
_SIGNATURE_ALGORITHMS = 13
_ALPN = 16
_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3"}


def ja4(
    versions: tuple[int, ...],
    suites: tuple[int, ...],
    extensions: tuple[tuple[int, bytes], ...],
    alpn: tuple[bytes, ...],
) -> str:
    """Return the fingerprint of a hello; all numbers are without GREASE."""
    numbers = [number for number, _ in extensions]
    version = _VERSIONS.get(max(versions, default=0), "00")
    name = "d" if _SERVER_NAME in numbers else "i"
    counts = f"{min(len(suites), 99):02}{min(len(numbers), 99):02}"
    named = _listed(sorted(one for one in numbers if one not in (_SERVER_NAME, _ALPN)))
    algorithms = _listed(_signature_algorithms(dict(extensions).get(_SIGNATURE_ALGORITHMS, b"")))
    offered = f"{named}_{algorithms}" if algorithms else named
    head = f"t{version}{name}{counts}{_ends(alpn)}"
    return f"{head}_{_digest(_listed(sorted(suites)))}_{_digest(offered if numbers else '')}"


def _ends(alpn: tuple[bytes, ...]) -> str:
    """Return the first and the last character of the first protocol, or of its hexadecimal form."""
    if not alpn or not alpn[0]:
        return "00"
    first = alpn[0]
    ends = bytes((first[0], first[-1]))
    text = ends.decode("ascii", "replace")
    return text if text.isascii() and text.isalnum() else first.hex()[0] + first.hex()[-1]


def _signature_algorithms(content: bytes) -> list[int]:
    return [int.from_bytes(content[at : at + 2]) for at in range(2, len(content) - 1, 2)]


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(f"{number:04x}" for number in numbers)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else "0" * 12
