"""`frame`: the first bytes of a client make a frame of its protocol; sessions are placed by what is
in it, and no Python runs."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.harness.clients import (
    ask,
    ask_udp,
    connect,
    connect_tls,
    is_reset,
    read_all,
    read_exactly,
    udp,
)
from tests.harness.servers import echo, serve, serve_udp, tagged_after_request
from tests.harness.stream_srv import SUCCESS, add

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIGURATION = r"""
stream {
    log_format frame "$status [$frame_type] [$frame_json_devid] [$frame_bytes]";
    access_log logs/access.log frame;
    error_log logs/error.log info;
    upstream devices { hash $frame_json_devid consistent; @servers }
    map $frame_json_user_role $area { admin A; default other; }

    server {                                # the protocol of a device
        listen 127.0.0.1:@device;
        frame {
            header ">ccHH" type version wait length;
            length length;
            body json;
            max 1k;
            timeout 200ms;
        }
        proxy_pass devices;
    }
    server {                                # the length counts its own header
        listen 127.0.0.1:@inclusive;
        frame { header "<IH" length kind; length length adjust=-6; body json; }
        return "$frame_kind $area $frame_body\n";
    }
    server {                                # MQTT: a byte, then a varint
        listen 127.0.0.1:@varint;
        frame { header ">B" type; length varint; max 200; }
        return "$frame_type $frame_bytes $frame_body\n";
    }
    map $frame_body $named { first 127.0.0.1:@first; default 127.0.0.1:@other; }
    server {                                # lines, which choose the peer
        listen 127.0.0.1:@line;
        frame { delimiter "\r\n"; max 64; }
        proxy_pass $named;
    }
    server {
        listen 127.0.0.1:@packed;
        frame { header ">4s" tenant; length varint; body msgpack; }
        return "$frame_tenant $frame_msgpack_devid $frame_msgpack_in_0_x\n";
    }
    server {                                # the frame comes after TLS
        listen 127.0.0.1:@tls ssl;
        ssl_certificate @certificate;
        ssl_certificate_key @key;
        frame { header ">H" length; length length; body json; }
        set $device $frame_json_devid;
        set $known "device $device";
        return "$known\n";
    }
    server {                                # each datagram is a frame
        listen 127.0.0.1:@datagram udp;
        frame { header ">B" length; length length; body json; }
        return "$frame_json_devid";
    }
    server {
        listen 127.0.0.1:@datagram_relay udp;
        frame { header ">B" length; length length; }
        proxy_pass 127.0.0.1:@udp_peer;
    }
}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    pair = authority.issue("gate.test")
    with ExitStack() as stack:
        ports = [stack.enter_context(serve(tagged_after_request(name))) for name in "abc"]
        gateway.write(
            CONFIGURATION,
            servers=" ".join(f"server 127.0.0.1:{port};" for port in ports),
            certificate=pair.certificate,
            key=pair.key,
            first=ports[0],
            other=stack.enter_context(serve(echo)),
            udp_peer=stack.enter_context(serve_udp(lambda data: [b"peer:" + data])),
        )
        yield gateway.start()


def login(devid: str) -> bytes:
    """A login of the device protocol."""
    body = json.dumps({"devid": devid}).encode()
    return struct.pack(">ccHH", b"L", b"1", 30, len(body)) + body


def placed(running: Gateway, data: bytes) -> str:
    """The message server that a device with these first bytes gets to; it must see them all."""
    with connect(running.port("device")) as client:
        client.sendall(data)
        tag, _, seen = read_all(client).partition(b":")
    assert seen == data
    return tag.decode()


def test_a_device_is_placed_by_what_its_login_says(running: Gateway) -> None:
    devices = [f"device-{number}" for number in range(40)]
    places = {devid: placed(running, login(devid)) for devid in devices}
    assert set(places.values()) == {"a", "b", "c"}
    assert {devid: placed(running, login(devid)) for devid in devices} == places
    assert running.log_lines(80)[0] == "200 [L] [device-0] [27]"


def test_the_peer_sees_the_frame_and_all_that_came_after_it(running: Gateway) -> None:
    assert placed(running, login("d-7") + b"the next frame") == placed(running, login("d-7"))


def test_a_frame_may_come_byte_by_byte(running: Gateway) -> None:
    data = login("d-9")
    with connect(running.port("device")) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            client.send(bytes([byte]))
        assert read_all(client)[2:] == data
    assert running.log_lines(1) == [f"200 [L] [d-9] [{len(data)}]"]


