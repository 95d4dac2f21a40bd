"""What a client's first bytes are to make, as `crates/plan/src/frame.rs` has it."""

from __future__ import annotations

from typing import Literal

from qanat.compiler.record import Record


class FrameField(Record, frozen=True, kw_only=True):
    """A field of a frame's header."""

    name: str
    offset: int
    width: int
    kind: Literal["unsigned", "signed", "bool", "bytes", "text"]
    little: bool = False


class EndByHeader(Record, frozen=True, kw_only=True, tag_field="type", tag="header"):
    """A frame that is only a header."""


class EndByField(Record, frozen=True, kw_only=True, tag_field="type", tag="field"):
    """A field counts the bytes after the header, give or take `adjust`."""

    index: int
    adjust: int = 0


class EndByVarint(Record, frozen=True, kw_only=True, tag_field="type", tag="varint"):
    """A varint after the header counts the bytes after itself, give or take `adjust`."""

    adjust: int = 0


# By its own name, a field of that name would hide it.
_Bytes = bytes


class EndByDelimiter(Record, frozen=True, kw_only=True, tag_field="type", tag="delimiter"):
    """The body ends before these bytes."""

    bytes: _Bytes


FrameEnd = EndByHeader | EndByField | EndByVarint | EndByDelimiter
FrameBody = Literal["raw", "json", "msgpack"]


class Frame(Record, frozen=True, kw_only=True):
    """`frame { … }`: what the first bytes of a client are to make."""

    fields: tuple[FrameField, ...] = ()
    header: int = 0
    end: FrameEnd = EndByHeader()
    body: FrameBody = "raw"
    max: int
    timeout_ms: int
