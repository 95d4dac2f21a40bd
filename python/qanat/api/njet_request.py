"""The body of NJet's `stream_srv` request: its shape, checked in NJet's order and words."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from qanat.compiler.address import AddressError, parse_address

_FIELDS = frozenset({"type", "addr_port", "server_name", "listen_option", "server_body"})
_SHORTEST = 8
_BLANK = " \t\r\n"
# Would end the word or the line of a `listen`.
_SYNTAX = re.compile(r"[;{}\"'\\#\x00-\x08\x0a-\x1f\x7f]")


class ShapeError(Exception):
    """A request that is refused before the gateway is asked; the message is the answer's `msg`."""


@dataclass(frozen=True, slots=True)
class StreamServer:
    """A request of the right shape, its fields trimmed and otherwise as the caller spelled them."""

    action: Literal["add", "del"]
    address: str
    server_name: str
    listen_option: str
    body: str


def parse_request(method: str, body: bytes) -> StreamServer:
    """Check the shape of a request. Raise `ShapeError`."""
    fields = _parse_object(body)
    for key in fields:
        if key not in _FIELDS:
            raise ShapeError(f"invalid parameter:{key}!")
    address = _address(fields.get("addr_port"))
    action = _action(fields.get("type"), method)
    return StreamServer(
        action=action,
        address=address,
        server_name=_server_name(fields),
        listen_option=_text(fields, "listen_option", action).strip(_BLANK),
        body=_text(fields, "server_body", action),
    )


def _parse_object(body: bytes) -> dict[str, Any]:
    if len(body) < _SHORTEST:
        raise ShapeError("json parser error!")
    try:
        # Decoded here, because json would also accept UTF-16 and UTF-32.
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        # A lone surrogate is valid JSON and no text.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ShapeError("json parser error!") from error
    if not isinstance(value, dict):
        raise ShapeError("json error!!!")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ShapeError(f'json parser error! duplicate key "{twice}"')
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise ShapeError("addr_port error!!!")
    address = value.strip(_BLANK)
    words = address.split()
    if not words:
        raise ShapeError("addr_port null!!!")
    if _SYNTAX.search(address):
        raise ShapeError("addr_port error!!!")
    try:
        parsed = parse_address(words[0], listen=True)
    except AddressError as error:
        raise ShapeError("addr_port error!!!") from error
    if not parsed.path and len(parsed.ports) != 1:
        raise ShapeError("addr_port error!!!")
    return address


def _action(value: object, method: str) -> Literal["add", "del"]:
    kind = value.strip(_BLANK) if isinstance(value, str) else None
    if kind == "add":
        if method != "POST":
            raise ShapeError("no support method when add server!")
        return "add"
    if kind == "del":
        if method != "PUT":
            raise ShapeError("no support method when del server!")
        return "del"
    raise ShapeError("type error!!!")


def _server_name(fields: dict[str, Any]) -> str:
    value = fields.get("server_name", "")
    if not isinstance(value, str):
        raise ShapeError("server_name error!")
    name = value.strip(_BLANK)
    if not name:
        raise ShapeError("server_name is null!")
    return name


def _text(fields: dict[str, Any], name: str, action: str) -> str:
    value = fields.get(name, "")
    if action == "del":
        return ""
    if not isinstance(value, str):
        raise ShapeError(f"{name} error!")
    return value
