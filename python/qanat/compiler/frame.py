"""The `frame` block: what the first bytes of a client are to make, and the variables that gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from qanat.compiler import frame_plan
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.frame_format import (
    PATHS,
    body_kind,
    check_whole,
    delimiter_bytes,
    end_by_delimiter,
    end_by_length,
    header_fields,
    variables_of,
)
from qanat.compiler.inherit import Level, Setting, positive_size, time_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat.config.tree import Directive

T = TypeVar("T")


def read_frame(compilation: Compilation, directive: Directive) -> frame_plan.Frame:
    """Read a `frame` block; what it leaves to the preread phase is 0 in the result."""
    entries = {entry.name: entry for entry in directive.block or ()}
    before = len(compilation.problems)

    def read(name: str, work: Callable[[Directive], T], default: T) -> T:
        entry = entries.get(name)
        if entry is None:
            return default
        try:
            return work(entry)
        except Refused as refused:
            compilation.note(entry, refused)
        except ValueError as error:
            compilation.refuse(entry, f"{error}")
        return default

    no_fields: tuple[frame_plan.FrameField, ...] = ()
    fields, size = read(
        "header", lambda entry: header_fields(entry.args[0], entry.args[1:]), (no_fields, 0)
    )
    raw: frame_plan.FrameBody = "raw"
    frame = frame_plan.Frame(
        fields=fields,
        header=size,
        end=_read_end(read, fields),
        body=read("body", lambda entry: body_kind(entry.args[0]), raw),
        max=read("max", lambda entry: positive_size(compilation, entry), 0),
        timeout_ms=read("timeout", lambda entry: time_ms(compilation, entry), 0),
    )
    note_variables(compilation, frame)
    if "length" in entries and "delimiter" in entries:
        compilation.refuse(entries["delimiter"], '"length" says already where a frame ends')
    if len(compilation.problems) == before:
        try:
            check_whole(frame)
        except ValueError as error:
            raise Refused(str(error)) from None
    return frame


def _read_end(
    read: Callable[..., frame_plan.FrameEnd], fields: tuple[frame_plan.FrameField, ...]
) -> frame_plan.FrameEnd:
    end: frame_plan.FrameEnd = frame_plan.EndByHeader()
    end = read("length", lambda entry: _read_length(entry, fields), end)
    return read("delimiter", lambda entry: end_by_delimiter(delimiter_bytes(entry.args[0])), end)


def _read_length(
    directive: Directive, fields: tuple[frame_plan.FrameField, ...]
) -> frame_plan.FrameEnd:
    name, *parameters = directive.args
    adjust = 0
    for parameter in parameters:
        word, _, number = parameter.partition("=")
        if word != "adjust":
            raise Refused(f'"length" takes adjust=NUMBER, not "{parameter}"')
        try:
            adjust = int(number)
        except ValueError:
            raise Refused(f'"adjust" wants a whole number, not "{number}"') from None
        if abs(adjust) >= 2**31:
            raise Refused(f'"adjust" is out of range: "{number}"')
    return end_by_length(fields, name, adjust)


FRAME: Setting[frame_plan.Frame | None] = Setting("frame", read_frame, None)


def make_frame(level: Level, largest: int, timeout_ms: int) -> frame_plan.Frame | None:
    """Make the frame of a server; `largest` and `timeout_ms` hold where it says nothing itself."""
    frame = level.get(FRAME)
    if frame is None:
        return None
    return structs.replace(
        frame, max=frame.max or largest, timeout_ms=frame.timeout_ms or timeout_ms
    )


def note_variables(compilation: Compilation, frame: frame_plan.Frame | None) -> None:
    """Let the variables of a frame be used."""
    if frame is not None:
        compilation.frame_variables |= variables_of(frame)


def unknown_variable(compilation: Compilation, name: str) -> str | None:
    """Say why `frame_NAME`, by its `NAME`, is no variable; None if it is one."""
    known = compilation.frame_variables
    for prefix in PATHS:
        if name == prefix:
            return "the path of a value has to follow"
        if name.startswith(prefix):
            return None if prefix in known else f'no "frame" has "body {prefix[:-1]}"'
    return None if name in known else f'no "frame" has a field "{name}"'
