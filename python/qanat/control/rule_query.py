"""Sessions that might come, as callers describe them to ask which rule would decide."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec

from qanat.compiler.compilation import Refused
from qanat.compiler.rule_plan import RuleQuery
from qanat.compiler.rules import first_bytes
from qanat.control.errors import InvalidRequest

_LARGEST_PORT = 65535
_UNIX = "unix:"


class MatchSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session that might come. A name or protocols make it one that speaks TLS."""

    source: Annotated[str, msgspec.Meta(description="Address of the client, or `unix:`.")]
    port: Annotated[int | None, msgspec.Meta(description="Port that it addresses.")] = None
    sni: Annotated[str | None, msgspec.Meta(description="Name in its ClientHello.")] = None
    alpn: Annotated[tuple[str, ...], msgspec.Meta(description="Protocols in its ClientHello.")] = ()
    tls: Annotated[
        bool | None,
        msgspec.Meta(description="Whether it speaks TLS; without this, names and bytes tell."),
    ] = None
    first_bytes: Annotated[
        str, msgspec.Meta(description="What it sends, written as `starts_with` is.")
    ] = ""


def query_of(table: str, spec: MatchSpec) -> RuleQuery:
    """Check a description. Raise `InvalidRequest`."""
    if spec.port is not None and not 1 <= spec.port <= _LARGEST_PORT:
        raise InvalidRequest("port", f'invalid port "{spec.port}", 1 to {_LARGEST_PORT}')
    if spec.tls is False and (spec.sni is not None or spec.alpn):
        raise InvalidRequest("tls", "a session with a name or protocols speaks TLS")
    try:
        sent = first_bytes(spec.first_bytes) if spec.first_bytes else b""
    except (Refused, UnicodeEncodeError) as refused:
        raise InvalidRequest("first_bytes", str(refused)) from None
    return RuleQuery(
        table=table,
        source=_source(spec.source),
        port=spec.port,
        tls=spec.tls,
        sni=spec.sni,
        alpn=spec.alpn,
        first_bytes=sent,
    )


def _source(text: str) -> str:
    if text == _UNIX:
        return text
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidRequest("source", f'invalid address "{text}": IPv4, IPv6 or unix:') from None
    # What a scope id adds is the host's own affair.
    return str(address).partition("%")[0]
