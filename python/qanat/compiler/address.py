"""Addresses as the configuration writes them: `HOST:PORT`, `[V6]:PORT`, `PORT`, ranges,
`unix:PATH`.

Parses text only; names are looked up by the caller. `AddressError` carries nginx's words for what
is wrong.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from qanat.compiler.units import parse_number

_LONGEST_UNIX_PATH = 107  # sun_path holds 108 bytes with its end


class AddressError(ValueError):
    """Text that is no address; the message is nginx's."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; `ports` is empty if none is given, `path` is set for unix sockets only."""

    host: str
    ports: range = range(0)
    path: str = ""


def parse_address(text: str, *, listen: bool = False) -> Address:
    """Parse an address; `listen` admits `*`, a bare port and port ranges."""
    if text[:5].lower() == "unix:":
        return _parse_unix(text[5:])
    if text.startswith("["):
        return _parse_ipv6(text, listen=listen)
    host, colon, port = text.partition(":")
    if "/" in host:
        raise AddressError("invalid host")
    if not colon:
        if listen and host[:1].isdigit() and host.replace("-", "").isdigit():
            return Address("*", _parse_ports(host, listen=True))
        ports = range(0)
    else:
        ports = _parse_ports(port, listen=listen)
    if not host:
        raise AddressError("no host")
    if host == "*" and not listen:
        raise AddressError("no host")
    return Address(host, ports)


def _parse_unix(path: str) -> Address:
    if not path:
        raise AddressError("no path in the unix domain socket")
    if len(path.encode()) > _LONGEST_UNIX_PATH:
        raise AddressError("too long path in the unix domain socket")
    return Address("", path=path)


def _parse_ipv6(text: str, *, listen: bool) -> Address:
    host, bracket, rest = text[1:].partition("]")
    if not bracket:
        raise AddressError("invalid host")
    if not host:
        raise AddressError("no host")
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise AddressError("invalid IPv6 address") from None
    if not rest:
        return Address(str(address))
    if rest[0] != ":":
        raise AddressError("invalid port")
    return Address(str(address), _parse_ports(rest[1:], listen=listen))


def _parse_ports(text: str, *, listen: bool) -> range:
    first_text, dash, last_text = text.partition("-")
    first = _parse_port(first_text)
    if not dash:
        return range(first, first + 1)
    last = _parse_port(last_text)
    if not listen or last < first:
        raise AddressError("invalid port")
    return range(first, last + 1)


def _parse_port(text: str) -> int:
    port = parse_number(text)
    if port is None or not 1 <= port <= 65535:
        raise AddressError("invalid port")
    return port


def with_port(address: str, port: int) -> str:
    """Join a literal address and a port."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_wildcard(address: str) -> bool:
    """Tell whether a literal address stands for all addresses of its family."""
    return address in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def is_loopback(address: str) -> bool:
    """Tell whether `IP:PORT`, `[V6]:PORT` or `unix:PATH` can be reached from this host only."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    return ipaddress.ip_address(host).is_loopback