def test_a_length_may_count_the_header_too(running: Gateway) -> None:
    body = b'{"user": {"role": "admin"}}'
    data = struct.pack("<IH", 6 + len(body), 3) + body
    assert ask(running.port("inclusive"), data) == b"3 A " + body + b"\n"


def test_a_length_may_be_a_varint(running: Gateway) -> None:
    assert ask(running.port("varint"), b"\x10\x03abcmore") == b"16 5 abc\n"
    long = b"\x10\x96\x01" + b"x" * 150
    assert ask(running.port("varint"), long) == b"16 153 " + b"x" * 150 + b"\n"


def test_a_frame_may_be_a_line(running: Gateway) -> None:
    assert ask(running.port("line"), b"first\r\nmore") == b"a:first\r\nmore"
    with connect(running.port("line")) as client:
        client.sendall(b"nothing known\r\n")
        assert read_exactly(client, 15) == b"nothing known\r\n"


def test_a_body_may_be_messagepack(running: Gateway) -> None:
    body = msgspec.msgpack.encode({"devid": 7, "in": [{"x": "deep"}]})
    data = b"acme" + bytes([len(body)]) + body
    assert ask(running.port("packed"), data) == b"acme 7 deep\n"


def test_behind_tls_the_frame_is_what_was_encrypted(running: Gateway) -> None:
    body = b'{"devid": "secret"}'
    with connect_tls(running.port("tls"), "gate.test") as client:
        client.sendall(struct.pack(">H", len(body)) + body)
        assert read_all(client) == b"device secret\n"


def test_a_datagram_is_a_frame(running: Gateway) -> None:
    body = b'{"devid": "d-1"}'
    assert ask_udp(running.port("datagram"), bytes([len(body)]) + body) == b"d-1"
    assert ask_udp(running.port("datagram_relay"), b"\x02ab") == b"peer:\x02ab"
    with udp(running.port("datagram")) as client:
        client.send(b"\x09ab")
        text = "frame: the body of a datagram of 3 bytes is not whole while reading a frame"
        running.wait_for_log(text)


@pytest.mark.parametrize(
    ("server", "data", "text"),
    [
        (
            "device",
            struct.pack(">ccHH", b"L", b"1", 30, 2000),
            'field "length" says 2000 bytes, which makes a frame of 2006, more than max 1024',
        ),
        (
            "device",
            struct.pack(">ccHH", b"L", b"1", 30, 11) + b'{"devid": x',
            "body is not JSON: expected value at byte 10",
        ),
        (
            "inclusive",
            struct.pack("<IH", 5, 1),
            'field "length" says 5 bytes, which is before the body begins',
        ),
        ("varint", b"\x10" + b"\xff" * 10, "length is no varint"),
        ("line", b"x" * 64, "no delimiter in max 64 bytes"),
        ("packed", b"acme\x02\x92\x01", "body is not MessagePack: ends too early at byte 2"),
    ],
)
def test_what_is_no_frame_ends_the_session_and_is_told(
    running: Gateway, server: str, data: bytes, text: str
) -> None:
    with connect(running.port(server)) as client:
        client.sendall(data)
        is_reset(client)  # or an orderly end: whatever the kernel makes of unread bytes
    line = running.wait_for_log("frame: ")
    assert f"frame: {text}" in line
    assert "while reading a frame, client: 127.0.0.1" in line
    assert "[error]" in line
    assert running.log_lines(1)[0].startswith("400 [-] [-]")


def test_a_client_that_is_silent_or_leaves_is_no_error(running: Gateway) -> None:
    with connect(running.port("device")) as client:
        client.sendall(b"L1\0")
        assert read_all(client) == b""
    line = running.wait_for_log("frame: client sent 3 bytes in 0.2 s, its header is not whole")
    assert "[info]" in line
    with connect(running.port("device")) as client:
        client.sendall(login("d-1")[:-1])
    line = running.wait_for_log("frame: client ended after 21 bytes, its body is not whole")
    assert "[info]" in line
    assert running.log_lines(2) == ["200 [-] [-] [-]"] * 2


def test_a_server_that_is_added_over_the_api_may_have_one(gateway: Gateway) -> None:
    gateway.write("stream { server { listen 127.0.0.1:@first; return x; } }")
    gateway.start_with_api()
    address = f"127.0.0.1:{gateway.port('added')}"
    body = 'frame { delimiter ";"; } return "$frame_body $frame_bytes";'
    with gateway.api() as api:
        assert add(api, address, "a", body) == SUCCESS
        assert ask(gateway.port("added"), b"hello;") == b"hello 6"
        refused = add(api, address, "b", "return $frame_body;")
        assert 'no defined variable name "$frame_body": no "frame" has' in str(refused)
