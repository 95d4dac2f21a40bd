"""The base of every plan type."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every plan type: immutable, compared by value, strict about fields."""
