"""What several parts of the plan are made of: the base of every type, and names."""

from __future__ import annotations

from typing import Literal

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every plan type: immutable, compared by value, strict about fields."""


class ServerName(Record, frozen=True, kw_only=True):
    """One name of a server; lower case and without the wildcard (`example.com` for
    `*.example.com`)."""

    kind: Literal["exact", "leading", "trailing", "regex"]
    text: str
