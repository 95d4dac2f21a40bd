"""Frames of private protocols, for handlers: a header, and a body whose end it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from qanat._native import FrameParser
from qanat.compiler import frame_format, frame_plan
from qanat.compiler.units import LARGEST_U32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Parts = tuple[bytes, dict[str, "int | bool | bytes"], int, int, str]


class Frame:
    """A whole frame: its bytes, the fields of its header, and its body.

    `frame["type"]` is a field of the header: an `int`, a `bool`, or `bytes` for `c` and `s`.
    """

    __slots__ = ("_body", "_end", "_kind", "_start", "data", "fields")

    def __init__(self, parts: Parts) -> None:
        self.data: bytes
        """All bytes of the frame, as the client sent them."""
        self.fields: Mapping[str, int | bool | bytes]
        """The fields of the header, by the names in lower case."""
        self.data, self.fields, self._start, self._end, self._kind = parts
        self._body: Any = msgspec.UNSET

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - the format of the header says what
        """Return a field of the header; raise `KeyError` if there is none of this name."""
        return self.fields[name]

    @property
    def payload(self) -> bytes:
        """The body as the client sent it, without length and delimiter."""
        return self.data[self._start : self._end]

    @property
    def body(self) -> Any:  # noqa: ANN401 - the client says what
        """The body, decoded at first use: the value of JSON or MessagePack, or `bytes` if raw.

        What is no such value ended the session before the handler, or raised `FrameError` in
        `parse`, `peek_frame` or `read_frame`.
        """
        if self._body is msgspec.UNSET:
            self._body = _DECODE[self._kind](self.payload)
        return self._body


_DECODE: dict[str, Any] = {
    "json": msgspec.json.Decoder().decode,
    "msgpack": msgspec.msgpack.Decoder().decode,
    "raw": bytes,
}


class FrameFormat:
    """What the frames of a protocol look like; made once, used for all sessions.

    `header` is a format of Python's `struct` with a byte order, `names` has a name for each of its
    values (`_` skips one). The body ends where `length` says, which is a field of the header or
    `"varint"` (base 128, after the header), or before a `delimiter`. A length counts the bytes that
    follow it; `adjust` is added: `-6` if it counts a header of six bytes too. How large a frame may
    be is for `preread_buffer_size` to say. As the `frame` block of the configuration.

    Raise `ValueError` for a format that cannot be: the text says why.
    """

    __slots__ = ("parser",)

    def __init__(
        self,
        header: str = "",
        names: Sequence[str] = (),
        *,
        length: str | None = None,
        adjust: int = 0,
        delimiter: bytes | None = None,
        body: Literal["raw", "json", "msgpack"] = "raw",
    ) -> None:
        fields: tuple[frame_plan.FrameField, ...] = ()
        size = 0
        if header:
            fields, size = frame_format.header_fields(header, tuple(names))
        if length is not None and delimiter is not None:
            raise ValueError("a frame ends by its length or by a delimiter, not by both")
        end: frame_plan.FrameEnd = frame_plan.EndByHeader()
        if length is not None:
            end = frame_format.end_by_length(fields, length, adjust)
        elif delimiter is not None:
            end = frame_format.end_by_delimiter(delimiter)
        kind = frame_format.body_kind(body)
        frame = frame_plan.Frame(
            fields=fields, header=size, end=end, body=kind, max=LARGEST_U32, timeout_ms=0
        )
        frame_format.check_whole(frame)
        self.parser = FrameParser(msgspec.msgpack.encode(frame))

    def parse(self, data: bytes) -> Frame | None:
        """Read the frame at the start of `data`; `None` if more bytes are needed.

        Raise `FrameError` if it is none, as with a body that is not what it is said to be.
        """
        parts = self.parser.parse(data)
        return None if parts is None else Frame(parts)
