"""`examples/telnet_chat`, as it stands, with telnet as the client."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.harness import examples
from tests.harness.clients import connect, is_reset, read_all, reset
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.examples import Example

HELP = "Commands:"
needs_telnet = pytest.mark.skipif(shutil.which("telnet") is None, reason="telnet is not installed")


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Example]:
    with examples.running("telnet_chat", tmp_path) as example:
        yield example


class Telnet:
    """A telnet process and what it has shown."""

    def __init__(self, port: int) -> None:
        self.process = subprocess.Popen(
            ["telnet", "127.0.0.1", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.shown = ""

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def sees(self, text: str) -> None:
        """Wait for a text, and forget all up to it."""
        assert self.process.stdout is not None
        while text not in self.shown:
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                raise TimeoutError(f"{text!r} is not shown: {self.shown!r}")
            piece = os.read(self.process.stdout.fileno(), 65536)
            assert piece, f"telnet ended before {text!r}: {self.shown!r}"
            self.shown += piece.decode()
        self.shown = self.shown.partition(text)[2]


@contextmanager
def telnet(chat: Example, name: str) -> Iterator[Telnet]:
    """Run telnet, and give the chat a name."""
    client = Telnet(chat.port("127.0.0.1:2323"))
    with client.process:
        try:
            client.sees("What is your name?")
            client.say(name)
            client.sees(HELP)
            yield client
        finally:
            client.process.kill()


def line_of(client: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\r\n"):
        piece = client.recv(1)
        assert piece, line
        line += piece
    return line.decode().removesuffix("\r\n")


def log_in(chat: Example, name: bytes) -> socket.socket:
    client = connect(chat.port(2323))
    client.sendall(name + b"\r\n")
    assert line_of(client) == "What is your name?"
    assert line_of(client).startswith("* you are in lobby")
    assert line_of(client).startswith(HELP)
    return client


@needs_telnet
def test_two_clients_talk(chat: Example) -> None:
    with telnet(chat, "ann") as ann:
        with telnet(chat, "bob") as bob:
            ann.sees("* bob has joined lobby")
            bob.say("hello there")
            ann.sees("bob: hello there")
            ann.say("/nick anna")
            bob.sees("* ann is now anna")
            bob.say("/join garden")
            ann.sees("* bob has left lobby")
            bob.sees("* you are in garden with 0 others")
            ann.say("nobody hears this")
            ann.say("/join garden")
            bob.sees("* anna has joined garden")
            bob.say("/who")
            bob.sees("* here: anna, bob")
            assert "nobody hears this" not in bob.shown
            bob.say("/quit")
            bob.process.wait(PATIENCE)
        ann.sees("* bob has left garden")


def test_negotiation_is_not_text(chat: Example) -> None:
    """Telnet's options, in the midst of a word, and a doubled 255, which is one."""
    with (
        log_in(chat, b"\xff\xfb\x1f\xff\xfa\x1f\x00P\x00\x18\xff\xf0a\xff\xfd\x01nn") as ann,
        log_in(chat, b"bob") as bob,
    ):
        assert line_of(ann) == "* bob has joined lobby"
        bob.sendall(b"so\xff\xf1me\xff\xfe\x22 words\r\n")
        assert line_of(ann) == "bob: some words"
        ann.sendall(b"/who\r\n")
        assert line_of(ann) == "* here: ann, bob"


def test_a_client_without_a_name_harms_nobody(chat: Example) -> None:
    with connect(chat.port(2323)) as silent, log_in(chat, b"ann") as ann:
        with log_in(chat, b"bob") as bob:
            assert line_of(ann) == "* bob has joined lobby"
            bob.sendall(b"hello\r\n")
            assert line_of(ann) == "bob: hello"
        assert line_of(ann) == "* bob has left lobby"
        assert line_of(silent) == "What is your name?"
        silent.sendall(b"ann\r\n")
        assert line_of(silent).startswith("A name is")


def test_a_slow_client_holds_nobody_up_and_nothing_is_lost(chat: Example) -> None:
    with log_in(chat, b"slow") as slow, log_in(chat, b"ann") as ann, log_in(chat, b"bob") as bob:
        assert line_of(ann) == "* bob has joined lobby"
        for number in range(500):
            bob.sendall(b"message %d\r\n" % number)
            assert line_of(ann) == f"bob: message {number}"
        assert line_of(slow) == "* ann has joined lobby"
        assert line_of(slow) == "* bob has joined lobby"
        for number in range(500):
            assert line_of(slow) == f"bob: message {number}"


def test_a_client_that_is_too_far_behind_is_sent_away(chat: Example) -> None:
    with log_in(chat, b"behind") as behind, log_in(chat, b"bob") as bob:
        behind.setsockopt(1, 8, 4096)  # SO_RCVBUF
        line = b"x" * 60_000 + b"\r\n"
        bob.settimeout(0.001)
        while b"has left" not in _peek(bob):
            bob.settimeout(PATIENCE)
            bob.sendall(line)
            bob.settimeout(0.001)
        bob.settimeout(PATIENCE)
        assert line_of(bob) == "* behind has left lobby"
        assert b"You are too far behind" in read_all(behind)


def _peek(client: socket.socket) -> bytes:
    try:
        return client.recv(100, 2)  # MSG_PEEK
    except TimeoutError:
        return b""


def test_whoever_vanishes_is_gone(chat: Example) -> None:
    with log_in(chat, b"ann") as ann:
        bob = log_in(chat, b"bob")
        assert line_of(ann) == "* bob has joined lobby"
        reset(bob)
        assert line_of(ann) == "* bob has left lobby"
        with log_in(chat, b"bob") as again:
            assert line_of(ann) == "* bob has joined lobby"
            again.sendall(b"/quit\r\nlate\r\n")
            assert not is_reset(again)
    assert "failed" not in chat.gateway.error_log()
