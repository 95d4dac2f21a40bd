"""`FrameFormat`: what `struct` packs is what a frame shows, and mistakes are told at once."""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.handlers import FrameError, FrameFormat

LOGIN = FrameFormat(">ccHH", ("type", "version", "wait", "length"), length="length", body="json")

CODES = st.lists(st.sampled_from(["c", "b", "B", "?", "h", "H", "i", "I", "l", "L", "q", "Q"]))
ORDERS = st.sampled_from("><!=")


def login(body: bytes) -> bytes:
    return struct.pack(">ccHH", b"L", b"\x02", 30, len(body)) + body


def test_a_frame_has_fields_a_body_and_all_its_bytes() -> None:
    data = login(b'{"devid": "d-7"}')
    frame = LOGIN.parse(data + b"the next one")
    assert frame is not None
    assert frame.fields == {"type": b"L", "version": b"\x02", "wait": 30, "length": 16}
    assert frame["wait"] == 30
    assert frame.body == {"devid": "d-7"}
    assert frame.body is frame.body
    assert (frame.data, frame.payload) == (data, data[6:])
    with pytest.raises(KeyError):
        frame["kind"]


def test_half_a_frame_is_none() -> None:
    data = login(b"{}")
    assert all(LOGIN.parse(data[:end]) is None for end in range(len(data)))


def test_what_is_no_frame_is_told() -> None:
    with pytest.raises(FrameError, match="frame: body is not JSON: expected value at byte 0"):
        LOGIN.parse(login(b"oops"))


@given(ORDERS, CODES, st.data())
def test_fields_are_what_struct_unpacks(order: str, codes: list[str], data: st.DataObject) -> None:
    text = order + "".join(codes)
    packed = data.draw(st.binary(min_size=struct.calcsize(text), max_size=struct.calcsize(text)))
    names = [f"f{index}" for index in range(len(codes))]
    frame = FrameFormat(f"{text}2x", names).parse(packed + b"\0\0")
    assert frame is not None
    assert tuple(frame.fields.values()) == struct.unpack(text, packed)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_bodies_are_decoded(value: object) -> None:
    text = json.dumps(value).encode()
    lines = FrameFormat(delimiter=b"\n", body="json").parse(text + b"\n")
    assert lines is not None
    assert lines.body == value
    packed = msgspec.msgpack.encode(value)
    framed = FrameFormat(">I", ("size",), length="size", adjust=-4, body="msgpack")
    frame = framed.parse(struct.pack(">I", len(packed) + 4) + packed)
    assert frame is not None
    assert frame.body == value


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        (("HH", ("a", "b")), {}, "has to begin with its byte order"),
        ((">HH", ("a",)), {}, "has 2 values, but 1 name is given"),
        ((">H", ("a",)), {"length": "b"}, '"b" is not "varint" and no field'),
        ((">H", ("a",)), {"length": "a", "delimiter": b";"}, "not by both"),
        ((), {"delimiter": b""}, "at least one byte"),
        ((), {}, 'needs a "header"'),
        ((">H", ("a",)), {"length": "a", "body": "xml"}, "json, msgpack or raw"),
    ],
)
def test_a_mistake_is_told_when_it_is_made(
    arguments: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FrameFormat(*arguments, **named)
